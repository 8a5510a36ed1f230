//! Logs: appended by workers, read by users while they grow and ever after, moved to the object store in between.
//!
//! A line is kept in the frame that its worker sent: in a row of `log_chunks`, later in the log's object. Lines are numbered
//! without gaps within an attempt; that, and the lock on the log's head at append, is what makes a cursor exact.

mod append;
pub mod archive;
pub mod batch;
mod read;

use axum::extract::DefaultBodyLimit;
use ckrv_types::limits;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt as _};

use crate::http::needs::routes;
use crate::state::AppState;

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(append::append).layer(DefaultBodyLimit::max(limits::BATCH_WIRE_BYTES)))
        .routes(routes!(read::read))
}
