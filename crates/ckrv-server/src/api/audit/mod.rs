//! `GET /v1/audit`: who did what in the organization, in pages for people to look through, or as a whole for another system to
//! keep.

mod export;
mod query;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use ckrv_types::audit::AuditEntry;
use ckrv_types::{AuditId, Page};
use utoipa_axum::router::OpenApiRouter;

use self::export::Export;
use self::query::{AuditQuery, Request, Wanted};
use super::cursor;
use crate::auth::{Caller, Manage};
use crate::db::audit_entries::{self, Filter};
use crate::error::ApiResult;
use crate::http::extract::Query;
use crate::http::needs::routes;
use crate::http::problems::{Authenticated, BadRequest};
use crate::state::AppState;

const NDJSON: &str = "application/x-ndjson";

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list))
}

/// Read the audit log.
///
/// As JSON: a page, newest first. As NDJSON, by `Accept`: all of it in the order in which it was settled, an entry a line;
/// whoever hands back the last one's id as `after` gets what came since, each once. An act is there as soon as no older
/// transaction is open, usually at once.
#[utoipa::path(get, path = "/v1/audit", tag = "audit", operation_id = "listAudit", params(AuditQuery),
    responses(
        (status = 200, description = "A page, or all.", content(
            (Page<AuditEntry> = "application/json"),
            ("application/x-ndjson", item_schema = AuditEntry))),
        Authenticated, BadRequest))]
async fn list(
    State(state): State<AppState>,
    auth: Caller<Manage>,
    Query(query): Query<AuditQuery>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    auth.whole_organization()?;
    let Request { filter, wanted } = Request::new(query, accepts_lines(&headers))?;
    match wanted {
        Wanted::Page { before, limit } => {
            let page = page(&state, &auth, &filter, before, limit).await?;
            Ok(Json(page).into_response())
        }
        Wanted::Export { after } => {
            let slot = state.streams.open(auth.principal)?;
            let export = Export::begin(state, auth.lasting(), filter, after, slot).await?;
            let headers = [(header::CONTENT_TYPE, NDJSON), (header::CACHE_CONTROL, "no-store")];
            Ok((headers, Body::from_stream(export.stream())).into_response())
        }
    }
}

async fn page(
    state: &AppState,
    auth: &Caller<Manage>,
    filter: &Filter,
    before: Option<AuditId>,
    limit: u32,
) -> ApiResult<Page<AuditEntry>> {
    let mut tx = state.db.tenant(auth.org).await?;
    // One more than the page says whether another follows.
    let mut items = audit_entries::newest(&mut tx, filter, before, i64::from(limit) + 1).await?;
    tx.commit().await?;
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    let next = items.last().filter(|_| more).map(|entry| cursor::write(entry.id.uuid()));
    Ok(Page { items, next })
}

/// Whether the reader names NDJSON among what it takes.
fn accepts_lines(headers: &HeaderMap) -> bool {
    let ranges = headers.get_all(header::ACCEPT).iter().filter_map(|line| line.to_str().ok());
    ranges
        .flat_map(|line| line.split(','))
        .any(|range| range.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(NDJSON))
}
