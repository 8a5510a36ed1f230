//! A new organization, with the project that its jobs go into and the person who owns it.

use ckrv_types::identity::{Org, ProjectSettings, Role};
use ckrv_types::{LoginId, OrgId, Problem, ProblemCode, ProjectId, UserId, limits};
use serde_json::{Value, json};

use crate::api::authority::standing;
use crate::api::once::Once;
use crate::api::to_value;
use crate::db::audit::{self, Actor, Entry};
use crate::db::{Tx, members, orgs, projects};
use crate::error::{ApiError, ApiResult};
use crate::state::AppState;

/// What an organization is made of.
pub struct Founding<'a> {
    pub name: &'a str,
    pub owner: UserId,
    /// None: what people get who make one for themselves.
    pub tier: Option<&'a str>,
    /// Who makes it; its owner, or the operator.
    pub by: Actor,
    pub address: Option<&'a str>,
}

/// Makes the organization for a request of this login that may be repeated; what is answered. None: the name is taken.
pub async fn found_once(
    state: &AppState,
    once: &Once<'_>,
    login: LoginId,
    wanted: &Founding<'_>,
) -> ApiResult<Option<Value>> {
    let mut tx = state.db.system().await?;
    standing(&mut tx, login).await?;
    if let Some(answer) = once.answered(&mut tx).await? {
        return Ok(Some(answer));
    }
    // Tiers are of organizations: whoever could make any number of them would have any number of quotas.
    if orgs::count_made_by(&mut tx, wanted.owner).await? >= limits::ORGS_PER_PERSON {
        return Err(too_many());
    }
    let made = match found(&mut tx, wanted).await {
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => return Ok(None),
        made => to_value(&made?),
    };
    once.keep(&mut tx, &made).await?;
    tx.commit().await?;
    Ok(Some(made))
}

/// Makes the organization, in a transaction of the system's. A unique violation says that the name is taken.
pub async fn found(system: &mut Tx, wanted: &Founding<'_>) -> Result<Org, sqlx::Error> {
    let org = OrgId::new();
    let by = matches!(wanted.by, Actor::User(_)).then_some(wanted.owner);
    orgs::create(system, org, wanted.name, by, wanted.tier).await?;
    projects::create(system, org, ProjectId::new(), "default", &ProjectSettings::default()).await?;
    members::add(system, org, wanted.owner, Role::Owner).await?;
    let acts = [
        ("org.created", org.to_string(), json!({ "name": wanted.name })),
        ("member.joined", wanted.owner.to_string(), json!({ "role": Role::Owner })),
    ];
    for (action, subject, detail) in acts {
        let entry =
            Entry { org: Some(org), actor: wanted.by, action, subject: Some(subject), address: wanted.address, detail };
        audit::write(system, &entry).await?;
    }
    orgs::shown(system, org).await
}

fn too_many() -> ApiError {
    Problem::new(ProblemCode::Conflict)
        .detail(format!("You have made {} organizations, which is as many as a person may.", limits::ORGS_PER_PERSON))
        .hint("Use one of them, or ask whoever runs this control plane: ckrv-server admin create-org")
        .into()
}
