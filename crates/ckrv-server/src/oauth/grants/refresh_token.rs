//! A refresh token's exchange for its successor and an access token (RFC 6749 section 6, RFC 9700 section 4.14).
//!
//! Each is good once. Answers get lost, so for a few seconds it may be sent again and gets the same successor; later it is in
//! two hands, nobody knows whose are the wrong ones, and the login ends.

use super::super::access_tokens::Issuing;
use super::super::errors::{OAuthResult, Refusal};
use super::super::form::Asked;
use super::super::token::Tokens;
use super::super::{revoke, scopes};
use super::LOGIN_DAYS;
use crate::auth::tokens;
use crate::db::audit::Actor;
use crate::db::logins::{self, Reason};
use crate::db::refresh_tokens::{self, Used};
use crate::state::AppState;

pub async fn exchange(state: &AppState, asked: &Asked) -> OAuthResult<Tokens> {
    let hash = tokens::hash(asked.params.required("refresh_token", "refresh_token is missing.")?);
    let scope = asked.params.get("scope");
    let issuing = Issuing::new(state).await?;
    let mut tx = state.db.system().await?;
    let (id, number) = refresh_tokens::find(&mut tx, &hash).await?.ok_or(Refusal::GRANT)?;
    let login = logins::lock(&mut tx, id).await?.ok_or(Refusal::GRANT)?;
    if login.client != asked.client.id || !login.stands {
        return Err(Refusal::GRANT.into());
    }
    let successor = number + 1;
    let refresh = state.signer.refresh_token(id, successor);
    match refresh_tokens::used(&mut tx, id, number).await?.ok_or(Refusal::GRANT)? {
        Used::Never => {
            refresh_tokens::insert(&mut tx, id, successor, &tokens::hash(refresh.expose())).await?;
            refresh_tokens::note_use(&mut tx, id, number).await?;
            logins::prolong(&mut tx, id, LOGIN_DAYS).await?;
        }
        Used::Lately => {}
        Used::Before => {
            revoke::end(state, tx, id, Reason::Reuse, Actor::Anonymous, &asked.address).await?;
            return Err(Refusal::GRANT.into());
        }
    }
    let scopes = scopes::narrowed(&login.scopes, scope)?;
    let access = issuing.token(id, login.user, asked.client.id, &scopes)?;
    tx.commit().await?;
    Ok(Tokens::new(access, &refresh, &scopes))
}
