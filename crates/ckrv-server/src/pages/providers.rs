//! `/login/{provider}` and back: signing in through somebody who vouches for people.
//!
//! Who comes back is bound to the browser that was sent (a cookie), to one sign-in (`state`, taken away with its first use)
//! and to one provider (the path, and what the provider says of itself). Whoever is signed in may have an identity added to
//! theirs in the same way.

mod arrival;
mod refusal;
mod under_way;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::SET_COOKIE;
use axum::response::{IntoResponse as _, Redirect, Response};
use ckrv_types::{ProblemCode, Secret, UserId};
use serde::Deserialize;
use url::Url;

use self::refusal::Refusal;
use self::under_way::SignIn;
use super::cookies::{self, Cookie};
use super::failures::Failures;
use super::session::{self, Means, Session};
use super::{Visitor, csrf, return_to};
use crate::db::sign_ins;
use crate::error::{ApiError, ApiResult};
use crate::http::extract::{Path, Query};
use crate::http::rate::beginnings::{self, Beginning};
use crate::providers::{Answer, Begun, Provider};
use crate::state::AppState;

/// The link that signs somebody in through a provider, and leads on to `wanted`.
pub fn sign_in_path(provider: &Provider, wanted: &str) -> String {
    let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("return_to", wanted).finish();
    format!("/login/{}?{query}", provider.id)
}

#[derive(Deserialize)]
pub struct Wanted {
    #[serde(default)]
    return_to: String,
}

/// `GET /login/{provider}`.
pub async fn begin(
    State(state): State<AppState>,
    Path(id): Path<String>,
    Query(wanted): Query<Wanted>,
    session: Option<Session>,
    visitor: Visitor,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let provider = find(&state, &id)?;
    let return_to = return_to::checked(&wanted.return_to).unwrap_or(return_to::HOME);
    if session.is_some() {
        return Ok(Redirect::to(return_to).into_response());
    }
    // Or any page could use up what an address may begin.
    csrf::check_gone_to(&headers)?;
    send(&state, provider, return_to, None, &visitor, &headers).await
}

pub fn find<'s>(state: &'s AppState, id: &str) -> ApiResult<&'s Provider> {
    state.providers.find(id).ok_or_else(|| ProblemCode::NotFound.into())
}

/// Sends the browser to the provider; `user`: who wants to be known by what comes of it.
pub async fn send(
    state: &AppState,
    provider: &Provider,
    return_to: &str,
    user: Option<UserId>,
    visitor: &Visitor,
    headers: &HeaderMap,
) -> ApiResult<Response> {
    if let Err(wait) = beginnings::charge(state, Beginning::AtProvider, visitor.address).await? {
        return Refusal::TooMany(wait).show(provider, return_to);
    }
    let known = Cookie::Csrf.read(&state.config, headers);
    let cookie = known.clone().unwrap_or_else(cookies::random);
    let random = || Secret::new(cookies::random());
    let sign_in = SignIn { nonce: random(), verifier: random(), return_to: return_to.to_owned(), user };
    let begun = begun(state, provider, random(), &sign_in)?;
    let url = match provider.authorize_url(&begun).await {
        Ok(url) => url,
        Err(error) => return Refusal::of(&error, provider).show(provider, return_to),
    };
    under_way::remember(state, provider, &sign_ins::key(begun.state.expose(), &cookie), &sign_in).await?;
    let mut response = Redirect::to(url.as_str()).into_response();
    if known.is_none() {
        response.headers_mut().insert(SET_COOKIE, Cookie::Csrf.set(&state.config, &cookie));
    }
    Ok(response)
}

fn begun(state: &AppState, provider: &Provider, random: Secret, sign_in: &SignIn) -> ApiResult<Begun> {
    let callback = format!("{}/login/{}/callback", state.config.issuer(), provider.id);
    let redirect_uri: Url = callback.parse().map_err(|_| ApiError::Internal("the issuer is no address"))?;
    Ok(Begun { redirect_uri, state: random, nonce: sign_in.nonce.clone(), verifier: sign_in.verifier.clone() })
}

