//! Tiers: what the operator says, classes, and how long things are kept.

use ckrv_server::admin::limits::{self, Limit, LimitError, Setting, Whose};
use ckrv_server::retention;
use ckrv_tests::acting::refused;
use ckrv_tests::replica::{Installation, Loops, spec, submit};
use ckrv_types::job::SubmitJob;
use ckrv_types::quota::Measure;
use ckrv_types::{JobSpec, ProblemCode};

use super::{exceeded, limit, quota, standing};

async fn org_name(on: &Installation) -> String {
    on.client().whoami().await.unwrap().org_name
}

#[tokio::test]
async fn the_operator_gives_another_tier_or_a_limit_of_its_own_and_the_audit_log_says_so() {
    let on = Installation::new(Loops::Off).await;
    let (db, key, name) = (&on.state().db, &on.keys().api_key, org_name(&on).await);
    limits::set_tier(db, &name, "free").await.unwrap();
    let free = quota(&on.replica, key).await;
    assert_eq!((free.tier.as_str(), free.weight, free.retention_days, free.classes), ("free", 1, 3, Some(Vec::new())));
    assert!(free.limits.iter().all(|limit| limit.limit.is_some()));

    let whose = Whose::Org(name.clone());
    for (set, most) in [("7", Some(7)), ("unlimited", None), ("0", Some(0)), ("tier", Some(20))] {
        limits::set_limit(db, &whose, Setting::OpenJobs, &Limit::from(set)).await.unwrap();
        assert_eq!(standing(&on.replica, key, Measure::OpenJobs).await.limit, most, "{set}");
    }
    limits::set_limit(db, &Whose::Tier("free".into()), Setting::OpenJobs, &Limit::from("1")).await.unwrap();
    submit(&on.client(), spec()).await;
    exceeded(on.client().submit(&SubmitJob { spec: spec(), project: None }).await);

    let acts: Vec<String> = sqlx::query_scalar(
        "select action from audit_log where action like '%-changed' or action = 'tier.changed' order by id",
    )
    .fetch_all(&mut on.sql().await)
    .await
    .unwrap();
    let expected = [
        "org.tier-changed",
        "org.limit-changed",
        "org.limit-changed",
        "org.limit-changed",
        "org.limit-changed",
        "tier.changed",
    ];
    assert_eq!(acts, expected);
}

#[tokio::test]
async fn what_the_operator_mistypes_changes_nothing() {
    let on = Installation::new(Loops::Off).await;
    let (db, name) = (&on.state().db, org_name(&on).await);
    let before = quota(&on.replica, &on.keys().api_key).await;
    assert!(matches!(limits::set_tier(db, &name, "gold").await, Err(LimitError::NoTier(_))));
    assert!(matches!(limits::set_tier(db, "nobody", "free").await, Err(LimitError::NoOrg(_))));
    let (org, tier) = (Whose::Org(name), Whose::Tier("gold".into()));
    for (whose, setting, to) in [
        (&org, Setting::Weight, "0"),
        (&org, Setting::RetentionDays, "0"),
        (&org, Setting::OpenJobs, "4000000000"),
        (&org, Setting::OpenJobs, "-1"),
        (&org, Setting::Classes, "big, small"),
    ] {
        let answer = limits::set_limit(db, whose, setting, &Limit::from(to)).await;
        assert!(matches!(answer, Err(LimitError::Limit(told)) if told == setting), "{setting:?} {to}: {answer:?}");
    }
    let answer = limits::set_limit(db, &tier, Setting::OpenJobs, &Limit::from("1")).await;
    assert!(matches!(answer, Err(LimitError::NoTier(_))), "{answer:?}");
    assert_eq!(quota(&on.replica, &on.keys().api_key).await.limits[..5], before.limits[..5]);
    let acts = sqlx::query_scalar("select count(*) from audit_log where action like '%changed'");
    let acts: i64 = acts.fetch_one(&mut on.sql().await).await.unwrap();
    assert_eq!(acts, 0);
}

#[tokio::test]
async fn tiers_are_listed_with_all_their_limits() {
    let on = Installation::new(Loops::Off).await;
    let tiers = limits::tiers(&on.state().db).await.unwrap();
    let names: Vec<&str> = tiers.iter().filter_map(|tier| tier["name"].as_str()).collect();
    assert_eq!(names, ["free", "pro", "team", "enterprise"]);
    assert!(tiers.iter().all(|tier| Measure::ALL.iter().all(|measure| tier.get(measure.as_str()).is_some())));
}

#[tokio::test]
async fn a_class_that_the_tier_has_not_is_refused_with_those_that_it_has() {
    let on = Installation::new(Loops::Off).await;
    let set = async |to: &str| {
        let whose = Whose::Tier("enterprise".into());
        limits::set_limit(&on.state().db, &whose, Setting::Classes, &Limit::from(to)).await.unwrap();
    };
    let of_class = |class: &str| {
        let spec = JobSpec { class: Some(class.to_owned()), ..spec() };
        SubmitJob { spec, project: None }
    };
    set("small,medium").await;
    on.client().submit(&of_class("medium")).await.unwrap();
    submit(&on.client(), spec()).await;
    let error = on.client().submit(&of_class("big")).await.unwrap_err();
    let problem = error.problem().unwrap();
    assert_eq!((problem.code, problem.status), (ProblemCode::Forbidden, 403));
    assert!(
        problem.detail.as_ref().unwrap().contains("`big`") && problem.hint.as_ref().unwrap().contains("small, medium")
    );
    set("none").await;
    assert_eq!(refused(on.client().submit(&of_class("small")).await), ProblemCode::Forbidden);
    set("unlimited").await;
    on.client().submit(&of_class("big")).await.unwrap();
    assert_eq!(
        standing(&on.replica, &on.keys().api_key, Measure::JobsPerMonth).await.used,
        3,
        "what is refused is not counted"
    );
}

#[tokio::test]
async fn logs_are_kept_for_the_tiers_days_or_the_servers_whichever_are_less() {
    let on = Installation::new(Loops::Off).await;
    let other = on.organization("other").await;
    limit(&on, on.keys().org, "retention_days", Some(2)).await;
    limit(&on, other.org, "retention_days", Some(1000)).await;
    let jobs = [submit(&on.client(), spec()).await.id, submit(&on.replica.client(&other.api_key), spec()).await.id];
    on.client().cancel(jobs[0]).await.unwrap();
    on.replica.client(&other.api_key).cancel(jobs[1]).await.unwrap();
    let mut sql = on.sql().await;
    for (days, purged) in [(1, [false, false]), (3, [true, false]), (8, [true, true])] {
        sqlx::query("update jobs set finished_at = now() - make_interval(days => $1)")
            .bind(days)
            .execute(&mut sql)
            .await
            .unwrap();
        retention::tick(on.state()).await.unwrap();
        for (job, purged) in jobs.iter().zip(purged) {
            let found: bool = sqlx::query_scalar("select purged_at is not null from jobs where id = $1")
                .bind(job.uuid())
                .fetch_one(&mut sql)
                .await
                .unwrap();
            assert_eq!(found, purged, "{job} after {days} days");
        }
    }
    assert_eq!(quota(&on.replica, &on.keys().api_key).await.retention_days, 2);
    assert_eq!(quota(&on.replica, &other.api_key).await.retention_days, 7);
}
