//! A part that the server stands on, as it was found last. A change is logged once and measured.

use std::error::Error;
use std::sync::{Mutex, PoisonError};

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use serde::Serialize;
use utoipa::ToSchema;

use crate::metrics::ComponentLabel;

/// What is not as it should be, in fixed words that anybody may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = HealthTrouble)]
pub struct Trouble {
    /// `database`, `roles`, `schema`, `storage` or `server`.
    pub component: &'static str,
    pub message: &'static str,
}

/// Trouble, with its cause for the log.
pub struct Found {
    pub trouble: Trouble,
    pub error: Box<dyn Error + Send + Sync>,
}

pub struct Part {
    name: &'static str,
    up: Family<ComponentLabel, Gauge>,
    last: Mutex<Option<Trouble>>,
}

impl Part {
    /// `up` follows whether it is as it should be, from the first look on.
    pub fn new(name: &'static str, up: Family<ComponentLabel, Gauge>) -> Self {
        Self { name, up, last: Mutex::default() }
    }

    /// Remembers what a look has found.
    pub fn note(&self, found: Result<(), Found>) {
        self.up.get_or_create(&ComponentLabel { component: self.name }).set(found.is_ok().into());
        let trouble = found.as_ref().err().map(|found| found.trouble);
        let before = std::mem::replace(&mut *self.last.lock().unwrap_or_else(PoisonError::into_inner), trouble);
        if before == trouble {
            return;
        }
        if let Err(Found { trouble: Trouble { component, message }, error }) = found {
            tracing::warn!(component, error = &*error as &(dyn Error + 'static), "{component} {message}");
        } else {
            tracing::info!(component = self.name, "{} is as it should be again", self.name);
        }
    }

    /// What was found last; nothing before the first look.
    pub fn trouble(&self) -> Option<Trouble> {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
