//! The model proxy: how an agent uses a model whose key it never has.
//!
//! One for each attempt, in the supervisor's process, on a loopback port of its own:
//! 1. The agent gets the proxy's address and a phantom key ([`ModelProxy::env`]), good for this attempt only. Whatever
//!    comes without that key is refused and goes nowhere.
//! 2. [`forward`] lets through the provider's model routes alone, drops the agent's credentials and every header that is
//!    not the API's own, and puts in the real key, which goes to the configured host and to no other.
//! 3. [`answer`] passes the answer on event by event, and [`meter`] counts it from the provider's own numbers.
//! 4. When the budget is reached, the answer is cut, every further request is refused, and
//!    [`ModelProxy::budget_exceeded`] tells the supervisor to stop the agent.
//!
//! It must not know of the control plane, of jobs' states or of how the agent is run. What a provider's API looks like is
//! known to one file each ([`provider`]).

mod answer;
mod anthropic;
mod forward;
mod meter;
mod prices;
mod provider;
mod sse;
mod upstream;

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use ckrv_types::token::{self, SECRET_BYTES, TokenKind};
use ckrv_types::usage::Usage;
use ckrv_types::{AttemptId, Secret};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use url::Url;

use meter::Meter;
use prices::Prices;
use provider::Dialect;
pub use provider::{Provider, UnknownProvider};
use upstream::Upstream;

/// Tells the job's log something, as ckrv itself. Never waits.
pub type Say = Arc<dyn Fn(&str) + Send + Sync>;

pub struct ProxyConfig {
    pub provider: Provider,
    /// Where the provider's API is, if not at its own address: a gateway. `http` only to loopback and private addresses.
    pub upstream: Option<Url>,
    /// The real key.
    pub key: Secret,
    pub attempt: AttemptId,
    /// What the job may spend, in US dollars.
    pub budget_usd: Option<f64>,
    /// What its earlier attempts have spent of that.
    pub spent_usd: f64,
    pub say: Say,
}

/// Why there is no proxy.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    #[error("the model provider's address ({host}) cannot be used: {reason}")]
    Upstream { host: String, reason: &'static str },
    #[error("the model provider's key holds characters that no header can carry")]
    Key,
    #[error("cannot prepare connections to the model provider")]
    Tls(#[source] reqwest::Error),
    #[error("cannot listen on a loopback port for the model proxy")]
    Listen(#[source] io::Error),
}

/// A running proxy. Dropping it closes it.
pub struct ModelProxy {
    shared: Arc<Shared>,
    address: SocketAddr,
    server: JoinHandle<()>,
    _close_on_drop: DropGuard,
}

/// What every request needs.
struct Shared {
    dialect: &'static dyn Dialect,
    upstream: Upstream,
    phantom: Secret,
    meter: Arc<Meter>,
    closing: CancellationToken,
}

impl ModelProxy {
    pub async fn start(config: ProxyConfig) -> Result<Self, ProxyError> {
        let ProxyConfig { provider, upstream, key, attempt, budget_usd, spent_usd, say } = config;
        let dialect = provider.dialect();
        let base = upstream.unwrap_or_else(|| {
            Url::parse(provider.default_upstream()).expect("a unit test reads every provider's own address")
        });
        let shared = Arc::new(Shared {
            dialect,
            upstream: Upstream::new(&base, &key, dialect)?,
            phantom: phantom_key(attempt),
            meter: Arc::new(Meter::new(Prices::of(provider.name()), budget_usd, spent_usd, say)),
            closing: CancellationToken::new(),
        });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(ProxyError::Listen)?;
        let address = listener.local_addr().map_err(ProxyError::Listen)?;
        let router = Router::new().fallback(forward::handle).with_state(Arc::clone(&shared));
        let closing = shared.closing.clone();
        let server = tokio::spawn(async move {
            let closed = closing.cancelled_owned();
            if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(closed).await {
                tracing::error!(%error, "the model proxy has failed");
            }
        });
        tracing::info!(%provider, host = shared.upstream.host(), %address, "model proxy started");
        let close_on_drop = shared.closing.clone().drop_guard();
        Ok(Self { shared, address, server, _close_on_drop: close_on_drop })
    }

    /// The environment variables by which the agent finds the proxy.
    pub fn env(&self) -> BTreeMap<String, String> {
        self.shared.dialect.agent_env(&self.base_url(), self.shared.phantom.expose())
    }

    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What was used so far.
    pub fn usage(&self) -> Usage {
        self.shared.meter.usage().borrow().clone()
    }

    /// The same, to be told of each change.
    pub fn usage_changes(&self) -> watch::Receiver<Usage> {
        self.shared.meter.usage()
    }

    /// Ends once a request was refused or cut because the budget is used up; the agent is to be stopped then.
    pub fn budget_exceeded(&self) -> impl Future<Output = ()> + Send + use<> {
        self.shared.meter.exceeded().clone().cancelled_owned()
    }

    pub fn is_budget_exceeded(&self) -> bool {
        self.shared.meter.exceeded().is_cancelled()
    }

    /// Breaks off what is under way, and answers what was used in all.
    pub async fn shutdown(mut self) -> Usage {
        self.shared.closing.cancel();
        if let Err(error) = (&mut self.server).await {
            tracing::error!(%error, "the model proxy has panicked");
        }
        self.usage()
    }
}

fn phantom_key(attempt: AttemptId) -> Secret {
    let AttemptId { job, number } = attempt;
    let job = job.to_string();
    let (_, job) = job.split_once('-').expect("an id has its kind, a dash and its value");
    Secret::new(token::compose(TokenKind::Phantom, &format!("{job}.{number}"), &rand::random::<[u8; SECRET_BYTES]>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_provider_is_found_by_its_name_and_has_a_good_address() {
        for provider in Provider::ALL {
            assert_eq!(provider.name().parse(), Ok(provider));
            assert_eq!(Url::parse(provider.default_upstream()).unwrap().scheme(), "https");
        }
        assert_eq!("openai".parse::<Provider>().unwrap_err().known, "anthropic");
    }

    #[test]
    fn a_phantom_key_is_a_token_of_its_attempt_and_never_the_same() {
        let attempt = AttemptId { job: ckrv_types::JobId::new(), number: 3 };
        let (a, b) = (phantom_key(attempt), phantom_key(attempt));
        let parsed = token::parse(a.expose()).unwrap();
        assert_eq!(parsed.kind, TokenKind::Phantom);
        assert!(parsed.subject.ends_with(".3"));
        assert_ne!(a.expose(), b.expose());
    }
}
