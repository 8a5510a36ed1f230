//! That a form was sent from a page of ours: by a hidden field that only our pages can know, and by what the browser says of
//! where it comes from.
//!
//! The field is a keyed hash over the session; before anybody has signed in, over a random cookie of the browser's. Neither
//! is kept anywhere.

use axum::http::HeaderMap;
use axum::http::header::{HOST, ORIGIN};
use ckrv_types::{Problem, ProblemCode, SessionId};
use subtle::ConstantTimeEq as _;
use url::Url;

use crate::error::{ApiError, ApiResult};
use crate::state::AppState;

/// What a form's field `csrf` must be.
#[derive(Clone)]
pub struct Csrf(String);

impl Csrf {
    /// In the pages of a session.
    pub fn of_session(state: &AppState, session: SessionId) -> Self {
        Self(hex::encode(state.signer.hash_short("form of a session", &session.to_string())))
    }

    /// In a browser that nobody has signed in with; `cookie`: its [`super::cookies::Cookie::Csrf`].
    pub fn of_browser(state: &AppState, cookie: &str) -> Self {
        Self(hex::encode(state.signer.hash_short("form of a browser", cookie)))
    }

    /// In a link of a session's pages that does something. Not what their forms have: addresses are kept and seen.
    pub fn of_link(state: &AppState, session: SessionId) -> Self {
        Self(hex::encode(state.signer.hash_short("link of a session", &session.to_string())))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Refuses (403) a form that does not have it.
    pub fn check(&self, field: Option<&str>) -> ApiResult<()> {
        let same: bool = self.0.as_bytes().ct_eq(field.unwrap_or_default().as_bytes()).into();
        if same { Ok(()) } else { Err(refused()) }
    }
}

/// Refuses (403) a request that the browser says to come from another site. Who does not say is no browser, or an old one.
pub fn check_origin(state: &AppState, headers: &HeaderMap) -> ApiResult<()> {
    let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
    let ours = origin.to_str().ok().and_then(|origin| origin.parse::<Url>().ok()).is_some_and(|origin| {
        // By the address that it was told, or the one that the browser believes to speak to: no page can choose that one.
        is_public(state, &origin) || is_host(headers, &origin)
    });
    if ours { Ok(()) } else { Err(refused()) }
}

/// Refuses (403) what the browser says that a page has fetched, as an image or in a frame, where somebody should have gone.
pub fn check_gone_to(headers: &HeaderMap) -> ApiResult<()> {
    let fetched = headers.get("sec-fetch-dest").is_some_and(|dest| dest != "document");
    if fetched { Err(refused()) } else { Ok(()) }
}

fn is_public(state: &AppState, origin: &Url) -> bool {
    state.config.public_url.as_ref().is_some_and(|ours| ours.origin() == origin.origin())
}

fn is_host(headers: &HeaderMap, origin: &Url) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let ours = format!("{}://{host}", origin.scheme()).parse::<Url>();
    ours.is_ok_and(|ours| ours.origin() == origin.origin() && ours.origin().is_tuple())
}

pub fn refused() -> ApiError {
    Problem::new(ProblemCode::Forbidden)
        .detail("This form is out of date, or was not sent from a page of ours. Nothing was done.")
        .hint("Go back, reload the page, and send it again.")
        .into()
}
