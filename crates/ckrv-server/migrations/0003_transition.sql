-- The one way in which an attempt's state changes.
--
-- Every caller locks in the order jobs, attempts, log_heads, runner_feeds; the job's row serializes all changes of a
-- job, so that its events are committed in the order of their ids.

create function log_event(p_org uuid, p_job uuid, p_attempt int, p_kind text, p_state text, p_cause text, p_message text)
    returns void
    language sql as $$
    insert into job_events (org_id, job_id, attempt, kind, state, cause, message)
    values (p_org, p_job, p_attempt, p_kind, p_state, p_cause, left(p_message, 2000));
$$;

-- Queues attempt number p_number of a job, with its log's head. The event is `state` for the first and `retry` for
-- further ones, which have a cause.
create function queue_attempt(p_job uuid, p_number int, p_not_before timestamptz, p_cause text, p_message text) returns void
    language plpgsql as $$
declare
    v_job jobs;
begin
    select * into strict v_job from jobs where id = p_job;
    insert into attempts (job_id, number, org_id, priority, class, queue_limit, start_limit, run_limit, grace, max_attempts, not_before)
    values (
        p_job, p_number, v_job.org_id,
        (v_job.spec ->> 'priority')::int,
        v_job.spec ->> 'class',
        (v_job.spec #>> '{limits,queue}')::int,
        (v_job.spec #>> '{limits,start}')::int,
        (v_job.spec #>> '{limits,run}')::int,
        (v_job.spec #>> '{limits,grace}')::int,
        (v_job.spec #>> '{retries,max_attempts}')::int,
        p_not_before
    );
    insert into log_heads (job_id, attempt, org_id) values (p_job, p_number, v_job.org_id);
    perform log_event(
        v_job.org_id, p_job, p_number, case when p_number = 1 then 'state' else 'retry' end, 'queued', p_cause, p_message
    );
end $$;

-- Accepts a job with its first attempt. p_project: NULL for the organization's first project.
create function submit_job(p_id uuid, p_org uuid, p_project uuid, p_key uuid, p_spec jsonb, p_repo text, p_retry_of uuid)
    returns void
    language plpgsql as $$
begin
    insert into jobs (id, org_id, project_id, key_id, spec, repo, labels, retry_of)
    values (
        p_id, p_org,
        coalesce(p_project, (select p.id from projects p where p.org_id = p_org order by p.created_at, p.id limit 1)),
        p_key, p_spec, p_repo, coalesce(p_spec -> 'labels', '{}'), p_retry_of
    );
    perform queue_attempt(p_id, 1, now(), null, null);
end $$;

-- Moves attempt p_attempt of p_job to p_state, if that is a higher rank than the one it has; the first terminal state
-- wins. In the same transaction: the event, the job's own copy of the state and, at the end of an attempt, its log's seal,
-- and either the next attempt or the job's end.
--
-- p_retry: whether p_cause is worth another attempt (the closed list of causes is the caller's). Where somebody has asked
-- to cancel there is no other attempt, and such an end is the cancellation's.
-- p_last_seq: the last line that the worker made; NULL when the worker is gone. The log's seal is `complete` when
-- all of them arrived, or when there never was a worker.
-- p_runner: with `assigned`, who has it now.
--
-- One row: applied (false: the state was not higher; nothing was changed), the attempt's state now, whether a next
-- attempt was queued, the log's last line where it is sealed, and who has the attempt. No row: there is no such attempt.
create function transition(
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

        v_retried := p_retry
            and v_job.cancel_requested_at is null
            and p_attempt = v_job.attempt
            and p_attempt < v_attempt.max_attempts;
    end if;

    if v_retried then
        -- 5 s, 20 s, 80 s, then 5 min, each up to a quarter longer so that a lost node's jobs do not return as one.
        perform queue_attempt(
            p_job, p_attempt + 1,
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

-- The least that each role needs. What is not listed here is refused by the database.
grant usage on schema public to ckrv_app, ckrv_system;

grant select (id, name, concurrency, created_at) on orgs to ckrv_app;
grant select on projects to ckrv_app;
grant select (id, org_id, project_id, name, created_at, expires_at, last_used_at, revoked_at),
    insert, update (revoked_at) on api_keys to ckrv_app;
grant select, insert, update on jobs, attempts, log_heads, artifacts to ckrv_app;
grant select (id, org_id, name, instance, capacity, classes, labels, version, beat_at, created_at, revoked_at),
    insert, update (name, revoked_at, instance) on runners to ckrv_app;
grant select, insert, update (version) on runner_feeds to ckrv_app;
grant select, insert on job_events, log_chunks, idempotency to ckrv_app;

grant select, insert, update on orgs, projects, api_keys, runners, runner_feeds, service_beats to ckrv_system;
grant select, insert, update, delete on
    jobs, attempts, job_events, log_heads, log_chunks, artifacts, idempotency, rate_limits to ckrv_system;

-- For the start-up check that the schema is the one that the server knows.
grant select on _sqlx_migrations to ckrv_app, ckrv_system;
