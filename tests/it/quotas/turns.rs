//! Places: shared by weight among organizations that wait, and never more at once than tier and project allow.

use std::collections::BTreeMap;
use std::time::Duration;

use ckrv_client::runner::RunnerClient;
use ckrv_server::admission;
use ckrv_server::db::transition::Transition;
use ckrv_tests::replica::{Installation, Loops, beat, spec, submit};
use ckrv_types::identity::Bootstrapped;
use ckrv_types::job::SubmitJob;
use ckrv_types::runner::Assignment;
use ckrv_types::{JobId, JobSpec, OrgId, ProjectId, State};

use super::limit;

async fn assigned(runner: &RunnerClient) -> Vec<Assignment> {
    runner.assignments(Duration::ZERO, None).await.unwrap().items
}

async fn pass(on: &Installation, runner: &RunnerClient) -> Vec<Assignment> {
    admission::pass(on.state()).await.unwrap();
    assigned(runner).await
}

async fn end(on: &Installation, item: &Assignment) {
    let mut tx = on.state().db.tenant(item.org).await.unwrap();
    Transition::to(item.attempt, State::Succeeded).apply(&mut tx).await.unwrap();
    tx.commit().await.unwrap();
}

/// Two organizations of weight 1 and 3 with long queues, and a runner of the platform.
async fn contention(capacity: u32) -> (Installation, RunnerClient, Bootstrapped, Bootstrapped) {
    let on = Installation::new(Loops::Off).await;
    let (light, heavy) = (on.organization("light").await, on.organization("heavy").await);
    for (org, weight) in [(&light, 1), (&heavy, 3)] {
        limit(&on, org.org, "weight", Some(weight)).await;
        on.queue(org, 60, &spec()).await;
    }
    let (_, token) = on.platform_runner("shared").await;
    let runner = on.replica.runner(&token, capacity, &[]).await;
    (on, runner, light, heavy)
}

fn count(items: &[OrgId], org: &Bootstrapped) -> usize {
    items.iter().filter(|item| **item == org.org).count()
}

#[tokio::test]
async fn organizations_of_weight_1_and_3_have_places_as_1_to_3() {
    let (on, runner, light, heavy) = contention(8).await;
    let items: Vec<OrgId> = pass(&on, &runner).await.iter().map(|item| item.org).collect();
    assert_eq!((count(&items, &light), count(&items, &heavy)), (2, 6));
}

#[tokio::test]
async fn where_there_are_fewer_places_than_weights_they_come_to_them_as_1_to_3() {
    for capacity in [1, 2] {
        let (on, runner, light, heavy) = contention(capacity).await;
        let mut turns = Vec::new();
        while turns.len() < 24 {
            let items = pass(&on, &runner).await;
            let oldest = items.first().expect("somebody has the place");
            end(&on, oldest).await;
            turns.push(oldest.org);
        }
        let (light, heavy) = (count(&turns, &light), count(&turns, &heavy));
        assert!((5..=7).contains(&light) && light + heavy == 24, "{light} to {heavy} of {capacity} places");
    }
}

#[tokio::test]
async fn who_was_idle_has_saved_nothing_up() {
    let on = Installation::new(Loops::Off).await;
    let (busy, idle) = (on.organization("busy").await, on.organization("idle").await);
    on.queue(&busy, 40, &spec()).await;
    let (_, token) = on.platform_runner("shared").await;
    let runner = on.replica.runner(&token, 1, &[]).await;
    for _ in 0..20 {
        end(&on, &pass(&on, &runner).await[0]).await;
    }
    on.queue(&idle, 20, &spec()).await;
    let mut turns = Vec::new();
    for _ in 0..10 {
        let items = pass(&on, &runner).await;
        turns.push(items[0].org);
        end(&on, &items[0]).await;
    }
    assert_eq!((count(&turns, &busy), count(&turns, &idle)), (5, 5), "{turns:?}");
}

#[tokio::test]
async fn what_an_organization_does_on_its_own_runner_is_not_held_against_it_on_the_platforms() {
    let on = Installation::new(Loops::Off).await;
    let other = on.organization("other").await;
    let ours = on.keys();
    on.queue(ours, 60, &spec()).await;
    let own = on.runner(20).await;
    assert_eq!(pass(&on, &own).await.len(), 20);
    on.queue(&other, 40, &spec()).await;
    let (_, token) = on.platform_runner("shared").await;
    let shared = on.replica.runner(&token, 4, &[]).await;
    let items: Vec<OrgId> = pass(&on, &shared).await.iter().map(|item| item.org).collect();
    assert_eq!((count(&items, ours), count(&items, &other)), (2, 2));

    // Nor do its own jobs that come and go have others before it in turn.
    for item in assigned(&shared).await {
        end(&on, &item).await;
    }
    shared.heartbeat(&beat(1)).await.unwrap();
    let mut turns = Vec::new();
    while turns.len() < 10 {
        for item in assigned(&own).await {
            end(&on, &item).await;
        }
        on.queue(ours, 20, &spec()).await;
        let items = pass(&on, &shared).await;
        turns.push(items[0].org);
        end(&on, &items[0]).await;
    }
    assert_eq!((count(&turns, ours), count(&turns, &other)), (5, 5), "{turns:?}");
}

