//! Tests over more than one crate: the house's own rules, the server on a real PostgreSQL and S3, and the whole path.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

mod artifacts;
mod audit;
mod budget;
mod claude_code;
mod cloud;
mod end_to_end;
mod end_to_end_dev;
mod faults_agents;
mod faults_cancel;
mod faults_crash_points;
mod faults_outages;
mod faults_output;
mod faults_requests;
mod faults_setup;
mod faults_tree;
#[path = "../../crates/ckrv-worker/tests/it/git_host.rs"]
mod git_host;
mod git_over_http;
mod git_over_ssh;
mod house;
mod http;
mod identity;
mod invariants;
mod ledger;
mod logs;
mod matrix;
mod model_proxy;
mod oauth;
mod pages;
mod pod;
mod quotas;
mod revocation;
mod server;
mod sign_in;
mod teams;
mod teams_cli;
mod vault;
