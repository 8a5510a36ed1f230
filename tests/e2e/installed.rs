//! The chart as an admin installs it, and jobs as developers run them on it.

use ckrv_types::State;

use crate::release::Release;

#[tokio::test]
async fn a_job_from_the_terminal_runs_in_a_pod_of_its_own_and_comes_back() {
    let release = Release::new().await;
    let said = release.runs(&[], "echo working as $(id -un); echo done > work.txt").await;
    let job = said.job();
    assert_eq!(said.code, Some(0), "{said}\n{}", release.story().await);
    release.stack.logs(job).await.prints(&["working as agent\n"]);
    assert_eq!(release.stack.status(job).await.state, State::Succeeded);
    let pulled = release.stack.pull(&release.repo.repo, job).await;
    assert_eq!(pulled.file("work.txt"), "done");
    release.clean().await;
}
