//! An attempt in a pod: the worker and its agent in two containers, as two users.

use std::time::{Duration, Instant};

use ckrv_client::runner::RunnerClient;
use ckrv_tests::pod::{AGENT, Pod, STRANGER, noted};
use ckrv_tests::repo::Repo;
use ckrv_tests::stack::{JOB, Options, Stack};
use ckrv_types::{Cause, Job, JobId, State};

use crate::git_host::GitHost;

/// Base64 of `bot:t0ken`.
const LOGIN: &str = "Ym90OnQwa2Vu";
const SECRETS: &str = "forge:\n  git: {host: 127.0.0.1, username: bot, token: t0ken}\n";
/// How long the kubelet and its kind may take to see what became of a container.
const SEEN: Duration = Duration::from_secs(2);

/// A control plane, a runner that the test plays, and a repository behind a login.
struct Cluster {
    stack: Stack,
    runner: RunnerClient,
    repo: Repo,
    host: GitHost,
}

impl Cluster {
    async fn start() -> Self {
        let stack = Stack::with(Options { slots: 0, ..Options::default() }).await;
        let (runner, repo) = (stack.act_as_runner().await, Repo::new());
        repo.commit(&[("tool.sh", "#!/bin/sh\necho tool\n")], "A tool");
        let host = GitHost::start(repo.path(), LOGIN).await;
        Self { stack, runner, repo, host }
    }

    /// A job with one attempt, and the pod for it.
    async fn pod(&self, options: &[&str], script: &str) -> (JobId, Pod) {
        let options = [&["--max-attempts", "1"], options].concat();
        let job = self.stack.submit(self.host.url(".git").as_str(), &options, script).await;
        let pod = Pod::of(&self.stack, &self.runner, job).await;
        pod.put("private/secrets.yaml", SECRETS);
        (job, pod)
    }

    /// The same with its orchestrator.
    async fn orchestrated(&self, options: &[&str], script: &str) -> (JobId, Pod) {
        let (job, mut pod) = self.pod(options, script).await;
        let secrets = format!("--secrets={}", pod.path("private/secrets.yaml").display());
        pod.start_orchestrator(&[&secrets]);
        (job, pod)
    }

    async fn ended(&self, job: JobId, cause: Option<Cause>) -> Job {
        let ended = self.stack.ended(job).await;
        let log = self.stack.logs(job).await;
        assert_eq!(ended.cause, cause, "{:?}\n{log}", ended.message);
        ended
    }
}

#[tokio::test]
async fn an_attempt_runs_in_two_containers_and_its_work_is_collected() {
    let on = Cluster::start().await;
    // What every kind of agent does: commits, half-done work, new modes of tracked files, files for nobody else.
    let script = "set -e; git status --porcelain; chmod +x tool.sh; touch -d 2001-01-01 README.md; ./tool.sh
        git commit --quiet --all -m 'May be run'; echo half > half.txt
        umask 077; mkdir closed; echo mine > closed/mine.txt; echo \"uid $(stat -c %u tool.sh)\"
        echo \"home $HOME says $IMAGE_SAYS $KUBERNETES_SERVICE_HOST.\"; touch \"$HOME/x\"; rm \"$(mktemp)\"
        env; set +e; cat ../../private/token ../../private/secrets.yaml; ls ../../private; true";
    let (job, mut pod) = on.orchestrated(&["--artifact", "closed/*"], script).await;
    let agent = pod.start_agent();
    let orchestrator = pod.orchestrator_ended().await;
    assert!(orchestrator.success(), "{}", pod.log("orchestrator"));
    assert_eq!(agent.ended(JOB).await, 0, "{}", pod.log("agent"));
    assert_eq!(on.ended(job, None).await.state, State::Succeeded);

    let said = format!("uid {AGENT}\nhome {} says hello .\n", pod.path("home").display());
    let log = on.stack.logs(job).await.prints(&[&said, "tool\n"]).tells(&["1 commit by the agent"]);
    assert_eq!(log.out.matches("Permission denied").count(), 3, "{log}");
    assert!(on.host.logins() > 0, "the clone needed no login");
    assert!(!log.err.contains("warning") && !log.out.contains("t0ken") && !log.out.contains("CKRV_SHIM"), "{log}");
    assert_eq!(log.out.matches("KUBERNETES").count(), 0, "{log}");
    assert!(pod.log("agent").lines().eq([format!("The agent's log is with the control plane: ckrv logs {job}")]));
    let pulled = on.stack.pull(&on.repo, job).await;
    assert_eq!((pulled.file("half.txt").as_str(), pulled.file("closed/mine.txt").as_str()), ("half", "mine"));
    let modes = ckrv_tests::repo::git(&pulled.checkout, &["ls-tree", &pulled.branch, "tool.sh"]);
    assert!(modes.starts_with("100755"), "{modes}");
    let left: Vec<_> = std::fs::read_dir(pod.path("work")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["repo"], "the clone that the agent has a copy of takes room");
    on.stack.holds(&[job]).await;
}

