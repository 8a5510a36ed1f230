//! Tenants are kept apart: by the database whatever the server asks, and by the API as if the others were not there.

use std::collections::BTreeMap;
use std::time::Duration;

use ckrv_server::db::Db;
use ckrv_server::db::selfcheck::{self, Refusal};
use ckrv_tests::acting::refused;
use ckrv_tests::replica::{Installation, Loops, spec, submit};
use ckrv_tests::wait::wait_for;
use ckrv_types::identity::{CreateKey, CreateRunner, WhoAmI};
use ckrv_types::job::SubmitJob;
use ckrv_types::{JobId, KeyId, ProblemCode, ProjectId, RunnerId};
use futures::TryStreamExt as _;
use sqlx::{AssertSqlSafe, PgConnection};

/// Every table that says whose its rows are, that the application's role may read.
async fn tenant_tables(sql: &mut PgConnection) -> Vec<String> {
    sqlx::query_scalar(
        "select c.relname::text from pg_class c
         where c.relnamespace = 'public'::regnamespace and c.relkind = 'r'
           and has_any_column_privilege('ckrv_app', c.oid, 'select')
           and exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'org_id' and not a.attisdropped)
         order by 1",
    )
    .fetch_all(sql)
    .await
    .unwrap()
}

async fn orgs_in(app: &mut PgConnection, table: &str) -> Vec<Option<sqlx::types::Uuid>> {
    sqlx::query_scalar(AssertSqlSafe(format!("select distinct org_id from {table}"))).fetch_all(app).await.unwrap()
}

#[tokio::test]
async fn raw_sql_of_the_application_sees_its_own_organization_and_nothing_when_none_is_set() {
    let on = Installation::new(Loops::Off).await;
    let other = on.organization("other").await;
    for client in [on.client(), on.replica.client(&other.api_key)] {
        let job = submit(&client, spec()).await;
        let WhoAmI { org, project, .. } = client.whoami().await.unwrap();
        let allow = BTreeMap::from([("*".to_owned(), project)]);
        client.create_runner(&CreateRunner { name: "r".into(), allow }).await.unwrap();
        let mut sql = on.sql().await;
        for statement in [
            "insert into artifacts (job_id, attempt, name, org_id, status) select id, 1, 'a', org_id, 'pending' from jobs where id = $1",
            "insert into log_chunks (job_id, attempt, first_seq, org_id, count, bytes, last_ts, frame) select id, 1, 1, org_id, 1, 1, now(), '' from jobs where id = $1",
        ] {
            sqlx::query(statement).bind(job.id.uuid()).execute(&mut sql).await.unwrap();
        }
        for statement in [
            "with u as (insert into users (id, name) values (gen_random_uuid(), 'somebody') returning id)
             insert into members (org_id, user_id, role) select $1, id, 'owner' from u",
            "insert into org_limits (org_id) values ($1)",
            "insert into audit_log (id, org_id, actor_kind, action) values (gen_random_uuid(), $1, 'system', 'test')",
            "insert into invitations (id, org_id, token_hash, role, service_account_id, invited_by, expires_at)
             select gen_random_uuid(), $1, sha256($1::text::bytea), 'viewer', id, 'somebody', now()
             from service_accounts where org_id = $1 limit 1",
            "insert into api_key_projects (org_id, key_id, project_id)
             select $1, k.id, p.id from api_keys k, projects p where k.org_id = $1 and p.org_id = $1",
            "insert into data_keys (org_id, version, kek, sealed) values ($1, 1, 'k', '')",
            "insert into credentials (id, org_id, name, kind, host, data_key, sealed)
             values (gen_random_uuid(), $1, 'c', 'model_key', 'anthropic', 1, '')",
        ] {
            sqlx::query(statement).bind(org.uuid()).execute(&mut sql).await.unwrap();
        }
    }
    let tables = tenant_tables(&mut on.sql().await).await;
    assert!(tables.len() >= 10, "{tables:?}");
    let mut app = on.sql_as_app().await;
    for table in &tables {
        assert_eq!(orgs_in(&mut app, table).await, [], "{table} with no organization set");
        for org in [on.keys().org, other.org] {
            sqlx::query("begin").execute(&mut app).await.unwrap();
            sqlx::query("select set_config('ckrv.org', $1, true)")
                .bind(org.uuid().to_string())
                .execute(&mut app)
                .await
                .unwrap();
            assert_eq!(orgs_in(&mut app, table).await, [Some(org.uuid())], "{table}");
            sqlx::query("commit").execute(&mut app).await.unwrap();
            assert_eq!(orgs_in(&mut app, table).await, [], "{table} after the transaction");
        }
    }
}

