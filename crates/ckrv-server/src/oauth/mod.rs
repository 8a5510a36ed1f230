//! The authorization server (OAuth 2.0, RFC 6749): people let programs act for them.

pub mod access_tokens;
mod jwt;
pub mod signing;
