//! Components that are gone for a while and come back.

use ckrv_types::{JobId, State};

use crate::faults::{Fault, LONG};
use crate::own::Own;
use crate::release::Release;

/// A job whose agent has begun, and ends well once the gate `go` is open.
async fn begun(release: &Release) -> JobId {
    let script = format!("echo ready; {}; echo done > work.txt", release.repo.until("go"));
    let job = release.stack.submit(&release.repo.url(), &["--max-attempts", "1"], &script).await;
    release.stack.until_printed(job, "ready").await;
    job
}

/// The job goes on as if nothing had happened, and so does the next one.
async fn goes_on(release: &Release, fault: &Fault, job: JobId) {
    let next = release.stack.submit(&release.repo.url(), &["--max-attempts", "1"], "true").await;
    release.repo.open("go");
    for job in [job, next] {
        let ended = fault.ends(&release.stack, job, LONG).await;
        assert_eq!((ended.state, ended.attempt), (State::Succeeded, 1), "{ended:?}\n{}", release.story().await);
    }
    let pulled = release.stack.pull(&release.repo.repo, job).await;
    assert_eq!(pulled.file("work.txt"), "done");
    release.clean().await;
}

/// A job goes on, and a next one runs, though a component is restarted.
async fn goes_on_behind(name: &'static str, component: &str) {
    let Some(own) = Own::here() else { return };
    let release = Release::new().await;
    let job = begun(&release).await;
    let fault = Fault::begins(name);
    own.restart(component).await;
    goes_on(&release, &fault, job).await;
}

#[tokio::test]
async fn a_container_runtime_that_is_restarted_costs_no_job_anything() {
    goes_on_behind("container runtime restarted", "containerd").await;
}

#[tokio::test]
async fn an_api_server_that_is_restarted_costs_no_job_anything() {
    goes_on_behind("API server restarted", "apiserver").await;
}
