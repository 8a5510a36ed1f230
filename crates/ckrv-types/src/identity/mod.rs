//! Who is asking: people, organizations, API keys and runners as the API shows them, and what they may do.

mod keys;
mod members;
mod project_rules;
mod projects;
mod runners;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

pub use self::keys::{ApiKey, CreateKey, CreateServiceAccount, RotateKey, ServiceAccount, UpdateServiceAccount};
pub use self::members::{
    AcceptInvitation, CreateInvitation, CreateOrg, Invitation, Member, Org, UpdateMember, UpdateOrg,
};
pub use self::projects::{CreateProject, Project, ProjectSettings, UpdateProject};
pub use self::runners::{CreateRunner, RunnerInfo, UpdateRunner};
use crate::{LoginId, OrgId, ProjectId, RunnerId, Secret, UserId};

/// The header in which a person's program names the organization that a request is about, by its name or id. Absent: the one
/// that was chosen when the program was let in. Of no meaning with an API key, which has its one organization.
pub const ORG_HEADER: &str = "ckrv-org";

/// What a credential may be used for (RFC 6749, section 3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// See jobs, their logs and artifacts, and what else the organization has.
    Read,
    /// Submit, cancel and retry jobs.
    Run,
    /// Manage keys, runners, projects and members.
    Manage,
}

impl Scope {
    pub const ALL: [Self; 3] = [Self::Read, Self::Run, Self::Manage];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Run => "run",
            Self::Manage => "manage",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A scope that nobody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no such scope; read, run and manage are known")]
pub struct UnknownScope;

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text).ok_or(UnknownScope)
    }
}

/// What a member may do in an organization.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Owner,
    Admin,
    Editor,
    Viewer,
}

impl Role {
    pub const ALL: [Self; 4] = [Self::Owner, Self::Admin, Self::Editor, Self::Viewer];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::Editor => "editor",
            Self::Viewer => "viewer",
        }
    }

    /// Whether a program of such a member may have this scope.
    pub const fn allows(self, scope: Scope) -> bool {
        match scope {
            Scope::Read => true,
            Scope::Run => matches!(self, Self::Owner | Self::Admin | Self::Editor),
            Scope::Manage => matches!(self, Self::Owner | Self::Admin),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A role that nobody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no such role; owner, admin, editor and viewer are known")]
pub struct UnknownRole;

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or(UnknownRole)
    }
}

/// `GET /v1/whoami`: either of `key` and `user` is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WhoAmI {
    pub org: OrgId,
    pub org_name: String,
    /// The project that jobs go to unless another is named.
    pub project: ProjectId,
    pub project_name: String,
    /// What the credential is good for.
    pub scopes: Vec<Scope>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<ApiKey>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Me>,
}

/// A person, as their own programs see them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Me {
    pub id: UserId,
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// In the organization that the request is about.
    pub role: Role,
    /// The login that the program acts by.
    pub login: LoginId,
    /// When the login ends unless it is used before.
    #[serde(with = "time::serde::rfc3339")]
    pub login_expires_at: OffsetDateTime,
    /// Everywhere, by the organization's name.
    pub memberships: Vec<Membership>,
}

/// That a person belongs to an organization.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Membership {
    pub org: OrgId,
    pub org_name: String,
    pub role: Role,
}

/// A thing with its token, which is shown this one time.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WithToken<T> {
    #[serde(flatten)]
    pub item: T,
    /// Shown once; only its hash is kept.
    pub token: String,
}

/// Without the token.
impl<T: fmt::Debug> fmt::Debug for WithToken<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.item.fmt(f)
    }
}

/// What `ckrv-server admin bootstrap` made, with the tokens that are shown this one time.
#[derive(Debug)]
pub struct Bootstrapped {
    pub org: OrgId,
    pub project: ProjectId,
    pub api_key: Secret,
    pub runner: RunnerId,
    pub runner_token: Secret,
}
