//! The whole installation's audit log, for whoever operates it: also what concerns no organization, such as sign-ins.

use ckrv_types::audit::AuditEntry;
use ckrv_types::{AuditId, OrgId};
use serde::Serialize;

use crate::config::DatabaseConfig;
use crate::db::audit_entries::{self, Filter, Place, RENUMBER};
use crate::db::{Db, orgs};

/// Entries fetched at once.
const FETCH: i64 = 500;

/// Why the log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    #[error("there is no organization `{0}`")]
    NoOrg(String),
    #[error("there is no entry {0}")]
    NoEntry(AuditId),
    #[error(
        "the entry {0} is not settled yet: a transaction that began before it is still open; ask again in a moment"
    )]
    Unsettled(AuditId),
    #[error(
        "the log was loaded from another PostgreSQL, which had counted further, and its order cannot be told. Have a superuser \
         of the database execute `{RENUMBER}`"
    )]
    OrderLost,
    #[error("the database did not answer as it should")]
    Database(#[from] sqlx::Error),
}

/// An entry, and which organization it concerns.
#[derive(Serialize)]
struct Line<'a> {
    org: Option<OrgId>,
    #[serde(flatten)]
    entry: &'a AuditEntry,
}

/// Somebody who reads it from an entry on, in the order in which entries are settled.
pub struct Reading {
    db: Db,
    filter: Filter,
    after: Place,
}

impl Reading {
    /// Behind the entry `after`, or from the first one on; only of one organization, by its name, or of all.
    pub async fn begin(
        database: &DatabaseConfig,
        org: Option<&str>,
        after: Option<AuditId>,
    ) -> Result<Self, AuditError> {
        let db = Db::new(database)?;
        let mut tx = db.system().await?;
        if audit_entries::is_order_lost(&mut tx).await? {
            return Err(AuditError::OrderLost);
        }
        let org = match org {
            None => None,
            Some(name) => {
                let found = orgs::by_name(&mut tx, name).await?;
                Some(found.ok_or_else(|| AuditError::NoOrg(name.to_owned()))?)
            }
        };
        let after = match after {
            None => Place::START,
            Some(id) => {
                let named = audit_entries::place(&mut tx, id).await?.ok_or(AuditError::NoEntry(id))?;
                if !named.is_settled {
                    return Err(AuditError::Unsettled(id));
                }
                named.place
            }
        };
        tx.commit().await?;
        Ok(Self { db, filter: Filter { org, ..Filter::default() }, after })
    }

    /// The next entries, each a line of JSON; `None`: that was all.
    pub async fn next(&mut self) -> Result<Option<String>, AuditError> {
        let mut tx = self.db.system().await?;
        let found = audit_entries::settled(&mut tx, &self.filter, self.after, FETCH).await?;
        tx.commit().await?;
        let Some(last) = found.last() else { return Ok(None) };
        self.after = last.place;
        let lines = found.iter().map(|settled| {
            let line = Line { org: settled.org, entry: &settled.entry };
            serde_json::to_string(&line).expect("an entry has only string keys") + "\n"
        });
        Ok(Some(lines.collect()))
    }
}
