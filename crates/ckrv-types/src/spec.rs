//! What a user asks for: the job's specification and the rules that it must keep.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::limits;
use crate::object::object;
use crate::problem::FieldError;
use crate::repo_url::{RepoPolicy, RepoUrl};

/// A job's specification. Immutable once accepted; unknown fields are refused, so that a typo is an error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct JobSpec {
    /// `https://…` or `ssh://…` (or the `git@host:path` short form). Never with a password in it.
    #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 2048))]
    pub repo: String,
    /// The branch to start from; absent: the remote's default branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 255))]
    pub branch: Option<String>,
    /// The agent's name in the runner's agents.yaml, such as `command` or `claude-code`.
    #[serde(default = "default_agent")]
    #[cfg_attr(feature = "openapi", schema(pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"))]
    pub agent: String,
    /// What the agent is to do. Needed by every agent but `command`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// For the agent `command`: program and arguments, run without a shell in the work tree.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(max_items = 256))]
    pub command: Vec<String>,
    /// The agent's container image; absent: the agent's or the class's own. A runner without containers ignores it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(pattern = "^[!-,.-~][!-~]{0,511}$"))]
    pub image: Option<String>,
    /// The admin-defined class of pod; absent: the runner's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"))]
    pub class: Option<String>,
    /// Plain environment variables for the agent. Not for secrets: they are shown to who may read the job.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Names of secrets that this job may use (git credentials, model keys): the organization's credentials, or what the runner
    /// holds. Those that the repository's host and the agent's provider need are found by themselves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(max_items = 32))]
    pub secrets: Vec<String>,
    /// Globs, relative to the work tree, of files to keep besides branch and patch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(max_items = 32))]
    pub artifacts: Vec<String>,
    #[serde(default, deserialize_with = "object")]
    pub limits: Limits,
    #[serde(default, deserialize_with = "object")]
    pub retries: Retries,
    /// Hard cap on the model's cost over all of the job's attempts, in US dollars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(exclusive_minimum = 0, maximum = 10000))]
    pub budget_usd: Option<f64>,
    /// For finding jobs again; keys like `team` or `example.com/team`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// -100 to 100; higher goes first within what the organization may run.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(minimum = -100, maximum = 100))]
    pub priority: i32,
}

fn default_agent() -> String {
    "command".to_owned()
}

/// The four limits and the grace, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// From accepted to assigned.
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 604_800))]
    pub queue: u64,
    /// From assigned to started, and from started until the agent runs.
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 7200))]
    pub start: u64,
    /// The agent's run.
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 86400))]
    pub run: u64,
    /// Silence of the agent.
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 86400))]
    pub idle: u64,
    /// Between SIGTERM and SIGKILL.
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 600))]
    pub grace: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            queue: limits::QUEUE_DEFAULT,
            start: limits::START_DEFAULT,
            run: limits::RUN_DEFAULT,
            idle: limits::IDLE_DEFAULT,
            grace: limits::GRACE_DEFAULT,
        }
    }
}

/// How often a job is tried when infrastructure fails it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Retries {
    /// Attempts in all, 1 to 10.
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 10))]
    pub max_attempts: u32,
    /// Whether an agent out of memory is worth another attempt.
    pub oom: bool,
}

impl Default for Retries {
    fn default() -> Self {
        Self { max_attempts: 3, oom: false }
    }
}

impl JobSpec {
    /// A specification with every default, for `repo` as given.
    pub fn new(repo: impl Into<String>) -> Self {
        Self {
            repo: repo.into(),
            branch: None,
            agent: default_agent(),
            prompt: None,
            command: Vec::new(),
            image: None,
            class: None,
            env: BTreeMap::new(),
            secrets: Vec::new(),
            artifacts: Vec::new(),
            limits: Limits::default(),
            retries: Retries::default(),
            budget_usd: None,
            labels: BTreeMap::new(),
            priority: 0,
        }
    }

    /// Every rule that the specification breaks, by field; empty when it is good. The CLI asks before it sends, the
    /// server before it accepts.
    pub fn check(&self, policy: &RepoPolicy) -> Vec<FieldError> {
        let mut errors = Errors::default();
        if let Err(error) = RepoUrl::parse(&self.repo, policy) {
            errors.add("repo", error.to_string());
        }
        if let Some(branch) = &self.branch
            && let Err(reason) = check_ref_name(branch)
        {
            errors.add("branch", reason);
        }
        self.check_agent(&mut errors);
        self.check_environment(&mut errors);
        self.check_artifacts(&mut errors);
        self.check_numbers(&mut errors);
        for (key, value) in &self.labels {
            if !is_label_key(key) || value.chars().count() > limits::LABEL_VALUE_CHARS || has_control(value) {
                errors.add(
                    "labels",
                    format!(
                        "`{key}`: keys are up to 63 of A-Z a-z 0-9 . _ - /, values up to 255 characters of one line"
                    ),
                );
            }
        }
        if self.labels.len() > limits::LABELS {
            errors.add("labels", format!("at most {} labels", limits::LABELS));
        }
        errors.0
    }

