//! Where somebody is led after they have signed in: back to the page of ours that they wanted, and never anywhere else.

/// Where those are led who wanted nothing else.
pub const HOME: &str = "/account";

/// An authorization request fits well.
const BYTES: usize = 4096;

/// `wanted`, if it is a path of ours: visible ASCII that begins with exactly one slash and has no backslash, which browsers
/// take for another slash.
pub fn checked(wanted: &str) -> Option<&str> {
    let rest = wanted.strip_prefix('/')?;
    let plain = wanted.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    (plain && !rest.starts_with('/') && wanted.len() <= BYTES).then_some(wanted)
}

/// The sign-in page, which leads back to `wanted`.
pub fn sign_in_then(wanted: &str) -> String {
    let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("return_to", wanted).finish();
    format!("/login?{query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_path_of_ours_is_one() {
        for path in ["/account", "/device?code=ABCD-EFGH", "/oauth/authorize?a=b&c=https%3A%2F%2Fx", "/", "/a//b"] {
            assert_eq!(checked(path), Some(path));
        }
        let long = format!("/{}", "a".repeat(BYTES));
        for path in [
            "",
            "account",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\/evil.example",
            "/a\\b",
            "https://evil.example",
            "javascript:alert(1)",
            " /account",
            "/a\nb",
            "/a\r\nset-cookie: x",
            "/\t/evil.example",
            "/\u{7f}",
            "/ä",
            "/a b",
            &long,
        ] {
            assert_eq!(checked(path), None, "{path:?}");
        }
    }

    #[test]
    fn the_way_back_survives_the_sign_in_page() {
        assert_eq!(sign_in_then("/device?code=A&b=c"), "/login?return_to=%2Fdevice%3Fcode%3DA%26b%3Dc");
    }
}
