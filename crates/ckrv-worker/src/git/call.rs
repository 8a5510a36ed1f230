//! One call of a program: its own process group, a deadline, bounded output, secrets struck out of what it says.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, Command};

/// What git says on stderr is kept up to this many lines of this many bytes each, the latest.
const STDERR_LINES: usize = 100;
const STDERR_LINE_BYTES: usize = 1000;
const DEFAULT_LIMIT: Duration = Duration::from_mins(1);
const DEFAULT_STDOUT_BYTES: usize = 16 * 1024 * 1024;

/// Why a call brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error("`git` was not found")]
    Missing,
    #[error("could not run `git {what}`")]
    Io {
        what: String,
        #[source]
        source: io::Error,
    },
    #[error("`git {what}` was not done within {} s", limit.as_secs())]
    Timeout { what: String, limit: Duration },
    #[error("`git {what}` answered more than {limit} bytes")]
    TooLong { what: String, limit: usize },
    #[error("`git {what}` failed ({code}): {stderr}")]
    Failed { what: String, code: i32, stderr: String },
}

/// What a call answered.
#[derive(Debug)]
pub struct Output {
    /// The exit code; 128 + signal when one ended it.
    pub code: i32,
    /// Empty when it went to a file.
    pub stdout: Vec<u8>,
    /// The last lines, without progress, secrets struck out.
    pub stderr: String,
}

impl Output {
    /// The first line of the answer.
    pub fn line(&self) -> String {
        String::from_utf8_lossy(&self.stdout).lines().next().unwrap_or_default().to_owned()
    }
}

enum Input {
    None,
    Bytes(Vec<u8>),
    File(File),
}

/// A call being put together. Made by [`super::GitProgram::call`].
#[must_use]
pub struct Call {
    program: &'static str,
    globals: Vec<OsString>,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    input: Input,
    output: Option<File>,
    limit: Duration,
    stdout_bytes: usize,
    secrets: Vec<String>,
}

impl Call {
    pub(super) fn new(program: &'static str) -> Self {
        Self {
            program,
            globals: Vec::new(),
            args: Vec::new(),
            env: Vec::new(),
            input: Input::None,
            output: None,
            limit: DEFAULT_LIMIT,
            stdout_bytes: DEFAULT_STDOUT_BYTES,
            secrets: Vec::new(),
        }
    }

    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((key.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    pub fn config(mut self, key: &str, value: &str) -> Self {
        self.globals.extend(["-c".into(), format!("{key}={value}").into()]);
        self
    }

    /// The repository; never one that an agent could write to.
    pub fn git_dir(mut self, path: &Path) -> Self {
        self.globals.extend(["--git-dir".into(), path.into()]);
        self
    }

    pub fn work_tree(mut self, path: &Path) -> Self {
        self.globals.extend(["--work-tree".into(), path.into()]);
        self
    }

    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    pub fn input(mut self, bytes: Vec<u8>) -> Self {
        self.input = Input::Bytes(bytes);
        self
    }

    /// Standard input from the file's current position.
    pub fn input_file(mut self, file: File) -> Self {
        self.input = Input::File(file);
        self
    }

    pub fn output_file(mut self, file: File) -> Self {
        self.output = Some(file);
        self
    }

    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    pub fn stdout_bytes(mut self, bytes: usize) -> Self {
        self.stdout_bytes = bytes;
        self
    }

    /// Texts to be struck out of what the program says.
    pub(super) fn secrets(mut self, secrets: impl IntoIterator<Item = String>) -> Self {
        self.secrets.extend(secrets.into_iter().filter(|secret| !secret.is_empty()));
        self
    }

    /// Runs it; any exit code but 0 is an error.
    pub async fn run(self) -> Result<Output, CallError> {
        self.run_with(&mut |_| ()).await
    }

    /// As [`Call::run`]; `said` gets each line of stderr, progress too.
    pub async fn run_with(self, said: &mut (dyn FnMut(&str) + Send)) -> Result<Output, CallError> {
        let what = self.what();
        let output = self.run_any(said).await?;
        if output.code == 0 {
            return Ok(output);
        }
        Err(CallError::Failed { what, code: output.code, stderr: output.stderr })
    }

    /// As [`Call::run_with`]; the exit code is the caller's to judge.
    pub async fn run_any(mut self, said: &mut (dyn FnMut(&str) + Send)) -> Result<Output, CallError> {
        let what = self.what();
        let limit = self.limit;
        let mut child = self.spawn().map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => CallError::Missing,
            _ => CallError::Io { what: what.clone(), source },
        })?;
        let group = Group::of(&child);
        let answer = tokio::time::timeout(limit, self.talk(&mut child, said)).await;
        match answer {
            Ok(Ok(output)) => {
                group.ended();
                Ok(output)
            }
            Ok(Err(Fault::TooLong)) => Err(CallError::TooLong { what, limit: self.stdout_bytes }),
            Ok(Err(Fault::Io(source))) => Err(CallError::Io { what, source }),
            Err(_) => Err(CallError::Timeout { what, limit }),
        }
    }

