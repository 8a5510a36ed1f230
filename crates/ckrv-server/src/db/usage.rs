//! What was used, by months.

use ckrv_types::quota::{UsageBy, UsageRow, Used};
use ckrv_types::{KeyId, OrgId, ProjectId, ServiceAccountId, UserId};
use sqlx::types::Uuid;
use sqlx::{AssertSqlSafe, FromRow, PgConnection};
use time::Date;

use super::decode;
use super::reach::Reach;

#[derive(FromRow)]
struct Row {
    id: Option<Uuid>,
    name: Option<String>,
    jobs: i64,
    seconds: i64,
    input_tokens: i64,
    output_tokens: i64,
    cost_usd: f64,
}

impl Row {
    fn used(&self) -> Result<Used, sqlx::Error> {
        Ok(Used {
            jobs: decode::number("jobs", self.jobs)?,
            seconds: decode::number("seconds", self.seconds)?,
            input_tokens: decode::number("input_tokens", self.input_tokens)?,
            output_tokens: decode::number("output_tokens", self.output_tokens)?,
            cost_usd: self.cost_usd,
        })
    }

    fn shown(self, by: UsageBy) -> Result<UsageRow, sqlx::Error> {
        let row = UsageRow {
            project: None,
            key: None,
            user: None,
            service_account: None,
            day: None,
            name: None,
            used: self.used()?,
        };
        let Self { id, name, .. } = self;
        Ok(match by {
            UsageBy::Project => UsageRow { project: id.map(ProjectId::from_uuid), name, ..row },
            UsageBy::Key => UsageRow { key: id.map(KeyId::from_uuid), name, ..row },
            UsageBy::User => UsageRow { user: id.map(UserId::from_uuid), name, ..row },
            UsageBy::ServiceAccount => UsageRow { service_account: id.map(ServiceAccountId::from_uuid), name, ..row },
            UsageBy::Day => UsageRow { day: name, ..row },
        })
    }
}

/// The first day of the month that it is now.
pub async fn this_month(tx: &mut PgConnection) -> Result<Date, sqlx::Error> {
    sqlx::query_scalar("select usage_month(now())").fetch_one(tx).await
}

/// What was used in the month of this first day, all in all and told apart; of projects within `reach`.
pub async fn report(
    tx: &mut PgConnection,
    org: OrgId,
    month: Date,
    by: UsageBy,
    reach: &Reach,
) -> Result<(Used, Vec<UsageRow>), sqlx::Error> {
    let (id, name, join, order) = match by {
        UsageBy::Project => ("e.project_id", "n.name", "left join projects n on n.id = e.project_id", MOST_FIRST),
        UsageBy::Key => ("e.key_id", "n.name", "left join api_keys n on n.id = e.key_id", MOST_FIRST),
        UsageBy::User => ("e.user_id", "n.name", "left join users n on n.id = e.user_id", MOST_FIRST),
        UsageBy::ServiceAccount => (
            "e.service_account_id",
            "n.name",
            "left join service_accounts n on n.id = e.service_account_id",
            MOST_FIRST,
        ),
        UsageBy::Day => ("null::uuid", "to_char(e.at at time zone 'UTC', 'YYYY-MM-DD')", "", "name"),
    };
    let total: Row = sqlx::query_as(AssertSqlSafe(statement("null::uuid", "null::text", "", "")))
        .bind(org.uuid())
        .bind(month)
        .bind(reach.uuids())
        .fetch_one(&mut *tx)
        .await?;
    let grouped = format!("group by 1, 2 order by {order}");
    let rows: Vec<Row> = sqlx::query_as(AssertSqlSafe(statement(id, name, join, &grouped)))
        .bind(org.uuid())
        .bind(month)
        .bind(reach.uuids())
        .fetch_all(tx)
        .await?;
    Ok((total.used()?, rows.into_iter().map(|row| row.shown(by)).collect::<Result<_, _>>()?))
}

const MOST_FIRST: &str = "seconds desc, jobs desc, id";

/// Of our own words alone.
fn statement(id: &str, name: &str, join: &str, rest: &str) -> String {
    format!(
        "select {id} as id, {name} as name, coalesce(sum(e.jobs), 0)::bigint as jobs,
            coalesce(sum(e.seconds), 0)::bigint as seconds, coalesce(sum(e.input_tokens), 0)::bigint as input_tokens,
            coalesce(sum(e.output_tokens), 0)::bigint as output_tokens, coalesce(sum(e.cost_usd), 0)::float8 as cost_usd
         from usage_events e {join}
         where e.org_id = $1 and e.month = $2 and (cardinality($3::uuid[]) = 0 or e.project_id = any ($3))
         {rest}"
    )
}
