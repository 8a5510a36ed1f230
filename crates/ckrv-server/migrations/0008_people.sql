-- People: how they sign in, what they belong to, and what they have let act for them.
--
-- A person belongs to no organization, so most of this is ckrv_system's alone: look-ups of credentials, by hash or by
-- (issuer, subject). A tenant sees its members, and of a person no more than what colleagues need.

create procedure system_table(p_table regclass)
    language plpgsql as $$
begin
    execute format('alter table %s enable row level security', p_table);
    execute format('alter table %s force row level security', p_table);
    execute format('create policy everything on %s to ckrv_system using (true) with check (true)', p_table);
end $$;

create table users (
    id uuid primary key,
    name text not null check (length(name) between 1 and 100),
    -- For people to read. Never what somebody is known by.
    email text check (length(email) <= 254),
    created_at timestamptz not null default now(),
    suspended_at timestamptz
);
call system_table('users');

create table members (
    org_id uuid not null references orgs (id),
    user_id uuid not null references users (id),
    role text not null check (role in ('owner', 'admin', 'editor', 'viewer')),
    created_at timestamptz not null default now(),
    primary key (org_id, user_id)
);
call tenant_table('members');
create index members_by_user on members (user_id);
create policy colleague on users for select to ckrv_app using (exists (select from members m where m.user_id = id));

-- How a person is known to who vouches for them: by both, never by e-mail.
create table identities (
    -- An OIDC issuer's URL, or `github`.
    issuer text not null check (issuer <> ''),
    subject text not null check (subject <> ''),
    user_id uuid not null references users (id),
    created_at timestamptz not null default now(),
    used_at timestamptz,
    primary key (issuer, subject)
);
call system_table('identities');

create table local_accounts (
    login text primary key check (login ~ '^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$'),
    user_id uuid not null unique references users (id),
    -- Argon2id, as a PHC string.
    password_hash text not null,
    changed_at timestamptz not null default now()
);
call system_table('local_accounts');

-- A browser in which somebody has signed in.
create table web_sessions (
    id uuid primary key,
    user_id uuid not null references users (id),
    -- SHA-256 of the cookie.
    token_hash bytea not null unique check (length(token_hash) = 32),
    -- The organization that the pages are about.
    org_id uuid references orgs (id),
    address text not null,
    agent text not null,
    created_at timestamptz not null default now(),
    seen_at timestamptz not null default now(),
    expires_at timestamptz not null,
    revoked_at timestamptz
);
call system_table('web_sessions');
create index web_sessions_by_user on web_sessions (user_id);

-- A sign-in that is under way at an identity provider.
create table sign_ins (
    -- SHA-256 of `state`, which the browser's cookie has too.
    state_hash bytea primary key check (length(state_hash) = 32),
    provider text not null,
    nonce text not null,
    -- PKCE (RFC 7636).
    verifier text not null,
    return_to text not null,
    expires_at timestamptz not null
);
call system_table('sign_ins');

-- A program that somebody has let act for them: a family of refresh tokens. Whoever issues, exchanges or revokes any of them
-- locks this row first, so that nothing is issued behind a revocation.
create table logins (
    id uuid primary key,
    user_id uuid not null references users (id),
    -- Where it acts unless it says otherwise.
    org_id uuid not null references orgs (id),
    client text not null,
    scopes text[] not null,
    -- Of the device, as it told: for people to recognize it by.
    host text not null,
    address text not null,
    created_at timestamptz not null default now(),
    used_at timestamptz not null default now(),
    expires_at timestamptz not null,
    revoked_at timestamptz,
    revoked_for text check (revoked_for in ('user', 'client', 'reuse', 'code-reuse', 'admin'))
);
call system_table('logins');
create index logins_by_user on logins (user_id);

-- Each is derived from the login's id and its number, so that who asks twice gets the same one.
create table refresh_tokens (
    login_id uuid not null references logins (id) on delete cascade,
    number int not null check (number > 0),
    token_hash bytea not null unique check (length(token_hash) = 32),
    created_at timestamptz not null default now(),
    -- When it was first exchanged for the next one.
    used_at timestamptz,
    primary key (login_id, number)
);
call system_table('refresh_tokens');

