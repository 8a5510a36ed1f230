//! The two statements of admission.

/// Living, unrevoked runners with free places, the one with most first. No row when nothing is due, which is the usual case.
/// $1: the lease in seconds.
pub const RUNNERS_WITH_ROOM: &str = "
select r.id
from runners r
where exists (select from attempts where state = 'queued' and not_before <= now())
  and r.revoked_at is null
  and r.beat_at > now() - make_interval(secs => $1)
  and r.capacity > (select count(*) from attempts a where a.runner_id = r.id and a.rank < 100)
order by r.capacity - (select count(*) from attempts a where a.runner_id = r.id and a.rank < 100) desc, r.id";

/// Assigns to runner $1 what it should run next, $2 at most. One row an attempt: job, seconds waited.
///
/// - `waiting`: what the runner may take, each with its turn: how many attempts its organization would be running with it.
///   What is over the organization's concurrency is left out.
/// - `chosen`: by priority, then by turn (so that organizations alternate, and who runs least goes first), then by age.
/// - `locked`: the jobs' rows first, as everywhere; one that somebody is changing right now is left for the next pass.
pub const ASSIGN: &str = "
with runner as (
    select r.id, r.org_id, r.classes,
        r.capacity - (select count(*) from attempts a where a.runner_id = r.id and a.rank < 100) as room
    from runners r
    where r.id = $1
), running as (
    select org_id, count(*) as n from attempts where rank > 0 and rank < 100 group by org_id
), waiting as (
    select a.job_id, a.number, a.priority, a.queued_at, a.not_before, o.concurrency,
        coalesce(running.n, 0)
            + row_number() over (partition by a.org_id order by a.priority desc, a.queued_at, a.job_id) as turn
    from runner
    join attempts a on a.state = 'queued' and a.not_before <= now()
        and (runner.org_id is null or runner.org_id = a.org_id)
        and (a.class is null or a.class = any (runner.classes))
    join orgs o on o.id = a.org_id
    left join running on running.org_id = a.org_id
), chosen as (
    select job_id, number, priority, turn, queued_at, not_before
    from waiting
    where turn <= concurrency
    order by priority desc, turn, queued_at, job_id
    limit (select least(greatest(room, 0), $2) from runner)
), locked as (
    select j.id, c.number, c.queued_at, c.not_before
    from chosen c
    join jobs j on j.id = c.job_id and j.attempt = c.number and j.rank = 0
    order by j.id
    for no key update of j skip locked
)
select l.id, extract(epoch from now() - greatest(l.queued_at, l.not_before))::float8
from locked l
cross join lateral transition(l.id, l.number, 'assigned', 10::smallint, p_runner => $1) t
where t.applied";