#[tokio::test]
async fn strangers_and_latecomers_at_the_socket_are_refused() {
    let on = Cluster::start().await;
    let (job, mut pod) = on.orchestrated(&[], "echo ready; until [ -e go ]; do sleep 0.05; done").await;
    let stranger = pod.start_shim(STRANGER, "stranger");
    assert_ne!(stranger.ended(JOB).await, 0);
    assert!(pod.log("orchestrator").contains("another user than the agent's"), "{}", pod.log("orchestrator"));
    let agent = pod.start_agent();
    on.stack.until_printed(job, "ready").await;
    let latecomer = pod.start_shim(AGENT, "latecomer");
    assert_ne!(latecomer.ended(JOB).await, 0);
    assert!(
        pod.log("orchestrator").contains("came to the shim's socket after the shim"),
        "{}",
        pod.log("orchestrator")
    );
    std::fs::write(pod.work_tree().join("go"), "").unwrap();
    assert!(pod.orchestrator_ended().await.success());
    assert_eq!(agent.ended(JOB).await, 0);
    on.ended(job, None).await;
}

#[tokio::test]
async fn a_shim_whose_orchestrator_dies_stops_the_agent_and_fails() {
    let on = Cluster::start().await;
    let script = "trap 'echo stopped > stopped; exit 0' TERM; echo ready; while :; do sleep 0.05; done";
    let (job, mut pod) = on.orchestrated(&[], script).await;
    let agent = pod.start_agent();
    on.stack.until_printed(job, "ready").await;
    pod.kill_orchestrator().await;
    assert_eq!(agent.ended(JOB).await, 1);
    assert_eq!(std::fs::read_to_string(pod.work_tree().join("stopped")).unwrap(), "stopped\n");
    // One that comes when there is nobody any more does not wait long.
    let began = Instant::now();
    assert_eq!(pod.start_agent().ended(JOB).await, 1);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[tokio::test]
async fn an_agents_container_that_is_gone_ends_the_attempt_with_the_work_so_far() {
    let on = Cluster::start().await;
    let (job, mut pod) = on.orchestrated(&[], "echo so far > work.txt; echo ready; sleep 600").await;
    let agent = pod.start_agent();
    on.stack.until_printed(job, "ready").await;
    let began = Instant::now();
    agent.kill().await;
    let ended = on.ended(job, Some(Cause::WorkerLost)).await;
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert!(ended.message.unwrap().contains("shim was lost"));
    assert!(pod.orchestrator_ended().await.success(), "{}", pod.log("orchestrator"));
    assert_eq!(on.stack.pull(&on.repo, job).await.file("work.txt"), "so far");
}

#[tokio::test]
async fn what_the_runner_saw_of_a_lost_container_is_the_cause() {
    let on = Cluster::start().await;
    for is_noted_first in [true, false] {
        let (job, mut pod) = on.orchestrated(&[], "echo so far > work.txt; echo ready; sleep 600").await;
        let agent = pod.start_agent();
        on.stack.until_printed(job, "ready").await;
        let note = noted(pod.attempt, Cause::AgentOom);
        if is_noted_first {
            assert_eq!(on.runner.observations(&note).await.unwrap().applied, [true]);
        }
        agent.kill().await;
        if !is_noted_first {
            tokio::time::sleep(SEEN).await;
            assert_eq!(on.runner.observations(&note).await.unwrap().applied, [true]);
        }
        let ended = on.ended(job, Some(Cause::AgentOom)).await;
        assert_eq!(ended.message.as_deref(), Some("noted by a test: agent:oom"));
        assert!(pod.orchestrator_ended().await.success(), "{}", pod.log("orchestrator"));
        assert_eq!(on.stack.pull(&on.repo, job).await.file("work.txt"), "so far");
    }
}

#[tokio::test]
async fn a_pod_that_is_taken_away_is_evicted_whichever_container_hears_of_it_first() {
    let on = Cluster::start().await;
    let commit = "echo one > one.txt; git add -A; git commit --quiet -m One";
    // Ends at once when told, before the other container may have heard of it.
    let script =
        format!("{commit}; echo half > half.txt; trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done");
    for is_agent_first in [true, false] {
        let (job, mut pod) = on.orchestrated(&[], &script).await;
        let agent = pod.start_agent();
        on.stack.until_printed(job, "ready").await;
        if is_agent_first {
            agent.terminate().await;
        } else {
            pod.terminate_orchestrator();
        }
        assert!(pod.orchestrator_ended().await.success(), "{}", pod.log("orchestrator"));
        assert_eq!(agent.ended(JOB).await, 0, "{}", pod.log("agent"));
        on.ended(job, Some(Cause::Evicted)).await;
        let pulled = on.stack.pull(&on.repo, job).await;
        assert_eq!((pulled.file("one.txt").as_str(), pulled.file("half.txt").as_str()), ("one", "half"));
    }
}

#[tokio::test]
async fn a_shim_that_is_told_to_end_before_there_is_an_agent_ends_at_once() {
    let on = Cluster::start().await;
    let (_job, pod) = on.pod(&[], "true").await;
    let agent = pod.start_agent();
    // It waits for a socket that does not come.
    agent.terminate().await;
    assert_eq!(agent.ended(Duration::from_secs(10)).await, 1);
    assert!(pod.log("agent").contains("told to end"), "{}", pod.log("agent"));
}

#[tokio::test]
async fn a_repository_that_cannot_be_had_is_told_without_waiting_for_the_agents_container() {
    let on = Cluster::start().await;
    let (job, mut pod) = on.orchestrated(&["--branch", "missing"], "true").await;
    assert!(pod.orchestrator_ended().await.success(), "{}", pod.log("orchestrator"));
    on.ended(job, Some(Cause::BranchMissing)).await;
    assert_ne!(pod.start_agent().ended(JOB).await, 0);
}

#[tokio::test]
async fn an_agents_container_that_does_not_come_is_the_start_limits_business() {
    let on = Cluster::start().await;
    let (job, mut pod) = on.orchestrated(&["--start-limit", "3s"], "true").await;
    assert!(pod.orchestrator_ended().await.success(), "{}", pod.log("orchestrator"));
    let ended = on.ended(job, Some(Cause::StartLimit)).await;
    assert_eq!(ended.message.unwrap(), "the agent's container did not start within the start limit of 3 s");
}

#[tokio::test]
async fn a_work_tree_over_its_quota_is_told_before_the_volume_is_full() {
    let on = Cluster::start().await;
    let (job, mut pod) = on.pod(&[], "head -c 8000000 /dev/zero > big; echo ready; sleep 600").await;
    let secrets = format!("--secrets={}", pod.path("private/secrets.yaml").display());
    pod.start_orchestrator(&[&secrets, "--disk-quota=4000000"]);
    let agent = pod.start_agent();
    assert!(pod.orchestrator_ended().await.success(), "{}", pod.log("orchestrator"));
    assert_eq!(agent.ended(JOB).await, 0, "{}", pod.log("agent"));
    on.ended(job, Some(Cause::AgentDisk)).await;
}