    fn check_agent(&self, errors: &mut Errors) {
        if !is_name(&self.agent) {
            errors.add("agent", "a name of a-z 0-9 - is expected");
        }
        let prompt = self.prompt.as_deref().unwrap_or_default();
        if prompt.len() > limits::PROMPT_BYTES {
            errors.add("prompt", format!("at most {} KiB", limits::PROMPT_BYTES / 1024));
        }
        if prompt.contains('\0') {
            errors.add("prompt", "must not contain NUL");
        }
        if self.agent == "command" {
            if self.command.first().is_none_or(String::is_empty) {
                errors.add("command", "the agent `command` needs a program: ckrv run … -- PROGRAM ARGS");
            }
        } else if prompt.trim().is_empty() {
            errors.add("prompt", format!("the agent `{}` needs a prompt", self.agent));
        }
        let bytes: usize = self.command.iter().map(String::len).sum();
        if self.command.len() > limits::COMMAND_ARGS || bytes > limits::COMMAND_BYTES {
            errors.add(
                "command",
                format!("at most {} arguments and {} KiB", limits::COMMAND_ARGS, limits::COMMAND_BYTES / 1024),
            );
        }
        if self.command.iter().any(|argument| argument.contains('\0')) {
            errors.add("command", "must not contain NUL");
        }
        if let Some(image) = &self.image
            && (image.is_empty()
                || image.len() > limits::IMAGE_CHARS
                || image.starts_with('-')
                || !image.bytes().all(|b| b.is_ascii_graphic()))
        {
            errors.add("image", "an image reference such as registry/name:tag is expected");
        }
        if self.class.as_deref().is_some_and(|class| !is_name(class)) {
            errors.add("class", "a name of a-z 0-9 - is expected");
        }
        if self.secrets.len() > limits::LABELS || self.secrets.iter().any(|name| !is_name(name)) {
            errors.add("secrets", "names of a-z 0-9 - are expected, at most 32");
        }
    }

    fn check_environment(&self, errors: &mut Errors) {
        let bytes: usize = self.env.iter().map(|(key, value)| key.len() + value.len()).sum();
        if self.env.len() > limits::ENV_ENTRIES || bytes > limits::ENV_BYTES {
            errors
                .add("env", format!("at most {} variables and {} KiB", limits::ENV_ENTRIES, limits::ENV_BYTES / 1024));
        }
        for (key, value) in &self.env {
            let name_ok = key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
                && key.bytes().next().is_some_and(|b| !b.is_ascii_digit());
            if !name_ok || value.contains('\0') {
                errors.add(
                    "env",
                    format!("`{}`: names are letters, digits and _, values have no NUL", key.escape_debug()),
                );
            }
            if key.starts_with("CKRV_") {
                errors.add("env", format!("`{key}`: names that begin with CKRV_ are ckrv's own"));
            }
        }
    }

    fn check_artifacts(&self, errors: &mut Errors) {
        if self.artifacts.len() > limits::ARTIFACT_GLOBS {
            errors.add("artifacts", format!("at most {} globs", limits::ARTIFACT_GLOBS));
        }
        for glob in &self.artifacts {
            let climbs = glob.split('/').any(|part| part == "..");
            if glob.is_empty()
                || glob.chars().count() > limits::GLOB_CHARS
                || glob.starts_with('/')
                || climbs
                || has_control(glob)
            {
                errors.add(
                    "artifacts",
                    format!("`{}`: a glob below the work tree is expected, such as target/*.log", glob.escape_debug()),
                );
            }
        }
    }

    fn check_numbers(&self, errors: &mut Errors) {
        let Limits { queue, start, run, idle, grace } = self.limits;
        for (name, value, max) in [
            ("limits.queue", queue, limits::QUEUE_MAX),
            ("limits.start", start, limits::START_MAX),
            ("limits.run", run, limits::RUN_MAX),
            ("limits.idle", idle, limits::IDLE_MAX),
            ("limits.grace", grace, limits::GRACE_MAX),
        ] {
            if value == 0 || value > max {
                errors.add(name, format!("1 to {max} seconds"));
            }
        }
        if self.retries.max_attempts == 0 || self.retries.max_attempts > limits::MAX_ATTEMPTS {
            errors.add("retries.max_attempts", format!("1 to {}", limits::MAX_ATTEMPTS));
        }
        if self.priority.abs() > limits::PRIORITY_MAX {
            errors.add("priority", format!("-{0} to {0}", limits::PRIORITY_MAX));
        }
        if self.budget_usd.is_some_and(|usd| !(usd > 0.0 && usd <= limits::BUDGET_USD_MAX)) {
            errors.add("budget_usd", format!("more than 0, at most {}", limits::BUDGET_USD_MAX));
        }
    }
}

