//! All that the database holds, to see whether something has changed.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{AssertSqlSafe, PgConnection};

/// Rows as text by table, without the times at which things were last used.
pub type Dump = BTreeMap<String, BTreeSet<String>>;

/// Tables of the server's own doings, which go on meanwhile.
const OF_THE_SERVER: [&str; 3] = ["_sqlx_migrations", "rate_limits", "service_beats"];

pub async fn dump(sql: &mut PgConnection) -> Dump {
    let tables: Vec<String> = sqlx::query_scalar("select tablename::text from pg_tables where schemaname = 'public'")
        .fetch_all(&mut *sql)
        .await
        .expect("the tables can be listed");
    let mut dump = Dump::new();
    for table in tables.into_iter().filter(|table| !OF_THE_SERVER.contains(&table.as_str())) {
        let rows =
            format!("select (to_jsonb(t) - '{{last_used_at,used_at,beat_at,seen_at}}'::text[])::text from {table} t");
        let rows = sqlx::query_scalar(AssertSqlSafe(rows)).fetch_all(&mut *sql).await.expect("the table can be read");
        dump.insert(table, rows.into_iter().collect());
    }
    dump
}

/// What is there in one and not in the other, apart from rows in which one of `ids` stands.
pub fn changes(before: &Dump, after: &Dump, ids: &[String]) -> Vec<String> {
    let mut changes = Vec::new();
    for (table, rows) in after {
        for row in rows.symmetric_difference(&before[table]).filter(|row| !ids.iter().any(|id| row.contains(id))) {
            let sign = if rows.contains(row) { '+' } else { '-' };
            changes.push(format!("{sign} {table} {row}"));
        }
    }
    changes
}
