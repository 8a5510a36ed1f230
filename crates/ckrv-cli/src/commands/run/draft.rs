//! A specification with holes: what a file says, what flags say, and one laid over the other.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, de};

use ckrv_types::JobSpec;
use ckrv_types::spec::{Limits, Retries};

use crate::duration;

/// A job's specification as far as it is given. In a file each field has the name that the API gives it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Draft {
    pub repo: Option<String>,
    pub branch: Option<String>,
    pub agent: Option<String>,
    pub prompt: Option<String>,
    pub command: Vec<String>,
    pub image: Option<String>,
    pub class: Option<String>,
    pub env: BTreeMap<String, String>,
    pub secrets: Vec<String>,
    pub artifacts: Vec<String>,
    pub limits: DraftLimits,
    pub retries: DraftRetries,
    pub budget_usd: Option<f64>,
    pub labels: BTreeMap<String, String>,
    pub priority: Option<i32>,
    /// Not part of the specification: where the job belongs, by name or id.
    pub project: Option<String>,
}

/// In seconds, or as `15m`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DraftLimits {
    #[serde(deserialize_with = "seconds")]
    pub queue: Option<u64>,
    #[serde(deserialize_with = "seconds")]
    pub start: Option<u64>,
    #[serde(deserialize_with = "seconds")]
    pub run: Option<u64>,
    #[serde(deserialize_with = "seconds")]
    pub idle: Option<u64>,
    #[serde(deserialize_with = "seconds")]
    pub grace: Option<u64>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DraftRetries {
    pub max_attempts: Option<u32>,
    pub oom: Option<bool>,
}

fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    struct Seconds;
    impl de::Visitor<'_> for Seconds {
        type Value = Option<u64>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("seconds, or a time such as 15m")
        }

        fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
            Ok(Some(value))
        }

        fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self::Value, E> {
            u64::try_from(value).map(Some).map_err(|_| E::invalid_value(de::Unexpected::Signed(value), &self))
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
            duration::parse_seconds(text).map(Some).map_err(E::custom)
        }
    }
    deserializer.deserialize_any(Seconds)
}

impl Draft {
    /// What `self` says, and where it says nothing what `below` does. Maps are laid over each other, lists replaced.
    pub fn over(self, below: Self) -> Self {
        Self {
            repo: self.repo.or(below.repo),
            branch: self.branch.or(below.branch),
            agent: self.agent.or(below.agent),
            prompt: self.prompt.or(below.prompt),
            command: first(self.command, below.command),
            image: self.image.or(below.image),
            class: self.class.or(below.class),
            env: merged(self.env, below.env),
            secrets: first(self.secrets, below.secrets),
            artifacts: first(self.artifacts, below.artifacts),
            limits: DraftLimits {
                queue: self.limits.queue.or(below.limits.queue),
                start: self.limits.start.or(below.limits.start),
                run: self.limits.run.or(below.limits.run),
                idle: self.limits.idle.or(below.limits.idle),
                grace: self.limits.grace.or(below.limits.grace),
            },
            retries: DraftRetries {
                max_attempts: self.retries.max_attempts.or(below.retries.max_attempts),
                oom: self.retries.oom.or(below.retries.oom),
            },
            budget_usd: self.budget_usd.or(below.budget_usd),
            labels: merged(self.labels, below.labels),
            priority: self.priority.or(below.priority),
            project: self.project.or(below.project),
        }
    }

    /// Fills the holes with defaults. The agent: the one named, or `command` where a command is given, or Claude Code.
    pub fn into_spec(self) -> JobSpec {
        let agent = self.agent.unwrap_or_else(|| {
            let name = if self.command.is_empty() { "claude-code" } else { "command" };
            name.to_owned()
        });
        let (limits, retries) = (Limits::default(), Retries::default());
        JobSpec {
            repo: self.repo.unwrap_or_default(),
            branch: self.branch,
            agent,
            prompt: self.prompt,
            command: self.command,
            image: self.image,
            class: self.class,
            env: self.env,
            secrets: self.secrets,
            artifacts: self.artifacts,
            limits: Limits {
                queue: self.limits.queue.unwrap_or(limits.queue),
                start: self.limits.start.unwrap_or(limits.start),
                run: self.limits.run.unwrap_or(limits.run),
                idle: self.limits.idle.unwrap_or(limits.idle),
                grace: self.limits.grace.unwrap_or(limits.grace),
            },
            retries: Retries {
                max_attempts: self.retries.max_attempts.unwrap_or(retries.max_attempts),
                oom: self.retries.oom.unwrap_or(retries.oom),
            },
            budget_usd: self.budget_usd,
            labels: self.labels,
            priority: self.priority.unwrap_or_default(),
        }
    }
}

fn first<T>(above: Vec<T>, below: Vec<T>) -> Vec<T> {
    if above.is_empty() { below } else { above }
}

fn merged(above: BTreeMap<String, String>, mut below: BTreeMap<String, String>) -> BTreeMap<String, String> {
    below.extend(above);
    below
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_follows_from_what_is_given() {
        let agent = |draft: Draft| draft.into_spec().agent;
        assert_eq!(agent(Draft::default()), "claude-code");
        assert_eq!(agent(Draft { command: vec!["make".into()], ..Draft::default() }), "command");
        let named = Draft { agent: Some("codex".into()), ..Draft::default() };
        assert_eq!(agent(named.clone()), "codex");
        assert_eq!(agent(Draft { command: vec!["make".into()], ..Draft::default() }.over(named)), "codex");
    }

    #[test]
    fn what_lies_above_counts_and_maps_are_merged() {
        let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let above = Draft { branch: Some("a".into()), env: map(&[("X", "1")]), ..Draft::default() };
        let below = Draft {
            repo: Some("r".into()),
            branch: Some("b".into()),
            env: map(&[("X", "2"), ("Y", "2")]),
            ..Draft::default()
        };
        let spec = above.over(below).into_spec();
        assert_eq!((spec.repo.as_str(), spec.branch.as_deref()), ("r", Some("a")));
        assert_eq!(spec.env, map(&[("X", "1"), ("Y", "2")]));
    }
}
