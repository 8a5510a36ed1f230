//! How many logins an address may begin. Whoever does is nobody yet, and each is a row until its end, so that it takes a limit
//! of its own, over all replicas.

use std::num::NonZeroU32;
use std::time::Duration;

use super::address::ClientAddress;
use crate::db::rate_limits;
use crate::state::AppState;

const WINDOW: Duration = Duration::from_hours(1);

/// What is begun; each has its own allowance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beginning {
    AtProvider,
    OfDevice,
}

/// Charged before anything is kept; `Err`: how long to wait.
pub async fn charge(
    state: &AppState,
    what: Beginning,
    address: ClientAddress,
) -> Result<Result<(), Duration>, sqlx::Error> {
    let per_hour = NonZeroU32::new(state.config.logins_per_address).filter(|_| state.config.rate_per_address > 0);
    let Some(per_hour) = per_hour else { return Ok(Ok(())) };
    let what = match what {
        Beginning::AtProvider => "provider",
        Beginning::OfDevice => "device",
    };
    let bucket = format!("begin:{what}:{}", address.bucket());
    Ok(rate_limits::charge(&state.db, &bucket, WINDOW / per_hour.get(), WINDOW).await?.map(drop))
}
