//! Artifacts: single objects that a job leaves behind, with their sizes and hashes.
//!
//! 1. The worker offers one ([`offer`]): a row `pending`, and a signed request that takes these bytes and no others.
//! 2. It puts the object to the store itself.
//! 3. With `finish` it says what became of each ([`mod@confirm`]): what it calls stored is looked up first. Of what nobody
//!    says so the attempt's end itself says that it has failed, whoever ends it.
//! 4. Users list them and get them ([`download`]), through the server or from the store where they reach it.

pub mod confirm;
mod download;
mod name;
mod offer;

use ckrv_types::AttemptId;
use sha2::{Digest as _, Sha256};
use utoipa_axum::router::OpenApiRouter;

use crate::http::needs::routes;
use crate::state::AppState;

pub use confirm::confirm;

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(offer::offer))
        .routes(routes!(download::list))
        .routes(routes!(download::download))
}

/// Where an artifact lies in the bucket. Not under its name, which is the worker's choice and no store's business.
fn object_key(attempt: AttemptId, name: &str) -> String {
    format!("artifacts/{attempt}/{}", hex::encode(Sha256::digest(name)))
}
