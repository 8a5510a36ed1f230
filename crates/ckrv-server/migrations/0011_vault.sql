-- Credentials that organizations let their jobs use, encrypted twice: each secret under its organization's data key, each data
-- key under a key that the database never has.
--
-- ckrv_app writes secrets and cannot read them back; ckrv_system reads them, for the workers of attempts. What a secret is
-- bound to (organization, credential, version, and what says where it may be sent) is authenticated with it: a row that
-- anybody else has changed cannot be opened.

create table data_keys (
    org_id uuid not null references orgs (id),
    -- New secrets are sealed by the latest.
    version int not null check (version > 0),
    -- Which key-encryption key it is sealed by, as the server's settings name it.
    kek text not null check (kek <> ''),
    sealed bytea not null,
    created_at timestamptz not null default now(),
    -- When it was last sealed by another key-encryption key.
    sealed_at timestamptz not null default now(),
    primary key (org_id, version)
);
call system_table('data_keys');
create index data_keys_by_kek on data_keys (kek);

create table credentials (
    id uuid primary key,
    org_id uuid not null references orgs (id),
    -- Limits it to the jobs of one project.
    project_id uuid,
    name text not null check (name ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'),
    kind text not null check (kind in ('git_token', 'deploy_key', 'model_key')),
    host text not null check (length(host) between 1 and 255),
    username text,
    known_hosts text,
    -- Of a deploy key's public half.
    fingerprint text,
    version int not null default 1 check (version > 0),
    data_key int not null,
    sealed bytea not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    last_used_at timestamptz,
    unique (org_id, id),
    unique (org_id, name),
    foreign key (org_id, project_id) references projects (org_id, id),
    foreign key (org_id, data_key) references data_keys (org_id, version)
);
call tenant_table('credentials');
create index credentials_by_data_key on credentials (org_id, data_key);

-- An older secret does not come back.
create function newer_secret() returns trigger
    language plpgsql as $$
begin
    if new.version < old.version or (new.version = old.version and new.data_key <= old.data_key) then
        raise 'credential %: version % (data key %) does not follow version % (data key %)',
            old.id, new.version, new.data_key, old.version, old.data_key using errcode = 'check_violation';
    end if;
    return new;
end $$;
create trigger newer_secret before update on credentials
    for each row when (new.sealed <> old.sealed or new.version <> old.version or new.data_key <> old.data_key)
    execute function newer_secret();

-- Of its organization's credentials, those that its worker was given: a use is told once.
alter table attempts add column credentials uuid[] not null default '{}';

grant select (id, org_id, project_id, name, kind, host, username, known_hosts, fingerprint, version, data_key, created_at, updated_at, last_used_at),
    insert, update (fingerprint, version, data_key, sealed, updated_at), delete on credentials to ckrv_app;
grant select, update (data_key, sealed, last_used_at), delete on credentials to ckrv_system;
grant select, insert, update (kek, sealed, sealed_at), delete on data_keys to ckrv_system;
