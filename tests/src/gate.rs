//! Agents that a test holds where it wants them: they wait for a file, and say by one how far they are. So a test acts in
//! the middle of a run, however slow the machine is.

use std::path::PathBuf;

use tempfile::TempDir;

use crate::stack::JOB;
use crate::wait::wait_for;

/// A folder that test and agents share.
pub struct Gate(TempDir);

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

impl Gate {
    pub fn new() -> Self {
        Self(TempDir::with_prefix("ckrv-test-gate-").expect("a temporary folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Shell: says that the agent is here, and waits until the test opens.
    pub fn stop(&self, name: &str) -> String {
        let (here, open) = (self.path(&format!("{name}.here")), self.path(name));
        format!("touch '{}'; while [ ! -e '{}' ]; do sleep 0.05; done", here.display(), open.display())
    }

    /// Waits until an agent is at this stop.
    pub async fn reached(&self, name: &str) {
        let here = self.path(&format!("{name}.here"));
        wait_for(&format!("the agent comes to `{name}`"), JOB, async || here.exists().then_some(())).await;
    }

    /// Lets agents pass, from now on.
    pub fn open(&self, name: &str) {
        std::fs::write(self.path(name), "").expect("the file can be made");
    }

    /// Shell: writes a text for the test to read.
    pub fn note(&self, name: &str, text: &str) -> String {
        let (path, draft) = (self.path(name), self.path(&format!("{name}.draft")));
        format!("echo {text} > '{1}'; mv '{1}' '{0}'", path.display(), draft.display())
    }

    /// What an agent has written there, without white space around; `None`: nothing yet.
    pub fn noted(&self, name: &str) -> Option<String> {
        Some(std::fs::read_to_string(self.path(name)).ok()?.trim().to_owned())
    }

    /// Waits for an agent's note.
    pub async fn read(&self, name: &str) -> String {
        wait_for(&format!("the agent's `{name}`"), JOB, async || self.noted(name)).await
    }
}

/// Shell: prints `line <from>` to `line <to>`, each after `pause` seconds (`0`: none).
pub fn count(from: u32, to: u32, pause: &str) -> String {
    let pause = if pause == "0" { String::new() } else { format!("; sleep {pause}") };
    format!("i={from}; while [ $i -le {to} ]; do echo line $i{pause}; i=$((i+1)); done")
}

/// Panics at the first line that is not the one that [`count`] prints there.
#[track_caller]
pub fn assert_counted(printed: &str, from: u32, to: u32) {
    let mut lines = printed.lines();
    for number in from..=to {
        let (found, expected) = (lines.next(), format!("line {number}"));
        assert_eq!(found, Some(expected.as_str()), "of {} lines", printed.lines().count());
    }
    assert_eq!(lines.next(), None, "lines {from} to {to} are all");
}
