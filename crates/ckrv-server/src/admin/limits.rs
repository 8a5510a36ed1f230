//! Tiers, which organization has which, and what holds for one organization instead. Each change stands in the audit log.

use std::ops::RangeInclusive;

use ckrv_types::{OrgId, spec};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use sqlx::types::Json;

use crate::db::audit::{self, Actor, Entry};
use crate::db::{Db, Tx, orgs};

/// What can be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Setting {
    Weight,
    ConcurrentJobs,
    OpenJobs,
    JobsPerMonth,
    MinutesPerMonth,
    RequestsPerMinute,
    Members,
    Projects,
    RetentionDays,
    /// Names separated by commas, or `none`.
    Classes,
}

impl Setting {
    const fn column(self) -> &'static str {
        match self {
            Self::Weight => "weight",
            Self::ConcurrentJobs => "concurrent_jobs",
            Self::OpenJobs => "open_jobs",
            Self::JobsPerMonth => "jobs_per_month",
            Self::MinutesPerMonth => "minutes_per_month",
            Self::RequestsPerMinute => "requests_per_minute",
            Self::Members => "members",
            Self::Projects => "projects",
            Self::RetentionDays => "retention_days",
            Self::Classes => "classes",
        }
    }

    /// The numbers that it may be.
    const fn bounds(self) -> RangeInclusive<i32> {
        match self {
            Self::Weight => 1..=1000,
            Self::RequestsPerMinute | Self::RetentionDays => 1..=i32::MAX,
            _ => 0..=i32::MAX,
        }
    }

    fn takes(self) -> String {
        let (least, most) = self.bounds().into_inner();
        match self {
            Self::Weight => format!("a number from {least} to {most}"),
            Self::Classes => "names of a-z 0-9 - separated by commas, `none` or `unlimited`".to_owned(),
            _ => format!("a number from {least} to {most}, or `unlimited`"),
        }
    }

    fn allows(self, text: &str) -> bool {
        match self {
            Self::Classes => text.is_empty() || text.split(',').all(spec::is_name),
            _ => text.parse().is_ok_and(|number| self.bounds().contains(&number)),
        }
    }
}

/// For whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// All organizations of this tier.
    Tier(String),
    /// The organization of this name.
    Org(String),
}

/// What an operator has set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Limit {
    /// A number, or names separated by commas.
    Of(String),
    Unlimited,
    /// Of an organization: whatever its tier says.
    AsTier,
}

