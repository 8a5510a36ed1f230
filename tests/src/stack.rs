//! A control plane and a runner of real parts, each a process of its own so that a test may kill it: PostgreSQL shared by the
//! test binary with a database of the stack's own, S3 in the test's process, `ckrv-server` and `ckrv-worker local`
//! as children, and the CLI as its users run it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::time::Duration;

use ckrv_client::runner::RunnerClient;
use ckrv_client::worker::WorkerClient;
use ckrv_client::{Client, ClientConfig, Retry};
use ckrv_dev::testing::{self, TestS3};
use ckrv_server::db::roles::RoleUrls;
use ckrv_types::Secret;
use ckrv_types::identity::Bootstrapped;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::database::{self, Prepared};
use crate::postgres::OwnPostgres;
use crate::processes;
use crate::relay::Relay;
use crate::wait::wait_for;

/// The longest that a part may take to come up.
pub const START: Duration = Duration::from_mins(1);
/// The longest that a small job may take.
pub const JOB: Duration = Duration::from_secs(90);

/// What a test wants other than usual.
pub struct Options {
    /// Places of the local runner; 0: no runner is started.
    pub slots: u32,
    /// Further variables for the server.
    pub server: Vec<(&'static str, String)>,
    /// Further variables for the runner, and so for its workers.
    pub runner: Vec<(&'static str, String)>,
    /// A PostgreSQL of its own, which the test may take away.
    pub own_postgres: bool,
    /// With a PostgreSQL of its own: it survives power cuts, which costs time.
    pub durable: bool,
    /// An address of this machine at which pods reach server and S3.
    pub at: Option<IpAddr>,
}

impl Default for Options {
    fn default() -> Self {
        Self { slots: 4, server: Vec::new(), runner: Vec::new(), own_postgres: false, durable: false, at: None }
    }
}

/// The running parts. Everything ends, and its folder goes, when it is dropped.
pub struct Stack {
    pub home: TempDir,
    pub s3: TestS3,
    pub keys: Bootstrapped,
    urls: RoleUrls,
    superuser: Secret,
    address: SocketAddr,
    options: Options,
    server: Option<Child>,
    runner: Option<Child>,
    postgres: Option<OwnPostgres>,
    relays: Option<Relays>,
}

/// The ways from pods to server and S3.
pub struct Relays {
    pub server: Relay,
    pub s3: Relay,
}

impl Stack {
    /// Server and runner with usual settings.
    pub async fn start() -> Self {
        Self::with(Options::default()).await
    }

    pub async fn with(options: Options) -> Self {
        ckrv_client::install_crypto_provider();
        let home = TempDir::with_prefix("ckrv-test-home-").expect("a temporary folder");
        let s3 = testing::s3().await;
        let postgres = if options.own_postgres { Some(OwnPostgres::start(options.durable).await) } else { None };
        let Prepared { urls, keys, database } = match &postgres {
            Some(own) => database::prepare_in(own.database().await).await,
            None => database::prepare().await,
        };
        std::fs::write(home.path().join("runner-token"), keys.runner_token.expose()).expect("the token can be written");
        let address = free_address();
        let relays = match options.at {
            Some(at) => Some(Relays {
                server: Relay::start(at, address).await,
                s3: Relay::start(at, s3.endpoint().trim_start_matches("http://").parse().expect("an address")).await,
            }),
            None => None,
        };
        let superuser = database.url;
        let (server, runner) = (None, None);
        let mut stack = Self { home, s3, keys, urls, superuser, address, options, server, runner, postgres, relays };
        restrict(&stack.home.path().join("runner-token"));
        stack.start_server().await;
        if stack.options.slots > 0 {
            stack.start_runner();
        }
        stack
    }

    pub fn server_url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The ways in from outside of this machine; they were asked for.
    pub fn relays(&self) -> &Relays {
        self.relays.as_ref().expect("`at` says where")
    }

    pub fn urls(&self) -> &RoleUrls {
        &self.urls
    }

    /// What the server signs with.
    pub fn secret_key(&self) -> Secret {
        Secret::new("07".repeat(32))
    }

    /// The database as its superuser.
    pub fn superuser_url(&self) -> &Secret {
        &self.superuser
    }

    /// The user's API as the stack's own key.
    pub fn client(&self) -> Client {
        let server = self.server_url().parse().expect("an address is a URL");
        Client::new(ClientConfig::new(server, self.keys.api_key.clone(), "ckrv-tests"))
            .expect("the configuration is good")
    }

    /// The runner protocol, by the token that the stack's own runner has.
    pub fn runner_client(&self) -> RunnerClient {
        let server = self.server_url().parse().expect("an address is a URL");
        RunnerClient::new(ClientConfig::new(server, self.keys.runner_token.clone(), "ckrv-tests"))
            .expect("the configuration is good")
    }

    /// A worker by its bootstrap token.
    pub fn worker(&self, bootstrap_token: &Secret) -> WorkerClient {
        let server = self.server_url().parse().expect("an address is a URL");
        WorkerClient::new(ClientConfig::new(server, bootstrap_token.clone(), "ckrv-tests"))
            .expect("the configuration is good")
    }

    /// The same as [`Stack::client`], going on for `patience` while the server is away.
    pub fn patient_client(&self, patience: Duration) -> Client {
        let server = self.server_url().parse().expect("an address is a URL");
        let config = ClientConfig::new(server, self.keys.api_key.clone(), "ckrv-tests");
        Client::new(ClientConfig { retry: Retry::within(patience), ..config }).expect("the configuration is good")
    }

    /// Starts the server (again) on the same address and waits until it is ready.
    pub async fn start_server(&mut self) {
        self.launch_server();
        self.server_ready().await;
    }

    /// Starts the server and does not wait for it.
    pub fn launch_server(&mut self) {
        let mut command = Command::new(program("ckrv-server"));
        command
            .arg("serve")
            .env("CKRV_LISTEN", self.address.to_string())
            .env("CKRV_DATABASE_URL", self.urls.app.expose())
            .env("CKRV_SYSTEM_DATABASE_URL", self.urls.system.expose())
            .env("CKRV_S3_ENDPOINT", self.s3_endpoint())
            .env("CKRV_S3_ACCESS_KEY", self.s3.access_key())
            .env("CKRV_S3_SECRET_KEY", self.s3.secret_key().expose())
            .env("CKRV_SECRET_KEY", self.secret_key().expose())
            .env("CKRV_ALLOW_LOCAL_REPOS", "true")
            .envs(self.options.server.iter().map(|(name, value)| (name, value)));
        self.server = Some(self.spawn(command, "server.log"));
    }

    /// As server, workers and users reach it: what is signed names one host.
    fn s3_endpoint(&self) -> String {
        let relay = self.relays.as_ref().map(|relays| format!("http://{}", relays.s3.address()));
        relay.unwrap_or_else(|| self.s3.endpoint().to_owned())
    }

    /// Waits until the server is ready.
    pub async fn server_ready(&self) {
        let http = reqwest::Client::new();
        let url = format!("{}/readyz", self.server_url());
        wait_for("the server is ready", START, async || {
            http.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()).then_some(())
        })
        .await;
    }

    /// Kills the server as a power cut would.
    pub async fn kill_server(&mut self) {
        if let Some(mut child) = self.server.take() {
            child.kill().await.expect("the server can be killed");
        }
    }

    /// Tells the server to end, in order.
    pub fn terminate_server(&self) {
        let id = self.server.as_ref().and_then(Child::id).expect("the server runs");
        let pid = Pid::from_raw(i32::try_from(id).expect("a process id fits"));
        kill(pid, Signal::SIGTERM).expect("the server can be told");
    }

    /// Waits until the server ends by itself (at a crash point), or because it was told to.
    pub async fn server_died(&mut self, limit: Duration) -> ExitStatus {
        let mut child = self.server.take().expect("the server runs");
        let died = tokio::time::timeout(limit, child.wait()).await;
        died.unwrap_or_else(|_| panic!("the server lives on\n{}", self.log("server.log"))).expect("it is our child")
    }

    /// Stops a PostgreSQL of the stack's own.
    pub async fn stop_postgres(&mut self) {
        self.postgres.as_mut().expect("it was asked for").stop().await;
    }

    /// Starts it again, with its data and on its port.
    pub async fn start_postgres(&mut self) {
        self.postgres.as_mut().expect("it was asked for").start_again().await;
    }

    /// Sets a variable for the server's next start.
    pub fn set_server(&mut self, name: &'static str, value: impl Into<String>) {
        self.options.server.retain(|(known, _)| *known != name);
        self.options.server.push((name, value.into()));
    }

    /// Sets a variable for the runner's next start.
    pub fn set_runner(&mut self, name: &'static str, value: impl Into<String>) {
        self.options.runner.retain(|(known, _)| *known != name);
        self.options.runner.push((name, value.into()));
    }

    pub fn start_runner(&mut self) {
        self.start_runner_at(&self.server_url());
    }

    /// The same, with another way to the server.
    pub fn start_runner_at(&mut self, server: &str) {
        let mut command = Command::new(program("ckrv-worker"));
        command
            .arg("local")
            .args(["--server", server])
            .arg("--token-file")
            .arg(self.home.path().join("runner-token"))
            .args(["--slots", &self.options.slots.max(1).to_string()])
            .arg("--home")
            .arg(self.runner_home())
            .env("CKRV_ALLOW_LOCAL_REPOS", "true")
            .envs(self.options.runner.iter().map(|(name, value)| (name, value)));
        self.runner = Some(self.spawn(command, "runner.log"));
    }

    /// Where the runner keeps work folders.
    pub fn runner_home(&self) -> PathBuf {
        self.home.path().join("runner")
    }

    /// Kills the runner alone; its workers go on.
    pub async fn kill_runner(&mut self) {
        if let Some(mut child) = self.runner.take() {
            child.kill().await.expect("the runner can be killed");
        }
    }

    /// Runs the CLI to its end, standing in `folder`.
    pub async fn ckrv_in(&self, folder: &Path, arguments: &[&str]) -> Output {
        self.ckrv_command(arguments).current_dir(folder).stdin(Stdio::null()).output().await.expect("the CLI runs")
    }

    /// Runs the CLI to its end; its standard output. Panics with all it said when it fails.
    pub async fn ckrv(&self, arguments: &[&str]) -> String {
        let output = self.ckrv_in(self.home.path(), arguments).await;
        assert!(
            output.status.success(),
            "ckrv {arguments:?}: {:?}\n{}{}",
            output.status.code(),
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).expect("the CLI prints UTF-8").trim_end().to_owned()
    }

    /// The CLI, ready to be spawned.
    pub fn ckrv_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("ckrv"));
        command
            .args(arguments)
            .env("CKRV_HOME", self.home.path().join("cli"))
            .env("CKRV_SERVER", self.server_url())
            .env("CKRV_TOKEN", self.keys.api_key.expose())
            .kill_on_drop(true);
        command
    }

    /// What a part has written to its log.
    pub fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.home.path().join(name)).unwrap_or_default()
    }

    /// Starts a program of the stack, which ends with it; what it says goes to `log`.
    pub fn spawn(&self, mut command: Command, log: &str) -> Child {
        let file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.home.path().join(log))
            .expect("the log can be written");
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("the log can be shared"))
            .stderr(file)
            .kill_on_drop(true)
            .spawn()
            .expect("the program starts")
    }
}

impl Drop for Stack {
    /// Supervisors outlive their runner, on purpose: none may outlive the test.
    fn drop(&mut self) {
        for child in [&mut self.runner, &mut self.server].into_iter().flatten() {
            // It may have ended by itself.
            let _ = child.start_kill();
        }
        processes::kill_below(self.home.path());
    }
}

/// An executable of this build (a test binary is `target/<profile>/deps/<name>`).
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test binary has a path");
    let profile = test.parent().and_then(Path::parent).expect("a test binary is in target/<profile>/deps");
    let program = profile.join(name);
    assert!(program.exists(), "{} is not built: run the tests by `make test`", program.display());
    program
}

/// An address of loopback that nobody listens on, and that nobody will take while its server is away: systems give out ports
/// from 32768 on for outgoing connections.
pub fn free_address() -> SocketAddr {
    loop {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, rand::random_range(10_000..32_768)));
        if std::net::TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// Makes a file its owner's alone, as ckrv wants those with secrets.
pub fn restrict(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("the mode can be set");
}