#[tokio::test]
async fn raw_sql_of_the_application_cannot_write_for_another_organization() {
    let on = Installation::new(Loops::Off).await;
    let other = on.organization("other").await;
    let foreign = submit(&on.replica.client(&other.api_key), spec()).await.id;
    let mut tx = on.state().db.tenant(on.keys().org).await.unwrap();
    let changed =
        sqlx::query("update jobs set message = 'x' where id = $1").bind(foreign.uuid()).execute(&mut *tx).await;
    assert_eq!(changed.unwrap().rows_affected(), 0);
    for (statement, org) in [
        ("insert into projects (id, org_id, name) values (gen_random_uuid(), $1, 'x')", other.org),
        (
            "insert into api_keys (id, org_id, name, token_hash) values (gen_random_uuid(), $1, 'x', sha256('x'))",
            other.org,
        ),
        (
            "insert into runners (id, name, token_hash) select gen_random_uuid(), 'x', sha256('x') where $1::uuid is not null",
            other.org,
        ),
        (
            "insert into audit_log (id, org_id, actor_kind, action) values (gen_random_uuid(), $1, 'system', 'x')",
            other.org,
        ),
        ("insert into members (org_id, user_id, role) values ($1, gen_random_uuid(), 'owner')", other.org),
        (
            "insert into job_events (org_id, job_id, attempt, kind, state) values ($1, gen_random_uuid(), 1, 'note', 'queued')",
            other.org,
        ),
    ] {
        let mut tx = on.state().db.tenant(on.keys().org).await.unwrap();
        let refused = sqlx::query(statement).bind(org.uuid()).execute(&mut *tx).await;
        let code = refused.unwrap_err().as_database_error().unwrap().code().unwrap().into_owned();
        assert_eq!(code, "42501", "{statement}");
    }
    // A child of a foreign row under the own organization's name: the composite key refuses it.
    let mut tx = on.state().db.tenant(on.keys().org).await.unwrap();
    let stolen =
        sqlx::query("insert into artifacts (job_id, attempt, name, org_id, status) values ($1, 1, 'a', $2, 'pending')")
            .bind(foreign.uuid())
            .bind(on.keys().org.uuid())
            .execute(&mut *tx)
            .await;
    assert!(stolen.unwrap_err().as_database_error().unwrap().is_foreign_key_violation());
}

#[tokio::test]
async fn what_is_another_organizations_is_not_there() {
    let on = Installation::new(Loops::Off).await;
    let other = on.organization("other").await;
    let theirs = on.replica.client(&other.api_key);
    let job = submit(&theirs, spec()).await.id;
    let key = theirs.create_key(&CreateKey { name: "k".into(), ..CreateKey::default() }).await.unwrap();
    let runner = theirs.create_runner(&CreateRunner { name: "r".into(), allow: BTreeMap::new() }).await.unwrap();
    let ours = on.client();
    for (job, key, runner) in [(job, key.item.id, runner.item.id), (JobId::new(), KeyId::new(), RunnerId::new())] {
        assert_eq!(refused(ours.job(job).await), ProblemCode::NotFound);
        assert_eq!(refused(ours.cancel(job).await), ProblemCode::NotFound);
        assert_eq!(refused(ours.retry(job).await), ProblemCode::NotFound);
        assert_eq!(refused(ours.explain(job).await), ProblemCode::NotFound);
        assert_eq!(refused(ours.artifacts(job).await), ProblemCode::NotFound);
        let events = ours.events(job, Duration::from_secs(1)).try_collect::<Vec<_>>().await;
        assert_eq!(refused(events), ProblemCode::NotFound);
        assert_eq!(refused(ours.revoke_key(key).await), ProblemCode::NotFound);
        assert_eq!(refused(ours.revoke_runner(runner).await), ProblemCode::NotFound);
    }
    assert!(ours.jobs(&ckrv_client::ListJobs::default()).await.unwrap().items.is_empty());
    assert!(ours.keys().await.unwrap().items.iter().all(|shown| shown.id != key.item.id));
    assert!(ours.runners().await.unwrap().items.iter().all(|shown| shown.id != runner.item.id));
    assert_eq!(theirs.job(job).await.unwrap().id, job);
}

