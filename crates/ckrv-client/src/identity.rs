//! Who the token stands for; runners; whether the server is up.

use ckrv_types::identity::{CreateRunner, RunnerInfo, UpdateRunner, WhoAmI, WithToken};
use ckrv_types::{Page, RunnerId};

use crate::{Client, ClientError};

impl Client {
    pub async fn whoami(&self) -> Result<WhoAmI, ClientError> {
        self.transport.json(self.transport.get(["v1", "whoami"]), "an identity").await
    }

    pub async fn runners(&self) -> Result<Page<RunnerInfo>, ClientError> {
        self.transport.whole(["v1", "runners"], "a list of runners").await
    }

    /// A new runner of the caller's organization, with the token that is shown this one time.
    pub async fn create_runner(&self, runner: &CreateRunner) -> Result<WithToken<RunnerInfo>, ClientError> {
        self.transport.json(self.transport.create(["v1", "runners"]).json(runner), "a runner").await
    }

    /// Of which namespaces of its cluster a runner may hand in jobs; what was allowed before is not any more.
    pub async fn update_runner(&self, id: RunnerId, update: &UpdateRunner) -> Result<RunnerInfo, ClientError> {
        self.transport.json(self.transport.patch(["v1", "runners", &id.to_string()]).json(update), "a runner").await
    }

    pub async fn revoke_runner(&self, id: RunnerId) -> Result<(), ClientError> {
        self.transport.done(self.transport.delete(["v1", "runners", &id.to_string()])).await
    }

    /// Whether the control plane and what it needs (database, object store) are up.
    pub async fn health(&self) -> Result<(), ClientError> {
        self.transport.done(self.transport.get(["v1", "health"])).await
    }
}
