//! Where git is, and the settings that every call of it gets.

use std::ffi::OsString;

use ckrv_types::fsck;

use super::call::Call;

/// The `git` program with the administrator's surroundings; nothing of the process's own environment reaches it.
#[derive(Debug, Clone)]
pub struct GitProgram {
    /// `PATH` for git and what it starts (ssh).
    pub search_path: OsString,
    /// The administrator's additions, such as `https_proxy`, `no_proxy` and `GIT_SSL_CAINFO`. Never secrets.
    pub env: Vec<(OsString, OsString)>,
}

/// The whole environment besides `PATH` and the administrator's additions.
const ENVIRONMENT: &[(&str, &str)] = &[
    ("LC_ALL", "C"),
    // No ~/.netrc, no ~/.config/git: a home that cannot exist.
    ("HOME", "/dev/null"),
    ("GIT_CONFIG_NOSYSTEM", "1"),
    ("GIT_CONFIG_GLOBAL", "/dev/null"),
    ("GIT_ATTR_NOSYSTEM", "1"),
    ("GIT_TERMINAL_PROMPT", "0"),
    ("GIT_OPTIONAL_LOCKS", "0"),
    ("GIT_LITERAL_PATHSPECS", "1"),
    ("GIT_NO_REPLACE_OBJECTS", "1"),
    ("GIT_PAGER", "cat"),
    ("GIT_EDITOR", "false"),
    ("GIT_SSH_VARIANT", "ssh"),
    // Transports are named by the calls that need one.
    ("GIT_ALLOW_PROTOCOL", "none"),
];

/// Settings of every call: they win over any configuration file.
const SETTINGS: &[(&str, &str)] = &[
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.untrackedCache", "false"),
    ("core.attributesFile", "/dev/null"),
    ("core.excludesFile", "/dev/null"),
    ("core.autocrlf", "false"),
    ("core.safecrlf", "false"),
    ("core.fileMode", "true"),
    ("core.symlinks", "true"),
    // What would be `.git` on another system is refused on this one too: the result is pulled anywhere.
    ("core.protectHFS", "true"),
    ("core.protectNTFS", "true"),
    ("core.bigFileThreshold", "64m"),
    ("credential.helper", ""),
    ("http.followRedirects", "false"),
    ("http.lowSpeedLimit", "1000"),
    ("http.lowSpeedTime", "60"),
    ("transfer.fsckObjects", "true"),
    ("transfer.bundleURI", "false"),
    ("fetch.recurseSubmodules", "false"),
    ("submodule.recurse", "false"),
    ("commit.gpgSign", "false"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("init.defaultBranch", "main"),
];

impl GitProgram {
    pub fn new(search_path: impl Into<OsString>) -> Self {
        Self { search_path: search_path.into(), env: Vec::new() }
    }

    /// A hardened call: no configuration but ours, no hooks, no prompt, no pager, no transport, no redirect.
    pub fn call(&self) -> Call {
        let mut call = Call::new("git").env("PATH", &self.search_path);
        for (key, value) in ENVIRONMENT {
            call = call.env(key, value);
        }
        for (key, value) in &self.env {
            call = call.env(key, value);
        }
        for (key, value) in SETTINGS {
            call = call.config(key, value);
        }
        for (key, value) in fsck::fetch_settings() {
            call = call.config(&key, value);
        }
        call
    }
}
