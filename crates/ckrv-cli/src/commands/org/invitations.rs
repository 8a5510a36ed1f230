//! Invitations: making, revoking and taking them.

use comfy_table::Cell;
use url::Url;

use ckrv_types::identity::{AcceptInvitation, CreateInvitation, Invitation, Membership, Role};

use super::own::point_at;
use crate::commands::named::id_of;
use crate::commands::tokened::show_made;
use crate::context::Context;
use crate::duration::{age, moment};
use crate::failure::Failure;
use crate::format::{Row, Show, View, named, short};

pub async fn invite(note: Option<String>, role: Role, context: &Context) -> Result<(), Failure> {
    show_made(context, &context.client()?.invite(&CreateInvitation { role, note }).await?)
}

pub async fn revoke(invitation: &str, context: &Context) -> Result<(), Failure> {
    let client = context.client()?;
    let id = id_of(invitation, client.invitations()).await?;
    client.revoke_invitation(id).await?;
    context.printer.note(&format!("{id} is revoked"));
    Ok(())
}

pub async fn join(link: Option<String>, context: &Context) -> Result<(), Failure> {
    let access = context.access()?;
    let link = match link {
        Some(link) => link,
        None => context.secret("Invitation's link")?.expose().to_owned(),
    };
    let token = token(link.trim(), &access.server)?;
    let client = context.client_for(access)?;
    let membership = client.accept_invitation(&AcceptInvitation { token }).await?;
    context.printer.show(&membership, context.format())?;
    point_at(&membership.org_name, context);
    Ok(())
}

/// The last part of the link's path, which goes to the server that made the link and to no other.
fn token(link: &str, server: &Url) -> Result<String, Failure> {
    let token = match Url::parse(link) {
        Ok(url) if url.origin() == server.origin() => {
            url.path_segments().and_then(|mut parts| parts.next_back()).unwrap_or_default().to_owned()
        }
        Ok(url) if url.has_host() => {
            let there = url.origin().ascii_serialization();
            return Err(Failure::usage(format!("the invitation is one of {there}, and you are at {server}"))
                .hint(format!("if you know it, sign in there: `ckrv cloud login --server {there} --name PROFILE`")));
        }
        _ => link.to_owned(),
    };
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Failure::usage("this is no invitation's link").hint("it looks like https://…/invitations/…"));
    }
    Ok(token)
}

impl Row for Invitation {
    const HEADER: &'static [&'static str] = &["INVITATION", "FOR", "ROLE", "BY", "AGE", "ENDS"];

    fn id(&self) -> String {
        self.id.to_string()
    }

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::new(self.id),
            short(self.note.as_deref().unwrap_or_default(), 60),
            Cell::new(self.role),
            short(&self.invited_by, 40),
            Cell::new(age(self.created_at)),
            Cell::new(moment(self.expires_at)),
        ]
    }
}

impl Show for Membership {
    fn table(&self, view: View) -> String {
        view.fields([("organization", Some(named(&self.org_name, self.org))), ("role", Some(Cell::new(self.role)))])
    }

    fn names(&self) -> Vec<String> {
        vec![self.org.to_string()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> Url {
        "https://ckrv.example.com/".parse().unwrap()
    }

    #[test]
    fn a_link_or_the_end_of_its_path_is_an_invitation() {
        for link in ["https://ckrv.example.com/invitations/abc_-1", "https://ckrv.example.com:443/x/abc_-1", "abc_-1"] {
            assert_eq!(token(link, &server()).unwrap(), "abc_-1", "{link}");
        }
    }

    #[test]
    fn an_invitation_goes_to_no_other_server_than_its_own() {
        for link in ["https://evil.example/invitations/abc", "http://ckrv.example.com/invitations/abc"] {
            let Err(Failure::Told(report)) = token(link, &server()) else { panic!("{link}") };
            assert!(report.what.contains("is one of"), "{}", report.what);
            assert!(!report.what.contains("abc") && report.hint.is_some_and(|hint| !hint.contains("abc")));
        }
    }

    #[test]
    fn what_is_no_invitation_is_not_sent() {
        for link in ["", "a b", "https://ckrv.example.com/", "https://ckrv.example.com/invitations/", "ü"] {
            assert!(token(link, &server()).is_err(), "{link}");
        }
    }
}
