//! The agent's model: the key for it, and the proxy that keeps the key from the agent.

use std::collections::BTreeMap;
use std::sync::Arc;

use ckrv_types::Cause;
use ckrv_types::worker::Outcome;
use tokio::task::JoinHandle;

use super::attempt::Attempt;
use super::outcome::failed;
use crate::agents::Agent;
use crate::human;
use crate::proxy::{ModelProxy, Provider, ProxyConfig, ProxyError};
use crate::secrets::{ModelKey, Secrets};

/// A running proxy whose count goes into the vitals.
pub struct Model {
    proxy: ModelProxy,
    counting: JoinHandle<()>,
}

impl Model {
    /// None: the agent uses no model that ckrv knows of.
    pub async fn start(attempt: &Attempt, agent: &Agent, secrets: &Secrets) -> Result<Option<Self>, Outcome> {
        let Some(provider) = agent.provider.as_deref() else { return Ok(None) };
        let provider: Provider = provider
            .parse()
            .map_err(|error| failed(Cause::AgentMissing, format!("the agent's entry cannot be used: {error}")))?;
        let (spec, spent_usd) = (&attempt.started.spec, attempt.started.spent_usd);
        if let Some(budget) = spec.budget_usd.filter(|budget| spent_usd >= *budget) {
            return Err(used_up(budget, spent_usd));
        }
        let ModelKey { base_url, key, .. } =
            secrets.model(provider.name(), &spec.secrets).cloned().ok_or_else(|| no_key(&spec.agent, provider))?;
        let log = attempt.log.clone();
        let config = ProxyConfig {
            provider,
            upstream: base_url,
            key,
            attempt: attempt.started.attempt,
            budget_usd: spec.budget_usd,
            spent_usd,
            say: Arc::new(move |text| log.system(text)),
        };
        let proxy = ModelProxy::start(config).await.map_err(|error| not_started(&error))?;
        let (mut changes, vitals) = (proxy.usage_changes(), attempt.vitals.clone());
        let counting = tokio::spawn(async move {
            while changes.changed().await.is_ok() {
                let usage = changes.borrow_and_update().clone();
                vitals.count(usage);
            }
        });
        Ok(Some(Self { proxy, counting }))
    }

    /// What makes the agent use the proxy; nothing else may set these.
    pub fn env(&self) -> BTreeMap<String, String> {
        self.proxy.env()
    }

    pub fn budget_exceeded(&self) -> impl Future<Output = ()> + Send + use<> {
        self.proxy.budget_exceeded()
    }

    pub fn is_budget_exceeded(&self) -> bool {
        self.proxy.is_budget_exceeded()
    }

    /// Closes the proxy and counts a last time.
    pub async fn close(self, attempt: &Attempt) {
        self.counting.abort();
        attempt.vitals.count(self.proxy.shutdown().await);
    }
}

fn used_up(budget: f64, spent: f64) -> Outcome {
    let (budget, spent) = (human::dollars(budget), human::dollars(spent));
    let message = format!("the job's model budget of {budget} was used up by its earlier attempts ({spent} spent)");
    failed(Cause::Budget, message)
}

fn no_key(agent: &str, provider: Provider) -> Outcome {
    let message = format!(
        "the agent `{agent}` needs a key for {provider}, and neither the organization nor this runner has one: \
         `ckrv cloud credentials add` gives the organization's jobs one; a runner reads \
         `NAME: {{model: {{provider: {provider}, key: …}}}}` in a file of its --secrets"
    );
    failed(Cause::SecretMissing, message)
}

fn not_started(error: &ProxyError) -> Outcome {
    let cause = match error {
        ProxyError::Upstream { .. } | ProxyError::Key => Cause::SecretMissing,
        ProxyError::Tls(_) | ProxyError::Listen(_) => Cause::WorkerLost,
    };
    failed(cause, human::chain(error))
}
