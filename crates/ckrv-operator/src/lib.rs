//! The operator: the runner of one Kubernetes cluster, and the only crate that knows Kubernetes.
//!
//! It takes assignments from the control plane by the same protocol as every runner, and has each run in a pod of its own.
//! Nothing that it keeps in memory could not be had from a list again; it knows neither SQL nor what an agent does.

pub mod causes;
pub mod config;
pub mod control;
pub mod controller;
pub mod crash;
pub mod crd;
pub mod events;
pub mod health;
pub mod intake;
pub mod leader;
pub mod metrics;
pub mod names;
pub mod pod;
pub mod policy;
pub mod run;
pub mod stores;
pub mod triggers;
