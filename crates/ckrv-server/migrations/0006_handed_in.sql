-- Jobs that somebody made as objects in a runner's cluster, and that the runner has handed in for them.

-- Which namespaces' objects a runner may hand in, and the project that they go into; `*` stands for every namespace that
-- is not named. An organization's runners alone have rows here: the composite keys leave no room for a platform runner,
-- nor for another organization's project.
alter table runners add unique (org_id, id);
create table runner_projects (
    runner_id uuid not null,
    org_id uuid not null,
    namespace text not null,
    project_id uuid not null,
    primary key (runner_id, namespace),
    foreign key (org_id, runner_id) references runners (org_id, id) on delete cascade,
    foreign key (org_id, project_id) references projects (org_id, id)
);
call tenant_table('runner_projects');
grant select, insert, delete on runner_projects to ckrv_app;
grant select, insert on runner_projects to ckrv_system;

-- The runner that has the object, and so alone can run the job; and which object it is: ckrv_types::runner::Origin, with
-- the runner's instance.
alter table jobs
    add column handed_by uuid references runners (id),
    add column origin jsonb;
-- One object makes one job.
create unique index jobs_by_origin on jobs (org_id, (origin ->> 'instance'), (origin ->> 'uid')) where origin is not null;
create index jobs_handed_in on jobs (handed_by) where handed_by is not null;

-- Nobody else may be given the attempt.
alter table attempts add column only_runner uuid;

-- As before; an attempt of a job that was handed in is for who handed it in, and its first event says what for.
create or replace function queue_attempt(p_job uuid, p_number int, p_not_before timestamptz, p_cause text, p_message text) returns void
    language plpgsql as $$
declare
    v_job jobs;
begin
    select * into strict v_job from jobs where id = p_job;
    insert into attempts (
        job_id, number, org_id, priority, class, queue_limit, start_limit, run_limit, grace, max_attempts, not_before, only_runner
    )
    values (
        p_job, p_number, v_job.org_id,
        (v_job.spec ->> 'priority')::int,
        v_job.spec ->> 'class',
        (v_job.spec #>> '{limits,queue}')::int,
        (v_job.spec #>> '{limits,start}')::int,
        (v_job.spec #>> '{limits,run}')::int,
        (v_job.spec #>> '{limits,grace}')::int,
        (v_job.spec #>> '{retries,max_attempts}')::int,
        p_not_before,
        v_job.handed_by
    );
    insert into log_heads (job_id, attempt, org_id) values (p_job, p_number, v_job.org_id);
    perform log_event(
        v_job.org_id, p_job, p_number, case when p_number = 1 then 'state' else 'retry' end, 'queued', p_cause,
        coalesce(p_message, case when p_number = 1 then
            'handed in as ' || (v_job.origin ->> 'namespace') || '/' || (v_job.origin ->> 'name')
        end)
    );
end $$;

drop function submit_job(uuid, uuid, uuid, uuid, jsonb, text, uuid);
create function submit_job(
    p_id uuid, p_org uuid, p_project uuid, p_key uuid, p_spec jsonb, p_repo text, p_retry_of uuid,
    p_handed_by uuid default null, p_origin jsonb default null
)
    returns table (project_id uuid, created_at timestamptz)
    language plpgsql as $$
begin
    insert into jobs (id, org_id, project_id, key_id, spec, repo, labels, retry_of, handed_by, origin)
    values (
        p_id, p_org,
        coalesce(p_project, (select p.id from projects p where p.org_id = p_org order by p.created_at, p.id limit 1)),
        p_key, p_spec, p_repo, coalesce(p_spec -> 'labels', '{}'), p_retry_of, p_handed_by, p_origin
    )
    returning jobs.project_id, jobs.created_at into submit_job.project_id, submit_job.created_at;
    perform queue_attempt(p_id, 1, now(), null, null);
    return next;
end $$;