    /// The subcommand, for messages: the rest may be long or private.
    fn what(&self) -> String {
        self.args.first().map(|arg| arg.to_string_lossy().into_owned()).unwrap_or_default()
    }

    fn spawn(&mut self) -> io::Result<Child> {
        let mut command = Command::new(self.program);
        command.args(&self.globals).args(&self.args).env_clear().envs(self.env.iter().map(|(key, value)| (key, value)));
        command.current_dir("/").process_group(0).kill_on_drop(true).stderr(Stdio::piped());
        command.stdin(match std::mem::replace(&mut self.input, Input::None) {
            Input::None => Stdio::null(),
            Input::File(file) => file.into(),
            Input::Bytes(bytes) => {
                self.input = Input::Bytes(bytes);
                Stdio::piped()
            }
        });
        command.stdout(self.output.take().map_or_else(Stdio::piped, Stdio::from));
        command.spawn()
    }

    async fn talk(&mut self, child: &mut Child, said: &mut (dyn FnMut(&str) + Send)) -> Result<Output, Fault> {
        let stdin = child.stdin.take();
        let input = match std::mem::replace(&mut self.input, Input::None) {
            Input::Bytes(bytes) => bytes,
            Input::None | Input::File(_) => Vec::new(),
        };
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let redacted = &mut |line: &str| {
            let line = strike_out(line, &self.secrets);
            said(&line);
            line
        };
        let ((), stdout, stderr) =
            tokio::try_join!(feed(stdin, input), read_all(stdout, self.stdout_bytes), read_lines(stderr, redacted))?;
        let status = child.wait().await?;
        let signal = std::os::unix::process::ExitStatusExt::signal(&status).unwrap_or_default();
        Ok(Output { code: status.code().unwrap_or(128 + signal), stdout, stderr })
    }
}

enum Fault {
    TooLong,
    Io(io::Error),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The program with all that it started: killed together unless it [`Group::ended`] by itself.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw))
    }

    fn ended(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            // It may have ended in this very moment.
            let _ = killpg(leader, Signal::SIGKILL);
        }
    }
}

async fn feed(stdin: Option<ChildStdin>, input: Vec<u8>) -> Result<(), Fault> {
    let Some(mut stdin) = stdin else { return Ok(()) };
    match stdin.write_all(&input).await {
        // A program that needs no more of it has its own exit code to say why.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

async fn read_all(pipe: Option<impl AsyncRead + Unpin>, limit: usize) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        pipe.take(limit as u64 + 1).read_to_end(&mut bytes).await?;
    }
    if bytes.len() > limit { Err(Fault::TooLong) } else { Ok(bytes) }
}

/// Reads lines ended by `\n`, `\r\n` (ssh) or `\r` (progress), and keeps the last ones that are not progress.
async fn read_lines(
    pipe: Option<impl AsyncRead + Unpin>,
    redacted: &mut (impl FnMut(&str) -> String + Send),
) -> Result<String, Fault> {
    let mut lines = Lines { redacted, line: Vec::new(), after_return: false, kept: VecDeque::new() };
    let Some(mut pipe) = pipe else { return Ok(String::new()) };
    let mut chunk = [0; 4096];
    loop {
        let count = pipe.read(&mut chunk).await?;
        if count == 0 {
            lines.end(false);
            return Ok(Vec::from(lines.kept).join("\n"));
        }
        chunk[..count].iter().for_each(|byte| lines.take(*byte));
    }
}

struct Lines<'a, R> {
    redacted: &'a mut R,
    line: Vec<u8>,
    after_return: bool,
    kept: VecDeque<String>,
}

impl<R: FnMut(&str) -> String> Lines<'_, R> {
    fn take(&mut self, byte: u8) {
        let was_return = std::mem::replace(&mut self.after_return, byte == b'\r');
        if byte == b'\n' {
            self.end(false);
            return;
        }
        if was_return {
            self.end(true);
        }
        if byte != b'\r' && self.line.len() < STDERR_LINE_BYTES {
            self.line.push(byte);
        }
    }

    fn end(&mut self, is_progress: bool) {
        let text = (self.redacted)(String::from_utf8_lossy(&self.line).trim());
        self.line.clear();
        if is_progress || text.is_empty() {
            return;
        }
        if self.kept.len() == STDERR_LINES {
            self.kept.pop_front();
        }
        self.kept.push_back(text);
    }
}

fn strike_out(line: &str, secrets: &[String]) -> String {
    secrets.iter().fold(line.to_owned(), |line, secret| line.replace(secret.as_str(), "[redacted]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn progress_is_told_and_not_kept_whatever_ends_a_line() {
        let said = "remote: 10%\rremote: 100%\rremote: 100%, done.\nssh: refused by s3cr3t\r\nfatal: end";
        let mut told = Vec::new();
        let redacted = &mut |line: &str| {
            told.push(line.to_owned());
            strike_out(line, &["s3cr3t".to_owned()])
        };
        let kept = read_lines(Some(said.as_bytes()), redacted).await.unwrap_or_else(|_| panic!("it can be read"));
        assert_eq!(kept, "remote: 100%, done.\nssh: refused by [redacted]\nfatal: end");
        assert_eq!(told.len(), 5);
    }
}
