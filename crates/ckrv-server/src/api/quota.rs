//! What the organization may use, and what it has used.

use axum::extract::State;
use ckrv_types::quota::{Measure, Quota, QuotaLimit, UsageBy, UsageReport};
use ckrv_types::{OrgId, Problem, ProblemCode};
use serde::Deserialize;
use time::{Date, Month};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;

use crate::auth::{Caller, Read};
use crate::db::quotas::{self, Limits};
use crate::db::{Tx, usage};
use crate::error::ApiResult;
use crate::http::extract::Query;
use crate::http::needs::routes;
use crate::http::problems::{Authenticated, BadRequest};
use crate::quota::requests_sent;
use crate::state::AppState;

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(quota)).routes(routes!(read_usage))
}

/// The organization's tier and limits, and how much of each is used.
#[utoipa::path(get, path = "/v1/quota", tag = "usage", operation_id = "getQuota",
    responses((status = 200, body = Quota), Authenticated))]
async fn quota(State(state): State<AppState>, auth: Caller<Read>) -> ApiResult<axum::Json<Quota>> {
    let mut tx = state.db.tenant(auth.org).await?;
    let limits = quotas::limits(&mut tx, auth.org).await?;
    let standings = standings(&state, &mut tx, auth.org, &limits).await?;
    tx.commit().await?;
    let server = u32::try_from(state.config.retention_days).unwrap_or(u32::MAX);
    Ok(axum::Json(Quota {
        weight: limits.weight.unsigned_abs(),
        limits: standings,
        retention_days: limits.retention_days.map_or(server, |days| server.min(days.unsigned_abs())),
        classes: limits.classes,
        tier: limits.tier,
    }))
}

async fn standings(state: &AppState, tx: &mut Tx, org: OrgId, limits: &Limits) -> ApiResult<Vec<QuotaLimit>> {
    let now = quotas::standing(tx, org).await?;
    let (members, projects) = (quotas::members(tx, org).await?, quotas::projects(tx, org).await?);
    let requests = requests_sent(state, org, limits).await?;
    let standing = |quota| {
        let (used, resets_at) = match quota {
            Measure::ConcurrentJobs => (now.concurrent_jobs.unsigned_abs(), None),
            Measure::OpenJobs => (now.open_jobs.unsigned_abs(), None),
            Measure::JobsPerMonth => (now.jobs.unsigned_abs(), Some(now.month_end)),
            Measure::MinutesPerMonth => (now.minutes.unsigned_abs(), Some(now.month_end)),
            Measure::RequestsPerMinute => requests.map_or((0, None), |(sent, until)| (sent.into(), Some(until))),
            Measure::Members => (members, None),
            Measure::Projects => (projects, None),
        };
        QuotaLimit { quota, used, limit: limits.of(quota), resets_at }
    };
    Ok(Measure::ALL.into_iter().map(standing).collect())
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// `YYYY-MM`; without it, the month that it is now (UTC).
    #[param(pattern = "^[0-9]{4}-(0[1-9]|1[0-2])$")]
    month: Option<String>,
    /// By what to tell apart.
    #[serde(default)]
    by: UsageBy,
}

/// What a calendar month (UTC) has used so far.
///
/// A job counts in the month in which it was submitted; what an attempt used, in the month in which it ended. A credential that
/// is limited to some projects is told of those.
#[utoipa::path(get, path = "/v1/usage", tag = "usage", operation_id = "getUsage",
    params(Wanted),
    responses((status = 200, body = UsageReport), Authenticated, BadRequest))]
async fn read_usage(
    State(state): State<AppState>,
    auth: Caller<Read>,
    Query(Wanted { month, by }): Query<Wanted>,
) -> ApiResult<axum::Json<UsageReport>> {
    let month = month.map(|text| first_day(&text).ok_or(text)).transpose().map_err(|text| {
        Problem::new(ProblemCode::BadRequest).detail(format!("month: `{text}` is no month.")).hint("Such as 2026-11.")
    })?;
    let mut tx = state.db.tenant(auth.org).await?;
    let month = match month {
        Some(month) => month,
        None => usage::this_month(&mut tx).await?,
    };
    let (total, rows) = usage::report(&mut tx, auth.org, month, by, &auth.reach).await?;
    tx.commit().await?;
    let month = format!("{:04}-{:02}", month.year(), u8::from(month.month()));
    Ok(axum::Json(UsageReport { month, by, total, rows }))
}

/// Of the month that `YYYY-MM` names.
fn first_day(text: &str) -> Option<Date> {
    let (year, month) = text.split_once('-')?;
    let digits = |text: &str, count| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(year, 4) || !digits(month, 2) {
        return None;
    }
    let month = Month::try_from(month.parse::<u8>().ok()?).ok()?;
    // The database's calendar has no year 0.
    let year = year.parse().ok().filter(|year| *year > 0)?;
    Date::from_calendar_date(year, month, 1).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_is_four_digits_a_dash_and_two() {
        assert_eq!(first_day("2026-02"), Date::from_calendar_date(2026, Month::February, 1).ok());
        for text in ["", "2026", "2026-2", "2026-00", "2026-13", "26-02", "2026-02-01", "+026-02", "0000-01", "2026-0x"]
        {
            assert_eq!(first_day(text), None, "{text}");
        }
    }
}