impl From<&str> for Limit {
    fn from(text: &str) -> Self {
        match text {
            "unlimited" => Self::Unlimited,
            "tier" => Self::AsTier,
            "none" => Self::Of(String::new()),
            other => Self::Of(other.to_owned()),
        }
    }
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum LimitError {
    #[error("there is no organization `{0}`")]
    NoOrg(String),
    #[error("there is no tier `{0}`: `ckrv-server admin tiers` lists them")]
    NoTier(String),
    #[error("`{}` cannot be set to that: it takes {}", .0.column(), .0.takes())]
    Limit(Setting),
    #[error("`tier` is for one organization: name it by --org")]
    OfNoOrg,
    #[error("the database did not answer as it should")]
    Database(#[from] sqlx::Error),
}

/// All tiers, the smallest weight first, each an object with its limits; `null` is unlimited.
pub async fn tiers(db: &Db) -> Result<Vec<Value>, LimitError> {
    let mut tx = db.system().await?;
    let tiers: Vec<Json<Value>> =
        sqlx::query_scalar("select to_jsonb(t) from tiers t order by weight, name").fetch_all(&mut *tx).await?;
    tx.commit().await?;
    Ok(tiers.into_iter().map(|tier| tier.0).collect())
}

/// Gives the organization of this name another tier.
pub async fn set_tier(db: &Db, org: &str, tier: &str) -> Result<(), LimitError> {
    let mut tx = db.system().await?;
    let id = existing(&mut tx, org).await?;
    let before: String = sqlx::query_scalar("select tier from orgs where id = $1 for no key update")
        .bind(id.uuid())
        .fetch_one(&mut *tx)
        .await?;
    let changed = sqlx::query("update orgs set tier = $2 where id = $1").bind(id.uuid()).bind(tier);
    match changed.execute(&mut *tx).await {
        Err(sqlx::Error::Database(error)) if error.is_foreign_key_violation() => {
            return Err(LimitError::NoTier(tier.to_owned()));
        }
        changed => changed?,
    };
    note(&mut tx, Some(id), "org.tier-changed", json!({ "from": before, "to": tier })).await?;
    Ok(tx.commit().await?)
}

/// Sets one limit of a tier, or of an organization instead of its tier's. It holds at once; of requests a minute within
/// seconds.
pub async fn set_limit(db: &Db, whose: &Whose, setting: Setting, limit: &Limit) -> Result<(), LimitError> {
    let mut tx = db.system().await?;
    let column = setting.column();
    let read = if setting == Setting::Classes { "string_to_array($2, ',')" } else { "$2::int" };
    let (org, subject, statement) = match whose {
        Whose::Tier(name) => (None, name.clone(), format!("update tiers set {column} = {read} where name = $1")),
        Whose::Org(name) => {
            let id = existing(&mut tx, name).await?;
            let statement = format!(
                "insert into org_limits as l (org_id, {column}) values ($1::uuid, {read})
                 on conflict (org_id) do update set {column} = excluded.{column}"
            );
            (Some(id), id.uuid().to_string(), statement)
        }
    };
    let value = stored(setting, whose, limit)?;
    let done = sqlx::query(AssertSqlSafe(statement)).bind(&subject).bind(&value).execute(&mut *tx).await?;
    if done.rows_affected() == 0 {
        return Err(LimitError::NoTier(subject));
    }
    let (action, of) = match whose {
        Whose::Tier(name) => ("tier.changed", name),
        Whose::Org(name) => ("org.limit-changed", name),
    };
    note(&mut tx, org, action, json!({ "of": of, "limit": column, "to": shown(limit) })).await?;
    Ok(tx.commit().await?)
}

/// As it stands in the table; none: NULL.
fn stored(setting: Setting, whose: &Whose, limit: &Limit) -> Result<Option<String>, LimitError> {
    match (limit, whose) {
        (Limit::Of(text), _) if setting.allows(text) => Ok(Some(text.clone())),
        (Limit::Of(_), _) => Err(LimitError::Limit(setting)),
        (Limit::Unlimited, _) if setting == Setting::Weight => Err(LimitError::Limit(setting)),
        (Limit::Unlimited, Whose::Tier(_)) | (Limit::AsTier, Whose::Org(_)) => Ok(None),
        (Limit::Unlimited, Whose::Org(_)) if setting == Setting::Classes => Ok(Some("*".to_owned())),
        (Limit::Unlimited, Whose::Org(_)) => Ok(Some("-1".to_owned())),
        (Limit::AsTier, Whose::Tier(_)) => Err(LimitError::OfNoOrg),
    }
}

fn shown(limit: &Limit) -> &str {
    match limit {
        Limit::Of(text) => text,
        Limit::Unlimited => "unlimited",
        Limit::AsTier => "tier",
    }
}

async fn existing(tx: &mut Tx, name: &str) -> Result<OrgId, LimitError> {
    orgs::by_name(tx, name).await?.ok_or_else(|| LimitError::NoOrg(name.to_owned()))
}

async fn note(tx: &mut Tx, org: Option<OrgId>, action: &str, detail: Value) -> Result<(), sqlx::Error> {
    let subject = org.map(|org| org.to_string());
    audit::write(tx, &Entry { org, actor: Actor::System, action, subject, address: None, detail }).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::option_option, reason = "refused, unlimited, and a limit are three things")]
    fn as_stored(setting: Setting, whose: &Whose, text: &str) -> Option<Option<String>> {
        stored(setting, whose, &Limit::from(text)).ok()
    }

    #[test]
    fn unlimited_is_told_from_as_the_tier_says() {
        let (tier, org) = (Whose::Tier("pro".to_owned()), Whose::Org("acme".to_owned()));
        let some = |text: &str| Some(Some(text.to_owned()));
        assert_eq!(as_stored(Setting::OpenJobs, &tier, "unlimited"), Some(None));
        assert_eq!(as_stored(Setting::OpenJobs, &org, "unlimited"), some("-1"));
        assert_eq!(as_stored(Setting::OpenJobs, &org, "tier"), Some(None));
        assert_eq!(as_stored(Setting::OpenJobs, &org, "7"), some("7"));
        assert_eq!(as_stored(Setting::Classes, &org, "unlimited"), some("*"));
        assert_eq!(as_stored(Setting::Classes, &tier, "big,small"), some("big,small"));
        assert_eq!(as_stored(Setting::Classes, &tier, "none"), some(""));
    }

    #[test]
    fn what_is_no_limit_is_refused() {
        let (tier, org) = (Whose::Tier("pro".to_owned()), Whose::Org("acme".to_owned()));
        for (setting, whose, text) in [
            (Setting::OpenJobs, &tier, "tier"),
            (Setting::OpenJobs, &tier, "-1"),
            (Setting::OpenJobs, &org, "many"),
            (Setting::Weight, &tier, "unlimited"),
            (Setting::Weight, &org, "unlimited"),
            (Setting::Weight, &org, "1001"),
            (Setting::RetentionDays, &org, "0"),
            (Setting::OpenJobs, &org, "4000000000"),
            (Setting::Classes, &org, "big, small"),
            (Setting::Classes, &org, "*"),
            (Setting::Classes, &tier, "big,"),
        ] {
            assert_eq!(as_stored(setting, whose, text), None, "{setting:?} {text}");
        }
        let told = LimitError::Limit(Setting::RetentionDays).to_string();
        assert!(told.contains("`retention_days`") && told.contains("from 1 to"), "{told}");
    }
}
