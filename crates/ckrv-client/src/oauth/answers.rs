//! What an authorization server answers, and what may be wrong with it.

use ckrv_types::{Problem, problem};
use reqwest::Response;
use reqwest::header::CONTENT_TYPE;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::is_of;
use crate::transport::{retry_after, unreachable};
use crate::{ClientError, ConfigError};

/// No answer is longer.
const LONGEST: usize = 64 * 1024;

/// Why a program was not let in, or is not any more.
#[derive(Debug, thiserror::Error)]
pub enum OAuthError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Client(#[from] ClientError),
    /// RFC 6749, section 5.2; RFC 8628, section 3.5.
    #[error("{server} answered `{error}`{}", description.as_ref().map(|text| format!(": {text}")).unwrap_or_default())]
    Refused { server: String, error: String, description: Option<String> },
    /// RFC 8414, section 3.3.
    #[error("{server} says that it is {issuer}")]
    Issuer { server: String, issuer: String },
    /// An address that neither a code nor a token may go to.
    #[error("{server} points to {to}, which is not its own")]
    Foreign { server: String, to: String },
    #[error("{server} does not offer {what}")]
    Unsupported { server: String, what: &'static str },
}

impl OAuthError {
    /// The code of a refusal.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { error, .. } => Some(error),
            _ => None,
        }
    }
}

/// RFC 8414, section 2, as far as it is of use here.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Metadata {
    pub(super) issuer: String,
    pub(super) token_endpoint: Url,
    pub(super) authorization_endpoint: Option<Url>,
    pub(super) device_authorization_endpoint: Option<Url>,
    pub(super) revocation_endpoint: Option<Url>,
    #[serde(default)]
    pub(super) code_challenge_methods_supported: Vec<String>,
    #[serde(default)]
    pub(super) authorization_response_iss_parameter_supported: bool,
}

impl Metadata {
    pub(super) fn check(&self, url: &Url, server: &str, allow_plain_http: bool) -> Result<(), OAuthError> {
        if self.issuer.trim_end_matches('/') != server {
            return Err(OAuthError::Issuer { server: server.into(), issuer: self.issuer.clone() });
        }
        let more = [&self.authorization_endpoint, &self.device_authorization_endpoint, &self.revocation_endpoint];
        for endpoint in more.into_iter().flatten().chain([&self.token_endpoint]) {
            if !is_of(endpoint, url, allow_plain_http) {
                return Err(OAuthError::Foreign { server: server.into(), to: endpoint.to_string() });
            }
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
    error_description: Option<String>,
}

/// The JSON of an answer, or why there is none.
pub(super) async fn read<T: DeserializeOwned>(
    server: &str,
    what: &'static str,
    response: Response,
) -> Result<T, OAuthError> {
    let good = response.status().is_success();
    let bytes = if good { body(server, response).await? } else { return Err(refusal(server, response).await) };
    serde_json::from_slice(&bytes).map_err(|source| ClientError::Body { server: server.into(), what, source }.into())
}

/// That an answer is a success; its body is of no interest.
pub(super) async fn done(server: &str, response: Response) -> Result<(), OAuthError> {
    if response.status().is_success() { Ok(()) } else { Err(refusal(server, response).await) }
}

/// A server's own fault, and too many requests, are told apart from what is refused for good by their status.
async fn refusal(server: &str, response: Response) -> OAuthError {
    let (status, retry_after) = (response.status().as_u16(), retry_after(&response));
    let media_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let is_problem = media_type.is_some_and(|value| value.starts_with(problem::MEDIA_TYPE));
    let nothing = ClientError::Status { server: server.into(), status, retry_after };
    let bytes = match body(server, response).await {
        Ok(bytes) => bytes,
        Err(error) => return error.into(),
    };
    if is_problem && let Ok(problem) = serde_json::from_slice::<Problem>(&bytes) {
        return ClientError::Problem { problem: Box::new(problem), retry_after }.into();
    }
    match serde_json::from_slice::<Refusal>(&bytes) {
        Ok(Refusal { error, error_description: description }) if (400..500).contains(&status) && status != 429 => {
            OAuthError::Refused { server: server.into(), error, description }
        }
        _ => nothing.into(),
    }
}

async fn body(server: &str, mut response: Response) -> Result<Vec<u8>, ClientError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|source| unreachable(server, source))? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > LONGEST {
            return Err(ClientError::Interrupted { server: server.into(), what: "the answer is too long".into() });
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(server: &str, issuer: &str, endpoint: &str) -> Result<(), OAuthError> {
        let text = format!(r#"{{"issuer":"{issuer}","token_endpoint":"{endpoint}"}}"#);
        let url: Url = server.parse().unwrap();
        let metadata: Metadata = serde_json::from_str(&text).unwrap();
        metadata.check(&url, url.as_str().trim_end_matches('/'), false)
    }

    #[test]
    fn a_server_that_says_to_be_another_is_refused() {
        assert!(check("https://a.example", "https://a.example", "https://a.example/oauth/token").is_ok());
        assert!(check("https://a.example/x/", "https://a.example/x", "https://a.example/x/token").is_ok());
        for issuer in ["https://b.example", "https://a.example/x", "http://a.example", ""] {
            let refused = check("https://a.example", issuer, "https://a.example/token");
            assert!(matches!(refused, Err(OAuthError::Issuer { .. })), "{issuer}");
        }
    }

    #[test]
    fn an_endpoint_that_is_not_the_servers_own_is_refused() {
        for endpoint in [
            "https://b.example/token",
            "http://a.example/token",
            "https://a.example:8443/token",
            "https://a.example.b.example/token",
            "https://user@a.example/token",
            "file:///token",
        ] {
            let refused = check("https://a.example", "https://a.example", endpoint);
            assert!(matches!(refused, Err(OAuthError::Foreign { .. })), "{endpoint}");
        }
        let other_port = check("http://127.0.0.1:1", "http://127.0.0.1:1", "http://127.0.0.1:2/token");
        assert!(matches!(other_port, Err(OAuthError::Foreign { .. })), "another program of this machine");
        assert!(check("http://127.0.0.1:1", "http://127.0.0.1:1", "http://127.0.0.1:1/token").is_ok());
    }
}
