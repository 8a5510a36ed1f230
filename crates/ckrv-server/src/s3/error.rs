//! What can go wrong with the object store.

use std::error::Error;

use crate::error::ApiError;

/// A call to the object store that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} `{key}` in the object store")]
pub struct S3Error {
    what: &'static str,
    key: String,
    #[source]
    source: Box<dyn Error + Send + Sync>,
}

impl S3Error {
    pub(super) fn new(what: &'static str, key: &str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { what, key: key.to_owned(), source: source.into() }
    }

    pub(super) fn refused(what: &'static str, key: &str, message: Option<&str>) -> Self {
        Self::new(what, key, message.unwrap_or("refused without a reason").to_owned())
    }

    /// The error and what caused it, in one line for a log or a readiness report.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

impl From<S3Error> for ApiError {
    fn from(error: S3Error) -> Self {
        Self::Storage(error.chain())
    }
}