/// What a browser brings back: RFC 6749, sections 4.1.2 and 4.1.2.1; RFC 9207.
#[derive(Deserialize)]
pub struct Back {
    state: Option<String>,
    code: Option<Secret>,
    error: Option<String>,
    iss: Option<String>,
}

/// `GET /login/{provider}/callback`.
pub async fn finish(
    State(state): State<AppState>,
    Path(id): Path<String>,
    Query(back): Query<Back>,
    session: Option<Session>,
    visitor: Visitor,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let provider = find(&state, &id)?;
    let Some(sign_in) = take(&state, provider, &back, &headers).await? else {
        return unknown(&state, provider, &visitor).await;
    };
    let return_to = sign_in.return_to.as_str();
    // Anybody can begin one and come back with a made-up answer, for the provider to be asked about.
    let failures = Failures::of_returns(visitor.address);
    if let Err(wait) = failures.charge(&state).await? {
        return Refusal::TooMany(wait).show(provider, return_to);
    }
    match arrive(&state, provider, &sign_in, back, session.as_ref(), &visitor).await? {
        Ok(user) => {
            failures.give_back(&state).await?;
            let Some(user) = user else { return Ok(Redirect::to(return_to).into_response()) };
            let tx = state.db.system().await?;
            let cookie = session::begin(tx, &state, user, Means::Provider(&provider.id), &visitor, &headers).await?;
            Ok(([(SET_COOKIE, cookie)], Redirect::to(return_to)).into_response())
        }
        Err(refusal) => {
            refusal.note(&state, provider, &visitor).await?;
            refusal.show(provider, return_to)
        }
    }
}

/// The sign-in that this browser began at this provider with this state.
async fn take(state: &AppState, provider: &Provider, back: &Back, headers: &HeaderMap) -> ApiResult<Option<SignIn>> {
    let cookie = Cookie::Csrf.read(&state.config, headers);
    let (Some(cookie), Some(given)) = (cookie, &back.state) else { return Ok(None) };
    under_way::recall(state, provider, &sign_ins::key(given, &cookie)).await
}

/// Anybody can ask this, and any page can have a browser ask it: what is written down of it is limited, by an allowance that
/// nobody needs who signs in.
async fn unknown(state: &AppState, provider: &Provider, visitor: &Visitor) -> ApiResult<Response> {
    let refusal = match Failures::of_unknown_returns(visitor.address).charge(state).await? {
        Ok(()) => Refusal::Unknown,
        Err(wait) => Refusal::TooMany(wait),
    };
    refusal.note(state, provider, visitor).await?;
    refusal.show(provider, return_to::HOME)
}

/// Who is to be signed in; `None`: who is signed in has one more identity.
async fn arrive(
    state: &AppState,
    provider: &Provider,
    sign_in: &SignIn,
    back: Back,
    session: Option<&Session>,
    visitor: &Visitor,
) -> ApiResult<Result<Option<UserId>, Refusal>> {
    if let Some(error) = back.error {
        return Ok(Err(Refusal::by_provider(&error)));
    }
    let Some(code) = back.code else { return Ok(Err(Refusal::by_provider("no code"))) };
    let begun = begun(state, provider, Secret::new(back.state.unwrap_or_default()), sign_in)?;
    let vouched = match provider.identify(&Answer { code, iss: back.iss }, &begun).await {
        Ok(vouched) => vouched,
        Err(error) => return Ok(Err(Refusal::of(&error, provider))),
    };
    match sign_in.user {
        None => Ok(arrival::admit(state, provider, vouched, &sign_in.return_to, visitor).await?.map(Some)),
        Some(user) if session.is_some_and(|session| session.user == user) => {
            Ok(arrival::link(state, provider, vouched, user, visitor).await?.map(|()| None))
        }
        Some(_) => Ok(Err(Refusal::SomebodyElse)),
    }
}
