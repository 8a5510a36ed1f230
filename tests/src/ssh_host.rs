//! A git host that is reached over SSH: a real `sshd` (OpenSSH's server) on loopback, an ordinary process with a host key of
//! its own, which lets one key in and runs nothing but git for it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::unistd::{User, getuid};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::repo::Repo;
use crate::stack::free_address;
use crate::wait::wait_for;

const START: Duration = Duration::from_secs(20);
/// Where it wants to be found: it starts itself again for each connection.
const PROGRAM: &str = "/usr/sbin/sshd";
/// Root's has to have this empty folder, which the system's own service makes, too.
const ROOT_FOLDER: &str = "/run/sshd";

/// It ends, and its folder goes, when it is dropped.
pub struct SshHost {
    folder: TempDir,
    address: SocketAddr,
    user: String,
    _server: Child,
}

impl SshHost {
    pub async fn start() -> Self {
        assert!(Path::new(PROGRAM).exists(), "{PROGRAM} is not there: these tests want OpenSSH's server");
        let folder = TempDir::with_prefix("ckrv-test-ssh-").expect("a temporary folder");
        if getuid().is_root() {
            std::fs::create_dir_all(ROOT_FOLDER).expect("root can make a folder");
        }
        for name in ["host", "user", "other"] {
            make_key(folder.path(), name).await;
        }
        let user = User::from_uid(getuid()).expect("the users can be read").expect("whoever runs this is a user").name;
        let address = free_address();
        let settings = settings(folder.path(), address, &user);
        std::fs::write(folder.path().join("sshd_config"), settings).expect("the settings can be written");
        let server = Command::new(PROGRAM)
            .args(["-D", "-f"])
            .arg(folder.path().join("sshd_config"))
            .arg("-E")
            .arg(folder.path().join("log"))
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("sshd starts");
        let host = Self { folder, address, user, _server: server };
        wait_for("sshd listens", START, async || host.log().contains("Server listening").then_some(())).await;
        host
    }

    /// The repository as a job names it.
    pub fn url(&self, repo: &Repo) -> String {
        format!("ssh://{}@{}{}", self.user, self.address, repo.path().display())
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The private key that is let in.
    pub fn key(&self) -> PathBuf {
        self.folder.path().join("user")
    }

    /// One that is not.
    pub fn other_key(&self) -> PathBuf {
        self.folder.path().join("other")
    }

    /// A `known_hosts` file that has the host's key, or another one in its place.
    pub fn known_hosts(&self, is_right: bool) -> PathBuf {
        let key = self.public(if is_right { "host" } else { "other" });
        let file = self.folder.path().join(if is_right { "known" } else { "known-wrong" });
        let line = format!("[{}]:{} {key}", self.address.ip(), self.address.port());
        std::fs::write(&file, line).expect("the file can be written");
        file
    }

    /// What it says of those who came.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn public(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(format!("{name}.pub"))).expect("the key was made")
    }
}

async fn make_key(folder: &Path, name: &str) {
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"]).arg(folder.join(name)).stdin(Stdio::null());
    let status = command.status().await.expect("ssh-keygen runs");
    assert!(status.success(), "ssh-keygen: {status}");
    if name == "user" {
        std::fs::copy(folder.join("user.pub"), folder.join("authorized")).expect("the key can be copied");
    }
}

/// sshd_config(5).
fn settings(folder: &Path, address: SocketAddr, user: &str) -> String {
    let folder = folder.display();
    format!(
        "ListenAddress {address}\n\
         PidFile none\n\
         HostKey {folder}/host\n\
         AuthorizedKeysFile {folder}/authorized\n\
         # The folder is below one that others may write to.\n\
         StrictModes no\n\
         UsePAM no\n\
         AuthenticationMethods publickey\n\
         PermitRootLogin prohibit-password\n\
         AllowUsers {user}\n\
         DisableForwarding yes\n\
         PermitTTY no\n\
         AcceptEnv GIT_PROTOCOL\n\
         LogLevel VERBOSE\n\
         ForceCommand exec git-shell -c \"$SSH_ORIGINAL_COMMAND\"\n"
    )
}
