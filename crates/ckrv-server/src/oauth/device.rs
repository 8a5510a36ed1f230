//! The device flow (RFC 8628): a program shows a code, a person types it where they are signed in, and decides.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue};
use ckrv_types::identity::Scope;
use ckrv_types::{Problem, SessionId};
use serde::Serialize;
use serde_json::json;
use time::OffsetDateTime;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;

use super::errors::{NOT_KEPT, OAuthError, OAuthFailure, OAuthResult};
use super::form::Asked;
use super::guesses::Guesser;
use super::user_code::UserCode;
use super::{Decider, clients, paths, scopes};
use crate::auth::tokens;
use crate::db::audit::{self, Actor, Entry};
use crate::db::device_codes::{self, NewDeviceCode};
use crate::error::{ApiError, ApiResult};
use crate::http::needs::routes;
use crate::http::rate::address::ClientAddress;
use crate::http::rate::beginnings::{self, Beginning};
use crate::state::AppState;
use crate::text;

/// Seconds that a person has.
const LIFE_SECONDS: u32 = 600;
/// Seconds between polls, to begin with.
const INTERVAL_SECONDS: u32 = 5;
/// Characters of a host's name that are shown.
pub(super) const HOST_CHARS: usize = 100;
/// Codes are so many that one is hardly ever taken.
const TRIES: u32 = 5;

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(device_authorization))
}

/// RFC 8628, section 3.2.
#[derive(Serialize, ToSchema)]
struct DeviceAuthorization {
    /// For the program alone.
    device_code: String,
    /// For the person to type: `XXXX-XXXX`.
    user_code: String,
    verification_uri: String,
    /// The same with the code filled in.
    verification_uri_complete: String,
    /// Seconds until both codes are worth nothing.
    expires_in: u32,
    /// Seconds between requests for the tokens.
    interval: u32,
}

/// RFC 8628, section 3.1.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a form, which is read by name")]
struct DeviceAuthorizationRequest {
    client_id: String,
    /// Any of `read`, `run` and `manage`, with spaces between; absent: all.
    #[schema(required = false)]
    scope: String,
    /// Name of the device, for the person to recognize it by; 100 characters are kept.
    #[schema(required = false)]
    host: String,
}

/// Begin a login on a device without a browser (RFC 8628).
#[utoipa::path(post, path = paths::DEVICE_AUTHORIZATION, tag = "oauth", operation_id = "authorizeDevice",
    request_body(content = DeviceAuthorizationRequest, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, body = DeviceAuthorization),
        (status = 400, body = OAuthError, description = "The request was refused."),
        (status = 401, body = OAuthError, description = "There is no such client."),
        (status = 413, body = OAuthError, description = "The form is too large."),
        (status = 429, description = "Too many requests came from this address, or began a login.",
            content((OAuthError = "application/json"), (Problem = "application/problem+json"))),
        (status = 500, body = OAuthError, description = "A fault on the server's side."),
        (status = 503, body = OAuthError, description = "The database is away for the moment.")))]
async fn device_authorization(
    State(state): State<AppState>,
    address: ClientAddress,
    asked: Asked,
) -> OAuthResult<([(HeaderName, HeaderValue); 2], Json<DeviceAuthorization>)> {
    let scopes = scopes::requested(asked.params.get("scope"))?;
    let host = text::visible(asked.params.get("host").unwrap_or_default(), HOST_CHARS);
    beginnings::charge(&state, Beginning::OfDevice, address).await?.map_err(OAuthFailure::TooMany)?;
    let device_code = hex::encode(rand::random::<[u8; 32]>());
    let device_hash = tokens::hash(&device_code);
    let client = asked.client.id;
    for _ in 0..TRIES {
        let user_code = UserCode::random();
        let user_hash = user_code.hash(&state.signer);
        let new =
            NewDeviceCode { device_hash, user_hash, client, scopes: &scopes, host: &host, address: &asked.address };
        let mut tx = state.db.system().await?;
        let made = device_codes::insert(&mut tx, &new, LIFE_SECONDS, INTERVAL_SECONDS).await?;
        tx.commit().await?;
        if made {
            return Ok((NOT_KEPT, Json(answer(&state, device_code, &user_code))));
        }
    }
    Err(ApiError::Internal("no user code is free").into())
}

