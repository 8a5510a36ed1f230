//! `/login`: by a local account.
//!
//! Failures are counted by login name and by address; what is wrong, name or password, is told to nobody, by words or by
//! the time that it takes.

use std::time::Duration;

use askama::Template;
use axum::extract::State;
use axum::http::header::{RETRY_AFTER, SET_COOKIE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Redirect, Response};
use ckrv_types::{Secret, UserId, limits};
use serde::Deserialize;
use serde_json::json;

use super::cookies::{self, Cookie};
use super::csrf::Csrf;
use super::form::BrowserForm;
use super::frame::{Frame, page};
use super::session::{self, Session};
use super::{Visitor, return_to, words};
use crate::auth::{passwords, tokens};
use crate::db::accounts::{self, Account};
use crate::db::audit::{self, Actor, Entry};
use crate::db::rate_limits;
use crate::error::ApiResult;
use crate::http::extract::Query;
use crate::http::rate::address::ClientAddress;
use crate::state::AppState;

const WRONG: &str = "This name and password do not belong together.";
const SUSPENDED: &str = "This account is suspended. Ask whoever runs this installation.";

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage<'a> {
    frame: Frame,
    csrf: &'a str,
    login: &'a str,
    return_to: &'a str,
    error: Option<String>,
}

#[derive(Deserialize)]
pub struct Wanted {
    #[serde(default)]
    return_to: String,
}

/// `GET /login`.
pub async fn show(
    State(state): State<AppState>,
    Query(wanted): Query<Wanted>,
    session: Option<Session>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let return_to = return_to::checked(&wanted.return_to).unwrap_or(return_to::HOME);
    if session.is_some() {
        return Ok(Redirect::to(return_to).into_response());
    }
    let known = Cookie::Csrf.read(&state.config, &headers);
    let cookie = known.clone().unwrap_or_else(cookies::random);
    let form = Form { login: String::new(), password: Secret::new(""), return_to: return_to.to_owned() };
    let mut response = form.show(&state, &cookie, StatusCode::OK, None)?;
    if known.is_none() {
        response.headers_mut().insert(SET_COOKIE, Cookie::Csrf.set(&state.config, &cookie));
    }
    Ok(response)
}

#[derive(Deserialize)]
pub struct Form {
    login: String,
    password: Secret,
    #[serde(default)]
    return_to: String,
}

impl Form {
    /// The form (again), with what is wrong.
    fn show(&self, state: &AppState, cookie: &str, status: StatusCode, error: Option<String>) -> ApiResult<Response> {
        let (frame, csrf) = (Frame::open(), Csrf::of_browser(state, cookie));
        let return_to = return_to::checked(&self.return_to).unwrap_or(return_to::HOME);
        page(status, &SignInPage { frame, csrf: csrf.as_str(), login: &self.login, return_to, error })
    }
}

/// `POST /login`.
pub async fn sign_in(
    State(state): State<AppState>,
    visitor: Visitor,
    headers: HeaderMap,
    BrowserForm(form): BrowserForm<Form>,
) -> ApiResult<Response> {
    let cookie = Cookie::Csrf.read(&state.config, &headers).unwrap_or_default();
    let login = form.login.trim().to_lowercase();
    let limits = Limits::new(&login, visitor.address);
    if let Err(wait) = limits.charge(&state).await? {
        let error = format!("There were too many failed attempts. Try again in {}.", words::wait(wait));
        let mut response = form.show(&state, &cookie, StatusCode::TOO_MANY_REQUESTS, Some(error))?;
        response.headers_mut().insert(RETRY_AFTER, (wait.as_secs() + 1).into());
        return Ok(response);
    }
    match check(&state, &login, &form.password, &visitor).await? {
        Ok(user) => {
            limits.give_back(&state).await?;
            let cookie = session::begin(&state, user, "password", &visitor, &headers).await?;
            let target = return_to::checked(&form.return_to).unwrap_or(return_to::HOME);
            Ok(([(SET_COOKIE, cookie)], Redirect::to(target)).into_response())
        }
        Err(refusal) => form.show(&state, &cookie, StatusCode::FORBIDDEN, Some(refusal.to_owned())),
    }
}

/// Who has this name and password; otherwise what to say.
async fn check(
    state: &AppState,
    login: &str,
    password: &Secret,
    visitor: &Visitor,
) -> ApiResult<Result<UserId, &'static str>> {
    let mut tx = state.db.system().await?;
    let account = accounts::find(&mut tx, login).await?;
    tx.commit().await?;
    let stored = account.as_ref().map(|account| account.password_hash.clone());
    let same = passwords::matches(password.clone(), stored).await?;
    match account {
        Some(account) if same && !account.suspended => Ok(Ok(account.user())),
        account => {
            note_failure(state, login, account.as_ref(), visitor).await?;
            // Who knows the password may know this.
            Ok(Err(if same { SUSPENDED } else { WRONG }))
        }
    }
}

/// An unknown name is not written down: it may be a password that was typed into the wrong field.
async fn note_failure(state: &AppState, login: &str, account: Option<&Account>, visitor: &Visitor) -> ApiResult<()> {
    let address = visitor.address_text();
    let entry = Entry {
        org: None,
        actor: Actor::Anonymous,
        action: "session.refused",
        subject: account.map(|account| account.user().to_string()),
        address: Some(&address),
        detail: match account {
            Some(account) => json!({ "means": "password", "login": login, "suspended": account.suspended }),
            None => json!({ "means": "password" }),
        },
    };
    let mut tx = state.db.system().await?;
    audit::write(&mut tx, &entry).await?;
    Ok(tx.commit().await?)
}

/// The two allowances that a failure uses up, each a bucket and the time that one failure takes to be forgotten.
struct Limits([(String, Duration); 2]);

impl Limits {
    const WINDOW: Duration = Duration::from_secs(limits::SIGN_IN_WINDOW_SECONDS);

    fn new(login: &str, address: ClientAddress) -> Self {
        let name = hex::encode(&tokens::hash(login)[..16]);
        Self([
            (format!("sign-in:address:{}", address.bucket()), Self::WINDOW / limits::SIGN_IN_FAILURES_ADDRESS),
            (format!("sign-in:login:{name}"), Self::WINDOW / limits::SIGN_IN_FAILURES_LOGIN),
        ])
    }

    /// Charged before the password is looked at, so that many at once guess no more often; `Err`: how long to wait.
    async fn charge(&self, state: &AppState) -> ApiResult<Result<(), Duration>> {
        for (bucket, interval) in &self.0 {
            if let Err(wait) = rate_limits::charge(&state.db, bucket, *interval, Self::WINDOW).await? {
                return Ok(Err(wait));
            }
        }
        Ok(Ok(()))
    }

    /// It was no failure.
    async fn give_back(&self, state: &AppState) -> ApiResult<()> {
        for (bucket, interval) in &self.0 {
            rate_limits::give_back(&state.db, bucket, *interval).await?;
        }
        Ok(())
    }
}
