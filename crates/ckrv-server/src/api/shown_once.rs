//! Things with a token, which is shown in the answer that makes them, and again only to whoever repeats that very request.
//!
//! Of the token its SHA-256 is kept. For repeats the kept answer holds the token's secret part under a pad that only the
//! server's own key makes; the answer goes after a day.

use ckrv_types::Secret;
use ckrv_types::token::{SECRET_BYTES, TokenKind};
use serde::Serialize;
use serde_json::{Value, json};

use super::once::Once;
use super::{Created, to_value};
use crate::auth::Auth;
use crate::auth::tokens::{self, Signer, TokenHash};
use crate::db::Tx;
use crate::error::{ApiError, ApiResult};
use crate::state::AppState;

/// A collection of things with tokens.
pub struct Tokened {
    /// Its path.
    pub collection: &'static str,
    pub shown: Shown,
}

/// As what a token is shown.
#[derive(Debug, Clone, Copy)]
pub enum Shown {
    Token(TokenKind),
    /// A page's address: the path that the token is the last part of, for browsers.
    Link(TokenKind, &'static str),
}

impl Shown {
    const fn kind(self) -> TokenKind {
        match self {
            Self::Token(kind) | Self::Link(kind, _) => kind,
        }
    }
}

impl Tokened {
    /// Makes the thing with this id for the caller's organization, once, in one transaction: `insert` stores it with the
    /// hash of its token and answers what is shown of it.
    pub async fn make<T: Serialize>(
        &self,
        state: &AppState,
        auth: &Auth,
        once: &Once<'_>,
        id: impl std::fmt::Display,
        insert: impl AsyncFnOnce(&mut Tx, TokenHash) -> ApiResult<T>,
    ) -> ApiResult<Created> {
        let mut tx = state.db.tenant(auth.org).await?;
        let kept = if let Some(kept) = once.answered(&mut tx).await? {
            kept
        } else {
            let token = NewToken::new(&state.signer, self.shown.kind(), &id.to_string());
            let kept = token.sealed(&insert(&mut tx, token.hash).await?);
            once.keep(&mut tx, &kept).await?;
            tx.commit().await?;
            kept
        };
        let mut body = shown(&state.signer, self.shown.kind(), kept)?;
        if let Shown::Link(_, path) = self.shown
            && let Some(token) = body.get_mut("token")
        {
            *token = format!("{}{path}{}", state.config.issuer(), token.as_str().unwrap_or_default()).into();
        }
        Ok(Created::below(self.collection, body))
    }
}

/// A token that was just made.
struct NewToken {
    hash: TokenHash,
    masked: String,
}

impl NewToken {
    /// A random token for the thing with this id.
    fn new(signer: &Signer, kind: TokenKind, id: &str) -> Self {
        let secret: [u8; SECRET_BYTES] = rand::random();
        let token = tokens::compose(kind, id, &secret);
        Self { hash: tokens::hash(token.expose()), masked: hex::encode(signer.mask(id, &secret)) }
    }

    /// What is kept of the answer: the thing, and the token so that only we can read it.
    fn sealed(&self, item: &impl Serialize) -> Value {
        json!({ "item": to_value(item), "masked": self.masked })
    }
}

/// The answer itself, with the token in it.
fn shown(signer: &Signer, kind: TokenKind, sealed: Value) -> ApiResult<Value> {
    open(signer, kind, sealed).ok_or(ApiError::Internal("an answer that was kept cannot be read"))
}

fn open(signer: &Signer, kind: TokenKind, mut sealed: Value) -> Option<Value> {
    let mut item = sealed.get_mut("item")?.take();
    let id = item.get("id")?.as_str()?;
    let mut masked = [0; SECRET_BYTES];
    hex::decode_to_slice(sealed.get("masked")?.as_str()?, &mut masked).ok()?;
    let token: Secret = tokens::compose(kind, id, &signer.mask(id, &masked));
    item.as_object_mut()?.insert("token".to_owned(), token.expose().into());
    Some(item)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_shown_again_and_not_to_be_read_in_what_is_kept() {
        let signer = Signer::new(&Secret::new("ab".repeat(32))).unwrap();
        let new = NewToken::new(&signer, TokenKind::Live, "key-01");
        let sealed = new.sealed(&json!({ "id": "key-01", "name": "ci" }));
        let shown = shown(&signer, TokenKind::Live, sealed.clone()).unwrap();
        let token = shown["token"].as_str().unwrap();
        assert_eq!(tokens::hash(token), new.hash);
        let secret = ckrv_types::token::parse(token).unwrap().secret;
        assert!(!sealed.to_string().contains(secret));
        assert_eq!(shown["name"], "ci");
    }
}
