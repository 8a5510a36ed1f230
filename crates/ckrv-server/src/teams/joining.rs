//! A person takes an invitation, at a page or by a program.

use ckrv_types::identity::Membership;
use ckrv_types::{LoginId, Problem, ProblemCode, SessionId, UserId};
use serde_json::json;

use crate::api::authority::standing;
use crate::auth::rules::stands_behind;
use crate::auth::tokens;
use crate::db::audit::{self, Actor, Entry};
use crate::db::invitations::{self, Found};
use crate::db::{Tx, members, sessions};
use crate::error::{ApiError, ApiResult};
use crate::state::AppState;

/// The page of a link is below this.
pub const PATH: &str = "/invitations/";

/// Who wants to join.
pub struct Joiner {
    pub user: UserId,
    /// Of their program; none: they are at a page.
    pub login: Option<LoginId>,
    pub address: String,
}

/// An invitation that somebody may take, unless they are a member already.
pub struct Offer {
    pub found: Found,
    pub is_member: bool,
}

/// What this invitation offers to a person. 404 for one that is no longer good as for one that never was.
pub async fn look(state: &AppState, token: &str, user: UserId) -> ApiResult<Offer> {
    let mut tx = state.db.system().await?;
    let found = invitations::find(&mut tx, &tokens::hash(token)).await?.ok_or_else(gone)?;
    let is_member = members::is_listed(&mut tx, found.org, user).await?;
    tx.commit().await?;
    if is_member || is_good(&found) { Ok(Offer { found, is_member }) } else { Err(gone()) }
}

/// Whether somebody of whom nothing is known yet could take this invitation.
pub async fn is_open(system: &mut Tx, token: &str) -> ApiResult<bool> {
    Ok(invitations::find(system, &tokens::hash(token)).await?.is_some_and(|found| is_good(&found)))
}

/// Makes the person a member, once. Who has taken the invitation and still belongs to the organization is answered the same again.
pub async fn accept(state: &AppState, token: &str, who: &Joiner) -> ApiResult<Membership> {
    let (tx, joined) = take(state, token, who).await?;
    tx.commit().await?;
    Ok(joined)
}

/// The same at a page, which is about that organization from then on.
pub async fn accept_at(state: &AppState, token: &str, who: &Joiner, session: SessionId) -> ApiResult<Membership> {
    let (mut tx, joined) = take(state, token, who).await?;
    sessions::choose_org(&mut tx, session, who.user, joined.org).await?;
    tx.commit().await?;
    Ok(joined)
}

async fn take(state: &AppState, token: &str, who: &Joiner) -> ApiResult<(Tx, Membership)> {
    let hash = tokens::hash(token);
    let mut tx = state.db.system().await?;
    let Found { org, .. } = invitations::find(&mut tx, &hash).await?.ok_or_else(gone)?;
    members::lock(&mut tx, org).await?;
    if let Some(login) = who.login {
        standing(&mut tx, login).await?;
    }
    // Again, since it may have been taken, or who made it shut out, before the lock was had.
    let found = invitations::find(&mut tx, &hash).await?.ok_or_else(gone)?;
    let joined = Membership { org, org_name: found.org_name.clone(), role: found.role };
    if members::is_listed(&mut tx, org, who.user).await? {
        return if found.accepted_by == Some(who.user) { Ok((tx, joined)) } else { Err(member_already(&found)) };
    }
    if !is_good(&found) {
        return Err(gone());
    }
    members::add(&mut tx, org, who.user, found.role).await?;
    invitations::accept(&mut tx, found.id, who.user).await?;
    for (action, subject) in [("invitation.accepted", found.id.to_string()), ("member.joined", who.user.to_string())] {
        let entry = Entry {
            org: Some(org),
            actor: Actor::User(who.user),
            action,
            subject: Some(subject),
            address: Some(&who.address),
            detail: json!({ "role": found.role, "invitation": found.id }),
        };
        audit::write(&mut tx, &entry).await?;
    }
    Ok((tx, joined))
}

fn is_good(found: &Found) -> bool {
    found.open && stands_behind(found.by, found.role)
}

fn gone() -> ApiError {
    Problem::new(ProblemCode::NotFound)
        .detail("This invitation is not good, or not any more: each is for one person and a week.")
        .hint("Ask who invited you for a new one.")
        .into()
}

fn member_already(found: &Found) -> ApiError {
    Problem::new(ProblemCode::Conflict)
        .detail(format!("You are a member of {} already; nothing was changed.", found.org_name))
        .hint("Leave the invitation to whom it is for.")
        .into()
}
