//! People, whatever they belong to and however they sign in.

use ckrv_types::{OrgId, UserId};
use sqlx::PgConnection;
use sqlx::types::Uuid;

pub async fn exists(system: &mut PgConnection, user: UserId) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("select exists (select from users where id = $1)").bind(user.uuid()).fetch_one(system).await
}

/// `false`: they were so already.
pub async fn set_suspended(system: &mut PgConnection, user: UserId, suspended: bool) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "update users set suspended_at = case when $2 then now() end where id = $1 and (suspended_at is not null) <> $2",
    )
    .bind(user.uuid())
    .bind(suspended)
    .execute(system)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Where a person is a member.
pub async fn orgs(system: &mut PgConnection, user: UserId) -> Result<Vec<OrgId>, sqlx::Error> {
    let ids: Vec<Uuid> = sqlx::query_scalar("select org_id from members where user_id = $1 order by org_id")
        .bind(user.uuid())
        .fetch_all(system)
        .await?;
    Ok(ids.into_iter().map(OrgId::from_uuid).collect())
}
