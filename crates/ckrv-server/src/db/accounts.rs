//! People who are known by a name and a password of this installation's own.

use ckrv_types::identity::Role;
use ckrv_types::{OrgId, UserId};
use sqlx::types::Uuid;
use sqlx::{FromRow, PgConnection};

/// A local account.
#[derive(FromRow)]
pub struct Account {
    #[sqlx(rename = "user_id")]
    user: Uuid,
    /// PHC string.
    pub password_hash: String,
    pub suspended: bool,
}

impl Account {
    pub const fn user(&self) -> UserId {
        UserId::from_uuid(self.user)
    }
}

/// Whether a local account can have this login name; the schema says the same.
pub fn is_login(login: &str) -> bool {
    let outer = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = login.as_bytes();
    (1..=63).contains(&bytes.len())
        && bytes.iter().all(|byte| outer(*byte) || b"._-".contains(byte))
        && [bytes.first(), bytes.last()].into_iter().flatten().all(|byte| outer(*byte))
}

/// By its login name, in lower case.
pub async fn find(system: &mut PgConnection, login: &str) -> Result<Option<Account>, sqlx::Error> {
    sqlx::query_as(
        "select a.user_id, a.password_hash, u.suspended_at is not null as suspended
         from local_accounts a join users u on u.id = a.user_id where a.login = $1",
    )
    .bind(login)
    .fetch_optional(system)
    .await
}

/// Of this user: the login name and the password's hash.
pub async fn of_user(system: &mut PgConnection, user: UserId) -> Result<Option<(String, String)>, sqlx::Error> {
    sqlx::query_as("select login, password_hash from local_accounts where user_id = $1")
        .bind(user.uuid())
        .fetch_optional(system)
        .await
}

/// Whether the password's hash of this user is still the one that was looked at; it is until the transaction's end.
pub async fn is_still(system: &mut PgConnection, user: UserId, password_hash: &str) -> Result<bool, sqlx::Error> {
    let found: Option<i32> =
        sqlx::query_scalar("select 1 from local_accounts where user_id = $1 and password_hash = $2 for no key update")
            .bind(user.uuid())
            .bind(password_hash)
            .fetch_optional(system)
            .await?;
    Ok(found.is_some())
}

/// A person who is to sign in by a password.
pub struct NewAccount<'a> {
    pub login: &'a str,
    pub name: &'a str,
    pub email: Option<&'a str>,
    pub password_hash: &'a str,
    pub org: OrgId,
    pub role: Role,
}

/// Makes the person, the account and the membership. `None`: the login name is taken.
pub async fn create(system: &mut PgConnection, account: &NewAccount<'_>) -> Result<Option<UserId>, sqlx::Error> {
    let user = UserId::new();
    sqlx::query("insert into users (id, name, email) values ($1, $2, $3)")
        .bind(user.uuid())
        .bind(account.name)
        .bind(account.email)
        .execute(&mut *system)
        .await?;
    let made = sqlx::query(
        "insert into local_accounts (login, user_id, password_hash) values ($1, $2, $3) on conflict (login) do nothing",
    )
    .bind(account.login)
    .bind(user.uuid())
    .bind(account.password_hash)
    .execute(&mut *system)
    .await?;
    if made.rows_affected() == 0 {
        return Ok(None);
    }
    sqlx::query("insert into members (org_id, user_id, role) values ($1, $2, $3)")
        .bind(account.org.uuid())
        .bind(user.uuid())
        .bind(account.role.as_str())
        .execute(system)
        .await?;
    Ok(Some(user))
}

/// Gives an account another password. Whose it is; none: there is no such account.
pub async fn set_password(
    system: &mut PgConnection,
    login: &str,
    password_hash: &str,
) -> Result<Option<UserId>, sqlx::Error> {
    let user: Option<Uuid> = sqlx::query_scalar(
        "update local_accounts set password_hash = $2, changed_at = now() where login = $1 returning user_id",
    )
    .bind(login)
    .bind(password_hash)
    .fetch_optional(system)
    .await?;
    Ok(user.map(UserId::from_uuid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_name_is_what_the_schema_takes() {
        for login in ["a", "0", "ada", "ada.lovelace", "a-_.b", &"a".repeat(63)] {
            assert!(is_login(login), "{login}");
        }
        for login in ["", "Ada", ".ada", "ada-", "a b", "ä", "a@b", &"a".repeat(64)] {
            assert!(!is_login(login), "{login}");
        }
    }
}
