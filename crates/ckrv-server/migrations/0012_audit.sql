-- The audit log as auditors read it: names as they were, and an order that nothing can be put into afterwards.

alter table audit_log
    -- Of the actor, when it acted: people leave and are renamed.
    add column actor_name text,
    -- The transaction that wrote it. Ids are made before their transactions end; by this order, and among ended transactions
    -- alone, whoever has read up to an entry misses none that comes later.
    add column xact bigint not null default pg_current_xact_id()::text::bigint;

-- Nor does who owns the table change or remove anything.
revoke update, delete, truncate on audit_log from current_user;

create index audit_log_in_order on audit_log (xact, id);
create index audit_log_by_org_in_order on audit_log (org_id, xact, id);
