//! A worker offers an artifact and is told where to put it.

use axum::Json as Answer;
use axum::extract::State;
use axum::http::HeaderValue;
use ckrv_types::problem::FieldError;
use ckrv_types::worker::{NewArtifact, Upload};
use ckrv_types::{Problem, ProblemCode, limits};

use super::{name, object_key};
use crate::auth::WorkerAuth;
use crate::db::{artifacts, attempts};
use crate::error::{ApiError, ApiResult};
use crate::http::extract::Json;
use crate::http::problems::{Authenticated, Gone, JsonBody, NotFound};
use crate::s3::PutTerms;
use crate::state::AppState;

const CONTENT_TYPE_CHARS: usize = 255;

/// Offer an artifact.
///
/// Answers a request that stores exactly these bytes. Offering a name again replaces the offer before.
#[utoipa::path(post, path = "/v1/worker/artifacts", tag = "worker", operation_id = "offerArtifact",
    request_body = NewArtifact,
    responses((status = 200, body = Upload), Authenticated, JsonBody, NotFound, Gone))]
pub(super) async fn offer(
    State(state): State<AppState>,
    worker: WorkerAuth,
    Json(artifact): Json<NewArtifact>,
) -> ApiResult<Answer<Upload>> {
    check(&artifact)?;
    let key = object_key(worker.attempt, &artifact.name);
    let mut tx = state.db.tenant(worker.org).await?;
    // What is offered at the very end is settled with all the rest, or refused.
    attempts::hold(&mut tx, worker.attempt).await?;
    let standing = attempts::standing(&mut tx, worker.attempt).await?.ok_or(ProblemCode::NotFound)?;
    if standing.state.is_terminal() {
        let sealed = Problem { sealed_seq: standing.sealed_seq, ..Problem::new(ProblemCode::Sealed) };
        return Err(sealed.detail("The attempt is over; nothing more is stored for it.").into());
    }
    if artifacts::others(&mut tx, worker.attempt, &artifact.name).await? >= limits::ARTIFACTS as u64 {
        return Err(invalid("name", format!("an attempt has at most {} artifacts", limits::ARTIFACTS)));
    }
    artifacts::offer(&mut tx, worker.org, worker.attempt, &artifact, &key).await?;
    tx.commit().await?;
    let terms =
        PutTerms { key: &key, size: artifact.size, sha256: &artifact.sha256, content_type: &artifact.content_type };
    let put = state.s3.presign_put(terms).await?;
    Ok(Answer(Upload { url: put.url.into(), headers: put.headers, expires_at: put.expires_at }))
}

fn check(artifact: &NewArtifact) -> ApiResult<()> {
    name::check(&artifact.name).map_err(|why| invalid("name", why.to_string()))?;
    if artifact.size > limits::ARTIFACT_BYTES {
        return Err(invalid("size", format!("an artifact has at most {} bytes", limits::ARTIFACT_BYTES)));
    }
    let lower_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if artifact.sha256.len() != 64 || !artifact.sha256.bytes().all(lower_hex) {
        return Err(invalid("sha256", "must be 64 digits of lower-case hex".to_owned()));
    }
    let content_type = &artifact.content_type;
    let printable = content_type.bytes().all(|byte| (b' '..=b'~').contains(&byte)) && content_type.contains('/');
    if !printable || content_type.len() > CONTENT_TYPE_CHARS || HeaderValue::from_str(content_type).is_err() {
        return Err(invalid("content_type", "is not a media type".to_owned()));
    }
    Ok(())
}

fn invalid(field: &str, message: String) -> ApiError {
    let errors = vec![FieldError { field: field.to_owned(), message }];
    Problem { errors, ..Problem::new(ProblemCode::Invalid) }.detail("The artifact breaks a rule.").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artifact() -> NewArtifact {
        NewArtifact {
            name: "files/a.txt".to_owned(),
            size: 3,
            sha256: "ab".repeat(32),
            content_type: "text/plain; charset=utf-8".to_owned(),
        }
    }

    #[test]
    fn each_field_has_its_rule() {
        assert!(check(&artifact()).is_ok());
        for (broken, field) in [
            (NewArtifact { name: "../a".to_owned(), ..artifact() }, "name"),
            (NewArtifact { size: limits::ARTIFACT_BYTES + 1, ..artifact() }, "size"),
            (NewArtifact { sha256: "AB".repeat(32), ..artifact() }, "sha256"),
            (NewArtifact { content_type: "text/plain\r\nX-Evil: 1".to_owned(), ..artifact() }, "content_type"),
            (NewArtifact { content_type: String::new(), ..artifact() }, "content_type"),
        ] {
            assert_eq!(check(&broken).unwrap_err().problem().errors[0].field, field);
        }
    }
}
