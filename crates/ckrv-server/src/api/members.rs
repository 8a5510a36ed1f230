//! The people of an organization.

use axum::extract::State;
use axum::http::StatusCode;
use ckrv_types::identity::{Member, UpdateMember};
use ckrv_types::{OrgId, Page, UserId};
use serde_json::json;
use utoipa_axum::router::OpenApiRouter;

use super::authority::{granter, granter_of_own, note, revoke_invitations};
use super::no_such;
use crate::auth::rules::keeps_an_owner;
use crate::auth::{Auth, Caller, KeyOwner, Manage, Read};
use crate::db::members;
use crate::error::ApiResult;
use crate::http::extract::{Json, Path};
use crate::http::needs::routes;
use crate::http::problems::{Authenticated, Conflict, JsonBody, NotFound};
use crate::http::rate::address::ClientAddress;
use crate::state::AppState;

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(update, remove))
}

/// List the people of the organization, by name.
#[utoipa::path(get, path = "/v1/members", tag = "teams", operation_id = "listMembers",
    responses((status = 200, body = Page<Member>), Authenticated))]
async fn list(State(state): State<AppState>, auth: Caller<Read>) -> ApiResult<axum::Json<Page<Member>>> {
    auth.whole_organization()?;
    let mut tx = state.db.tenant(auth.org).await?;
    Ok(axum::Json(Page { items: members::list(&mut tx).await?, next: None }))
}

/// Give a member another role, or suspend them: while they are, nothing of theirs is let in.
///
/// The last owner stays one.
#[utoipa::path(patch, path = "/v1/members/{user}", tag = "teams", operation_id = "updateMember",
    params(("user" = UserId, Path)), request_body = UpdateMember,
    responses((status = 200, body = Member), Authenticated, JsonBody, NotFound, Conflict))]
async fn update(
    State(state): State<AppState>,
    auth: Caller<Manage>,
    Path(user): Path<UserId>,
    address: ClientAddress,
    Json(wanted): Json<UpdateMember>,
) -> ApiResult<axum::Json<Member>> {
    let mut tx = state.db.tenant(auth.org).await?;
    let granter = granter(&mut tx, &auth).await?;
    let before = members::standing(&mut tx, user).await?.ok_or_else(|| no_such("member", user))?;
    let after = before.with(wanted.role, wanted.suspended);
    granter.changes_role(before.role, after.role)?;
    keeps_an_owner(before, Some(after), members::other_owners(&mut tx, user).await?)?;
    if after != before {
        members::set(&mut tx, user, after).await?;
        for (action, detail) in before.acts("member", "role-changed", after) {
            note(&mut tx, &auth, address, &action, user, detail).await?;
        }
        // Who is suspended may come back to what they have made.
        revoke_invitations(&mut tx, &auth, address, KeyOwner::User(user), Some(after.role)).await?;
    }
    let changed = members::get(&mut tx, user).await?.ok_or_else(|| no_such("member", user))?;
    tx.commit().await?;
    forget(&state, auth.org, user);
    Ok(axum::Json(changed))
}

/// Remove a member, or leave: their API keys are revoked, and nothing of theirs is let in any more.
///
/// Anybody may leave, but for the last owner; by a program that they have let in for all.
#[utoipa::path(delete, path = "/v1/members/{user}", tag = "teams", operation_id = "removeMember",
    params(("user" = UserId, Path)),
    responses((status = 204, description = "They are no member any more."), Authenticated, NotFound, Conflict))]
async fn remove(
    State(state): State<AppState>,
    auth: Caller<Read>,
    Path(user): Path<UserId>,
    address: ClientAddress,
) -> ApiResult<StatusCode> {
    let mut tx = state.db.tenant(auth.org).await?;
    let granter = granter_of_own(&mut tx, &auth).await?;
    let before = members::standing(&mut tx, user).await?.ok_or_else(|| no_such("member", user))?;
    let leaves = is_login_of(&auth, user);
    if leaves {
        auth.not_narrowed()?;
    } else {
        granter.manages(before.role)?;
    }
    keeps_an_owner(before, None, members::other_owners(&mut tx, user).await?)?;
    let keys = members::revoke_keys(&mut tx, user).await?;
    let action = if leaves { "member.left" } else { "member.removed" };
    // While the name of whoever leaves can still be seen.
    note(&mut tx, &auth, address, action, user, json!({ "role": before.role, "keys": keys })).await?;
    revoke_invitations(&mut tx, &auth, address, KeyOwner::User(user), None).await?;
    members::remove(&mut tx, user).await?;
    tx.commit().await?;
    forget(&state, auth.org, user);
    Ok(StatusCode::NO_CONTENT)
}

fn is_login_of(auth: &Auth, user: UserId) -> bool {
    auth.principal.key().is_none() && auth.principal.user() == Some(user)
}

/// What was found of a person's programs and keys may not hold any more.
fn forget(state: &AppState, org: OrgId, user: UserId) {
    state.credentials.callers.forget(|known| known.org == org && known.principal.user() == Some(user));
}
