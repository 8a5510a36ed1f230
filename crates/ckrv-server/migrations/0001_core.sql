-- Tenants, credentials, jobs and their attempts.
--
-- Three roles, none with BYPASSRLS: the owner runs this file and nothing else; ckrv_app sees the organization that its
-- transaction has set (`ckrv.org`), and nothing when none is set; ckrv_system sees the tables it is granted, for the few
-- modules that must see all organizations.
-- After a transaction `ckrv.org` reads '' on that connection, not NULL: hence the nullif.

create function current_org() returns uuid
    language sql stable parallel safe
    return nullif(current_setting('ckrv.org', true), '')::uuid;

-- Puts a table under row-level security: the tenant's rows for ckrv_app, all rows for ckrv_system.
create procedure tenant_table(p_table regclass)
    language plpgsql as $$
begin
    execute format('alter table %s enable row level security', p_table);
    execute format('alter table %s force row level security', p_table);
    execute format('create policy tenant on %s to ckrv_app using (org_id = current_org()) with check (org_id = current_org())', p_table);
    execute format('create policy everything on %s to ckrv_system using (true) with check (true)', p_table);
end $$;

create table orgs (
    id uuid primary key,
    name text not null unique,
    -- Attempts at once over all its jobs.
    concurrency int not null default 20 check (concurrency >= 0),
    -- When one of its attempts was last given to a runner: organizations take turns.
    admitted_at timestamptz,
    created_at timestamptz not null default now()
);
alter table orgs enable row level security;
alter table orgs force row level security;
create policy tenant on orgs to ckrv_app using (id = current_org()) with check (id = current_org());
create policy everything on orgs to ckrv_system using (true) with check (true);

create table projects (
    id uuid primary key,
    org_id uuid not null references orgs (id),
    name text not null,
    created_at timestamptz not null default now(),
    unique (org_id, id),
    unique (org_id, name)
);
call tenant_table('projects');

create table api_keys (
    id uuid primary key,
    org_id uuid not null references orgs (id),
    -- Limits the key to one project.
    project_id uuid,
    name text not null,
    -- SHA-256 of the whole token.
    token_hash bytea not null unique check (length(token_hash) = 32),
    created_at timestamptz not null default now(),
    expires_at timestamptz,
    last_used_at timestamptz,
    revoked_at timestamptz,
    unique (org_id, id),
    foreign key (org_id, project_id) references projects (org_id, id)
);
call tenant_table('api_keys');

create table runners (
    id uuid primary key,
    -- NULL: a platform runner, which serves every organization.
    org_id uuid references orgs (id),
    name text not null,
    token_hash bytea not null unique check (length(token_hash) = 32),
    -- The machine or cluster that the token is bound to.
    instance text,
    capacity int not null default 0 check (capacity >= 0),
    classes text[] not null default '{}',
    labels jsonb not null default '{}',
    version text,
    beat_at timestamptz,
    created_at timestamptz not null default now(),
    revoked_at timestamptz
);
-- The name of a revoked one is free again.
create unique index runners_by_name on runners (org_id, name) nulls not distinct where revoked_at is null;
alter table runners enable row level security;
alter table runners force row level security;
-- Platform runners are nobody's secret, but still nothing is seen where no organization is set.
create policy tenant_read on runners for select to ckrv_app
    using (org_id = current_org() or (org_id is null and current_org() is not null));
create policy tenant_insert on runners for insert to ckrv_app with check (org_id = current_org());
create policy tenant_update on runners for update to ckrv_app using (org_id = current_org()) with check (org_id = current_org());
create policy everything on runners to ckrv_system using (true) with check (true);

-- The version of each runner's list of assignments, raised in every transaction that changes the list. Apart from
-- `runners`, because a tenant's transaction must be able to raise a platform runner's version and see nothing else of it.
create table runner_feeds (
    runner_id uuid primary key references runners (id) on delete cascade,
    version bigint not null default 1
);

