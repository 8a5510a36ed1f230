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
/// - `org`: who waits, and how many more attempts of it may run: here, and at all.
/// - `waiting`: of what this runner may be given, the first so many of each, from the index that has them in order, so that
///   a long queue costs nothing. Each has its turn: how many attempts its organization would be running with it.
/// - `chosen`: by priority; then by turn (organizations alternate, and who runs least goes first) and whose turn was
///   longest ago; then by age.
/// - `locked`: the jobs' rows first, as everywhere; one that somebody is changing right now is left for the next pass.
/// - `moved`, and in the same transaction whose turn it was, and the new version of the runner's list.
pub const ASSIGN: &str = "
with runner as (
    select r.id, r.org_id, r.classes,
        r.capacity - (select count(*) from attempts a where a.runner_id = r.id and a.rank < 100) as room
    from runners r
    where r.id = $1
), running as (
    select org_id, count(*) as n from attempts where rank > 0 and rank < 100 group by org_id
), org as (
    select o.id, o.admitted_at, runner.classes, coalesce(running.n, 0) as running,
        greatest(least(runner.room, o.concurrency - coalesce(running.n, 0)), 0) as room
    from runner
    join orgs o on runner.org_id is null or runner.org_id = o.id
    left join running on running.org_id = o.id
    where exists (select from attempts q where q.org_id = o.id and q.state = 'queued')
), waiting as (
    select w.job_id, w.number, w.priority, w.queued_at, w.not_before, org.id as org_id, org.admitted_at,
        org.running + w.place as turn
    from org
    cross join lateral (
        select a.job_id, a.number, a.priority, a.queued_at, a.not_before,
            row_number() over (order by a.priority desc, a.queued_at, a.job_id) as place
        from attempts a
        where a.org_id = org.id and a.state = 'queued' and a.not_before <= now()
            and (a.class is null or a.class = any (org.classes)) and (a.only_runner is null or a.only_runner = $1)
        order by a.priority desc, a.queued_at, a.job_id
        limit org.room
    ) w
), chosen as (
    select * from waiting
    order by priority desc, turn, admitted_at nulls first, queued_at, job_id
    limit (select least(greatest(room, 0), $2) from runner)
), locked as (
    select j.id, c.org_id, c.number, c.queued_at, c.not_before
    from chosen c
    join jobs j on j.id = c.job_id and j.attempt = c.number and j.rank = 0
    order by j.id
    for no key update of j skip locked
), moved as (
    select l.id, l.org_id, extract(epoch from now() - greatest(l.queued_at, l.not_before))::float8 as waited
    from locked l
    cross join lateral transition(l.id, l.number, 'assigned', 10::smallint, p_runner => $1) t
    where t.applied
), turns as (
    update orgs set admitted_at = clock_timestamp() where id in (select org_id from moved)
), feed as (
    update runner_feeds set version = version + 1 where runner_id = $1 and exists (select from moved)
)
select id, waited from moved";
