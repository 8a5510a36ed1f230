//! `/oauth/authorize`: a program has sent its user's browser here (RFC 6749, section 4.1), and waits on loopback for the
//! answer.

use axum::extract::{RawQuery, State};
use axum::http::header::CONTENT_SECURITY_POLICY;
use axum::response::{IntoResponse as _, Redirect, Response};
use ckrv_types::{OrgId, Problem, ProblemCode};
use serde::Deserialize;
use time::OffsetDateTime;

use super::consent::{self, Decision, Question};
use super::form::SessionForm;
use super::frame::policy_towards;
use super::session::Session;
use super::{Visitor, return_to};
use crate::error::{ApiError, ApiResult};
use crate::oauth::authorize::{self, AuthorizeError, AuthorizeQuery, AuthorizeRequest};
use crate::oauth::paths::AUTHORIZE;
use crate::state::AppState;

/// `GET /oauth/authorize`.
pub async fn show(
    State(state): State<AppState>,
    RawQuery(query): RawQuery,
    visitor: Visitor,
    session: Option<Session>,
) -> ApiResult<Response> {
    let query = query.unwrap_or_default();
    let request = match check(&state, &query) {
        Ok(request) => request,
        Err(refusal) => return answer(refusal),
    };
    let Some(session) = session else {
        let here = format!("{AUTHORIZE}?{query}");
        return Ok(Redirect::to(&return_to::sign_in_then(&here)).into_response());
    };
    let question = Question {
        action: "/oauth/authorize/decide",
        hidden: vec![("request", query)],
        client: request.client_name,
        code: None,
        host: &request.host,
        address: &visitor.address_text(),
        asked_at: OffsetDateTime::now_utc(),
        scopes: &request.scopes,
    };
    let mut response = consent::ask(&state, &session, &question).await?;
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy_towards(&request.redirect_origin())?);
    Ok(response)
}

#[derive(Deserialize)]
pub struct Decided {
    /// The query that the question was asked for.
    request: String,
    decision: Decision,
    org: OrgId,
}

/// `POST /oauth/authorize/decide`.
pub async fn decide(
    State(state): State<AppState>,
    visitor: Visitor,
    SessionForm { session, fields }: SessionForm<Decided>,
) -> ApiResult<Response> {
    let request = match check(&state, &fields.request) {
        Ok(request) => request,
        Err(refusal) => return answer(refusal),
    };
    let decider = consent::decider(&session, fields.org, &visitor);
    let target = authorize::decide(&state, &decider, &request, fields.decision == Decision::Approve).await?;
    Ok(Redirect::to(target.as_str()).into_response())
}

fn check(state: &AppState, query: &str) -> Result<AuthorizeRequest, AuthorizeError> {
    authorize::check(&state.config.issuer(), &AuthorizeQuery::parse(query)?)
}

fn answer(refusal: AuthorizeError) -> ApiResult<Response> {
    match refusal {
        AuthorizeError::Redirect(target) => Ok(Redirect::to(target.as_str()).into_response()),
        AuthorizeError::Page(words) => Err(ApiError::from(
            Problem::new(ProblemCode::BadRequest).detail(words).hint("Start again in the program that sent you here."),
        )),
    }
}
