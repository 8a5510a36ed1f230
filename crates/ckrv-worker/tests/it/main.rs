//! The worker's parts with real git and real processes.

mod clone;
mod collect;
mod git_host;
mod poison;
mod repository;
mod shim;
