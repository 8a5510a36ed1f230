//! Which answers of the control plane are its last word.

use ckrv_client::ClientError;

/// Whether the control plane itself has refused for good. Everything else passes: a server that is away or restarts, a
/// proxy that answers in its place, an answer cut short.
pub fn is_final(error: &ClientError) -> bool {
    error.problem().is_some() && !error.is_retryable()
}
