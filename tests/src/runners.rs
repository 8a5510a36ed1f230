//! Runners beside a stack's own, each for the jobs of one class, so that a test can have many that fare differently.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use ckrv_types::identity::CreateRunner;
use tokio::process::{Child, Command};

use crate::stack::{Stack, program, restrict};

/// A local runner with two places. It ends when dropped.
pub struct ClassRunner {
    class: String,
    home: PathBuf,
    child: Option<Child>,
}

impl Stack {
    /// Registers one under the name of its class and starts it with these variables.
    pub async fn class_runner(&self, class: &str, variables: &[(&str, String)]) -> ClassRunner {
        let wanted = CreateRunner { name: class.to_owned(), allow: BTreeMap::new() };
        let made = self.client().create_runner(&wanted).await.expect("the runner can be made");
        let home = self.home.path().join(format!("runner-{class}"));
        let token = home.with_extension("token");
        std::fs::write(&token, made.token).expect("the token can be written");
        restrict(&token);
        let mut runner = ClassRunner { class: class.to_owned(), home, child: None };
        runner.start(self, variables);
        runner
    }
}

impl ClassRunner {
    /// Starts it (again) with these variables.
    pub fn start(&mut self, stack: &Stack, variables: &[(&str, String)]) {
        let mut command = Command::new(program("ckrv-worker"));
        command
            .args(["local", "--slots", "2", "--server", &stack.server_url(), "--class", &self.class])
            .arg("--token-file")
            .arg(self.home.with_extension("token"))
            .arg("--home")
            .arg(&self.home)
            .env("CKRV_ALLOW_LOCAL_REPOS", "true")
            .envs(variables.iter().map(|(name, value)| (name, value)));
        self.child = Some(stack.spawn(command, &self.log_name()));
    }

    /// Waits until it ends by itself (at a crash point).
    pub async fn died(&mut self, limit: Duration) -> ExitStatus {
        let mut child = self.child.take().expect("the runner runs");
        let died = tokio::time::timeout(limit, child.wait()).await;
        died.unwrap_or_else(|_| panic!("the runner of {} lives on", self.class)).expect("it is our child")
    }

    pub fn home(&self) -> PathBuf {
        self.home.clone()
    }

    /// The name of its log among those of the stack.
    pub fn log_name(&self) -> String {
        format!("runner-{}.log", self.class)
    }
}
