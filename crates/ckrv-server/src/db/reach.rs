//! The projects that a caller may see.

use ckrv_types::ProjectId;
use sqlx::types::Uuid;

/// All of the organization's projects, or some.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach(Vec<ProjectId>);

impl Reach {
    /// All of the organization's: for the server's own look-ups.
    pub const ALL: Self = Self(Vec::new());

    /// None named: all.
    pub const fn new(projects: Vec<ProjectId>) -> Self {
        Self(projects)
    }

    pub const fn is_whole_organization(&self) -> bool {
        self.0.is_empty()
    }

    pub fn covers(&self, project: ProjectId) -> bool {
        self.0.is_empty() || self.0.contains(&project)
    }

    /// The projects that it is limited to; none: it is not.
    pub fn projects(&self) -> &[ProjectId] {
        &self.0
    }

    /// For `(cardinality($n) = 0 or project_id = any($n))`.
    pub fn uuids(&self) -> Vec<Uuid> {
        self.0.iter().map(|project| project.uuid()).collect()
    }
}
