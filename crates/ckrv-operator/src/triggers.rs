//! How one part tells another to look: hints only. A lost one costs delay, never work.

use std::sync::Arc;

use kube::runtime::reflector::ObjectRef;
use tokio::sync::{Notify, mpsc};

use crate::crd::AgentJob;

/// Whom to look at. `None`: everybody.
pub type Look = Option<ObjectRef<AgentJob>>;

/// Clones are the same.
#[derive(Clone)]
pub struct Triggers {
    namespace: Arc<str>,
    jobs: mpsc::UnboundedSender<Look>,
    new: Arc<Notify>,
}

impl Triggers {
    pub fn new(namespace: &str) -> (Self, mpsc::UnboundedReceiver<Look>) {
        let (jobs, looks) = mpsc::unbounded_channel();
        (Self { namespace: namespace.into(), jobs, new: Arc::default() }, looks)
    }

    /// Something may have to be done about the object of this name.
    pub fn look_at_named(&self, name: &str) {
        self.send(Some(ObjectRef::new(name).within(&self.namespace)));
    }

    pub fn look_at_all(&self) {
        self.send(None);
    }

    /// An object may be missing, or have been removed.
    pub fn look_for_new(&self) {
        self.new.notify_one();
    }

    /// Ends when [`Triggers::look_for_new`] was called, also before this.
    pub async fn new_ones(&self) {
        self.new.notified().await;
    }

    fn send(&self, look: Look) {
        // Closed only when the operator is ending.
        let _ = self.jobs.send(look);
    }
}