#[derive(Default)]
struct Errors(Vec<FieldError>);

impl Errors {
    fn add(&mut self, field: &str, message: impl Into<String>) {
        self.0.push(FieldError { field: field.to_owned(), message: message.into() });
    }
}

fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}

/// A name in ckrv: 1 to 63 of `a-z 0-9 -`, beginning with a letter or digit (RFC 1123 label).
pub fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= limits::NAME_CHARS
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn is_label_key(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= limits::LABEL_KEY_CHARS
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/'))
}

/// Whether `name` may be a branch: the rules of git-check-ref-format(1), and no leading `-`.
#[expect(clippy::case_sensitive_file_extension_comparisons, reason = "so does git compare")]
pub fn check_ref_name(name: &str) -> Result<(), String> {
    let reason = if name.is_empty() || name.chars().count() > limits::REF_CHARS {
        "1 to 255 characters are expected"
    } else if name.starts_with('-') {
        "must not begin with `-`"
    } else if name == "@" || name.contains("@{") {
        "`@` alone and `@{` are git's own"
    } else if name.chars().any(|c| c.is_control() || " ~^:?*[\\".contains(c)) {
        "must not contain white space, control characters or any of ~ ^ : ? * [ \\"
    } else if name.contains("..") || name.ends_with('.') {
        "must not contain `..` or end with `.`"
    } else if name.split('/').any(|part| part.is_empty() || part.starts_with('.') || part.ends_with(".lock")) {
        "no part may be empty, begin with `.` or end with `.lock`"
    } else {
        return Ok(());
    };
    Err(format!("`{}` cannot be a branch: {reason}", name.escape_debug()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> JobSpec {
        JobSpec { command: vec!["true".into()], ..JobSpec::new("https://example.com/team/app.git") }
    }

    fn fields(spec: &JobSpec) -> Vec<String> {
        spec.check(&RepoPolicy::public()).into_iter().map(|error| error.field).collect()
    }

    #[test]
    fn a_minimal_command_job_is_good() {
        assert_eq!(fields(&good()), Vec::<String>::new());
    }

    #[test]
    fn each_broken_rule_names_its_field() {
        let broken: Vec<(&str, JobSpec)> = vec![
            ("repo", JobSpec { repo: "ext::sh".into(), ..good() }),
            ("branch", JobSpec { branch: Some("--upload-pack=x".into()), ..good() }),
            ("command", JobSpec { command: vec![], ..good() }),
            ("prompt", JobSpec { agent: "claude-code".into(), ..good() }),
            ("env", JobSpec { env: [("1X".to_owned(), String::new())].into(), ..good() }),
            ("env", JobSpec { env: [("CKRV_TOKEN".to_owned(), String::new())].into(), ..good() }),
            ("artifacts", JobSpec { artifacts: vec!["../etc/*".into()], ..good() }),
            ("artifacts", JobSpec { artifacts: vec!["/etc/*".into()], ..good() }),
            ("limits.run", JobSpec { limits: Limits { run: 0, ..Limits::default() }, ..good() }),
            ("retries.max_attempts", JobSpec { retries: Retries { max_attempts: 11, oom: false }, ..good() }),
            ("budget_usd", JobSpec { budget_usd: Some(f64::NAN), ..good() }),
            ("labels", JobSpec { labels: [("a b".to_owned(), String::new())].into(), ..good() }),
            ("priority", JobSpec { priority: 101, ..good() }),
        ];
        for (field, spec) in broken {
            assert_eq!(fields(&spec), [field]);
        }
    }

    #[test]
    fn an_unknown_field_is_an_error_not_a_silent_default() {
        let error = serde_json::from_str::<JobSpec>(r#"{"repo":"https://a.example/x","promt":"typo"}"#).unwrap_err();
        assert!(error.to_string().contains("promt"), "{error}");
    }

    #[test]
    fn branch_names_follow_git_check_ref_format() {
        for name in ["main", "feature/x", "v1.0", "a-b_c", "ü"] {
            assert_eq!(check_ref_name(name), Ok(()), "{name}");
        }
        for name in [
            "", "-x", "a..b", "a b", "a~1", "a^", "a:b", "a?", "a*", "a[", "a\\b", "/a", "a/", "a//b", ".a", "a/.b",
            "a.lock", "a.", "@", "a@{b", "a\nb", "a\x7f",
        ] {
            assert!(check_ref_name(name).is_err(), "{name:?} was accepted");
        }
    }
}
