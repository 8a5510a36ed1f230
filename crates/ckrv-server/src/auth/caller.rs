//! Who calls, and the one extractor that lets them.

use std::marker::PhantomData;
use std::ops::Deref;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use ckrv_types::identity::Scope;
use ckrv_types::{KeyId, LoginId, OrgId, Problem, ProblemCode, ProjectId, UserId};
use sqlx::types::Uuid;

use super::look_up::{Credential, authenticate};
use crate::error::{ApiError, ApiResult};
use crate::http::rate::charge_caller;
use crate::state::AppState;

/// Whoever has a good credential.
#[derive(Debug, Clone)]
pub struct Auth {
    pub org: OrgId,
    pub principal: Principal,
    /// The one project that the credential is limited to.
    pub project: Option<ProjectId>,
    /// What it may be used for; of a person's program no more than their role allows.
    pub scopes: Vec<Scope>,
    pub(super) credential: Credential,
}

/// Who acts: whose quota is used, and whose name stands in the audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Principal {
    Key(KeyId),
    User { user: UserId, login: LoginId },
}

impl Principal {
    pub const fn key(self) -> Option<KeyId> {
        match self {
            Self::Key(key) => Some(key),
            Self::User { .. } => None,
        }
    }

    pub const fn user(self) -> Option<UserId> {
        match self {
            Self::Key(_) => None,
            Self::User { user, .. } => Some(user),
        }
    }

    /// The key's id, or the person's: all of their programs share limits.
    pub const fn uuid(self) -> Uuid {
        match self {
            Self::Key(key) => key.uuid(),
            Self::User { user, .. } => user.uuid(),
        }
    }
}

impl Auth {
    /// Refuses a credential that is limited to a project: for what concerns the whole organization.
    pub fn whole_organization(&self) -> ApiResult<()> {
        if self.project.is_none() {
            return Ok(());
        }
        Err(Problem::new(ProblemCode::Forbidden)
            .detail("This API key is limited to one project.")
            .hint("Use a key of the whole organization.")
            .into())
    }

    fn may(&self, wanted: Scope) -> ApiResult<()> {
        if self.scopes.contains(&wanted) {
            return Ok(());
        }
        let hint = match self.principal {
            Principal::Key(_) => format!("Use an API key with the scope `{wanted}`."),
            Principal::User { .. } => "Ask an owner of the organization for another role.".to_owned(),
        };
        let detail = format!("The credential may not be used for this; the scope `{wanted}` is needed.");
        Err(Problem::new(ProblemCode::Forbidden).detail(detail).hint(hint).into())
    }
}

/// What a route needs.
pub trait Permission: Send + Sync {
    const SCOPE: Scope;
}

/// To see jobs, logs, artifacts, and what else there is.
pub struct Read;
/// To submit, cancel and retry jobs.
pub struct Run;
/// To manage keys, runners, projects and members.
pub struct Manage;

impl Permission for Read {
    const SCOPE: Scope = Scope::Read;
}

impl Permission for Run {
    const SCOPE: Scope = Scope::Run;
}

impl Permission for Manage {
    const SCOPE: Scope = Scope::Manage;
}

/// An [`Auth`] that may do what `P` says.
pub struct Caller<P>(Auth, PhantomData<P>);

impl<P> Caller<P> {
    pub fn into_auth(self) -> Auth {
        self.0
    }
}

impl<P> Deref for Caller<P> {
    type Target = Auth;

    fn deref(&self) -> &Auth {
        &self.0
    }
}

impl<P: Permission> FromRequestParts<AppState> for Caller<P> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> ApiResult<Self> {
        let auth = authenticate(state, &parts.headers).await?;
        charge_caller(state, auth.principal, &parts.extensions).await?;
        auth.may(P::SCOPE)?;
        Ok(Self(auth, PhantomData))
    }
}
