//! `/v1/worker`: what the worker of one attempt says about it; [`ckrv_types::worker`] says what is said when. Its log and its
//! artifacts are taken elsewhere (`logs`, `artifacts`).
//!
//! Every write carries its attempt, by the token; once the attempt is over all is refused, but `start` and `finish`
//! repeat their answers.

mod finish;
mod heartbeat;
mod start;

use ckrv_types::{Problem, ProblemCode};
use utoipa_axum::router::OpenApiRouter;

use crate::error::ApiError;
use crate::http::needs::routes;
use crate::state::AppState;

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(start::start))
        .routes(routes!(heartbeat::heartbeat))
        .routes(routes!(finish::finish))
}

fn other_instance() -> ApiError {
    Problem::new(ProblemCode::OtherInstance).detail("Another worker holds this attempt.").into()
}

fn no_such_attempt() -> ApiError {
    Problem::new(ProblemCode::NotFound).detail("There is no such attempt any more.").into()
}

fn sealed(sealed_seq: Option<u64>) -> ApiError {
    let seq = sealed_seq.unwrap_or_default();
    Problem { sealed_seq: Some(seq), ..Problem::new(ProblemCode::Sealed) }
        .detail(format!("The attempt is over; its log ends with line {seq}."))
        .into()
}
