//! The programs that may ask. There is one, and it keeps no secret from its user: a *public* client (RFC 6749, section 2.1),
//! which names itself and proves nothing by that.

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use url::form_urlencoded;

use super::errors::{Code, Refusal};
use super::form::Params;

#[derive(Debug, PartialEq, Eq)]
pub struct Client {
    pub id: &'static str,
    /// For people.
    pub name: &'static str,
}

const CLIENTS: [Client; 1] = [Client { id: "ckrv-cli", name: "The ckrv command line" }];

/// Both loopback addresses, never `localhost`, which may be resolved to something else (RFC 8252, section 8.3).
const LOOPBACK: [&str; 2] = ["http://127.0.0.1:", "http://[::1]:"];
const CALLBACK: &str = "/callback";

pub fn find(id: &str) -> Option<&'static Client> {
    CLIENTS.iter().find(|client| client.id == id)
}

/// The client that a request names: by the parameter `client_id`, or as the user of `Authorization: Basic` without a
/// password, which some libraries try first.
pub fn named(headers: &HeaderMap, params: &Params) -> Result<&'static Client, Refusal> {
    const UNKNOWN: Refusal = Refusal::new(Code::InvalidClient, "There is no such client.");
    const SECRET: Refusal = Refusal::new(Code::InvalidClient, "This client has no secret.");
    if params.get("client_secret").is_some() {
        return Err(SECRET);
    }
    let by_parameter = params.get("client_id");
    let id = match (basic(headers), by_parameter) {
        (Some(Basic::Good(id)), parameter) if parameter.is_none_or(|parameter| parameter == id) => id,
        (Some(Basic::WithSecret), _) => return Err(SECRET),
        (Some(_), _) => return Err(UNKNOWN),
        (None, parameter) => parameter.ok_or(Refusal::request("client_id is missing."))?.to_owned(),
    };
    find(&id).ok_or(UNKNOWN)
}

enum Basic {
    Good(String),
    WithSecret,
    Unreadable,
}

/// RFC 6749, section 2.3.1: user and password are form-encoded before they are put together.
fn basic(headers: &HeaderMap) -> Option<Basic> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let read = || {
        let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
        let (id, secret) = decoded.split_once(':')?;
        if !secret.is_empty() {
            return Some(Basic::WithSecret);
        }
        let mut decoded = form_urlencoded::parse(id.as_bytes());
        match (decoded.next(), decoded.next()) {
            (Some((id, value)), None) if value.is_empty() => Some(Basic::Good(id.into_owned())),
            _ => None,
        }
    };
    Some(read().unwrap_or(Basic::Unreadable))
}

impl Client {
    /// Whether it may be answered there: on loopback, at any port (RFC 8252, section 7.3), and otherwise letter for letter.
    #[expect(clippy::unused_self, reason = "which addresses are good is a matter of the client, and there is one")]
    pub fn redirects_to(&self, uri: &str) -> bool {
        let port = LOOPBACK.iter().find_map(|base| uri.strip_prefix(base)?.strip_suffix(CALLBACK));
        port.is_some_and(|port| {
            let plain = port.bytes().all(|byte| byte.is_ascii_digit()) && !port.starts_with('0');
            plain && port.parse::<u16>().is_ok()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cli() -> &'static Client {
        find("ckrv-cli").unwrap()
    }

    fn authorized(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())])
    }

    #[test]
    fn the_callback_is_on_loopback_at_any_port_and_nowhere_else() {
        for good in ["http://127.0.0.1:1/callback", "http://127.0.0.1:65535/callback", "http://[::1]:8080/callback"] {
            assert!(cli().redirects_to(good), "{good}");
        }
        for bad in [
            "",
            "http://127.0.0.1/callback",
            "http://127.0.0.1:/callback",
            "http://127.0.0.1:0/callback",
            "http://127.0.0.1:080/callback",
            "http://127.0.0.1:+80/callback",
            "http://127.0.0.1:65536/callback",
            "http://127.0.0.1:80/callback/",
            "http://127.0.0.1:80/callback?a=b",
            "http://127.0.0.1:80/callback#f",
            "http://127.0.0.1:80/other",
            "http://127.0.0.1:80/x/../callback",
            "http://127.0.0.1:80@evil.example/callback",
            "http://127.0.0.1:80.evil.example/callback",
            "http://user@127.0.0.1:80/callback",
            "https://127.0.0.1:80/callback",
            "HTTP://127.0.0.1:80/callback",
            "http://localhost:80/callback",
            "http://127.0.0.2:80/callback",
            "http://[::ffff:127.0.0.1]:80/callback",
            "http://evil.example:80/callback",
        ] {
            assert!(!cli().redirects_to(bad), "{bad}");
        }
    }

    #[test]
    fn a_client_names_itself_by_parameter_or_by_a_header_without_a_password() {
        let none = HeaderMap::new();
        let by = |text: &str| Params::parse(text.as_bytes()).unwrap();
        assert_eq!(named(&none, &by("client_id=ckrv-cli")), Ok(cli()));
        assert_eq!(named(&none, &by("")).unwrap_err().code, Code::InvalidRequest);
        for wrong in ["client_id=other", "client_id=ckrv-cli&client_secret=x"] {
            assert_eq!(named(&none, &by(wrong)).unwrap_err().code, Code::InvalidClient, "{wrong}");
        }
        let basic = |user: &str| authorized(&format!("Basic {}", STANDARD.encode(user)));
        for good in ["ckrv-cli:", "ckrv%2Dcli:"] {
            assert_eq!(named(&basic(good), &by("")), Ok(cli()), "{good}");
        }
        assert_eq!(named(&basic("ckrv-cli:"), &by("client_id=ckrv-cli")), Ok(cli()));
        for wrong in ["ckrv-cli", "ckrv-cli:secret", "other:", ":", "ckrv-cli&a:", "ckrv-cli=a:"] {
            assert_eq!(named(&basic(wrong), &by("")).unwrap_err().code, Code::InvalidClient, "{wrong}");
        }
        assert_eq!(named(&basic("ckrv-cli:"), &by("client_id=other")).unwrap_err().code, Code::InvalidClient);
        // Not meant for us.
        assert_eq!(named(&authorized("Bearer x"), &by("client_id=ckrv-cli")), Ok(cli()));
    }
}
