//! What every route needs that changes who may do what: that nobody else does at the same time, that whoever asks still may
//! what they could when they were let in, and a line in the audit log.

use ckrv_types::identity::{Role, Scope};
use ckrv_types::{LoginId, Problem, ProblemCode};
use serde_json::{Value, json};

use crate::auth::rules::Granter;
use crate::auth::{Auth, KeyOwner, Principal};
use crate::db::audit::{self, Entry};
use crate::db::{Tx, invitations, logins, members};
use crate::error::{ApiError, ApiResult};
use crate::http::rate::address::ClientAddress;

/// What the caller may give to others, until the transaction's end: somebody who may manage at this moment.
///
/// A credential that was found good is believed for a while; what is made by one must not outlive what it was made by.
pub async fn granter(tx: &mut Tx, auth: &Auth) -> ApiResult<Granter> {
    let asks = granter_of_own(tx, auth).await?;
    // There is nobody whom it takes less to manage.
    asks.manages(Role::Viewer)?;
    Ok(asks)
}

/// The same of anybody, for what people may do about themselves without managing: their own keys, and leaving.
pub async fn granter_of_own(tx: &mut Tx, auth: &Auth) -> ApiResult<Granter> {
    auth.whole_organization()?;
    members::lock(tx, auth.org).await?;
    if let Principal::User { login, .. } = auth.principal
        && !logins::stands(tx, login).await?
    {
        return Err(no_more());
    }
    let role = members::role_of(tx, auth.principal).await?.ok_or_else(no_more)?;
    let scopes: Vec<Scope> = auth.scopes.iter().copied().filter(|scope| role.allows(*scope)).collect();
    Ok(Granter { role, scopes, by_login: auth.principal.key().is_none(), narrowed: auth.is_narrowed() })
}

/// The login of a person's program, which stands until the transaction's end: for what it has its person become.
pub async fn standing(system: &mut Tx, login: LoginId) -> ApiResult<()> {
    if logins::lock(system, login).await?.is_some_and(|found| found.stands) { Ok(()) } else { Err(no_more()) }
}

fn no_more() -> ApiError {
    Problem::new(ProblemCode::Unauthenticated)
        .detail("The credential was good a moment ago, and is not any more.")
        .into()
}

/// Revokes the open invitations of somebody who could make them no longer, being `now` this (none: nothing any more), and writes
/// that down: none is worth anything, and each would take a member's place.
pub async fn revoke_invitations(
    tx: &mut Tx,
    auth: &Auth,
    address: ClientAddress,
    of: KeyOwner,
    now: Option<Role>,
) -> Result<(), sqlx::Error> {
    for (id, role) in invitations::revoke_of(tx, of, now).await? {
        note(tx, auth, address, "invitation.revoked", id, json!({ "role": role })).await?;
    }
    Ok(())
}

/// Writes down what the caller has done, in the transaction that does it.
pub async fn note(
    tx: &mut Tx,
    auth: &Auth,
    address: ClientAddress,
    action: &str,
    subject: impl ToString,
    detail: Value,
) -> Result<(), sqlx::Error> {
    let address = address.0.to_string();
    let entry = Entry {
        org: Some(auth.org),
        actor: auth.principal.actor(),
        action,
        subject: Some(subject.to_string()),
        address: Some(&address),
        detail,
    };
    audit::write(tx, &entry).await
}
