//! Access tokens: JWTs of ten minutes (RFC 9068). What they say is who and which login; whether that login still stands is
//! looked up with each use.

use std::sync::Arc;

use ckrv_types::identity::Scope;
use ckrv_types::{LoginId, UserId};
use jsonwebtoken::{Algorithm, Header, Validation};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::scopes;
use super::signing::{self, Key};
use crate::error::{ApiError, ApiResult};
use crate::state::AppState;

/// Seconds from issue to expiry.
pub const LIFE_SECONDS: i64 = 600;
/// RFC 9068, section 2.1.
const TYPE: &str = "at+jwt";
/// Seconds by which clocks of replicas may differ.
const LEEWAY: u64 = 5;

/// What a good access token says.
#[derive(Debug, Clone)]
pub struct Claims {
    pub login: LoginId,
    pub user: UserId,
    pub scopes: Vec<Scope>,
    pub expires_at: OffsetDateTime,
}

/// RFC 9068, section 2.2.
#[derive(Serialize, Deserialize)]
struct Wire {
    iss: String,
    aud: String,
    sub: UserId,
    client_id: String,
    /// The login.
    sid: LoginId,
    scope: String,
    iat: i64,
    exp: i64,
    jti: String,
}

/// What tokens are made with. To be had before a transaction begins, because the keys may have to be read first.
pub struct Issuing {
    keys: Arc<Vec<Key>>,
    issuer: String,
}

impl Issuing {
    pub async fn new(state: &AppState) -> ApiResult<Self> {
        Ok(Self { keys: state.signing_keys.signing(&state.db).await?, issuer: state.config.issuer() })
    }

    /// Signs a token for a login.
    pub fn token(&self, login: LoginId, user: UserId, client: &str, scopes: &[Scope]) -> ApiResult<String> {
        let key = signing::due(&self.keys).ok_or(ApiError::Internal("no signing key is due"))?;
        let now = OffsetDateTime::now_utc().unix_timestamp();
        let claims = Wire {
            iss: self.issuer.clone(),
            aud: self.issuer.clone(),
            sub: user,
            client_id: client.to_owned(),
            sid: login,
            scope: scopes::text(scopes),
            iat: now,
            exp: now + LIFE_SECONDS,
            jti: hex::encode(rand::random::<[u8; 16]>()),
        };
        let header = Header { typ: Some(TYPE.to_owned()), kid: Some(key.id.clone()), ..Header::new(Algorithm::EdDSA) };
        jsonwebtoken::encode(&header, &claims, &key.encoding)
            .map_err(|_| ApiError::Internal("no access token can be signed"))
    }
}

/// What `token` says; none: it is not one of ours, or expired. What algorithm and type it must have is ours to say, not its
/// header's.
pub async fn check(state: &AppState, token: &str) -> ApiResult<Option<Claims>> {
    let Ok(header) = jsonwebtoken::decode_header(token) else { return Ok(None) };
    let (Some(TYPE), Some(id)) = (header.typ.as_deref(), header.kid.as_deref()) else { return Ok(None) };
    let keys = state.signing_keys.with(&state.db, id).await?;
    let Some(key) = keys.iter().find(|key| key.id == id) else { return Ok(None) };
    let mut validation = Validation::new(Algorithm::EdDSA);
    let issuer = state.config.issuer();
    validation.set_issuer(&[&issuer]);
    validation.set_audience(&[&issuer]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    validation.leeway = LEEWAY;
    let Ok(decoded) = jsonwebtoken::decode::<Wire>(token, &key.decoding, &validation) else { return Ok(None) };
    let claims = decoded.claims;
    let Ok(expires_at) = OffsetDateTime::from_unix_timestamp(claims.exp) else { return Ok(None) };
    // A scope that a later release knew is none of this one's.
    let scopes = claims.scope.split(' ').filter_map(|scope| scope.parse().ok()).collect();
    Ok(Some(Claims { login: claims.sid, user: claims.sub, scopes, expires_at }))
}
