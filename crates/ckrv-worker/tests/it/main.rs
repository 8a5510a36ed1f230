//! The worker's parts with real git and real processes.

#![expect(clippy::unwrap_used, reason = "in a test a failure is a panic")]

mod bundles;
mod clone;
mod collect;
mod git_host;
mod poison;
mod repository;
mod shim;
mod wait;
