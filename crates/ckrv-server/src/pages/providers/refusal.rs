//! Why somebody who was sent to a provider is not signed in: what they are told to do about it, and what is written down.

use std::time::Duration;

use askama::Template;
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::Response;
use ckrv_types::UserId;
use serde_json::{Value, json};

use super::super::frame::{Frame, page};
use super::super::session::Means;
use super::super::{Visitor, return_to, sign_in, words};
use crate::db::audit::{self, Actor, Entry};
use crate::error::ApiResult;
use crate::providers::{Provider, ProviderError, Vouched};
use crate::state::AppState;
use crate::text;

const CODE_CHARS: usize = 60;
const ACCOUNT_CHARS: usize = 100;

#[derive(Debug)]
pub enum Refusal {
    /// No sign-in of this browser's: begun elsewhere, too long ago, or finished.
    Unknown,
    /// Too many were begun from there, or came to nothing.
    TooMany(Duration),
    /// They said no there, or their administrator did.
    Denied,
    /// The provider's error code.
    ByProvider(String),
    /// The provider does not answer.
    Away,
    /// It answers what nobody can believe.
    Unsound(String),
    Suspended(UserId),
    /// Nobody here is known by this.
    Stranger(Vouched),
    /// Somebody else here is.
    Taken(Vouched),
    /// Another person is signed in by now than the one who wanted to be known by it.
    SomebodyElse,
}

#[derive(Template)]
#[template(path = "refused.html")]
struct RefusedPage {
    frame: Frame,
    title: &'static str,
    what: String,
    hint: String,
    /// Where they can start again.
    again: String,
}

impl Refusal {
    pub fn by_provider(error: &str) -> Self {
        match error {
            "access_denied" => Self::Denied,
            "temporarily_unavailable" | "server_error" => Self::Away,
            _ => Self::ByProvider(text::visible(error, CODE_CHARS)),
        }
    }

    pub fn of(error: &ProviderError, provider: &Provider) -> Self {
        tracing::warn!(provider = provider.id, error = error as &dyn std::error::Error, "nobody is signed in");
        match error {
            ProviderError::Away(_) => Self::Away,
            ProviderError::Refused(code) => Self::ByProvider(text::visible(code, CODE_CHARS)),
            ProviderError::Unsound(what) => Self::Unsound(what.clone()),
        }
    }

    const fn status(&self) -> StatusCode {
        match self {
            Self::Unknown => StatusCode::BAD_REQUEST,
            Self::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Away => StatusCode::SERVICE_UNAVAILABLE,
            Self::Taken(_) => StatusCode::CONFLICT,
            _ => StatusCode::FORBIDDEN,
        }
    }

    /// The page's title, what happened, and what to do.
    fn words(&self, label: &str) -> (&'static str, String, String) {
        match self {
            Self::Unknown => (
                "This sign-in is over",
                "It was begun in another browser, more than ten minutes ago, or is finished already.".to_owned(),
                String::new(),
            ),
            Self::TooMany(wait) => (
                "You are not signed in yet",
                "There were too many sign-ins from your address that came to nothing.".to_owned(),
                format!("Start again in {}.", words::wait(*wait)),
            ),
            Self::Denied => (
                "You are not signed in",
                format!("{label} was told not to let you in here."),
                "If it was not you who said so, ask whoever looks after your account there.".to_owned(),
            ),
            Self::ByProvider(code) => (
                "You are not signed in",
                format!("{label} refused: {code}."),
                "Start again. If it stays so, tell whoever runs this installation what it said.".to_owned(),
            ),
            Self::Away => (
                "You are not signed in yet",
                format!("{label} cannot be reached from here at the moment."),
                "Start again in a minute.".to_owned(),
            ),
            Self::Unsound(_) => (
                "You are not signed in",
                format!("What {label} answered cannot be trusted, so nothing was done with it."),
                "Start again. If it stays so, tell whoever runs this installation: their log says why.".to_owned(),
            ),
            Self::Suspended(_) => ("You are not signed in", sign_in::SUSPENDED.to_owned(), String::new()),
            Self::Stranger(vouched) => (
                "Nobody here knows you by this",
                format!("You came as {}, and nobody here is known by that.", called(vouched, label)),
                "Open the link of an invitation, and sign in from there: ask an owner of your organization for one. If \
                 you have an account here, sign in as you do otherwise, and add this one on your account's page."
                    .to_owned(),
            ),
            Self::Taken(vouched) => (
                "This is somebody else's",
                format!("Another account here is known by {}.", called(vouched, label)),
                "Sign in with it to see whose it is. It can be removed there, and then added here.".to_owned(),
            ),
            Self::SomebodyElse => (
                "Nothing was added",
                "You are signed in as somebody else than when you began, or not at all.".to_owned(),
                "Sign in, and start again on your account's page.".to_owned(),
            ),
        }
    }

    /// `wanted`: where starting again leads.
    pub fn show(&self, provider: &Provider, wanted: &str) -> ApiResult<Response> {
        let (title, what, hint) = self.words(&provider.label);
        let again = return_to::sign_in_then(wanted);
        let mut response = page(self.status(), &RefusedPage { frame: Frame::open(), title, what, hint, again })?;
        if let Self::TooMany(wait) = self {
            response.headers_mut().insert(RETRY_AFTER, (wait.as_secs() + 1).into());
        }
        Ok(response)
    }

    /// Writes it down.
    pub async fn note(&self, state: &AppState, provider: &Provider, visitor: &Visitor) -> ApiResult<()> {
        let Some(reason) = self.reason() else { return Ok(()) };
        let mut detail = Means::Provider(&provider.id).detail();
        if let (Value::Object(detail), Value::Object(reason)) = (&mut detail, reason) {
            detail.extend(reason);
        }
        let address = visitor.address_text();
        let entry = Entry {
            org: None,
            actor: Actor::Anonymous,
            action: "session.refused",
            subject: if let Self::Suspended(user) = self { Some(user.to_string()) } else { None },
            address: Some(&address),
            detail,
        };
        let mut tx = state.db.system().await?;
        audit::write(&mut tx, &entry).await?;
        Ok(tx.commit().await?)
    }

    fn reason(&self) -> Option<Value> {
        let whose = |vouched: &Vouched, reason| json!({ "reason": reason, "issuer": vouched.issuer, "subject": vouched.subject });
        Some(match self {
            Self::TooMany(_) => return None,
            Self::Unknown => json!({ "reason": "unknown" }),
            Self::Denied => json!({ "reason": "denied" }),
            Self::ByProvider(code) => json!({ "reason": "provider", "code": code }),
            Self::Away => json!({ "reason": "away" }),
            Self::Unsound(what) => json!({ "reason": "unsound", "what": what }),
            Self::Suspended(_) => json!({ "reason": "suspended", "suspended": true }),
            Self::Stranger(vouched) => whose(vouched, "stranger"),
            Self::Taken(vouched) => whose(vouched, "taken"),
            Self::SomebodyElse => json!({ "reason": "somebody-else" }),
        })
    }
}

/// Somebody at a provider, for people to recognize.
fn called(vouched: &Vouched, label: &str) -> String {
    let name =
        vouched.account.as_deref().map(|name| text::visible(name, ACCOUNT_CHARS)).filter(|name| !name.is_empty());
    match name {
        Some(name) => format!("{name} at {label}"),
        None => format!("an account at {label}"),
    }
}
