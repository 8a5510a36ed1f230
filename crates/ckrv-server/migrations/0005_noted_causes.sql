-- What an attempt's runner has seen of it from outside while its worker lives on: a cause that the worker, which sees but
-- the effect, may finish with.
alter table attempts add column noted text;
