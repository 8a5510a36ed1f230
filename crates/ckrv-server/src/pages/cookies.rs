//! The two cookies. On https their names begin with `__Host-`, so that no neighbouring or unencrypted host can set them
//! (RFC 6265bis, section 4.1.3.2); on http, which is for one's own machine, browsers refuse that prefix.

use axum::http::header::COOKIE;
use axum::http::{HeaderMap, HeaderValue};
use ckrv_types::limits;

use crate::config::Config;

/// Characters of a cookie's value: 256 bits in hex.
const VALUE_CHARS: usize = 64;

/// A cookie of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cookie {
    /// Who is signed in.
    Session,
    /// Ties the sign-in form to the browser that it was shown to.
    Csrf,
}

impl Cookie {
    const fn name(self, https: bool) -> &'static str {
        match (self, https) {
            (Self::Session, true) => "__Host-ckrv-session",
            (Self::Session, false) => "ckrv-session",
            (Self::Csrf, true) => "__Host-ckrv-csrf",
            (Self::Csrf, false) => "ckrv-csrf",
        }
    }

    /// Its value in this request, if it can be one of ours.
    pub fn read(self, config: &Config, headers: &HeaderMap) -> Option<String> {
        let name = self.name(is_https(config));
        let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
        let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let (_, value) = pairs.find(|(known, _)| *known == name)?;
        let ours = value.len() == VALUE_CHARS && value.bytes().all(|byte| byte.is_ascii_hexdigit());
        ours.then(|| value.to_owned())
    }

    /// The header that has the browser keep this value, of hex digits.
    pub fn set(self, config: &Config, value: &str) -> HeaderValue {
        // A session outlives the browser's; what the server says of its end counts.
        let life = match self {
            Self::Session => format!("; Max-Age={}", i64::from(limits::SESSION_DAYS) * 24 * 3600),
            Self::Csrf => String::new(),
        };
        self.header(config, value, &life)
    }

    /// The header that has the browser forget it.
    pub fn forget(self, config: &Config) -> HeaderValue {
        self.header(config, "", "; Max-Age=0")
    }

    fn header(self, config: &Config, value: &str, life: &str) -> HeaderValue {
        let https = is_https(config);
        let secure = if https { "; Secure" } else { "" };
        let text = format!("{}={value}; Path=/; HttpOnly; SameSite=Lax{secure}{life}", self.name(https));
        HeaderValue::try_from(text).expect("names and hex digits are ASCII")
    }
}

/// Whether browsers reach the server encrypted, as far as it was told.
fn is_https(config: &Config) -> bool {
    config.public_url.as_ref().is_some_and(|url| url.scheme() == "https")
}

/// A new random value.
pub fn random() -> String {
    hex::encode(rand::random::<[u8; VALUE_CHARS / 2]>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(public_url: &[&'static str]) -> Config {
        let url = "postgres://x@localhost/x";
        let key = "07".repeat(32);
        let needed = ["--database-url", url, "--system-database-url", url, "--secret-key", &key];
        let s3 = ["--s3-endpoint", "http://localhost", "--s3-access-key", "x", "--s3-secret-key", "x"];
        Config::from_args([&needed[..], &s3, public_url].concat()).unwrap()
    }

    fn sent(line: &str) -> HeaderMap {
        HeaderMap::from_iter([(COOKIE, line.parse().unwrap())])
    }

    #[test]
    fn on_https_a_cookie_is_secure_and_bound_to_its_host() {
        let https = config(&["--public-url", "https://ckrv.example.com"]);
        let value = "a".repeat(64);
        assert_eq!(
            Cookie::Session.set(&https, &value),
            format!("__Host-ckrv-session={value}; Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=7776000")
        );
        assert_eq!(Cookie::Csrf.forget(&config(&[])), "ckrv-csrf=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0");
    }

    #[test]
    fn a_cookie_is_found_among_others_and_only_under_its_own_name() {
        let (http, https) = (config(&[]), config(&["--public-url", "https://ckrv.example.com"]));
        let value = random();
        let headers = sent(&format!("a=b; ckrv-session={value};xckrv-session=1"));
        assert_eq!(Cookie::Session.read(&http, &headers).as_deref(), Some(value.as_str()));
        assert_eq!(Cookie::Session.read(&https, &headers), None, "set by somebody without TLS");
        assert_eq!(Cookie::Csrf.read(&http, &headers), None);
        for line in ["ckrv-session=", "ckrv-session=zz", "ckrv-session"] {
            assert_eq!(Cookie::Session.read(&http, &sent(line)), None, "{line}");
        }
    }
}
