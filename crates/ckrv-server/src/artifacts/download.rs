//! Users list a job's artifacts and get them.

use std::ops::Range;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ckrv_types::artifact::{Artifact, ArtifactStatus, Manifest};
use ckrv_types::{JobId, Problem, ProblemCode};

use crate::auth::{Auth, Caller, Read};
use crate::db::artifacts::{self, Listed};
use crate::error::{ApiError, ApiResult};
use crate::http::extract::Path;
use crate::http::problems::{Authenticated, Gone, NotFound};
use crate::state::AppState;

/// List the job's artifacts.
///
/// Those of its latest attempt that stored any, each with its outcome.
#[utoipa::path(get, path = "/v1/jobs/{id}/artifacts", tag = "artifacts", operation_id = "listArtifacts",
    params(("id" = JobId, Path, description = "The job.")),
    responses((status = 200, body = Manifest), Authenticated, NotFound, Gone))]
pub(super) async fn list(
    State(state): State<AppState>,
    auth: Caller<Read>,
    Path(job): Path<JobId>,
) -> ApiResult<Json<Manifest>> {
    let items = listed(&state, &auth, job).await?.into_iter().map(|listed| listed.artifact).collect();
    Ok(Json(Manifest { items }))
}

/// Get an artifact.
///
/// Its bytes, as an attachment; one range of them, if asked for. Where users reach the object store themselves, a redirect
/// to it instead.
#[utoipa::path(get, path = "/v1/jobs/{id}/artifacts/{*name}", tag = "artifacts", operation_id = "getArtifact",
    params(("id" = JobId, Path, description = "The job."),
        ("name" = String, Path, description = "The artifact's name, a path whose `/` stand as they are."),
        ("Range" = Option<String>, Header, description = "One range of bytes, `bytes=<first>-<last>`; any other is ignored.")),
    responses(
        (status = 200, description = "The artifact; `ETag` is its SHA-256.", content_type = "*/*", body = Vec<u8>),
        (status = 206, description = "The range.", content_type = "*/*", body = Vec<u8>),
        (status = 307, description = "The artifact is at `Location`, for a minute."),
        Authenticated, NotFound, Gone))]
pub(super) async fn download(
    State(state): State<AppState>,
    auth: Caller<Read>,
    Path((job, name)): Path<(JobId, String)>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let listed = listed(&state, &auth, job).await?;
    let found = listed.into_iter().find(|listed| listed.artifact.name == name).ok_or_else(|| not_there(None))?;
    let Listed { artifact, object_key } = found;
    let stored = object_key.filter(|_| artifact.status == ArtifactStatus::Stored);
    let key = stored.ok_or_else(|| not_there(Some(&artifact)))?;
    let disposition = disposition(&artifact.name);
    if let Some(signed) = state.s3.presign_get(&key, &disposition).await? {
        return Ok((StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, signed.url.to_string())]).into_response());
    }
    let tag = format!("\"{}\"", artifact.sha256.as_deref().unwrap_or_default());
    let range = range(&headers, &tag, artifact.size);
    let object = state.s3.get(&key, range.clone()).await?;
    let object = object.ok_or(ApiError::Internal("a stored artifact is gone from the object store"))?;
    let mut response = Response::new(Body::new(object.body));
    let mut set = |name, value: &str| -> Option<HeaderValue> {
        response.headers_mut().insert(name, HeaderValue::from_str(value).ok()?)
    };
    set(header::CONTENT_TYPE, &artifact.content_type);
    set(header::CONTENT_LENGTH, &object.length.to_string());
    set(header::CONTENT_DISPOSITION, &disposition);
    set(header::ETAG, &tag);
    set(header::ACCEPT_RANGES, "bytes");
    if let Some(Range { start, end }) = range {
        set(header::CONTENT_RANGE, &format!("bytes {start}-{}/{}", end - 1, artifact.size));
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(response)
}

