//! What the rows must say. Each rule is a statement that answers a text for each row that breaks it.

use std::time::Duration;

use ckrv_types::{Cause, JobId};
use sqlx::PgConnection;

use super::{Rule, Violation};

/// Statements without parameters.
const PLAIN: &[(Rule, &str)] = &[
    (
        Rule::OneResult,
        "select format('job %s has %s attempts that succeeded', job_id, count(*)) from attempts
         where state = 'succeeded' group by job_id having count(*) > 1",
    ),
    (
        Rule::AttemptsInARow,
        "select format('job %s is at attempt %s and has %s, numbered %s to %s', j.id, j.attempt, count(*), min(a.number), max(a.number))
         from jobs j left join attempts a on a.job_id = j.id group by j.id
         having count(*) <> j.attempt or min(a.number) is distinct from 1 or max(a.number) is distinct from j.attempt",
    ),
    (
        Rule::JobIsLatest,
        "select format('job %s is %s (%s) and its attempt %s is %s (%s)', j.id, j.state, j.cause, a.number, a.state, a.cause)
         from jobs j join attempts a on a.job_id = j.id and a.number = j.attempt
         where (j.state, j.rank) <> (a.state, a.rank)
            or (a.rank = 100) <> (j.finished_at is not null)
            or (a.rank = 100 and (j.cause, j.message) is distinct from (a.cause, a.message))",
    ),
    (
        Rule::RanksRise,
        "select format('attempt %s of job %s went to %s from rank %s', attempt, job_id, state, before)
         from (
             select *, lag(rank) over (partition by job_id, attempt order by id) as before
             from (
                 select *, coalesce(10 * (array_position(
                     array['queued', 'assigned', 'starting', 'running', 'finishing'], state) - 1), 100) as rank
                 from job_events where kind in ('state', 'retry')
             ) ranked
         ) steps where rank <= before",
    ),
    (
        Rule::OneEnd,
        "select format('attempt %s of job %s is %s, its final events: %s', a.number, a.job_id, a.state, ends.states)
         from attempts a cross join lateral (
             select coalesce(array_agg(e.state), '{}') as states from job_events e
             where e.job_id = a.job_id and e.attempt = a.number
               and e.state in ('succeeded', 'failed', 'cancelled', 'timed_out') and e.kind = 'state'
         ) ends
         where ends.states <> case when a.rank = 100 then array[a.state] else '{}' end",
    ),
    (
        Rule::SealedAtTheEnd,
        "select format('attempt %s of job %s is %s; its log is sealed at %s (%s), the next line would be %s',
             a.number, a.job_id, a.state, h.sealed_seq, h.seal, h.next_seq)
         from attempts a left join log_heads h on h.job_id = a.job_id and h.attempt = a.number
         where h.job_id is null or (a.rank = 100) <> (h.sealed_seq is not null)
            or num_nulls(h.sealed_seq, h.seal, h.sealed_at) not in (0, 3)
            or h.sealed_seq <> h.next_seq - 1",
    ),
    (
        Rule::ChunksInARow,
        "select format('attempt %s of job %s has line %s where line %s must be', attempt, job_id, first_seq, expected)
         from (
             select *, lag(first_seq + count, 1, 1::bigint) over (partition by job_id, attempt order by first_seq) as expected
             from log_chunks
         ) chunks where first_seq <> expected
         union all
         select format('attempt %s of job %s has lines up to %s, kept were those up to %s', h.attempt, h.job_id, stored.last,
             coalesce(h.gap_first, h.next_seq) - 1)
         from log_heads h cross join lateral (
             select coalesce(max(c.first_seq + c.count), 1) - 1 as last from log_chunks c
             where c.job_id = h.job_id and c.attempt = h.attempt
         ) stored
         where h.archived_at is null and stored.last <> coalesce(h.gap_first, h.next_seq) - 1",
    ),
    (
        Rule::NothingBehindTheSeal,
        "select format('attempt %s of job %s is sealed at line %s and has line %s', h.attempt, h.job_id, h.sealed_seq,
             c.first_seq + c.count - 1)
         from log_heads h join log_chunks c on c.job_id = h.job_id and c.attempt = h.attempt
         where c.first_seq + c.count - 1 > h.sealed_seq",
    ),
    (
        Rule::ArtifactsSettled,
        "select format('`%s` of attempt %s of job %s is pending', r.name, r.attempt, r.job_id)
         from artifacts r join attempts a on a.job_id = r.job_id and a.number = r.attempt
         where r.status = 'pending' and a.rank = 100",
    ),
    (
        Rule::UsageAsAttemptsSay,
        "select format('job %s of project %s is counted %s times, for project %s', j.id, j.project_id, coalesce(e.jobs, 0), e.project_id)
         from jobs j left join usage_events e on e.job_id = j.id and e.attempt = 0
         where (e.org_id, e.project_id, e.key_id, e.jobs) is distinct from (j.org_id, j.project_id, j.key_id, 1)
         union all
         select format('attempt %s of job %s ran for %s s that count, and %s s are counted', a.number, a.job_id, a.ran, coalesce(e.seconds, 0))
         from (
             select *, case
                 when rank < 100 or running_at is null or cause like 'infrastructure:%' then 0
                 else greatest(0, ceil(extract(epoch from coalesce(finishing_at, finished_at) - running_at)))
             end as ran from attempts
         ) a left join usage_events e on e.job_id = a.job_id and e.attempt = a.number
         where coalesce(e.seconds, 0) <> a.ran or coalesce(e.jobs, 0) <> 0
            or coalesce(e.output_tokens, 0) <> case
                when a.rank = 100 and a.usage ->> 'source' = 'proxy' then (a.usage ->> 'output_tokens')::bigint else 0
            end
         union all
         select format('attempt %s of job %s is counted in %s months', attempt, job_id, count(*)) from usage_events
         group by job_id, attempt having count(*) > 1
         union all
         select format('the month %s of %s sums up to %s jobs and %s s, its events to %s and %s', month, org_id,
             s.jobs, s.seconds, e.jobs, e.seconds)
         from (select org_id, month, sum(jobs) as jobs, sum(seconds) as seconds from usage_events group by 1, 2) e
         full join (select org_id, month, sum(jobs) as jobs, sum(seconds) as seconds from usage_months group by 1, 2) s
             using (org_id, month)
         where (s.jobs, s.seconds) is distinct from (e.jobs, e.seconds)",
    ),
];

