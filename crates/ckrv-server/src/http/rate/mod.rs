//! Rate limits: per address before authentication, per API key or person and per organization after it, told in `RateLimit` headers
//! (draft-ietf-httpapi-ratelimit-headers) and `Retry-After`; and for what strangers begin ([`beginnings`]).
//!
//! All are generic cell rate algorithms, those of requests with an allowance of one minute. The one per address is this process's; the others
//! lie in the database and so hold over replicas.

pub mod address;
pub mod beginnings;
mod caller;
mod gates;

use std::fmt::Write as _;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue};
use ckrv_types::{Problem, ProblemCode};

use crate::error::ApiError;

pub use caller::{charge_caller, hold_back, sent_by};
pub use gates::Gates;

const WINDOW: Duration = Duration::from_mins(1);
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// How one of the limits stands after this request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Standing {
    name: &'static str,
    per_minute: NonZeroU32,
    remaining: u32,
    /// With `remaining` 0: until one more is granted. Otherwise until the whole allowance is back.
    reset: Duration,
}

/// The limits that were looked at for one request, to be told in its answer.
#[derive(Clone, Default)]
pub struct Standings(Arc<Mutex<Vec<Standing>>>);

impl Standings {
    fn note(&self, standing: Standing) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(standing);
    }

    /// Puts what is known of the limits into the answer's headers.
    pub fn tell(&self, headers: &mut HeaderMap) {
        let standings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut limit, mut policy) = (String::new(), String::new());
        for standing in standings.iter() {
            let comma = if limit.is_empty() { "" } else { ", " };
            let Standing { name, per_minute, remaining, .. } = standing;
            let _ = write!(limit, "{comma}\"{name}\";r={remaining};t={}", seconds(standing.reset));
            let _ = write!(policy, "{comma}\"{name}\";q={per_minute};w={}", WINDOW.as_secs());
        }
        for (name, value) in [(LIMIT, limit), (POLICY, policy)] {
            if let Some(value) = HeaderValue::try_from(value).ok().filter(|value| !value.is_empty()) {
                headers.insert(name, value);
            }
        }
    }

    /// How long to stay away, for one who was refused.
    pub fn retry_after(&self) -> Option<u64> {
        let standings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        standings.iter().filter(|standing| standing.remaining == 0).map(|standing| seconds(standing.reset)).max()
    }
}

/// The standings of the request that these extensions belong to.
fn standings(extensions: &Extensions) -> Option<&Standings> {
    extensions.get::<Standings>()
}

fn refused(whose: &str, standing: Standing) -> ApiError {
    Problem::new(ProblemCode::RateLimited)
        .detail(format!("This {whose} may send {} requests a minute.", standing.per_minute))
        .hint(format!("Try again in {} s.", seconds(standing.reset)))
        .into()
}

/// Whole seconds, rounded up: never earlier than it is worth coming back.
fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_limits_are_told_as_structured_fields() {
        let standings = Standings::default();
        let per_minute = NonZeroU32::new(60).unwrap();
        standings.note(Standing { name: "address", per_minute, remaining: 59, reset: Duration::from_millis(900) });
        standings.note(Standing { name: "key", per_minute, remaining: 0, reset: Duration::from_millis(1100) });
        let mut headers = HeaderMap::new();
        standings.tell(&mut headers);
        assert_eq!(headers["ratelimit"], r#""address";r=59;t=1, "key";r=0;t=2"#);
        assert_eq!(headers["ratelimit-policy"], r#""address";q=60;w=60, "key";q=60;w=60"#);
        assert_eq!(standings.retry_after(), Some(2));
    }
}
