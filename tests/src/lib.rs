//! What the tests share: a running stack of real parts, repositories to work on, and waiting for a condition with a limit.

pub mod acting;
pub mod browser;
pub mod canary;
pub mod cli;
pub mod cutter;
pub mod database;
pub mod follower;
pub mod gate;
pub mod invariants;
pub mod model;
pub mod people;
pub mod pod;
pub mod postgres;
pub mod processes;
pub mod random;
pub mod refusing;
pub mod relay;
pub mod replica;
pub mod repo;
pub mod runners;
pub mod ssh_host;
pub mod stack;
pub mod terminal;
pub mod wait;
