//! An authorization code's exchange (RFC 6749 section 4.1.3, RFC 7636 section 4.6).
//!
//! A code that comes a second time was in two hands, so the login that came of it ends (RFC 6749, section 4.1.2). But only if
//! whoever brings it has the verifier too: a stranger who has seen the code alone can neither redeem nor end anything.

use ckrv_types::LoginId;

use super::super::access_tokens::Issuing;
use super::super::errors::{OAuthResult, Refusal};
use super::super::form::Asked;
use super::super::token::{GrantType, Tokens};
use super::super::{pkce, revoke};
use super::begin;
use crate::auth::tokens;
use crate::db::audit::Actor;
use crate::db::authorization_codes;
use crate::db::logins::{NewLogin, Reason};
use crate::state::AppState;

pub async fn exchange(state: &AppState, asked: &Asked) -> OAuthResult<Tokens> {
    let code_hash = tokens::hash(asked.params.required("code", "code is missing.")?);
    let redirect_uri = asked.params.required("redirect_uri", "redirect_uri is missing.")?;
    let verifier = asked.params.required("code_verifier", "code_verifier is missing.")?;
    let issuing = Issuing::new(state).await?;
    let mut tx = state.db.system().await?;
    let code = authorization_codes::lock(&mut tx, &code_hash).await?.ok_or(Refusal::GRANT)?;
    let theirs = code.client == asked.client.id && code.redirect_uri == redirect_uri;
    if !theirs || !pkce::fits(verifier, &code.challenge) {
        return Err(Refusal::GRANT.into());
    }
    if let Some(login) = code.login {
        revoke::end(state, tx, login, Reason::CodeReuse, Actor::Anonymous, &asked.address).await?;
        return Err(Refusal::GRANT.into());
    }
    if code.expired {
        return Err(Refusal::GRANT.into());
    }
    let new = NewLogin {
        id: LoginId::new(),
        user: code.user,
        org: code.org,
        client: asked.client.id,
        scopes: &code.scopes,
        host: &code.host,
        address: &code.address,
    };
    let by = GrantType::AuthorizationCode;
    let begun = begin(state, &mut tx, asked, &issuing, &new, by).await?.ok_or(Refusal::GRANT)?;
    authorization_codes::redeem(&mut tx, &code_hash, new.id).await?;
    tx.commit().await?;
    Ok(begun)
}
