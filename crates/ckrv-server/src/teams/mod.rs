//! What is done with organizations by who does not belong to them: people join one by an invitation, and found one; the operator
//! makes them, and shuts people out of all of them.
//!
//! Here, and not in a tenant's transaction, because there is no organization yet that the request could be about.

pub mod founding;
pub mod joining;
pub mod operator;
