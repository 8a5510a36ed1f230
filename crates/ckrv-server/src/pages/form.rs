//! Forms, as they come from pages of ours. Whoever takes one of these has had it checked that it does.

use axum::extract::{FromRequest, FromRequestParts as _, Request};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use ckrv_types::{Problem, ProblemCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::form_urlencoded;

use super::cookies::Cookie;
use super::csrf::{self, Csrf};
use super::session::Session;
use crate::error::{ApiError, ApiResult};
use crate::http::extract::{Body, require_media_type};
use crate::state::AppState;

/// A form of somebody who is signed in. Without a session, the sender is led to the sign-in page.
pub struct SessionForm<T> {
    pub session: Session,
    pub fields: T,
}

/// A form of a browser that nobody need have signed in with.
pub struct BrowserForm<T>(pub T);

#[derive(Deserialize)]
struct Hidden {
    csrf: Option<String>,
}

impl<T: DeserializeOwned> FromRequest<AppState> for SessionForm<T> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let session = Session::from_request_parts(&mut parts, state).await.map_err(IntoResponse::into_response)?;
        let csrf = Csrf::of_session(state, session.id);
        let read = read(Request::from_parts(parts, body), state, &csrf).await;
        Ok(Self { session, fields: read.map_err(ApiError::into_response)? })
    }
}

impl<T: DeserializeOwned> FromRequest<AppState> for BrowserForm<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> ApiResult<Self> {
        let cookie = Cookie::Csrf.read(&state.config, request.headers()).ok_or_else(csrf::refused)?;
        read(request, state, &Csrf::of_browser(state, &cookie)).await.map(Self)
    }
}

async fn read<T: DeserializeOwned>(request: Request, state: &AppState, csrf: &Csrf) -> ApiResult<T> {
    let headers: HeaderMap = request.headers().clone();
    csrf::check_origin(state, &headers)?;
    require_media_type(&headers, "application/x-www-form-urlencoded")?;
    let Body(bytes) = Body::from_request(request, state).await?;
    let hidden: Hidden = parse(&bytes)?;
    csrf.check(hidden.csrf.as_deref())?;
    parse(&bytes)
}

/// A field that is there twice is refused, as one that is missing.
fn parse<T: DeserializeOwned>(bytes: &[u8]) -> ApiResult<T> {
    // No browser sends one, and the database takes none.
    if form_urlencoded::parse(bytes).any(|(name, value)| name.contains('\0') || value.contains('\0')) {
        return Err(Problem::new(ProblemCode::BadRequest).detail("The form has a NUL in it.").into());
    }
    serde_urlencoded::from_bytes(bytes).map_err(|error| {
        let detail = format!("The form cannot be read: {error}.");
        Problem::new(ProblemCode::BadRequest).detail(detail).into()
    })
}
