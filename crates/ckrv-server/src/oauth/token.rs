//! Where grants are exchanged for tokens (RFC 6749, section 3.2).

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue};
use ckrv_types::Secret;
use ckrv_types::identity::Scope;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;

use super::errors::{Code, NOT_KEPT, OAuthError, OAuthResult, Refusal};
use super::form::Asked;
use super::grants::{authorization_code, device_code, refresh_token};
use super::{access_tokens, paths, scopes};
use crate::http::needs::routes;
use crate::state::AppState;

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(token))
}

/// What can be exchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrantType {
    AuthorizationCode,
    RefreshToken,
    DeviceCode,
}

impl GrantType {
    pub const ALL: [Self; 3] = [Self::AuthorizationCode, Self::RefreshToken, Self::DeviceCode];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AuthorizationCode => "authorization_code",
            Self::RefreshToken => "refresh_token",
            Self::DeviceCode => "urn:ietf:params:oauth:grant-type:device_code",
        }
    }
}

/// RFC 6749, section 5.1.
#[derive(Serialize, ToSchema)]
pub struct Tokens {
    access_token: String,
    token_type: &'static str,
    /// Seconds that the access token lives.
    expires_in: i64,
    /// Takes the place of the one that was exchanged.
    refresh_token: String,
    /// What the access token may be used for.
    scope: String,
}

impl Tokens {
    pub fn new(access_token: String, refresh_token: &Secret, scopes: &[Scope]) -> Self {
        Self {
            access_token,
            token_type: "Bearer",
            expires_in: access_tokens::LIFE_SECONDS,
            refresh_token: refresh_token.expose().to_owned(),
            scope: scopes::text(scopes),
        }
    }
}

/// RFC 6749 sections 4.1.3 and 6, RFC 7636 section 4.5, RFC 8628 section 3.4.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a form, which is read by name")]
struct TokenRequest {
    grant_type: String,
    client_id: String,
    /// With `authorization_code`.
    #[schema(required = false)]
    code: String,
    /// With `authorization_code`: where the code was sent.
    #[schema(required = false)]
    redirect_uri: String,
    /// With `authorization_code`: 43 to 128 unreserved characters.
    #[schema(required = false)]
    code_verifier: String,
    /// With `refresh_token`.
    #[schema(required = false)]
    refresh_token: String,
    /// With `refresh_token`: fewer scopes than the login has, for this access token.
    #[schema(required = false)]
    scope: String,
    /// With `urn:ietf:params:oauth:grant-type:device_code`.
    #[schema(required = false)]
    device_code: String,
}

/// Exchange what was granted for an access token and a refresh token.
#[utoipa::path(post, path = paths::TOKEN, tag = "oauth", operation_id = "token",
    request_body(content = TokenRequest, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, body = Tokens),
        (status = 400, body = OAuthError, description = "The request or the grant was refused, or nobody has decided yet."),
        (status = 401, body = OAuthError, description = "There is no such client."),
        (status = 413, body = OAuthError, description = "The form is too large."),
        (status = 500, body = OAuthError, description = "A fault on the server's side."),
        (status = 503, body = OAuthError, description = "The database is away for the moment.")))]
async fn token(
    State(state): State<AppState>,
    asked: Asked,
) -> OAuthResult<([(HeaderName, HeaderValue); 2], Json<Tokens>)> {
    const UNKNOWN: Refusal = Refusal::new(Code::UnsupportedGrantType, "This kind of grant cannot be exchanged here.");
    let wanted = asked.params.required("grant_type", "grant_type is missing.")?;
    let kind = GrantType::ALL.into_iter().find(|kind| kind.as_str() == wanted).ok_or(UNKNOWN)?;
    let tokens = match kind {
        GrantType::AuthorizationCode => authorization_code::exchange(&state, &asked).await?,
        GrantType::RefreshToken => refresh_token::exchange(&state, &asked).await?,
        GrantType::DeviceCode => device_code::exchange(&state, &asked).await?,
    };
    Ok((NOT_KEPT, Json(tokens)))
}
