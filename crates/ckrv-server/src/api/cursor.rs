//! Cursors of lists that are sorted by id: the last id of a page. Opaque to callers, and good whatever happens to that thing or
//! is added meanwhile.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sqlx::types::Uuid;

pub fn write(last: Uuid) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(last.as_bytes())
}

pub fn read(text: &str) -> Option<Uuid> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
    Uuid::from_slice(&bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_its_text_form_and_others_are_refused() {
        let last = Uuid::now_v7();
        assert_eq!(read(&write(last)), Some(last));
        for text in ["", "x", "AAAA", "####"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
