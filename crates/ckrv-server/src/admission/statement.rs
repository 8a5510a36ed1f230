//! The two statements of admission.

/// Living, unrevoked runners with free places, the one with most first. No row when nothing is due, which is the usual case: that
/// is asked in the order of the index, of which one row is read, whatever the database takes the queue's length for.
/// $1: the lease in seconds.
pub const RUNNERS_WITH_ROOM: &str = "
select r.id
from runners r
where (
    select true from attempts where state = 'queued' and not_before <= now()
    order by org_id, project_id, priority desc, queued_at, job_id limit 1
  )
  and r.revoked_at is null
  and r.beat_at > now() - make_interval(secs => $1)
  and r.capacity > (select count(*) from attempts a where a.runner_id = r.id and a.rank < 100)
order by r.capacity - (select count(*) from attempts a where a.runner_id = r.id and a.rank < 100) desc, r.id";

/// Assigns to runner $1 what it should run next, $2 at most. One row an attempt: job, seconds waited.
///
/// - `pair`: each project for which something waits, by steps from one to the next in the index: what this costs goes by how
///   many wait, not by how long their queues are, nor by how many organizations there are.
/// - `org`, `project`: how many more attempts of each may run: here, and at all. `shared` is how many an organization has on
///   runners of the platform: what it does on its own takes nothing from others, and so is held against it by nobody.
/// - `waiting`: of what this runner may be given, the first so many of each project, from the index that has them in order. A
///   long queue costs nothing, as long as its jobs are such as this runner may be given: others are passed over one by one.
/// - `turn`: the weights and turns of those organizations among which there is something to share out here. `start` is how far
///   one has come in taking turns, and no less far than the one among them that was given something last: who was idle has
///   saved nothing up.
/// - `placed`: each has its place among its organization's. Organizations fill rounds: in each, one of weight 2 has twice as
///   many places as one of weight 1, those that it has already included.
/// - `chosen`: by round, so that who has least for its weight goes first; then by turn, so that where there are fewer places
///   than a round has, everybody comes to them as often as their weight says; then by age. Priority is among an
///   organization's own.
/// - `locked`: the jobs' rows first, as everywhere; one that somebody is changing right now is left for the next pass.
/// - `moved`, and in the same transaction whose turn it was on a runner of the platform, and the new version of the runner's
///   list.
pub const ASSIGN: &str = "
with recursive runner as (
    select r.id, r.org_id, r.classes,
        r.capacity - (select count(*) from attempts a where a.runner_id = r.id and a.rank < 100) as room
    from runners r
    where r.id = $1
), pair as (
    (
        select a.org_id, a.project_id from attempts a
        where a.state = 'queued'
            and a.org_id >= (select coalesce(org_id, '00000000-0000-0000-0000-000000000000') from runner)
        order by a.org_id, a.project_id limit 1
    )
    union all
    select next.* from pair cross join lateral (
        select a.org_id, a.project_id from attempts a
        where a.state = 'queued' and (a.org_id, a.project_id) > (pair.org_id, pair.project_id)
        order by a.org_id, a.project_id limit 1
    ) next
    where pair.org_id = next.org_id or (select org_id from runner) is null
), running as (
    select a.org_id, a.project_id, count(*) as n, count(*) filter (where r.org_id is null) as shared
    from attempts a left join runners r on r.id = a.runner_id
    where a.rank > 0 and a.rank < 100
    group by a.org_id, a.project_id
), org as (
    select q.org_id, runner.classes, q.weight, o.turn, coalesce(ran.shared, 0) as shared,
        greatest(least(runner.room, q.concurrent_jobs - coalesce(ran.n, 0)), 0) as room
    from runner
    cross join (select distinct org_id from pair) w
    join orgs o on o.id = w.org_id and (runner.org_id is null or runner.org_id = o.id)
    join org_quotas q on q.org_id = w.org_id
    left join (
        select org_id, sum(n)::bigint as n, sum(shared)::bigint as shared from running group by org_id
    ) ran on ran.org_id = w.org_id
), project as (
    select org.*, p.id as project_id,
        greatest(least(org.room, (p.settings ->> 'concurrency')::int - coalesce(running.n, 0)), 0) as project_room
    from org
    join pair on pair.org_id = org.org_id
    join projects p on p.id = pair.project_id
    left join running on running.project_id = p.id
), waiting as (
    select w.*, project.org_id
    from project
    cross join lateral (
        select a.job_id, a.number, a.priority, a.queued_at, a.not_before
        from attempts a
        where a.org_id = project.org_id and a.project_id = project.project_id
            and a.state = 'queued' and a.not_before <= now()
            and (a.class is null or a.class = any (project.classes)) and (a.only_runner is null or a.only_runner = $1)
        order by a.priority desc, a.queued_at, a.job_id
        limit project.project_room
    ) w
), turn as (
    select org_id, shared, room, weight, weight::float8 / min(weight) over () as share,
        greatest(turn, max(turn - 1.0 / weight) over ()) as start
    from org where org_id in (select org_id from waiting)
), placed as (
    select waiting.*,
        row_number() over (partition by org_id order by priority desc, queued_at, job_id) - 1 as ahead
    from waiting
), chosen as (
    select placed.* from placed join turn on turn.org_id = placed.org_id
    where ahead < turn.room
    order by floor((turn.shared + ahead) / turn.share), turn.start + ahead::float8 / turn.weight, queued_at, job_id
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
    update orgs o set turn = turn.start + taken.n::float8 / turn.weight
    from turn join (select org_id, count(*) as n from moved group by org_id) taken on taken.org_id = turn.org_id
    where o.id = turn.org_id and (select org_id from runner) is null
), feed as (
    update runner_feeds set version = version + 1 where runner_id = $1 and exists (select from moved)
)
select id, waited from moved";
