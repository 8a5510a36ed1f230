//! The limits per API key or person and per organization, exact over all replicas.

use std::num::NonZeroU32;
use std::time::Duration;

use axum::http::Extensions;
use ckrv_types::OrgId;
use time::OffsetDateTime;

use super::{Standing, Standings, WINDOW, refused, standings};
use crate::auth::{Auth, Principal};
use crate::db::{Db, rate_limits};
use crate::error::ApiResult;
use crate::quota;
use crate::state::AppState;

/// Charges an authenticated request to its caller and then to the organization, or refuses it: what one caller sends beyond
/// its own limit takes nothing from the others. Called by the extractor that found the caller.
pub async fn charge_caller(state: &AppState, auth: &Auth, extensions: &Extensions) -> ApiResult<()> {
    let standings = standings(extensions);
    if let Some(per_minute) = NonZeroU32::new(state.config.rate_per_key) {
        let bucket = bucket_of(auth.principal);
        let standing = charge(state, "key", &bucket, per_minute, standings).await?;
        granted(state, "caller", &bucket, standing).await?;
    }
    // An organization without a limit has no row that all of its requests would queue at.
    if let Some(per_minute) = quota::requests_per_minute(state, auth.org).await? {
        let bucket = bucket_of_org(auth.org);
        let standing = charge(state, "organization", &bucket, per_minute, standings).await?;
        granted(state, "organization", &bucket, standing).await?;
    }
    Ok(())
}

/// How many of `per_minute` requests the organization has sent lately, and when that is forgotten.
pub async fn sent_by(
    db: &Db,
    org: OrgId,
    per_minute: NonZeroU32,
) -> Result<Option<(u32, OffsetDateTime)>, sqlx::Error> {
    let found = rate_limits::look(db, &bucket_of_org(org)).await?;
    // The limit may have been lowered since: the bucket is then fuller than it allows.
    let sent = |ahead| per_minute.get().saturating_sub(remaining(ahead, WINDOW / per_minute.get()));
    Ok(found.map(|(ahead, arrives_at)| (sent(ahead), arrives_at)))
}

async fn granted(state: &AppState, whose: &str, bucket: &str, charged: Result<(), Standing>) -> ApiResult<()> {
    if let Err(standing) = charged {
        state.gates.hold_back(bucket).await;
        return Err(refused(whose, standing));
    }
    Ok(())
}

/// Before an organization is told that it has used something up.
pub async fn hold_back(state: &AppState, org: OrgId) {
    state.gates.hold_back(&bucket_of_org(org)).await;
}

async fn charge(
    state: &AppState,
    name: &'static str,
    bucket: &str,
    per_minute: NonZeroU32,
    standings: Option<&Standings>,
) -> Result<Result<(), Standing>, sqlx::Error> {
    let interval = WINDOW / per_minute.get();
    let ask = |cost| rate_limits::charge(&state.db, bucket, cost, WINDOW);
    let arrives_in = state.gates.charge(bucket, interval, WINDOW, ask).await?;
    let standing = match arrives_in {
        Ok(ahead) => Standing { name, per_minute, remaining: remaining(ahead, interval), reset: ahead },
        Err(reset) => Standing { name, per_minute, remaining: 0, reset },
    };
    if let Some(standings) = standings {
        standings.note(standing);
    }
    Ok(arrives_in.map(drop).map_err(|_| standing))
}

/// All programs of a person share one.
fn bucket_of(caller: Principal) -> String {
    match caller {
        Principal::Key { key, .. } => format!("key:{key}"),
        Principal::User { user, .. } => format!("user:{user}"),
    }
}

fn bucket_of_org(org: OrgId) -> String {
    format!("org:{org}")
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
