//! What is exchanged for tokens, one file a grant. Each locks what it exchanges, judges it, issues, and commits all at once:
//! what is rolled back has used up nothing.

pub mod authorization_code;
pub mod device_code;
pub mod refresh_token;

use serde_json::json;

use super::access_tokens::Issuing;
use super::errors::OAuthResult;
use super::form::Asked;
use super::scopes;
use super::token::{GrantType, Tokens};
use crate::auth::tokens;
use crate::db::audit::{self, Actor, Entry};
use crate::db::logins::{self, NewLogin};
use crate::db::{Tx, refresh_tokens};
use crate::state::AppState;

/// Days that a login lives from its last refresh.
const LOGIN_DAYS: i32 = 90;

/// Begins a login, with its first tokens. None: its user may no longer have one.
async fn begin(
    state: &AppState,
    tx: &mut Tx,
    asked: &Asked,
    issuing: &Issuing,
    new: &NewLogin<'_>,
    by: GrantType,
) -> OAuthResult<Option<Tokens>> {
    const FIRST: u32 = 1;
    if !logins::insert(tx, new, LOGIN_DAYS).await? {
        return Ok(None);
    }
    let refresh = state.signer.refresh_token(new.id, FIRST);
    refresh_tokens::insert(tx, new.id, FIRST, &tokens::hash(refresh.expose())).await?;
    let entry = Entry {
        org: Some(new.org),
        actor: Actor::User(new.user),
        action: "login.issued",
        subject: Some(new.id.to_string()),
        address: Some(&asked.address),
        detail: json!({
            "client": new.client,
            "scopes": scopes::text(new.scopes),
            "host": new.host,
            "grant_type": by.as_str(),
        }),
    };
    audit::write(tx, &entry).await?;
    let access = issuing.token(new.id, new.user, new.client, new.scopes)?;
    Ok(Some(Tokens::new(access, &refresh, new.scopes)))
}
