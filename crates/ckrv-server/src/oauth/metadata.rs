//! What there is and where (RFC 8414), for programs that find their way by it.

use axum::Json;
use axum::extract::State;
use ckrv_types::identity::Scope;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;

use super::signing::JwkSet;
use super::token::GrantType;
use super::{authorize, paths, pkce};
use crate::error::ApiResult;
use crate::http::needs::routes;
use crate::state::AppState;

/// A public client has nothing to prove who it is by.
const AUTHENTICATION: &str = "none";

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(metadata)).routes(routes!(jwks))
}

/// RFC 8414 section 2; RFC 8628 section 4; RFC 9207 section 3.
#[derive(Debug, Serialize, ToSchema)]
struct ServerMetadata {
    issuer: String,
    authorization_endpoint: String,
    device_authorization_endpoint: String,
    token_endpoint: String,
    revocation_endpoint: String,
    jwks_uri: String,
    scopes_supported: Vec<Scope>,
    response_types_supported: Vec<&'static str>,
    response_modes_supported: Vec<&'static str>,
    grant_types_supported: Vec<&'static str>,
    token_endpoint_auth_methods_supported: Vec<&'static str>,
    revocation_endpoint_auth_methods_supported: Vec<&'static str>,
    code_challenge_methods_supported: Vec<&'static str>,
    authorization_response_iss_parameter_supported: bool,
}

impl ServerMetadata {
    fn new(issuer: String) -> Self {
        let at = |path: &str| format!("{issuer}{path}");
        Self {
            authorization_endpoint: at(paths::AUTHORIZE),
            device_authorization_endpoint: at(paths::DEVICE_AUTHORIZATION),
            token_endpoint: at(paths::TOKEN),
            revocation_endpoint: at(paths::REVOKE),
            jwks_uri: at(paths::JWKS),
            scopes_supported: Scope::ALL.into(),
            response_types_supported: vec![authorize::RESPONSE_TYPE],
            response_modes_supported: vec!["query"],
            grant_types_supported: GrantType::ALL.map(GrantType::as_str).into(),
            token_endpoint_auth_methods_supported: vec![AUTHENTICATION],
            revocation_endpoint_auth_methods_supported: vec![AUTHENTICATION],
            code_challenge_methods_supported: vec![pkce::METHOD],
            authorization_response_iss_parameter_supported: true,
            issuer,
        }
    }
}

/// What the authorization server can do, and where (RFC 8414).
#[utoipa::path(get, path = paths::METADATA, tag = "oauth", operation_id = "authorizationServer",
    responses((status = 200, body = ServerMetadata)))]
async fn metadata(State(state): State<AppState>) -> Json<ServerMetadata> {
    Json(ServerMetadata::new(state.config.issuer()))
}

/// The public keys by which access tokens can be checked (RFC 7517).
#[utoipa::path(get, path = paths::JWKS, tag = "oauth", operation_id = "jwks",
    responses((status = 200, body = JwkSet)))]
async fn jwks(State(state): State<AppState>) -> ApiResult<Json<JwkSet>> {
    Ok(Json(state.signing_keys.public(&state.db).await?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_metadata_names_is_routed() {
        let issuer = "https://ckrv.example.com";
        let said = serde_json::to_value(ServerMetadata::new(issuer.to_owned())).unwrap();
        let routed = crate::http::document().paths.paths;
        for member in ["device_authorization_endpoint", "token_endpoint", "revocation_endpoint", "jwks_uri"] {
            let path = said[member].as_str().unwrap().strip_prefix(issuer).unwrap();
            assert!(routed.contains_key(path), "{member} is at {path}, where nothing is");
        }
    }
}
