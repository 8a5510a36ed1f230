//! Invitations: links by which people join the organization.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use ckrv_types::identity::{AcceptInvitation, CreateInvitation, Invitation, Membership, WithToken};
use ckrv_types::quota::Measure;
use ckrv_types::token::TokenKind;
use ckrv_types::{InvitationId, Page, Problem, ProblemCode, limits};
use serde_json::json;
use utoipa_axum::router::OpenApiRouter;

use super::authority::{granter, note};
use super::once::{IdempotencyKey, Once};
use super::shown_once::{Shown, Tokened};
use super::{Created, invalid, no_such};
use crate::auth::{Caller, Manage, Principal, Read};
use crate::db::Tx;
use crate::db::invitations::{self, NewInvitation};
use crate::error::ApiResult;
use crate::http::extract::{Body, Json, Path, parse_json};
use crate::http::needs::routes;
use crate::http::problems::{Authenticated, Conflict, JsonBody, NotFound};
use crate::http::rate::address::ClientAddress;
use crate::quota::room_for;
use crate::state::AppState;
use crate::teams::joining::{self, Joiner};
use crate::text;

const INVITATIONS: Tokened =
    Tokened { collection: "/v1/invitations", shown: Shown::Link(TokenKind::Invite, joining::PATH) };

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(revoke)).routes(routes!(accept))
}

/// List the invitations that may still be taken, newest first, without their links.
#[utoipa::path(get, path = "/v1/invitations", tag = "teams", operation_id = "listInvitations",
    responses((status = 200, body = Page<Invitation>), Authenticated))]
async fn list(State(state): State<AppState>, auth: Caller<Manage>) -> ApiResult<axum::Json<Page<Invitation>>> {
    auth.whole_organization()?;
    let mut tx = state.db.tenant(auth.org).await?;
    Ok(axum::Json(Page { items: invitations::list(&mut tx).await?, next: None }))
}

/// Invite somebody. The link, in `token`, is in this answer and nowhere else: whoever has it may take the invitation, once,
/// within a week.
///
/// It is worth nothing any more when whoever made it could no longer make it.
#[utoipa::path(post, path = "/v1/invitations", tag = "teams", operation_id = "createInvitation",
    params(("Idempotency-Key" = Option<String>, Header, pattern = "^[!-~]{1,255}$", description = "1 to 255 visible ASCII characters.")),
    request_body = CreateInvitation,
    responses((status = 201, body = WithToken<Invitation>, headers(("Location" = String, description = "The invitation's address."))),
        Authenticated, JsonBody, Conflict))]
async fn create(
    State(state): State<AppState>,
    auth: Caller<Manage>,
    key: IdempotencyKey,
    address: ClientAddress,
    headers: HeaderMap,
    Body(body): Body,
) -> ApiResult<Created> {
    auth.whole_organization()?;
    let CreateInvitation { role, note: words } = parse_json(&headers, &body)?;
    if let Some(words) = &words
        && (words.is_empty() || *words != text::visible(words, limits::NOTE_CHARS))
    {
        return Err(invalid("note", format!("1 to {} visible characters of one line", limits::NOTE_CHARS)));
    }
    let once = Once::new(&auth, "POST /v1/invitations", &key, &[&body]);
    let (id, org, by) = (InvitationId::new(), auth.org, auth.principal.owner());
    let insert = async |tx: &mut Tx, hash| {
        granter(tx, &auth).await?.grants_role(role)?;
        room_for(tx, org, Measure::Members).await?;
        let new = NewInvitation { id, org, hash, role, note: words.as_deref(), by };
        let made = invitations::create(tx, &new).await?;
        note(tx, &auth, address, "invitation.created", id, json!({ "role": role, "note": words })).await?;
        Ok(made)
    };
    INVITATIONS.make(&state, &auth, &once, id, insert).await
}

/// Revoke an invitation that nobody has taken.
#[utoipa::path(delete, path = "/v1/invitations/{id}", tag = "teams", operation_id = "revokeInvitation",
    params(("id" = InvitationId, Path)),
    responses((status = 204, description = "It is revoked."), Authenticated, NotFound, Conflict))]
async fn revoke(
    State(state): State<AppState>,
    auth: Caller<Manage>,
    Path(id): Path<InvitationId>,
    address: ClientAddress,
) -> ApiResult<StatusCode> {
    let mut tx = state.db.tenant(auth.org).await?;
    let granter = granter(&mut tx, &auth).await?;
    let known = invitations::get(&mut tx, id).await?.ok_or_else(|| no_such("invitation", id))?;
    granter.manages(known.role)?;
    if known.accepted {
        return Err(Problem::new(ProblemCode::Conflict)
            .detail("Somebody has taken this invitation, and is a member now.")
            .hint("Remove the member: ckrv org members")
            .into());
    }
    if !known.revoked {
        invitations::revoke(&mut tx, id).await?;
        note(&mut tx, &auth, address, "invitation.revoked", id, json!({ "role": known.role })).await?;
        tx.commit().await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Join the organization that an invitation is from, as a person, by a program that they have let in for all.
///
/// Who has taken it gets the same answer again; for others it is gone. Who is a member already stays what they are.
#[utoipa::path(post, path = "/v1/invitations/accept", tag = "teams", operation_id = "acceptInvitation",
    request_body = AcceptInvitation,
    responses((status = 200, body = Membership), Authenticated, JsonBody, NotFound, Conflict))]
async fn accept(
    State(state): State<AppState>,
    auth: Caller<Read>,
    address: ClientAddress,
    Json(AcceptInvitation { token }): Json<AcceptInvitation>,
) -> ApiResult<axum::Json<Membership>> {
    let Principal::User { user, login } = auth.principal else {
        return Err(Problem::new(ProblemCode::Forbidden)
            .detail("An API key joins no organization: an invitation is for a person.")
            .hint("Open the link in a browser, or sign in: ckrv cloud login")
            .into());
    };
    auth.not_narrowed()?;
    let joiner = Joiner { user, login: Some(login), address: address.0.to_string() };
    // A link is taken whole, or its last part alone.
    let token = token.trim().rsplit('/').next().unwrap_or_default();
    Ok(axum::Json(joining::accept(&state, token, &joiner).await?))
}
