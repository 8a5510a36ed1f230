//! `/device`: somebody types the code that a program shows them (RFC 8628, section 3.3), and decides.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::Response;
use ckrv_types::OrgId;
use serde::Deserialize;

use super::Visitor;
use super::consent::{self, Decision, Question};
use super::form::SessionForm;
use super::frame::{Frame, page};
use super::session::Session;
use super::words;
use crate::error::ApiResult;
use crate::http::extract::Query;
use crate::oauth::device::{self, Looker, NoRequest};
use crate::state::AppState;
use crate::text;

/// Room for a code with whatever people put between its letters.
const CODE_CHARS: usize = 20;

#[derive(Template)]
#[template(path = "device.html")]
struct DevicePage {
    frame: Frame,
    code: String,
    error: Option<String>,
}

#[derive(Deserialize)]
pub struct Typed {
    #[serde(default)]
    code: String,
}

fn form(
    state: &AppState,
    session: &Session,
    code: &str,
    status: StatusCode,
    error: Option<String>,
) -> ApiResult<Response> {
    page(status, &DevicePage { frame: Frame::of(state, session), code: text::visible(code, CODE_CHARS), error })
}

/// `GET /device`: a link's code is filled in, and no more.
pub async fn show(State(state): State<AppState>, session: Session, Query(typed): Query<Typed>) -> ApiResult<Response> {
    form(&state, &session, &typed.code, StatusCode::OK, None)
}

/// `POST /device`: the question that the code stands for.
pub async fn look_up(
    State(state): State<AppState>,
    visitor: Visitor,
    SessionForm { session, fields }: SessionForm<Typed>,
) -> ApiResult<Response> {
    let who = Looker { session: session.id, address: visitor.address_text() };
    let found = device::look(&state, &fields.code, &who).await?;
    let request = match found {
        Ok(request) => request,
        Err(nothing) => return refused(&state, &session, &fields.code, nothing),
    };
    let question = Question {
        action: "/device/decide",
        hidden: vec![("code", request.user_code.clone())],
        client: request.client_name,
        code: Some(&request.user_code),
        host: &request.host,
        address: &request.address,
        asked_at: request.asked_at,
        scopes: &request.scopes,
    };
    consent::ask(&state, &session, &question).await
}

#[derive(Deserialize)]
pub struct Decided {
    code: String,
    decision: Decision,
    org: OrgId,
}

/// `POST /device/decide`.
pub async fn decide(
    State(state): State<AppState>,
    visitor: Visitor,
    SessionForm { session, fields }: SessionForm<Decided>,
) -> ApiResult<Response> {
    let decider = consent::decider(&session, fields.org, &visitor);
    let approve = fields.decision == Decision::Approve;
    match device::decide(&state, &decider, &fields.code, approve).await? {
        Ok(()) => consent::decided(&state, &session, fields.decision),
        Err(nothing) => refused(&state, &session, "", nothing),
    }
}

fn refused(state: &AppState, session: &Session, code: &str, nothing: NoRequest) -> ApiResult<Response> {
    match nothing {
        NoRequest::Unknown => {
            let error = "There is no such code, or it is no longer good. Codes are good for ten minutes, and once.";
            form(state, session, code, StatusCode::NOT_FOUND, Some(error.to_owned()))
        }
        NoRequest::TooMany(wait) => {
            let error = format!("There were too many wrong codes. Try again in {}.", words::wait(wait));
            let mut response = form(state, session, "", StatusCode::TOO_MANY_REQUESTS, Some(error))?;
            response.headers_mut().insert(RETRY_AFTER, (wait.as_secs() + 1).into());
            Ok(response)
        }
    }
}