#[tokio::test]
async fn a_priority_puts_no_organization_before_another() {
    let on = Installation::new(Loops::Off).await;
    let other = on.organization("other").await;
    on.queue(on.keys(), 20, &JobSpec { priority: 100, ..spec() }).await;
    on.queue(&other, 20, &spec()).await;
    let (_, token) = on.platform_runner("shared").await;
    let runner = on.replica.runner(&token, 6, &[]).await;
    let items: Vec<OrgId> = pass(&on, &runner).await.iter().map(|item| item.org).collect();
    assert_eq!((count(&items, on.keys()), count(&items, &other)), (3, 3));
}

#[tokio::test]
async fn who_waits_for_what_a_runner_does_not_have_changes_nobodys_share_of_it() {
    let on = Installation::new(Loops::Off).await;
    let [small, large, elsewhere] =
        [on.organization("small").await, on.organization("large").await, on.organization("elsewhere").await];
    for (org, weight) in [(&small, 4), (&large, 8), (&elsewhere, 1)] {
        limit(&on, org.org, "weight", Some(weight)).await;
    }
    on.queue(&small, 20, &spec()).await;
    let (_, token) = on.platform_runner("shared").await;
    let runner = on.replica.runner(&token, 3, &[]).await;
    assert_eq!(pass(&on, &runner).await.len(), 3);
    on.queue(&elsewhere, 5, &JobSpec { class: Some("none".to_owned()), ..spec() }).await;
    on.queue(&large, 20, &spec()).await;
    runner.heartbeat(&beat(7)).await.unwrap();
    let items: Vec<OrgId> = pass(&on, &runner).await.iter().map(|item| item.org).collect();
    assert_eq!((count(&items, &small), count(&items, &large)), (3, 4));
}

#[tokio::test]
async fn jobs_beyond_the_concurrency_wait_and_are_told_why_with_the_numbers() {
    let on = Installation::new(Loops::Off).await;
    limit(&on, on.keys().org, "concurrent_jobs", Some(2)).await;
    let mut jobs = Vec::new();
    for _ in 0..4 {
        jobs.push(submit(&on.client(), spec()).await.id);
    }
    let runner = on.runner(10).await;
    let items = pass(&on, &runner).await;
    assert_eq!(items.len(), 2);
    let waits = on.client().explain(jobs[2]).await.unwrap();
    // It is the organization's own limit: the tier has none.
    assert!(waits.summary.contains("runs 2 of the 2 jobs at once that are its limit"), "{}", waits.summary);
    let queue = waits.queue.unwrap();
    assert_eq!((queue.position, queue.running, queue.concurrency), (1, 2, Some(2)));
    end(&on, &items[0]).await;
    assert_eq!(pass(&on, &runner).await.len(), 2);
    limit(&on, on.keys().org, "concurrent_jobs", None).await;
    assert_eq!(pass(&on, &runner).await.len(), 3);
}

#[tokio::test]
async fn a_projects_concurrency_holds_and_keeps_no_other_project_waiting() {
    let on = Installation::new(Loops::Off).await;
    let narrow = ProjectId::new();
    let mut sql = on.sql().await;
    sqlx::query(r#"insert into projects (id, org_id, name, settings) values ($1, $2, 'narrow', '{"concurrency": 2}')"#)
        .bind(narrow.uuid())
        .bind(on.keys().org.uuid())
        .execute(&mut sql)
        .await
        .unwrap();
    let mut projects: BTreeMap<JobId, ProjectId> = BTreeMap::new();
    for project in [narrow, narrow, narrow, narrow, on.keys().project, on.keys().project] {
        let job = on.client().submit(&SubmitJob { spec: spec(), project: Some(project) }).await.unwrap();
        projects.insert(job.id, project);
    }
    let runner = on.runner(10).await;
    for _ in 0..2 {
        let items = pass(&on, &runner).await;
        let of = |project| items.iter().filter(|item| projects[&item.attempt.job] == project).count();
        assert_eq!((of(narrow), of(on.keys().project)), (2, 2));
    }
    let items = assigned(&runner).await;
    let job = projects
        .iter()
        .find(|(job, project)| **project == narrow && items.iter().all(|item| item.attempt.job != **job))
        .map(|(job, _)| *job)
        .unwrap();
    let told = on.client().explain(job).await.unwrap();
    assert!(told.summary.contains("project `narrow` runs 2 of the 2"), "{}", told.summary);
    end(&on, items.iter().find(|item| projects[&item.attempt.job] == narrow).unwrap()).await;
    let items = pass(&on, &runner).await;
    assert_eq!(items.iter().filter(|item| projects[&item.attempt.job] == narrow).count(), 2);
}

#[tokio::test]
async fn a_runner_of_one_organization_is_given_nothing_of_others_whatever_their_ids() {
    let on = Installation::new(Loops::Off).await;
    for name in ["a", "b", "c", "d"] {
        let other = on.organization(name).await;
        on.queue(&other, 2, &spec()).await;
    }
    let runner = on.runner(10).await;
    assert_eq!(pass(&on, &runner).await.len(), 0);
    submit(&on.client(), spec()).await;
    assert_eq!(pass(&on, &runner).await.len(), 1);
}
