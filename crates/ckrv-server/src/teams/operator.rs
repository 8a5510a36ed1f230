//! What the operator of the control plane does, by `ckrv-server admin`: make organizations, and shut people out of all of them.

use ckrv_types::identity::Org;
use ckrv_types::{OrgId, UserId, spec};
use serde_json::json;

use super::founding::{self, Founding};
use crate::db::audit::{self, Actor, Entry};
use crate::db::{Db, Tx, accounts, users};

/// Who is meant.
#[derive(Debug, Clone)]
pub enum Who {
    /// By the name that they sign in with.
    Login(String),
    Id(UserId),
}

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    #[error("`{0}` cannot name an organization: 1 to 63 of a-z 0-9 -")]
    Name(String),
    #[error("there is an organization named `{0}` already")]
    Taken(String),
    #[error("there is no tier `{0}`")]
    NoTier(String),
    #[error("there is no such person")]
    NoUser,
    #[error("the database did not answer as it should")]
    Database(#[from] sqlx::Error),
}

/// Makes an organization with its first project, owned by somebody who is there already. `tier`: absent: what people get who
/// make one for themselves.
pub async fn create_org(db: &Db, name: &str, owner: &Who, tier: Option<&str>) -> Result<Org, OperatorError> {
    if !spec::is_name(name) {
        return Err(OperatorError::Name(name.to_owned()));
    }
    let mut tx = db.system().await?;
    let owner = find(&mut tx, owner).await?;
    let wanted = Founding { name, owner, tier, by: Actor::System, address: None };
    let made = match founding::found(&mut tx, &wanted).await {
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
            return Err(OperatorError::Taken(name.to_owned()));
        }
        Err(sqlx::Error::Database(error)) if error.is_foreign_key_violation() => {
            return Err(OperatorError::NoTier(tier.unwrap_or_default().to_owned()));
        }
        made => made?,
    };
    tx.commit().await?;
    Ok(made)
}

/// Shuts somebody out of the whole control plane, or lets them in again: it is felt on every path within a minute. Each
/// organization that they belong to finds it in its audit log. Answers whether it changed anything.
pub async fn set_suspended(db: &Db, who: &Who, suspended: bool) -> Result<bool, OperatorError> {
    let mut tx = db.system().await?;
    let user = find(&mut tx, who).await?;
    if !users::set_suspended(&mut tx, user, suspended).await? {
        return Ok(false);
    }
    let action = if suspended { "user.suspended" } else { "user.resumed" };
    write(&mut tx, None, action, user).await?;
    for org in users::orgs(&mut tx, user).await? {
        write(&mut tx, Some(org), action, user).await?;
    }
    tx.commit().await?;
    Ok(true)
}

async fn write(tx: &mut Tx, org: Option<OrgId>, action: &str, user: UserId) -> Result<(), sqlx::Error> {
    let (subject, detail) = (Some(user.to_string()), json!({}));
    audit::write(tx, &Entry { org, actor: Actor::System, action, subject, address: None, detail }).await
}

async fn find(tx: &mut Tx, who: &Who) -> Result<UserId, OperatorError> {
    let found = match who {
        Who::Login(login) => accounts::find(tx, &login.to_lowercase()).await?.map(|account| account.user()),
        Who::Id(user) => users::exists(tx, *user).await?.then_some(*user),
    };
    found.ok_or(OperatorError::NoUser)
}
