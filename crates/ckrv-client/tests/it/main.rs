//! The client against a peer that misbehaves on purpose: the faults are the peer's, the client is the real one.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

mod audit;
mod downloads;
mod lists;
mod logs;
mod oauth;
mod peer;
mod protocols;
mod requests;
mod tokens;
