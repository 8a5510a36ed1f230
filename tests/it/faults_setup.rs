//! A repository that cannot be had: the job ends before its agent runs, and says what to do.

use ckrv_tests::cli::Said;
use ckrv_tests::refusing::{Refusing, Silent, repository_at};
use ckrv_tests::repo::{Repo, git};
use ckrv_tests::stack::{Options, Stack, free_address, restrict};
use ckrv_types::{Job, Page, State};
use serde_json::json;
use tempfile::TempDir;

/// Runs a job that must not come to its agent.
async fn setup_fails(stack: &Stack, repo: &str, options: &[&str], cause: &str) -> Said {
    let said = stack.wait(repo, options, "echo the agent ran").await.exits(1).tells(&[&format!("cause: {cause}: ")]);
    let job = stack.status(said.job()).await;
    assert_eq!((job.state, job.attempts.len()), (State::Failed, 1), "it was tried again: {said}");
    assert_eq!(job.attempts[0].running_at, None, "{said}");
    let log = stack.logs(job.id).await;
    assert!(!log.out.contains("the agent ran"), "{log}");
    said
}

#[tokio::test]
async fn an_unknown_branch_is_named_with_those_that_are_like_it() {
    let (stack, repo) = (Stack::start().await, Repo::new());
    git(repo.path(), &["branch", "release-1.0"]);
    git(repo.path(), &["branch", "wip"]);
    let said = setup_fails(&stack, &repo.url(), &["--branch", "mian"], "setup:branch").await;
    let said = said.tells(&["no branch `mian`; it has `main`", "`wip`", "`release-1.0`", "hint: ", "git ls-remote"]);
    let told = stack.says(&["explain", &said.job().to_string()]).await.exits(0);
    told.prints(&["setup:branch", "no branch `mian`", "check the branch's name"]);
}

#[tokio::test]
async fn a_host_that_nobody_listens_on_is_told_as_unreachable() {
    let stack = Stack::start().await;
    let said = setup_fails(&stack, &repository_at(free_address()), &[], "setup:clone").await;
    said.tells(&["could not reach 127.0.0.1", "hint: check the repository's URL"]);
}

#[tokio::test]
async fn a_host_that_refuses_is_told_by_what_it_answered() {
    let stack = Stack::start().await;
    for (status, cause, texts) in [
        (
            401,
            "setup:credential",
            ["127.0.0.1 wants a login", "give the organization or the runner a credential for 127.0.0.1"],
        ),
        (403, "setup:credential", ["127.0.0.1 wants a login", "403"]),
        (404, "setup:clone", ["no git repository at that URL", "check its spelling"]),
    ] {
        let host = Refusing::start(status, ("www-authenticate", "Basic realm=\"git\"")).await;
        setup_fails(&stack, &host.url(), &[], cause).await.tells(&texts);
        assert!(host.asked() > 0);
    }
}

