//! Who belongs to which organization.

use ckrv_types::{OrgId, UserId};
use sqlx::PgConnection;

/// Whether a person who is not suspended belongs to an organization. They do until the transaction's end.
pub async fn belongs(system: &mut PgConnection, user: UserId, org: OrgId) -> Result<bool, sqlx::Error> {
    let found: Option<i32> = sqlx::query_scalar(
        "select 1 from members m join users u on u.id = m.user_id
         where m.user_id = $1 and m.org_id = $2 and m.suspended_at is null and u.suspended_at is null for share",
    )
    .bind(user.uuid())
    .bind(org.uuid())
    .fetch_optional(system)
    .await?;
    Ok(found.is_some())
}
