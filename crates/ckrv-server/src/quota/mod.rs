//! What an organization may use: refused beyond it, by a problem that says how much of what is used, and what to do.
//!
//! Jobs and minutes a month and open jobs are held to by the database, in the transaction that submits; jobs at once by
//! admission, where more of them wait; requests a minute by [`crate::http::rate`].

use std::num::NonZeroU32;
use std::time::Duration;

use ckrv_types::quota::{Measure, QuotaLimit};
use ckrv_types::{OrgId, Problem, ProblemCode};
use serde_json::json;
use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::db::audit::{self, Actor, Entry};
use crate::db::quotas::Limits;
use crate::db::{Tx, quotas, rate_limits};
use crate::error::ApiResult;
use crate::http::rate;
use crate::state::AppState;

/// How often the audit log says that the same quota was used up.
const NOTED_EVERY: Duration = Duration::from_hours(1);

/// Refuses where the organization has no room for one more: of [`Measure::Members`], before a member is added or invited;
/// of [`Measure::Projects`], before a project is made or restored. Under the organization's lock ([`crate::db::members::lock`]),
/// so that two at once do not both take the last place. `tx` may be a tenant's or the system's.
pub async fn room_for(tx: &mut PgConnection, org: OrgId, measure: Measure) -> ApiResult<()> {
    let limits = quotas::limits(tx, org).await?;
    let Some(limit) = limits.of(measure) else { return Ok(()) };
    let used = match measure {
        Measure::Members => quotas::members(tx, org).await?,
        Measure::Projects => quotas::projects(tx, org).await?,
        _ => return Ok(()),
    };
    if used < limit {
        return Ok(());
    }
    Err(exceeded(QuotaLimit { quota: measure, used, limit: Some(limit), resets_at: None }).into())
}

/// Counts one more job of the organization, whose limits are to hold for it. Refuses what would go beyond them, which is then noted in
/// the audit log, once an hour at most; so it takes the transaction, and gives it back where there is room.
pub async fn count_job(state: &AppState, mut tx: Tx, org: OrgId, actor: Actor) -> ApiResult<Tx> {
    let Some(standing) = quotas::count_job(&mut tx, org).await? else { return Ok(tx) };
    drop(tx);
    note(state, org, actor, &standing).await?;
    rate::hold_back(state, org).await;
    Err(exceeded(standing).into())
}

async fn note(state: &AppState, org: OrgId, actor: Actor, standing: &QuotaLimit) -> Result<(), sqlx::Error> {
    let bucket = format!("quota-exceeded:{org}:{}", standing.quota);
    if rate_limits::charge(&state.db, &bucket, NOTED_EVERY, NOTED_EVERY).await?.is_err() {
        return Ok(());
    }
    let entry = Entry {
        org: Some(org),
        actor,
        action: "quota.exceeded",
        subject: Some(org.to_string()),
        address: None,
        detail: json!({ "quota": standing.quota, "used": standing.used, "limit": standing.limit }),
    };
    let mut tx = state.db.tenant(org).await?;
    audit::write(&mut tx, &entry).await?;
    tx.commit().await
}

/// Refuses a class that the organization's jobs may not have. `classes`: those that they may; none: all. `by`: the project whose
/// settings gave the job its class.
pub fn allows_class(class: Option<&str>, classes: Option<&[String]>, by: Option<&str>) -> ApiResult<()> {
    match (class, classes) {
        (Some(class), Some(classes)) if !classes.iter().any(|allowed| allowed == class) => {
            Err(no_class(class, classes, by).into())
        }
        _ => Ok(()),
    }
}

fn no_class(class: &str, classes: &[String], by: Option<&str>) -> Problem {
    let given =
        by.map(|project| format!(", which the settings of the project `{project}` gave it")).unwrap_or_default();
    let named = match (classes, by) {
        ([], None) => "Name no class".to_owned(),
        ([], Some(_)) => "Have an admin take the class out of the project's settings".to_owned(),
        (classes, None) => format!("Name one of {}, or none", classes.join(", ")),
        (classes, Some(_)) => format!("Name one of {}, or have an admin change the project's", classes.join(", ")),
    };
    Problem::new(ProblemCode::Forbidden)
        .detail(format!("The organization's jobs may not have the class `{class}`{given}."))
        .hint(format!("{named}; or ask for another tier."))
}

/// How many requests a minute the organization may send; none: any number. As it was found a few seconds ago at most.
pub async fn requests_per_minute(state: &AppState, org: OrgId) -> Result<Option<NonZeroU32>, sqlx::Error> {
    if let Some(known) = state.rates.get(&org) {
        return Ok(known);
    }
    let mut tx = state.db.tenant(org).await?;
    let limits = quotas::limits(&mut tx, org).await?;
    tx.commit().await?;
    let rate = per_minute(&limits);
    state.rates.put(org, rate);
    Ok(rate)
}

/// How many requests the organization has sent lately, and when that is forgotten; none: nobody counts.
pub async fn requests_sent(
    state: &AppState,
    org: OrgId,
    limits: &Limits,
) -> Result<Option<(u32, OffsetDateTime)>, sqlx::Error> {
    match per_minute(limits) {
        Some(per_minute) => rate::sent_by(&state.db, org, per_minute).await,
        None => Ok(None),
    }
}

fn per_minute(limits: &Limits) -> Option<NonZeroU32> {
    limits.requests_per_minute.and_then(|rate| NonZeroU32::new(rate.unsigned_abs()))
}

/// 403.
pub fn exceeded(standing: QuotaLimit) -> Problem {
    let QuotaLimit { quota, used, limit, resets_at } = standing;
    let of = limit.map_or_else(|| used.to_string(), |limit| format!("{used} of {limit}"));
    let (so, then) = match quota {
        Measure::ConcurrentJobs => (format!("runs {of} jobs at once"), "wait until one of them is over"),
        Measure::OpenJobs => (format!("has {of} jobs that wait or run"), "wait until some are over, or cancel some"),
        Measure::JobsPerMonth => (format!("has submitted {of} jobs this month"), "wait for the month's end"),
        Measure::MinutesPerMonth => (format!("has used {of} minutes this month"), "wait for the month's end"),
        Measure::RequestsPerMinute => (format!("has sent {of} requests in a minute"), "try again later"),
        Measure::Members => {
            (format!("has {of} members and open invitations"), "remove a member or revoke an invitation")
        }
        Measure::Projects => (format!("has {of} projects"), "archive one"),
    };
    let until =
        resets_at.map(|at| format!(" It counts from nothing again on {} (UTC).", at.date())).unwrap_or_default();
    Problem { quota: Some(standing), ..Problem::new(ProblemCode::QuotaExceeded) }
        .detail(format!("The organization {so}, which is its limit.{until}"))
        .hint(format!("{}, or ask for another tier; `ckrv usage` shows what is used.", capitalized(then)))
}

fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}
