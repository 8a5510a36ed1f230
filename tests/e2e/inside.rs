//! Everything inside the cluster, by the chart's README from installing to uninstalling: PostgreSQL and S3 of others, two
//! servers and two operators of ours, jobs that go on under an upgrade, and nothing left at the end.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::{Output, Stdio};

use ckrv_tests::cli::Said;
use ckrv_tests::stack::{free_address, program};
use ckrv_tests::wait::wait_for;
use ckrv_types::{Job, State};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::cluster::{Jobs, SOON, cluster};
use crate::release::{CHART, Hosted, images, kubectl, little, own_address};

const BACKING: &str = include_str!("inside/backing.yaml");

struct Inside {
    jobs: Jobs,
    home: TempDir,
    /// What the CLI talks through.
    forwarded: Option<(Child, SocketAddr)>,
    api_key: String,
}

impl Inside {
    async fn helm(&self, arguments: &[&str]) {
        let own = [&["--namespace", &self.jobs.namespace], arguments].concat();
        let output = Command::new("helm").args(own).output().await.expect("helm is in PATH");
        self.succeeded(&output, arguments).await;
    }

    async fn succeeded(&self, output: &Output, arguments: &[&str]) {
        if !output.status.success() {
            let objects = kubectl(&self.jobs.namespace, &["get", "all,aj,events"]).await;
            let said = String::from_utf8_lossy(&output.stderr);
            panic!("{arguments:?}: {}{said}\n{}", String::from_utf8_lossy(&output.stdout), objects.out);
        }
    }

    async fn kubectl(&self, arguments: &[&str]) -> String {
        kubectl(&self.jobs.namespace, arguments).await.exits(0).out
    }

    /// `kubectl port-forward`, as the README has it: it holds to one pod, so after an upgrade there has to be another.
    async fn forward(&mut self) {
        self.forwarded = None;
        let address = free_address();
        let ports = format!("{}:80", address.port());
        let child = Command::new("kubectl")
            .args(["--namespace", &self.jobs.namespace, "port-forward", "service/ckrv-server", &ports])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("kubectl is in PATH");
        let url = format!("http://{address}/readyz");
        wait_for("the server answers through the tunnel", SOON, async || {
            reqwest::get(&url).await.ok().filter(|answer| answer.status().is_success())
        })
        .await;
        self.forwarded = Some((child, address));
    }

    async fn ckrv(&self, arguments: &[&str]) -> Said {
        let (_, address) = self.forwarded.as_ref().expect("there is a tunnel");
        let output = Command::new(program("ckrv"))
            .args(arguments)
            .env("CKRV_HOME", self.home.path())
            .env("CKRV_SERVER", format!("http://{address}"))
            .env("CKRV_TOKEN", &self.api_key)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(2 * SOON, output).await.unwrap_or_else(|_| panic!("{arguments:?} hangs"));
        Said::new(arguments, output.expect("the CLI runs"))
    }

    async fn job(&self, id: &str) -> Job {
        self.ckrv(&["status", "-o", "json", id]).await.exits(0).json()
    }

    /// Every object that belongs to this namespace, and those of the cluster that are named after it; Events apart, and
    /// what the cluster itself derives from others.
    async fn objects(&self) -> BTreeSet<String> {
        let list = async |scope: &str| {
            let arguments = ["api-resources", "--verbs=list", scope, "--output=name"];
            let kinds = self.kubectl(&arguments).await;
            let derived = ["events", "events.events.k8s.io", "endpoints", "endpointslices.discovery.k8s.io"];
            kinds.lines().filter(|kind| !derived.contains(kind)).collect::<Vec<_>>().join(",")
        };
        let (own, common) = (list("--namespaced=true").await, list("--namespaced=false").await);
        let own = self.kubectl(&["get", &own, "--output=name"]).await;
        let common = self.kubectl(&["get", &common, "--output=name"]).await;
        let named = common.lines().filter(|name| name.contains(&self.jobs.namespace));
        own.lines().chain(named).map(str::to_owned).collect()
    }
}

