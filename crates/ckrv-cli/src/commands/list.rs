//! `ckrv list`: jobs, newest first.

use comfy_table::Cell;

use ckrv_client::ListJobs;
use ckrv_types::limits::PAGE_MAX;
use ckrv_types::{Job, Page, State};

use crate::commands::named;
use crate::context::Context;
use crate::duration::{age, show};
use crate::env;
use crate::exit::ExitStatus;
use crate::failure::Outcome;
use crate::format::{Show, View, short, state};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  ckrv list --state running --state queued\n  ckrv list --label team=web -o json")]
pub struct Args {
    /// Only jobs in this state; may be repeated
    #[arg(long, env = env::LIST_STATE, value_name = "STATE", value_delimiter = ',')]
    state: Vec<State>,
    /// Only jobs with this label; may be repeated
    #[arg(long, env = env::LIST_LABEL, value_name = "KEY=VALUE", value_parser = pair)]
    label: Vec<(String, String)>,
    /// Only jobs on this repository
    #[arg(long, env = env::LIST_REPO, value_name = "URL")]
    repo: Option<String>,
    /// Only jobs of this project, by name or id
    #[arg(long, env = env::LIST_PROJECT)]
    project: Option<String>,
    /// At most so many
    #[arg(long, env = env::LIST_LIMIT, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

/// `KEY=VALUE`.
pub fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("`{text}` is not KEY=VALUE"))?;
    if key.is_empty() {
        return Err(format!("`{text}` has no key before `=`"));
    }
    Ok((key.to_owned(), value.to_owned()))
}

pub async fn run(args: Args, context: &Context) -> Outcome {
    let access = context.access()?;
    let usual = access.project;
    let client = context.client_for(access)?;
    let project = match args.project {
        Some(project) => Some(named::project(&client, &project).await?),
        None => usual,
    };
    let mut page = Page { items: Vec::new(), next: None };
    let mut list = ListJobs { states: args.state, labels: args.label, repo: args.repo, project, ..ListJobs::default() };
    loop {
        let missing = args.limit - u32::try_from(page.items.len()).unwrap_or(args.limit).min(args.limit);
        list.limit = Some(missing.min(PAGE_MAX));
        let more = client.jobs(&list).await?;
        page.items.extend(more.items);
        page.next = more.next;
        if page.next.is_none() || page.items.len() >= args.limit as usize {
            break;
        }
        list.cursor.clone_from(&page.next);
    }
    if page.next.is_some() {
        context.printer.note("there are more; --limit shows them");
    }
    context.printer.show(&page, context.format())?;
    Ok(ExitStatus::Done)
}

impl Show for Page<Job> {
    fn table(&self, view: View) -> String {
        let rows = self.items.iter().map(|job| {
            let took = job.finished_at.map(|end| show(end - job.created_at)).unwrap_or_default();
            [
                Cell::new(job.id),
                state(job.state),
                Cell::new(age(job.created_at)),
                Cell::new(took),
                short(&job.spec.agent, 16),
                short(job.spec.repo.trim_end_matches('/').rsplit('/').next().unwrap_or_default(), 24),
                short(&task(job), 48),
            ]
        });
        view.columns(["JOB", "STATE", "AGE", "TOOK", "AGENT", "REPO", "TASK"], rows)
    }

    fn names(&self) -> Vec<String> {
        self.items.iter().map(|job| job.id.to_string()).collect()
    }
}

/// What the job is to do, in a line.
fn task(job: &Job) -> String {
    job.spec.prompt.clone().unwrap_or_else(|| job.spec.command.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_needs_a_key_and_may_have_an_empty_value() {
        assert_eq!(pair("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert_eq!(pair("a="), Ok(("a".into(), String::new())));
        assert!(pair("a").is_err() && pair("=b").is_err());
    }
}
