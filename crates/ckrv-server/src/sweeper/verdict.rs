//! Which attempts are overdue, and why. One statement knows all the rules; the order of its cases is the order of
//! precedence.

use std::str::FromStr;
use std::time::Duration;

use ckrv_types::{AttemptId, Cause, JobId};
use sqlx::types::Uuid;
use sqlx::{FromRow, PgConnection};

use crate::db::decode;

/// By what to judge.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// Whether the server was there to hear them: otherwise only the queue's limit counts.
    pub silence_counts: bool,
    /// Silence after which a worker or runner is lost.
    pub lease: Duration,
    /// Granted beyond a limit that the worker keeps itself.
    pub slack: Duration,
    /// Granted for collecting and storing the work.
    pub finish: Duration,
}

/// Why an attempt has to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    QueueLimit,
    /// Cancelled, and its worker never began.
    Cancelled,
    RunnerLost,
    /// Given to a runner, and its worker never began.
    NeverStarted,
    WorkerLost,
    /// Its worker began, and the agent never ran.
    NeverRan,
    RunLimit,
    NeverFinished,
}

const VERDICTS: [(&str, Verdict); 8] = [
    ("queue_limit", Verdict::QueueLimit),
    ("cancelled", Verdict::Cancelled),
    ("runner_lost", Verdict::RunnerLost),
    ("never_started", Verdict::NeverStarted),
    ("worker_lost", Verdict::WorkerLost),
    ("never_ran", Verdict::NeverRan),
    ("run_limit", Verdict::RunLimit),
    ("never_finished", Verdict::NeverFinished),
];

/// In two parts, because what is queued may be a great many, and needs no other table.
const OVERDUE: &str = "
select a.job_id, a.number, a.queue_limit, a.start_limit, a.run_limit, null as runner, null as node, null as noted,
    null as noted_message, 'queue_limit' as verdict
from attempts a
where a.state = 'queued' and now() > greatest(a.queued_at, a.not_before) + make_interval(secs => a.queue_limit)
    and ($5::uuid is null or (a.job_id = $5 and a.number = $6))
union all
select * from (
    select a.job_id, a.number, a.queue_limit, a.start_limit, a.run_limit, r.name as runner, a.node, a.noted,
        a.noted_message,
        case
            when a.rank = 10 and now() > j.cancel_requested_at + make_interval(secs => a.grace + $3) then 'cancelled'
            when a.rank = 10 and (
                r.revoked_at is not null or coalesce(r.beat_at < now() - make_interval(secs => $2), true)
            ) then 'runner_lost'
            when a.rank = 10 and now() > a.assigned_at + make_interval(secs => a.start_limit) then 'never_started'
            when a.rank > 10 and a.beat_at < now() - make_interval(secs => $2) then 'worker_lost'
            when a.rank = 20 and now() > a.starting_at + make_interval(secs => a.start_limit + $3) then 'never_ran'
            when a.rank = 30 and now() > a.running_at + make_interval(secs => a.run_limit + a.grace + $3) then 'run_limit'
            when a.rank = 40 and now() > a.finishing_at + make_interval(secs => $4) then 'never_finished'
        end as verdict
    from attempts a
    join jobs j on j.id = a.job_id
    left join runners r on r.id = a.runner_id
    where $1 and a.rank > 0 and a.rank < 100 and ($5::uuid is null or (a.job_id = $5 and a.number = $6))
) judged
where verdict is not null
limit $7";

/// An attempt that has to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overdue {
    pub attempt: AttemptId,
    pub verdict: Verdict,
    queue_limit: i32,
    start_limit: i32,
    run_limit: i32,
    runner: Option<String>,
    node: Option<String>,
    /// What its runner had seen to be wrong with it.
    noted: Option<Cause>,
    noted_message: Option<String>,
}

#[derive(FromRow)]
struct OverdueRow {
    job_id: Uuid,
    number: i32,
    queue_limit: i32,
    start_limit: i32,
    run_limit: i32,
    runner: Option<String>,
    node: Option<String>,
    noted: Option<String>,
    noted_message: Option<String>,
    verdict: String,
}

