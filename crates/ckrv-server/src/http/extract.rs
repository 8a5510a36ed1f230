//! Extractors that answer a problem where axum's own would answer plain text.

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, FailedToBufferBody, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use ckrv_types::object::Object;
use ckrv_types::problem::FieldError;
use ckrv_types::{Problem, ProblemCode};
use serde::de::DeserializeOwned;

use crate::error::ApiError;

/// A JSON body: 415 for another media type, 400 for broken JSON, 422 for what does not fit the type, 413 over the limit.
pub struct Json<T>(pub T);

/// A path's parameters. What cannot be one (an id of another shape) does not exist: 404.
pub struct Path<T>(pub T);

/// The query's parameters: 400 when one is wrong.
pub struct Query<T>(pub T);

/// A body as it came, within its route's limit.
pub struct Body(pub Bytes);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let headers = request.headers().clone();
        let Body(bytes) = Body::from_request(request, state).await?;
        parse_json(&headers, &bytes).map(Self)
    }
}

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        match Bytes::from_request(request, state).await {
            Ok(bytes) => Ok(Self(bytes)),
            Err(BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_))) => {
                Err(ProblemCode::TooLarge.into())
            }
            Err(_) => Err(Problem::new(ProblemCode::BadRequest).detail("The body ended before it was whole.").into()),
        }
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(PathRejection::FailedToDeserializePathParams(error)) => {
                Err(Problem::new(ProblemCode::NotFound).detail(error.body_text()).into())
            }
            Err(_) => Err(ApiError::Internal("a route has no path parameters")),
        }
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match axum::extract::Query::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(value)) => Ok(Self(value)),
            Err(QueryRejection::FailedToDeserializeQueryString(error)) => {
                Err(Problem::new(ProblemCode::BadRequest).detail(error.body_text()).into())
            }
            Err(_) => Err(ProblemCode::BadRequest.into()),
        }
    }
}

/// Reads a JSON body whose bytes the handler needs too (to hash them, say).
pub fn parse_json<T: DeserializeOwned>(headers: &HeaderMap, body: &[u8]) -> Result<T, ApiError> {
    require_media_type(headers, "application/json")?;
    let mut parser = serde_json::Deserializer::from_slice(body);
    let read = serde_path_to_error::deserialize::<_, Object<T>>(&mut parser).map_err(|error| json_problem(&error))?;
    parser.end().map_err(|error| bad_json(&error))?;
    Ok(read.0)
}

/// 415 unless the body is of this media type; parameters such as `charset` do not matter.
pub fn require_media_type(headers: &HeaderMap, wanted: &str) -> Result<(), ApiError> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case(wanted) {
        return Ok(());
    }
    let detail = format!("This route takes `{wanted}`.");
    Err(Problem::new(ProblemCode::UnsupportedMediaType).detail(detail).into())
}

fn json_problem(error: &serde_path_to_error::Error<serde_json::Error>) -> ApiError {
    if !error.inner().is_data() {
        return bad_json(error.inner());
    }
    let errors = vec![FieldError { field: error.path().to_string(), message: error.inner().to_string() }];
    Problem { errors, ..Problem::new(ProblemCode::Invalid) }.detail(error.to_string()).into()
}

fn bad_json(error: &serde_json::Error) -> ApiError {
    Problem::new(ProblemCode::BadRequest).detail(format!("The body is not JSON: {error}.")).into()
}
