//! The built program, as a shell runs it: exit codes, both streams, files. What needs a control plane is tested with the real
//! one, in the workspace's `tests`.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

mod cloud;
mod completions;
mod exit_codes;
mod help;
mod output;
mod profiles;
mod program;
mod run;
