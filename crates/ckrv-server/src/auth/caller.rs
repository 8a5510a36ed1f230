//! Who calls, and the one extractor that lets them.

use std::marker::PhantomData;
use std::ops::Deref;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use ckrv_types::identity::{Role, Scope};
use ckrv_types::{KeyId, LoginId, OrgId, Problem, ProblemCode, ServiceAccountId, UserId};
use sqlx::types::Uuid;

use super::look_up::{Credential, authenticate};
use crate::db::audit::Actor;
use crate::db::reach::Reach;
use crate::error::{ApiError, ApiResult};
use crate::http::rate::charge_caller;
use crate::state::AppState;

/// Whoever has a good credential.
#[derive(Debug, Clone)]
pub struct Auth {
    pub org: OrgId,
    pub principal: Principal,
    /// Of the person or the service account in the organization.
    pub role: Role,
    /// The projects that the credential is good for.
    pub reach: Reach,
    /// What it may be used for; no more than the role allows.
    pub scopes: Vec<Scope>,
    pub(super) credential: Credential,
}

/// Who acts: whose quota is used, and whose name stands in the audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Principal {
    Key {
        key: KeyId,
        owner: KeyOwner,
    },
    /// A person's program.
    User {
        user: UserId,
        login: LoginId,
    },
}

/// For whom a key stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyOwner {
    User(UserId),
    ServiceAccount(ServiceAccountId),
}

impl KeyOwner {
    pub const fn user(self) -> Option<UserId> {
        match self {
            Self::User(user) => Some(user),
            Self::ServiceAccount(_) => None,
        }
    }

    pub const fn service_account(self) -> Option<ServiceAccountId> {
        match self {
            Self::User(_) => None,
            Self::ServiceAccount(account) => Some(account),
        }
    }
}

impl Principal {
    pub const fn key(self) -> Option<KeyId> {
        match self {
            Self::Key { key, .. } => Some(key),
            Self::User { .. } => None,
        }
    }

    /// The person, whose program or key it is.
    pub const fn user(self) -> Option<UserId> {
        match self {
            Self::Key { owner, .. } => owner.user(),
            Self::User { user, .. } => Some(user),
        }
    }

    pub const fn service_account(self) -> Option<ServiceAccountId> {
        match self {
            Self::Key { owner, .. } => owner.service_account(),
            Self::User { .. } => None,
        }
    }

    /// For whom keys are that it makes for itself.
    pub const fn owner(self) -> KeyOwner {
        match self {
            Self::Key { owner, .. } => owner,
            Self::User { user, .. } => KeyOwner::User(user),
        }
    }

    /// As the audit log names it.
    pub const fn actor(self) -> Actor {
        match self {
            Self::Key { key, .. } => Actor::Key(key),
            Self::User { user, .. } => Actor::User(user),
        }
    }

    /// What is counted by: the key's id, or the person's, all of whose programs share limits. A key of theirs has its own.
    pub const fn uuid(self) -> Uuid {
        match self {
            Self::Key { key, .. } => key.uuid(),
            Self::User { user, .. } => user.uuid(),
        }
    }
}

impl Auth {
    /// Refuses a credential that is limited to some projects: for what concerns the whole organization.
    pub fn whole_organization(&self) -> ApiResult<()> {
        if self.reach.is_whole_organization() {
            return Ok(());
        }
        Err(Problem::new(ProblemCode::Forbidden)
            .detail("This API key is limited to some projects.")
            .hint("Use a key of the whole organization.")
            .into())
    }

    /// Whether it is a person's program that they have let do less than all.
    pub fn is_narrowed(&self) -> bool {
        match &self.credential {
            Credential::Key(_) => false,
            Credential::Login { scopes, .. } => !Scope::ALL.iter().all(|scope| scopes.contains(scope)),
        }
    }

    /// Refuses a person's program that may do less than all: for what it does as the person, whatever their role is.
    pub fn not_narrowed(&self) -> ApiResult<()> {
        if !self.is_narrowed() {
            return Ok(());
        }
        Err(Problem::new(ProblemCode::Forbidden)
            .detail("This program was let in for less than all, so it cannot decide where its person belongs.")
            .hint("Sign in with a program that asks for everything: ckrv cloud login")
            .into())
    }

    pub(super) fn may(&self, wanted: Scope) -> ApiResult<()> {
        if self.scopes.contains(&wanted) {
            return Ok(());
        }
        let hint = match self.principal {
            Principal::Key { .. } => format!("Use an API key with the scope `{wanted}`."),
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
        charge_caller(state, &auth, &parts.extensions).await?;
        auth.may(P::SCOPE)?;
        Ok(Self(auth, PhantomData))
    }
}
