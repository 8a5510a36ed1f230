//! The right of what outlives its request: streams look again every so often whether whoever reads still may.

use std::ops::Deref;
use std::time::Duration;

use ckrv_types::identity::Scope;
use tokio::time::Instant;

use super::caller::{Auth, Caller, Permission};
use super::look_up;
use crate::error::ApiResult;
use crate::state::AppState;

/// An [`Auth`] that is good for a while and is then looked up anew, with what it has become.
pub struct Lasting {
    auth: Auth,
    scope: Scope,
    checked: Instant,
}

impl<P: Permission> Caller<P> {
    /// For a stream.
    pub fn lasting(self) -> Lasting {
        Lasting { auth: self.into_auth(), scope: P::SCOPE, checked: Instant::now() }
    }
}

impl Lasting {
    /// Looks again, if that was long ago. A problem: it does not hold any more.
    pub async fn renew(&mut self, state: &AppState) -> ApiResult<()> {
        if self.checked.elapsed() < Duration::from_secs(state.config.stream_recheck_seconds) {
            return Ok(());
        }
        let auth = look_up::again(state, &self.auth).await?;
        auth.may(self.scope)?;
        self.auth = auth;
        self.checked = Instant::now();
        Ok(())
    }
}

impl Deref for Lasting {
    type Target = Auth;

    fn deref(&self) -> &Auth {
        &self.auth
    }
}
