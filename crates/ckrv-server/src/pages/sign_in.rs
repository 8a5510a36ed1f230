//! `/login`: by a local account, or on to somebody who vouches for people ([`super::providers`]).
//!
//! What is wrong, name or password, is told to nobody, by words or by the time that it takes.

use askama::Template;
use axum::extract::State;
use axum::http::header::{RETRY_AFTER, SET_COOKIE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Redirect, Response};
use ckrv_types::{ProblemCode, Secret};
use serde::Deserialize;
use serde_json::json;

use super::cookies::{self, Cookie};
use super::csrf::Csrf;
use super::failures::Failures;
use super::form::BrowserForm;
use super::frame::{Frame, page};
use super::session::{self, Means, Session};
use super::{Visitor, providers, return_to, words};
use crate::auth::passwords;
use crate::db::Tx;
use crate::db::accounts::{self, Account};
use crate::db::audit::{self, Actor, Entry};
use crate::error::ApiResult;
use crate::http::extract::Query;
use crate::providers::Provider;
use crate::state::AppState;

const WRONG: &str = "This name and password do not belong together.";
pub const SUSPENDED: &str = "This account is suspended. Ask whoever runs this installation.";

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage<'a> {
    frame: Frame,
    csrf: &'a str,
    login: &'a str,
    return_to: &'a str,
    error: Option<String>,
    /// Whether there is a form at all.
    passwords: bool,
    providers: Vec<Way<'a>>,
}

/// A provider that somebody may go on to.
struct Way<'a> {
    label: &'a str,
    path: String,
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
        let way = |provider: &'_ Provider| providers::sign_in_path(provider, return_to);
        let providers = state.providers.all().iter();
        let providers = providers.map(|provider| Way { label: &provider.label, path: way(provider) }).collect();
        let (csrf, login, passwords) = (csrf.as_str(), self.login.as_str(), state.config.sign_in_passwords);
        page(status, &SignInPage { frame, csrf, login, return_to, error, passwords, providers })
    }
}

/// `POST /login`.
pub async fn sign_in(
    State(state): State<AppState>,
    visitor: Visitor,
    headers: HeaderMap,
    BrowserForm(form): BrowserForm<Form>,
) -> ApiResult<Response> {
    if !state.config.sign_in_passwords {
        return Err(ProblemCode::NotFound.into());
    }
    let cookie = Cookie::Csrf.read(&state.config, &headers).unwrap_or_default();
    let login = form.login.trim().to_lowercase();
    let failures = Failures::of(&login, visitor.address);
    if let Err(wait) = failures.charge(&state).await? {
        let error = format!("There were too many failed attempts. Try again in {}.", words::wait(wait));
        let mut response = form.show(&state, &cookie, StatusCode::TOO_MANY_REQUESTS, Some(error))?;
        response.headers_mut().insert(RETRY_AFTER, (wait.as_secs() + 1).into());
        return Ok(response);
    }
    match check(&state, &login, &form.password, &visitor).await? {
        Ok(account) => {
            let user = account.user();
            let mut tx = state.db.system().await?;
            // Whoever changes a password has all sessions ended that there are: this one must not begin behind it.
            if !accounts::is_still(&mut tx, user, &account.password_hash).await? {
                note_failure(&mut tx, &login, Some(&account), &visitor).await?;
                tx.commit().await?;
                return form.show(&state, &cookie, StatusCode::FORBIDDEN, Some(WRONG.to_owned()));
            }
            failures.give_back(&state).await?;
            let cookie = session::begin(tx, &state, user, Means::Password, &visitor, &headers).await?;
            let target = return_to::checked(&form.return_to).unwrap_or(return_to::HOME);
            Ok(([(SET_COOKIE, cookie)], Redirect::to(target)).into_response())
        }
        Err(refusal) => form.show(&state, &cookie, StatusCode::FORBIDDEN, Some(refusal.to_owned())),
    }
}

/// The account with this name and password; otherwise what to say.
async fn check(
    state: &AppState,
    login: &str,
    password: &Secret,
    visitor: &Visitor,
) -> ApiResult<Result<Account, &'static str>> {
    let account = if accounts::is_login(login) { find(state, login).await? } else { None };
    let stored = account.as_ref().map(|account| account.password_hash.clone());
    let same = passwords::matches(password.clone(), stored).await?;
    match account {
        Some(account) if same && !account.suspended => Ok(Ok(account)),
        account => {
            let mut tx = state.db.system().await?;
            note_failure(&mut tx, login, account.as_ref(), visitor).await?;
            tx.commit().await?;
            // Who knows the password may know this.
            Ok(Err(if same { SUSPENDED } else { WRONG }))
        }
    }
}

async fn find(state: &AppState, login: &str) -> ApiResult<Option<Account>> {
    let mut tx = state.db.system().await?;
    let account = accounts::find(&mut tx, login).await?;
    tx.commit().await?;
    Ok(account)
}

/// An unknown name is not written down: it may be a password that was typed into the wrong field.
async fn note_failure(
    tx: &mut Tx,
    login: &str,
    account: Option<&Account>,
    visitor: &Visitor,
) -> Result<(), sqlx::Error> {
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
    audit::write(tx, &entry).await
}
