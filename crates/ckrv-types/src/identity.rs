//! Who is asking: people, organizations, API keys and runners as the API shows them, and what they may do.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::{KeyId, LoginId, OrgId, ProjectId, RunnerId, Secret, UserId};

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

/// An API key without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ApiKey {
    pub id: KeyId,
    pub name: String,
    /// Limits the key to one project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<ProjectId>,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<OffsetDateTime>,
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<OffsetDateTime>,
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<OffsetDateTime>,
}

/// `POST /v1/keys`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateKey {
    /// 1 to 63 of `a-z 0-9 -`.
    #[cfg_attr(feature = "openapi", schema(pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"))]
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<ProjectId>,
    /// Days until it expires; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 36500))]
    pub expires_in_days: Option<u32>,
}

/// A thing with its token, which is shown this one time.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WithToken<T> {
    #[serde(flatten)]
    pub item: T,
    /// Shown once; only its hash is kept.
    pub token: String,
}

/// A registered executor, as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RunnerInfo {
    pub id: RunnerId,
    pub name: String,
    /// `platform` runners serve every organization.
    pub platform: bool,
    /// The machine or cluster that the token is bound to, once it has registered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    pub capacity: u32,
    pub busy: u32,
    pub classes: Vec<String>,
    /// Namespaces of its cluster whose jobs it may hand in, each with the project that they go into.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub allow: BTreeMap<String, ProjectId>,
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub last_seen_at: Option<OffsetDateTime>,
    /// It beat within its lease.
    pub alive: bool,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<OffsetDateTime>,
}

/// `POST /v1/runners`: a token for a runner of the caller's organization.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateRunner {
    /// 1 to 63 of `a-z 0-9 -`, unique in the organization.
    #[cfg_attr(feature = "openapi", schema(pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"))]
    pub name: String,
    /// Namespaces of its cluster whose jobs it may hand in, each with the project that they go into; `*`: every namespace
    /// that is not named. Absent: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub allow: BTreeMap<String, ProjectId>,
}

/// `PATCH /v1/runners/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct UpdateRunner {
    /// Takes the place of what was allowed before; see [`CreateRunner::allow`].
    pub allow: BTreeMap<String, ProjectId>,
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
