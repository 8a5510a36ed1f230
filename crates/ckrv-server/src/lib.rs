//! The control plane: accepts jobs, gives attempts to runners, keeps logs and artifacts, and answers who may see what.
//!
//! The only crate that knows SQL. Handlers hold no SQL and no transaction; a use case opens the transaction through
//! [`db::Db`] and calls the free functions of `db::<aggregate>`.

pub mod admin;
pub mod admission;
pub mod api;
pub mod artifacts;
pub mod auth;
pub mod background;
pub mod config;
pub mod crash;
pub mod db;
pub mod error;
pub mod http;
pub mod logs;
pub mod metrics;
pub mod migrate;
pub mod oauth;
pub mod pages;
pub mod providers;
pub mod quota;
pub mod retention;
pub mod runner_api;
pub mod s3;
pub mod serve;
pub mod state;
pub mod sweeper;
pub mod teams;
mod text;
pub mod vault;
pub mod wake;
pub mod worker_api;
