//! Who the caller is.

use axum::extract::State;
use ckrv_types::ProblemCode;
use ckrv_types::identity::WhoAmI;
use utoipa_axum::router::OpenApiRouter;

use crate::auth::{Caller, Read, me};
use crate::db::{keys, orgs};
use crate::error::ApiResult;
use crate::http::needs::routes;
use crate::http::problems::Authenticated;
use crate::state::AppState;

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(whoami))
}

/// Tell who the credential stands for.
#[utoipa::path(get, path = "/v1/whoami", tag = "identity", operation_id = "whoAmI",
    responses((status = 200, body = WhoAmI), Authenticated))]
async fn whoami(State(state): State<AppState>, auth: Caller<Read>) -> ApiResult<axum::Json<WhoAmI>> {
    let mut tx = state.db.tenant(auth.org).await?;
    let org = orgs::own(&mut tx).await?;
    let (project, project_name) = orgs::default_project(&mut tx, &auth.reach).await?.ok_or(ProblemCode::Internal)?;
    let key = match auth.principal.key() {
        Some(key) => Some(keys::get(&mut tx, key).await?.ok_or(ProblemCode::Internal)?),
        None => None,
    };
    tx.commit().await?;
    let user = me(&state, &auth).await?;
    let scopes = auth.scopes.clone();
    Ok(axum::Json(WhoAmI { org: auth.org, org_name: org.name, project, project_name, scopes, key, user }))
}
