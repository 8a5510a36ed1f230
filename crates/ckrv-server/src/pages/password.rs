//! `/account/password`: another password for a local account. Who changes it knows the one before, and every other browser
//! is signed out: somebody may have had it too.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::{IntoResponse as _, Redirect, Response};
use ckrv_types::{ProblemCode, Secret};
use serde::Deserialize;
use serde_json::{Value, json};

use super::failures::Failures;
use super::form::SessionForm;
use super::frame::{Frame, page};
use super::session::Session;
use super::{Visitor, return_to, words};
use crate::auth::passwords::{self, MIN_CHARS};
use crate::db::audit::{self, Actor, Entry};
use crate::db::{Tx, accounts, sessions};
use crate::error::ApiResult;
use crate::state::AppState;

const NOT_YOURS: &str = "This is not your password.";

#[derive(Template)]
#[template(path = "password.html")]
struct PasswordPage<'a> {
    frame: Frame,
    login: &'a str,
    least: usize,
    error: Option<(Field, String)>,
}

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Current,
    New,
    Again,
}

impl PasswordPage<'_> {
    fn is_wrong(&self, field: Field) -> bool {
        self.error.as_ref().is_some_and(|(wrong, _)| *wrong == field)
    }
}

#[derive(Deserialize)]
pub struct Form {
    current: Secret,
    new: Secret,
    again: Secret,
}

/// `GET /account/password`.
pub async fn show(State(state): State<AppState>, session: Session) -> ApiResult<Response> {
    let (login, _) = account(&state, &session).await?;
    form(&state, &session, &login, StatusCode::OK, None)
}

/// `POST /account/password`.
pub async fn change(
    State(state): State<AppState>,
    visitor: Visitor,
    SessionForm { session, fields }: SessionForm<Form>,
) -> ApiResult<Response> {
    let (login, stored) = account(&state, &session).await?;
    let wrong = |status, field, text: String| form(&state, &session, &login, status, Some((field, text)));
    if !passwords::fits(&fields.new) {
        let text = format!("A password has at least {MIN_CHARS} characters.");
        return wrong(StatusCode::UNPROCESSABLE_ENTITY, Field::New, text);
    }
    if fields.new != fields.again {
        let text = "The new password was not the same both times.".to_owned();
        return wrong(StatusCode::UNPROCESSABLE_ENTITY, Field::Again, text);
    }
    let failures = Failures::of(&login, visitor.address);
    if let Err(wait) = failures.charge(&state).await? {
        let text = format!("There were too many failed attempts. Try again in {}.", words::wait(wait));
        let mut response = wrong(StatusCode::TOO_MANY_REQUESTS, Field::Current, text)?;
        response.headers_mut().insert(RETRY_AFTER, (wait.as_secs() + 1).into());
        return Ok(response);
    }
    if !passwords::matches(fields.current, Some(stored.clone())).await? {
        let mut tx = state.db.system().await?;
        note(&mut tx, &session, &visitor, "password.refused", json!({})).await?;
        tx.commit().await?;
        return wrong(StatusCode::FORBIDDEN, Field::Current, NOT_YOURS.to_owned());
    }
    failures.give_back(&state).await?;
    let hash = passwords::hashed(fields.new).await?;
    let mut tx = state.db.system().await?;
    // Of two changes at once, and of a change and being signed out by it, the first holds.
    if !accounts::is_still(&mut tx, session.user, &stored).await? {
        return wrong(StatusCode::FORBIDDEN, Field::Current, NOT_YOURS.to_owned());
    }
    if !sessions::is_open(&mut tx, session.id).await? {
        return Ok(Redirect::to(&return_to::sign_in_then("/account/password")).into_response());
    }
    accounts::set_password(&mut tx, &login, &hash).await?;
    let ended = sessions::revoke_others(&mut tx, session.user, session.id).await?;
    note(&mut tx, &session, &visitor, "password.changed", json!({ "sessions_ended": ended })).await?;
    tx.commit().await?;
    Ok(Redirect::to("/account?done=password").into_response())
}

fn form(
    state: &AppState,
    session: &Session,
    login: &str,
    status: StatusCode,
    error: Option<(Field, String)>,
) -> ApiResult<Response> {
    page(status, &PasswordPage { frame: Frame::of(state, session), login, least: MIN_CHARS, error })
}

/// The login name and the password's hash of whoever has them, where passwords are taken at all.
async fn account(state: &AppState, session: &Session) -> ApiResult<(String, String)> {
    let mut tx = state.db.system().await?;
    let found = accounts::of_user(&mut tx, session.user).await?;
    tx.commit().await?;
    found.filter(|_| state.config.sign_in_passwords).ok_or_else(|| ProblemCode::NotFound.into())
}

async fn note(tx: &mut Tx, session: &Session, visitor: &Visitor, action: &str, detail: Value) -> ApiResult<()> {
    let address = visitor.address_text();
    let entry = Entry {
        org: None,
        actor: Actor::User(session.user),
        action,
        subject: Some(session.user.to_string()),
        address: Some(&address),
        detail,
    };
    Ok(audit::write(tx, &entry).await?)
}
