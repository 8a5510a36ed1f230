//! Why an attempt ended as it did, and whether that is worth another attempt.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::state::State;

macro_rules! causes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $state:ident, $retried:literal, $hint:literal;)+) => {
        /// The closed list of causes. Text form `<group>:<what>`, such as `agent:exit`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Cause {
            $($(#[$doc])* $name,)+
        }

        impl Cause {
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// The terminal state that this cause leads to.
            pub const fn state(self) -> State {
                match self { $(Self::$name => State::$state,)+ }
            }

            /// Whether another attempt may do better without the user changing anything.
            pub const fn is_retried(self) -> bool {
                match self { $(Self::$name => $retried,)+ }
            }

            /// What the user can do about it.
            pub const fn hint(self) -> &'static str {
                match self { $(Self::$name => $hint,)+ }
            }
        }
    };
}

causes! {
    /// Nobody had room for the attempt within the queue limit.
    QueueLimit = "limit:queue", TimedOut, false, "more runners or a longer `--queue-limit` would help; `ckrv explain` shows what it waited for";
    /// The run limit was reached.
    RunLimit = "limit:run", TimedOut, false, "raise `--run-limit`, or give the agent a smaller task; the work so far was kept";
    /// The attempt was assigned and never began.
    StartLimit = "infrastructure:start", Failed, true, "the runner took the job but its worker never started; look at the runner's own log";
    Image = "infrastructure:image", Failed, true, "check the image's name and the pull secrets of the job's class";
    Unschedulable = "infrastructure:unschedulable", Failed, true, "no node fits the class's requests, selectors and tolerations";
    ClusterQuota = "infrastructure:quota", Failed, true, "the job namespace's resource quota is used up";
    NodeLost = "infrastructure:node-lost", Failed, true, "the node stopped answering; the job was given to another one while attempts were left";
    /// Whatever ran the attempt was taken away under it.
    Evicted = "infrastructure:evicted", Failed, true, "its node was short of memory or disk or was drained, a volume was over its limit, or somebody deleted the pod: the message says which";
    /// The worker (the orchestrator of the attempt) died or went silent.
    WorkerLost = "infrastructure:worker-lost", Failed, true, "the worker died, or its node or network did; the log up to its last acknowledged line was kept, and `ckrv retry` runs the job again";
    /// The worker, or the git that it runs, had too little memory.
    WorkerOom = "infrastructure:worker-oom", Failed, true, "the worker needs more memory for this repository: raise orchestratorResources of the job's class";
    /// The runner went silent before the attempt began.
    RunnerLost = "infrastructure:runner-lost", Failed, true, "the runner stopped answering before the job began; `ckrv runner list` shows which are alive";
    /// The worker could not store what it had to.
    Storage = "infrastructure:storage", Failed, true, "the object store refused the job's results for too long";
    /// The disk or folder that the runner gave the job was unusable.
    WorkFolder = "infrastructure:work-folder", Failed, true, "the runner's work folder could not be used; see the message";
    CloneRefused = "setup:clone", Failed, false, "check the repository's URL and that the runner may read it";
    BranchMissing = "setup:branch", Failed, false, "check the branch's name: `git ls-remote --heads URL`";
    Credential = "setup:credential", Failed, false, "give the organization a credential for this host (`ckrv cloud credentials`), or the runner";
    RepositoryUrl = "setup:url", Failed, false, "use an https:// or ssh:// URL of a public address";
    /// The agent is not known to the runner, or its program is not there.
    /// The image that the job names is no image's name, or is not allowed.
    ImageRefused = "setup:image", Failed, false, "choose an image that the job's class allows, or another `--class`";
    AgentMissing = "setup:agent", Failed, false, "check `--agent` and that the image (or this machine) has the agent's program";
    SecretMissing = "setup:secret", Failed, false, "give the organization the named credential (`ckrv cloud credentials`), or the runner the named secret";
    AgentExit = "agent:exit", Failed, false, "the log's end says what the agent ran into: `ckrv logs --tail 50 JOB`";
    AgentOom = "agent:oom", Failed, false, "pick a class with more memory; `--retry-oom` asks for another attempt";
    /// Nothing was heard from the agent for the idle limit.
    AgentStalled = "agent:stalled", Failed, false, "the agent printed nothing for the idle limit; raise `--idle-limit` if it works silently";
    Budget = "agent:budget", Failed, false, "the model budget is used up; raise `--budget`, the work so far was kept";
    /// The agent wrote more than its disk quota.
    AgentDisk = "agent:disk", Failed, false, "the agent filled its disk quota; pick a class with more, or have it write less";
    CancelledByUser = "cancelled:user", Cancelled, false, "`ckrv retry` runs it again";
    /// The runner's side took the job away (its resource was deleted by an admin).
    CancelledByRunner = "cancelled:runner", Cancelled, false, "whoever runs the runner stopped it; `ckrv retry` runs it again";
}

/// A text that names no cause.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a cause")]
pub struct UnknownCause(String);

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Cause {
    type Err = UnknownCause;

    fn from_str(text: &str) -> Result<Self, UnknownCause> {
        Self::ALL
            .iter()
            .copied()
            .find(|cause| cause.as_str() == text)
            .ok_or_else(|| UnknownCause(text.chars().take(64).collect()))
    }
}

impl Serialize for Cause {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Cause {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for Cause {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .enum_values(Some(Self::ALL.iter().map(|cause| cause.as_str())))
            .description(Some("Why an attempt ended as it did."))
            .into()
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for Cause {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_survives_its_text_form() {
        for cause in Cause::ALL {
            assert_eq!(cause.as_str().parse::<Cause>(), Ok(*cause));
        }
    }

    #[test]
    fn every_cause_is_terminal_and_none_means_success() {
        for cause in Cause::ALL {
            assert!(cause.state().is_terminal());
            assert_ne!(cause.state(), State::Succeeded);
        }
    }

    #[test]
    fn only_infrastructure_is_retried_by_itself() {
        for cause in Cause::ALL {
            assert_eq!(cause.is_retried(), cause.as_str().starts_with("infrastructure:"), "{cause}");
        }
    }
}
