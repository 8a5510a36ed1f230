//! A hundred jobs at once on whatever nodes there are.

use std::time::{Duration, Instant};

use ckrv_tests::replica::submit;
use ckrv_types::JobSpec;
use kube::api::DeleteParams;
use serde_json::json;
use sqlx::PgConnection;

use crate::own::Own;
use crate::release::{Release, Wanted};

const JOBS: i64 = 100;
/// The longest that all of them may take, on a node with two processors that builds something else meanwhile.
const ALL: Duration = Duration::from_mins(9);
/// In which nothing of a job may be left behind.
const CLEAN: Duration = Duration::from_mins(1);

#[tokio::test]
async fn a_hundred_jobs_at_once_all_succeed_though_operator_and_server_are_killed_in_the_middle() {
    let values = json!({ "operator": { "replicas": 2 } });
    let mut release = Release::with(Wanted { values, ..Wanted::default() }).await;
    let mut sql = release.stack.sql().await;
    let client = release.stack.patient_client(ALL);
    let mut jobs = Vec::new();
    for number in 0..JOBS {
        let script = format!("echo line of {number}; echo {number} > work.txt");
        let command = ["sh", "-c", &script].map(str::to_owned).to_vec();
        jobs.push(submit(&client, JobSpec { command, ..JobSpec::new(release.repo.url()) }).await.id);
    }
    succeeded(&mut sql, JOBS / 5).await;
    kill_the_leader(&release).await;
    succeeded(&mut sql, JOBS / 2).await;
    release.stack.kill_server().await;
    release.stack.start_server().await;
    succeeded(&mut sql, JOBS).await;
    let all_ended = Instant::now();
    release.clean().await;
    assert!(all_ended.elapsed() < CLEAN, "it took {:?}", all_ended.elapsed());
    release.stack.holds(&jobs).await;
    assert_eq!(objects_without_rows(&release, &mut sql).await, Vec::<String>::new());
    for (number, job) in jobs.iter().enumerate().step_by(10) {
        release.stack.logs(*job).await.prints(&[&format!("line of {number}\n")]);
    }
}

/// Waits until this many jobs have succeeded. Fails when one ended otherwise.
async fn succeeded(sql: &mut PgConnection, count: i64) {
    const QUERY: &str = "select count(*) filter (where state = 'succeeded'),
        array_agg(id::text) filter (where state in ('failed', 'cancelled', 'timed_out')) from jobs";
    let mut done = 0;
    let began = Instant::now();
    while done < count {
        let (succeeded, bad): (i64, Option<Vec<String>>) =
            sqlx::query_as(QUERY).fetch_one(&mut *sql).await.expect("the database answers");
        assert_eq!(bad, None, "these did not succeed");
        assert!(began.elapsed() < ALL, "{succeeded} of {count} have succeeded");
        done = succeeded;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// As `kill -9` does: it cannot say that it leads no more.
async fn kill_the_leader(release: &Release) {
    let leader = release.leader().await;
    if let Some(own) = Own::here() {
        return own.kill_container(&release.jobs, &leader, "operator").await;
    }
    // Elsewhere there may be time for a last word.
    let at_once = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
    release.jobs.pods().delete(&leader, &at_once).await.expect("the leader's pod is there");
}

/// Objects in the store that no row tells of.
async fn objects_without_rows(release: &Release, sql: &mut PgConnection) -> Vec<String> {
    const QUERY: &str = "select object_key from artifacts where object_key is not null
        union all select archive ->> 'key' from log_heads where archive is not null";
    let rows: Vec<String> = sqlx::query_scalar(QUERY).fetch_all(sql).await.expect("the database answers");
    let mut keys = release.stack.s3.object_keys(ckrv_dev::s3::BUCKET).expect("the store's folder can be read");
    assert!(keys.len() > 100, "each job has left something: {}", keys.len());
    keys.retain(|key| !rows.contains(key));
    keys
}