#[tokio::test]
async fn a_key_of_one_project_sees_nothing_of_another_and_manages_nothing() {
    let on = Installation::new(Loops::Off).await;
    let second = ProjectId::new();
    let mut sql = on.sql().await;
    sqlx::query("insert into projects (id, org_id, name) values ($1, $2, 'second')")
        .bind(second.uuid())
        .bind(on.keys().org.uuid())
        .execute(&mut sql)
        .await
        .unwrap();
    let whole = on.client();
    let made = whole
        .create_key(&CreateKey {
            name: "narrow".into(),
            projects: vec![second],
            expires_in_days: Some(1),
            ..CreateKey::default()
        })
        .await
        .unwrap();
    let narrow = on.replica.client(&ckrv_types::Secret::new(made.token));
    assert_eq!(narrow.whoami().await.unwrap().project, second);

    let first_job = submit(&whole, spec()).await;
    assert_eq!(first_job.project, on.keys().project, "the organization's first project is where jobs go");
    let own_job = submit(&narrow, spec()).await;
    assert_eq!(own_job.project, second);
    for answer in [
        narrow.job(first_job.id).await.map(drop),
        narrow.cancel(first_job.id).await.map(drop),
        narrow.explain(first_job.id).await.map(drop),
    ] {
        assert_eq!(refused(answer), ProblemCode::NotFound);
    }
    let listed = narrow.jobs(&ckrv_client::ListJobs::default()).await.unwrap().items;
    assert_eq!(listed.iter().map(|job| job.id).collect::<Vec<_>>(), [own_job.id]);
    let elsewhere = SubmitJob { spec: spec(), project: Some(on.keys().project) };
    assert_eq!(refused(narrow.submit(&elsewhere).await), ProblemCode::Invalid);
    assert_eq!(refused(narrow.keys().await), ProblemCode::Forbidden);
    assert_eq!(
        refused(narrow.create_runner(&CreateRunner { name: "r".into(), allow: BTreeMap::new() }).await),
        ProblemCode::Forbidden
    );
}

#[tokio::test]
async fn a_revoked_or_expired_key_is_refused_here_at_once_and_on_other_replicas_within_a_minute() {
    let on = Installation::new(Loops::Off).await;
    let other = on.another_replica(Loops::Off).await;
    let made = on
        .client()
        .create_key(&CreateKey { name: "short".into(), expires_in_days: Some(1), ..CreateKey::default() })
        .await
        .unwrap();
    let token = ckrv_types::Secret::new(made.token);
    let (here, there) = (on.replica.client(&token), other.client(&token));
    here.whoami().await.unwrap();
    there.whoami().await.unwrap();
    on.client().revoke_key(made.item.id).await.unwrap();
    assert_eq!(refused(here.whoami().await), ProblemCode::Unauthenticated);
    wait_for("the other replica refuses it", Duration::from_secs(15), async || {
        there
            .whoami()
            .await
            .is_err_and(|error| error.problem_code() == Some(ProblemCode::Unauthenticated))
            .then_some(())
    })
    .await;

    let expired = on
        .client()
        .create_key(&CreateKey { name: "expired".into(), expires_in_days: Some(1), ..CreateKey::default() })
        .await
        .unwrap();
    let mut sql = on.sql().await;
    sqlx::query("update api_keys set expires_at = now() - interval '1 second' where id = $1")
        .bind(expired.item.id.uuid())
        .execute(&mut sql)
        .await
        .unwrap();
    let client = on.replica.client(&ckrv_types::Secret::new(expired.token));
    assert_eq!(refused(client.whoami().await), ProblemCode::Unauthenticated);
}

