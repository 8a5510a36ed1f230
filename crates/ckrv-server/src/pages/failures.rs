//! How often it may be tried who somebody is: failures are counted by login name and by address, over all replicas.

use std::time::Duration;

use ckrv_types::limits;

use crate::auth::tokens;
use crate::db::rate_limits;
use crate::error::ApiResult;
use crate::http::rate::address::ClientAddress;
use crate::state::AppState;

const WINDOW: Duration = Duration::from_secs(limits::SIGN_IN_WINDOW_SECONDS);

/// The allowances that a failure uses up, each a bucket and the time that one failure takes to be forgotten.
pub struct Failures(Vec<(String, Duration)>);

impl Failures {
    /// Of whoever comes back to here from a provider.
    pub fn of_returns(address: ClientAddress) -> Self {
        Self::at("return", address)
    }

    /// Of whoever comes back without having been sent: no other allowance is used up by it, as a browser can be brought to it by
    /// any page.
    pub fn of_unknown_returns(address: ClientAddress) -> Self {
        Self::at("unknown-return", address)
    }

    fn at(what: &str, address: ClientAddress) -> Self {
        Self(vec![(format!("{what}:address:{}", address.bucket()), WINDOW / limits::SIGN_IN_FAILURES_ADDRESS)])
    }

    /// Of whoever tries this login name from here.
    pub fn of(login: &str, address: ClientAddress) -> Self {
        let Self(mut buckets) = Self::at("sign-in", address);
        let name = hex::encode(&tokens::hash(login)[..16]);
        buckets.push((format!("sign-in:login:{name}"), WINDOW / limits::SIGN_IN_FAILURES_LOGIN));
        Self(buckets)
    }

    /// Charged before anything is looked at, so that many at once guess no more often; `Err`: how long to wait.
    pub async fn charge(&self, state: &AppState) -> ApiResult<Result<(), Duration>> {
        for (bucket, interval) in &self.0 {
            if let Err(wait) = rate_limits::charge(&state.db, bucket, *interval, WINDOW).await? {
                return Ok(Err(wait));
            }
        }
        Ok(Ok(()))
    }

    /// It was no failure.
    pub async fn give_back(&self, state: &AppState) -> ApiResult<()> {
        for (bucket, interval) in &self.0 {
            rate_limits::give_back(&state.db, bucket, *interval).await?;
        }
        Ok(())
    }
}
