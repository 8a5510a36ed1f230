//! Tests over more than one crate: the house's own rules, the server on a real PostgreSQL and S3, and the whole path.

mod artifacts;
mod claude_code;
mod faults_setup;
mod house;
mod server;
mod http;
mod logs;
mod model_proxy;
