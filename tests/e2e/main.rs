//! On a real cluster, the one that `KUBECONFIG` names: `make e2e`. The control plane is outside of it; the operator is a
//! process here, or in the cluster as the chart installs it. Each test has namespaces of its own, and nothing but ckrv's
//! definitions is left behind.

#![expect(clippy::print_stdout, reason = "how long a failure takes to be told, and why a test is skipped")]

mod by_hand;
mod causes;
mod chart;
mod cluster;
mod definitions;
mod disturbing;
mod faults;
#[path = "../../crates/ckrv-worker/tests/it/git_host.rs"]
mod git_host;
mod inside;
mod installed;
mod leading;
mod many;
mod own;
mod pods;
mod probe;
mod release;
mod secrets;
mod vault;
