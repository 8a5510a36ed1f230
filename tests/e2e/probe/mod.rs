//! An agent that goes looking: at what its pod may connect to, and for what it should not know.

mod decoys;
mod doors;
mod search;
