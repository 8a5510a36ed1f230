-- Signing in: what is under way at a provider is sealed, and a login that has ended makes nothing that lasts.

-- Nonce, verifier and where it leads, as JSON: the link of an invitation may be in it. XChaCha20-Poly1305 under a key derived
-- from CKRV_SECRET_KEY; state_hash is authenticated with it.
alter table sign_ins
    add column sealed bytea,
    -- Written by the release before, and read by none after it.
    alter column nonce drop not null,
    alter column verifier drop not null,
    alter column return_to drop not null;

-- Anybody may have such rows made: they are found when they are over, however many there are.
create index sign_ins_by_end on sign_ins (expires_at);
create index device_codes_by_end on device_codes (expires_at);

-- Whether a login is neither revoked nor expired; nobody revokes it until the transaction's end. For what a tenant's request
-- leaves behind: ckrv_app sees no logins, since they are of people and not of organizations.
create policy of_the_owners_functions on logins to ckrv_owner using (true);
create function login_stands(p_login uuid) returns boolean
    language plpgsql security definer set search_path = public, pg_temp as $$
begin
    -- Two statements: a clock that is read in the first may be from before the lock was had.
    perform 1 from logins where id = p_login for share;
    return exists (
        select from logins where id = p_login and revoked_at is null and expires_at > clock_timestamp()
    );
end $$;
revoke execute on function login_stands from public;
grant execute on function login_stands to ckrv_app;

-- No administrator ends a login.
alter table logins
    drop constraint logins_revoked_for_check,
    add constraint logins_revoked_for_check check (revoked_for in ('user', 'client', 'reuse', 'code-reuse'));
