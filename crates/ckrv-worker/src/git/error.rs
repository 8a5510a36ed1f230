//! Why a clone failed, in words for the user, read out of what git said.

use std::fmt::Write;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use ckrv_types::Cause;

use super::call::CallError;

/// Each text says what happened and what to do next.
#[derive(Debug, thiserror::Error)]
pub enum CloneError {
    #[error("{0}")]
    BadBranchName(String),
    #[error("the repository has no branch `{branch}`{}", listed(.similar, *.total))]
    UnknownBranch {
        branch: String,
        /// Up to five, the most similar first.
        similar: Vec<String>,
        /// How many branches there are.
        total: usize,
    },
    #[error("the repository's default branch does not exist; name one with --branch{}", listed(.similar, *.total))]
    NoDefaultBranch { similar: Vec<String>, total: usize },
    #[error("the repository is empty: push a first commit, then run the job again")]
    Empty,
    #[error(
        "{host} refused the credential `{credential}` for this repository ({said}); check that it is still valid and may \
         read the repository"
    )]
    CredentialRefused { host: String, credential: String, said: String },
    #[error(
        "{host} wants a login, or there is no such repository ({said}); check the URL, or give the organization or \
         the runner a credential for {host}"
    )]
    LoginNeeded { host: String, said: String },
    #[error(
        "the key that {host} shows is not in the known_hosts file of the credential `{credential}` ({said}), so nothing was \
         sent; if that is the host's own key, add it there"
    )]
    HostKey { host: String, credential: String, said: String },
    #[error(
        "the repository belongs to another user of this machine, and git reads it for its owner only; run the runner as that user"
    )]
    OtherOwner,
    #[error("there is no git repository at that URL ({said}); check its spelling")]
    NotARepository { said: String },
    #[error("{host} redirects to another address, which is not followed; use the repository's present URL ({said})")]
    Redirected { host: String, said: String },
    #[error("could not reach {host}: {said}; check the URL's host and that the runner's network may reach it")]
    Unreachable { host: String, said: String },
    #[error("{host} leads to {address}, which is not a public address; this runner clones from public addresses only")]
    PrivateAddress { host: String, address: IpAddr },
    #[error("the repository's content is damaged or malicious and was refused ({said}); `git fsck` there shows more")]
    Malformed { said: String },
    #[error(
        "cloning was not done within {} s; the repository may be too large for the start limit, or its host too slow",
        limit.as_secs()
    )]
    Timeout { limit: Duration },
    #[error("git is not installed on this runner, or not in its PATH")]
    GitMissing,
    #[error("the runner's work folder could not be used: {said}")]
    Folder {
        said: String,
        #[source]
        source: Option<io::Error>,
    },
    #[error(
        "git was killed while it cloned, most likely because memory ran out: the worker needs more of it for this repository"
    )]
    Killed,
    #[error("git could not clone the repository: {said}")]
    Other { said: String },
}

impl CloneError {
    pub const fn cause(&self) -> Cause {
        match self {
            Self::BadBranchName(_) | Self::UnknownBranch { .. } | Self::NoDefaultBranch { .. } => Cause::BranchMissing,
            Self::CredentialRefused { .. } | Self::LoginNeeded { .. } => Cause::Credential,
            Self::PrivateAddress { .. } => Cause::RepositoryUrl,
            Self::Folder { .. } => Cause::WorkFolder,
            Self::Killed => Cause::WorkerOom,
            Self::Empty
            | Self::HostKey { .. }
            | Self::OtherOwner
            | Self::NotARepository { .. }
            | Self::Redirected { .. }
            | Self::Unreachable { .. }
            | Self::Malformed { .. }
            | Self::Timeout { .. }
            | Self::GitMissing
            | Self::Other { .. } => Cause::CloneRefused,
        }
    }

    pub(super) fn folder(source: io::Error) -> Self {
        Self::Folder { said: source.to_string(), source: Some(source) }
    }

