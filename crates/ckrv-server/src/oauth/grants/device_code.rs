//! A device's polling for its tokens (RFC 8628, sections 3.4 and 3.5).

use ckrv_types::LoginId;

use super::super::access_tokens::Issuing;
use super::super::errors::{Code, OAuthResult, Refusal};
use super::super::form::Asked;
use super::super::token::{GrantType, Tokens};
use super::begin;
use crate::auth::tokens;
use crate::db::device_codes::{self, Standing};
use crate::db::logins::NewLogin;
use crate::state::AppState;

const PENDING: Refusal = Refusal::new(Code::AuthorizationPending, "Nobody has decided yet.");
const SLOW_DOWN: Refusal = Refusal::new(Code::SlowDown, "That was too early. Wait 5 s longer from now on.");
const DENIED: Refusal = Refusal::new(Code::AccessDenied, "The person has refused.");
const EXPIRED: Refusal = Refusal::new(Code::ExpiredToken, "Nobody has decided in time. Begin again.");

pub async fn exchange(state: &AppState, asked: &Asked) -> OAuthResult<Tokens> {
    let device_hash = tokens::hash(asked.params.required("device_code", "device_code is missing.")?);
    if let Some(early) = device_codes::poll(state.db.system_pool(), &device_hash, asked.client.id).await? {
        return Err(if early { SLOW_DOWN } else { PENDING }.into());
    }
    let issuing = Issuing::new(state).await?;
    let mut tx = state.db.system().await?;
    let polled = device_codes::lock(&mut tx, &device_hash).await?;
    let polled = polled.filter(|polled| polled.client == asked.client.id).ok_or(Refusal::GRANT)?;
    let (user, org) = match polled.standing {
        Standing::Pending => return Err(PENDING.into()),
        Standing::Denied => return Err(DENIED.into()),
        Standing::Expired => return Err(EXPIRED.into()),
        Standing::Redeemed => return Err(Refusal::GRANT.into()),
        Standing::Approved { user, org } => (user, org),
    };
    let new = NewLogin {
        id: LoginId::new(),
        user,
        org,
        client: asked.client.id,
        scopes: &polled.scopes,
        host: &polled.host,
        address: &polled.address,
    };
    let begun = begin(state, &mut tx, asked, &issuing, &new, GrantType::DeviceCode).await?.ok_or(Refusal::GRANT)?;
    device_codes::redeem(&mut tx, &device_hash, new.id).await?;
    tx.commit().await?;
    Ok(begun)
}
