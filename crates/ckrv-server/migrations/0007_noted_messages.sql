-- What the runner said with the cause that it noted: for the user, should the attempt end with it.
alter table attempts add column noted_message text;
