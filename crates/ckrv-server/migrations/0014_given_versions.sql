-- Of its organization's credentials, the version that an attempt's worker was given last, by id: each is told once. It takes the
-- place of `credentials`, which had the ids alone, so that a secret which was replaced meanwhile was given untold.
alter table attempts add column given jsonb not null default '{}';
