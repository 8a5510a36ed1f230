//! The test cluster of this machine: the only one whose processes tests may end, and whose node is this machine.

use std::path::{Path, PathBuf};

use ckrv_tests::wait::wait_for;
use kube::ResourceExt;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Command;

use crate::cluster::{Jobs, SOON};

/// Where `tests/cluster` has its admin's configuration.
const CONFIG: &str = "/var/lib/ckrv-cluster/admin.kubeconfig";

pub struct Own(());

impl Own {
    /// None, and said, where `KUBECONFIG` names another cluster.
    pub fn here() -> Option<Self> {
        let real = |path: &Path| path.canonicalize().ok();
        let named = std::env::var_os("KUBECONFIG").map(PathBuf::from).and_then(|path| real(&path));
        if named.is_some() && named == real(Path::new(CONFIG)) {
            return Some(Self(()));
        }
        println!("skipped: KUBECONFIG names a cluster whose node is not this machine; tests/cluster makes one");
        None
    }

    /// Kills every process of a container, as the kernel would for lack of memory or an admin by mistake.
    pub async fn kill_container(&self, jobs: &Jobs, pod: &str, container: &str) {
        // A pod's status is behind what goes on in it.
        let id = wait_for("the container has its id", SOON, async || {
            let statuses = jobs.pods().get(pod).await.ok()?.status?.container_statuses?;
            let id = statuses.into_iter().find(|status| status.name == container)?.container_id?;
            Some(id.split_once("://")?.1.to_owned())
        })
        .await;
        let killed = kill_below(&id);
        assert!(killed > 0, "no process of container {id} is on this machine");
    }

    /// Kills every process of a pod.
    pub async fn kill_pod(&self, jobs: &Jobs, pod: &str) {
        let uid = wait_for("the pod has its UID", SOON, async || jobs.pods().get(pod).await.ok()?.uid()).await;
        let killed = kill_below(&format!("pod{uid}"));
        assert!(killed > 0, "no process of pod {uid} is on this machine");
    }

    /// Ends a component of the cluster. It is back, with all others, when what this answers is dropped.
    pub async fn stop(&self, component: &str) -> Stopped {
        let stopped = Stopped(());
        cluster(&["stop", component]).await;
        stopped
    }

    pub async fn restart(&self, component: &str) {
        cluster(&["restart", component]).await;
    }
}

/// Something of the cluster does not run.
pub struct Stopped(());

impl Drop for Stopped {
    fn drop(&mut self) {
        let up = std::process::Command::new(program()).arg("up").stdout(std::process::Stdio::null()).status();
        assert!(up.is_ok_and(|status| status.success()) || std::thread::panicking(), "the cluster does not come back");
    }
}

async fn cluster(arguments: &[&str]) {
    let status = Command::new(program()).args(arguments).status().await.expect("the cluster's program runs");
    assert!(status.success(), "cluster {arguments:?}");
}

fn program() -> &'static str {
    concat!(env!("CARGO_MANIFEST_DIR"), "/cluster/cluster")
}

/// Kills the processes whose control group has `name` in its path; how many there were.
fn kill_below(name: &str) -> usize {
    let processes = std::fs::read_dir("/proc").expect("there is a /proc").flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let members = ids.filter(|id| {
        let groups = std::fs::read_to_string(format!("/proc/{id}/cgroup")).unwrap_or_default();
        groups.split(['/', '\n', ':']).any(|part| part.contains(name))
    });
    let members: Vec<i32> = members.collect();
    for id in &members {
        // One may be gone with another.
        let _ = kill(Pid::from_raw(*id), Signal::SIGKILL);
    }
    members.len()
}
