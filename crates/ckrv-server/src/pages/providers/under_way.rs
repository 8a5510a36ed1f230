//! What is remembered of somebody while they are at a provider. It is sealed: the link that they came by may be an
//! invitation's, and what the provider's answer has to fit is for this server alone.

use std::borrow::Cow;

use ckrv_types::{Secret, UserId};
use serde::{Deserialize, Serialize};

use crate::auth::tokens::{Signer, TokenHash};
use crate::db::sign_ins::{self, Kept};
use crate::error::{ApiError, ApiResult};
use crate::providers::Provider;
use crate::state::AppState;
use crate::vault::envelope::DataKey;

/// A sign-in that has begun.
pub struct SignIn {
    pub nonce: Secret,
    pub verifier: Secret,
    /// Where it leads in the end.
    pub return_to: String,
    /// Who wants to be known by it too; none: whoever it is, is to be signed in.
    pub user: Option<UserId>,
}

/// As it is sealed.
#[derive(Serialize, Deserialize)]
struct Plain<'a> {
    nonce: Cow<'a, str>,
    verifier: Cow<'a, str>,
    return_to: Cow<'a, str>,
}

/// Remembers a sign-in under this key.
pub async fn remember(state: &AppState, provider: &Provider, key: &TokenHash, sign_in: &SignIn) -> ApiResult<()> {
    let kept = seal(&state.signer, key, sign_in)?;
    let mut tx = state.db.system().await?;
    sign_ins::begin(&mut tx, key, &provider.id, &kept).await?;
    Ok(tx.commit().await?)
}

/// What was remembered under this key, once.
pub async fn recall(state: &AppState, provider: &Provider, key: &TokenHash) -> ApiResult<Option<SignIn>> {
    let mut tx = state.db.system().await?;
    let kept = sign_ins::take(&mut tx, key, &provider.id).await?;
    tx.commit().await?;
    Ok(kept.and_then(|kept| open(&state.signer, key, &kept)))
}

fn cipher(signer: &Signer) -> DataKey {
    DataKey::new(signer.derive("sign-ins at rest"))
}

fn seal(signer: &Signer, key: &TokenHash, sign_in: &SignIn) -> ApiResult<Kept> {
    let SignIn { nonce, verifier, return_to, user } = sign_in;
    let (nonce, verifier) = (nonce.expose().into(), verifier.expose().into());
    let plain = serde_json::to_vec(&Plain { nonce, verifier, return_to: return_to.into() })
        .map_err(|_| ApiError::Internal("a sign-in cannot be written down"))?;
    Ok(Kept { sealed: cipher(signer).seal(&plain, key), user: *user })
}

/// None: it was sealed with another secret, or is another's.
fn open(signer: &Signer, key: &TokenHash, kept: &Kept) -> Option<SignIn> {
    let plain = cipher(signer).open(&kept.sealed, key)?;
    let Plain { nonce, verifier, return_to } = serde_json::from_slice(&plain).ok()?;
    Some(SignIn {
        nonce: Secret::new(nonce.into_owned()),
        verifier: Secret::new(verifier.into_owned()),
        return_to: return_to.into_owned(),
        user: kept.user,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_opened_by_the_same_secret_in_its_own_place_and_shows_nothing() {
        let signer = |byte: &str| Signer::new(&Secret::new(byte.repeat(32))).unwrap();
        let user = Some(UserId::new());
        let return_to = "/oauth/authorize?a=%22&b='\"".to_owned();
        let sign_in = SignIn { nonce: Secret::new("n0nce"), verifier: Secret::new("ver1fier"), return_to, user };
        let kept = seal(&signer("ab"), &[1; 32], &sign_in).unwrap();
        let found = open(&signer("ab"), &[1; 32], &kept).unwrap();
        assert_eq!((found.nonce.expose(), found.verifier.expose()), ("n0nce", "ver1fier"));
        assert_eq!((found.return_to, found.user), (sign_in.return_to, user));
        assert!(open(&signer("ab"), &[2; 32], &kept).is_none() && open(&signer("ac"), &[1; 32], &kept).is_none());
        let text = String::from_utf8_lossy(&kept.sealed).into_owned();
        assert!(!text.contains("authorize") && !text.contains("n0nce"), "{text}");
    }
}
