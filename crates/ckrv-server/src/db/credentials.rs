//! Credentials of organizations. A tenant's transaction sees all of them but the secrets; those are the system's to read.

use std::collections::BTreeMap;

use ckrv_types::credential::{Credential, CredentialKind};
use ckrv_types::{AttemptId, CredentialId, OrgId, ProjectId};
use sqlx::types::{Json, Uuid};
use sqlx::{FromRow, PgConnection};
use time::OffsetDateTime;

use super::data_keys::StoredDataKey;
use super::decode;
use crate::vault::Sealed;
use crate::vault::envelope::Bound;

#[derive(FromRow)]
struct CredentialRow {
    id: Uuid,
    project_id: Option<Uuid>,
    name: String,
    kind: String,
    host: String,
    username: Option<String>,
    fingerprint: Option<String>,
    version: i32,
    created_at: OffsetDateTime,
    updated_at: OffsetDateTime,
    last_used_at: Option<OffsetDateTime>,
}

impl TryFrom<CredentialRow> for Credential {
    type Error = sqlx::Error;

    fn try_from(row: CredentialRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: CredentialId::from_uuid(row.id),
            name: row.name,
            kind: decode::text("kind", &row.kind)?,
            host: row.host,
            username: row.username,
            project: row.project_id.map(ProjectId::from_uuid),
            version: decode::number("version", row.version)?,
            fingerprint: row.fingerprint,
            created_at: row.created_at,
            updated_at: row.updated_at,
            last_used_at: row.last_used_at,
        })
    }
}

/// `select` with the columns of [`CredentialRow`].
macro_rules! select_credentials {
    ($rest:literal) => {
        concat!(
            "select id, project_id, name, kind, host, username, fingerprint, version, created_at, updated_at, last_used_at \
             from credentials ",
            $rest
        )
    };
}

/// The organization's, by name.
pub async fn list(tx: &mut PgConnection) -> Result<Vec<Credential>, sqlx::Error> {
    let rows: Vec<CredentialRow> = sqlx::query_as(select_credentials!("order by name")).fetch_all(tx).await?;
    rows.into_iter().map(Credential::try_from).collect()
}

/// Those that a project's jobs may use, by name.
pub async fn of_project(tx: &mut PgConnection, project: ProjectId) -> Result<Vec<Credential>, sqlx::Error> {
    let rows: Vec<CredentialRow> =
        sqlx::query_as(select_credentials!("where project_id is null or project_id = $1 order by name"))
            .bind(project.uuid())
            .fetch_all(tx)
            .await?;
    rows.into_iter().map(Credential::try_from).collect()
}

pub async fn get(tx: &mut PgConnection, id: CredentialId) -> Result<Option<Credential>, sqlx::Error> {
    let row: Option<CredentialRow> =
        sqlx::query_as(select_credentials!("where id = $1")).bind(id.uuid()).fetch_optional(tx).await?;
    row.map(Credential::try_from).transpose()
}

pub async fn count(tx: &mut PgConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("select count(*) from credentials").fetch_one(tx).await
}

/// A new one. A unique violation says that the name is taken, a foreign-key violation that there is no such project.
pub async fn insert(
    tx: &mut PgConnection,
    bound: &Bound<'_>,
    fingerprint: Option<&str>,
    sealed: &Sealed,
) -> Result<Option<Credential>, sqlx::Error> {
    sqlx::query(
        "insert into credentials
             (id, org_id, project_id, name, kind, host, username, known_hosts, fingerprint, version, data_key, sealed)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
    )
    .bind(bound.credential.uuid())
    .bind(bound.org.uuid())
    .bind(bound.project.map(ProjectId::uuid))
    .bind(bound.name)
    .bind(bound.kind.as_str())
    .bind(bound.host)
    .bind(bound.username)
    .bind(bound.known_hosts)
    .bind(fingerprint)
    .bind(bound.version.cast_signed())
    .bind(sealed.data_key)
    .bind(&sealed.bytes)
    .execute(&mut *tx)
    .await?;
    get(tx, bound.credential).await
}

