//! Projects.

use ckrv_types::identity::{CreateProject, Project, UpdateProject};
use ckrv_types::{Page, ProjectId};

use crate::{Client, ClientError};

impl Client {
    /// Archived ones too.
    pub async fn projects(&self) -> Result<Page<Project>, ClientError> {
        self.transport.whole(["v1", "projects"], "a list of projects").await
    }

    pub async fn project(&self, id: ProjectId) -> Result<Project, ClientError> {
        self.transport.json(self.transport.get(["v1", "projects", &id.to_string()]), "a project").await
    }

    pub async fn create_project(&self, project: &CreateProject) -> Result<Project, ClientError> {
        self.transport.json(self.transport.create(["v1", "projects"]).json(project), "a project").await
    }

    pub async fn update_project(&self, id: ProjectId, update: &UpdateProject) -> Result<Project, ClientError> {
        self.transport.json(self.transport.patch(["v1", "projects", &id.to_string()]).json(update), "a project").await
    }
}
