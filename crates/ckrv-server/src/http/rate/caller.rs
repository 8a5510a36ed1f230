//! The limit per API key or person, exact over all replicas.

use std::num::NonZeroU32;
use std::time::Duration;

use axum::http::Extensions;

use super::{Standing, WINDOW, refused, standings};
use crate::auth::Principal;
use crate::db::rate_limits;
use crate::error::ApiResult;
use crate::state::AppState;

const NAME: &str = "key";

/// Charges an authenticated request to its caller, or refuses it. Called by the extractor that found the caller.
pub async fn charge_caller(state: &AppState, caller: Principal, extensions: &Extensions) -> ApiResult<()> {
    let Some(per_minute) = NonZeroU32::new(state.config.rate_per_key) else { return Ok(()) };
    let interval = WINDOW / per_minute.get();
    let arrives_in = rate_limits::charge(&state.db, &bucket(caller), interval, WINDOW).await?;
    let standing = match arrives_in {
        Ok(ahead) => Standing { name: NAME, per_minute, remaining: remaining(ahead, interval), reset: ahead },
        Err(reset) => Standing { name: NAME, per_minute, remaining: 0, reset },
    };
    if let Some(standings) = standings(extensions) {
        standings.note(standing);
    }
    if arrives_in.is_err() { Err(refused("caller", standing)) } else { Ok(()) }
}

/// All programs of a person share one.
fn bucket(caller: Principal) -> String {
    match caller {
        Principal::Key { key, .. } => format!("key:{key}"),
        Principal::User { user, .. } => format!("user:{user}"),
    }
}

/// Requests that fit between the allowance's end and how far ahead of its time the key already is.
fn remaining(ahead: Duration, interval: Duration) -> u32 {
    let free = WINDOW.saturating_sub(ahead).as_nanos() / interval.as_nanos().max(1);
    u32::try_from(free).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_remains_is_counted_in_whole_requests() {
        let second = Duration::from_secs(1);
        assert_eq!(remaining(second, second), 59);
        assert_eq!(remaining(WINDOW, second), 0);
        assert_eq!(remaining(second * 119 / 2, second), 0);
    }
}