/// The known host keys of one that nobody else changes until the transaction's end; the outer nothing: it is gone.
pub async fn lock(tx: &mut PgConnection, id: CredentialId) -> Result<Option<Option<String>>, sqlx::Error> {
    sqlx::query_scalar("select known_hosts from credentials where id = $1 for no key update")
        .bind(id.uuid())
        .fetch_optional(tx)
        .await
}

/// Puts a new secret in the place of the old one, which was locked.
pub async fn replace(
    tx: &mut PgConnection,
    bound: &Bound<'_>,
    fingerprint: Option<&str>,
    sealed: &Sealed,
) -> Result<Option<Credential>, sqlx::Error> {
    sqlx::query(
        "update credentials set version = $2, fingerprint = $3, data_key = $4, sealed = $5, updated_at = now() where id = $1",
    )
    .bind(bound.credential.uuid())
    .bind(bound.version.cast_signed())
    .bind(fingerprint)
    .bind(sealed.data_key)
    .bind(&sealed.bytes)
    .execute(&mut *tx)
    .await?;
    get(tx, bound.credential).await
}

/// Its name, when it was there.
pub async fn remove(tx: &mut PgConnection, id: CredentialId) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar("delete from credentials where id = $1 returning name").bind(id.uuid()).fetch_optional(tx).await
}

/// A credential with all that its secret is bound to, and the data key that opens it.
#[derive(FromRow)]
struct SealedRow {
    id: Uuid,
    org_id: Uuid,
    project_id: Option<Uuid>,
    name: String,
    kind: String,
    host: String,
    username: Option<String>,
    known_hosts: Option<String>,
    secret_version: i32,
    secret: Vec<u8>,
    #[sqlx(flatten)]
    key: StoredDataKey,
}

/// The same, read.
pub struct SealedCredential {
    pub org: OrgId,
    pub id: CredentialId,
    pub project: Option<ProjectId>,
    pub name: String,
    pub kind: CredentialKind,
    pub host: String,
    pub username: Option<String>,
    pub known_hosts: Option<String>,
    pub version: u32,
    pub secret: Vec<u8>,
    pub key: StoredDataKey,
}

impl SealedCredential {
    pub fn bound(&self) -> Bound<'_> {
        Bound {
            org: self.org,
            credential: self.id,
            version: self.version,
            name: &self.name,
            kind: self.kind,
            host: &self.host,
            username: self.username.as_deref(),
            project: self.project,
            known_hosts: self.known_hosts.as_deref(),
        }
    }
}

impl TryFrom<SealedRow> for SealedCredential {
    type Error = sqlx::Error;

    fn try_from(row: SealedRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            org: OrgId::from_uuid(row.org_id),
            id: CredentialId::from_uuid(row.id),
            project: row.project_id.map(ProjectId::from_uuid),
            name: row.name,
            kind: decode::text("kind", &row.kind)?,
            host: row.host,
            username: row.username,
            known_hosts: row.known_hosts,
            version: decode::number("version", row.secret_version)?,
            secret: row.secret,
            key: row.key,
        })
    }
}

/// `select` with the columns of [`SealedRow`].
macro_rules! select_sealed {
    ($rest:literal) => {
        concat!(
            "select c.id, c.org_id, c.project_id, c.name, c.kind, c.host, c.username, c.known_hosts, \
                 c.version as secret_version, c.sealed as secret, k.version, k.kek, k.sealed \
             from credentials c join data_keys k on k.org_id = c.org_id and k.version = c.data_key ",
            $rest
        )
    };
}

/// Those of the organization that are named and that the project's jobs may use.
pub async fn sealed(
    system: &mut PgConnection,
    org: OrgId,
    project: ProjectId,
    ids: &[CredentialId],
) -> Result<Vec<SealedCredential>, sqlx::Error> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    let rows: Vec<SealedRow> = sqlx::query_as(select_sealed!(
        "where c.org_id = $1 and c.id = any ($2) and (c.project_id is null or c.project_id = $3) \
         order by array_position($2, c.id)"
    ))
    .bind(org.uuid())
    .bind(ids)
    .bind(project.uuid())
    .fetch_all(system)
    .await?;
    rows.into_iter().map(SealedCredential::try_from).collect()
}

