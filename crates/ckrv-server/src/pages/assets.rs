//! What pages are dressed with. The name has the content's hash in it, so browsers keep it for good.

use std::fmt::Write as _;
use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use ckrv_types::ProblemCode;
use sha2::{Digest as _, Sha256};

use crate::error::ApiResult;

const FOR_GOOD: &str = "public, max-age=31536000, immutable";
/// Another release's, during a roll-out: ours will do for this once.
const FOR_NOW: &str = "no-store";
const HASH_BYTES: usize = 8;

/// A file that pages refer to.
pub struct Asset {
    stem: &'static str,
    extension: &'static str,
    media_type: &'static str,
    content: &'static str,
    name: String,
}

pub static STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("ckrv", "css", "text/css; charset=utf-8", include_str!("../../assets/ckrv.css")));
pub static ICON: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("ckrv", "svg", "image/svg+xml", include_str!("../../assets/ckrv.svg")));

impl Asset {
    fn new(stem: &'static str, extension: &'static str, media_type: &'static str, content: &'static str) -> Self {
        let hash = Sha256::digest(content.as_bytes());
        let mut name = format!("{stem}.");
        for byte in &hash[..HASH_BYTES] {
            let _ = write!(name, "{byte:02x}");
        }
        Self { stem, extension, media_type, content, name: format!("{name}.{extension}") }
    }

    /// Where browsers find it.
    pub fn path(&self) -> String {
        format!("/assets/{}", self.name)
    }

    /// How long an answer to this name may be kept; none: it is another file's.
    fn kept(&self, name: &str) -> Option<&'static str> {
        if name == self.name {
            return Some(FOR_GOOD);
        }
        let hash = name.strip_prefix(self.stem)?.strip_suffix(self.extension)?;
        let hash = hash.strip_prefix('.')?.strip_suffix('.')?;
        let ours = hash.len() == 2 * HASH_BYTES && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        ours.then_some(FOR_NOW)
    }
}

/// `GET /assets/{name}`.
pub async fn serve(Path(name): Path<String>) -> ApiResult<Response> {
    let found = [&STYLE, &ICON].into_iter().find_map(|asset| Some((asset, asset.kept(&name)?)));
    let (asset, kept) = found.ok_or(ProblemCode::NotFound)?;
    Ok(([(CONTENT_TYPE, asset.media_type), (CACHE_CONTROL, kept)], asset.content).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_today_is_kept_for_good_and_one_of_another_release_for_now() {
        assert_eq!(STYLE.kept(&STYLE.name), Some(FOR_GOOD));
        assert_eq!(STYLE.kept("ckrv.0123456789abcdef.css"), Some(FOR_NOW));
        for name in ["ckrv.css", "ckrv.012.css", "ckrv.0123456789abcdef.svg", "x.0123456789abcdef.css", "ckrv..css", ""]
        {
            assert_eq!(STYLE.kept(name), None, "{name}");
        }
    }
}
