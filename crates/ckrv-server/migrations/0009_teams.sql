-- Teams: who was asked to join, service accounts, what keys may, and what holds for a project's jobs.

alter table orgs add column created_by uuid references users (id);

-- Shut out of this organization; `users.suspended_at` shuts out of all.
alter table members add column suspended_at timestamptz;

-- Members that are no persons. Rows stay: jobs and the audit log name their keys.
create table service_accounts (
    id uuid primary key,
    org_id uuid not null references orgs (id),
    name text not null,
    role text not null check (role in ('owner', 'admin', 'editor', 'viewer')),
    created_at timestamptz not null default now(),
    suspended_at timestamptz,
    removed_at timestamptz,
    unique (org_id, id)
);
call tenant_table('service_accounts');
-- The name of a removed one is free again.
create unique index service_accounts_by_name on service_accounts (org_id, name) where removed_at is null;

-- A key stands for a person or a service account, and never may more than they.
alter table api_keys
    add column user_id uuid references users (id),
    add column service_account_id uuid,
    add column scopes text[] not null default '{read,run,manage}' check (scopes <@ '{read,run,manage}'),
    add column rotated_from uuid,
    add foreign key (org_id, service_account_id) references service_accounts (org_id, id),
    add foreign key (org_id, rotated_from) references api_keys (org_id, id);
-- The owner is under the policies too while they are forced, and none is for it.
alter table api_keys no force row level security;
alter table service_accounts no force row level security;
insert into service_accounts (id, org_id, name, role)
    select gen_random_uuid(), org_id, 'keys', 'owner' from api_keys group by org_id;
update api_keys k set service_account_id = s.id from service_accounts s where s.org_id = k.org_id;
alter table service_accounts force row level security;
alter table api_keys add check (num_nonnulls(user_id, service_account_id) = 1);
-- A key has one successor.
create unique index api_keys_by_rotation on api_keys (rotated_from) where rotated_from is not null;
create index api_keys_by_user on api_keys (user_id) where user_id is not null;
create index api_keys_by_service_account on api_keys (service_account_id) where service_account_id is not null;

-- The projects that a key is limited to; none: all.
create table api_key_projects (
    org_id uuid not null,
    key_id uuid not null,
    project_id uuid not null,
    primary key (key_id, project_id),
    foreign key (org_id, key_id) references api_keys (org_id, id),
    foreign key (org_id, project_id) references projects (org_id, id)
);
call tenant_table('api_key_projects');
-- `api_keys.project_id` is read by the release before, and by none after it.
alter table api_key_projects no force row level security;
insert into api_key_projects (org_id, key_id, project_id)
    select org_id, id, project_id from api_keys where project_id is not null;
alter table api_key_projects force row level security;
alter table api_keys force row level security;

create table invitations (
    id uuid primary key,
    org_id uuid not null references orgs (id),
    -- SHA-256 of the link's last part.
    token_hash bytea not null unique check (length(token_hash) = 32),
    role text not null check (role in ('owner', 'admin', 'editor', 'viewer')),
    -- For people to read.
    note text check (length(note) between 1 and 200),
    -- Who made it: it is worth no more than what they may give when it is taken. And what they were called.
    user_id uuid references users (id),
    service_account_id uuid,
    invited_by text not null,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null,
    revoked_at timestamptz,
    accepted_at timestamptz,
    accepted_by uuid references users (id),
    check (num_nonnulls(user_id, service_account_id) = 1),
    check ((accepted_at is null) = (accepted_by is null)),
    foreign key (org_id, service_account_id) references service_accounts (org_id, id)
);
call tenant_table('invitations');
create index invitations_by_org on invitations (org_id, id desc);

alter table projects
    -- ckrv_types::identity::ProjectSettings
    add column settings jsonb not null default '{}',
    add column archived_at timestamptz;

grant select, insert, update (role, suspended_at, removed_at) on service_accounts to ckrv_app;
grant select, insert on api_key_projects to ckrv_app;
grant select (user_id, service_account_id, scopes, rotated_from), update (expires_at) on api_keys to ckrv_app;
grant select (id, org_id, role, note, user_id, service_account_id, invited_by, created_at, expires_at, revoked_at, accepted_at, accepted_by),
    insert, update (revoked_at) on invitations to ckrv_app;
grant update (suspended_at) on members to ckrv_app;
grant insert, update (name, settings, archived_at) on projects to ckrv_app;
grant update (name) on orgs to ckrv_app;
grant select, insert, update on service_accounts, invitations, api_key_projects to ckrv_system;
