//! `/invitations/{token}`: somebody was asked to join an organization, is shown what it is, and joins.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use ckrv_types::ProblemCode;

use super::Visitor;
use super::form::SessionForm;
use super::frame::{Frame, page};
use super::session::Session;
use super::signed_out::Nothing;
use super::words::{self, Moment};
use crate::error::{ApiError, ApiResult};
use crate::http::extract::Path;
use crate::state::AppState;
use crate::teams::joining::{self, Joiner, Offer, PATH};

#[derive(Template)]
#[template(path = "invitation.html")]
struct InvitationPage<'a> {
    frame: Frame,
    name: &'a str,
    action: String,
    offer: Offer,
    may: &'static str,
    ends: Moment,
}

#[derive(Template)]
#[template(path = "no_invitation.html")]
struct NoInvitationPage {
    frame: Frame,
}

/// `GET /invitations/{token}`.
pub async fn show(State(state): State<AppState>, session: Session, Path(token): Path<String>) -> ApiResult<Response> {
    let offer = match joining::look(&state, &token, session.user).await {
        Err(error) => return refused(&state, &session, error),
        Ok(offer) => offer,
    };
    let shown = InvitationPage {
        frame: Frame::of(&state, &session),
        name: &session.name,
        action: format!("{PATH}{token}"),
        may: words::role(offer.found.role),
        ends: Moment::new(offer.found.expires_at),
        offer,
    };
    page(StatusCode::OK, &shown)
}

/// `POST /invitations/{token}`.
pub async fn accept(
    State(state): State<AppState>,
    visitor: Visitor,
    Path(token): Path<String>,
    form: SessionForm<Nothing>,
) -> Result<Redirect, Response> {
    let session = form.session;
    let joiner = Joiner { user: session.user, login: None, address: visitor.address_text() };
    match joining::accept_at(&state, &token, &joiner, session.id).await {
        Ok(_) => Ok(Redirect::to("/account?done=joined")),
        Err(error) => Err(refused(&state, &session, error).unwrap_or_else(ApiError::into_response)),
    }
}

/// A page for a link that is no good.
fn refused(state: &AppState, session: &Session, error: ApiError) -> ApiResult<Response> {
    if error.problem().code != ProblemCode::NotFound {
        return Err(error);
    }
    page(StatusCode::NOT_FOUND, &NoInvitationPage { frame: Frame::of(state, session) })
}
