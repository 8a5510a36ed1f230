//! `ckrv audit`: who did what.

use std::pin::pin;
use std::time::Duration;

use clap::Subcommand;
use comfy_table::Cell;
use futures::StreamExt as _;
use time::OffsetDateTime;

use ckrv_client::{AuditQuery, Client};
use ckrv_types::audit::{AuditActorKind, AuditEntry};
use ckrv_types::identity::Member;
use ckrv_types::limits::PAGE_MAX;
use ckrv_types::{AuditId, KeyId, Page, RunnerId, UserId};

use crate::commands::named;
use crate::context::{self, Context};
use crate::duration::{moment, parse_since};
use crate::env;
use crate::exit::ExitStatus;
use crate::failure::{Failure, Outcome};
use crate::format::{Row, short};

/// How long an export goes without any answer before it gives up.
const GIVE_UP: Duration = Duration::from_mins(2);

#[derive(Debug, clap::Args)]
#[command(
    after_help = "A TIME is RFC 3339, a day such as 2026-11-01, or how long ago: 90m, 7d. An entry has to meet all conditions.\n\n\
Examples:\n  ckrv audit list --since 7d --action key\n  ckrv audit list --actor ada@example.com -o json\n  \
ckrv audit export --since 2026-11-01 --until 2026-12-01 > november.ndjson\n  \
ckrv audit export --after \"$(tail -n 1 all.ndjson | jq -r .id)\" >> all.ndjson"
)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    filters: Filters,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List entries, newest first
    #[command(visible_alias = "ls")]
    List {
        /// At most so many
        #[arg(long, env = env::AUDIT_LIMIT, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
    },
    /// Print every entry as a line of JSON, oldest first; resumes by itself
    Export {
        /// Go on behind this entry
        #[arg(long, env = env::AUDIT_AFTER, value_name = "ID")]
        after: Option<String>,
    },
}

#[derive(Debug, clap::Args)]
struct Filters {
    /// Only from this time on
    #[arg(long, env = env::AUDIT_SINCE, global = true, value_name = "TIME", value_parser = parse_since)]
    since: Option<OffsetDateTime>,
    /// Only before this time
    #[arg(long, env = env::AUDIT_UNTIL, global = true, value_name = "TIME", value_parser = parse_since)]
    until: Option<OffsetDateTime>,
    /// Only this action, as noun.verb; a noun alone is all of its verbs
    #[arg(long, env = env::AUDIT_ACTION, global = true, value_name = "ACTION")]
    action: Option<String>,
    /// Only acts of this member (by name, e-mail or id), key or runner (by id); or `system`, `anonymous`
    #[arg(long, env = env::AUDIT_ACTOR, global = true, value_name = "WHO")]
    actor: Option<String>,
    /// Only what was done to the thing with this id
    #[arg(long, env = env::AUDIT_SUBJECT, global = true, value_name = "ID")]
    subject: Option<String>,
}

pub async fn run(args: Args, context: &Context) -> Outcome {
    let client = context.client()?;
    let Filters { since, until, action, actor, subject } = args.filters;
    let actor = match actor {
        Some(actor) => Some(actor_id(&client, actor).await?),
        None => None,
    };
    // A noun alone stands for all of its verbs.
    let action = action.map(|action| if action.contains('.') { action } else { action + "." });
    let query = AuditQuery { since, until, action, actor, subject };
    match args.command {
        Command::List { limit } => list(&client, &query, limit, context).await?,
        Command::Export { after } => {
            let after = after.map(|after| context::id(&after, "`ckrv audit list -o name` shows some")).transpose()?;
            export(&client, query, after, context).await?;
        }
    }
    Ok(ExitStatus::Done)
}

async fn actor_id(client: &Client, actor: String) -> Result<String, Failure> {
    if matches!(actor.as_str(), "system" | "anonymous") {
        return Ok(actor);
    }
    let is_id = actor.parse::<UserId>().is_ok() || actor.parse::<KeyId>().is_ok() || actor.parse::<RunnerId>().is_ok();
    if is_id {
        return Ok(actor);
    }
    let member: Member = named::one(client.members().await?.items, &actor)?;
    Ok(member.user.to_string())
}

async fn list(client: &Client, query: &AuditQuery, limit: u32, context: &Context) -> Result<(), Failure> {
    let mut page: Page<AuditEntry> = Page { items: Vec::new(), next: None };
    loop {
        let missing = limit - u32::try_from(page.items.len()).unwrap_or(limit).min(limit);
        let more = client.audit(query, page.next.as_deref(), missing.min(PAGE_MAX)).await?;
        page.items.extend(more.items);
        page.next = more.next;
        if page.next.is_none() || page.items.len() >= limit as usize {
            break;
        }
    }
    if page.next.is_some() {
        context.printer.note("there are more; --limit shows them, `ckrv audit export` all");
    }
    context.printer.show(&page, context.format())
}

async fn export(client: &Client, query: AuditQuery, after: Option<AuditId>, context: &Context) -> Result<(), Failure> {
    let mut last = after;
    let mut entries = pin!(client.export_audit(query, after, GIVE_UP));
    while let Some(entry) = entries.next().await {
        let entry = entry.inspect_err(|_| {
            if let Some(last) = last {
                context.printer.note(&format!("`ckrv audit export --after {last}` goes on behind what was printed"));
            }
        })?;
        context.printer.data(&entry.line)?;
        last = Some(entry.id);
    }
    Ok(())
}

impl Row for AuditEntry {
    const HEADER: &'static [&'static str] = &["AT", "WHO", "ACTION", "SUBJECT", "FROM", "DETAIL"];

    fn id(&self) -> String {
        self.id.to_string()
    }

    fn cells(&self) -> Vec<Cell> {
        let actor = &self.actor;
        let kind = match actor.kind {
            AuditActorKind::User => "user",
            AuditActorKind::Key => "key",
            AuditActorKind::Runner => "runner",
            AuditActorKind::System => "system",
            AuditActorKind::Anonymous => "anonymous",
        };
        let who = actor.name.as_ref().or(actor.id.as_ref()).map(|who| format!("{kind} {who}"));
        let detail = self.detail.as_object().filter(|members| !members.is_empty()).map(|_| self.detail.to_string());
        vec![
            Cell::new(moment(self.at)),
            short(who.as_deref().unwrap_or(kind), 40),
            short(&self.action, 40),
            short(self.subject.as_deref().unwrap_or_default(), 40),
            short(self.address.as_deref().unwrap_or_default(), 45),
            short(detail.as_deref().unwrap_or_default(), 80),
        ]
    }
}