-- RFC 8628. Rows stay past their end for a while: whoever asks is told the same again.
create table device_codes (
    device_hash bytea primary key check (length(device_hash) = 32),
    -- HMAC of the code without its dash: 34 bits are too few for a hash that anybody can compute.
    user_hash bytea not null unique check (length(user_hash) = 32),
    client text not null,
    scopes text[] not null,
    host text not null,
    address text not null,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null,
    -- Seconds between polls; grows by 5 with each that is too early.
    poll_interval int not null default 5,
    polled_at timestamptz,
    -- How often somebody has typed it.
    shown int not null default 0,
    state text not null default 'pending' check (state in ('pending', 'approved', 'denied', 'redeemed')),
    user_id uuid references users (id),
    org_id uuid references orgs (id),
    login_id uuid references logins (id),
    check (state = 'pending' or user_id is not null),
    check (state in ('pending', 'denied') or org_id is not null)
);
call system_table('device_codes');

-- RFC 6749, section 4.1, always with PKCE. Rows stay past their end: a late replay still revokes.
create table authorization_codes (
    code_hash bytea primary key check (length(code_hash) = 32),
    client text not null,
    redirect_uri text not null,
    -- BASE64URL(SHA-256(verifier)).
    challenge text not null,
    scopes text[] not null,
    user_id uuid not null references users (id),
    org_id uuid not null references orgs (id),
    host text not null,
    address text not null,
    expires_at timestamptz not null,
    -- Set when it is redeemed: a second time revokes that login.
    login_id uuid references logins (id)
);
call system_table('authorization_codes');

-- What access tokens are signed with. The newest that is due signs; all are published until the last token of theirs is dead.
create table signing_keys (
    -- RFC 7638 thumbprint.
    id text primary key,
    public_key bytea not null,
    -- XChaCha20-Poly1305 under a key derived from CKRV_SECRET_KEY; the id is authenticated with it.
    sealed_key bytea not null,
    created_at timestamptz not null default now(),
    signs_from timestamptz not null
);
call system_table('signing_keys');

-- Who did what. Nobody changes or removes a row: no role has the right.
create table audit_log (
    id uuid primary key,
    at timestamptz not null default now(),
    -- NULL: before anybody knew which.
    org_id uuid references orgs (id),
    actor_kind text not null check (actor_kind in ('user', 'key', 'runner', 'system', 'anonymous')),
    actor_id uuid,
    action text not null,
    -- What it was done to, as `job-…`, `lgn-…`.
    subject text,
    address text,
    detail jsonb not null default '{}'
);
call tenant_table('audit_log');
create index audit_log_by_org on audit_log (org_id, id desc);

-- The person whose program submitted the job.
alter table jobs add column user_id uuid references users (id);

drop function submit_job(uuid, uuid, uuid, uuid, jsonb, text, uuid, uuid, jsonb);
create function submit_job(
    p_id uuid, p_org uuid, p_project uuid, p_key uuid, p_spec jsonb, p_repo text, p_retry_of uuid,
    p_handed_by uuid default null, p_origin jsonb default null, p_user uuid default null
)
    returns table (project_id uuid, created_at timestamptz)
    language plpgsql as $$
begin
    insert into jobs (id, org_id, project_id, key_id, user_id, spec, repo, labels, retry_of, handed_by, origin)
    values (
        p_id, p_org,
        coalesce(p_project, (select p.id from projects p where p.org_id = p_org order by p.created_at, p.id limit 1)),
        p_key, p_user, p_spec, p_repo, coalesce(p_spec -> 'labels', '{}'), p_retry_of, p_handed_by, p_origin
    )
    returning jobs.project_id, jobs.created_at into submit_job.project_id, submit_job.created_at;
    perform queue_attempt(p_id, 1, now(), null, null);
    return next;
end $$;

grant select (id, name, email, created_at, suspended_at) on users to ckrv_app;
grant select, insert, update (role), delete on members to ckrv_app;
grant select, insert on audit_log to ckrv_app, ckrv_system;
grant select, insert, update on
    users, members, identities, local_accounts, web_sessions, logins, refresh_tokens, device_codes, authorization_codes, signing_keys
    to ckrv_system;
grant select, insert, delete on sign_ins to ckrv_system;
grant delete on
    members, local_accounts, web_sessions, logins, refresh_tokens, device_codes, authorization_codes, signing_keys
    to ckrv_system;
