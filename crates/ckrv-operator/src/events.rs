//! What `kubectl describe` tells of an AgentJob: Events (`events.k8s.io/v1`). They tell people, and nothing depends on them.
//!
//! One after the other, so that telling of a thousand jobs does not hold up making them; past [`BACKLOG`] they are dropped.
//! None is remembered: a plan publishes what has changed, so that there is nothing to count.

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, PostParams};
use tokio::sync::mpsc;

use crate::controller::plan::Note;
use crate::names;

/// Events that may wait to be written.
const BACKLOG: usize = 1000;
/// The API's limit is 1024 bytes.
const NOTE_CHARS: usize = 250;

/// Takes what is to be told.
pub struct Events {
    notes: mpsc::Sender<(ObjectReference, Note)>,
}

impl Events {
    pub fn new() -> (Self, mpsc::Receiver<(ObjectReference, Note)>) {
        let (notes, waiting) = mpsc::channel(BACKLOG);
        (Self { notes }, waiting)
    }

    /// Of `regarding`, when it is its turn.
    pub fn publish(&self, regarding: ObjectReference, note: Note) {
        if self.notes.try_send((regarding, note)).is_err() {
            tracing::debug!("an Event was dropped: too many are waiting");
        }
    }
}

/// Writes what was published, for ever. `instance`: this operator among its standbys.
pub async fn write(client: Client, instance: &str, mut waiting: mpsc::Receiver<(ObjectReference, Note)>) {
    while let Some((regarding, note)) = waiting.recv().await {
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
