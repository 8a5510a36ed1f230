//! Gives out the access token of a profile's login, and renews it.
//!
//! 1. One that is good for a while is used as it is: from memory, or from the file, without a lock and without the network.
//! 2. Otherwise the lock is taken and the file read again: of many that run at once, the first renews for all.
//! 3. The new pair is on disk before any of it is used. Should this process die between the server's answer and that, the
//!    old refresh token is still in the file, and the server answers it with the same pair again for 10 s; after that it takes
//!    it for stolen, and the person signs in anew.
//! 4. What the control plane refuses although it looks good is renewed likewise, once.

use futures::future::BoxFuture;
use time::{Duration, OffsetDateTime};
use tokio::sync::Mutex;

use ckrv_client::oauth::{AuthorizationServer, OAuthError};
use ckrv_client::{ClientConfig, TokenError, TokenSource};
use ckrv_types::Secret;

use super::{CredentialError, Kept, Login, Opened, Store};

/// With less left, a token is renewed: it must outlive the request that it is for.
const LEFT: Duration = Duration::seconds(60);

/// The credential of one profile.
pub struct Source {
    store: Store,
    /// Of its control plane; without a credential.
    config: ClientConfig,
    /// What was read last.
    known: Mutex<Option<Kept>>,
}

impl Source {
    pub fn new(store: Store, config: ClientConfig) -> Self {
        Self { store, config, known: Mutex::new(None) }
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Until when the access token is good that was given out last; none for an API key.
    pub async fn expires_at(&self) -> Option<OffsetDateTime> {
        match &*self.known.lock().await {
            Some(Kept::Login(login)) => Some(login.expires_at),
            Some(Kept::Key(_)) | None => None,
        }
    }

    async fn current(&self, refused: Option<&Secret>) -> Result<Secret, TokenError> {
        let mut known = self.known.lock().await;
        if let Some(token) = known.as_ref().and_then(|kept| usable(kept, refused)) {
            return Ok(token);
        }
        let kept = match self.store.read().await.map_err(missing)?.kept {
            kept if usable(&kept, refused).is_some() => kept,
            _ => self.renewed(refused).await?,
        };
        let token = secret(&kept);
        *known = Some(kept);
        Ok(token)
    }

    async fn renewed(&self, refused: Option<&Secret>) -> Result<Kept, TokenError> {
        let lock = self.store.lock().await.map_err(missing)?;
        let Opened { kept, locker } = self.store.read().await.map_err(missing)?;
        let login = match kept {
            Kept::Login(login) if usable_login(&login, refused).is_none() => login,
            // Another process has done it meanwhile.
            kept => return Ok(kept),
        };
        let tokens = self.refresh(&login).await.map_err(|error| self.refused(error))?;
        let kept = Kept::Login(tokens);
        self.store.write(&kept, &locker, &lock).map_err(missing)?;
        Ok(kept)
    }

    async fn refresh(&self, login: &Login) -> Result<Login, OAuthError> {
        let server = AuthorizationServer::discover(&self.config).await?;
        Ok(server.refresh(&login.refresh).await?.into())
    }

    fn refused(&self, error: OAuthError) -> TokenError {
        let profile = self.store.profile().to_owned();
        match error {
            OAuthError::Client(error) => TokenError::Renew(Box::new(error)),
            source if source.code() == Some("invalid_grant") => missing(CredentialError::Ended { profile, source }),
            source => missing(CredentialError::NotRenewed { profile, source }),
        }
    }
}

impl TokenSource for Source {
    fn token<'a>(&'a self, refused: Option<&'a Secret>) -> BoxFuture<'a, Result<Secret, TokenError>> {
        Box::pin(self.current(refused))
    }
}

/// The token, if it is good to be sent. An API key always is: there is no other.
fn usable(kept: &Kept, refused: Option<&Secret>) -> Option<Secret> {
    match kept {
        Kept::Key(key) => Some(key.clone()),
        Kept::Login(login) => usable_login(login, refused),
    }
}

fn usable_login(login: &Login, refused: Option<&Secret>) -> Option<Secret> {
    let good = login.expires_at - OffsetDateTime::now_utc() > LEFT && refused != Some(&login.access);
    good.then(|| login.access.clone())
}

fn secret(kept: &Kept) -> Secret {
    match kept {
        Kept::Key(key) => key.clone(),
        Kept::Login(login) => login.access.clone(),
    }
}

fn missing(error: CredentialError) -> TokenError {
    TokenError::Missing(Box::new(error))
}