create table jobs (
    id uuid primary key,
    org_id uuid not null references orgs (id),
    project_id uuid not null,
    -- Who submitted it.
    key_id uuid,
    spec jsonb not null,
    -- Copied from the specification for lists.
    repo text not null,
    labels jsonb not null default '{}',
    -- The latest attempt's, kept here by transition() alone.
    attempt int not null default 1,
    state text not null default 'queued',
    rank smallint not null default 0,
    cause text,
    message text,
    retry_of uuid,
    cancel_requested_at timestamptz,
    created_at timestamptz not null default now(),
    finished_at timestamptz,
    -- ckrv_types::job::JobResult
    result jsonb,
    -- When retention removed log and artifacts.
    purged_at timestamptz,
    unique (org_id, id),
    foreign key (org_id, project_id) references projects (org_id, id),
    foreign key (org_id, key_id) references api_keys (org_id, id)
);
call tenant_table('jobs');
-- Ids sort by time: newest first is by id, for which the unique key serves.
create index jobs_by_state on jobs (org_id, state, id desc);
create index jobs_by_repo on jobs (org_id, repo, id desc);
create index jobs_by_label on jobs using gin (labels jsonb_path_ops);
create index jobs_finished on jobs (finished_at) where finished_at is not null;

create table attempts (
    job_id uuid not null,
    number int not null check (number > 0),
    org_id uuid not null,
    state text not null default 'queued',
    rank smallint not null default 0,
    cause text,
    message text,
    exit_code int,
    -- From the specification, for admission and the sweeper. Limits in seconds.
    priority int not null default 0,
    class text,
    queue_limit int not null,
    start_limit int not null,
    run_limit int not null,
    grace int not null,
    max_attempts int not null,
    runner_id uuid references runners (id),
    node text,
    queued_at timestamptz not null default now(),
    not_before timestamptz not null default now(),
    assigned_at timestamptz,
    starting_at timestamptz,
    running_at timestamptz,
    finishing_at timestamptz,
    finished_at timestamptz,
    -- The worker that holds it, from `start` on, and its last beat.
    instance text,
    beat_at timestamptz,
    usage jsonb,
    primary key (job_id, number),
    unique (org_id, job_id, number),
    foreign key (org_id, job_id) references jobs (org_id, id) on delete cascade
);
call tenant_table('attempts');
-- In the order of admission.
create index attempts_queued on attempts (org_id, priority desc, queued_at, job_id) where state = 'queued';
create index attempts_live on attempts (org_id, runner_id) where rank > 0 and rank < 100;
create index attempts_by_runner on attempts (runner_id) where rank < 100;

create table job_events (
    id bigint generated always as identity primary key,
    org_id uuid not null,
    job_id uuid not null,
    attempt int not null,
    kind text not null,
    state text not null,
    cause text,
    message text,
    at timestamptz not null default clock_timestamp(),
    foreign key (org_id, job_id) references jobs (org_id, id) on delete cascade
);
call tenant_table('job_events');
create index job_events_by_job on job_events (job_id, id);

create table idempotency (
    org_id uuid not null references orgs (id),
    principal uuid not null,
    route text not null,
    key text not null,
    -- SHA-256 of the request's body.
    request_hash bytea not null,
    -- Of the answer, which is always a 201.
    body jsonb not null,
    created_at timestamptz not null default now(),
    primary key (org_id, principal, route, key)
);
call tenant_table('idempotency');
create index idempotency_by_age on idempotency (created_at);

-- One row per bucket of the generic cell rate algorithm: the theoretical arrival time of the next request.
-- Unlogged: after a crash everybody starts with a fresh allowance.
create unlogged table rate_limits (
    bucket text primary key,
    arrives_at timestamptz not null
);

-- Heartbeats of the server's own loops, so that after an outage nobody is judged by silence that was ours.
create table service_beats (
    name text primary key,
    beat_at timestamptz not null default now(),
    -- Nobody is judged by silence before this time.
    judge_from timestamptz not null default now()
);
