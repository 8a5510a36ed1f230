//! `ckrv dev`: the embedded control plane, as somebody meets it who has nothing but the programs.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use ckrv_tests::browser::Browser;
use ckrv_tests::cli::Said;
use ckrv_tests::repo::{Repo, git};
use ckrv_tests::stack::{JOB, START, program};
use ckrv_tests::wait::wait_for;
use ckrv_types::{Cause, Job, State};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

/// A user of this machine with a home, a folder for temporary files and a CKRV_HOME, all empty. What was started is
/// stopped when it is dropped, however a test ends.
struct User {
    folder: TempDir,
    ckrv_home: PathBuf,
}

impl User {
    fn new() -> Self {
        ckrv_client::install_crypto_provider();
        let folder = TempDir::with_prefix("ckrv-test-user-").unwrap();
        for name in ["home", "tmp", "private"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let ckrv_home = folder.path().join("ckrv");
        Self { folder, ckrv_home }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("ckrv"));
        command.args(arguments).env_clear().current_dir(self.folder.path().join("home")).stdin(Stdio::null());
        command.env("PATH", std::env::var_os("PATH").unwrap());
        command.env("HOME", self.folder.path().join("home")).env("TMPDIR", self.folder.path().join("tmp"));
        command.env("CKRV_HOME", &self.ckrv_home);
        // PostgreSQL's programs are downloaded once a machine.
        let cache = ckrv_dev::state::postgres_cache().unwrap();
        command.env("XDG_CACHE_HOME", cache.parent().and_then(Path::parent).unwrap());
        command
    }

    async fn says(&self, arguments: &[&str]) -> Said {
        let output = tokio::time::timeout(JOB, self.command(arguments).output()).await;
        Said::new(arguments, output.unwrap_or_else(|_| panic!("ckrv {arguments:?} does not end")).unwrap())
    }

    /// Processes that know of this user's folder, by argument, environment or the folder that they stand in.
    fn processes(&self) -> Vec<String> {
        let own = self.folder.path().display().to_string();
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let about = |process: &Path| {
            let read =
                |name| String::from_utf8_lossy(&std::fs::read(process.join(name)).unwrap_or_default()).into_owned();
            let folder = std::fs::read_link(process.join("cwd")).unwrap_or_default();
            format!("{} {} {}", read("cmdline"), read("environ"), folder.display())
        };
        let all = processes.map(|process| about(&process.path()));
        all.filter(|about| about.contains(&own)).map(|about| about.replace('\0', " ")).collect()
    }

    async fn is_gone(&self) {
        wait_for("every process is gone", Duration::from_secs(10), async || self.processes().is_empty().then_some(()))
            .await;
    }

    /// Everything in home and temporary folder.
    fn strays(&self) -> Vec<PathBuf> {
        let list = |name| std::fs::read_dir(self.folder.path().join(name)).unwrap();
        ["home", "tmp"].into_iter().flat_map(list).map(|entry| entry.unwrap().path()).collect()
    }
}

