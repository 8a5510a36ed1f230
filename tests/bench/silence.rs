//! How long after its last beat a dead worker's attempt is ended: where the runner beside it lives on and sees it, and where
//! the whole machine is gone and only the lease tells.

use ckrv_tests::processes;
use ckrv_tests::repo::Repo;
use ckrv_tests::stack::{JOB, Stack};
use ckrv_tests::wait::wait_for;
use sqlx::{Connection as _, PgConnection};

use crate::stack;
use crate::statistics::percentile;

const JOBS: u32 = 20;

pub async fn measure() {
    for machine_too in [false, true] {
        let mut stack = stack(JOBS).await;
        let _repo = start_all(&stack).await;
        if machine_too {
            stack.kill_runner().await;
            processes::kill_below(&stack.runner_home());
        } else {
            let workers = processes::below(&stack.runner_home());
            workers.iter().filter(|it| it.command.contains(" supervise")).for_each(|it| processes::kill_hard(it.pid));
        }
        let mut silences = silences(&stack).await;
        println!(
            "  {}: p50 {:.1} s, p95 {:.1} s (bar: 30 s)",
            if machine_too { "the machine died" } else { "the worker died" },
            percentile(&mut silences, 0.5),
            percentile(&mut silences, 0.95)
        );
    }
}

/// Waits until all run. Their repository goes with what it returns.
async fn start_all(stack: &Stack) -> Repo {
    let repo = Repo::new();
    for _ in 0..JOBS {
        stack.ckrv(&["run", "--repo", &repo.url(), "--branch", "main", "--", "sleep", "600"]).await;
    }
    let running = "select count(*) from attempts where state = 'running'";
    wait_for("all jobs run", JOB, async || {
        let running: i64 = sqlx::query_scalar(running).fetch_one(&mut connection(stack).await).await.ok()?;
        (running == i64::from(JOBS)).then_some(())
    })
    .await;
    repo
}

/// Seconds from the last beat to the end, of each first attempt.
async fn silences(stack: &Stack) -> Vec<f64> {
    let silences = "select extract(epoch from finished_at - beat_at)::float8 from attempts where number = 1 and finished_at is not null";
    wait_for("all attempts are ended", JOB, async || {
        let silences: Vec<f64> = sqlx::query_scalar(silences).fetch_all(&mut connection(stack).await).await.ok()?;
        (silences.len() == JOBS as usize).then_some(silences)
    })
    .await
}

async fn connection(stack: &Stack) -> PgConnection {
    PgConnection::connect(stack.superuser_url().expose()).await.unwrap()
}
