//! `/account`: the browsers that somebody is signed in with, the programs that they let act for them, and the organization that
//! it is about.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{Redirect, Response};
use ckrv_types::identity::Membership;
use ckrv_types::{LoginId, OrgId, ProblemCode, SessionId};
use serde::Deserialize;

use super::form::SessionForm;
use super::frame::{Frame, page};
use super::session::{self, Session};
use super::signed_out::Nothing;
use super::ways_in::WaysIn;
use super::words::{self, Moment};
use super::{Visitor, agent, consent};
use crate::db::{logins, sessions};
use crate::error::ApiResult;
use crate::http::extract::{Path, Query};
use crate::oauth::{self, revoke};
use crate::state::AppState;

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage {
    frame: Frame,
    name: String,
    done: Option<Done>,
    orgs: Vec<Membership>,
    chosen: Option<OrgId>,
    programs: Vec<Program>,
    browsers: Vec<Browser>,
    ways: WaysIn,
}

impl AccountPage {
    fn is_chosen(&self, membership: &Membership) -> bool {
        self.chosen == Some(membership.org)
    }
}

/// A program as its owner is shown it.
struct Program {
    id: LoginId,
    client: String,
    host: String,
    address: String,
    org: String,
    scopes: Vec<&'static str>,
    since: Moment,
    used: Moment,
    ends: Moment,
}

/// A browser as its owner is shown it.
struct Browser {
    id: SessionId,
    described: String,
    address: String,
    since: Moment,
    seen: Moment,
    is_this: bool,
}

/// What the page was left for, and was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Done {
    Program,
    Browser,
    Org,
    Joined,
    Linked,
    Unlinked,
    Password,
}

impl Done {
    const fn words(self) -> &'static str {
        match self {
            Self::Program => "The program is signed out. What it still holds is refused within a minute.",
            Self::Browser => "The browser is signed out.",
            Self::Org => "The organization is chosen.",
            Self::Joined => "You have joined the organization.",
            Self::Linked => "You can sign in by it from now on.",
            Self::Unlinked => "You can no longer sign in by it. Browsers that did are signed in still: end them below.",
            Self::Password => "The password is changed, and every other browser is signed out. Programs go on.",
        }
    }
}

#[derive(Deserialize)]
pub struct After {
    done: Option<Done>,
}

/// `GET /account`.
pub async fn show(State(state): State<AppState>, session: Session, Query(after): Query<After>) -> ApiResult<Response> {
    let mut tx = state.db.system().await?;
    let programs = logins::list(&mut tx, session.user).await?;
    let browsers = sessions::list(&mut tx, session.user).await?;
    tx.commit().await?;
    let shown = AccountPage {
        frame: Frame::of(&state, &session),
        orgs: consent::memberships(&state, &session).await?,
        ways: WaysIn::of(&state, &session).await?,
        name: session.name.clone(),
        done: after.done,
        chosen: session.org,
        programs: programs.into_iter().map(program).collect(),
        browsers: browsers.into_iter().map(|found| browser(found, session.id)).collect(),
    };
    page(StatusCode::OK, &shown)
}

fn program(login: logins::ShownLogin) -> Program {
    Program {
        scopes: login.scopes.iter().map(|scope| words::scope(*scope)).collect(),
        since: Moment::new(login.created_at),
        used: Moment::new(login.used_at),
        ends: Moment::new(login.expires_at),
        id: login.id,
        client: oauth::client_name(&login.client).to_owned(),
        host: login.host,
        address: login.address,
        org: login.org_name,
    }
}

fn browser(found: sessions::ShownSession, this: SessionId) -> Browser {
    Browser {
        id: found.id(),
        described: agent::describe(&found.agent),
        since: Moment::new(found.created_at),
        seen: Moment::new(found.seen_at),
        is_this: found.id() == this,
        address: found.address,
    }
}

/// `POST /account/sessions/{id}/revoke`.
pub async fn revoke_session(
    State(state): State<AppState>,
    visitor: Visitor,
    Path(id): Path<SessionId>,
    form: SessionForm<Nothing>,
) -> ApiResult<Redirect> {
    // Of somebody else's, as of none, nothing is told.
    let found = session::end(&state, form.session.user, id, "session.revoked", &visitor).await?;
    if found { Ok(Redirect::to("/account?done=browser")) } else { Err(ProblemCode::NotFound.into()) }
}

/// `POST /account/logins/{id}/revoke`.
pub async fn revoke_login(
    State(state): State<AppState>,
    visitor: Visitor,
    Path(id): Path<LoginId>,
    form: SessionForm<Nothing>,
) -> ApiResult<Redirect> {
    let address = visitor.address_text();
    let found = revoke::by_user(&state, form.session.user, id, &address).await?;
    if found { Ok(Redirect::to("/account?done=program")) } else { Err(ProblemCode::NotFound.into()) }
}

#[derive(Deserialize)]
pub struct Choice {
    org: OrgId,
}

/// `POST /account/org`.
pub async fn choose_org(
    State(state): State<AppState>,
    visitor: Visitor,
    SessionForm { session, fields }: SessionForm<Choice>,
) -> ApiResult<Redirect> {
    let found = session::choose_org(&state, &session, fields.org, &visitor).await?;
    if found { Ok(Redirect::to("/account?done=org")) } else { Err(ProblemCode::NotFound.into()) }
}