fn answer(state: &AppState, device_code: String, user_code: &UserCode) -> DeviceAuthorization {
    let verification_uri = format!("{}{}", state.config.issuer(), paths::DEVICE);
    DeviceAuthorization {
        device_code,
        user_code: user_code.to_string(),
        verification_uri_complete: format!("{verification_uri}?code={user_code}"),
        verification_uri,
        expires_in: LIFE_SECONDS,
        interval: INTERVAL_SECONDS,
    }
}

/// Somebody signed in who typed a code.
#[derive(Debug, Clone)]
pub struct Looker {
    pub session: SessionId,
    pub address: String,
}

/// A device's request that waits for a decision.
#[derive(Debug, Clone)]
pub struct DeviceRequest {
    /// `XXXX-XXXX`
    pub user_code: String,
    pub client_name: &'static str,
    pub scopes: Vec<Scope>,
    /// As the device told; may be empty.
    pub host: String,
    /// Where it asked from.
    pub address: String,
    pub asked_at: OffsetDateTime,
}

/// Why there is nothing to decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoRequest {
    /// Never there, decided, expired, or shown too often.
    Unknown,
    /// Too many wrong codes; so long until one more may be tried.
    TooMany(Duration),
}

/// The request that a typed code stands for.
pub async fn look(state: &AppState, typed: &str, who: &Looker) -> ApiResult<Result<DeviceRequest, NoRequest>> {
    let guesser = Guesser::new(who.session, &who.address);
    if let Err(wait) = guesser.charge(&state.db).await? {
        return Ok(Err(NoRequest::TooMany(wait)));
    }
    let Some(code) = UserCode::typed(typed) else { return Ok(Err(NoRequest::Unknown)) };
    let mut tx = state.db.system().await?;
    let found = device_codes::look(&mut tx, &code.hash(&state.signer)).await?;
    tx.commit().await?;
    let Some((found, client)) = found.and_then(|found| clients::find(&found.client).map(|client| (found, client)))
    else {
        return Ok(Err(NoRequest::Unknown));
    };
    guesser.give_back(&state.db).await?;
    Ok(Ok(DeviceRequest {
        user_code: code.to_string(),
        client_name: client.name,
        scopes: found.scopes,
        host: found.host,
        address: found.address,
        asked_at: found.created_at,
    }))
}

/// Lets the device in, or turns it away. Only what was looked at can be decided, and a wrong code counts as in [`look`].
///
/// # Errors
/// `not_found` if the person is no member of the organization.
pub async fn decide(
    state: &AppState,
    by: &Decider,
    user_code: &str,
    approve: bool,
) -> ApiResult<Result<(), NoRequest>> {
    let guesser = Guesser::new(by.session, &by.address);
    if let Err(wait) = guesser.charge(&state.db).await? {
        return Ok(Err(NoRequest::TooMany(wait)));
    }
    let Some(code) = UserCode::typed(user_code) else { return Ok(Err(NoRequest::Unknown)) };
    let mut tx = state.db.system().await?;
    by.check(&mut tx).await?;
    let decided = device_codes::decide(&mut tx, &code.hash(&state.signer), by.user, by.org, approve).await?;
    let Some(request) = decided else { return Ok(Err(NoRequest::Unknown)) };
    let entry = Entry {
        org: Some(by.org),
        actor: Actor::User(by.user),
        action: if approve { "device.approved" } else { "device.denied" },
        subject: None,
        address: Some(&by.address),
        detail: json!({
            "client": request.client,
            "scopes": scopes::text(&request.scopes),
            "host": request.host,
            "asked_from": request.address,
        }),
    };
    audit::write(&mut tx, &entry).await?;
    tx.commit().await?;
    guesser.give_back(&state.db).await?;
    Ok(Ok(()))
}
