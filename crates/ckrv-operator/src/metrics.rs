//! What the operator measures of itself, for Prometheus. Labels come from closed lists, never from ids.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// Media type of the text exposition.
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WriteLabels {
    kind: &'static str,
    verb: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

pub struct Metrics {
    registry: Registry,
    writes: Family<WriteLabels, Counter>,
    reconciles: Family<OutcomeLabel, Counter>,
    latency: Histogram,
    pods: Counter,
    leads: Gauge,
    held: Gauge,
    wanted: Gauge,
    /// The API server answered when it was asked last.
    is_connected: AtomicBool,
}

impl Metrics {
    #[expect(clippy::new_without_default, reason = "made once, on purpose")]
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("ckrv_operator"),
            writes: Family::default(),
            reconciles: Family::default(),
            latency: Histogram::new(exponential_buckets(0.001, 2.0, 14)),
            pods: Counter::default(),
            leads: Gauge::default(),
            held: Gauge::default(),
            wanted: Gauge::default(),
            is_connected: AtomicBool::new(false),
        };
        let Self { registry, writes, reconciles, latency, pods, leads, held, wanted, is_connected: _ } = &mut metrics;
        registry.register("api_writes", "Writes asked of the API server, Events and the Lease apart", writes.clone());
        registry.register("reconciles", "AgentJobs looked at", reconciles.clone());
        registry.register("reconcile_seconds", "Time of one look at an AgentJob", latency.clone());
        registry.register("pods_created", "Pods made", pods.clone());
        registry.register("leader", "1: this operator leads", leads.clone());
        registry.register("held_attempts", "Attempts that the cluster has anything of", held.clone());
        registry.register("wanted_attempts", "Attempts that the control plane wants here", wanted.clone());
        metrics
    }

    pub fn wrote(&self, kind: &'static str, verb: &'static str) {
        self.writes.get_or_create(&WriteLabels { kind, verb }).inc();
    }

    pub fn reconciled(&self, took: Duration, is_ok: bool) {
        self.reconciles.get_or_create(&OutcomeLabel { outcome: if is_ok { "ok" } else { "error" } }).inc();
        self.latency.observe(took.as_secs_f64());
    }

    pub fn made_pod(&self) {
        self.pods.inc();
    }

    pub fn leads(&self, leads: bool) {
        self.leads.set(leads.into());
    }

    pub fn is_leading(&self) -> bool {
        self.leads.get() == 1
    }

    pub fn counts(&self, held: usize, wanted: usize) {
        self.held.set(i64::try_from(held).unwrap_or(i64::MAX));
        self.wanted.set(i64::try_from(wanted).unwrap_or(i64::MAX));
    }

    pub fn connected(&self, is_connected: bool) {
        self.is_connected.store(is_connected, Ordering::Relaxed);
    }

    pub fn is_connected(&self) -> bool {
        self.is_connected.load(Ordering::Relaxed)
    }

    /// All of it as text.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
