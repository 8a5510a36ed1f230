-- Signing in through those who vouch for people.

-- Whoever was signed in when it began, and wants to be known by what comes of it too.
alter table sign_ins add column user_id uuid references users (id);

-- What somebody is called there. For people to recognize it by; nobody is known by it.
alter table identities add column account text check (length(account) between 1 and 100);
create index identities_by_user on identities (user_id);

grant delete on identities to ckrv_system;