async fn listed(state: &AppState, auth: &Auth, job: JobId) -> ApiResult<Vec<Listed>> {
    let mut tx = state.db.tenant(auth.org).await?;
    let purged = artifacts::is_purged(&mut tx, job, &auth.reach).await?;
    match purged {
        None => return Err(Problem::new(ProblemCode::NotFound).detail("There is no such job.").into()),
        Some(true) => {
            return Err(Problem::new(ProblemCode::Expired)
                .detail("The job's artifacts were removed, because their retention time is over.")
                .hint("`ckrv retry` runs the job again; `ckrv status` still shows how it ended.")
                .into());
        }
        Some(false) => {}
    }
    let listed = artifacts::list(&mut tx, job).await?;
    tx.commit().await?;
    Ok(listed)
}

fn not_there(found: Option<&Artifact>) -> ApiError {
    let problem = Problem::new(ProblemCode::NotFound).hint("`ckrv pull` takes what is there; the manifest lists it.");
    let why = found.and_then(|found| found.message.as_deref());
    match (found, why) {
        (None, _) => problem.detail("The job has no such artifact."),
        (Some(_), None) => problem.detail("The artifact was not stored."),
        (Some(_), Some(why)) => problem.detail(format!("The artifact was not stored: {why}.")),
    }
    .into()
}

/// The one range that is asked for, if it can be had (RFC 9110, section 14: any other may be ignored).
fn range(headers: &HeaderMap, tag: &str, size: u64) -> Option<Range<u64>> {
    if headers.get(header::IF_RANGE).is_some_and(|condition| condition != tag) {
        return None;
    }
    let (first, last) = headers.get(header::RANGE)?.to_str().ok()?.strip_prefix("bytes=")?.split_once('-')?;
    let (start, end) = match (first.is_empty(), last.is_empty()) {
        (false, false) => (first.parse().ok()?, last.parse::<u64>().ok()?.checked_add(1)?.min(size)),
        (false, true) => (first.parse().ok()?, size),
        (true, false) => (size.saturating_sub(last.parse().ok()?), size),
        (true, true) => return None,
    };
    (start < end).then_some(start..end)
}

/// Saved under the name's last part, never shown in place (RFC 6266).
fn disposition(name: &str) -> String {
    use std::fmt::Write as _;
    let base = name.rsplit('/').next().unwrap_or_default();
    let mut value = "attachment; filename*=UTF-8''".to_owned();
    for byte in base.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            value.push(char::from(byte));
        } else {
            let _ = write!(value, "%{byte:02X}");
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(value: &str) -> Option<Range<u64>> {
        let headers = HeaderMap::from_iter([(header::RANGE, value.parse().unwrap())]);
        range(&headers, "\"t\"", 10)
    }

    #[test]
    fn one_range_within_the_object_is_served_and_any_other_ignored() {
        assert_eq!(asked("bytes=2-4"), Some(2..5));
        assert_eq!(asked("bytes=2-"), Some(2..10));
        assert_eq!(asked("bytes=-3"), Some(7..10));
        assert_eq!(asked("bytes=5-99"), Some(5..10));
        for value in ["bytes=10-", "bytes=4-2", "bytes=-", "bytes=a-b", "bytes=0-1,3-4", "lines=1-2", "bytes=-0"] {
            assert_eq!(asked(value), None, "{value}");
        }
    }

    #[test]
    fn a_range_of_another_version_is_ignored() {
        let with = |condition: &str| {
            let headers = [(header::RANGE, "bytes=0-1"), (header::IF_RANGE, condition)];
            let headers = headers.map(|(name, value)| (name, value.parse().unwrap()));
            range(&HeaderMap::from_iter(headers), "\"t\"", 10)
        };
        assert_eq!(with("\"t\""), Some(0..2));
        assert_eq!(with("\"u\""), None);
    }

    #[test]
    fn a_download_is_saved_under_its_last_part() {
        assert_eq!(disposition("files/a b;\"ü.txt"), "attachment; filename*=UTF-8''a%20b%3B%22%C3%BC.txt");
    }
}
