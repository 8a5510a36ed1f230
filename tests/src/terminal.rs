//! A terminal of a program's own, as the program `script` makes one: what is typed at it, and what it shows.

use std::ffi::OsStr;
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::cli::Said;
use crate::wait::wait_for;

/// What Ctrl-C types.
pub const CTRL_C: &str = "\x03";

/// The program that runs at it ends with it.
pub struct Terminal {
    child: Child,
    keyboard: ChildStdin,
    screen: ChildStdout,
    /// Its file, by which others can ask how it is set.
    path: String,
    shown: String,
    limit: Duration,
}

impl Terminal {
    /// Whether this machine has terminals for programs; says so if not.
    #[expect(clippy::print_stdout, reason = "why a test is skipped")]
    pub fn is_to_be_had() -> bool {
        let search = std::env::var_os("PATH").unwrap_or_default();
        let is_there = std::env::split_paths(&search).any(|folder| folder.join("script").is_file());
        if !is_there {
            println!("skipped: script is not installed (apt-get install bsdutils)");
        }
        is_there
    }

    /// Runs `command` at a new one, with its variables and no others; each thing that is waited for comes within `limit`.
    pub async fn run(command: &Command, limit: Duration) -> Self {
        let command = command.as_std();
        let words: Vec<String> = [command.get_program()].into_iter().chain(command.get_args()).map(quoted).collect();
        // What is typed before the program sets its terminal otherwise is shown, as at any.
        let line = format!("tty; exec {}", words.join(" "));
        let mut script = Command::new("script");
        script.args(["--quiet", "--return", "--echo", "always", "--command", &line, "/dev/null"]).env_clear();
        script.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        if let Some(folder) = command.get_current_dir() {
            script.current_dir(folder);
        }
        script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = script.spawn().expect("script runs");
        let keyboard = child.stdin.take().expect("a pipe");
        let screen = child.stdout.take().expect("a pipe");
        let mut terminal = Self { child, keyboard, screen, path: String::new(), shown: String::new(), limit };
        terminal.shows("\n").await;
        let (path, rest) = terminal.shown.split_once("\r\n").expect("the terminal's name is a line");
        (terminal.path, terminal.shown) = (path.to_owned(), rest.to_owned());
        terminal
    }

    /// Waits until it has shown this.
    pub async fn shows(&mut self, text: &str) {
        let looking = async {
            while !self.shown.contains(text) {
                let mut bytes = [0; 1024];
                let count = self.screen.read(&mut bytes).await.expect("the screen can be read");
                assert!(count > 0, "it ends without `{text}`: {}", self.shown);
                self.shown.push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        };
        let limit = self.limit;
        let is_shown = tokio::time::timeout(limit, looking).await.is_ok();
        assert!(is_shown, "waited {limit:?} in vain for `{text}`: {}", self.shown);
    }

    /// Waits until it does not show what is typed. Programs ask for a secret first and hide it then: who types before is seen.
    pub async fn hides_what_is_typed(&self) {
        wait_for("the terminal hides what is typed", self.limit, async || {
            let settings =
                Command::new("stty").args(["--all", "--file", &self.path]).output().await.expect("stty runs");
            String::from_utf8_lossy(&settings.stdout).split_whitespace().any(|word| word == "-echo").then_some(())
        })
        .await;
    }

    pub async fn types(&mut self, text: &str) {
        // Who has said their last word does not listen.
        let _ = self.keyboard.write_all(text.as_bytes()).await;
    }

    /// What was shown up to the program's end, as its stdout, and how it ended. `arguments`: what to call it by.
    pub async fn ends(mut self, arguments: &[&str]) -> Said {
        let limit = self.limit;
        let ending = async {
            let mut rest = Vec::new();
            self.screen.read_to_end(&mut rest).await.expect("the screen can be read");
            self.shown.push_str(&String::from_utf8_lossy(&rest));
            self.child.wait().await.expect("it is our child")
        };
        let Ok(status) = tokio::time::timeout(limit, ending).await else {
            panic!("it has not ended in {limit:?}: {}", self.shown);
        };
        Said::new(arguments, Output { status, stdout: self.shown.into_bytes(), stderr: Vec::new() })
    }
}

/// One word to a shell, whatever is in it.
fn quoted(word: &OsStr) -> String {
    format!("'{}'", word.to_str().expect("tests have no other names").replace('\'', r"'\''"))
}
