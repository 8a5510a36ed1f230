//! Organizations: the one that a request is about, those of a person, and new ones.

use axum::extract::State;
use axum::http::HeaderMap;
use ckrv_types::identity::{CreateOrg, Membership, Org, UpdateOrg};
use ckrv_types::{Page, Problem, ProblemCode};
use serde_json::json;
use utoipa_axum::router::OpenApiRouter;

use super::authority::{granter, note};
use super::once::{IdempotencyKey, Once};
use super::{Created, check_name};
use crate::auth::{Caller, Manage, Principal, Read, me};
use crate::config::OrgCreation;
use crate::db::audit::Actor;
use crate::db::orgs;
use crate::error::{ApiError, ApiResult};
use crate::http::extract::{Body, Json, parse_json};
use crate::http::needs::routes;
use crate::http::problems::{Authenticated, Conflict, JsonBody};
use crate::http::rate::address::ClientAddress;
use crate::state::AppState;
use crate::teams::founding::{self, Founding};

const ORG: &str = "/v1/org";

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(get, update))
}

/// List the organizations that the person belongs to, by name; of an API key its own.
#[utoipa::path(get, path = "/v1/orgs", tag = "teams", operation_id = "listOrgs",
    responses((status = 200, body = Page<Membership>), Authenticated))]
async fn list(State(state): State<AppState>, auth: Caller<Read>) -> ApiResult<axum::Json<Page<Membership>>> {
    let items = if let Some(me) = me(&state, &auth).await? {
        me.memberships
    } else {
        let mut tx = state.db.tenant(auth.org).await?;
        vec![Membership { org: auth.org, org_name: orgs::own(&mut tx).await?.name, role: auth.role }]
    };
    Ok(axum::Json(Page { items, next: None }))
}

/// Make an organization, whose owner is the person that asks. Whoever runs the control plane may keep that to themselves.
///
/// It takes a program that the person has let in for all.
#[utoipa::path(post, path = "/v1/orgs", tag = "teams", operation_id = "createOrg",
    params(("Idempotency-Key" = Option<String>, Header, pattern = "^[!-~]{1,255}$", description = "1 to 255 visible ASCII characters.")),
    request_body = CreateOrg,
    responses((status = 201, body = Org, headers(("Location" = String, description = "Where an organization is found by who belongs to it."))),
        Authenticated, JsonBody, Conflict))]
async fn create(
    State(state): State<AppState>,
    auth: Caller<Read>,
    key: IdempotencyKey,
    address: ClientAddress,
    headers: HeaderMap,
    Body(body): Body,
) -> ApiResult<Created> {
    let Principal::User { user, login } = auth.principal else {
        return Err(Problem::new(ProblemCode::Forbidden)
            .detail("An API key has its one organization, and makes no other.")
            .hint("Sign in as a person: ckrv cloud login")
            .into());
    };
    auth.not_narrowed()?;
    if state.config.org_creation == OrgCreation::Operator {
        return Err(Problem::new(ProblemCode::Forbidden)
            .detail("On this control plane, organizations are made by its operator.")
            .hint("Ask them for one: ckrv-server admin create-org")
            .into());
    }
    let CreateOrg { name } = parse_json(&headers, &body)?;
    check_name(&name)?;
    let once = Once::new(&auth, "POST /v1/orgs", &key, &[&body]);
    let address = address.0.to_string();
    let wanted = Founding { name: &name, owner: user, tier: None, by: Actor::User(user), address: Some(&address) };
    let made = founding::found_once(&state, &once, login, &wanted).await?;
    Ok(Created { location: ORG.to_owned(), body: made.ok_or_else(|| taken(&name))? })
}

/// The organization that the request is about.
#[utoipa::path(get, path = "/v1/org", tag = "teams", operation_id = "getOrg",
    responses((status = 200, body = Org), Authenticated))]
async fn get(State(state): State<AppState>, auth: Caller<Read>) -> ApiResult<axum::Json<Org>> {
    let mut tx = state.db.tenant(auth.org).await?;
    Ok(axum::Json(orgs::shown(&mut tx, auth.org).await?))
}

/// Rename the organization.
#[utoipa::path(patch, path = "/v1/org", tag = "teams", operation_id = "updateOrg", request_body = UpdateOrg,
    responses((status = 200, body = Org), Authenticated, JsonBody, Conflict))]
async fn update(
    State(state): State<AppState>,
    auth: Caller<Manage>,
    address: ClientAddress,
    Json(UpdateOrg { name }): Json<UpdateOrg>,
) -> ApiResult<axum::Json<Org>> {
    name.as_deref().map_or(Ok(()), check_name)?;
    let mut tx = state.db.tenant(auth.org).await?;
    // Scripts and profiles of all members name the organization by it.
    granter(&mut tx, &auth).await?.manages(ckrv_types::identity::Role::Owner)?;
    let known = orgs::own(&mut tx).await?;
    if let Some(name) = name.filter(|name| *name != known.name) {
        match orgs::rename(&mut tx, auth.org, &name).await {
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() => return Err(taken(&name)),
            done => done?,
        }
        let detail = json!({ "from": known.name, "to": name });
        note(&mut tx, &auth, address, "org.renamed", auth.org, detail).await?;
    }
    let shown = orgs::shown(&mut tx, auth.org).await?;
    tx.commit().await?;
    // A cached credential holds the name by which its request named the organization.
    state.credentials.callers.forget(|found| found.org == auth.org);
    Ok(axum::Json(shown))
}

fn taken(name: &str) -> ApiError {
    Problem::new(ProblemCode::Conflict)
        .detail(format!("There is an organization named `{name}` already."))
        .hint("Choose another name.")
        .into()
}