/// An organization's next one behind `behind` that an older data key than `version` has sealed; it is locked.
pub async fn next_older(
    system: &mut PgConnection,
    org: OrgId,
    version: i32,
    behind: Option<CredentialId>,
) -> Result<Option<SealedCredential>, sqlx::Error> {
    let row: Option<SealedRow> = sqlx::query_as(select_sealed!(
        "where c.org_id = $1 and c.data_key < $2 and c.id > $3 order by c.id limit 1 for update of c"
    ))
    .bind(org.uuid())
    .bind(version)
    .bind(behind.map_or(Uuid::nil(), CredentialId::uuid))
    .fetch_optional(system)
    .await?;
    row.map(SealedCredential::try_from).transpose()
}

/// Those of an organization that an older data key than `version` has sealed.
pub async fn older(system: &mut PgConnection, org: OrgId, version: i32) -> Result<Vec<CredentialId>, sqlx::Error> {
    let ids: Vec<Uuid> = sqlx::query_scalar("select id from credentials where org_id = $1 and data_key < $2")
        .bind(org.uuid())
        .bind(version)
        .fetch_all(system)
        .await?;
    Ok(ids.into_iter().map(CredentialId::from_uuid).collect())
}

/// The same secret, sealed by a later data key.
pub async fn reseal(system: &mut PgConnection, id: CredentialId, sealed: &Sealed) -> Result<(), sqlx::Error> {
    sqlx::query("update credentials set data_key = $2, sealed = $3 where id = $1")
        .bind(id.uuid())
        .bind(sealed.data_key)
        .bind(&sealed.bytes)
        .execute(system)
        .await
        .map(drop)
}

/// Removes those whose data key this key-encryption key has sealed.
pub async fn forget_of(
    system: &mut PgConnection,
    kek: &str,
) -> Result<Vec<(OrgId, CredentialId, String)>, sqlx::Error> {
    let rows: Vec<(Uuid, Uuid, String)> = sqlx::query_as(
        "delete from credentials c using data_keys k
         where k.org_id = c.org_id and k.version = c.data_key and k.kek = $1 returning c.org_id, c.id, c.name",
    )
    .bind(kek)
    .fetch_all(system)
    .await?;
    let ids = |(org, id, name)| (OrgId::from_uuid(org), CredentialId::from_uuid(id), name);
    Ok(rows.into_iter().map(ids).collect())
}

/// Notes that the attempt's worker is given these, in these versions; those of them that it was not given before.
pub async fn note_given(
    system: &mut PgConnection,
    attempt: AttemptId,
    versions: &[(CredentialId, u32)],
) -> Result<Vec<CredentialId>, sqlx::Error> {
    let given: Option<Json<BTreeMap<Uuid, u32>>> =
        sqlx::query_scalar("select given from attempts where job_id = $1 and number = $2 for no key update")
            .bind(attempt.job.uuid())
            .bind(attempt.number.cast_signed())
            .fetch_optional(&mut *system)
            .await?;
    let given = given.map_or_else(BTreeMap::new, |given| given.0);
    let is_new = |(id, version): &&(CredentialId, u32)| given.get(&id.uuid()) != Some(version);
    let new: BTreeMap<Uuid, u32> = versions.iter().filter(is_new).map(|(id, version)| (id.uuid(), *version)).collect();
    if !new.is_empty() {
        sqlx::query("update attempts set given = given || $3 where job_id = $1 and number = $2")
            .bind(attempt.job.uuid())
            .bind(attempt.number.cast_signed())
            .bind(Json(&new))
            .execute(system)
            .await?;
    }
    Ok(new.into_keys().map(CredentialId::from_uuid).collect())
}

/// When they were used last, to the minute: jobs that begin together need not wait for each other.
pub async fn note_used(system: &mut PgConnection, ids: &[CredentialId]) -> Result<(), sqlx::Error> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    sqlx::query(
        "update credentials set last_used_at = now()
         where id = any ($1) and (last_used_at is null or last_used_at < now() - interval '1 minute')",
    )
    .bind(ids)
    .execute(system)
    .await
    .map(drop)
}
