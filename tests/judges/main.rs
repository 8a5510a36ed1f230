//! Third-party clients, unmodified, as judges of the running server. They need Node.js and Python beside the toolchain.

mod eventsource;
mod schemathesis;
mod tools;
