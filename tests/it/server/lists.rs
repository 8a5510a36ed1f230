//! Lists of jobs: pages that miss and repeat nothing, and filters that combine.

use ckrv_client::ListJobs;
use ckrv_tests::replica::{Installation, Loops, spec, submit};
use ckrv_types::{JobId, JobSpec, State};

async fn ids(on: &Installation, list: &ListJobs) -> Vec<JobId> {
    on.client().jobs(list).await.unwrap().items.into_iter().map(|job| job.id).collect()
}

#[tokio::test]
async fn pages_show_each_job_once_newest_first_while_others_are_added_and_change() {
    let on = Installation::new(Loops::Off).await;
    let mut jobs = Vec::new();
    for _ in 0..7 {
        jobs.push(submit(&on.client(), spec()).await.id);
    }
    jobs.reverse();
    let mut seen = Vec::new();
    let mut list = ListJobs { limit: Some(3), ..ListJobs::default() };
    loop {
        let page = on.client().jobs(&list).await.unwrap();
        assert!(page.items.len() <= 3 && page.items.iter().all(|job| job.attempts.is_empty()));
        seen.extend(page.items.iter().map(|job| job.id));
        submit(&on.client(), spec()).await;
        on.client().cancel(seen[0]).await.unwrap();
        match page.next {
            Some(next) => list.cursor = Some(next),
            None => break,
        }
    }
    assert_eq!(seen, jobs);
}

#[tokio::test]
async fn filters_by_state_label_repository_and_project_combine() {
    let on = Installation::new(Loops::Off).await;
    let labels = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let with = |pairs| JobSpec { labels: labels(pairs), ..spec() };
    let plain = submit(&on.client(), with(&[])).await.id;
    let red = submit(&on.client(), with(&[("team", "red")])).await.id;
    let red_nightly = submit(&on.client(), with(&[("team", "red"), ("kind", "nightly")])).await.id;
    let elsewhere = JobSpec { repo: "git@example.com:team/other.git".into(), ..with(&[]) };
    let other = submit(&on.client(), elsewhere).await.id;
    on.client().cancel(red).await.unwrap();

    let all = ListJobs::default;
    let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(ids(&on, &ListJobs { labels: vec![label("team", "red")], ..all() }).await, [red_nightly, red]);
    let both = vec![label("team", "red"), label("kind", "nightly")];
    assert_eq!(ids(&on, &ListJobs { labels: both, ..all() }).await, [red_nightly]);
    assert_eq!(ids(&on, &ListJobs { states: vec![State::Cancelled], ..all() }).await, [red]);
    let either = vec![State::Cancelled, State::Queued];
    assert_eq!(ids(&on, &ListJobs { states: either, ..all() }).await, [other, red_nightly, red, plain]);
    // The repository is known by what it means, not by how it was written.
    for text in ["git@example.com:team/other.git", "ssh://git@example.com/team/other.git"] {
        assert_eq!(ids(&on, &ListJobs { repo: Some(text.into()), ..all() }).await, [other], "{text}");
    }
    assert_eq!(ids(&on, &ListJobs { repo: Some("nowhere".into()), ..all() }).await, []);
    assert_eq!(ids(&on, &ListJobs { project: Some(on.keys().project), ..all() }).await.len(), 4);
    assert_eq!(ids(&on, &ListJobs { project: Some(ckrv_types::ProjectId::new()), ..all() }).await, []);
    let combined = ListJobs { states: vec![State::Queued], labels: vec![label("team", "red")], ..all() };
    assert_eq!(ids(&on, &combined).await, [red_nightly]);
}