#[tokio::test]
async fn by_the_readme_an_admin_installs_upgrades_and_uninstalls_and_no_running_job_is_lost() {
    let jobs = Jobs::new(&cluster().await).await;
    let home = TempDir::with_prefix("ckrv-test-inside-").expect("a temporary folder");
    let mut inside = Inside { jobs, home, forwarded: None, api_key: String::new() };
    let values = inside.prepare().await;
    let before = inside.objects().await;
    inside.install(&values).await;
    let repo = Hosted::new("").await;

    // One job, whole.
    let said = inside.ckrv(&["run", "--repo", &repo.url(), "--wait", "--", "sh", "-c", "echo hi > hi.txt"]).await;
    assert_eq!(said.code, Some(0), "{said}\n{}", inside.kubectl(&["logs", "deployment/ckrv-operator"]).await);
    let job = said.out.trim().to_owned();
    let results = inside.home.path().join("results");
    inside.ckrv(&["pull", &job, "--output", &results.display().to_string()]).await.exits(0);
    assert!(results.join("changes.patch").exists());

    inside.by_kubectl_alone(&repo).await;

    // Four that run while both parts are replaced.
    let mut running = Vec::new();
    for _ in 0..4 {
        let script = repo.until("go");
        let said = inside.ckrv(&["run", "--repo", &repo.url(), "--", "sh", "-c", &script]).await.exits(0);
        running.push(said.out.trim().to_owned());
    }
    for job in &running {
        wait_for("the job runs", SOON, async || (inside.job(job).await.state == State::Running).then_some(())).await;
    }
    let another = json!({"server": {"env": {"CKRV_LOG": "debug"}}, "operator": {"env": {"CKRV_LOG": "debug"}}});
    std::fs::write(inside.home.path().join("another.json"), another.to_string()).expect("it can be written");
    let another = inside.home.path().join("another.json").display().to_string();
    let upgrade = ["upgrade", "ckrv", CHART, "--reuse-values", "--values", &another, "--wait", "--timeout", "3m"];
    inside.helm(&upgrade).await;
    inside.forward().await;
    for job in &running {
        assert_eq!(inside.job(job).await.state, State::Running, "{job}");
    }
    repo.open("go");
    for job in &running {
        inside.ckrv(&["status", "--watch", job]).await.exits(0);
        let job = inside.job(job).await;
        assert_eq!((job.state, job.attempt), (State::Succeeded, 1), "{job:?}");
    }

    inside.forwarded = None;
    inside.helm(&["uninstall", "ckrv", "--wait", "--timeout", "3m"]).await;
    let mut left = BTreeSet::new();
    let limit = std::time::Instant::now() + SOON;
    while std::time::Instant::now() < limit {
        left = inside.objects().await.difference(&before).cloned().collect();
        // The admin's own.
        left.remove("secret/ckrv-runner");
        if left.is_empty() {
            return;
        }
    }
    panic!("left after uninstalling: {left:?}");
}

const BY_HAND: &str = "apiVersion: ckrv.dev/v1alpha1
kind: AgentJob
metadata: { name: NAME }
spec: { repo: 'REPO', branch: BRANCH, agent: command, command: [sh, -c, 'echo hi > hi.txt'], ttlSecondsAfterFinished: 60 }
";

