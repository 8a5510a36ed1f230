//! A browser in which somebody has signed in: the cookie, looked up with every request, so that whoever is suspended or signed
//! out elsewhere is out at once.

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::response::{IntoResponse, Redirect, Response};
use ckrv_types::{OrgId, SessionId, UserId};
use serde_json::{Value, json};

use super::Visitor;
use super::cookies::{self, Cookie};
use super::return_to;
use crate::auth::tokens;
use crate::db::Tx;
use crate::db::audit::{self, Actor, Entry};
use crate::db::sessions::{self, NewSession};
use crate::error::{ApiError, ApiResult};
use crate::state::AppState;
use crate::teams::joining::PATH;

/// Somebody who is signed in.
#[derive(Debug, Clone)]
pub struct Session {
    pub id: SessionId,
    pub user: UserId,
    /// The person's.
    pub name: String,
    /// What the pages are about; none: the person belongs to no organization.
    pub org: Option<OrgId>,
}

/// Why there is no session for a page that needs one.
#[derive(Debug)]
pub enum NoSession {
    /// Nobody is signed in: they are led to the sign-in page, and from there to this path.
    SignIn(String),
    Failed(ApiError),
}

impl IntoResponse for NoSession {
    fn into_response(self) -> Response {
        match self {
            Self::SignIn(wanted) => Redirect::to(&return_to::sign_in_then(&wanted)).into_response(),
            Self::Failed(error) => error.into_response(),
        }
    }
}

impl FromRequestParts<AppState> for Session {
    type Rejection = NoSession;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, NoSession> {
        let found = find(state, &parts.headers).await.map_err(NoSession::Failed)?;
        found.ok_or_else(|| NoSession::SignIn(wanted(parts)))
    }
}

impl OptionalFromRequestParts<AppState> for Session {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> ApiResult<Option<Self>> {
        find(state, &parts.headers).await
    }
}

/// What can be asked for again after signing in: of a form, the page that it is on.
fn wanted(parts: &Parts) -> String {
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let page = match parts.method {
        Method::GET | Method::HEAD => path,
        _ if path.starts_with(PATH) => path,
        _ if path.starts_with("/device") => "/device",
        _ => return_to::HOME,
    };
    return_to::checked(page).unwrap_or(return_to::HOME).to_owned()
}

async fn find(state: &AppState, headers: &HeaderMap) -> ApiResult<Option<Session>> {
    let Some(cookie) = Cookie::Session.read(&state.config, headers) else { return Ok(None) };
    let mut tx = state.db.system().await?;
    let found = sessions::find(&mut tx, &tokens::hash(&cookie)).await?;
    tx.commit().await?;
    Ok(found.map(|found| Session { id: found.id, user: found.user, name: found.name, org: found.org }))
}

/// How somebody has shown who they are.
#[derive(Debug, Clone, Copy)]
pub enum Means<'a> {
    Password,
    /// By the provider with this id.
    Provider(&'a str),
}

impl Means<'_> {
    /// As the audit log says it.
    pub fn detail(self) -> Value {
        match self {
            Self::Password => json!({ "means": "password" }),
            Self::Provider(id) => json!({ "means": "provider", "provider": id }),
        }
    }
}

/// Begins a session of this person, who has shown who they are by `means`, in place of one that the browser may have had. The
/// answer's `Set-Cookie`.
///
/// Whatever cookie the browser came with, somebody else may have put there: the new one is made here.
///
/// `tx`: a system's transaction, in which what they have shown was seen to hold still; it is committed.
pub async fn begin(
    mut tx: Tx,
    state: &AppState,
    user: UserId,
    means: Means<'_>,
    visitor: &Visitor,
    headers: &HeaderMap,
) -> ApiResult<HeaderValue> {
    let (id, cookie, address) = (SessionId::new(), cookies::random(), visitor.address_text());
    if let Some(old) = Cookie::Session.read(&state.config, headers) {
        sessions::replace(&mut tx, &tokens::hash(&old)).await?;
    }
    let hash = tokens::hash(&cookie);
    sessions::create(&mut tx, &NewSession { id, user, hash, address: &address, agent: &visitor.agent }).await?;
    let entry = Entry {
        org: None,
        actor: Actor::User(user),
        action: "session.begun",
        subject: Some(id.to_string()),
        address: Some(&address),
        detail: means.detail(),
    };
    audit::write(&mut tx, &entry).await?;
    tx.commit().await?;
    Ok(Cookie::Session.set(&state.config, &cookie))
}

/// Ends a session of this person; whether there was one. `action` is what the audit log calls it.
pub async fn end(state: &AppState, user: UserId, id: SessionId, action: &str, visitor: &Visitor) -> ApiResult<bool> {
    let address = visitor.address_text();
    let mut tx = state.db.system().await?;
    if !sessions::revoke(&mut tx, user, id).await? {
        return Ok(false);
    }
    let entry = Entry {
        org: None,
        actor: Actor::User(user),
        action,
        subject: Some(id.to_string()),
        address: Some(&address),
        detail: json!({}),
    };
    audit::write(&mut tx, &entry).await?;
    tx.commit().await?;
    Ok(true)
}

/// Has the pages be about this organization; whether the person is a member of it.
pub async fn choose_org(state: &AppState, session: &Session, org: OrgId, visitor: &Visitor) -> ApiResult<bool> {
    let address = visitor.address_text();
    let mut tx = state.db.system().await?;
    if !sessions::choose_org(&mut tx, session.id, session.user, org).await? {
        return Ok(false);
    }
    let entry = Entry {
        org: Some(org),
        actor: Actor::User(session.user),
        action: "session.org-chosen",
        subject: Some(session.id.to_string()),
        address: Some(&address),
        detail: json!({}),
    };
    audit::write(&mut tx, &entry).await?;
    tx.commit().await?;
    Ok(true)
}
