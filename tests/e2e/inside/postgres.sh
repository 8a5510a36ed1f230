# A PostgreSQL in /data with the three roles of docs/configuration.md, "The database's roles", and the database `ckrv`.
set -eu
PATH=/usr/lib/postgresql/bin:$PATH
initdb --pgdata /data/cluster --username postgres --auth-local trust --auth-host scram-sha-256 >/dev/null
echo 'host all all all scram-sha-256' >>/data/cluster/pg_hba.conf
pg_ctl --pgdata /data/cluster --options "-c listen_addresses= -k /tmp" --wait --log /dev/null start
psql --quiet --host /tmp --username postgres --set ON_ERROR_STOP=1 --set password="$PASSWORD" <<'SQL'
create role ckrv_owner login password :'password';
create role ckrv_app login password :'password';
create role ckrv_system login password :'password';
create database ckrv owner ckrv_owner;
\c ckrv
alter schema public owner to ckrv_owner;
revoke all on database ckrv from public;
revoke all on schema public from public;
grant connect on database ckrv to ckrv_app, ckrv_system;
SQL
pg_ctl --pgdata /data/cluster --wait stop >/dev/null
exec postgres -D /data/cluster -c listen_addresses='*' -k /tmp
