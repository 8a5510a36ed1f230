//! What a request is authorized by.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use ckrv_types::Secret;
use futures::future::BoxFuture;

use crate::ClientError;

/// The bearer token, or where it comes from.
#[derive(Clone)]
pub enum Credential {
    /// For what asks for none.
    None,
    /// Stays as it is: an API key, the token of a runner or a worker.
    Fixed(Secret),
    /// Is asked for before each request, and again when the control plane refuses what it gave.
    Source(Arc<dyn TokenSource>),
}

/// Gives out access tokens, and renews them when they are about to expire.
pub trait TokenSource: Send + Sync {
    /// A token that is good now. It is asked for with every request and every connection of a stream, so an answer that is
    /// known has to be cheap.
    ///
    /// `refused`: what the control plane has just refused, whatever its expiry says. An answer that is the same again
    /// means that there is no other, and the refusal stands.
    fn token<'a>(&'a self, refused: Option<&'a Secret>) -> BoxFuture<'a, Result<Secret, TokenError>>;
}

/// Why there is no token to send.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The control plane could not be asked for one.
    #[error(transparent)]
    Renew(Box<ClientError>),
    /// There is none, and asking again changes nothing. What it is for its source to say, and for who made the source to
    /// know.
    #[error(transparent)]
    Missing(Box<dyn Error + Send + Sync>),
}

impl From<Secret> for Credential {
    fn from(token: Secret) -> Self {
        Self::Fixed(token)
    }
}

/// Says which kind it is, and no more.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Fixed(_) => "Fixed([redacted])",
            Self::Source(_) => "Source(…)",
        })
    }
}
