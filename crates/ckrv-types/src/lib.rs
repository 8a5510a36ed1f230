//! The words every part of ckrv shares: ids, the job's specification and states, log lines, artifacts,
//! the bodies of the API and of the runner and worker protocols, and the problems they answer with.
//!
//! Nothing here does IO or knows async; a change here is a change of the protocol.

pub mod artifact;
pub mod attempt;
pub mod audit;
pub mod cause;
pub mod collection;
pub mod credential;
pub mod fsck;
pub mod id;
pub mod identity;
pub mod job;
pub mod limits;
pub mod log;
pub mod object;
pub mod problem;
pub mod quota;
pub mod repo_url;
pub mod runner;
pub mod secret;
pub mod spec;
pub mod state;
pub mod token;
pub mod usage;
pub mod worker;

pub use artifact::Artifact;
pub use attempt::{Attempt, AttemptId};
pub use cause::Cause;
pub use collection::Page;
pub use id::{
    AuditId, CredentialId, InvitationId, JobId, KeyId, LoginId, OrgId, ProjectId, RunnerId, ServiceAccountId,
    SessionId, UserId,
};
pub use job::Job;
pub use problem::{Problem, ProblemCode};
pub use repo_url::RepoUrl;
pub use secret::Secret;
pub use spec::JobSpec;
pub use state::State;
