//! The audit log as it is read: newest first in pages, or all of it in the order in which it was settled.

use ckrv_types::audit::{AuditActor, AuditActorKind, AuditEntry};
use ckrv_types::{AuditId, KeyId, OrgId, RunnerId, UserId};
use serde_json::Value;
use sqlx::types::Uuid;
use sqlx::{FromRow, PgConnection};
use time::OffsetDateTime;

use super::audit::Actor;

/// Which entries are wanted; what is absent does not matter.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub since: Option<OffsetDateTime>,
    /// Before this time.
    pub until: Option<OffsetDateTime>,
    /// `noun.verb`, or `noun.` for all that was done to such.
    pub action: Option<String>,
    pub actor: Option<Actor>,
    pub subject: Option<String>,
    /// For the system's transactions; a tenant's see one organization anyway.
    pub org: Option<OrgId>,
}

/// The filter's conditions, as `$1` to `$7`.
const FILTERED: &str = "($1::timestamptz is null or at >= $1) and ($2::timestamptz is null or at < $2)
    and ($3::text is null or case when right($3, 1) = '.' then starts_with(action, $3) else action = $3 end)
    and ($4::text is null or actor_kind = $4) and ($5::uuid is null or actor_id = $5)
    and ($6::text is null or subject = $6) and ($7::uuid is null or org_id = $7)";

const COLUMNS: &str = "id, org_id, at, actor_kind, actor_id, actor_name, action, subject, address, detail, xact";

#[derive(FromRow)]
struct Row {
    id: Uuid,
    org_id: Option<Uuid>,
    at: OffsetDateTime,
    actor_kind: String,
    actor_id: Option<Uuid>,
    actor_name: Option<String>,
    action: String,
    subject: Option<String>,
    address: Option<String>,
    detail: Value,
    xact: i64,
}

impl From<Row> for AuditEntry {
    fn from(row: Row) -> Self {
        Self {
            id: AuditId::from_uuid(row.id),
            at: row.at,
            actor: actor(&row.actor_kind, row.actor_id, row.actor_name),
            action: row.action,
            subject: row.subject,
            address: row.address,
            detail: row.detail,
        }
    }
}

fn actor(kind: &str, id: Option<Uuid>, name: Option<String>) -> AuditActor {
    let (kind, id) = match (kind, id) {
        ("user", Some(id)) => (AuditActorKind::User, Some(UserId::from_uuid(id).to_string())),
        ("key", Some(id)) => (AuditActorKind::Key, Some(KeyId::from_uuid(id).to_string())),
        ("runner", Some(id)) => (AuditActorKind::Runner, Some(RunnerId::from_uuid(id).to_string())),
        ("anonymous", _) => (AuditActorKind::Anonymous, None),
        // The schema knows no further kind.
        _ => (AuditActorKind::System, None),
    };
    AuditActor { kind, id, name }
}

/// At most `limit` entries, newest first, behind the one named by `before`.
pub async fn newest(
    tx: &mut PgConnection,
    filter: &Filter,
    before: Option<AuditId>,
    limit: i64,
) -> Result<Vec<AuditEntry>, sqlx::Error> {
    let query = format!(
        "select {COLUMNS} from audit_log where {FILTERED} and ($8::uuid is null or id < $8) order by id desc limit $9"
    );
    let rows: Vec<Row> = bound(&query, filter).bind(before.map(AuditId::uuid)).bind(limit).fetch_all(tx).await?;
    Ok(rows.into_iter().map(AuditEntry::from).collect())
}

/// A place in the order in which entries are settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Below 0 where entries were renumbered ([`RENUMBER`]).
    xact: i64,
    id: Uuid,
}

impl Place {
    /// Before all entries.
    pub const START: Self = Self { xact: i64::MIN, id: Uuid::nil() };
}

/// An entry that somebody names.
#[derive(Debug, Clone, Copy)]
pub struct Named {
    pub place: Place,
    /// Nothing can appear before it any more.
    pub is_settled: bool,
}

/// Where an entry stands; none: there is no such entry.
pub async fn place(tx: &mut PgConnection, id: AuditId) -> Result<Option<Named>, sqlx::Error> {
    let found: Option<(i64, bool)> = sqlx::query_as(
        "select xact, xact < pg_snapshot_xmin(pg_current_snapshot())::text::bigint from audit_log where id = $1",
    )
    .bind(id.uuid())
    .fetch_optional(tx)
    .await?;
    Ok(found.map(|(xact, is_settled)| Named { place: Place { xact, id: id.uuid() }, is_settled }))
}

/// What a superuser of the database is to do where the order [is lost](is_order_lost): all entries keep their order, before
/// whatever is written from then on.
pub const RENUMBER: &str = "update audit_log set xact = xact - (select max(xact) + 1 from audit_log)";

/// Says so to whoever can mend it.
pub fn tell_lost_order() {
    tracing::error!(
        statement = RENUMBER,
        "the audit log was loaded from another PostgreSQL, which had counted further, and cannot be exported until a superuser of \
         the database executes the statement"
    );
}

/// Whether there are entries of transactions that are still to come: the database was loaded from a dump of another PostgreSQL,
/// which had counted further. What is written now would be put before them.
pub async fn is_order_lost(tx: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "select coalesce(max(xact) >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint, false) from audit_log",
    )
    .fetch_one(tx)
    .await
}

/// An entry of the whole installation's log.
pub struct Settled {
    pub org: Option<OrgId>,
    pub entry: AuditEntry,
    pub place: Place,
}

/// At most `limit` entries behind `after`, in the order in which they are settled.
///
/// Left out are entries of transactions that are not over, or began after one that is not: so none can ever appear at a
/// place that somebody has read past.
pub async fn settled(
    tx: &mut PgConnection,
    filter: &Filter,
    after: Place,
    limit: i64,
) -> Result<Vec<Settled>, sqlx::Error> {
    let query = format!(
        "select {COLUMNS} from audit_log where {FILTERED} and (xact, id) > ($8, $9)
            and xact < pg_snapshot_xmin(pg_current_snapshot())::text::bigint
         order by xact, id limit $10"
    );
    let rows: Vec<Row> = bound(&query, filter).bind(after.xact).bind(after.id).bind(limit).fetch_all(tx).await?;
    let settled = |row: Row| Settled {
        org: row.org_id.map(OrgId::from_uuid),
        place: Place { xact: row.xact, id: row.id },
        entry: row.into(),
    };
    Ok(rows.into_iter().map(settled).collect())
}

type Bound<'q> = sqlx::query::QueryAs<'q, sqlx::Postgres, Row, sqlx::postgres::PgArguments>;

fn bound<'q>(query: &'q str, filter: &'q Filter) -> Bound<'q> {
    sqlx::query_as(sqlx::AssertSqlSafe(query))
        .bind(filter.since)
        .bind(filter.until)
        .bind(filter.action.as_deref())
        .bind(filter.actor.map(Actor::kind))
        .bind(filter.actor.and_then(Actor::uuid))
        .bind(filter.subject.as_deref())
        .bind(filter.org.map(OrgId::uuid))
}