impl Drop for User {
    fn drop(&mut self) {
        // Nothing to stop is fine, and nobody is left to tell of an error.
        let mut command = self.command(&["dev", "stop"]);
        let _ = command.as_std_mut().stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

/// With the account that `ckrv dev status` tells of.
async fn signs_in(status: &Value) {
    let text = |name: &str| status[name].as_str().unwrap_or_else(|| panic!("no {name} in {status}"));
    let file = Path::new(text("password_file"));
    assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    let password = std::fs::read_to_string(file).unwrap();
    assert!(!status.to_string().contains(&password), "the password is told");
    let mut browser = Browser::new();
    let form = browser.open(text("login_page")).await.form("/login");
    let page = browser.submit(form.fill("login", text("login")).fill("password", &password)).await;
    assert_eq!(page.heading(), "Your account", "{}", page.text);
    assert!(page.texts("main").join("").contains("owner of dev"), "{}", page.text);
}

#[tokio::test]
async fn the_embedded_control_plane_starts_runs_a_job_and_leaves_nothing() {
    let (user, repo) = (User::new(), Repo::new());
    let stopped: Value = user.says(&["dev", "status", "-o", "json"]).await.exits(0).json();
    assert_eq!(stopped, serde_json::json!({"running": false}));
    user.says(&["list"]).await.exits(4).tells(&["hint: `ckrv dev --detach`"]);

    let started: Value = user.says(&["dev", "--detach", "-o", "json"]).await.exits(0).json();
    let again = user.says(&["dev", "--detach", "-o", "json"]).await.exits(0).tells(&["it runs already"]);
    assert_eq!(again.json::<Value>(), started, "a second start finds the first");
    let status: Value = user.says(&["dev", "status", "-o", "json"]).await.exits(0).json();
    assert_eq!(status, started);
    let server = status["server"].as_str().unwrap();
    assert!(server.starts_with("http://127.0.0.1:"), "{server}");
    assert_eq!(reqwest::get(format!("{server}/readyz")).await.unwrap().status().as_u16(), 200);
    signs_in(&status).await;

    let folder = TempDir::new().unwrap();
    let checkout = repo.clone_to(folder.path());
    let mut run = user.command(&["run", "--follow", "--pull", "--", "sh", "-c", "echo hello; echo x > x"]);
    let said = Said::new(&["run"], run.current_dir(&checkout).output().await.unwrap()).exits(0).prints(&["\nhello\n"]);
    let id = said.out.lines().next().unwrap().to_owned();
    assert_eq!(git(&checkout, &["show", &format!("ckrv/{id}:x")]), "x");
    assert_eq!(git(&checkout, &["rev-parse", &format!("ckrv/{id}^")]), repo.head());

    // A job that runs is stopped with it.
    let run = ["run", "--repo", &repo.url(), "--grace", "1s", "--", "sh", "-c", "echo ready; sleep 1000"];
    let running = user.says(&run).await.exits(0).job();
    let is_running = async || {
        let job: Job = user.says(&["status", "-o", "json", &running.to_string()]).await.exits(0).json();
        (job.state == State::Running).then_some(())
    };
    wait_for("the job runs", START, is_running).await;
    assert!(user.processes().iter().any(|process| process.contains("sleep 1000")), "the probe finds nothing");
    user.says(&["dev", "stop"]).await.exits(0).tells(&["stopped"]);
    user.is_gone().await;
    assert_eq!(user.strays(), Vec::<PathBuf>::new(), "files outside of CKRV_HOME");
    user.says(&["dev", "stop"]).await.exits(0).tells(&["it does not run"]);
    user.says(&["list"]).await.exits(7).tells(&["does not run", "hint: `ckrv dev --detach` starts it"]);
    assert!(reqwest::get(format!("{server}/readyz")).await.is_err());

    // Everything is there again at the next start.
    let status: Value = user.says(&["dev", "--detach", "-o", "json"]).await.exits(0).json();
    signs_in(&status).await;
    assert_eq!(user.says(&["logs", &id]).await.exits(0).out, "hello\n");
    let job: Job = user.says(&["status", "-o", "json", &running.to_string()]).await.exits(0).json();
    // Nobody's prompt runs again by itself because they stopped and started.
    assert_eq!((job.state, job.cause), (State::Cancelled, Some(Cause::CancelledByRunner)), "{job:?}");
    user.says(&["dev", "stop"]).await.exits(0);
    user.is_gone().await;
}

#[tokio::test]
async fn it_runs_below_a_folder_that_only_its_user_may_enter() {
    let mut user = User::new();
    let private = user.folder.path().join("private");
    std::fs::set_permissions(&private, std::fs::Permissions::from_mode(0o700)).unwrap();
    user.ckrv_home = private.join("deeper/ckrv");
    let repo = Repo::new();
    user.says(&["dev", "--detach"]).await.exits(0);
    let said = user.says(&["run", "--repo", &repo.url(), "--wait", "--", "sh", "-c", "pwd > where"]).await.exits(0);
    user.says(&["status", &said.job().to_string()]).await.exits(0).prints(&["succeeded"]);
    // Nothing in there is for anybody else, tokens least of all.
    let mode = |path: &str| std::fs::metadata(user.ckrv_home.join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("dev"), mode("profiles"), mode("profiles/dev.json")), (0o700, 0o700, 0o600));
    user.says(&["dev", "stop"]).await.exits(0);
    user.is_gone().await;
    assert_eq!(user.strays(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn in_the_foreground_it_ends_with_an_interrupt_and_after_a_kill_it_starts_again() {
    let (user, repo) = (User::new(), Repo::new());
    let mut dev = user.command(&["dev", "-o", "json"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(dev.stdout.take().unwrap()).lines();
    let announced = tokio::time::timeout(JOB, out.next_line()).await.expect("it starts").unwrap().unwrap();
    let status: Value = serde_json::from_str(&announced).unwrap();
    let said = user.says(&["run", "--repo", &repo.url(), "--wait", "--", "echo", "kept"]).await.exits(0);
    signal("INT", dev.id().unwrap()).await;
    let ended = tokio::time::timeout(JOB, dev.wait()).await.expect("it ends").unwrap();
    assert_eq!(ended.code(), Some(0));
    user.is_gone().await;

    user.says(&["dev", "--detach"]).await.exits(0);
    let now: Value = user.says(&["dev", "status", "-o", "json"]).await.exits(0).json();
    assert_eq!(now["server"], status["server"], "the address of last time is kept");
    signal("KILL", u32::try_from(now["pid"].as_u64().unwrap()).unwrap()).await;
    let is_down = async || {
        let status: Value = user.says(&["dev", "status", "-o", "json"]).await.exits(0).json();
        (status["running"] == false).then_some(())
    };
    wait_for("its death is seen", START, is_down).await;
    user.says(&["dev", "--detach"]).await.exits(0);
    assert_eq!(user.says(&["logs", &said.job().to_string()]).await.exits(0).out, "kept\n");
    user.says(&["run", "--repo", &repo.url(), "--wait", "--", "true"]).await.exits(0);
    user.says(&["dev", "stop"]).await.exits(0);
    user.is_gone().await;
}

async fn signal(name: &str, process: u32) {
    let sent = Command::new("sh").args(["-c", &format!("kill -{name} {process}")]).status().await.unwrap();
    assert!(sent.success());
}
