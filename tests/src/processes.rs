//! What runs on this machine, by `/proc`: whether a job has left anything behind, and its end where a test has to bring it
//! about.

use std::fs;
use std::path::{Path, PathBuf};

use ckrv_types::JobId;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A process that lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    pub pid: i32,
    /// Its command line, for people.
    pub command: String,
}

/// Processes that name something below `folder` in their arguments or environment, or stand in it.
pub fn below(folder: &Path) -> Vec<Process> {
    let needle = format!("{}/", folder.display()).into_bytes();
    living(|proc| {
        let mentions = |file| read(&proc.join(file)).windows(needle.len()).any(|part| part == needle);
        let stands = fs::read_link(proc.join("cwd")).is_ok_and(|cwd| cwd.starts_with(folder));
        stands || mentions("cmdline") || mentions("environ")
    })
}

/// Processes that carry one of these jobs in their environment, as all of an attempt do.
pub fn of_jobs(jobs: &[JobId]) -> Vec<Process> {
    let marks: Vec<Vec<u8>> = jobs
        .iter()
        .map(|job| format!("{}={job}-", ckrv_worker::supervise::environment::ATTEMPT_VARIABLE).into())
        .collect();
    living(|proc| {
        let environment = read(&proc.join("environ"));
        environment.split(|byte| *byte == 0).any(|entry| marks.iter().any(|mark| entry.starts_with(mark)))
    })
}

/// Processes of the session that `leader` began, itself included.
pub fn of_session(leader: i32) -> Vec<Process> {
    living(|proc| stat(proc).is_some_and(|(_, session)| session == leader))
}

pub fn is_alive(pid: i32) -> bool {
    stat(&PathBuf::from(format!("/proc/{pid}"))).is_some_and(|(is_dead, _)| !is_dead)
}

/// As a power cut would.
pub fn kill_hard(pid: i32) {
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap_or_else(|error| panic!("{pid} cannot be killed: {error}"));
}

/// Has it stand still, until [`go_on`].
pub fn stand_still(pid: i32) {
    kill(Pid::from_raw(pid), Signal::SIGSTOP).unwrap_or_else(|error| panic!("{pid} cannot be stopped: {error}"));
}

pub fn go_on(pid: i32) {
    kill(Pid::from_raw(pid), Signal::SIGCONT).unwrap_or_else(|error| panic!("{pid} cannot go on: {error}"));
}

/// Ends everything that has to do with `folder`.
pub fn kill_below(folder: &Path) {
    for process in below(folder) {
        // It may have ended in between.
        let _ = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
    }
}

fn living(wanted: impl Fn(&Path) -> bool) -> Vec<Process> {
    let me = i32::try_from(std::process::id()).expect("the kernel's process ids are below 2^22");
    let entries = fs::read_dir("/proc").expect("this system has /proc");
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| *pid != me)
        .map(|pid| (pid, PathBuf::from(format!("/proc/{pid}"))))
        .filter(|(pid, proc)| is_alive(*pid) && wanted(proc))
        .map(|(pid, proc)| Process { pid, command: shown(&read(&proc.join("cmdline"))) })
        .collect()
}

fn read(path: &Path) -> Vec<u8> {
    // It may have ended, or be another user's.
    fs::read(path).unwrap_or_default()
}

fn shown(arguments: &[u8]) -> String {
    String::from_utf8_lossy(arguments).replace('\0', " ").trim_end().chars().take(200).collect()
}

/// Whether it is dead, and its session: `pid (name) state parent group session …` (proc_pid_stat(5)).
fn stat(proc: &Path) -> Option<(bool, i32)> {
    let stat = fs::read_to_string(proc.join("stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    Some((matches!(*fields.first()?, "Z" | "X"), fields.get(3)?.parse().ok()?))
}
