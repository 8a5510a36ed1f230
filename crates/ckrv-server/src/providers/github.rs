//! GitHub, which speaks OAuth 2.0 and its own API, and is no OpenID provider. People are known by their number there: names
//! are given up and taken by others.

use ckrv_types::Secret;
use openidconnect::HttpResponse;
use openidconnect::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use openidconnect::http::{Method, Request, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::http::{Http, HttpError};
use super::{Answer, Begun, ProviderError, Vouched};

/// What identities of github.com are filed under; those of another server under this and its address.
const ISSUER: &str = "github";
const PUBLIC: &str = "https://github.com";
const PUBLIC_API: &str = "https://api.github.com";

/// github.com, or a GitHub Enterprise Server.
#[derive(Debug)]
pub struct GitHub {
    issuer: String,
    /// Without a slash at its end.
    url: String,
    api: String,
    client_id: String,
    client_secret: Secret,
    http: Http,
}

/// Of refusals too, whose status is 200.
#[derive(Deserialize)]
struct Token {
    access_token: Option<Secret>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct User {
    id: u64,
    login: Option<String>,
    name: Option<String>,
    email: Option<String>,
}

impl GitHub {
    pub fn new(url: &str, client_id: &str, client_secret: Secret, http: Http) -> Self {
        let public = url == PUBLIC;
        Self {
            issuer: if public { ISSUER.to_owned() } else { format!("{ISSUER}:{url}") },
            api: if public { PUBLIC_API.to_owned() } else { format!("{url}/api/v3") },
            url: url.to_owned(),
            client_id: client_id.to_owned(),
            client_secret,
            http,
        }
    }

    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Asks for no scope: what everybody may read of a user is enough.
    pub fn authorize_url(&self, begun: &Begun) -> Url {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("client_id", &self.client_id)
            .append_pair("redirect_uri", begun.redirect_uri.as_str())
            .append_pair("state", begun.state.expose())
            .append_pair("code_challenge", &begun.challenge())
            .append_pair("code_challenge_method", "S256")
            .finish();
        let url = format!("{}/login/oauth/authorize?{query}", self.url);
        url.parse().expect("an address with a path and a query is one")
    }

    pub async fn identify(&self, answer: &Answer, begun: &Begun) -> Result<Vouched, ProviderError> {
        let token = self.exchange(answer, begun).await?;
        let request = Request::get(format!("{}/user", self.api))
            .header(ACCEPT, "application/vnd.github+json")
            .header(AUTHORIZATION, format!("Bearer {}", token.expose()))
            .body(Vec::new());
        let user: User = read(&self.send(request).await?)?;
        if user.id == 0 {
            return Err(ProviderError::Unsound("its user has no number".to_owned()));
        }
        Ok(Vouched {
            issuer: self.issuer.clone(),
            subject: user.id.to_string(),
            account: user.login,
            name: user.name,
            email: user.email,
        })
    }

    async fn exchange(&self, answer: &Answer, begun: &Begun) -> Result<Secret, ProviderError> {
        let form = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("client_id", &self.client_id)
            .append_pair("client_secret", self.client_secret.expose())
            .append_pair("code", answer.code.expose())
            .append_pair("redirect_uri", begun.redirect_uri.as_str())
            .append_pair("code_verifier", begun.verifier.expose())
            .finish();
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}/login/oauth/access_token", self.url))
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form.into_bytes());
        match read(&self.send(request).await?)? {
            Token { error: Some(error), .. } => Err(ProviderError::Refused(error)),
            Token { access_token: Some(token), .. } if !token.is_empty() => Ok(token),
            Token { .. } => Err(ProviderError::Unsound("it gave no token".to_owned())),
        }
    }

    async fn send(
        &self,
        request: Result<Request<Vec<u8>>, openidconnect::http::Error>,
    ) -> Result<HttpResponse, ProviderError> {
        let answer = async { self.http.send(request?).await };
        answer.await.map_err(|error: HttpError| ProviderError::Away(error.into()))
    }
}

/// What went wrong with reading is told by its kind alone: the text may hold a token.
fn read<T: DeserializeOwned>(response: &HttpResponse) -> Result<T, ProviderError> {
    let status = response.status();
    if status != StatusCode::OK {
        return Err(ProviderError::Unsound(format!("it answered {status}")));
    }
    serde_json::from_slice(response.body())
        .map_err(|error| ProviderError::Unsound(format!("its answer cannot be read ({:?})", error.classify())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_public_one_and_another_server_have_identities_of_their_own() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let at = |url| GitHub::new(url, "id", Secret::new("s"), Http::new().unwrap());
        let (public, own) = (at(PUBLIC), at("https://ghe.example"));
        assert_eq!((public.issuer(), public.api.as_str()), ("github", "https://api.github.com"));
        assert_eq!((own.issuer(), own.api.as_str()), ("github:https://ghe.example", "https://ghe.example/api/v3"));
    }
}
