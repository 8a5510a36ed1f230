-- Logs as chunks of lines, and the manifest of stored objects.

-- The end of each attempt's log. Apart from `attempts`, so that appends never wait for a change of state.
create table log_heads (
    job_id uuid not null,
    attempt int not null,
    org_id uuid not null,
    -- The number that the next line must have.
    next_seq bigint not null default 1,
    -- Uncompressed bytes kept, for the job's limit.
    bytes bigint not null default 0,
    -- Lines that were counted and not kept.
    gap_first bigint,
    gap_last bigint,
    -- Set by transition() in the transaction of the attempt's end: no line is accepted afterwards.
    sealed_seq bigint,
    seal text check (seal in ('complete', 'truncated')),
    sealed_at timestamptz,
    -- Set when the sealed log lies in the object store and has been verified; the chunks are gone then.
    archive jsonb,
    archived_at timestamptz,
    primary key (job_id, attempt),
    unique (org_id, job_id, attempt),
    foreign key (org_id, job_id, attempt) references attempts (org_id, job_id, number) on delete cascade
);
call tenant_table('log_heads');
create index log_heads_to_archive on log_heads (sealed_at) where sealed_at is not null and archived_at is null;
-- What retention has to remove from the object store.
create index log_heads_archived on log_heads (job_id) where archive is not null;

create table log_chunks (
    job_id uuid not null,
    attempt int not null,
    first_seq bigint not null,
    org_id uuid not null,
    -- Lines in the frame: first_seq .. first_seq + count - 1.
    count int not null check (count > 0),
    -- Uncompressed size of the frame.
    bytes int not null,
    -- By the worker's clock, for `--since`.
    last_ts timestamptz not null,
    -- One zstd frame of NDJSON lines.
    frame bytea not null,
    primary key (job_id, attempt, first_seq),
    foreign key (org_id, job_id, attempt) references log_heads (org_id, job_id, attempt) on delete cascade
);
-- Frames are compressed already.
alter table log_chunks alter column frame set storage external;
call tenant_table('log_chunks');

create table artifacts (
    job_id uuid not null,
    attempt int not null,
    name text not null,
    org_id uuid not null,
    status text not null check (status in ('pending', 'stored', 'failed', 'skipped', 'expired')),
    size bigint not null default 0,
    sha256 text,
    content_type text not null default 'application/octet-stream',
    message text,
    -- The object's key in the bucket; NULL when nothing was to be stored.
    object_key text,
    created_at timestamptz not null default now(),
    primary key (job_id, attempt, name),
    foreign key (org_id, job_id, attempt) references attempts (org_id, job_id, number) on delete cascade
);
call tenant_table('artifacts');
