//! Device authorization (RFC 8628): the program shows a code, a person confirms it at any browser, and the program asks
//! again and again whether they have.

use std::time::Duration;

use ckrv_types::Secret;
use serde::Deserialize;
use url::Url;

use super::answers::read;
use super::tokens::{Tokens, Wire};
use super::{AuthorizationServer, CLIENT_ID, OAuthError, is_of, repeat};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// What `slow_down` adds to the interval, for good (section 3.5).
const SLOWER: Duration = Duration::from_secs(5);
/// Between two tries at a server that is away.
const LONGEST: Duration = Duration::from_secs(30);
/// Section 3.2: unless the server says otherwise.
const INTERVAL: u64 = 5;
/// However long a server says that its code lives, or that it wants to be left in peace, in seconds.
const LIFE_MAX: u64 = 3600;
const INTERVAL_MAX: u64 = 60;

/// A request that waits for a person. The codes are for showing; the secret one is not.
#[derive(Deserialize)]
pub struct DeviceRequest {
    device_code: Secret,
    pub user_code: String,
    pub verification_uri: Url,
    /// The same with the code in it.
    pub verification_uri_complete: Option<Url>,
    expires_in: u64,
    #[serde(default = "interval")]
    interval: u64,
}

fn interval() -> u64 {
    INTERVAL
}

impl DeviceRequest {
    /// From one question to the next, and how long to ask at all.
    fn patience(&self) -> (Duration, Duration) {
        let interval = self.interval.clamp(1, INTERVAL_MAX);
        (Duration::from_secs(interval), Duration::from_secs(self.expires_in.min(LIFE_MAX)))
    }
}

impl AuthorizationServer {
    /// Asks to be let in. `host` is this machine's name, for people to recognize it by.
    pub async fn ask_by_device(&self, scope: &str, host: &str) -> Result<DeviceRequest, OAuthError> {
        let endpoint = self.metadata.device_authorization_endpoint.as_ref();
        let endpoint = endpoint.ok_or_else(|| self.unsupported("a login by a code"))?;
        let form = [("client_id", CLIENT_ID), ("scope", scope), ("host", host)];
        // Asked twice, it makes two codes, and one is never shown.
        let once = || self.post(endpoint, &form);
        let request: DeviceRequest = repeat(self.retry, &self.server, "a code to show", once).await?;
        let complete = request.verification_uri_complete.as_ref();
        // The server's own address was checked, and it is that of the token endpoint.
        let own = &self.metadata.token_endpoint;
        for shown in complete.into_iter().chain([&request.verification_uri]) {
            // http to this machine itself is what the token endpoint has, or else its origin differs.
            if !is_of(shown, own, true) {
                return Err(OAuthError::Foreign { server: self.server.clone(), to: shown.to_string() });
            }
        }
        Ok(request)
    }

    /// Waits until somebody has decided, or the code has expired (`expired_token`).
    pub async fn wait_for_device(&self, request: &DeviceRequest) -> Result<Tokens, OAuthError> {
        let (mut interval, life) = request.patience();
        let deadline = tokio::time::Instant::now() + life;
        let form = [("grant_type", GRANT), ("device_code", request.device_code.expose()), ("client_id", CLIENT_ID)];
        loop {
            tokio::time::sleep(interval).await;
            let answer = async {
                let response = self.post(&self.metadata.token_endpoint, &form).await?;
                read::<Wire>(&self.server, "tokens", response).await
            };
            match answer.await {
                Ok(wire) => return wire.tokens(&self.server),
                Err(error) => match error.code() {
                    Some("authorization_pending") => {}
                    Some("slow_down") => interval += SLOWER,
                    _ => interval = slower_while_away(interval, error)?,
                },
            }
            if tokio::time::Instant::now() >= deadline {
                let description = Some("nobody has confirmed the code in its time".to_owned());
                let error = "expired_token".to_owned();
                return Err(OAuthError::Refused { server: self.server.clone(), error, description });
            }
        }
    }
}

/// Section 3.5: a server that does not answer is asked more rarely, and no less patiently.
fn slower_while_away(interval: Duration, error: OAuthError) -> Result<Duration, OAuthError> {
    match error {
        OAuthError::Client(error) if error.is_retryable() => {
            let slower = (interval * 2).min(LONGEST.max(interval));
            Ok(slower.max(error.retry_after().unwrap_or_default().min(Duration::from_secs(LIFE_MAX))))
        }
        error => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_of_a_servers_has_a_program_wait_for_ever_or_not_at_all() {
        for (expires_in, interval, patience) in
            [(600, 5, (5, 600)), (u64::MAX, u64::MAX, (INTERVAL_MAX, LIFE_MAX)), (0, 0, (1, 0))]
        {
            let request: DeviceRequest = serde_json::from_value(serde_json::json!({
                "device_code": "d", "user_code": "u", "verification_uri": "http://127.0.0.1/device",
                "expires_in": expires_in, "interval": interval,
            }))
            .unwrap();
            let (interval, life) = request.patience();
            assert_eq!((interval.as_secs(), life.as_secs()), patience);
            assert!(tokio::time::Instant::now().checked_add(life + interval).is_some());
        }
    }
}
