//! Jobs: submit, look, cancel, repeat.

use ckrv_types::job::{Cancelled, Explanation, SubmitJob};
use ckrv_types::{Job, JobId, Page, ProjectId, State};

use crate::{Client, ClientError};

/// Which jobs to list: all conditions together, several states or labels as the API says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListJobs {
    /// From the page before.
    pub cursor: Option<String>,
    /// 1 to [`ckrv_types::limits::PAGE_MAX`].
    pub limit: Option<u32>,
    /// Any of these.
    pub states: Vec<State>,
    /// All of these.
    pub labels: Vec<(String, String)>,
    pub repo: Option<String>,
    pub project: Option<ProjectId>,
}

impl ListJobs {
    fn query(&self) -> Vec<(&'static str, String)> {
        let mut query = Vec::new();
        query.extend(self.cursor.iter().map(|cursor| ("cursor", cursor.clone())));
        query.extend(self.limit.iter().map(|limit| ("limit", limit.to_string())));
        query.extend(self.states.iter().map(|state| ("state", state.to_string())));
        query.extend(self.labels.iter().map(|(key, value)| ("label", format!("{key}={value}"))));
        query.extend(self.repo.iter().map(|repo| ("repo", repo.clone())));
        query.extend(self.project.iter().map(|project| ("project", project.to_string())));
        query
    }
}

impl Client {
    /// Hands in a job. Repeated by itself when the answer is lost; one call never makes two jobs.
    pub async fn submit(&self, job: &SubmitJob) -> Result<Job, ClientError> {
        self.transport.json(self.transport.create(["v1", "jobs"]).json(job), "a job").await
    }

    /// The job with all its attempts.
    pub async fn job(&self, id: JobId) -> Result<Job, ClientError> {
        self.transport.json(self.transport.get(["v1", "jobs", &id.to_string()]), "a job").await
    }

    /// One page of jobs, newest first, without their attempts.
    pub async fn jobs(&self, list: &ListJobs) -> Result<Page<Job>, ClientError> {
        self.transport.json(self.transport.get(["v1", "jobs"]).query(&list.query()), "a list of jobs").await
    }

    /// Asks to stop the job. Asking twice, or when it is over, is not an error: the outcome says so.
    pub async fn cancel(&self, id: JobId) -> Result<Cancelled, ClientError> {
        self.transport.json(self.transport.post(["v1", "jobs", &id.to_string(), "cancel"]), "a cancellation").await
    }

    /// A new job with the same specification.
    pub async fn retry(&self, id: JobId) -> Result<Job, ClientError> {
        self.transport.json(self.transport.create(["v1", "jobs", &id.to_string(), "retry"]), "a job").await
    }

    /// Why it does not run, or why it ended.
    pub async fn explain(&self, id: JobId) -> Result<Explanation, ClientError> {
        self.transport.json(self.transport.get(["v1", "jobs", &id.to_string(), "explain"]), "an explanation").await
    }
}
