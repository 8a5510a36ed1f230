-- Submissions are what the database is busiest with: less work for each, nothing else.

-- PostgreSQL before 18 plans a function of language sql anew at every call.
create or replace function log_event(
    p_org uuid, p_job uuid, p_attempt int, p_kind text, p_state text, p_cause text, p_message text
) returns void
    language plpgsql as $$
begin
    insert into job_events (org_id, job_id, attempt, kind, state, cause, message)
    values (p_org, p_job, p_attempt, p_kind, p_state, p_cause, left(p_message, 2000));
end $$;

-- As before, and answers what the database alone decides, so that nothing has to be read back.
drop function submit_job(uuid, uuid, uuid, uuid, jsonb, text, uuid);
create function submit_job(p_id uuid, p_org uuid, p_project uuid, p_key uuid, p_spec jsonb, p_repo text, p_retry_of uuid)
    returns table (project_id uuid, created_at timestamptz)
    language plpgsql as $$
begin
    insert into jobs (id, org_id, project_id, key_id, spec, repo, labels, retry_of)
    values (
        p_id, p_org,
        coalesce(p_project, (select p.id from projects p where p.org_id = p_org order by p.created_at, p.id limit 1)),
        p_key, p_spec, p_repo, coalesce(p_spec -> 'labels', '{}'), p_retry_of
    )
    returning jobs.project_id, jobs.created_at into submit_job.project_id, submit_job.created_at;
    perform queue_attempt(p_id, 1, now(), null, null);
    return next;
end $$;
