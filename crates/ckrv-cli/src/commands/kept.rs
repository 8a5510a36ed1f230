//! What a profile is signed in with: how `ckrv cloud` and `ckrv profile` take it, keep it, and end the one before.

use url::Url;

use ckrv_client::Credential;
use ckrv_client::oauth::AuthorizationServer;
use ckrv_types::Secret;
use ckrv_types::token::{self, TokenKind};

use crate::context::Context;
use crate::credentials::{Holds, Kept, Locker, Login, Store};
use crate::failure::Failure;

/// An API key from stdin, or from a terminal without an echo.
pub fn api_key(context: &Context, hint: impl Into<String>) -> Result<Secret, Failure> {
    let given = context.secret("API key")?;
    let key = Secret::new(given.expose().trim());
    match token::parse(key.expose()).map(|parsed| parsed.kind) {
        Ok(TokenKind::Live | TokenKind::Test) => Ok(key),
        _ => Err(Failure::usage("what stands on stdin is not an API key").hint(hint)),
    }
}

/// What a new credential is locked with; found before anybody is bothered for one that could not be kept.
pub async fn locker(store: &Store, insecure: bool, context: &Context) -> Result<Locker, Failure> {
    let locker = store.locker(insecure).await?;
    if locker.is_insecure() {
        context.printer.warning(&format!(
            "it will be kept in plain text: whoever reads {} can act as you",
            store.path().display()
        ));
    }
    Ok(locker)
}

/// What a profile was signed in with before, as far as it is good at the server until somebody ends it.
pub enum Before {
    Nothing,
    Login(Login),
    /// A login that cannot be opened without asking somebody, or at all.
    Closed,
}

impl Before {
    pub async fn of(store: &Store) -> Self {
        match store.look() {
            Ok(None | Some((Holds::Key, _))) => return Self::Nothing,
            Ok(Some((Holds::Login, _))) | Err(_) => {}
        }
        match store.clone().without_asking().read().await.map(|opened| opened.kept) {
            Ok(Kept::Login(login)) => Self::Login(login),
            Ok(Kept::Key(_)) => Self::Nothing,
            Err(_) => Self::Closed,
        }
    }

    /// Ends it at its server. The new one stands, whatever comes of this.
    pub async fn end(self, server: &Url, context: &Context) {
        let good = "the login before is forgotten here, but good at the server until it expires, or you revoke it on your \
                    account's page";
        match self {
            Self::Nothing => {}
            Self::Closed => context.printer.warning(&format!("{good}: it could not be opened")),
            Self::Login(login) => match end(&login, server, context).await {
                Ok(()) => context.printer.note("the login before is ended"),
                Err(Failure::Told(report)) => context.printer.warning(&format!("{good}: {}", report.what)),
                Err(Failure::Unread) => {}
            },
        }
    }
}

/// Ends a login at its server.
pub async fn end(login: &Login, server: &Url, context: &Context) -> Result<(), Failure> {
    let config = context.config(server.clone(), Credential::None);
    let server = AuthorizationServer::discover(&config).await?;
    Ok(server.revoke(&login.refresh).await?)
}
