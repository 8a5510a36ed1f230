//! Which of several operators leads: whoever holds the Lease (`coordination.k8s.io/v1`), as Kubernetes' own controllers do.
//!
//! 1. Free, or not renewed for [`DURATION`] by this operator's own clock (others' clocks are not believed): take it.
//! 2. Held: renew every [`RENEW`]. Not renewed for [`DEADLINE`]: stop leading, before anybody else begins to.
//! 3. Ending: give it back, so that a standby takes over at once.
//!
//! Every write carries the version that was read, so that of two who take it one fails.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};
use tokio::time::{sleep, timeout};

use crate::names;

const DURATION: Duration = Duration::from_secs(8);
const DEADLINE: Duration = Duration::from_secs(5);
const RENEW: Duration = Duration::from_secs(2);
/// How often a standby looks.
const LOOK: Duration = Duration::from_secs(1);

/// One operator's part in it.
pub struct Candidate {
    leases: Api<Lease>,
    name: String,
    identity: String,
    /// The last change of the Lease by somebody else, and when it was seen here.
    seen: Option<(Option<MicroTime>, Option<String>, Instant)>,
}

/// Why a Lease could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} the Lease {name}")]
pub struct LeaseError {
    what: &'static str,
    name: String,
    #[source]
    source: kube::Error,
}

impl Candidate {
    pub fn new(client: Client, namespace: &str, name: &str, identity: String) -> Self {
        Self { leases: Api::namespaced(client, namespace), name: name.to_owned(), identity, seen: None }
    }

    /// Ends when this operator leads. `connected` hears whether the API server answers.
    pub async fn elected(&mut self, connected: impl Fn(bool)) {
        loop {
            match timeout(DEADLINE, self.try_once()).await {
                Ok(Ok(true)) => return connected(true),
                Ok(Ok(false)) => connected(true),
                Ok(Err(error)) => {
                    connected(false);
                    tracing::warn!(%error, cause = %error.source, "not elected yet");
                }
                Err(_) => connected(false),
            }
            sleep(LOOK).await;
        }
    }

    /// Ends when this operator must not lead any longer.
    pub async fn deposed(&mut self, connected: impl Fn(bool)) {
        let mut renewed = Instant::now();
        loop {
            sleep(RENEW).await;
            let left = DEADLINE.saturating_sub(renewed.elapsed());
            match timeout(left, self.try_once()).await {
                Ok(Ok(true)) => {
                    renewed = Instant::now();
                    connected(true);
                }
                Ok(Ok(false)) | Err(_) => return,
                Ok(Err(error)) => {
                    connected(false);
                    tracing::warn!(%error, cause = %error.source, "the Lease was not renewed yet");
                }
            }
            if renewed.elapsed() >= DEADLINE {
                return;
            }
        }
    }

    /// Gives it back.
    pub async fn resign(&self) -> Result<(), LeaseError> {
        let Some(lease) = self.read().await? else { return Ok(()) };
        let spec = lease.spec.clone().unwrap_or_default();
        if spec.holder_identity.as_deref() != Some(&self.identity) {
            return Ok(());
        }
        let spec = LeaseSpec { holder_identity: None, lease_duration_seconds: Some(1), ..spec };
        self.write(Lease { spec: Some(spec), ..lease }).await.map(drop)
    }

    /// Takes or renews it, if it may. Whether this operator holds it now.
    async fn try_once(&mut self) -> Result<bool, LeaseError> {
        let Some(lease) = self.read().await? else { return self.create().await };
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.clone().filter(|holder| !holder.is_empty());
        let is_own = holder.as_deref() == Some(&self.identity);
        if !is_own && holder.is_some() && !self.is_stale(&spec) {
            return Ok(false);
        }
        let now = MicroTime(Timestamp::now());
        let transitions = spec.lease_transitions.unwrap_or(0);
        let next = LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            renew_time: Some(now.clone()),
            acquire_time: if is_own { spec.acquire_time.clone() } else { Some(now) },
            lease_transitions: Some(if is_own { transitions } else { transitions.saturating_add(1) }),
            ..spec
        };
        self.write(Lease { spec: Some(next), ..lease }).await
    }

    /// Whether its holder has not renewed it while this operator was looking.
    fn is_stale(&mut self, spec: &LeaseSpec) -> bool {
        match &self.seen {
            Some((renewed, holder, at)) if *renewed == spec.renew_time && *holder == spec.holder_identity => {
                at.elapsed() >= DURATION
            }
            _ => {
                self.seen = Some((spec.renew_time.clone(), spec.holder_identity.clone(), Instant::now()));
                false
            }
        }
    }

    async fn read(&self) -> Result<Option<Lease>, LeaseError> {
        self.leases.get_opt(&self.name).await.map_err(|source| self.failed("read", source))
    }

    async fn create(&self) -> Result<bool, LeaseError> {
        let now = MicroTime(Timestamp::now());
        let labels = [(names::MANAGED_BY.to_owned(), names::MANAGER.to_owned())];
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                labels: Some(labels.into()),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.identity.clone()),
                lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
                acquire_time: Some(now.clone()),
                renew_time: Some(now),
                ..LeaseSpec::default()
            }),
        };
        self.settled("make", self.leases.create(&PostParams::default(), &lease).await)
    }

    async fn write(&self, lease: Lease) -> Result<bool, LeaseError> {
        self.settled("write", self.leases.replace(&self.name, &PostParams::default(), &lease).await)
    }

    /// Whether the write was this operator's; somebody else's was first otherwise.
    fn settled(&self, what: &'static str, result: Result<Lease, kube::Error>) -> Result<bool, LeaseError> {
        match result {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(source) => Err(self.failed(what, source)),
        }
    }

    fn failed(&self, what: &'static str, source: kube::Error) -> LeaseError {
        LeaseError { what, name: self.name.clone(), source }
    }
}
