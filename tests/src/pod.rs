//! A pod without a cluster: the worker's two halves as two users who share a group and a few folders, laid out as the
//! kubelet does it for an `fsGroup`, the agent's in a process namespace of its own. The test is their runner.
//!
//! It takes root, to become others.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use ckrv_client::ClientConfig;
use ckrv_client::runner::RunnerClient;
use ckrv_types::runner::{Assignment, Observation, Observations, Phase, Register, RunnerHeartbeat};
use ckrv_types::{AttemptId, Cause, JobId};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Gid, Pid, Uid, chown};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::acting::assignment_of;
use crate::processes;
use crate::replica::{MACHINE, beat, offer};
use crate::stack::{JOB, Stack, program};
use crate::wait::wait_for;

const ORCHESTRATOR: u32 = 64_001;
pub const AGENT: u32 = 64_002;
/// One more user of the group.
pub const STRANGER: u32 = 64_003;
const GROUP: u32 = 64_000;
/// As the kubelet makes an emptyDir that a group shares.
const EMPTY_DIR: u32 = 0o2777;
/// What images usually have.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl Stack {
    /// The stack's runner, played by the test.
    pub async fn act_as_runner(&self) -> RunnerClient {
        let server = self.server_url().parse().expect("an address is a URL");
        let config = ClientConfig::new(server, self.keys.runner_token.clone(), "ckrv-tests");
        let runner = RunnerClient::new(config).expect("the configuration is good");
        let register = Register { instance: MACHINE.to_owned(), offer: offer(4, &[]) };
        runner.register(&register).await.expect("the runner can register");
        runner
    }
}

/// What the runner saw from outside of an attempt that goes on.
pub fn noted(attempt: AttemptId, cause: Cause) -> Observations {
    let message = Some(format!("noted by a test: {cause}"));
    let item =
        Observation { attempt, phase: Phase::Launched, cause: Some(cause), exit_code: None, message, node: None };
    Observations { instance: MACHINE.to_owned(), items: vec![item] }
}

/// One pod. All that runs in it ends when it is dropped.
pub struct Pod {
    folder: TempDir,
    server: String,
    pub attempt: AttemptId,
    orchestrator: Option<Child>,
}

impl Pod {
    /// The pod for the job's attempt, once it is assigned to `runner`. Nothing runs yet.
    pub async fn of(stack: &Stack, runner: &RunnerClient, job: JobId) -> Self {
        // Without a beat there is no living runner.
        runner.heartbeat(&RunnerHeartbeat { ..beat(4) }).await.expect("the runner can beat");
        let Assignment { attempt, bootstrap_token, .. } = assignment_of(runner, job).await;
        let folder = TempDir::with_prefix("ckrv-test-pod-").expect("a temporary folder");
        set_mode(folder.path(), 0o755);
        let pod = Self { folder, server: stack.server_url(), attempt, orchestrator: None };
        for (name, owner) in [("work", 0), ("socket", 0), ("private", 0), ("bin", 0), ("home", AGENT)] {
            std::fs::create_dir(pod.path(name)).expect("the folder can be made");
            give(&pod.path(name), owner, EMPTY_DIR);
        }
        // Only the orchestrator's container has this volume.
        give(&pod.path("private"), ORCHESTRATOR, 0o700);
        pod.put("private/token", bootstrap_token.0.expose());
        let install = Command::new(program("ckrv-worker")).arg("install").arg(pod.program()).status().await;
        assert!(install.expect("the worker runs").success());
        pod
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn program(&self) -> PathBuf {
        self.path("bin/ckrv-worker")
    }

    /// A file as a Secret's are mounted.
    pub fn put(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("the file can be written");
        give(&self.path(name), 0, 0o440);
    }

    /// Where the agent works.
    pub fn work_tree(&self) -> PathBuf {
        self.path("work/repo")
    }

    pub fn start_orchestrator(&mut self, arguments: &[&str]) {
        let mut command = as_user(ORCHESTRATOR);
        command
            .arg(self.program())
            .args(["supervise", "--server", &self.server, "--allow-local-repos", "--node", "node-1"])
            .args(["--shim-uid", &AGENT.to_string()])
            .args([&format!("--token-file={}", self.path("private/token").display())])
            .args([&format!("--private={}", self.path("private/of-the-worker").display())])
            .args([&format!("--work={}", self.path("work").display())])
            .args([&format!("--shim-socket={}", self.socket().display())])
            .args(arguments)
            .envs([("PATH", PATH), ("HOME", "/nonexistent")]);
        self.orchestrator = Some(self.spawn(command, "orchestrator"));
    }

    /// The agent's container.
    pub fn start_agent(&self) -> AgentContainer {
        self.start_shim(AGENT, "agent")
    }

    /// A shim as any user. Its log has this name.
    pub fn start_shim(&self, uid: u32, name: &str) -> AgentContainer {
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--mount-proc", "--kill-child=KILL"]).args(of_user(uid));
        command.arg(self.program()).arg("shim").arg("--socket").arg(self.socket());
        command.env_clear().envs([("PATH", PATH), ("IMAGE_SAYS", "hello"), ("KUBERNETES_SERVICE_HOST", "10.0.0.1")]);
        command.env("HOME", self.path("home"));
        AgentContainer(self.spawn(command, name))
    }

    pub fn socket(&self) -> PathBuf {
        self.path("socket/shim.sock")
    }

    /// What a container has printed.
    pub fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(&format!("{name}.log"))).unwrap_or_default()
    }

    pub fn terminate_orchestrator(&self) {
        let id = self.orchestrator.as_ref().and_then(Child::id).expect("the orchestrator runs");
        terminate(id);
    }

    pub async fn kill_orchestrator(&mut self) {
        self.orchestrator.take().expect("the orchestrator runs").kill().await.expect("it can be killed");
    }

    pub async fn orchestrator_ended(&mut self) -> ExitStatus {
        let mut child = self.orchestrator.take().expect("the orchestrator runs");
        let ended = tokio::time::timeout(JOB, child.wait()).await;
        ended.unwrap_or_else(|_| panic!("the orchestrator lives on\n{}", self.log("orchestrator"))).expect("our child")
    }

    fn spawn(&self, mut command: Command, name: &str) -> Child {
        let log = std::fs::File::create(self.path(&format!("{name}.log"))).expect("the log can be written");
        command
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log can be shared"))
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("the program starts")
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        processes::kill_below(self.folder.path());
    }
}

