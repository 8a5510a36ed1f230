//! What a program sends: a form, each parameter at most once, and which client it says that it is.

use std::collections::HashMap;
use std::fmt;

use axum::extract::{FromRequest, FromRequestParts as _, Request};
use url::form_urlencoded;

use super::clients::{self, Client};
use super::errors::{OAuthFailure, Refusal};
use crate::http::extract::{Body, require_media_type};
use crate::http::needs::Extracted;
use crate::http::rate::address::ClientAddress;
use crate::state::AppState;

const MEDIA_TYPE: &str = "application/x-www-form-urlencoded";

/// Parameters by name. One without a value is as good as none (RFC 6749, section 3.2); who knows not a name, ignores it.
#[derive(Default)]
pub struct Params(HashMap<String, String>);

/// Their names alone: values are tokens, codes and verifiers.
impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Params {
    pub fn parse(encoded: &[u8]) -> Result<Self, Refusal> {
        let mut params = HashMap::new();
        for (name, value) in form_urlencoded::parse(encoded) {
            if params.insert(name.into_owned(), value.into_owned()).is_some() {
                return Err(Refusal::request("A parameter is there twice."));
            }
        }
        Ok(Self(params))
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// `missing` says that it is, in words.
    pub fn required(&self, name: &str, missing: &'static str) -> Result<&str, Refusal> {
        self.get(name).ok_or(Refusal::request(missing))
    }
}

/// A program's request.
pub struct Asked {
    pub client: &'static Client,
    pub params: Params,
    /// Where from.
    pub address: String,
}

impl Extracted for Asked {}

impl FromRequest<AppState> for Asked {
    type Rejection = OAuthFailure;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, OAuthFailure> {
        let (mut parts, body) = request.into_parts();
        let ClientAddress(address) = ClientAddress::from_request_parts(&mut parts, state).await?;
        let headers = parts.headers.clone();
        let Body(body) = Body::from_request(Request::from_parts(parts, body), state).await?;
        require_media_type(&headers, MEDIA_TYPE).map_err(|_| Refusal::request("The body must be a form."))?;
        let params = Params::parse(&body)?;
        let client = clients::named(&headers, &params)?;
        Ok(Self { client, params, address: address.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_there_once_and_an_empty_one_not_at_all() {
        let params = Params::parse(b"a=1%202&b=&c").unwrap();
        assert_eq!((params.get("a"), params.get("b"), params.get("c")), (Some("1 2"), None, None));
        for twice in ["a=1&a=1", "a=1&a=", "a&%61=2"] {
            assert!(Params::parse(twice.as_bytes()).is_err(), "{twice}");
        }
    }
}
