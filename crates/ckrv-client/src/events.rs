//! The changes of a job's state as they happen.

use std::time::Duration;

use ckrv_types::JobId;
use ckrv_types::job::JobEvent;
use futures::Stream;
use reqwest::RequestBuilder;
use sse_stream::Sse;

use crate::sse::{Reader, Step, follow};
use crate::transport::Transport;
use crate::{Client, ClientError};

struct Events {
    job: JobId,
    last: Option<i64>,
}

impl Reader for Events {
    type Item = JobEvent;

    fn request(&self, transport: &Transport) -> RequestBuilder {
        let request = transport.get(["v1", "jobs", &self.job.to_string(), "events"]);
        match self.last {
            Some(id) => request.header("last-event-id", id.to_string()),
            None => request,
        }
    }

    fn read(&mut self, event: Sse) -> Result<Step<JobEvent>, serde_json::Error> {
        let (Some("event"), Some(data)) = (event.event.as_deref(), &event.data) else {
            return Ok(Step::Skip);
        };
        let event: JobEvent = serde_json::from_str(data)?;
        if self.last.is_some_and(|last| event.id <= last) {
            return Ok(Step::Skip);
        }
        self.last = Some(event.id);
        Ok(Step::New(event))
    }
}

impl Client {
    /// Every event of the job from its beginning, then each as it happens, each once; ends with the job. Reconnects by
    /// itself, and errors after `give_up` without an answer.
    pub fn events(
        &self,
        job: JobId,
        give_up: Duration,
    ) -> impl Stream<Item = Result<JobEvent, ClientError>> + Send + use<> {
        follow(self.transport.clone(), Events { job, last: None }, give_up)
    }
}
