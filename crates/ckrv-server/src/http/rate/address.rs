//! The limit per address, before anything is known of the caller.
//!
//! Workers' routes are charged only for refused credentials: checking a worker's token costs no database, and all workers
//! behind one address share it. Everything else is charged for each request.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::time::Duration;

use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use governor::clock::{Clock as _, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};

use super::{Standing, WINDOW, refused, standings};
use crate::error::ApiError;
use crate::http::needs::Extracted;
use crate::state::AppState;

const NAME: &str = "address";
const FORWARDED_FOR: &str = "x-forwarded-for";
const WORKER_ROUTES: &str = "/v1/worker/";

type Limiter = RateLimiter<IpAddr, DashMapStateStore<IpAddr>, DefaultClock, StateInformationMiddleware>;

/// Allowances by address. A limit of 0 requests a minute is no limit.
pub struct AddressLimit {
    per_minute: Option<NonZeroU32>,
    limiter: Limiter,
}

impl AddressLimit {
    pub fn new(per_minute: u32) -> Self {
        let per_minute = NonZeroU32::new(per_minute);
        let quota = Quota::per_minute(per_minute.unwrap_or(NonZeroU32::MAX));
        Self { per_minute, limiter: RateLimiter::dashmap(quota).with_middleware() }
    }

    /// Forgets the addresses that have their whole allowance again.
    pub fn forget_idle(&self) {
        self.limiter.retain_recent();
        self.limiter.shrink_to_fit();
    }

    /// `Ok(None)`: there is no limit.
    fn charge(&self, address: IpAddr) -> Result<Option<Standing>, Standing> {
        let Some(per_minute) = self.per_minute else { return Ok(None) };
        match self.limiter.check_key(&address) {
            Ok(snapshot) => {
                let remaining = snapshot.remaining_burst_capacity();
                let missing = per_minute.get().saturating_sub(remaining);
                let reset = WINDOW.mul_f64(f64::from(missing) / f64::from(per_minute.get()));
                Ok(Some(Standing { name: NAME, per_minute, remaining, reset }))
            }
            Err(denied) => {
                let reset = denied.wait_time_from(DefaultClock::default().now()).max(Duration::from_millis(1));
                Err(Standing { name: NAME, per_minute, remaining: 0, reset })
            }
        }
    }
}

/// The layer.
pub async fn limit(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let Some(ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<SocketAddr>>() else {
        return next.run(request).await;
    };
    let address = bucket(client(request.headers(), peer.ip(), state.config.trusted_proxies));
    let noted = standings(request.extensions()).cloned().unwrap_or_default();
    let charge = || {
        let charged = state.addresses.charge(address);
        if let Ok(Some(standing)) | Err(standing) = charged {
            noted.note(standing);
        }
        charged.err().map(|standing| refused("address", standing).into_response())
    };
    let only_refusals = request.uri().path().starts_with(WORKER_ROUTES);
    if !only_refusals && let Some(refusal) = charge() {
        return refusal;
    }
    let response = next.run(request).await;
    if only_refusals
        && response.status() == StatusCode::UNAUTHORIZED
        && let Some(refusal) = charge()
    {
        return refusal;
    }
    response
}

/// Where a request comes from, as far as our own proxies vouch for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

impl ClientAddress {
    /// What limits count by: one customer, whichever of their addresses they use.
    pub fn bucket(self) -> IpAddr {
        bucket(self.0)
    }
}

impl Extracted for ClientAddress {}

impl FromRequestParts<AppState> for ClientAddress {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let ConnectInfo(peer) = peer.ok_or(ApiError::Internal("a connection has no address"))?;
        Ok(Self(client(&parts.headers, peer.ip(), state.config.trusted_proxies).to_canonical()))
    }
}

/// The address that asks: the connection's own, or the one that the outermost of our own proxies saw.
fn client(headers: &HeaderMap, peer: IpAddr, trusted_proxies: u8) -> IpAddr {
    let Some(skipped) = trusted_proxies.checked_sub(1) else { return peer };
    let lines = headers.get_all(FORWARDED_FOR).iter().filter_map(|line| line.to_str().ok());
    let hops: Vec<&str> = lines.flat_map(|line| line.split(',')).map(str::trim).collect();
    // Each proxy appends whom it saw; what stands before ours could be anybody's invention.
    hops.iter().rev().nth(usize::from(skipped)).and_then(|hop| hop.parse().ok()).unwrap_or(peer)
}

/// One customer has one IPv4 address, or the /64 of an IPv6 one.
fn bucket(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn forwarded(lines: &[&'static str]) -> HeaderMap {
        lines.iter().map(|line| (axum::http::HeaderName::from_static(FORWARDED_FOR), line.parse().unwrap())).collect()
    }

    #[test]
    fn a_forwarded_address_is_believed_only_from_our_own_proxies() {
        let headers = forwarded(&["6.6.6.6, 1.1.1.1", "2.2.2.2"]);
        for (proxies, expected) in [(0, "127.0.0.1"), (1, "2.2.2.2"), (2, "1.1.1.1"), (9, "127.0.0.1")] {
            assert_eq!(client(&headers, PEER, proxies), expected.parse::<IpAddr>().unwrap(), "{proxies} proxies");
        }
        assert_eq!(client(&forwarded(&["nonsense"]), PEER, 1), PEER);
    }

    #[test]
    fn one_network_of_ipv6_is_one_caller_and_a_mapped_ipv4_is_ipv4() {
        assert_eq!(bucket("2001:db8::1".parse().unwrap()), bucket("2001:db8::ffff:2".parse().unwrap()));
        assert_ne!(bucket("2001:db8::1".parse().unwrap()), bucket("2001:db8:0:1::1".parse().unwrap()));
        assert_eq!(bucket("::ffff:10.0.0.1".parse().unwrap()), "10.0.0.1".parse::<IpAddr>().unwrap());
    }

    #[test]
    fn the_allowance_is_used_up_by_one_address_alone() {
        let limit = AddressLimit::new(2);
        let standing = limit.charge(PEER).unwrap().unwrap();
        assert_eq!((standing.remaining, standing.reset), (1, Duration::from_secs(30)));
        assert!(limit.charge(PEER).is_ok());
        let standing = limit.charge(PEER).unwrap_err();
        assert!(standing.remaining == 0 && standing.reset > Duration::from_secs(29), "{standing:?}");
        assert!(limit.charge("10.0.0.1".parse().unwrap()).is_ok());
        assert_eq!(AddressLimit::new(0).charge(PEER), Ok(None));
    }
}
