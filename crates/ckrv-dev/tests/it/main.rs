//! The embedded PostgreSQL and S3, as the processes and clients they serve see them.

#![expect(clippy::unwrap_used, reason = "clippy's exception for tests does not reach the helpers beside them")]

mod postgres;
mod s3;