/// $1: ids of accepted jobs.
const OF_ACCEPTED: &[(Rule, &str)] = &[
    (
        Rule::AcceptedIsThere,
        "select format('job %s was accepted and is not there', accepted.id) from unnest($1::uuid[]) accepted (id)
         where not exists (select from jobs j where j.id = accepted.id)",
    ),
    (Rule::NobodyAsked, "select format('job %s is there and nobody was told', id) from jobs where id <> all ($1)"),
];

/// $1: causes that are retried.
const EARLIER_FAILED: &str = "
select format('attempt %s of job %s is %s (%s), and attempt %s followed', a.number, a.job_id, a.state, a.cause, j.attempt)
from attempts a join jobs j on j.id = a.job_id
where a.number < j.attempt
  and not (a.state = 'failed' and (
      coalesce(a.cause, '') = any ($1) or (a.cause = 'agent:oom' and (j.spec #>> '{retries,oom}')::bool)
  ))";

/// $1: the lease in seconds. Before a worker's start its runner's beat counts, afterwards its own.
const HELD_BY_THE_LIVING: &str = "
select format('attempt %s of job %s is %s, and who has it was last heard of at %s', a.number, a.job_id, a.state,
    case when a.rank = 10 then r.beat_at else a.beat_at end)
from attempts a left join runners r on r.id = a.runner_id
where a.rank between 10 and 40
  and coalesce(case when a.rank = 10 then r.beat_at else a.beat_at end, '-infinity') < now() - make_interval(secs => $1)";

pub async fn violations(sql: &mut PgConnection, accepted: &[JobId], lease: Duration) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut add = |rule, rows: Result<Vec<String>, sqlx::Error>| {
        let rows = rows.unwrap_or_else(|error| panic!("{rule:?} cannot be looked up: {error}"));
        found.extend(rows.into_iter().map(|what| Violation { rule, what }));
    };
    for &(rule, statement) in PLAIN {
        add(rule, sqlx::query_scalar(statement).fetch_all(&mut *sql).await);
    }
    let accepted: Vec<_> = accepted.iter().map(|job| job.uuid()).collect();
    for &(rule, statement) in OF_ACCEPTED {
        add(rule, sqlx::query_scalar(statement).bind(&accepted).fetch_all(&mut *sql).await);
    }
    let retried: Vec<&str> = Cause::ALL.iter().filter(|cause| cause.is_retried()).map(|cause| cause.as_str()).collect();
    add(Rule::EarlierFailed, sqlx::query_scalar(EARLIER_FAILED).bind(retried).fetch_all(&mut *sql).await);
    let silent = sqlx::query_scalar(HELD_BY_THE_LIVING).bind(lease.as_secs_f64()).fetch_all(&mut *sql).await;
    add(Rule::HeldByTheLiving, silent);
    found
}
