//! What somebody can sign in by, on their account's page: a password, and the identities that others vouch for. Another is
//! added by being vouched for; any may be removed but the last that works.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{Redirect, Response};
use ckrv_types::{Problem, ProblemCode};
use serde::Deserialize;
use serde_json::json;

use super::csrf::Csrf;
use super::form::SessionForm;
use super::session::Session;
use super::words::Moment;
use super::{Visitor, providers};
use crate::db::audit::{self, Actor, Entry};
use crate::db::identities::ShownIdentity;
use crate::db::{accounts, identities};
use crate::error::ApiResult;
use crate::http::extract::{Path, Query};
use crate::providers::Provider;
use crate::state::AppState;

/// As their owner is shown them.
pub struct WaysIn {
    /// The login name of a local account.
    pub login: Option<String>,
    pub identities: Vec<Identity>,
    /// Providers that can be added: what they are called, and the link.
    pub others: Vec<(String, String)>,
}

pub struct Identity {
    pub label: String,
    pub account: Option<String>,
    pub issuer: String,
    pub subject: String,
    pub since: Moment,
    pub used: Option<Moment>,
    /// Whether there is another way that works.
    pub removable: bool,
}

impl WaysIn {
    pub async fn of(state: &AppState, session: &Session) -> ApiResult<Self> {
        let mut tx = state.db.system().await?;
        let local = accounts::of_user(&mut tx, session.user).await?;
        let known = identities::list(&mut tx, session.user).await?;
        tx.commit().await?;
        let login = local.filter(|_| state.config.sign_in_passwords).map(|(login, _)| login);
        let csrf = Csrf::of_link(state, session.id);
        // Somebody may have several accounts at one provider, but hardly wants to.
        let others = state.providers.all().iter().filter(|one| known.iter().all(|known| known.issuer != one.issuer()));
        let link = |id: &str| format!("/account/identities/{id}/link?csrf={}", csrf.as_str());
        let others = others.map(|one| (one.label.clone(), link(&one.id))).collect();
        // Nobody comes in by a provider that this installation no longer has.
        let works = |identity: &ShownIdentity| state.providers.of_issuer(&identity.issuer).is_some();
        let working = known.iter().filter(|identity| works(identity)).count() + usize::from(login.is_some());
        let show = |identity| {
            let removable = working > usize::from(works(&identity));
            shown(state, identity, removable)
        };
        let identities = known.into_iter().map(show).collect();
        Ok(Self { login, identities, others })
    }

    /// Whether there is anything to say.
    pub fn is_empty(&self) -> bool {
        self.login.is_none() && self.identities.is_empty() && self.others.is_empty()
    }
}

fn shown(state: &AppState, identity: ShownIdentity, removable: bool) -> Identity {
    let provider = state.providers.of_issuer(&identity.issuer);
    Identity {
        label: provider.map_or_else(|| identity.issuer.clone(), |provider| provider.label.clone()),
        account: identity.account,
        since: Moment::new(identity.created_at),
        used: identity.used_at.map(Moment::new),
        issuer: identity.issuer,
        subject: identity.subject,
        removable,
    }
}

#[derive(Deserialize)]
pub struct Checked {
    csrf: Option<String>,
}

/// `GET /account/identities/{provider}/link`. No form: browsers hold a form's redirects to our own policy, and this one leads
/// elsewhere.
pub async fn link(
    State(state): State<AppState>,
    session: Session,
    Path(id): Path<String>,
    Query(checked): Query<Checked>,
    visitor: Visitor,
    headers: HeaderMap,
) -> ApiResult<Response> {
    Csrf::of_link(&state, session.id).check(checked.csrf.as_deref())?;
    let provider = providers::find(&state, &id)?;
    providers::send(&state, provider, "/account?done=linked", Some(session.user), &visitor, &headers).await
}

#[derive(Deserialize)]
pub struct Which {
    issuer: String,
    subject: String,
}

/// `POST /account/identities/unlink`.
pub async fn unlink(
    State(state): State<AppState>,
    visitor: Visitor,
    SessionForm { session, fields }: SessionForm<Which>,
) -> ApiResult<Redirect> {
    let (identity, passwords) = ((fields.issuer.as_str(), fields.subject.as_str()), state.config.sign_in_passwords);
    let mut tx = state.db.system().await?;
    let issuers: Vec<&str> = state.providers.all().iter().map(Provider::issuer).collect();
    if !identities::unlink(&mut tx, session.user, identity, passwords, &issuers).await? {
        return Err(Problem::new(ProblemCode::Conflict)
            .detail("It is not yours, or it is the last thing that you can sign in by.")
            .hint("Add another first.")
            .into());
    }
    let address = visitor.address_text();
    let entry = Entry {
        org: None,
        actor: Actor::User(session.user),
        action: "identity.unlinked",
        subject: Some(session.user.to_string()),
        address: Some(&address),
        detail: json!({ "issuer": fields.issuer, "subject": fields.subject }),
    };
    audit::write(&mut tx, &entry).await?;
    tx.commit().await?;
    Ok(Redirect::to("/account?done=unlinked"))
}
