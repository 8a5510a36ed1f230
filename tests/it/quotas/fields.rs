//! Usage told apart: by project, key, person, service account and day.

use ckrv_server::db::transition::Transition;
use ckrv_tests::people;
use ckrv_tests::replica::{Installation, Loops, spec, submit};
use ckrv_types::identity::Role;
use ckrv_types::job::SubmitJob;
use ckrv_types::{AttemptId, Cause, ProjectId, State};
use reqwest::StatusCode;

use super::{get, usage};

#[tokio::test]
async fn usage_is_told_apart_by_project_key_service_account_and_day_and_sums_up() {
    let on = Installation::new(Loops::Off).await;
    let second = ProjectId::new();
    let mut sql = on.sql().await;
    sqlx::query("insert into projects (id, org_id, name) values ($1, $2, 'second')")
        .bind(second.uuid())
        .bind(on.keys().org.uuid())
        .execute(&mut sql)
        .await
        .unwrap();
    for project in [None, Some(second), Some(second)] {
        on.client().submit(&SubmitJob { spec: spec(), project }).await.unwrap();
    }
    let other = on.organization("other").await;
    submit(&on.replica.client(&other.api_key), spec()).await;

    let report = usage(&on.replica, &on.keys().api_key, "").await;
    assert_eq!(report.total.jobs, 3, "what others use is theirs");
    let mut rows: Vec<_> = report.rows.iter().map(|row| (row.name.as_deref(), row.project, row.used.jobs)).collect();
    rows.sort_by_key(|row| row.2);
    assert_eq!(rows, [(Some("default"), Some(on.keys().project), 1), (Some("second"), Some(second), 2)]);
    for (by, name) in [("key", "bootstrap"), ("service_account", "bootstrap")] {
        let report = usage(&on.replica, &on.keys().api_key, &format!("?by={by}")).await;
        let [row] = &report.rows[..] else { panic!("{by}: {:?}", report.rows) };
        assert_eq!((row.name.as_deref(), row.used.jobs), (Some(name), 3), "{by}");
        assert_eq!((row.key.is_some(), row.service_account.is_some()), (by == "key", by == "service_account"));
    }
    let days = usage(&on.replica, &on.keys().api_key, "?by=day").await.rows;
    assert_eq!(days.iter().map(|row| row.used.jobs).sum::<u64>(), 3);
    assert!(days.iter().all(|row| row.day.as_ref().is_some_and(|day| day.len() == 10)), "{days:?}");
    let users = usage(&on.replica, &on.keys().api_key, "?by=user").await.rows;
    assert_eq!(users.iter().map(|row| row.user).collect::<Vec<_>>(), [None], "no person submitted any");
}

#[tokio::test]
async fn a_key_of_a_person_counts_for_the_key_and_the_person() {
    let on = Installation::new(Loops::Off).await;
    let mut sql = on.sql().await;
    let ada = people::add(&mut sql, on.keys().org, "ada", Role::Owner).await;
    sqlx::query("update api_keys set user_id = $1, service_account_id = null")
        .bind(ada.uuid())
        .execute(&mut sql)
        .await
        .unwrap();
    submit(&on.client(), spec()).await;
    let rows = usage(&on.replica, &on.keys().api_key, "?by=user").await.rows;
    assert_eq!(rows.iter().map(|row| (row.user, row.name.as_deref())).collect::<Vec<_>>(), [(Some(ada), Some("Ada"))]);
    assert!(usage(&on.replica, &on.keys().api_key, "?by=key").await.rows[0].key.is_some());
}

#[tokio::test]
async fn tokens_and_cost_count_as_the_proxy_counted_them_and_an_agents_own_word_does_not() {
    let on = Installation::new(Loops::Off).await;
    let mut sql = on.sql().await;
    for (source, cause) in [("proxy", None), ("proxy", Some(Cause::WorkerLost)), ("agent", None)] {
        let attempt = AttemptId { job: submit(&on.client(), spec()).await.id, number: 1 };
        sqlx::query("update attempts set usage = jsonb_build_object('source', $2, 'input_tokens', 100, 'output_tokens', 10, 'cost_usd', 0.1) where job_id = $1")
            .bind(attempt.job.uuid())
            .bind(source)
            .execute(&mut sql)
            .await
            .unwrap();
        let mut tx = on.state().db.tenant(on.keys().org).await.unwrap();
        let end = match cause {
            Some(cause) => Transition::end(attempt, cause, None),
            None => Transition::to(attempt, State::Succeeded),
        };
        assert!(end.apply(&mut tx).await.unwrap().unwrap().applied);
        assert!(!end.apply(&mut tx).await.unwrap().unwrap().applied);
        tx.commit().await.unwrap();
    }
    let total = usage(&on.replica, &on.keys().api_key, "").await.total;
    assert_eq!((total.jobs, total.seconds, total.input_tokens, total.output_tokens), (3, 0, 200, 20));
    assert!((total.cost_usd - 0.2).abs() < 1e-9, "{total:?}");
}

#[tokio::test]
async fn what_is_no_month_or_nothing_to_tell_apart_by_is_refused() {
    let on = Installation::new(Loops::Off).await;
    for query in ["?month=2026-13", "?month=now", "?by=colour", "?week=1"] {
        let answer = get(&on.replica, &on.keys().api_key, &format!("/v1/usage{query}")).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{query}");
    }
    let nothing = usage(&on.replica, &on.keys().api_key, "?month=1999-01").await;
    assert_eq!((nothing.month.as_str(), nothing.rows.len(), nothing.total.jobs), ("1999-01", 0, 0));
}
