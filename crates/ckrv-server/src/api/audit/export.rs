//! The whole log, an entry a line, in as much memory as one fetch needs.
//!
//! No transaction outlives a fetch, however slowly the lines are taken. An export that cannot be ended properly breaks the
//! connection: a part must not pass for the whole.

use axum::body::Bytes;
use ckrv_types::{AuditId, Problem, ProblemCode};
use futures::Stream;

use super::super::wrong_parameter;
use crate::auth::Lasting;
use crate::db::audit_entries::{self, Filter, Place, Settled};
use crate::error::{ApiError, ApiResult};
use crate::http::streams::StreamSlot;
use crate::state::AppState;

/// Entries fetched at once.
const FETCH: u32 = 200;

/// The export cannot go on.
#[derive(Debug, thiserror::Error)]
#[error("an export of the audit log was cut")]
pub struct Cut(#[source] ApiError);

/// What is older and not written yet would be skipped.
fn unsettled() -> ApiError {
    Problem::new(ProblemCode::Unavailable)
        .detail("The entry `after` is not settled yet: a transaction that began before it is still open.")
        .hint("Ask again in a moment.")
        .into()
}

fn order_lost() -> ApiError {
    audit_entries::tell_lost_order();
    Problem::new(ProblemCode::Unavailable)
        .detail("The audit log was moved to another PostgreSQL, and its order cannot be told until it is renumbered.")
        .hint("Tell whoever operates the control plane: its log says what to do.")
        .into()
}

pub struct Export {
    state: AppState,
    auth: Lasting,
    filter: Filter,
    after: Place,
    fetched: Vec<Settled>,
    _slot: StreamSlot,
}

impl Export {
    /// Begins behind the entry `after`; without one, with the first.
    pub async fn begin(
        state: AppState,
        auth: Lasting,
        filter: Filter,
        after: Option<AuditId>,
        slot: StreamSlot,
    ) -> ApiResult<Self> {
        let mut tx = state.db.tenant(auth.org).await?;
        if audit_entries::is_order_lost(&mut tx).await? {
            return Err(order_lost());
        }
        let after = match after {
            None => Place::START,
            Some(id) => {
                let named = audit_entries::place(&mut tx, id).await?;
                let named = named.ok_or_else(|| wrong_parameter("after", "there is no such entry".to_owned()))?;
                if !named.is_settled {
                    return Err(unsettled());
                }
                named.place
            }
        };
        tx.commit().await?;
        let mut export = Self { state, auth, filter, after, fetched: Vec::new(), _slot: slot };
        // What goes wrong at once is an answer, and no broken stream.
        export.fetch().await?;
        Ok(export)
    }

    pub fn stream(self) -> impl Stream<Item = Result<Bytes, Cut>> {
        futures::stream::try_unfold(self, async |mut export| match export.next().await {
            Ok(lines) => Ok(lines.map(|lines| (lines, export))),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "an export of the audit log was cut");
                Err(Cut(error))
            }
        })
    }

    async fn next(&mut self) -> ApiResult<Option<Bytes>> {
        if self.fetched.is_empty() {
            return Ok(None);
        }
        let mut lines = Vec::new();
        for settled in &self.fetched {
            serde_json::to_writer(&mut lines, &settled.entry).expect("an entry has only string keys");
            lines.push(b'\n');
        }
        let is_last = self.fetched.len() < FETCH as usize;
        self.fetched.clear();
        if !is_last {
            self.auth.renew(&self.state).await?;
            self.fetch().await?;
        }
        Ok(Some(lines.into()))
    }

    async fn fetch(&mut self) -> ApiResult<()> {
        let mut tx = self.state.db.tenant(self.auth.org).await?;
        self.fetched = audit_entries::settled(&mut tx, &self.filter, self.after, i64::from(FETCH)).await?;
        tx.commit().await?;
        if let Some(last) = self.fetched.last() {
            self.after = last.place;
        }
        Ok(())
    }
}
