//! What `kubectl describe` tells of an AgentJob: Events (`events.k8s.io/v1`). They tell people, and nothing depends on them.
//!
//! One after the other, and good news not while many pods are being made, so that telling of a thousand jobs does not hold up
//! making them; past [`BACKLOG`] they are dropped.
//! None is remembered: a plan publishes what has changed, so that there is nothing to count.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, PostParams};
use tokio::sync::mpsc;

use crate::controller::plan::Note;
use crate::names;

/// Events that may wait to be written, of either kind.
const BACKLOG: usize = 4000;
/// Good news waits so long for the end of a rush, and looks so often whether it is over.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(200);
/// The API's limit is 1024 bytes.
const NOTE_CHARS: usize = 250;

/// Takes what is to be told.
pub struct Events {
    warnings: mpsc::Sender<Told>,
    good_news: mpsc::Sender<Told>,
}

/// What is to be told, and of what.
type Told = (ObjectReference, Note);

/// What is not written yet.
pub struct Unwritten {
    warnings: mpsc::Receiver<Told>,
    good_news: mpsc::Receiver<Told>,
}

impl Events {
    pub fn new() -> (Self, Unwritten) {
        let (warnings, unwritten_warnings) = mpsc::channel(BACKLOG);
        let (good_news, unwritten_good_news) = mpsc::channel(BACKLOG);
        (Self { warnings, good_news }, Unwritten { warnings: unwritten_warnings, good_news: unwritten_good_news })
    }

    /// Of `regarding`, when it is its turn.
    pub fn publish(&self, regarding: ObjectReference, note: Note) {
        let queue = if note.is_warning { &self.warnings } else { &self.good_news };
        if queue.try_send((regarding, note)).is_err() {
            tracing::debug!("an Event was dropped: too many are waiting");
        }
    }
}

impl Unwritten {
    async fn next(&mut self, is_rush: impl Fn() -> bool) -> Option<Told> {
        let calm = async {
            let begun = Instant::now();
            while is_rush() && begun.elapsed() < PATIENCE {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::select! {
            biased;
            Some(told) = self.warnings.recv() => Some(told),
            Some(told) = async { calm.await; self.good_news.recv().await } => Some(told),
            else => None,
        }
    }
}

/// Writes what was published, for ever. `instance`: this operator among its standbys.
pub async fn write(client: Client, instance: &str, is_rush: impl Fn() -> bool, mut unwritten: Unwritten) {
    while let Some((regarding, note)) = unwritten.next(&is_rush).await {
        let api: Api<Event> = Api::namespaced(client.clone(), regarding.namespace.as_deref().unwrap_or_default());
        if let Err(error) = api.create(&PostParams::default(), &event(regarding, &note, instance)).await {
            tracing::debug!(%error, reason = note.reason, "an Event was not published");
        }
    }
}

fn event(regarding: ObjectReference, note: &Note, instance: &str) -> Event {
    let now = Timestamp::now();
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{}.{:x}", regarding.name.as_deref().unwrap_or_default(), now.as_nanosecond())),
            namespace: regarding.namespace.clone(),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(now)),
        type_: Some(if note.is_warning { "Warning" } else { "Normal" }.to_owned()),
        reason: Some(note.reason.clone()),
        note: Some(note.text.chars().take(NOTE_CHARS).collect()),
        action: Some("Run".to_owned()),
        regarding: Some(regarding),
        reporting_controller: Some(names::MANAGER.to_owned()),
        reporting_instance: Some(instance.to_owned()),
        ..Event::default()
    }
}
