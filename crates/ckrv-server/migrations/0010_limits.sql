-- What organizations may use, what they have used, and whose turn it is.

create table tiers (
    name text primary key check (name ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'),
    -- Its share of places while organizations wait for them.
    weight int not null check (weight between 1 and 1000),
    -- Of this and all below, NULL: unlimited.
    concurrent_jobs int check (concurrent_jobs >= 0),
    open_jobs int check (open_jobs >= 0),
    jobs_per_month int check (jobs_per_month >= 0),
    minutes_per_month int check (minutes_per_month >= 0),
    requests_per_minute int check (requests_per_minute > 0),
    members int check (members >= 0),
    projects int check (projects >= 0),
    -- The server's own setting holds where it is less.
    retention_days int check (retention_days > 0),
    -- Those that jobs may name.
    classes text[]
);
insert into tiers (
    name, weight, concurrent_jobs, open_jobs, jobs_per_month, minutes_per_month, requests_per_minute, members, projects, retention_days, classes
) values
    ('free', 1, 2, 20, 100, 600, 120, 3, 2, 3, '{}'),
    ('pro', 2, 10, 200, 2000, 12000, 600, 10, 20, 14, null),
    ('team', 4, 50, 1000, 20000, 120000, 3000, 100, 200, 30, null),
    ('enterprise', 8, null, null, null, null, null, null, null, null, null);
grant select on tiers to ckrv_app;
grant select, insert, update on tiers to ckrv_system;

-- Organizations that are there keep what they had; one that says nothing gets the least.
alter table orgs add column tier text not null default 'enterprise' references tiers (name);
alter table orgs alter column tier set default 'free';
grant select (tier) on orgs to ckrv_app;

-- What holds for one organization instead of its tier's. NULL: the tier's; -1 and {*}: unlimited.
create table org_limits (
    org_id uuid primary key references orgs (id),
    weight int check (weight between 1 and 1000),
    concurrent_jobs int check (concurrent_jobs >= -1),
    open_jobs int check (open_jobs >= -1),
    jobs_per_month int check (jobs_per_month >= -1),
    minutes_per_month int check (minutes_per_month >= -1),
    requests_per_minute int check (requests_per_minute = -1 or requests_per_minute > 0),
    members int check (members >= -1),
    projects int check (projects >= -1),
    retention_days int check (retention_days = -1 or retention_days > 0),
    classes text[]
);
call tenant_table('org_limits');
grant select on org_limits to ckrv_app;
grant select, insert, update on org_limits to ckrv_system;

-- The owner is under the policies too while they are forced, and none is for it.
alter table orgs no force row level security;
alter table org_limits no force row level security;
insert into org_limits (org_id, concurrent_jobs) select id, concurrency from orgs;
alter table orgs force row level security;
alter table org_limits force row level security;
-- `orgs.concurrency` and `orgs.admitted_at` are read by the release before, and by none after it.

-- What holds for each organization. NULL: unlimited.
create view org_quotas with (security_invoker = true) as
    select
        o.id as org_id,
        o.tier,
        coalesce(l.weight, t.weight) as weight,
        nullif(coalesce(l.concurrent_jobs, t.concurrent_jobs), -1) as concurrent_jobs,
        nullif(coalesce(l.open_jobs, t.open_jobs), -1) as open_jobs,
        nullif(coalesce(l.jobs_per_month, t.jobs_per_month), -1) as jobs_per_month,
        nullif(coalesce(l.minutes_per_month, t.minutes_per_month), -1) as minutes_per_month,
        nullif(coalesce(l.requests_per_minute, t.requests_per_minute), -1) as requests_per_minute,
        nullif(coalesce(l.members, t.members), -1) as members,
        nullif(coalesce(l.projects, t.projects), -1) as projects,
        nullif(coalesce(l.retention_days, t.retention_days), -1) as retention_days,
        nullif(coalesce(l.classes, t.classes), '{*}') as classes
    from orgs o
    join tiers t on t.name = o.tier
    left join org_limits l on l.org_id = o.id;
grant select on org_quotas to ckrv_app, ckrv_system;

-- What was used, one row for each thing that counts: a job that was submitted (attempt 0), and an attempt that ended after its
-- agent had run. Written in the transaction of what it tells of, and kept when that is gone: hence no foreign keys.
create table usage_events (
    org_id uuid not null,
    -- The first day of the calendar month (UTC) that it counts in.
    month date not null,
    job_id uuid not null,
    attempt int not null,
    at timestamptz not null default now(),
    project_id uuid not null,
    -- Who submitted the job, as far as somebody did: by a key; in person, or by a key of theirs; by a service account's key.
    key_id uuid,
    user_id uuid,
    service_account_id uuid,
    jobs int not null default 0,
    -- That the agent ran; 0 where ckrv itself failed.
    seconds bigint not null default 0,
    -- As counted by the model proxy; what agents say of themselves is not.
    input_tokens bigint not null default 0,
    output_tokens bigint not null default 0,
    cost_usd numeric not null default 0,
    primary key (org_id, month, job_id, attempt)
);
call tenant_table('usage_events');
grant select, insert on usage_events to ckrv_app, ckrv_system;

-- The sums of a month's events. In parts, so that those who add do not wait for each other: whoever must not exceed a limit
-- adds to part 0, whose lock they all take, and everybody else to one of their connection's.
create table usage_months (
    org_id uuid not null references orgs (id),
    month date not null,
    part smallint not null,
    jobs bigint not null default 0,
    seconds bigint not null default 0,
    primary key (org_id, month, part)
) with (fillfactor = 50);
call tenant_table('usage_months');
grant select, insert, update on usage_months to ckrv_app, ckrv_system;

-- The calendar month that a time is in, by its first day, in UTC whatever the session's time zone is.
create function usage_month(p_at timestamptz) returns date
    language sql immutable parallel safe
    return date_trunc('month', p_at at time zone 'UTC')::date;

-- When it is over.
create function usage_month_end(p_month date) returns timestamptz
    language sql immutable parallel safe
    return (p_month + interval '1 month') at time zone 'UTC';

create function add_usage(p_org uuid, p_month date, p_limited boolean, p_jobs bigint, p_seconds bigint) returns void
    language plpgsql as $$
declare
    v_part constant smallint := case when p_limited then 0 else 1 + pg_backend_pid() % 31 end;
begin
    update usage_months u set jobs = u.jobs + p_jobs, seconds = u.seconds + p_seconds
    where u.org_id = p_org and u.month = p_month and u.part = v_part;
    if not found then
        insert into usage_months as u (org_id, month, part, jobs, seconds) values (p_org, p_month, v_part, p_jobs, p_seconds)
        on conflict (org_id, month, part) do update set jobs = u.jobs + excluded.jobs, seconds = u.seconds + excluded.seconds;
    end if;
end $$;

-- Counts a new job. Why it may not be accepted, else NULL: {quota, used, limit, resets_at} as in ckrv_types::quota::QuotaLimit
-- or {class, classes}, each with the tier. Whoever is refused has to roll back.
create function count_job(p_job jobs) returns jsonb
    language plpgsql as $$
declare
    v_month constant date := usage_month(now());
    v_class constant text := p_job.spec ->> 'class';
    v_quota org_quotas;
    v_limited boolean;
    v_jobs bigint;
    v_minutes bigint;
    v_open bigint;
begin
    select * into strict v_quota from org_quotas q where q.org_id = p_job.org_id;
    if v_class is not null and v_class <> all (v_quota.classes) then
        return jsonb_build_object('tier', v_quota.tier, 'class', v_class, 'classes', v_quota.classes);
    end if;

    v_limited := num_nonnulls(v_quota.jobs_per_month, v_quota.minutes_per_month, v_quota.open_jobs) > 0;
    perform add_usage(p_job.org_id, v_month, v_limited, 1, 0);
    insert into usage_events (org_id, month, job_id, attempt, project_id, key_id, user_id, service_account_id, jobs)
    values (
        p_job.org_id, v_month, p_job.id, 0, p_job.project_id, p_job.key_id, p_job.user_id,
        (select k.service_account_id from api_keys k where k.id = p_job.key_id), 1
    );
    if not v_limited then
        return null;
    end if;

    -- From here on no other job of the organization is being accepted: what is counted below is all there is, and this one.
    select sum(u.jobs) - 1, floor(sum(u.seconds) / 60) into v_jobs, v_minutes
    from usage_months u where u.org_id = p_job.org_id and u.month = v_month;
    if v_jobs >= v_quota.jobs_per_month then
        return jsonb_build_object(
            'tier', v_quota.tier, 'quota', 'jobs_per_month', 'used', v_jobs, 'limit', v_quota.jobs_per_month,
            'resets_at', usage_month_end(v_month)
        );
    end if;
    if v_minutes >= v_quota.minutes_per_month then
        return jsonb_build_object(
            'tier', v_quota.tier, 'quota', 'minutes_per_month', 'used', v_minutes, 'limit', v_quota.minutes_per_month,
            'resets_at', usage_month_end(v_month)
        );
    end if;
    if v_quota.open_jobs is not null then
        v_open := open_jobs(p_job.org_id);
        if v_open >= v_quota.open_jobs then
            return jsonb_build_object('tier', v_quota.tier, 'quota', 'open_jobs', 'used', v_open, 'limit', v_quota.open_jobs);
        end if;
    end if;
    return null;
end $$;

-- Jobs that are not over: each has one attempt that is not.
create function open_jobs(p_org uuid) returns bigint
    language plpgsql stable as $$
begin
    return (select count(*) from attempts a where a.org_id = p_org and a.state = 'queued')
        + (select count(*) from attempts a where a.org_id = p_org and a.rank > 0 and a.rank < 100);
end $$;

-- Seconds that an attempt's agent ran and that count, a begun one whole.
create function charged_seconds(p_attempt attempts) returns bigint
    language plpgsql stable as $$
begin
    if p_attempt.running_at is null or p_attempt.cause like 'infrastructure:%' then
        return 0;
    end if;
    return greatest(
        ceil(extract(epoch from coalesce(p_attempt.finishing_at, p_attempt.finished_at) - p_attempt.running_at)), 0
    );
end $$;

-- Counts what an attempt that has just ended used.
create function count_attempt(p_job jobs, p_attempt attempts) returns void
    language plpgsql as $$
declare
    v_month constant date := usage_month(now());
    v_seconds constant bigint := charged_seconds(p_attempt);
    v_used constant jsonb := case when p_attempt.usage ->> 'source' = 'proxy' then p_attempt.usage end;
begin
    if v_seconds = 0 and v_used is null then
        return;
    end if;
    insert into usage_events (
        org_id, month, job_id, attempt, project_id, key_id, user_id, service_account_id,
        seconds, input_tokens, output_tokens, cost_usd
    )
    values (
        p_job.org_id, v_month, p_job.id, p_attempt.number, p_job.project_id, p_job.key_id, p_job.user_id,
        (select k.service_account_id from api_keys k where k.id = p_job.key_id),
        v_seconds,
        -- A worker's word: no number of it may keep an attempt from ending.
        least(coalesce((v_used ->> 'input_tokens')::numeric, 0), 1e15),
        least(coalesce((v_used ->> 'output_tokens')::numeric, 0), 1e15),
        greatest(least(coalesce((v_used ->> 'cost_usd')::numeric, 0), 1e9), 0)
    );
    if v_seconds > 0 then
        perform add_usage(p_job.org_id, v_month, false, 0, v_seconds);
    end if;
end $$;

-- A job's project belongs to its organization, which needs no look-up of its own at each submission.
alter table jobs drop constraint jobs_org_id_fkey;

-- For admission, which looks at each project apart.
alter table attempts no force row level security;
alter table jobs no force row level security;
alter table attempts add column project_id uuid;
update attempts a set project_id = j.project_id from jobs j where j.id = a.job_id;
alter table attempts alter column project_id set not null;
alter table attempts force row level security;
alter table jobs force row level security;
drop index attempts_queued;
create index attempts_queued on attempts (org_id, project_id, priority desc, queued_at, job_id) where state = 'queued';

-- How far an organization has come in taking turns: each attempt that it is given moves it on by 1/weight.
alter table orgs add column turn float8 not null default 0;

-- As before; the attempt knows its project, and the job is handed over rather than looked up.
drop function queue_attempt(uuid, int, timestamptz, text, text);
create function queue_attempt(p_job jobs, p_number int, p_not_before timestamptz, p_cause text, p_message text) returns void
    language plpgsql as $$
begin
    insert into attempts (
        job_id, number, org_id, project_id, priority, class, queue_limit, start_limit, run_limit, grace, max_attempts,
        not_before, only_runner
    )
    values (
        p_job.id, p_number, p_job.org_id, p_job.project_id,
        (p_job.spec ->> 'priority')::int,
        p_job.spec ->> 'class',
        (p_job.spec #>> '{limits,queue}')::int,
        (p_job.spec #>> '{limits,start}')::int,
        (p_job.spec #>> '{limits,run}')::int,
        (p_job.spec #>> '{limits,grace}')::int,
        (p_job.spec #>> '{retries,max_attempts}')::int,
        p_not_before,
        p_job.handed_by
    );
    insert into log_heads (job_id, attempt, org_id) values (p_job.id, p_number, p_job.org_id);
    perform log_event(
        p_job.org_id, p_job.id, p_number, case when p_number = 1 then 'state' else 'retry' end, 'queued', p_cause,
        coalesce(p_message, case when p_number = 1 then
            'handed in as ' || (p_job.origin ->> 'namespace') || '/' || (p_job.origin ->> 'name')
        end)
    );
end $$;

-- As before; counts the job, and may refuse it (see count_job).
drop function submit_job(uuid, uuid, uuid, uuid, jsonb, text, uuid, uuid, jsonb, uuid);
create function submit_job(
    p_id uuid, p_org uuid, p_project uuid, p_key uuid, p_spec jsonb, p_repo text, p_retry_of uuid,
    p_handed_by uuid default null, p_origin jsonb default null, p_user uuid default null
)
    returns table (project_id uuid, created_at timestamptz, refusal jsonb)
    language plpgsql as $$
declare
    v_job jobs;
begin
    insert into jobs (id, org_id, project_id, key_id, user_id, spec, repo, labels, retry_of, handed_by, origin)
    values (
        p_id, p_org,
        coalesce(p_project, (
            select p.id from projects p where p.org_id = p_org order by p.archived_at is not null, p.created_at, p.id limit 1
        )),
        p_key, p_user, p_spec, p_repo, coalesce(p_spec -> 'labels', '{}'), p_retry_of, p_handed_by, p_origin
    )
    returning * into v_job;
    refusal := count_job(v_job);
    if refusal is null then
        perform queue_attempt(v_job, 1, now(), null, null);
    end if;
    project_id := v_job.project_id;
    created_at := v_job.created_at;
    return next;
end $$;

-- As before; counts what an attempt that ends has used.
create or replace function transition(
    p_job uuid, p_attempt int, p_state text, p_rank smallint,
    p_cause text default null, p_message text default null, p_exit_code int default null,
    p_retry boolean default false, p_last_seq bigint default null, p_runner uuid default null
) returns table (applied boolean, attempt_state text, retried boolean, sealed bigint, runner uuid)
    language plpgsql as $$
declare
    v_job jobs;
    v_attempt attempts;
    v_state text := p_state;
    v_cause text := p_cause;
    v_sealed bigint;
    v_terminal constant boolean := p_rank = 100;
    v_retried boolean := false;
begin
    select * into v_job from jobs where id = p_job for no key update;
    if not found then
        return;
    end if;
    if p_retry and v_job.cancel_requested_at is not null then
        v_state := 'cancelled';
        v_cause := 'cancelled:user';
    end if;

    update attempts a set
        state = v_state,
        rank = p_rank,
        cause = coalesce(v_cause, a.cause),
        message = coalesce(left(p_message, 2000), a.message),
        exit_code = coalesce(p_exit_code, a.exit_code),
        runner_id = coalesce(p_runner, a.runner_id),
        assigned_at = case when v_state = 'assigned' then clock_timestamp() else a.assigned_at end,
        starting_at = case when v_state = 'starting' then clock_timestamp() else a.starting_at end,
        running_at = case when v_state = 'running' then clock_timestamp() else a.running_at end,
        finishing_at = case when v_state = 'finishing' then clock_timestamp() else a.finishing_at end,
        finished_at = case when v_terminal then clock_timestamp() end
    where a.job_id = p_job and a.number = p_attempt and a.rank < p_rank
    returning * into v_attempt;

    if not found then
        return query
            select false, a.state, false, h.sealed_seq, a.runner_id
            from attempts a join log_heads h on h.job_id = a.job_id and h.attempt = a.number
            where a.job_id = p_job and a.number = p_attempt;
        return;
    end if;

    perform log_event(v_attempt.org_id, p_job, p_attempt, 'state', v_state, v_cause, p_message);

    if v_terminal then
        update log_heads h set
            sealed_seq = h.next_seq - 1,
            seal = case
                when v_attempt.instance is null or p_last_seq = h.next_seq - 1 then 'complete'
                else 'truncated'
            end,
            sealed_at = clock_timestamp()
        where h.job_id = p_job and h.attempt = p_attempt
        returning h.sealed_seq into v_sealed;

        perform count_attempt(v_job, v_attempt);

        v_retried := p_retry
            and v_job.cancel_requested_at is null
            and p_attempt = v_job.attempt
            and p_attempt < v_attempt.max_attempts;
    end if;

    if v_retried then
        -- 5 s, 20 s, 80 s, then 5 min, each up to a quarter longer so that a lost node's jobs do not return as one.
        perform queue_attempt(
            v_job, p_attempt + 1,
            now() + least(5 * power(4, p_attempt - 1), 300) * (1 + random() / 4) * interval '1 second',
            v_cause, p_message
        );
        update jobs j set
            state = 'queued', rank = 0, attempt = p_attempt + 1, cause = v_cause, message = left(p_message, 2000)
        where j.id = p_job;
    elsif p_attempt = v_job.attempt then
        update jobs j set
            state = v_state, rank = p_rank, cause = v_cause, message = left(p_message, 2000),
            finished_at = case when v_terminal then clock_timestamp() end
        where j.id = p_job;
    end if;

    if v_terminal and v_attempt.runner_id is not null then
        update runner_feeds f set version = f.version + 1 where f.runner_id = v_attempt.runner_id;
    end if;

    return query select true, v_state, v_retried, v_sealed, v_attempt.runner_id;
end $$;
