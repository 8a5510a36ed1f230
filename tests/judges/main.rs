//! Third-party clients and servers, unmodified, as judges of the running server. They need Node.js, Python and Go beside the toolchain.

mod eventsource;
mod login;
mod oauth2_crate;
mod oidc;
mod schemathesis;
mod tools;
