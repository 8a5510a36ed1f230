//! Projects by name.

use ckrv_types::identity::{Project, Role};
use ckrv_types::{Job, Page};

use super::Team;

#[tokio::test]
async fn a_project_is_made_set_and_shown_and_its_settings_hold() {
    let team = Team::new().await;
    let ada = team.member("ada", Role::Owner).await;
    let made: Project = team.says(&ada, &["project", "create", "web", "-o", "json"]).await.exits(0).json();
    let arguments = ["project", "set", "web", "--max-run", "1h", "--concurrency", "2"];
    team.says(&ada, &arguments).await.exits(0).prints(&["1h 0m", "2"]);
    let arguments = ["project", "set", "web", "--repository", "https://git.example.com/acme/*"];
    let set: Project = team.says(&ada, &[&arguments[..], &["-o", "json"]].concat()).await.exits(0).json();
    assert_eq!((set.settings.max_run_seconds, set.settings.concurrency), (Some(3600), Some(2)));
    let run = ["run", "--project", "web", "--repo", "https://git.example.com/other/x", "--", "true"];
    team.says(&ada, &run).await.exits(2);
    let unset = ["project", "set", "web", "--unset", "repository,max-run", "-o", "json"];
    let set: Project = team.says(&ada, &unset).await.exits(0).json();
    assert_eq!((set.settings.max_run_seconds, set.settings.concurrency), (None, Some(2)));
    assert_eq!(set.settings.repositories, Vec::<String>::new());
    let job = team.says(&ada, &run).await.exits(0).job();
    let job: Job = team.says(&ada, &["status", "-o", "json", &job.to_string()]).await.exits(0).json();
    assert_eq!(job.project, made.id);
    team.says(&ada, &["list", "--project", "web", "-o", "name"]).await.exits(0).prints(&[&job.id.to_string()]);
    let others: Page<Job> = team.says(&ada, &["list", "--project", "default", "-o", "json"]).await.exits(0).json();
    assert_eq!(others.items.len(), 0);
    team.says(&ada, &["list", "--project", "nope"]).await.exits(6).tells(&["no project `nope`", "ckrv project list"]);
}

#[tokio::test]
async fn a_profile_keeps_its_project_through_a_new_name() {
    let team = Team::new().await;
    let ada = team.member("ada", Role::Owner).await;
    let made: Project = team.says(&ada, &["project", "create", "web", "-o", "json"]).await.exits(0).json();
    team.says(&ada, &["profile", "project", "web"]).await.exits(0);
    team.says(&ada, &["project", "rename", "web", "site"]).await.exits(0).prints(&["site"]);
    let job = team.says(&ada, &["run", "--repo", "https://git.example.com/x", "--", "true"]).await.exits(0).job();
    let job: Job = team.says(&ada, &["status", "-o", "json", &job.to_string()]).await.exits(0).json();
    assert_eq!(job.project, made.id);
}

#[tokio::test]
async fn an_archived_project_is_read_and_takes_no_jobs() {
    let team = Team::new().await;
    let ada = team.member("ada", Role::Owner).await;
    team.says(&ada, &["project", "create", "web"]).await.exits(0);
    team.says(&ada, &["project", "archive", "web"]).await.exits(0).prints(&["archived"]);
    let run = ["run", "--project", "web", "--repo", "https://git.example.com/x", "--", "true"];
    team.says(&ada, &run).await.exits(1).tells(&["archived"]);
    team.says(&ada, &["project", "list"]).await.exits(0).prints(&["archived"]);
    team.says(&ada, &["project", "restore", "web"]).await.exits(0);
    team.says(&ada, &run).await.exits(0);
    team.says(&ada, &["project", "archive", "default"]).await.exits(1);
}