    /// Reads git's words. `host`: of the URL, or `this machine`; `credential`: the one that was used.
    pub(super) fn read(error: CallError, host: &str, credential: Option<&str>) -> Self {
        let stderr = match error {
            CallError::Failed { code, stderr, .. } if is_killed(code, &stderr) => return Self::Killed,
            CallError::Failed { stderr, .. } => stderr,
            CallError::Timeout { limit, .. } => return Self::Timeout { limit },
            CallError::Missing => return Self::GitMissing,
            CallError::Io { source, .. } => return Self::folder(source),
            CallError::TooLong { .. } => return Self::Other { said: error.to_string() },
        };
        let said = telling_line(&stderr);
        let host = host.to_owned();
        match kind(&stderr.to_lowercase()) {
            Kind::Login => match credential {
                Some(name) => Self::CredentialRefused { host, credential: name.to_owned(), said },
                None => Self::LoginNeeded { host, said },
            },
            // Without a credential of its own any key is believed.
            Kind::HostKey => match credential {
                Some(name) => Self::HostKey { host, credential: name.to_owned(), said: host_key_line(&stderr) },
                None => Self::Other { said },
            },
            Kind::OtherOwner => Self::OtherOwner,
            Kind::NotARepository => Self::NotARepository { said },
            Kind::Redirected => Self::Redirected { host, said },
            Kind::Unreachable => Self::Unreachable { host, said },
            Kind::Malformed => Self::Malformed { said },
            Kind::Folder => Self::Folder { said, source: None },
            Kind::Other => Self::Other { said },
        }
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Login,
    HostKey,
    OtherOwner,
    NotARepository,
    Redirected,
    Unreachable,
    Malformed,
    Folder,
    Other,
}

/// What git, curl and ssh say (in English: `LC_ALL=C`), in lower case. The first that is found decides.
fn kind(stderr: &str) -> Kind {
    const TABLE: &[(Kind, &[&str])] = &[
        (
            Kind::Folder,
            &["no space left on device", "disk quota exceeded", "read-only file system", "could not create"],
        ),
        (
            Kind::Malformed,
            &[
                "fsck error",
                "index-pack failed",
                "invalid index-pack output",
                "bad object",
                "did not receive expected object",
            ],
        ),
        (Kind::OtherOwner, &["dubious ownership"]),
        (Kind::HostKey, &["host key verification failed"]),
        (
            Kind::Redirected,
            &[
                "returned error: 301",
                "returned error: 302",
                "returned error: 307",
                "returned error: 308",
                "unable to update url base from redirection",
            ],
        ),
        (
            Kind::Login,
            &[
                "could not read username",
                "could not read password",
                "authentication failed",
                "returned error: 401",
                "returned error: 403",
                "permission denied (",
                "access denied",
                "remote: repository not found",
            ],
        ),
        (
            Kind::NotARepository,
            &[
                "does not appear to be a git repository",
                "does not exist",
                "not found",
                "returned error: 404",
                "is this a git repository",
                "not a git repository",
                "not valid:",
            ],
        ),
        (
            Kind::Unreachable,
            &[
                "could not resolve",
                "failed to connect",
                "couldn't connect",
                "connection refused",
                "connection timed out",
                "connection reset",
                "connection closed",
                "no route to host",
                "network is unreachable",
                "unable to access",
                "operation timed out",
                "operation too slow",
                "ssl",
                "early eof",
                "hung up unexpectedly",
                "could not read from remote repository",
            ],
        ),
    ];
    TABLE
        .iter()
        .find(|(_, texts)| texts.iter().any(|text| stderr.contains(text)))
        .map_or(Kind::Other, |(kind, _)| *kind)
}

/// The line that says most: git's first complaint; over ssh, what stands before its general one.
fn telling_line(stderr: &str) -> String {
    const GENERAL: &str = "fatal: Could not read from remote repository.";
    let lines = || stderr.lines().filter(|line| !line.starts_with("Cloning into"));
    let line = lines()
        .find(|line| (line.starts_with("fatal:") || line.starts_with("error:")) && *line != GENERAL)
        .or_else(|| lines().take_while(|line| *line != GENERAL).last())
        .or_else(|| lines().next_back())
        .unwrap_or("git gave no reason");
    let line = line.trim_start_matches("fatal: ").trim_start_matches("error: ");
    line.chars().take(300).collect()
}

/// What ssh says of the host's key, without the file where it looked.
fn host_key_line(stderr: &str) -> String {
    let line = stderr.lines().find_map(|line| line.strip_suffix(" and you have requested strict checking."));
    line.unwrap_or("host key verification failed").chars().take(300).collect()
}

fn listed(similar: &[String], total: usize) -> String {
    if similar.is_empty() {
        return String::new();
    }
    let mut text =
        format!("; it has {}", similar.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "));
    if total > similar.len() {
        // Writing to a String cannot fail.
        let _ = write!(text, " and {} more", total - similar.len());
    }
    text
}

/// Whether git, or a process that it has started, was ended by SIGKILL. git goes on to blame what it then misses.
fn is_killed(code: i32, stderr: &str) -> bool {
    code == 128 + 9 || stderr.lines().any(|line| line.ends_with("died of signal 9"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(stderr: &str) -> CloneError {
        let error = CallError::Failed { what: "clone".into(), code: 128, stderr: stderr.into() };
        CloneError::read(error, "git.example.com", None)
    }

    #[test]
    fn what_git_says_is_told_by_kind() {
        use CloneError as E;
        for (stderr, expected) in [
            ("fatal: could not read Username for 'https://x': terminal prompts disabled", "login"),
            ("fatal: Authentication failed for 'https://x/'", "login"),
            ("git@x: Permission denied (publickey).\nfatal: Could not read from remote repository.", "login"),
            ("remote: Repository not found.\nfatal: repository 'https://x/' not found", "login"),
            ("fatal: repository 'https://x/' not found", "missing"),
            (
                "fatal: '/srv/x' does not appear to be a git repository\nfatal: Could not read from remote repository.",
                "missing",
            ),
            ("fatal: unable to access 'https://x/': Could not resolve host: x", "unreachable"),
            ("fatal: unable to access 'https://x/': The requested URL returned error: 403", "login"),
            ("fatal: unable to access 'https://x/': The requested URL returned error: 301", "redirected"),
            ("fatal: unable to access 'https://x/': The requested URL returned error: 502", "unreachable"),
            (
                "error: object 1234: hasDotgit: contains '.git'\nfatal: fsck error in packed object\nfatal: fetch-pack: invalid index-pack output",
                "malformed",
            ),
            ("Host key verification failed.\nfatal: Could not read from remote repository.", "other"),
            ("fatal: write error: No space left on device", "folder"),
            ("fatal: something new", "other"),
        ] {
            let told = match read(stderr) {
                E::LoginNeeded { .. } => "login",
                E::NotARepository { .. } => "missing",
                E::Unreachable { .. } => "unreachable",
                E::Redirected { .. } => "redirected",
                E::Malformed { .. } => "malformed",
                E::Folder { .. } => "folder",
                E::Other { .. } => "other",
                _ => "unexpected",
            };
            assert_eq!(told, expected, "{stderr}");
        }
    }

    #[test]
    fn a_host_key_that_is_not_known_is_told_apart_from_a_refused_login() {
        for said in ["No ED25519 host key is known for [h]:22", "Host key for [h]:22 has changed"] {
            let stderr = format!(
                "@@@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @@@\n{said} and you have requested strict checking.\n\
                 Host key verification failed.\nfatal: Could not read from remote repository."
            );
            let error = CallError::Failed { what: "clone".into(), code: 128, stderr };
            let error = CloneError::read(error, "h", Some("deploy"));
            assert!(matches!(&error, CloneError::HostKey { credential, .. } if credential == "deploy"), "{error}");
            assert!(error.to_string().contains(said), "{error}");
            assert_eq!(error.cause(), Cause::CloneRefused);
        }
    }

    #[test]
    fn a_git_that_was_killed_is_no_fault_of_the_repository() {
        let said = "error: index-pack died of signal 9\nfatal: fetch-pack: invalid index-pack output";
        for (code, stderr) in [(137, ""), (128, said)] {
            let error = CallError::Failed { what: "clone".into(), code, stderr: stderr.into() };
            assert_eq!(CloneError::read(error, "h", None).cause(), Cause::WorkerOom, "{code} {stderr}");
        }
    }

    #[test]
    fn an_unknown_branch_lists_what_there_is() {
        let error =
            CloneError::UnknownBranch { branch: "mian".into(), similar: vec!["main".into(), "dev".into()], total: 9 };
        assert_eq!(error.to_string(), "the repository has no branch `mian`; it has `main`, `dev` and 7 more");
        assert_eq!(error.cause(), Cause::BranchMissing);
    }
}
