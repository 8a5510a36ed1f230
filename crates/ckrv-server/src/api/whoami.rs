//! Who the caller is.

use axum::extract::State;
use ckrv_types::ProblemCode;
use ckrv_types::identity::WhoAmI;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::Auth;
use crate::db::{keys, orgs};
use crate::error::ApiResult;
use crate::http::problems::Authenticated;
use crate::state::AppState;

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(whoami))
}

/// Tell who the credential stands for.
#[utoipa::path(get, path = "/v1/whoami", tag = "identity", operation_id = "whoAmI",
    responses((status = 200, body = WhoAmI), Authenticated))]
async fn whoami(State(state): State<AppState>, auth: Auth) -> ApiResult<axum::Json<WhoAmI>> {
    let mut tx = state.db.tenant(auth.org).await?;
    let org = orgs::own(&mut tx).await?;
    let (project, project_name) = orgs::project(&mut tx, auth.project).await?.ok_or(ProblemCode::Internal)?;
    let key = keys::get(&mut tx, auth.key).await?.ok_or(ProblemCode::Internal)?;
    Ok(axum::Json(WhoAmI { org: auth.org, org_name: org.name, project, project_name, key }))
}
