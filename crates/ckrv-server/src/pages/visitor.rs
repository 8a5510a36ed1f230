//! Who asks, before it is known who they are.

use axum::extract::FromRequestParts;
use axum::http::header::USER_AGENT;
use axum::http::request::Parts;

use crate::error::ApiError;
use crate::http::rate::address::ClientAddress;
use crate::state::AppState;
use crate::text;

const AGENT_CHARS: usize = 300;

/// A browser somewhere.
#[derive(Debug, Clone)]
pub struct Visitor {
    pub address: ClientAddress,
    /// What the browser says that it is.
    pub agent: String,
}

impl Visitor {
    /// The address, as it is kept and shown.
    pub fn address_text(&self) -> String {
        self.address.0.to_string()
    }
}

impl FromRequestParts<AppState> for Visitor {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let address = ClientAddress::from_request_parts(parts, state).await?;
        let agent = parts.headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        Ok(Self { address, agent: text::visible(agent, AGENT_CHARS) })
    }
}
