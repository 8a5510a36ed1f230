//! Members that are no persons. Rows stay for ever: jobs and the audit log name their keys.

use ckrv_types::identity::{Role, ServiceAccount};
use ckrv_types::{OrgId, ServiceAccountId};
use sqlx::types::Uuid;
use sqlx::{FromRow, PgConnection};
use time::OffsetDateTime;

use super::decode;
use crate::auth::rules::Standing;

#[derive(FromRow)]
struct AccountRow {
    id: Uuid,
    name: String,
    role: String,
    created_at: OffsetDateTime,
    suspended_at: Option<OffsetDateTime>,
    keys: i64,
}

/// `select` with the columns of [`AccountRow`].
macro_rules! select_accounts {
    ($rest:literal) => {
        concat!(
            "select s.id, s.name, s.role, s.created_at, s.suspended_at, ( \
                 select count(*) from api_keys k where k.service_account_id = s.id \
                     and k.revoked_at is null and (k.expires_at is null or k.expires_at > now()) \
             ) as keys \
             from service_accounts s where s.removed_at is null ",
            $rest
        )
    };
}

impl TryFrom<AccountRow> for ServiceAccount {
    type Error = sqlx::Error;

    fn try_from(row: AccountRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: ServiceAccountId::from_uuid(row.id),
            name: row.name,
            role: decode::text("role", &row.role)?,
            created_at: row.created_at,
            suspended_at: row.suspended_at,
            keys: decode::number("keys", row.keys)?,
        })
    }
}

/// The organization's service accounts, by name.
pub async fn list(tx: &mut PgConnection) -> Result<Vec<ServiceAccount>, sqlx::Error> {
    let rows: Vec<AccountRow> = sqlx::query_as(select_accounts!("order by s.name")).fetch_all(tx).await?;
    rows.into_iter().map(ServiceAccount::try_from).collect()
}

pub async fn get(tx: &mut PgConnection, id: ServiceAccountId) -> Result<Option<ServiceAccount>, sqlx::Error> {
    let query = sqlx::query_as::<_, AccountRow>(select_accounts!("and s.id = $1"));
    query.bind(id.uuid()).fetch_optional(tx).await?.map(ServiceAccount::try_from).transpose()
}

pub async fn count(tx: &mut PgConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("select count(*) from service_accounts where removed_at is null").fetch_one(tx).await
}

/// A unique violation says that the name is taken.
pub async fn create(
    tx: &mut PgConnection,
    org: OrgId,
    id: ServiceAccountId,
    name: &str,
    role: Role,
) -> Result<(), sqlx::Error> {
    sqlx::query("insert into service_accounts (id, org_id, name, role) values ($1, $2, $3, $4)")
        .bind(id.uuid())
        .bind(org.uuid())
        .bind(name)
        .bind(role.as_str())
        .execute(tx)
        .await
        .map(drop)
}

pub async fn set(tx: &mut PgConnection, id: ServiceAccountId, standing: Standing) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update service_accounts set role = $2, suspended_at = case when $3 then coalesce(suspended_at, now()) end
         where id = $1",
    )
    .bind(id.uuid())
    .bind(standing.role.as_str())
    .bind(standing.suspended)
    .execute(tx)
    .await
    .map(drop)
}

/// Ends the account and its keys.
pub async fn remove(tx: &mut PgConnection, id: ServiceAccountId) -> Result<(), sqlx::Error> {
    sqlx::query("update service_accounts set removed_at = now() where id = $1")
        .bind(id.uuid())
        .execute(&mut *tx)
        .await?;
    sqlx::query("update api_keys set revoked_at = now() where service_account_id = $1 and revoked_at is null")
        .bind(id.uuid())
        .execute(tx)
        .await
        .map(drop)
}
