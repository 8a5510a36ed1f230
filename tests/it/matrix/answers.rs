//! What was answered.

use std::fmt;

use ckrv_types::Problem;
use serde_json::Value;

use super::names::Names;

pub struct Answer {
    pub status: u16,
    pub media_type: String,
    pub location: Option<String>,
    /// Empty of a stream that goes on.
    pub body: String,
}

impl Answer {
    pub async fn of(response: reqwest::Response) -> Self {
        let status = response.status().as_u16();
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (media_type, location) = (header("content-type").unwrap_or_default(), header("location"));
        let is_stream = status == 200 && media_type.starts_with("text/event-stream");
        let body = if is_stream { String::new() } else { read(response).await };
        Self { status, media_type, location, body }
    }

    pub fn problem(&self) -> Option<Problem> {
        let is_problem = self.media_type == "application/problem+json";
        is_problem.then(|| serde_json::from_str(&self.body).expect("a problem is JSON"))
    }

    /// What can be told of it to another, with things called by what they are.
    pub fn essence(&self, names: &Names) -> String {
        let mut body: Value = serde_json::from_str(&self.body).unwrap_or_else(|_| self.body.clone().into());
        if let Some(problem) = body.as_object_mut() {
            problem.remove("request_id");
        }
        let Self { status, media_type, location, .. } = self;
        names.hide(&format!("{status} {media_type} {location:?} {body}"))
    }
}

async fn read(response: reqwest::Response) -> String {
    let bytes = response.bytes().await.expect("the answer comes whole");
    String::from_utf8_lossy(&bytes).into_owned()
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: String = self.body.chars().take(600).collect();
        write!(f, "{} {shown}", self.status)
    }
}
