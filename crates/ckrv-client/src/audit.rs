//! The audit log: in pages to look at, and whole to keep.
//!
//! The export is NDJSON, oldest first. A connection that is cut is made again from behind the last entry that came whole, so
//! that no entry is lost or told twice; the end is believed only of a body that ends properly.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use ckrv_types::audit::AuditEntry;
use ckrv_types::{AuditId, Page};
use futures::{Stream, StreamExt as _};
use reqwest::header::ACCEPT;
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::Instant;

use crate::retry::Pauses;
use crate::sse::{Cut, within};
use crate::transport::Transport;
use crate::{Client, ClientError};

/// Which entries: all conditions together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditQuery {
    /// From this time on.
    pub since: Option<OffsetDateTime>,
    /// Before this time.
    pub until: Option<OffsetDateTime>,
    /// As `noun.verb`.
    pub action: Option<String>,
    /// The id of who acted.
    pub actor: Option<String>,
    /// The id of what it was done to.
    pub subject: Option<String>,
}

impl AuditQuery {
    fn pairs(&self) -> Vec<(&'static str, String)> {
        let time = |time: &Option<OffsetDateTime>| time.and_then(|time| time.format(&Rfc3339).ok());
        let all = [
            ("since", time(&self.since)),
            ("until", time(&self.until)),
            ("action", self.action.clone()),
            ("actor", self.actor.clone()),
            ("subject", self.subject.clone()),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

/// An entry as the server told it, members that are not known here included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// Where an export can go on.
    pub id: AuditId,
    /// One line of JSON.
    pub line: String,
}

impl Client {
    /// One page, newest first.
    pub async fn audit(
        &self,
        query: &AuditQuery,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<Page<AuditEntry>, ClientError> {
        let request = self.transport.get(["v1", "audit"]).query(&query.pairs());
        let request = request.query(&[("cursor", cursor)]).query(&[("limit", limit)]);
        self.transport.json(request, "a list of audit entries").await
    }

    /// Every entry, oldest first, from behind `after`. Reconnects by itself, and errors after `give_up` without an answer.
    pub fn export_audit(
        &self,
        query: AuditQuery,
        after: Option<AuditId>,
        give_up: Duration,
    ) -> impl Stream<Item = Result<Exported, ClientError>> + Send + use<> {
        export(self.transport.clone(), query, after, give_up)
    }
}

fn export(
    transport: Transport,
    query: AuditQuery,
    mut after: Option<AuditId>,
    give_up: Duration,
) -> impl Stream<Item = Result<Exported, ClientError>> + Send {
    async_stream::try_stream! {
        let (mut pauses, mut alive) = (Pauses::new(), Instant::now());
        loop {
            let request = transport.get(["v1", "audit"]).query(&query.pairs()).query(&[("after", after)]);
            let lost = match transport.open(request.header(ACCEPT, "application/x-ndjson")).await {
                Ok(response) => {
                    let mut lines = pin!(lines(within(transport.timeouts().silence, response.bytes_stream())));
                    loop {
                        alive = Instant::now();
                        match lines.next().await {
                            Some(Ok(line)) => {
                                let entry = read(&transport, &line)?;
                                after = Some(entry.id);
                                pauses = Pauses::new();
                                yield entry;
                            }
                            Some(Err(cut)) => break cut.at(transport.server()),
                            None => return,
                        }
                    }
                }
                Err(error) => error,
            };
            let pause = pauses.next().max(lost.retry_after().unwrap_or_default());
            if !lost.is_retryable() || alive.elapsed() + pause > give_up {
                Err(lost)?;
            } else {
                tracing::debug!(error = %lost, ?pause, "connecting again");
                tokio::time::sleep(pause).await;
            }
        }
    }
}

fn read(transport: &Transport, line: &[u8]) -> Result<Exported, ClientError> {
    #[derive(Deserialize)]
    struct Place {
        id: AuditId,
    }
    let wrong = |source| ClientError::Body { server: transport.server().to_owned(), what: "an audit entry", source };
    let Place { id } = serde_json::from_slice(line).map_err(wrong)?;
    Ok(Exported { id, line: String::from_utf8_lossy(line).into_owned() })
}

/// Whole lines, without their ends. What stands behind the last one of a body that ends properly is one too.
fn lines(chunks: impl Stream<Item = Result<Bytes, Cut>> + Send) -> impl Stream<Item = Result<Vec<u8>, Cut>> + Send {
    async_stream::try_stream! {
        let mut chunks = pin!(chunks);
        let mut rest: Vec<u8> = Vec::new();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk?;
            let mut parts = chunk.split(|byte| *byte == b'\n');
            rest.extend_from_slice(parts.next().unwrap_or_default());
            for part in parts {
                let line = std::mem::replace(&mut rest, part.to_vec());
                if !line.is_empty() {
                    yield line;
                }
            }
        }
        if !rest.is_empty() {
            yield rest;
        }
    }
}
