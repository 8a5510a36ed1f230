//! The `git` program, called so that neither a repository nor the machine's configuration can make it do more than asked.
//!
//! [`GitProgram`] makes hardened calls, [`clone`] brings a job's repository here with the runner's credential for its host.
//! It must not know of jobs, of the control plane, or of the agent; and nothing here may be pointed at a tree that an agent
//! has had its hands on (see `collect`).

mod address;
mod call;
mod clone;
mod credential;
mod error;
mod program;

pub use call::{Call, CallError, Output};
pub use clone::{Checkout, CloneRequest, clone};
pub use credential::{GitCredential, GitLogin};
pub use error::CloneError;
pub use program::GitProgram;
