//! Organizations themselves.

use comfy_table::Cell;
use serde::Serialize;

use ckrv_types::OrgId;
use ckrv_types::identity::{CreateOrg, Org, Role, UpdateOrg};

use crate::context::Context;
use crate::duration::moment;
use crate::failure::Failure;
use crate::format::{Show, View, named, short};
use crate::profile::{self, Profile};

pub async fn list(context: &Context) -> Result<(), Failure> {
    let me = context.client()?.whoami().await?;
    let listed = |org, org_name, role| Listed { in_use: org == me.org, org, org_name, role };
    let items = match me.user {
        Some(user) => user.memberships.into_iter().map(|it| listed(it.org, it.org_name, Some(it.role))).collect(),
        None => vec![listed(me.org, me.org_name, None)],
    };
    context.printer.show(&Orgs { items }, context.format())
}

pub async fn create(new: &CreateOrg, context: &Context) -> Result<(), Failure> {
    let org = context.client()?.create_org(new).await?;
    context.printer.show(&org, context.format())?;
    point_at(&org.name, context);
    Ok(())
}

pub async fn rename(name: String, context: &Context) -> Result<(), Failure> {
    let client = context.client()?;
    let before = client.org().await?;
    let org = client.update_org(&UpdateOrg { name: Some(name) }).await?;
    follow(&before.name, &org.name, context)?;
    context.printer.show(&org, context.format())
}

/// The profile that had the organization by its old name would lose it.
fn follow(before: &str, now: &str, context: &Context) -> Result<(), Failure> {
    let Ok(name) = context.profile_name() else { return Ok(()) };
    let Some(profile) = profile::find(&context.home, &name)? else { return Ok(()) };
    if before == now || profile.org.as_deref() != Some(before) {
        return Ok(());
    }
    profile::store(&context.home, &name, &Profile { org: Some(now.to_owned()), ..profile })?;
    context.printer.note(&format!("profile `{name}` has the organization {now}"));
    Ok(())
}

/// How commands come to be about an organization that is new to the user.
pub fn point_at(name: &str, context: &Context) {
    context
        .printer
        .hint(&format!("`ckrv profile org {name}` makes your commands about it, `--org {name}` a single one"));
}

#[derive(Debug, Serialize)]
struct Orgs {
    items: Vec<Listed>,
}

#[derive(Debug, Serialize)]
struct Listed {
    org: OrgId,
    org_name: String,
    /// Absent: it is an API key that asks.
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<Role>,
    /// Commands are about it.
    in_use: bool,
}

impl Show for Orgs {
    fn table(&self, view: View) -> String {
        let rows = self.items.iter().map(|listed| {
            [
                Cell::new(if listed.in_use { "*" } else { "" }),
                short(&listed.org_name, 63),
                Cell::new(listed.role.map(Role::as_str).unwrap_or_default()),
                Cell::new(listed.org),
            ]
        });
        view.columns(["", "NAME", "ROLE", "ORGANIZATION"], rows)
    }

    fn names(&self) -> Vec<String> {
        self.items.iter().map(|listed| listed.org.to_string()).collect()
    }
}

impl Show for Org {
    fn table(&self, view: View) -> String {
        view.fields([
            ("organization", Some(named(&self.name, self.id))),
            ("tier", Some(short(&self.tier, 63))),
            ("members", Some(Cell::new(self.members))),
            ("projects", Some(Cell::new(self.projects))),
            ("made", Some(Cell::new(moment(self.created_at)))),
        ])
    }

    fn names(&self) -> Vec<String> {
        vec![self.id.to_string()]
    }
}
