//! Who did what: written in the transaction of what was done, so that neither is there without the other. Only ever added to.

use ckrv_types::{AuditId, KeyId, OrgId, RunnerId, UserId};
use serde_json::Value;
use sqlx::PgConnection;
use sqlx::types::Uuid;

/// Who acted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    User(UserId),
    Key(KeyId),
    Runner(RunnerId),
    /// The server itself, on nobody's request.
    System,
    /// Somebody of whom nothing is known.
    Anonymous,
}

impl Actor {
    pub(super) const fn kind(self) -> &'static str {
        match self {
            Self::User(_) => "user",
            Self::Key(_) => "key",
            Self::Runner(_) => "runner",
            Self::System => "system",
            Self::Anonymous => "anonymous",
        }
    }

    pub(super) const fn uuid(self) -> Option<Uuid> {
        match self {
            Self::User(id) => Some(id.uuid()),
            Self::Key(id) => Some(id.uuid()),
            Self::Runner(id) => Some(id.uuid()),
            Self::System | Self::Anonymous => None,
        }
    }
}

/// One act. Holds no secret, and of what somebody typed only what is found to be a name.
pub struct Entry<'a> {
    /// None: it is not known, or concerns none. Then only a system's transaction may write it.
    pub org: Option<OrgId>,
    pub actor: Actor,
    /// What was done, as `noun.verb` in lower case: `login.issued`, `device.denied`.
    pub action: &'a str,
    /// What it was done to, as an id's text.
    pub subject: Option<String>,
    /// Where it was asked from.
    pub address: Option<&'a str>,
    /// An object with what else is worth knowing.
    pub detail: Value,
}

pub async fn write(tx: &mut PgConnection, entry: &Entry<'_>) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into audit_log (id, org_id, actor_kind, actor_id, action, subject, address, detail, actor_name)
         values ($1, $2, $3, $4, $5, $6, $7, $8, case $3
             when 'user' then (select name from users where id = $4)
             when 'key' then (select name from api_keys where id = $4)
             when 'runner' then (select name from runners where id = $4)
         end)",
    )
    .bind(AuditId::new().uuid())
    .bind(entry.org.map(OrgId::uuid))
    .bind(entry.actor.kind())
    .bind(entry.actor.uuid())
    .bind(entry.action)
    .bind(entry.subject.as_deref())
    .bind(entry.address)
    .bind(&entry.detail)
    .execute(tx)
    .await
    .map(drop)
}
