//! The shim: a small process that runs the agent and nothing else, beside the orchestrator and without its secrets.
//!
//! 1. [`serve`] is `ckrv-worker shim`: it connects to the orchestrator, says hello, waits for one `Run`, runs the agent in
//!    a process group of its own, passes on its output, and bundles its commits with the agent's rights.
//! 2. [`Session`] is the orchestrator's end. Everything that it hears is untrusted: the agent may have taken over the shim.
//! 3. In a pod the two are in containers of their own, as different users: the shim comes to the orchestrator's [`Door`],
//!    takes the clone over before the agent runs, and opens up the work tree when it has ended ([`handover`]).
//! 4. Back-pressure is end to end: while nobody calls [`Session::next_event`], the socket fills and the agent's pipes are
//!    not read. Nothing is dropped.
//!
//! It must not know of the control plane, of credentials or of how work is collected.

mod agent;
mod bundler;
mod connect;
mod door;
mod frame;
mod handover;
mod inherited;
mod message;
mod oom;
mod serve;
mod session;
pub mod tree;

pub use connect::Connect;
pub use door::Door;
pub use message::{BundlePlan, Exit, RunAgent};
pub use serve::{ShimError, serve};
pub use session::{LaunchLocal, Session, SessionError, ShimEvent};
