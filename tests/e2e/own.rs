//! The test cluster of this machine: the only one whose processes tests may end, and whose node is this machine.

use std::path::{Path, PathBuf};

use kube::ResourceExt;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Command;

use crate::cluster::Jobs;

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
        let status = jobs.pods().get(pod).await.expect("the pod is there").status.unwrap_or_default();
        let statuses = status.container_statuses.unwrap_or_default();
        let found = statuses.iter().find(|status| status.name == container).expect("it has the container");
        let id = found.container_id.as_deref().and_then(|id| id.split_once("://")).expect("it has begun").1;
        let killed = kill_below(id);
        assert!(killed > 0, "no process of container {id} is on this machine");
    }

    /// Kills every process of a pod.
    pub async fn kill_pod(&self, jobs: &Jobs, pod: &str) {
        let uid = jobs.pods().get(pod).await.expect("the pod is there").uid().expect("it has a UID");
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
