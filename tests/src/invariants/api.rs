//! What users are shown must be what is there.

use ckrv_client::{Client, LogQuery};
use ckrv_types::log::{Cursor, LogEvent};
use ckrv_types::{Job, JobId};
use futures::StreamExt as _;
use sqlx::{FromRow, PgConnection};

use super::{Rule, Violation};

#[derive(FromRow)]
struct Row {
    state: String,
    cause: Option<String>,
    message: Option<String>,
    attempt: i32,
    is_purged: bool,
    /// The attempts' states and last lines that were kept, in order.
    states: Vec<String>,
    kept: Vec<i64>,
}

pub async fn violations(sql: &mut PgConnection, client: &Client, jobs: &[JobId]) -> Vec<Violation> {
    let mut found = Vec::new();
    for &job in jobs {
        let Some(row) = row(sql, job).await else { continue };
        let differences = match client.job(job).await {
            Ok(shown) => [compare(&row, &shown), log(&row, client, job).await],
            Err(error) => [Some(format!("it cannot be had: {error}")), None],
        };
        let violation = |what| Violation { rule: Rule::ApiAgrees, what: format!("{job}: {what}") };
        found.extend(differences.into_iter().flatten().map(violation));
    }
    found
}

async fn row(sql: &mut PgConnection, job: JobId) -> Option<Row> {
    sqlx::query_as(
        "select j.state, j.cause, j.message, j.attempt, j.purged_at is not null as is_purged,
             array_agg(a.state order by a.number) as states,
             array_agg(coalesce(h.gap_first, h.next_seq) - 1 order by a.number) as kept
         from jobs j
         join attempts a on a.job_id = j.id
         join log_heads h on h.job_id = a.job_id and h.attempt = a.number
         where j.id = $1 group by j.id",
    )
    .bind(job.uuid())
    .fetch_optional(sql)
    .await
    .expect("the job can be read")
}

fn compare(row: &Row, shown: &Job) -> Option<String> {
    let there = (&row.state, &row.cause, &row.message, row.attempt.unsigned_abs(), &row.states);
    let states: Vec<String> = shown.attempts.iter().map(|attempt| attempt.state.to_string()).collect();
    let (state, cause) = (shown.state.to_string(), shown.cause.map(|cause| cause.to_string()));
    let seen = (&state, &cause, &shown.message, shown.attempt, &states);
    (there != seen).then(|| format!("it is shown as {seen:?} and is {there:?}"))
}

async fn log(row: &Row, client: &Client, job: JobId) -> Option<String> {
    if row.is_purged {
        return None;
    }
    let attempts = (1..).zip(&row.kept);
    let there = attempts.flat_map(|(attempt, kept)| (1..=kept.unsigned_abs()).map(move |seq| Cursor { attempt, seq }));
    let mut events = std::pin::pin!(client.logs(job, LogQuery::default()));
    let mut shown = Vec::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(LogEvent::Log(line)) => shown.push(Cursor { attempt: line.attempt, seq: line.line.seq }),
            Ok(LogEvent::Gap(_) | LogEvent::Status(_) | LogEvent::End(_)) => {}
            Err(error) => return Some(format!("its log cannot be read: {error}")),
        }
    }
    let there: Vec<Cursor> = there.collect();
    (there != shown).then(|| format!("its log is shown as {} lines and has {}, or others", shown.len(), there.len()))
}
