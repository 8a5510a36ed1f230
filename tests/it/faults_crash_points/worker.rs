//! The worker of a job's first attempt dies at one place: the second attempt does it, or the first had done it.

use ckrv_tests::stack::{program, restrict};
use ckrv_types::Cause;

use super::*;

pub const PLACES: &str = "worker.";

/// From here on the job is over.
const TOO_LATE: &str = "worker.after-finish";

#[tokio::test]
async fn a_worker_that_dies_anywhere_is_noticed_and_its_job_ends_well() {
    visit_all(PLACES, visit).await;
}

async fn visit(stack: &Stack, repo: &Repo, point: &str) -> Left {
    let class = class_of(point);
    let worker = dies_once(stack, point, &class);
    let runner = stack.class_runner(&class, &[("CKRV_WORKER_EXE", worker.display().to_string())]).await;
    let job = submit(&stack.client(), JobSpec { class: Some(class), ..spec(repo) }).await;
    let job = ended(stack, job).await;
    let attempts = if point == TOO_LATE { 1 } else { 2 };
    assert_eq!((job.state, job.attempt), (State::Succeeded, attempts), "{point}: {:?}", job.message);
    if let [lost, _] = &job.attempts[..] {
        assert_eq!((lost.state, lost.cause), (State::Failed, Some(Cause::WorkerLost)), "{point}");
        let message = lost.message.as_deref().unwrap_or_default();
        assert!(message.contains("SIGABRT"), "{point}: {message}");
    }
    let seen = || stack.log(&runner.log_name()).contains("Signal(6)").then_some(());
    wait_for(&format!("the runner sees the worker die at {point}"), START, async || seen()).await;
    let last = job.attempt.to_string();
    stack.says(&["logs", "--attempt", &last, &job.id.to_string()]).await.exits(0).prints(&["begun\ndone\n"]);
    (job.id, cleared_up(&runner).await)
}

/// A worker's program whose first process, and no other, dies at `point`.
fn dies_once(stack: &Stack, point: &str, class: &str) -> PathBuf {
    let path = stack.home.path().join(format!("{class}.sh"));
    let script = format!(
        "#!/bin/sh\nif mkdir '{path}.armed' 2>/dev/null; then export FAILPOINTS='{point}=return'; fi\nexec '{worker}' \"$@\"\n",
        path = path.display(),
        worker = program("ckrv-worker").display(),
    );
    std::fs::write(&path, script).expect("the script can be written");
    restrict(&path);
    make_executable(&path);
    path
}

fn make_executable(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).expect("the mode can be set");
}
