//! The worker: `supervise` carries one attempt from its start to its acknowledged end, `shim` runs the agent for it, and
//! `local` is the runner that supervises attempts as child processes of one machine.
//!
//! It talks to the control plane through `ckrv-client` alone, and knows neither SQL nor Kubernetes.

pub mod agents;
pub mod collect;
pub mod config;
pub mod crash;
pub mod git;
pub mod install;
pub mod local;
pub mod log;
pub mod proxy;
pub mod secrets;
pub mod shim;
pub mod supervise;

mod disk;
mod human;
#[cfg(target_os = "linux")]
mod proc;
mod upload;