/// A verdict that this release does not know.
#[derive(Debug, thiserror::Error)]
#[error("not a verdict")]
pub struct UnknownVerdict;

impl FromStr for Verdict {
    type Err = UnknownVerdict;

    fn from_str(text: &str) -> Result<Self, UnknownVerdict> {
        VERDICTS.iter().find(|(name, _)| *name == text).map(|(_, verdict)| *verdict).ok_or(UnknownVerdict)
    }
}

/// What is overdue: of all attempts, or whether `only` this one is.
pub async fn overdue(
    system: &mut PgConnection,
    terms: &Terms,
    only: Option<AttemptId>,
    limit: i64,
) -> Result<Vec<Overdue>, sqlx::Error> {
    let rows: Vec<OverdueRow> = sqlx::query_as(OVERDUE)
        .bind(terms.silence_counts)
        .bind(terms.lease.as_secs_f64())
        .bind(terms.slack.as_secs_f64())
        .bind(terms.finish.as_secs_f64())
        .bind(only.map(|attempt| attempt.job.uuid()))
        .bind(only.map(|attempt| attempt.number.cast_signed()))
        .bind(limit)
        .fetch_all(system)
        .await?;
    rows.into_iter().map(Overdue::try_from).collect()
}

impl TryFrom<OverdueRow> for Overdue {
    type Error = sqlx::Error;

    fn try_from(row: OverdueRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            attempt: AttemptId { job: JobId::from_uuid(row.job_id), number: decode::number("number", row.number)? },
            verdict: decode::text("verdict", &row.verdict)?,
            queue_limit: row.queue_limit,
            start_limit: row.start_limit,
            run_limit: row.run_limit,
            runner: row.runner,
            node: row.node,
            noted: decode::optional("noted", row.noted.as_deref())?,
            noted_message: row.noted_message,
        })
    }
}

impl Verdict {
    const fn cause(self) -> Cause {
        match self {
            Self::QueueLimit => Cause::QueueLimit,
            Self::Cancelled => Cause::CancelledByUser,
            Self::RunnerLost => Cause::RunnerLost,
            Self::NeverStarted | Self::NeverRan => Cause::StartLimit,
            Self::WorkerLost => Cause::WorkerLost,
            Self::RunLimit => Cause::RunLimit,
            Self::NeverFinished => Cause::Storage,
        }
    }
}

impl Overdue {
    /// Of a worker that has gone silent: what its runner saw coming, for all that is known.
    pub fn cause(&self) -> Cause {
        self.noted.filter(|_| self.verdict == Verdict::WorkerLost).unwrap_or(self.verdict.cause())
    }

    /// For the user, with names and numbers.
    pub fn message(&self, terms: &Terms) -> String {
        let runner = self.runner.as_deref().unwrap_or("that had it");
        match self.verdict {
            Verdict::QueueLimit => format!("No runner took it within its queue limit of {} s.", self.queue_limit),
            Verdict::Cancelled => "It was cancelled before its worker began.".to_owned(),
            Verdict::RunnerLost => format!("Runner {runner} was lost before the attempt began."),
            Verdict::NeverStarted => {
                format!(
                    "Runner {runner} had it for {} s, its start limit, and its worker did not begin.",
                    self.start_limit
                )
            }
            Verdict::WorkerLost => self.silence(terms.lease),
            Verdict::NeverRan => {
                format!("The agent did not run within {} s, the start limit, of its worker's start.", self.start_limit)
            }
            Verdict::RunLimit => {
                format!("The agent ran past its run limit of {} s, and its worker did not end it.", self.run_limit)
            }
            Verdict::NeverFinished => format!("Its work was not stored within {} s.", terms.finish.as_secs()),
        }
    }

    fn silence(&self, lease: Duration) -> String {
        let node = self.node.as_ref().map(|node| format!(" on node {node}")).unwrap_or_default();
        let silent = format!("Its worker{node} was not heard of for {} s", lease.as_secs());
        match &self.noted_message {
            Some(noted) => format!("{silent}; before that its runner saw: {noted}"),
            None => format!("{silent}: it died, or its node or the way from there did."),
        }
    }
}
