//! The operator's life: wait to lead, read what is there, register, and keep all loops going until told to stop, refused by the
//! control plane, or deposed.
//!
//! Nothing that was learned while leading outlives it: a deposed leader ends its process, and starts as a standby again.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use ckrv_client::runner::RunnerClient;
use ckrv_client::runner::driver::Driver;
use ckrv_client::{ClientConfig, ClientError, ConfigError};
use ckrv_types::Secret;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, Resource, ResourceExt};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::control::Cluster;
use crate::control::desired::Desired;
use crate::control::handing::Handing;
use crate::control::reports::Reports;
use crate::control::submissions;
use crate::controller::{self, Context, Memory};
use crate::events::Events;
use crate::leader::Candidate;
use crate::metrics::Metrics;
use crate::stores::{FILL_LIMIT, NotFilled, Stores};
use crate::triggers::Triggers;
use crate::{events, health, intake, names, pod};

/// How long the last words of an ending operator may take.
const FAREWELL: Duration = Duration::from_secs(5);
const COUNT_EVERY: Duration = Duration::from_secs(5);

/// Why there is no operator, or no more.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("cannot read the runner's token {path}")]
    Token {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("cannot find the cluster: set KUBECONFIG, or run in a pod with a service account")]
    Cluster(#[source] kube::Error),
    #[error("cannot answer at {listen}")]
    Listen {
        listen: std::net::SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot {what}")]
    Api {
        what: &'static str,
        #[source]
        source: kube::Error,
    },
    #[error(transparent)]
    NotFilled(#[from] NotFilled),
    #[error(
        "AgentJobs, pods and classes were not read within {FILL_LIMIT:?}: are the definitions and the rights there?"
    )]
    Slow,
    #[error("the control plane refuses this runner{}", hint(.0))]
    Refused(#[source] ClientError),
}

/// What the control plane advises.
fn hint(refusal: &ClientError) -> String {
    let advice = refusal.problem().and_then(|problem| problem.hint.as_deref());
    advice.map(|advice| format!(" ({advice})")).unwrap_or_default()
}

/// Until `stop`, or a reason to end.
pub async fn run(config: Config, stop: CancellationToken) -> Result<(), RunError> {
    let config = Arc::new(config);
    let control_plane = control_plane(&config)?;
    let client = Client::try_default().await.map_err(RunError::Cluster)?;
    let metrics = Arc::new(Metrics::new());
    let identity = config.identity.clone().unwrap_or_else(|| format!("ckrv-operator-{:016x}", rand::random::<u64>()));
    let mut candidate = Candidate::new(client.clone(), &config.namespace, &config.lease, identity.clone());
    let leader = Leader { config: Arc::clone(&config), client, control_plane, identity, metrics: Arc::clone(&metrics) };
    let leading = async {
        loop {
            tracing::info!(identity = leader.identity, "stands by");
            candidate.elected(|is_connected| metrics.connected(is_connected)).await;
            tracing::info!(identity = leader.identity, "leads");
            metrics.leads(true);
            tokio::select! {
                ended = leader.lead(&stop) => return ended,
                () = candidate.deposed(|is_connected| metrics.connected(is_connected)) => (),
            }
            // With an empty memory, as another process would.
            metrics.leads(false);
            tracing::warn!(
                identity = leader.identity,
                "leads no longer: the Lease is another's, or could not be renewed in time"
            );
        }
    };
    let ended = tokio::select! {
        ended = leading => ended,
        Err(source) = health::serve(config.listen, Arc::clone(&metrics)) => {
            Err(RunError::Listen { listen: config.listen, source })
        }
        () = until_useless(&stop, &metrics) => Ok(()),
    };
    if let Ok(Err(error)) = tokio::time::timeout(FAREWELL, candidate.resign()).await {
        tracing::warn!(%error, "the Lease was not given back");
    }
    ended
}

/// A standby ends when it is told to; a leader has its last words first.
async fn until_useless(stop: &CancellationToken, metrics: &Metrics) {
    stop.cancelled().await;
    if metrics.is_leading() {
        std::future::pending::<()>().await;
    }
}

fn control_plane(config: &Config) -> Result<RunnerClient, RunError> {
    let token = std::fs::read_to_string(&config.token_file)
        .map_err(|source| RunError::Token { path: config.token_file.clone(), source })?;
    let user_agent = concat!("ckrv-operator/", env!("CARGO_PKG_VERSION"));
    let mut client = ClientConfig::new(config.server.clone(), Secret::new(token.trim()), user_agent);
    client.allow_plain_http = config.allow_plain_http;
    Ok(RunnerClient::new(client)?)
}

struct Leader {
    config: Arc<Config>,
    client: Client,
    control_plane: RunnerClient,
    identity: String,
    metrics: Arc<Metrics>,
}

impl Leader {
    async fn lead(&self, stop: &CancellationToken) -> Result<(), RunError> {
        let (triggers, looks) = Triggers::new(&self.config.namespace);
        // Ended with it.
        let mut watches = JoinSet::new();
        let stores = Stores::follow(&self.client, &self.config.namespace, &triggers, &mut watches);
        let owner = self.service_account().await?;
        self.write_passwd(&owner).await?;
        // Standbys are the same as their leader; operators of another namespace or Lease would run every job a second time.
        let instance = format!("{}/{}/{}", self.cluster_id().await?, self.config.namespace, self.config.lease);
        tokio::time::timeout(FILL_LIMIT, stores.filled()).await.map_err(|_| RunError::Slow)??;
        let (desired, handing) = (Desired::new(triggers.clone()), Handing::new(triggers.clone()));
        let (reports, observations) = Reports::new();
        let cluster = Cluster {
            config: Arc::clone(&self.config),
            stores: stores.clone(),
            desired: desired.clone(),
            handing: handing.clone(),
        };
        let driver = Driver::new(self.control_plane.clone(), instance.clone(), cluster);
        let (events, unwritten) = Events::new();
        let context = Arc::new(Context {
            client: self.client.clone(),
            config: Arc::clone(&self.config),
            owner,
            stores,
            desired,
            reports,
            handing: handing.clone(),
            instance,
            events,
            metrics: Arc::clone(&self.metrics),
            making: AtomicUsize::new(0),
            memory: Memory::default(),
        });
        // Never said: what an ending operator has seen, its successor sees again.
        let (_open, closing) = oneshot::channel();
        let speaking = async {
            let registered = driver.register().await?;
            tracing::info!(name = registered.name, capacity = self.config.capacity, "registered");
            let every = Duration::from_secs(registered.beat_seconds.max(1));
            tokio::select! {
                refused = driver.beat(every) => Err(refused),
                refused = driver.follow() => Err(refused),
                () = driver.report(observations, closing) => Ok(()),
                () = submissions::run(self.control_plane.clone(), handing) => Ok(()),
            }
        };
        tokio::select! {
            ended = speaking => ended.map_err(RunError::Refused),
            () = controller::run(Arc::clone(&context), looks) => Ok(()),
            () = intake::run(Arc::clone(&context), triggers) => Ok(()),
            () = events::write(self.client.clone(), &self.identity, || context.is_rush(), unwritten) => Ok(()),
            () = self.count(&context) => Ok(()),
            () = stop.cancelled() => Ok(()),
        }
    }

    async fn count(&self, context: &Context) {
        loop {
            self.metrics.counts(context.stores.jobs.len(), context.desired.all().len());
            tokio::time::sleep(COUNT_EVERY).await;
        }
    }

    /// The cluster's own id: the UID of its oldest namespace.
    async fn cluster_id(&self) -> Result<String, RunError> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let found = namespaces.get("kube-system").await.map_err(api("read the namespace kube-system"))?;
        Ok(found.uid().unwrap_or_default())
    }

    /// The jobs' service account as the owner of what is made here: with it, and so with the release that it belongs to, all of
    /// that goes. (Not the Lease: admins delete one to have another leader.)
    async fn service_account(&self) -> Result<OwnerReference, RunError> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), &self.config.namespace);
        let found = accounts.get(&self.config.pod.service_account).await;
        Ok(found.map_err(api("read the jobs' service account"))?.owner_ref(&()).unwrap_or_default())
    }

    async fn write_passwd(&self, owner: &OwnerReference) -> Result<(), RunError> {
        let map = ConfigMap {
            metadata: ObjectMeta {
                name: Some(pod::PASSWD_CONFIG_MAP.to_owned()),
                labels: Some([(names::MANAGED_BY.to_owned(), names::MANAGER.to_owned())].into()),
                owner_references: Some(vec![owner.clone()]),
                ..ObjectMeta::default()
            },
            data: Some([("passwd".to_owned(), pod::passwd())].into()),
            ..ConfigMap::default()
        };
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.config.namespace);
        let params = PatchParams::apply(names::MANAGER).force();
        let applied = maps.patch(pod::PASSWD_CONFIG_MAP, &params, &Patch::Apply(&map)).await;
        applied.map(drop).map_err(api("write the pods' /etc/passwd"))
    }
}

fn api(what: &'static str) -> impl FnOnce(kube::Error) -> RunError {
    move |source| RunError::Api { what, source }
}
