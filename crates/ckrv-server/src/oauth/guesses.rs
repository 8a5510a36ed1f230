//! How often a code may be guessed (RFC 8628, section 5.1). Each guess is charged before anything is looked up and given back
//! when it was right, so that however many are made at once, no more are answered.

use std::net::IpAddr;
use std::time::Duration;

use ckrv_types::SessionId;

use crate::db::{Db, rate_limits};
use crate::error::ApiResult;
use crate::http::rate::address::ClientAddress;

const WINDOW: Duration = Duration::from_mins(10);
const PER_SESSION: u32 = 10;
const PER_ADDRESS: u32 = 30;

/// Who guesses.
pub struct Guesser([(String, Duration); 2]);

impl Guesser {
    pub fn new(session: SessionId, address: &str) -> Self {
        let address = match address.parse::<IpAddr>() {
            Ok(address) => ClientAddress(address).bucket().to_string(),
            Err(_) => address.to_owned(),
        };
        Self([
            (format!("user-code:{session}"), WINDOW / PER_SESSION),
            (format!("user-code:{address}"), WINDOW / PER_ADDRESS),
        ])
    }

    /// `Err`: so long until one more is let through.
    pub async fn charge(&self, db: &Db) -> ApiResult<Result<(), Duration>> {
        for (bucket, interval) in &self.0 {
            if let Err(wait) = rate_limits::charge(db, bucket, *interval, WINDOW).await? {
                return Ok(Err(wait));
            }
        }
        Ok(Ok(()))
    }

    /// It was right.
    pub async fn give_back(&self, db: &Db) -> ApiResult<()> {
        for (bucket, interval) in &self.0 {
            rate_limits::give_back(db, bucket, *interval).await?;
        }
        Ok(())
    }
}
