//! The way in: routes and what surrounds them.
//!
//! From the outside in: request id, log line, measurement and headers (`request`); the net under panics, the limits on
//! headers and time (`guard`); the limit per address (`rate::address`); the route with its extractors, among them the
//! credential's, which charges the limit per key. Health is asked for by machines and is not limited; measurements have a
//! listener of their own. Around all of that, pages have a layer that makes a page of a problem.

mod drain;
pub mod extract;
mod guard;
pub mod health;
mod metrics;
pub mod needs;
pub mod openapi;
pub mod problems;
pub mod rate;
pub mod request;
pub mod server;
pub mod streams;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use ckrv_types::limits;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::state::AppState;
use crate::{api, artifacts, logs, oauth, pages, runner_api, worker_api};

/// Every route of programs, with its part of the OpenAPI document.
fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::with_openapi(openapi::base())
        .merge(api::routes())
        .merge(logs::routes())
        .merge(artifacts::routes())
        .merge(runner_api::routes())
        .merge(worker_api::routes())
        .merge(oauth::routes())
}

/// The OpenAPI document.
pub fn document() -> OpenApi {
    openapi::completed(routes().merge(health::routes()).to_openapi())
}

/// The whole service.
pub fn router(state: &AppState) -> Router {
    let limit = from_fn_with_state(state.clone(), rate::address::limit);
    let programs = routes().layer(limit.clone()).merge(health::routes());
    let pages = guarded(pages::routes().layer(limit)).layer(from_fn(pages::surround));
    // What neither has is answered by the last.
    surrounded(pages.merge(guarded(programs.split_for_parts().0)), state)
}

/// What the metrics listener serves.
pub fn metrics_router(state: &AppState) -> Router {
    surrounded(guarded(metrics::routes()), state)
}

fn guarded(router: Router<AppState>) -> Router<AppState> {
    router
        .layer(DefaultBodyLimit::max(limits::BODY_BYTES))
        .layer(from_fn(drain::hear_out))
        .layer(from_fn(guard::limit_time))
        .layer(from_fn(guard::limit_headers))
        .layer(CatchPanicLayer::custom(guard::panicked))
}

fn surrounded(router: Router<AppState>, state: &AppState) -> Router {
    router.layer(from_fn_with_state(state.clone(), request::surround)).with_state(state.clone())
}
