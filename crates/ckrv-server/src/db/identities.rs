//! What people are known by to those who vouch for them: issuer and subject, never anything else.

use ckrv_types::UserId;
use sqlx::types::Uuid;
use sqlx::{FromRow, PgConnection};
use time::OffsetDateTime;

use crate::providers::Vouched;
use crate::text;

const NAME_CHARS: usize = 100;
const EMAIL_CHARS: usize = 254;

/// Who is known by an identity.
pub struct Holder {
    pub user: UserId,
    pub suspended: bool,
}

/// Who is known by this identity. Notes its use, and what they are called there now.
pub async fn find(system: &mut PgConnection, vouched: &Vouched) -> Result<Option<Holder>, sqlx::Error> {
    let row: Option<(Uuid, bool)> = sqlx::query_as(
        "update identities i set used_at = now(), account = coalesce($3, i.account) from users u
         where i.issuer = $1 and i.subject = $2 and u.id = i.user_id
         returning i.user_id, u.suspended_at is not null",
    )
    .bind(&vouched.issuer)
    .bind(&vouched.subject)
    .bind(account(vouched))
    .fetch_optional(system)
    .await?;
    Ok(row.map(|(user, suspended)| Holder { user: UserId::from_uuid(user), suspended }))
}

/// Has a user be known by this identity too. `false`: somebody is already.
pub async fn link(system: &mut PgConnection, user: UserId, vouched: &Vouched) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "insert into identities (issuer, subject, user_id, account, used_at) values ($1, $2, $3, $4, now())
         on conflict (issuer, subject) do nothing",
    )
    .bind(&vouched.issuer)
    .bind(&vouched.subject)
    .bind(user.uuid())
    .bind(account(vouched))
    .execute(system)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Makes a user with the name that they have there, who belongs to nothing yet.
pub async fn create_user(system: &mut PgConnection, vouched: &Vouched) -> Result<UserId, sqlx::Error> {
    let user = UserId::new();
    let names = [&vouched.name, &vouched.account].into_iter().flatten().map(|name| text::visible(name, NAME_CHARS));
    let name = names.into_iter().find(|name| !name.is_empty()).unwrap_or_else(|| "Somebody new".to_owned());
    let email = vouched.email.as_deref().map(|email| text::visible(email, usize::MAX));
    sqlx::query("insert into users (id, name, email) values ($1, $2, $3)")
        .bind(user.uuid())
        .bind(name)
        .bind(email.filter(|email| email.contains('@') && email.chars().count() <= EMAIL_CHARS))
        .execute(system)
        .await?;
    Ok(user)
}

/// An identity as its owner is shown it.
#[derive(FromRow)]
pub struct ShownIdentity {
    pub issuer: String,
    pub subject: String,
    pub account: Option<String>,
    pub created_at: OffsetDateTime,
    pub used_at: Option<OffsetDateTime>,
}

/// What a user is known by, the oldest first.
pub async fn list(system: &mut PgConnection, user: UserId) -> Result<Vec<ShownIdentity>, sqlx::Error> {
    sqlx::query_as(
        "select issuer, subject, account, created_at, used_at from identities where user_id = $1
         order by created_at, issuer, subject",
    )
    .bind(user.uuid())
    .fetch_all(system)
    .await
}

/// Has a user no longer be known by this identity, unless nothing would be left that they can sign in by; `passwords`: whether
/// a local account is such a thing; `issuers`: whose identities are. Whether it was there and is gone.
pub async fn unlink(
    system: &mut PgConnection,
    user: UserId,
    (issuer, subject): (&str, &str),
    passwords: bool,
    issuers: &[&str],
) -> Result<bool, sqlx::Error> {
    // Two at once would each leave the other's.
    sqlx::query("select from users where id = $1 for update").bind(user.uuid()).execute(&mut *system).await?;
    let done = sqlx::query(
        "delete from identities i where i.user_id = $1 and i.issuer = $2 and i.subject = $3
         and ($4 and exists (select from local_accounts a where a.user_id = $1)
              or exists (select from identities o where o.user_id = $1 and o.issuer = any ($5)
                         and (o.issuer, o.subject) <> ($2, $3)))",
    )
    .bind(user.uuid())
    .bind(issuer)
    .bind(subject)
    .bind(passwords)
    .bind(issuers)
    .execute(system)
    .await?;
    Ok(done.rows_affected() == 1)
}

fn account(vouched: &Vouched) -> Option<String> {
    vouched.account.as_deref().map(|account| text::visible(account, NAME_CHARS)).filter(|account| !account.is_empty())
}