#[tokio::test]
async fn tokens_open_only_their_own_doors() {
    let on = Installation::new(Loops::Off).await;
    let wrong_door = on.replica.client(&on.keys().runner_token);
    assert_eq!(refused(wrong_door.whoami().await), ProblemCode::Unauthenticated);
    let answer = reqwest::get(on.replica.url().join("/v1/whoami").unwrap()).await.unwrap();
    assert_eq!(answer.status(), 401);
    assert_eq!(answer.headers()["www-authenticate"], "Bearer");
    let mut mistyped = on.keys().api_key.expose().to_owned();
    mistyped.replace_range(40..41, if &mistyped[40..41] == "0" { "1" } else { "0" });
    let mistyped = on.replica.client(&ckrv_types::Secret::new(mistyped));
    assert_eq!(refused(mistyped.whoami().await), ProblemCode::Unauthenticated);
}

#[tokio::test]
async fn the_server_refuses_to_start_where_tenants_would_not_be_kept_apart() {
    let on = Installation::new(Loops::Off).await;
    let urls = on.urls();
    let check = async |app: &ckrv_types::Secret, system: &ckrv_types::Secret| {
        let config = ckrv_server::config::DatabaseConfig {
            database_url: app.clone(),
            system_database_url: system.clone(),
            database_connections: 2,
        };
        selfcheck::check(&Db::new(&config).unwrap()).await
    };
    check(&urls.app, &urls.system).await.unwrap();
    assert!(matches!(check(&urls.system, &urls.system).await, Err(Refusal::Role { .. })));
    assert!(matches!(check(&urls.app, &urls.app).await, Err(Refusal::Role { .. })));
    assert!(matches!(check(&urls.owner, &urls.system).await, Err(Refusal::Owner(_))));
    assert!(matches!(check(on.superuser_url(), &urls.system).await, Err(Refusal::Privileged(_))));

    let mut sql = on.sql().await;
    sqlx::query("alter table jobs no force row level security").execute(&mut sql).await.unwrap();
    assert!(matches!(check(&urls.app, &urls.system).await, Err(Refusal::Unprotected(table)) if table == "jobs"));
    sqlx::query("alter table jobs force row level security").execute(&mut sql).await.unwrap();

    submit(&on.client(), spec()).await;
    sqlx::query("create policy open on jobs to ckrv_app using (true)").execute(&mut sql).await.unwrap();
    assert!(matches!(check(&urls.app, &urls.system).await, Err(Refusal::Leaking(table)) if table == "jobs"));
    sqlx::query("drop policy open on jobs").execute(&mut sql).await.unwrap();

    sqlx::query("delete from _sqlx_migrations where version = 3").execute(&mut sql).await.unwrap();
    assert!(matches!(check(&urls.app, &urls.system).await, Err(Refusal::Behind { needed: 3, .. })));
}

/// The modules that may see every organization. The list may only shrink.
const SEES_ALL: [&str; 16] = [
    // What the operator does and sees: `admin.rs` and `admin/`.
    "admin",
    "admission",
    "auth/look_up.rs",
    "auth/runner.rs",
    "db/live.rs",
    // Buckets are of callers, addresses and codes.
    "db/rate_limits.rs",
    "db/selfcheck.rs",
    "logs/archive",
    // Counts the pool's connections.
    "metrics",
    "oauth",
    "pages",
    "retention.rs",
    "runner_api",
    "sweeper",
    // People join an organization, or make one, before they belong to it.
    "teams",
    // Reads secrets, which no tenant may, for one organization that a worker's token names; seals anew for all.
    "vault",
];

#[test]
fn only_the_named_modules_see_all_organizations() {
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/ckrv-server/src");
    let mut folders = vec![source.clone()];
    let mut found = std::collections::BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(&source).unwrap().to_str().unwrap().to_owned();
            if std::fs::read_to_string(&path).unwrap().contains("db.system") {
                found.insert(name);
            }
        }
    }
    let named = |name: &String| SEES_ALL.iter().any(|allowed| name.starts_with(allowed));
    let others: Vec<_> = found.iter().filter(|name| !named(name)).collect();
    assert!(others.is_empty(), "{others:?} see every organization's rows");
    let unused: Vec<_> =
        SEES_ALL.iter().filter(|allowed| !found.iter().any(|name| name.starts_with(**allowed))).collect();
    assert!(unused.is_empty(), "{unused:?} need not be on the list any more");
}
