//! The `git` program, as the CLI calls it: on the user's own checkout with the user's own settings, and on what came from a
//! job with none at all.

pub mod checkout;
mod program;

pub use program::{Git, GitError};