impl Inside {
    /// A job without a CLI, and one that cannot work, which says why.
    async fn by_kubectl_alone(&self, repo: &Hosted) {
        for (name, branch) in [("by-hand", "main"), ("by-hand-bad", "there-is-no-such-branch")] {
            let manifest = BY_HAND.replace("NAME", name).replace("REPO", &repo.url()).replace("BRANCH", branch);
            let file = self.home.path().join("by-hand.yaml");
            std::fs::write(&file, manifest).expect("it can be written");
            self.kubectl(&["apply", "--filename", &file.display().to_string()]).await;
            self.kubectl(&["wait", &format!("aj/{name}"), "--for=condition=Completed", "--timeout=90s"]).await;
        }
        let told = "jsonpath={.status.phase} {.status.cause} {.status.message}";
        let good = self.kubectl(&["get", "aj/by-hand", "--output", told]).await;
        assert!(good.starts_with("Succeeded "), "{good}");
        let bad = self.kubectl(&["get", "aj/by-hand-bad", "--output", told]).await;
        assert!(bad.starts_with("Failed setup:") && bad.contains("there-is-no-such-branch"), "{bad}");
        self.kubectl(&["describe", "aj/by-hand-bad"]).await;
        self.kubectl(&["delete", "aj/by-hand", "aj/by-hand-bad", "--timeout=30s"]).await;
    }

    /// What an admin has before the chart: PostgreSQL, S3, and the secrets. Answers the chart's values.
    async fn prepare(&self) -> Value {
        let images = images();
        let text = |key: &str| images[key].as_str().expect("it is a text").to_owned();
        let manifest = BACKING.replace("REGISTRY", &text("registry")).replace("TAG", &text("tag"));
        let file = self.home.path().join("backing.yaml");
        std::fs::write(&file, manifest).expect("it can be written");
        self.kubectl(&["apply", "--filename", &file.display().to_string()]).await;
        self.kubectl(&["wait", "--for=condition=Ready", "pod/postgres", "pod/s3", "--timeout=90s"]).await;
        let url = |role: &str| format!("--from-literal={role}-url=postgres://ckrv_{role}:of-the-test@postgres/ckrv");
        let signing = format!("--from-literal=secret-key={}", "07".repeat(32));
        for (name, data) in [
            ("ckrv-database", vec![url("owner"), url("app"), url("system")]),
            ("ckrv-s3", ["access", "secret"].map(|it| format!("--from-literal={it}-key=the-{it}-key")).into()),
            ("ckrv-signing", vec![signing]),
        ] {
            let data: Vec<&str> = data.iter().map(String::as_str).collect();
            self.kubectl(&[&["create", "secret", "generic", name], &data[..]].concat()).await;
        }
        let at = own_address().await;
        let class = self.jobs.namespace.clone();
        let little = little();
        let spec = json!({ "egressCIDRs": [format!("{at}/32")], "resources": little, "orchestratorResources": little });
        json!({
            "images": images,
            "server": {
                "s3": { "endpoint": format!("http://s3.{}.svc:7070", self.jobs.namespace) },
                "allowPrivateRepos": true,
                "resources": little,
            },
            "operator": {
                "defaultClass": class,
                "resources": little,
                "egress": { "s3": [format!("{}/app=s3:7070", self.jobs.namespace)] },
            },
            "classes": { class: spec },
        })
    }

    async fn install(&mut self, values: &Value) {
        let file = self.home.path().join("values.json");
        std::fs::write(&file, values.to_string()).expect("it can be written");
        self.helm(&["install", "ckrv", CHART, "--values", &file.display().to_string()]).await;
        self.kubectl(&["rollout", "status", "deployment/ckrv-server", "--timeout=120s"]).await;
        let bootstrap = ["exec", "deploy/ckrv-server", "--", "/ckrv-server", "admin", "bootstrap", "--allow"];
        let bootstrap = [&bootstrap[..], &[&self.jobs.namespace]].concat();
        let printed = kubectl(&self.jobs.namespace, &bootstrap).await.exits(0);
        let told = |name: &str| {
            let line = printed.out.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            line.expect("it is printed").to_owned()
        };
        self.api_key = told("api_key");
        let token = format!("--from-literal=token={}", told("runner_token"));
        self.kubectl(&["create", "secret", "generic", "ckrv-runner", &token]).await;
        self.kubectl(&["rollout", "status", "deployment/ckrv-operator", "--timeout=180s"]).await;
        self.forward().await;
    }
}
