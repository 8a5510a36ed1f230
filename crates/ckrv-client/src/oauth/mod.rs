//! The client's side of OAuth 2.0, as far as a person's program needs it to be let in and to stay so.
//!
//! 1. The server says where its endpoints are (RFC 8414), and that it is who it was asked to be. What is not below its own
//!    origin is refused: neither a code nor a token goes anywhere else.
//! 2. A person lets the program in: at any browser, by a code that they compare (RFC 8628, [`device`]), or at the browser of
//!    this machine (RFC 6749, section 4.1, with PKCE; the way back is the program's business).
//! 3. The refresh token is exchanged for the next pair, and revoked at the end (RFC 7009).
//!
//! The program is a public client: it has no secret.

mod answers;
pub mod device;
mod tokens;

use reqwest::Response;
use reqwest::header::ACCEPT;
use serde::de::DeserializeOwned;
use url::Url;

pub use answers::OAuthError;
pub use tokens::Tokens;

use crate::config::is_private_enough;
use crate::transport::{http_client, unreachable};
use crate::{ClientConfig, ClientError, Retry, Timeouts};
use answers::{Metadata, read};

/// This program, as the server knows it.
pub const CLIENT_ID: &str = "ckrv-cli";

/// Where a control plane lets programs in.
#[derive(Debug, Clone)]
pub struct AuthorizationServer {
    http: reqwest::Client,
    /// Its address, for messages.
    server: String,
    metadata: Metadata,
    retry: Retry,
    timeouts: Timeouts,
}

impl AuthorizationServer {
    /// Asks the control plane of `config` where its endpoints are. The configuration's credential is not used.
    pub async fn discover(config: &ClientConfig) -> Result<Self, OAuthError> {
        let http = http_client(config)?;
        let server = config.server.as_str().trim_end_matches('/').to_owned();
        let url = below(&config.server, &[".well-known", "oauth-authorization-server"]);
        let once = || async {
            let request = http.get(url.clone()).header(ACCEPT, "application/json").timeout(config.timeouts.request);
            request.send().await.map_err(|source| unreachable(&server, source))
        };
        let what = "the addresses of its sign-in";
        let metadata: Metadata = repeat(config.retry, &server, what, once).await?;
        metadata.check(&config.server, &server, config.allow_plain_http)?;
        Ok(Self { http, server, metadata, retry: config.retry, timeouts: config.timeouts })
    }

    /// Where a browser is sent to let the program in; the query is the caller's to add.
    pub fn authorization_endpoint(&self) -> Result<&Url, OAuthError> {
        let pkce = self.metadata.code_challenge_methods_supported.iter().any(|method| method == "S256");
        let endpoint = self.metadata.authorization_endpoint.as_ref().filter(|_| pkce);
        endpoint.ok_or_else(|| self.unsupported("a login by the browser of this machine"))
    }

    /// Who the server says it is. An answer that a browser brings back must name it (RFC 9207), if it said that it would.
    pub fn issuer(&self) -> &str {
        &self.metadata.issuer
    }

    pub fn answers_name_the_issuer(&self) -> bool {
        self.metadata.authorization_response_iss_parameter_supported
    }

    fn unsupported(&self, what: &'static str) -> OAuthError {
        OAuthError::Unsupported { server: self.server.clone(), what }
    }

    async fn post(&self, url: &Url, form: &[(&str, &str)]) -> Result<Response, ClientError> {
        let request = self.http.post(url.clone()).header(ACCEPT, "application/json").form(form);
        let request = request.timeout(self.timeouts.request);
        request.send().await.map_err(|source| unreachable(&self.server, source))
    }
}

fn below(base: &Url, path: &[&str]) -> Url {
    let mut url = base.clone();
    url.path_segments_mut().expect("http and https URLs have a path").pop_if_empty().extend(path);
    url
}

/// Whether a secret may go to `url`: to the server itself, and nobody reads along.
fn is_of(url: &Url, server: &Url, allow_plain_http: bool) -> bool {
    url.origin() == server.origin()
        && is_private_enough(url, allow_plain_http)
        && url.username().is_empty()
        && url.password().is_none()
}

/// Asks by `once` until there is an answer that stands.
async fn repeat<T, F>(retry: Retry, server: &str, what: &'static str, once: impl Fn() -> F) -> Result<T, OAuthError>
where
    T: DeserializeOwned,
    F: Future<Output = Result<Response, ClientError>>,
{
    let answer = retry
        .run(|| async {
            match read(server, what, once().await?).await {
                Err(OAuthError::Client(error)) => Err(error),
                answer => Ok(answer),
            }
        })
        .await;
    answer?
}
