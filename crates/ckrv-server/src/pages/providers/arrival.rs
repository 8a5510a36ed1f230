//! Who of ours somebody is whom a provider vouches for: by issuer and subject, never by an e-mail address.

use ckrv_types::UserId;
use serde_json::json;

use super::super::Visitor;
use super::refusal::Refusal;
use crate::db::audit::{self, Actor, Entry};
use crate::db::{Tx, identities};
use crate::error::{ApiError, ApiResult};
use crate::providers::{Provider, SignUp, Vouched};
use crate::state::AppState;
use crate::teams::joining;

/// Who is to be signed in: who is known by this identity, or, if the provider's may sign up, somebody new.
pub async fn admit(
    state: &AppState,
    provider: &Provider,
    vouched: Vouched,
    return_to: &str,
    visitor: &Visitor,
) -> ApiResult<Result<UserId, Refusal>> {
    // Of two first times at once, one comes too late to be it, and finds the other's.
    for _ in 0..2 {
        let mut tx = state.db.system().await?;
        match identities::find(&mut tx, &vouched).await? {
            Some(holder) if holder.suspended => return Ok(Err(Refusal::Suspended(holder.user))),
            Some(holder) => {
                tx.commit().await?;
                return Ok(Ok(holder.user));
            }
            None if !may_sign_up(&mut tx, provider, return_to).await? => return Ok(Err(Refusal::Stranger(vouched))),
            None => {
                let user = identities::create_user(&mut tx, &vouched).await?;
                if identities::link(&mut tx, user, &vouched).await? {
                    note(&mut tx, "user.created", user, provider, &vouched, visitor).await?;
                    tx.commit().await?;
                    return Ok(Ok(user));
                }
            }
        }
    }
    Err(ApiError::Internal("an identity is neither known nor new"))
}

/// Whoever came by the link of an invitation is led back to it, and may take it there.
async fn may_sign_up(tx: &mut Tx, provider: &Provider, return_to: &str) -> ApiResult<bool> {
    match (provider.sign_up, return_to.strip_prefix(joining::PATH)) {
        (SignUp::Open, _) => Ok(true),
        (SignUp::Invited, Some(token)) => joining::is_open(tx, token).await,
        (SignUp::Invited, None) => Ok(false),
    }
}

/// Has a user be known by this identity too.
pub async fn link(
    state: &AppState,
    provider: &Provider,
    vouched: Vouched,
    user: UserId,
    visitor: &Visitor,
) -> ApiResult<Result<(), Refusal>> {
    let mut tx = state.db.system().await?;
    if identities::link(&mut tx, user, &vouched).await? {
        note(&mut tx, "identity.linked", user, provider, &vouched, visitor).await?;
        tx.commit().await?;
        return Ok(Ok(()));
    }
    let holder = identities::find(&mut tx, &vouched).await?;
    tx.commit().await?;
    Ok(if holder.is_some_and(|holder| holder.user == user) { Ok(()) } else { Err(Refusal::Taken(vouched)) })
}

async fn note(
    tx: &mut Tx,
    action: &str,
    user: UserId,
    provider: &Provider,
    vouched: &Vouched,
    visitor: &Visitor,
) -> ApiResult<()> {
    let address = visitor.address_text();
    let entry = Entry {
        org: None,
        actor: Actor::User(user),
        action,
        subject: Some(user.to_string()),
        address: Some(&address),
        detail: json!({ "provider": provider.id, "issuer": vouched.issuer, "subject": vouched.subject }),
    };
    Ok(audit::write(tx, &entry).await?)
}
