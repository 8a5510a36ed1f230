//! What a person is asked before a program may act for them, however the program asked.

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;
use ckrv_types::identity::{Membership, Scope};
use ckrv_types::{OrgId, Problem, ProblemCode};
use serde::Deserialize;
use time::OffsetDateTime;

use super::Visitor;
use super::frame::{Frame, page};
use super::session::Session;
use super::words::{self, Moment};
use crate::db::logins;
use crate::error::ApiResult;
use crate::oauth::Decider;
use crate::state::AppState;

/// The question.
pub struct Question<'a> {
    /// The path that the answer goes to, and the fields that go with it.
    pub action: &'static str,
    pub hidden: Vec<(&'static str, String)>,
    pub client: &'a str,
    /// What the program shows, to be compared.
    pub code: Option<&'a str>,
    /// What the program says that it runs on; empty: nothing.
    pub host: &'a str,
    /// Where it asks from.
    pub address: &'a str,
    pub asked_at: OffsetDateTime,
    pub scopes: &'a [Scope],
}

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    Approve,
    Deny,
}

#[derive(Template)]
#[template(path = "consent.html")]
struct ConsentPage<'a> {
    frame: Frame,
    question: &'a Question<'a>,
    asked_at: Moment,
    scopes: Vec<&'static str>,
    orgs: Vec<Membership>,
    chosen: OrgId,
}

/// Asks.
pub async fn ask(state: &AppState, session: &Session, question: &Question<'_>) -> ApiResult<Response> {
    let orgs = memberships(state, session).await?;
    let belongs = |org: &OrgId| orgs.iter().any(|membership| membership.org == *org);
    let chosen = session.org.filter(belongs).or_else(|| orgs.first().map(|first| first.org)).ok_or_else(|| {
        Problem::new(ProblemCode::Forbidden)
            .detail("Your account belongs to no organization, so there is nothing that a program could do for you.")
            .hint("Ask an owner of an organization to add you, then start again.")
    })?;
    let scopes = question.scopes.iter().map(|scope| words::scope(*scope)).collect();
    let (frame, asked_at) = (Frame::of(state, session), Moment::new(question.asked_at));
    page(StatusCode::OK, &ConsentPage { frame, question, asked_at, scopes, orgs, chosen })
}

/// Where the person belongs, by name.
pub async fn memberships(state: &AppState, session: &Session) -> ApiResult<Vec<Membership>> {
    let mut tx = state.db.system().await?;
    let found = logins::memberships(&mut tx, session.user).await?;
    tx.commit().await?;
    Ok(found)
}

/// Who answers, for this organization.
pub fn decider(session: &Session, org: OrgId, visitor: &Visitor) -> Decider {
    Decider { user: session.user, session: session.id, org, address: visitor.address_text() }
}

#[derive(Template)]
#[template(path = "decided.html")]
struct DecidedPage {
    frame: Frame,
    approved: bool,
}

/// Tells that the answer was heard.
pub fn decided(state: &AppState, session: &Session, decision: Decision) -> ApiResult<Response> {
    let approved = decision == Decision::Approve;
    page(StatusCode::OK, &DecidedPage { frame: Frame::of(state, session), approved })
}
