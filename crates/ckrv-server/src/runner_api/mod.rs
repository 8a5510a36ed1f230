//! `/v1/runner`: what executors of attempts say and ask; [`ckrv_types::runner`] says what is said when.
//!
//! A runner sees what was assigned to it and nothing else. Everything may be repeated and changes nothing then.

mod assignments;
mod beat;
mod jobs;
mod observations;

use ckrv_types::{Problem, ProblemCode};
use utoipa_axum::router::OpenApiRouter;

use crate::error::ApiError;
use crate::http::needs::routes;
use crate::state::AppState;

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(beat::register))
        .routes(routes!(beat::heartbeat))
        .routes(routes!(assignments::assignments))
        .routes(routes!(observations::observations))
        .routes(routes!(jobs::hand_in, jobs::standings))
}

fn other_instance() -> ApiError {
    Problem::new(ProblemCode::OtherInstance)
        .detail("This runner's token is in use by another machine or cluster, or by another operator of this cluster.")
        .hint("Make a token of its own for each: ckrv runner create NAME")
        .into()
}
