//! The server on a real PostgreSQL and S3, in the test's process.

mod admission;
mod cancel;
mod events;
mod explain;
mod handed_in;
mod idempotency;
mod leases;
mod lists;
mod logins;
mod migrations;
mod requests;
mod retries;
mod runner;
mod tenancy;
mod transition;
mod worker;
