//! `POST /logout`.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::SET_COOKIE;
use axum::response::Response;
use serde::Deserialize;

use super::Visitor;
use super::cookies::Cookie;
use super::form::SessionForm;
use super::frame::{Frame, page};
use super::session;
use crate::error::ApiResult;
use crate::state::AppState;

#[derive(Template)]
#[template(path = "signed_out.html")]
struct SignedOutPage {
    frame: Frame,
}

#[derive(Deserialize)]
pub struct Nothing {}

pub async fn sign_out(
    State(state): State<AppState>,
    visitor: Visitor,
    form: SessionForm<Nothing>,
) -> ApiResult<Response> {
    session::end(&state, form.session.user, form.session.id, "session.ended", &visitor).await?;
    let mut response = page(StatusCode::OK, &SignedOutPage { frame: Frame::open() })?;
    response.headers_mut().insert(SET_COOKIE, Cookie::Session.forget(&state.config));
    Ok(response)
}
