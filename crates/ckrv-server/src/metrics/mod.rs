//! What the server measures of itself, for Prometheus. Labels come from closed lists and route templates, never from ids.

pub mod sample;

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use ckrv_types::Cause;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::db::Db;

/// Media type of the text exposition.
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    /// The template, such as `/v1/jobs/{id}`; `none` where nothing matched.
    pub route: String,
    pub method: &'static str,
    /// `2xx` … `5xx`
    pub status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RouteLabels {
    pub route: String,
    pub method: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StateLabel {
    pub state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PoolLabels {
    pub pool: &'static str,
    /// `busy`, `idle`, or `limit`: how many there may be
    pub state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ComponentLabel {
    /// `database` or `storage`
    pub component: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CauseLabel {
    pub cause: &'static str,
}

type LatencyByRoute = Family<RouteLabels, Histogram, fn() -> Histogram>;

pub struct Metrics {
    registry: Registry,
    pub requests: Family<RequestLabels, Counter>,
    pub latency: LatencyByRoute,
    pub streams: Gauge,
    pub appended_lines: Counter,
    pub appended_bytes: Counter,
    pub archived_logs: Counter,
    /// Sampled: attempts that are not over, by state.
    pub attempts: Family<StateLabel, Gauge>,
    /// Sampled: how long the oldest queued attempt has waited.
    pub queue_age: Gauge<f64, AtomicU64>,
    connections: Family<PoolLabels, Gauge>,
    /// 1 or 0: whether a part that the server stands on was as it should be when it was last looked at.
    pub component_up: Family<ComponentLabel, Gauge>,
    /// From when an attempt was due to its assignment, in seconds.
    pub admission_latency: Histogram,
    swept: Family<CauseLabel, Counter>,
}

impl Metrics {
    #[expect(clippy::new_without_default, reason = "made once, on purpose")]
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("ckrv"),
            requests: Family::default(),
            latency: Family::new_with_constructor(latency_buckets),
            streams: Gauge::default(),
            appended_lines: Counter::default(),
            appended_bytes: Counter::default(),
            archived_logs: Counter::default(),
            attempts: Family::default(),
            queue_age: Gauge::default(),
            connections: Family::default(),
            component_up: Family::default(),
            admission_latency: latency_buckets(),
            swept: Family::default(),
        };
        metrics.register();
        metrics
    }

    /// The text exposition.
    pub fn encode(&self) -> String {
        let mut out = String::new();
        text::encode(&mut out, &self.registry).expect("writing to a String cannot fail");
        out
    }

    /// Records how long an attempt waited for its assignment, from when it was due, in seconds.
    pub fn admission_wait(&self, seconds: f64) {
        self.admission_latency.observe(seconds);
    }

    /// Counts an attempt that the sweeper ended: over its limits, or because nobody was heard from.
    pub fn swept(&self, cause: Cause) {
        self.swept.get_or_create(&CauseLabel { cause: cause.as_str() }).inc();
    }

    /// Looks at the pools.
    pub fn observe_pools(&self, db: &Db) {
        for (name, pool) in [("app", db.app_pool()), ("system", db.system_pool())] {
            let idle = i64::try_from(pool.num_idle()).unwrap_or(i64::MAX);
            let limit = i64::from(pool.options().get_max_connections());
            for (state, count) in [("idle", idle), ("busy", i64::from(pool.size()) - idle), ("limit", limit)] {
                self.connections.get_or_create(&PoolLabels { pool: name, state }).set(count);
            }
        }
    }

    /// Records one answered request.
    pub fn observe_request(&self, route: &str, method: &'static str, status: u16, took: Duration) {
        let labels = RequestLabels { route: route.to_owned(), method, status: status_class(status) };
        self.requests.get_or_create(&labels).inc();
        let labels = RouteLabels { route: labels.route, method };
        self.latency.get_or_create(&labels).observe(took.as_secs_f64());
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("http_requests", "Answered requests", self.requests.clone());
        registry.register_with_unit(
            "http_request_duration",
            "From a request to the beginning of its answer",
            Unit::Seconds,
            self.latency.clone(),
        );
        registry.register("streams_open", "Log and event streams being read", self.streams.clone());
        registry.register("log_lines_appended", "Log lines kept", self.appended_lines.clone());
        registry.register_with_unit("log_appended", "Log kept, uncompressed", Unit::Bytes, self.appended_bytes.clone());
        registry.register("logs_archived", "Logs moved to the object store", self.archived_logs.clone());
        registry.register("attempts", "Attempts that are not over", self.attempts.clone());
        registry.register_with_unit(
            "queue_age",
            "How long the oldest queued attempt has waited",
            Unit::Seconds,
            self.queue_age.clone(),
        );
        registry.register("attempts_swept", "Attempts ended by the sweeper", self.swept.clone());
        registry.register("database_connections", "Connections of the pools", self.connections.clone());
        registry.register("component_up", "Whether database and object store answer", self.component_up.clone());
        registry.register_with_unit(
            "admission_latency",
            "From an attempt's being due to its assignment",
            Unit::Seconds,
            self.admission_latency.clone(),
        );
    }
}

fn latency_buckets() -> Histogram {
    Histogram::new([0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0])
}

const fn status_class(status: u16) -> &'static str {
    match status / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_template_method_and_class() {
        let metrics = Metrics::new();
        metrics.observe_request("/v1/jobs/{id}", "GET", 404, Duration::from_millis(3));
        let text = metrics.encode();
        let line = r#"ckrv_http_requests_total{route="/v1/jobs/{id}",method="GET",status="4xx"} 1"#;
        assert!(text.contains(line), "{text}");
        assert!(text.contains("ckrv_http_request_duration_seconds_bucket"), "{text}");
    }
}
