//! The people in an organization.

use comfy_table::Cell;

use ckrv_types::identity::{Member, Role, UpdateMember};

use crate::commands::named::id_of;
use crate::context::Context;
use crate::duration::age;
use crate::failure::Failure;
use crate::format::{One, Row, short, since};

pub async fn role(member: &str, role: Role, context: &Context) -> Result<(), Failure> {
    update(member, &UpdateMember { role: Some(role), ..UpdateMember::default() }, context).await
}

pub async fn suspend(member: &str, suspended: bool, context: &Context) -> Result<(), Failure> {
    update(member, &UpdateMember { suspended: Some(suspended), ..UpdateMember::default() }, context).await
}

async fn update(member: &str, update: &UpdateMember, context: &Context) -> Result<(), Failure> {
    let client = context.client()?;
    let user = id_of(member, client.members()).await?;
    context.printer.show(&One(client.update_member(user, update).await?), context.format())
}

pub async fn remove(member: &str, context: &Context) -> Result<(), Failure> {
    let client = context.client()?;
    let (org, user) = (client.org().await?.name, id_of(member, client.members()).await?);
    context.confirm(&format!("Remove {member} ({user}) from {org}, with their keys there?")).await?;
    client.remove_member(user).await?;
    context.printer.note(&format!("{member} ({user}) is removed from {org}"));
    Ok(())
}

pub async fn leave(context: &Context) -> Result<(), Failure> {
    let client = context.client()?;
    let me = client.whoami().await?;
    let org = me.org_name;
    let Some(user) = me.user else {
        return Err(Failure::usage("an API key belongs to its organization and cannot leave it")
            .hint("`ckrv key revoke` ends a key; people leave by a login"));
    };
    context.confirm(&format!("Leave {org}? Your keys there end, and only an invitation brings you back.")).await?;
    client.remove_member(user.id).await?;
    context.printer.note(&format!("you have left {org}"));
    if user.memberships.iter().any(|other| other.org != me.org) {
        context.printer.hint("`ckrv org list` shows the others, `ckrv profile org` chooses one");
    }
    Ok(())
}

impl Row for Member {
    const HEADER: &'static [&'static str] = &["MEMBER", "NAME", "E-MAIL", "ROLE", "JOINED", "STATE"];

    fn id(&self) -> String {
        self.user.to_string()
    }

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::new(self.user),
            short(&self.name, 40),
            short(self.email.as_deref().unwrap_or_default(), 60),
            Cell::new(self.role),
            Cell::new(age(self.joined_at)),
            since("suspended", self.suspended_at),
        ]
    }
}
