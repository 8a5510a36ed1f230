//! What ids are called, for tables that people read.

use std::collections::HashMap;
use std::fmt::Display;

use ckrv_client::Client;

use crate::format::Format;

/// Names by id, as far as the caller may know them. Nothing fails for want of a name: the id stands in its place.
#[derive(Debug, Default)]
pub struct Directory(HashMap<String, String>);

impl Directory {
    /// Of projects, people and service accounts; of none where no table is shown.
    pub async fn load(client: &Client, format: Format) -> Self {
        if format != Format::Table {
            return Self::default();
        }
        let (projects, members, accounts) =
            tokio::join!(client.projects(), client.members(), client.service_accounts());
        let projects = projects.into_iter().flat_map(|page| page.items).map(|it| (it.id.to_string(), it.name));
        let members = members.into_iter().flat_map(|page| page.items).map(|it| (it.user.to_string(), it.name));
        let accounts = accounts.into_iter().flat_map(|page| page.items).map(|it| (it.id.to_string(), it.name));
        Self(projects.chain(members).chain(accounts).collect())
    }

    pub fn name(&self, id: impl Display) -> String {
        let id = id.to_string();
        self.0.get(&id).cloned().unwrap_or(id)
    }
}
