//! `ckrv usage`: what the organization may use, and what it has used.

use comfy_table::Cell;
use serde::Serialize;
use time::{Duration, OffsetDateTime};

use ckrv_types::quota::{Quota, UsageBy, UsageReport, UsageRow, Used};

use crate::commands::choices::By;
use crate::context::Context;
use crate::duration::show;
use crate::env;
use crate::exit::ExitStatus;
use crate::failure::Outcome;
use crate::format::{Show, View, short};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Quotas are as they are now, whatever the month; those of another month are not shown. Months are of UTC.\n\n\
Examples:\n  ckrv usage\n  ckrv usage --by user --month 2026-11\n  ckrv usage --by day -o json | jq '.usage.rows[] | [.day, .jobs]'"
)]
pub struct Args {
    /// The month, as YYYY-MM [default: this one]
    #[arg(long, env = env::USAGE_MONTH, value_name = "MONTH", value_parser = month)]
    month: Option<String>,
    /// By what it is told apart
    #[arg(long, env = env::USAGE_BY, value_enum, default_value_t, value_name = "WHAT")]
    by: By,
}

/// `2026-11`.
fn month(text: &str) -> Result<String, String> {
    let digits = |part: &str, count| part.len() == count && part.bytes().all(|byte| byte.is_ascii_digit());
    match text.split_once('-') {
        Some((year, month)) if digits(year, 4) && digits(month, 2) && ("01"..="12").contains(&month) => Ok(text.into()),
        _ => Err(format!("`{text}` is not a month such as 2026-11")),
    }
}

/// Two answers of the API in one.
#[derive(Debug, Serialize)]
struct Shown {
    /// Absent when another month than this one is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    quota: Option<Quota>,
    usage: UsageReport,
}

pub async fn run(args: Args, context: &Context) -> Outcome {
    let client = context.client()?;
    let now = OffsetDateTime::now_utc();
    let this = format!("{:04}-{:02}", now.year(), u8::from(now.month()));
    let with_quota = args.month.as_ref().is_none_or(|month| *month == this);
    let quota = async { if with_quota { client.quota().await.map(Some) } else { Ok(None) } };
    let (usage, quota) = tokio::try_join!(client.usage(args.month.as_deref(), args.by.into()), quota)?;
    context.printer.show(&Shown { quota, usage }, context.format())?;
    Ok(ExitStatus::Done)
}

impl Show for Shown {
    fn table(&self, view: View) -> String {
        let quota = self.quota.as_ref().map(|quota| format!("{}\n\n", quota.table(view))).unwrap_or_default();
        format!("{quota}{}", self.usage.table(view))
    }

    fn names(&self) -> Vec<String> {
        self.usage.names()
    }
}

impl Show for UsageReport {
    fn table(&self, view: View) -> String {
        let what = match self.by {
            UsageBy::Project => "PROJECT",
            UsageBy::Key => "KEY",
            UsageBy::User => "USER",
            UsageBy::ServiceAccount => "SERVICE ACCOUNT",
            UsageBy::Day => "DAY",
        };
        let rows = self.rows.iter().map(|row| line(&of(row), &row.used));
        let total = std::iter::once(line(&format!("all of {}", self.month), &self.total));
        view.columns([what, "JOBS", "RAN", "TOKENS IN", "TOKENS OUT", "USD"], rows.chain(total))
    }

    fn names(&self) -> Vec<String> {
        self.rows.iter().filter_map(id).collect()
    }
}

fn line(of: &str, used: &Used) -> [Cell; 6] {
    [
        short(of, 63),
        Cell::new(used.jobs),
        Cell::new(show(Duration::seconds(used.seconds.try_into().unwrap_or(i64::MAX)))),
        Cell::new(used.input_tokens),
        Cell::new(used.output_tokens),
        Cell::new(format!("{:.2}", used.cost_usd)),
    ]
}

/// Whose it is: the name where there is one.
fn of(row: &UsageRow) -> String {
    row.name.clone().or_else(|| id(row)).unwrap_or_else(|| "(nobody's)".to_owned())
}

fn id(row: &UsageRow) -> Option<String> {
    let ids = [
        row.project.map(|id| id.to_string()),
        row.key.map(|id| id.to_string()),
        row.user.map(|id| id.to_string()),
        row.service_account.map(|id| id.to_string()),
        row.day.clone(),
    ];
    ids.into_iter().flatten().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_is_four_digits_and_two() {
        assert_eq!(month("2026-11").as_deref(), Ok("2026-11"));
        for text in ["", "2026", "2026-13", "2026-00", "26-11", "2026-1", "2026-11-01", "+026-11"] {
            assert!(month(text).is_err(), "{text}");
        }
    }
}
