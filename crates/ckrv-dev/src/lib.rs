//! The embedded default: what `ckrv dev` and the tests run in place of a cluster. PostgreSQL and S3 of our own
//! on this machine's loopback, with all their state below one folder.
//!
//! The only crate that knows embedded PostgreSQL and S3. It is never in a production image, and nothing of
//! production may depend on it.

pub mod files;
pub mod postgres;
pub mod s3;
pub mod serve;
pub mod state;
pub mod testing;
mod wait;