#[tokio::test]
async fn a_credential_that_is_refused_is_named_and_never_shown() {
    let folder = TempDir::new().unwrap();
    let secrets = folder.path().join("secrets.yaml");
    std::fs::write(&secrets, "forge:\n  git: {host: 127.0.0.1, username: bot, token: hunter2-of-the-forge}\n").unwrap();
    restrict(&secrets);
    let runner = vec![("CKRV_SECRETS", secrets.display().to_string())];
    let stack = Stack::with(Options { runner, ..Options::default() }).await;
    let host = Refusing::start(401, ("www-authenticate", "Basic realm=\"git\"")).await;
    let said = setup_fails(&stack, &host.url(), &[], "setup:credential").await;
    let said = said.tells(&["127.0.0.1 refused the credential `forge`", "check that it is still valid"]);
    let log = stack.logs(said.job()).await;
    for text in [&said.err, &log.out, &log.err, &stack.log("server.log"), &stack.log("runner.log")] {
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[tokio::test]
async fn a_redirect_to_another_host_is_not_followed() {
    let stack = Stack::start().await;
    let elsewhere = Refusing::start(200, ("content-type", "application/x-git-upload-pack-advertisement")).await;
    let target = format!("{}/info/refs?service=git-upload-pack", elsewhere.url());
    for status in [301, 302, 307, 308] {
        let host = Refusing::start(status, ("location", &target)).await;
        setup_fails(&stack, &host.url(), &[], "setup:clone").await.tells(&["127.0.0.1 redirects to another address"]);
        assert!(host.asked() > 0);
    }
    assert_eq!(elsewhere.asked(), 0, "the redirect was followed");
}

#[tokio::test]
async fn a_host_that_never_answers_is_given_up_at_the_start_limit() {
    let (stack, host) = (Stack::start().await, Silent::start());
    let said = setup_fails(&stack, &host.url(), &["--start-limit", "2s"], "setup:clone").await;
    let said = said.tells(&["cloning was not done within 2 s", "too large for the start limit, or its host too slow"]);
    let job = stack.status(said.job()).await;
    let took = job.finished_at.unwrap() - job.created_at;
    assert!(took.as_seconds_f64() < 20.0, "it took {took}");
}

#[tokio::test]
async fn an_empty_repository_is_told_as_such() {
    let (stack, folder) = (Stack::start().await, TempDir::new().unwrap());
    git(folder.path(), &["init", "--quiet", "--bare", "."]);
    for branch in [&[][..], &["--branch", "main"]] {
        let said = setup_fails(&stack, &folder.path().display().to_string(), branch, "setup:clone").await;
        said.tells(&["the repository is empty: push a first commit"]);
    }
}

#[tokio::test]
async fn a_path_without_a_repository_is_told_as_such() {
    let (stack, folder) = (Stack::start().await, TempDir::new().unwrap());
    let said = setup_fails(&stack, &folder.path().display().to_string(), &[], "setup:clone").await;
    said.tells(&["no git repository at that URL"]);
}

#[tokio::test]
async fn a_malformed_url_is_refused_before_anything_is_sent() {
    let stack = Stack::with(Options { slots: 0, ..Options::default() }).await;
    // Where nobody listens: what is sent in spite of all ends with another exit code.
    let server = format!("http://{}", free_address());
    for (repo, why) in [
        ("ext::sh -c touch% /tmp/x", "white space"),
        ("ext::https://example.com/x", "scheme `ext::` is not allowed"),
        ("git://example.com/x", "scheme `git` is not allowed"),
        ("--upload-pack=touch /tmp/x", "white space"),
        ("--upload-pack=x", "must not begin with `-`"),
        ("https://user:hunter2@example.com/x", "must not contain a user name or password"),
        ("https://example.com", "needs the repository's path"),
        ("https://example.com/x?y=z", "must not have a query"),
        ("https://example.com/../x y", "white space"),
        ("example.com/x", "is not a URL that git can clone"),
    ] {
        let repo = format!("--repo={repo}");
        let said = stack.says(&["--server", &server, "run", &repo, "--", "true"]).await.exits(2);
        let said = said.tells(&["error: the job breaks rules", "cause: repo: ", why, "hint: "]);
        assert!(!said.err.contains("hunter2"), "{said}");
        assert_eq!(said.out, "");
    }
}

#[tokio::test]
async fn the_server_refuses_every_url_of_the_corpus_by_field() {
    let server = vec![("CKRV_ALLOW_LOCAL_REPOS", "false".to_owned())];
    let stack = Stack::with(Options { slots: 0, server, ..Options::default() }).await;
    let corpus = include_str!("../../crates/ckrv-types/testdata/refused-repo-urls.txt");
    let cases: Vec<&str> = corpus.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    assert!(cases.len() >= 60);
    let http = reqwest::Client::new();
    for case in cases {
        let escapes = [("\\n", "\n"), ("\\t", "\t"), ("\\0", "\0"), ("\\e", "\x1b"), ("\\r", "\r")];
        let repo = escapes.iter().fold(case.to_owned(), |text, (escape, meant)| text.replace(escape, meant));
        let body = json!({"spec": {"repo": repo, "command": ["true"]}});
        let request = http.post(format!("{}/v1/jobs", stack.server_url())).bearer_auth(stack.keys.api_key.expose());
        let answer = request.json(&body).send().await.unwrap();
        let status = answer.status().as_u16();
        let problem: ckrv_types::Problem = answer.json().await.unwrap();
        assert_eq!((status, problem.code.as_str()), (422, "invalid"), "{repo:?}: {problem:?}");
        let fields: Vec<&str> = problem.errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(fields, ["spec.repo"], "{repo:?}: {problem:?}");
        assert!(!format!("{problem:?}").contains("hunter2"), "{problem:?}");
    }
    let jobs: Page<Job> = stack.says(&["list", "-o", "json"]).await.exits(0).json();
    assert_eq!(jobs.items, []);
}

#[tokio::test]
async fn what_only_the_server_can_refuse_is_told_with_its_reason() {
    let server = vec![("CKRV_ALLOW_LOCAL_REPOS", "false".to_owned())];
    let stack = Stack::with(Options { slots: 0, server, ..Options::default() }).await;
    let said = stack.says(&["run", "--repo", "https://127.0.0.1/team/app", "--", "true"]).await.exits(2);
    said.tells(&["error: ", "cause: spec.repo: `127.0.0.1` is not a public address", "request-id: "]);
}

#[tokio::test]
async fn a_runner_that_is_stricter_than_the_server_says_so() {
    let runner = vec![("CKRV_ALLOW_LOCAL_REPOS", "false".to_owned())];
    let (stack, repo) = (Stack::with(Options { runner, ..Options::default() }).await, Repo::new());
    let said = setup_fails(&stack, &repo.url(), &[], "setup:url").await;
    said.tells(&["this runner does not clone", "hint: use an https:// or ssh:// URL of a public address"]);
}
