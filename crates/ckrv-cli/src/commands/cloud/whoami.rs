//! `ckrv cloud whoami`: the account, what it may do, and where its credential is kept; never the credential.

use comfy_table::Cell;
use serde::Serialize;
use time::OffsetDateTime;

use ckrv_client::Client;
use ckrv_types::identity::{Scope, WhoAmI};
use ckrv_types::quota::Quota;

use crate::context::{Context, Origin};
use crate::duration::moment;
use crate::exit::ExitStatus;
use crate::failure::{Failure, Outcome};
use crate::format::{Format, Show, View, short};
use crate::quotas;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  ckrv cloud whoami\n  ckrv cloud whoami --org acme\n  ckrv cloud whoami -o json | jq -r .org_name"
)]
pub struct WhoamiArgs {}

/// As JSON, the API's answer alone.
#[derive(Serialize)]
#[serde(transparent)]
struct Shown {
    me: WhoAmI,
    /// None: it could not be had.
    #[serde(skip)]
    quota: Option<Quota>,
    #[serde(skip)]
    server: String,
    #[serde(skip)]
    kept: String,
    #[serde(skip)]
    token_expires_at: Option<OffsetDateTime>,
}

pub async fn run(context: &Context) -> Outcome {
    let access = context.access()?;
    let server = access.server.as_str().trim_end_matches('/').to_owned();
    let origin = access.origin.clone();
    let client = context.client_for(access)?;
    let (me, quota) = tokio::join!(client.whoami(), quota(&client, context.format()));
    let me = me?;
    let (kept, token_expires_at) = described(&origin).await?;
    context.printer.show(&Shown { me, quota, server, kept, token_expires_at }, context.format())?;
    Ok(ExitStatus::Done)
}

/// Who one is does not depend on it.
async fn quota(client: &Client, format: Format) -> Option<Quota> {
    if format == Format::Table { client.quota().await.ok() } else { None }
}

async fn described(origin: &Origin) -> Result<(String, Option<OffsetDateTime>), Failure> {
    Ok(match origin {
        Origin::Environment => ("CKRV_TOKEN".to_owned(), None),
        Origin::TokenFile(path) => (path.display().to_string(), None),
        Origin::Profile(path) => (format!("{}, in plain text", path.display()), None),
        Origin::Credentials(source) => {
            let place = source.store().look()?.map(|(_, place)| place).unwrap_or_default();
            (place, source.expires_at().await)
        }
    })
}

impl Show for Shown {
    fn table(&self, view: View) -> String {
        let WhoAmI { org, org_name, project, project_name, scopes, key, user } = &self.me;
        let text = |text: &str| Some(short(text, 200));
        let account = user.as_ref().map(|user| match &user.email {
            Some(email) => format!("{} <{email}>", user.name),
            None => user.name.clone(),
        });
        let others = user.as_ref().map(|user| {
            let others = user.memberships.iter().filter(|membership| membership.org != *org);
            others.map(|other| format!("{} ({})", other.org_name, other.role)).collect::<Vec<_>>().join(", ")
        });
        view.fields([
            ("account", account.as_deref().and_then(text)),
            ("api key", key.as_ref().and_then(|key| text(&format!("{} ({})", key.name, key.id)))),
            ("server", text(&self.server)),
            ("organization", text(&format!("{org_name} ({org})"))),
            ("role", user.as_ref().map(|user| Cell::new(user.role))),
            ("also in", others.filter(|others| !others.is_empty()).as_deref().and_then(text)),
            ("project", text(&format!("{project_name} ({project})"))),
            ("tier", self.quota.as_ref().and_then(|quota| text(&quota.tier))),
            ("left", self.quota.as_ref().map(|quota| short(&quotas::left(quota), 400))),
            ("may", text(&scopes.iter().map(|scope| Scope::as_str(*scope)).collect::<Vec<_>>().join(", "))),
            ("token until", self.token_expires_at.map(moment).map(Cell::new)),
            ("login until", user.as_ref().map(|user| Cell::new(moment(user.login_expires_at)))),
            ("key until", key.as_ref().and_then(|key| key.expires_at).map(moment).map(Cell::new)),
            ("kept in", text(&self.kept)),
        ])
    }

    fn names(&self) -> Vec<String> {
        let user = self.me.user.iter().map(|user| user.id.to_string());
        user.chain(self.me.key.iter().map(|key| key.id.to_string())).collect()
    }
}
