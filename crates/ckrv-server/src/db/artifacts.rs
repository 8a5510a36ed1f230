//! The manifest of what attempts have stored.

use ckrv_types::artifact::{Artifact, ArtifactStatus};
use ckrv_types::worker::NewArtifact;
use ckrv_types::{AttemptId, JobId, OrgId};
use sqlx::{FromRow, PgConnection};

use super::decode;
use super::reach::Reach;
use crate::text;

/// Records an offer; one of the same name is replaced.
pub async fn offer(
    tx: &mut PgConnection,
    org: OrgId,
    attempt: AttemptId,
    artifact: &NewArtifact,
    key: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into artifacts (job_id, attempt, name, org_id, status, size, sha256, content_type, object_key)
         values ($1, $2, $3, $4, 'pending', $5, $6, $7, $8)
         on conflict (job_id, attempt, name) do update set
             status = 'pending', message = null, size = excluded.size, sha256 = excluded.sha256,
             content_type = excluded.content_type, object_key = excluded.object_key",
    )
    .bind(attempt.job.uuid())
    .bind(attempt.number.cast_signed())
    .bind(&artifact.name)
    .bind(org.uuid())
    .bind(artifact.size.cast_signed())
    .bind(&artifact.sha256)
    .bind(&artifact.content_type)
    .bind(key)
    .execute(tx)
    .await?;
    Ok(())
}

/// How many artifacts of other names the attempt has.
pub async fn others(tx: &mut PgConnection, attempt: AttemptId, name: &str) -> Result<u64, sqlx::Error> {
    let count: i64 =
        sqlx::query_scalar("select count(*) from artifacts where job_id = $1 and attempt = $2 and name <> $3")
            .bind(attempt.job.uuid())
            .bind(attempt.number.cast_signed())
            .bind(name)
            .fetch_one(tx)
            .await?;
    decode::number("count", count)
}

/// What an upload was allowed for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    pub name: String,
    pub size: u64,
    /// Lower-case hex.
    pub sha256: String,
    pub object_key: String,
}

/// Everything that the attempt has offered.
pub async fn offered(tx: &mut PgConnection, attempt: AttemptId) -> Result<Vec<Offered>, sqlx::Error> {
    let rows: Vec<(String, i64, String, String)> = sqlx::query_as(
        "select name, size, sha256, object_key from artifacts
         where job_id = $1 and attempt = $2 and object_key is not null and sha256 is not null",
    )
    .bind(attempt.job.uuid())
    .bind(attempt.number.cast_signed())
    .fetch_all(tx)
    .await?;
    rows.into_iter()
        .map(|(name, size, sha256, object_key)| {
            Ok(Offered { name, size: decode::number("size", size)?, sha256, object_key })
        })
        .collect()
}

/// What became of an artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub name: String,
    pub status: ArtifactStatus,
    pub message: Option<String>,
}

/// Records what its worker said became of an attempt's artifacts; names must not repeat.
pub async fn record(
    tx: &mut PgConnection,
    org: OrgId,
    attempt: AttemptId,
    outcomes: &[Outcome],
) -> Result<(), sqlx::Error> {
    let names: Vec<&str> = outcomes.iter().map(|outcome| outcome.name.as_str()).collect();
    let statuses: Vec<&str> = outcomes.iter().map(|outcome| status_text(outcome.status)).collect();
    let messages: Vec<Option<String>> =
        outcomes.iter().map(|outcome| text::message(outcome.message.as_deref())).collect();
    sqlx::query(
        "insert into artifacts (job_id, attempt, org_id, name, status, message)
         select $1, $2, $3, name, status, message from unnest($4::text[], $5::text[], $6::text[]) t (name, status, message)
         on conflict (job_id, attempt, name) do update set status = excluded.status, message = excluded.message",
    )
    .bind(attempt.job.uuid())
    .bind(attempt.number.cast_signed())
    .bind(org.uuid())
    .bind(names)
    .bind(statuses)
    .bind(messages)
    .execute(tx)
    .await?;
    Ok(())
}

/// At the attempt's end: an offer of which nobody said what became of it has failed. Its key is kept: something may lie
/// there, or arrive yet, and is removed with all else that the job has left.
pub async fn settle(tx: &mut PgConnection, attempt: AttemptId) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update artifacts set status = 'failed', message = 'its worker did not say what became of it'
         where job_id = $1 and attempt = $2 and status = 'pending'",
    )
    .bind(attempt.job.uuid())
    .bind(attempt.number.cast_signed())
    .execute(tx)
    .await?;
    Ok(())
}

/// An artifact and where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub artifact: Artifact,
    pub object_key: Option<String>,
}

#[derive(FromRow)]
struct ListedRow {
    name: String,
    attempt: i32,
    status: String,
    size: i64,
    sha256: Option<String>,
    content_type: String,
    message: Option<String>,
    object_key: Option<String>,
}

/// The artifacts of the job's latest attempt that stored any, or of the latest that tried; by name.
pub async fn list(tx: &mut PgConnection, job: JobId) -> Result<Vec<Listed>, sqlx::Error> {
    let rows: Vec<ListedRow> = sqlx::query_as(
        "select name, attempt, status, size, sha256, content_type, message, object_key from artifacts
         where job_id = $1 and attempt = (
             select attempt from artifacts where job_id = $1 order by status = 'stored' desc, attempt desc limit 1
         )
         order by name collate \"C\"",
    )
    .bind(job.uuid())
    .fetch_all(tx)
    .await?;
    rows.into_iter().map(Listed::try_from).collect()
}

impl TryFrom<ListedRow> for Listed {
    type Error = sqlx::Error;

    fn try_from(row: ListedRow) -> Result<Self, sqlx::Error> {
        let status = status(&row.status);
        let artifact = Artifact {
            name: row.name,
            attempt: decode::number("attempt", row.attempt)?,
            status,
            size: decode::number("size", row.size)?,
            sha256: row.sha256.filter(|_| status == ArtifactStatus::Stored),
            content_type: row.content_type,
            message: row.message,
        };
        Ok(Self { artifact, object_key: row.object_key })
    }
}

/// Whether retention has removed what the job left. `None`: no such job, or none that the caller may see.
pub async fn is_purged(tx: &mut PgConnection, job: JobId, reach: &Reach) -> Result<Option<bool>, sqlx::Error> {
    sqlx::query_scalar(
        "select purged_at is not null from jobs where id = $1 and (cardinality($2) = 0 or project_id = any($2))",
    )
    .bind(job.uuid())
    .bind(reach.uuids())
    .fetch_optional(tx)
    .await
}

const fn status_text(status: ArtifactStatus) -> &'static str {
    match status {
        ArtifactStatus::Pending => "pending",
        ArtifactStatus::Stored => "stored",
        ArtifactStatus::Failed => "failed",
        ArtifactStatus::Skipped => "skipped",
        ArtifactStatus::Expired => "expired",
    }
}

/// The table's check holds the column to these.
fn status(text: &str) -> ArtifactStatus {
    match text {
        "stored" => ArtifactStatus::Stored,
        "failed" => ArtifactStatus::Failed,
        "skipped" => ArtifactStatus::Skipped,
        "expired" => ArtifactStatus::Expired,
        _ => ArtifactStatus::Pending,
    }
}
