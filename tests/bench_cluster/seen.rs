//! When the pods of a namespace came and when they ended, by a watch of this program's own: the same eyes for what is measured and for
//! its floor.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::Api;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::cluster::Jobs;

/// What was seen, by the pod's name.
#[derive(Default)]
pub struct Pods {
    pub came: HashMap<String, Instant>,
    pub gone: HashSet<String>,
    /// Ended well.
    pub succeeded: HashMap<String, Instant>,
    pub failed: HashSet<String>,
}

/// Looks until it is dropped.
pub struct Seen {
    pods: Arc<Mutex<Pods>>,
    changed: watch::Receiver<()>,
    looking: JoinHandle<()>,
}

impl Seen {
    /// At the pods of a namespace, from now on; returns when it really looks.
    pub async fn start(jobs: &Jobs) -> Self {
        let api: Api<Pod> = Api::namespaced(jobs.client.clone(), &jobs.namespace);
        let (pods, (changes, changed)) = (Arc::<Mutex<Pods>>::default(), watch::channel(()));
        let mut listed = changed.clone();
        let looking = tokio::spawn({
            let pods = Arc::clone(&pods);
            async move {
                let mut events = watcher::watcher(api, watcher::Config::default()).default_backoff().boxed();
                while let Some(event) = events.next().await {
                    let Ok(event) = event else { continue };
                    note(&mut pods.lock().unwrap(), event);
                    changes.send_replace(());
                }
            }
        });
        listed.changed().await.unwrap();
        Self { pods, changed, looking }
    }

    /// Waits until `wanted` finds what it looks for.
    pub async fn until<T>(&self, what: &str, limit: Duration, mut wanted: impl FnMut(&Pods) -> Option<T>) -> T {
        let mut changed = self.changed.clone();
        let looking = async {
            loop {
                // Before the look, so that nothing that comes after it is missed.
                changed.mark_unchanged();
                if let Some(found) = wanted(&self.pods.lock().unwrap()) {
                    return found;
                }
                changed.changed().await.unwrap();
            }
        };
        tokio::time::timeout(limit, looking).await.unwrap_or_else(|_| panic!("waited {limit:?} in vain: {what}"))
    }

    /// All that came.
    pub fn names(&self) -> Vec<String> {
        self.pods.lock().unwrap().came.keys().cloned().collect()
    }

    /// When a pod of this name came.
    pub async fn pod(&self, name: &str, limit: Duration) -> Instant {
        self.until(&format!("pod {name} comes"), limit, |pods| pods.came.get(name).copied()).await
    }

    /// When the last of `count` pods had ended well.
    pub async fn succeeded(&self, count: usize, limit: Duration) -> Instant {
        self.until(&format!("{count} pods end well"), limit, |pods| {
            assert!(pods.failed.is_empty(), "these failed: {:?}", pods.failed);
            (pods.succeeded.len() >= count).then(|| pods.succeeded.values().max().copied())?
        })
        .await
    }

    /// When the last of `count` pods came.
    pub async fn count(&self, count: usize, limit: Duration) -> Instant {
        self.until(&format!("{count} pods come"), limit, |pods| {
            (pods.came.len() >= count).then(|| pods.came.values().max().copied())?
        })
        .await
    }
}

impl Drop for Seen {
    fn drop(&mut self) {
        self.looking.abort();
    }
}

fn note(pods: &mut Pods, event: Event<Pod>) {
    match event {
        Event::Apply(pod) | Event::InitApply(pod) => {
            let now = Instant::now();
            pods.came.entry(pod.name_any()).or_insert(now);
            match pod.status.as_ref().and_then(|status| status.phase.as_deref()) {
                Some("Succeeded") => drop(pods.succeeded.entry(pod.name_any()).or_insert(now)),
                Some("Failed") => drop(pods.failed.insert(pod.name_any())),
                _ => (),
            }
        }
        Event::Delete(pod) => drop(pods.gone.insert(pod.name_any())),
        Event::Init | Event::InitDone => (),
    }
}
