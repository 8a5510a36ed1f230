-- Cheaper submissions and retention, lists by project, and what an organization may have of its own.

-- What is kept of a request is deleted with nothing: there is no need to look its organization up at each of them.
alter table idempotency drop constraint idempotency_org_id_fkey;

-- No tenant's query can use an index by label: `@>` might tell of rows that it may not see, and so comes after the policies. What
-- helps is to look at jobs with labels alone; most have none.
drop index jobs_by_label;
create index jobs_labelled on jobs (org_id, id desc) where labels <> '{}';
create index jobs_by_project on jobs (org_id, project_id, id desc);

-- What waits has no runner yet.
drop index attempts_by_runner;
create index attempts_by_runner on attempts (runner_id) where runner_id is not null and rank < 100;

-- As before; whose key it was is handed over rather than looked up.
drop function count_job(jobs);
create function count_job(p_job jobs, p_service_account uuid) returns jsonb
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
        p_job.org_id, v_month, p_job.id, 0, p_job.project_id, p_job.key_id, p_job.user_id, p_service_account, 1
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

-- Accepts a job with its first attempt; or says why not (see count_job), and then the transaction has to be given up.
-- p_service_account: whose key it is, if it is one's.
create function accept_job(
    p_id uuid, p_org uuid, p_project uuid, p_key uuid, p_user uuid, p_service_account uuid,
    p_spec jsonb, p_repo text, p_retry_of uuid, p_handed_by uuid, p_origin jsonb
)
    returns table (created_at timestamptz, refusal jsonb)
    language plpgsql as $$
declare
    v_job jobs;
begin
    insert into jobs (id, org_id, project_id, key_id, user_id, spec, repo, labels, retry_of, handed_by, origin)
    values (
        p_id, p_org, p_project, p_key, p_user, p_spec, p_repo, coalesce(p_spec -> 'labels', '{}'), p_retry_of, p_handed_by, p_origin
    )
    returning * into v_job;
    refusal := count_job(v_job, p_service_account);
    if refusal is null then
        perform queue_attempt(v_job, 1, now(), null, null);
    end if;
    created_at := v_job.created_at;
    return next;
end $$;

-- The release before calls this one.
create or replace function submit_job(
    p_id uuid, p_org uuid, p_project uuid, p_key uuid, p_spec jsonb, p_repo text, p_retry_of uuid,
    p_handed_by uuid default null, p_origin jsonb default null, p_user uuid default null
)
    returns table (project_id uuid, created_at timestamptz, refusal jsonb)
    language plpgsql as $$
begin
    project_id := coalesce(p_project, (
        select p.id from projects p where p.org_id = p_org order by p.archived_at is not null, p.created_at, p.id limit 1
    ));
    select a.created_at, a.refusal into submit_job.created_at, submit_job.refusal
    from accept_job(
        p_id, p_org, project_id, p_key, p_user, (select k.service_account_id from api_keys k where k.id = p_key),
        p_spec, p_repo, p_retry_of, p_handed_by, p_origin
    ) a;
    return next;
end $$;

-- As before; an attempt is charged by the cause that ended it, also where its retry was cancelled meanwhile.
create or replace function transition(
    p_job uuid, p_attempt int, p_state text, p_rank smallint,
    p_cause text default null, p_message text default null, p_exit_code int default null,
    p_retry boolean default false, p_last_seq bigint default null, p_runner uuid default null
) returns table (applied boolean, attempt_state text, retried boolean, sealed bigint, runner uuid)
    language plpgsql as $$
declare
    v_job jobs;
    v_attempt attempts;
    v_ended attempts;
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

        -- A retry that the user has cancelled ended by its own cause all the same: what ckrv itself failed costs nothing.
        v_ended := v_attempt;
        v_ended.cause := coalesce(p_cause, v_attempt.cause);
        perform count_attempt(v_job, v_ended);

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

-- Retention goes through each organization's oldest jobs apart, since each has a time of its own.
create index jobs_to_purge on jobs (org_id, finished_at) where finished_at is not null and purged_at is null;
-- When nothing of a marked job was left in the object store, nor in the rows that name its objects.
alter table jobs add column cleared_at timestamptz;
create index jobs_to_clear on jobs (id) where purged_at is not null and cleared_at is null;
-- Rows go by their age, once they are marked.
drop index jobs_finished;
create index jobs_purged on jobs (finished_at) where purged_at is not null;

-- How many organizations somebody has made for themselves.
create index orgs_by_creator on orgs (created_by) where created_by is not null;