/// A container with a shim, as the process that waits for it.
pub struct AgentContainer(Child);

impl AgentContainer {
    /// The container's first process.
    async fn shim(&self) -> u32 {
        let id = self.0.id().expect("the container runs");
        let children = format!("/proc/{id}/task/{id}/children");
        wait_for("the container has a process", JOB, async || {
            std::fs::read_to_string(&children).ok()?.split_whitespace().next()?.parse().ok()
        })
        .await
    }

    /// Once it listens: a namespace's first process is not ended by signals that it has no ear for.
    pub async fn terminate(&self) {
        let shim = self.shim().await;
        wait_for("the shim listens for signals", JOB, async || listens(shim).then_some(())).await;
        terminate(shim);
    }

    /// Ends the whole container at once, as a kernel that is out of memory does.
    pub async fn kill(&self) {
        processes::kill_hard(i32::try_from(self.shim().await).expect("a process id fits"));
    }

    /// Its exit code; as shells say it, if a signal ended it.
    pub async fn ended(mut self, limit: Duration) -> i32 {
        use std::os::unix::process::ExitStatusExt as _;
        let ended = tokio::time::timeout(limit, self.0.wait()).await;
        let status = ended.expect("the container ends").expect("it is our child");
        status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
    }
}

/// Whether the process catches SIGTERM (proc_pid_status(5)).
fn listens(id: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigCgt:")?.trim(), 16).ok());
    caught.unwrap_or_default() & (1 << (Signal::SIGTERM as u32 - 1)) != 0
}

fn terminate(id: u32) {
    kill(Pid::from_raw(i32::try_from(id).expect("a process id fits")), Signal::SIGTERM).expect("it can be told");
}

fn as_user(uid: u32) -> Command {
    let [program, arguments @ ..] = of_user(uid);
    let mut command = Command::new(program);
    command.args(arguments).env_clear();
    command
}

fn of_user(uid: u32) -> [String; 7] {
    let set =
        format!("--reuid={uid} --regid={uid} --groups={GROUP} --inh-caps=-all --bounding-set=-all --no-new-privs");
    let mut words = std::iter::once("setpriv".to_owned()).chain(set.split(' ').map(ToOwned::to_owned));
    std::array::from_fn(|_| words.next().expect("as many words"))
}

fn give(path: &Path, owner: u32, mode: u32) {
    chown(path, Some(Uid::from_raw(owner)), Some(Gid::from_raw(GROUP))).expect("tests of pods run as root");
    set_mode(path, mode);
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("the mode can be set");
}
