//! The pair of tokens that a login is, and what is done with it.

use std::time::{Duration, Instant};

use ckrv_types::Secret;
use serde::Deserialize;

use super::answers::{done, read};
use super::{AuthorizationServer, CLIENT_ID, OAuthError};
use crate::{Backoff, ClientError};

/// A server gives the same answer to a refresh token for 10 s after it was first exchanged. What may have been exchanged is
/// not sent again later than this, lest it be taken for a stolen one.
const SAFE_TO_REPEAT: Duration = Duration::from_secs(8);

/// What lets a program in. It has no `Debug`, and goes nowhere but to where it is kept.
pub struct Tokens {
    pub access: Secret,
    /// Good for one exchange.
    pub refresh: Secret,
    /// Of the access token, from when it was asked for.
    pub expires_in: Duration,
}

/// RFC 6749, section 5.1.
#[derive(Deserialize)]
pub(super) struct Wire {
    access_token: Secret,
    token_type: String,
    expires_in: u64,
    refresh_token: Option<Secret>,
}

impl Wire {
    pub(super) fn tokens(self, server: &str) -> Result<Tokens, OAuthError> {
        let unsupported = |what| OAuthError::Unsupported { server: server.to_owned(), what };
        if !self.token_type.eq_ignore_ascii_case("bearer") {
            return Err(unsupported("tokens of a type that is known here"));
        }
        let refresh = self.refresh_token.ok_or_else(|| unsupported("logins that last (there is no refresh token)"))?;
        Ok(Tokens { access: self.access_token, refresh, expires_in: Duration::from_secs(self.expires_in) })
    }
}

impl AuthorizationServer {
    /// Exchanges what a browser brought back (RFC 6749, section 4.1.3; RFC 7636, section 4.5). A code is good for one try.
    pub async fn exchange_code(
        &self,
        code: &Secret,
        verifier: &Secret,
        redirect_uri: &str,
    ) -> Result<Tokens, OAuthError> {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code.expose()),
            ("redirect_uri", redirect_uri),
            ("client_id", CLIENT_ID),
            ("code_verifier", verifier.expose()),
        ];
        self.token(&form).await
    }

    /// Exchanges a refresh token for the next pair. It may be spent even when no answer comes: see [`SAFE_TO_REPEAT`].
    pub async fn refresh(&self, token: &Secret) -> Result<Tokens, OAuthError> {
        let form = [("grant_type", "refresh_token"), ("refresh_token", token.expose()), ("client_id", CLIENT_ID)];
        let begun = Instant::now();
        let mut backoff = Backoff::for_requests();
        loop {
            let error = match self.token(&form).await {
                Err(OAuthError::Client(error)) if error.is_retryable() => error,
                answer => return answer,
            };
            let pause = backoff.pause(error.retry_after());
            let limit = if was_sent(&error) { self.retry.limit.min(SAFE_TO_REPEAT) } else { self.retry.limit };
            if begun.elapsed() + pause > limit {
                return Err(error.into());
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Ends the login that `token` belongs to (RFC 7009). A token that is not known is as good as revoked.
    pub async fn revoke(&self, token: &Secret) -> Result<(), OAuthError> {
        let endpoint = self.metadata.revocation_endpoint.as_ref();
        let endpoint = endpoint.ok_or_else(|| self.unsupported("to end a login"))?;
        let form = [("token", token.expose()), ("token_type_hint", "refresh_token"), ("client_id", CLIENT_ID)];
        let once = || async {
            match done(&self.server, self.post(endpoint, &form).await?).await {
                Err(OAuthError::Client(error)) => Err(error),
                answer => Ok(answer),
            }
        };
        self.retry.run(once).await?
    }

    async fn token(&self, form: &[(&str, &str)]) -> Result<Tokens, OAuthError> {
        let response = self.post(&self.metadata.token_endpoint, form).await?;
        read::<Wire>(&self.server, "tokens", response).await?.tokens(&self.server)
    }
}

/// Whether the server may have got the request.
fn was_sent(error: &ClientError) -> bool {
    !matches!(error, ClientError::Unreachable { source, .. } if source.is_connect())
}
