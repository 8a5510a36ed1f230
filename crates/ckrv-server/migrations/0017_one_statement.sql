-- A new job is inserted with all that belongs to it by one statement of the server's own (`db/jobs.rs`), a third of the work of
-- functions that call each other. What remains for the database to decide is what takes a lock first.

-- Counts one more job of an organization that has a limit, before it is inserted. Why it may not be accepted, else NULL:
-- {quota, used, limit, resets_at} as in ckrv_types::quota::QuotaLimit. Whoever is refused has to roll back.
create function count_limited_job(p_org uuid) returns jsonb
    language plpgsql as $$
declare
    v_month constant date := usage_month(now());
    v_quota org_quotas;
    v_jobs bigint;
    v_minutes bigint;
    v_open bigint;
begin
    perform add_usage(p_org, v_month, true, 1, 0);

    -- From here on no other job of the organization is being accepted: what is counted below is all there is, and this one.
    select * into strict v_quota from org_quotas q where q.org_id = p_org;
    select sum(u.jobs) - 1, floor(sum(u.seconds) / 60) into v_jobs, v_minutes
    from usage_months u where u.org_id = p_org and u.month = v_month;
    if v_jobs >= v_quota.jobs_per_month then
        return jsonb_build_object(
            'quota', 'jobs_per_month', 'used', v_jobs, 'limit', v_quota.jobs_per_month, 'resets_at', usage_month_end(v_month)
        );
    end if;
    if v_minutes >= v_quota.minutes_per_month then
        return jsonb_build_object(
            'quota', 'minutes_per_month', 'used', v_minutes, 'limit', v_quota.minutes_per_month, 'resets_at', usage_month_end(v_month)
        );
    end if;
    if v_quota.open_jobs is not null then
        v_open := open_jobs(p_org);
        if v_open >= v_quota.open_jobs then
            return jsonb_build_object('quota', 'open_jobs', 'used', v_open, 'limit', v_quota.open_jobs);
        end if;
    end if;
    return null;
end $$;

-- The part of a month's sum that those of an organization without a limit add to, by their connection.
create function usage_part() returns smallint
    language sql stable parallel restricted
    return (1 + pg_backend_pid() % 31)::smallint;

create or replace function add_usage(p_org uuid, p_month date, p_limited boolean, p_jobs bigint, p_seconds bigint) returns void
    language plpgsql as $$
declare
    v_part constant smallint := case when p_limited then 0 else usage_part() end;
begin
    update usage_months u set jobs = u.jobs + p_jobs, seconds = u.seconds + p_seconds
    where u.org_id = p_org and u.month = p_month and u.part = v_part;
    if not found then
        insert into usage_months as u (org_id, month, part, jobs, seconds) values (p_org, p_month, v_part, p_jobs, p_seconds)
        on conflict (org_id, month, part) do update set jobs = u.jobs + excluded.jobs, seconds = u.seconds + excluded.seconds;
    end if;
end $$;

-- Keys are revoked and never deleted: whether one is still there need not be looked up at every job.
alter table jobs drop constraint jobs_org_id_key_id_fkey;

-- The release before calls accept_job; this one is called by nobody any more.
drop function submit_job(uuid, uuid, uuid, uuid, jsonb, text, uuid, uuid, jsonb, uuid);
