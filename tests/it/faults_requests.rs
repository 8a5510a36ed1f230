//! Requests that break rules, carry too much, come twice, or come from nobody: each has one clear answer.

use ckrv_server::auth::tokens;
use ckrv_tests::repo::Repo;
use ckrv_tests::stack::{Options, Stack, free_address};
use ckrv_types::limits::{BODY_BYTES, PROMPT_BYTES};
use ckrv_types::token::TokenKind;
use ckrv_types::{Job, JobId, KeyId, OrgId, Page, Problem, ProblemCode, ProjectId, Secret};
use futures::future::join_all;
use reqwest::RequestBuilder;
use serde_json::json;
use sqlx::{Connection as _, PgConnection};
use tokio::io::AsyncWriteExt as _;

const JSON: (&str, &str) = ("content-type", "application/json");

/// A server alone: nothing here needs a runner.
async fn server() -> Stack {
    Stack::with(Options { slots: 0, ..Options::default() }).await
}

/// `POST /v1/jobs` as the stack's own key.
fn post(stack: &Stack) -> RequestBuilder {
    let url = format!("{}/v1/jobs", stack.server_url());
    reqwest::Client::new().post(url).bearer_auth(stack.keys.api_key.expose())
}

/// A body that is accepted.
fn good() -> String {
    json!({"spec": {"repo": "https://example.com/team/app", "command": ["true"]}}).to_string()
}

/// The problem that a request is answered with.
async fn problem(request: RequestBuilder) -> Problem {
    let answer = request.send().await.expect("the server answers");
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let text = answer.text().await.unwrap();
    assert_eq!(headers["content-type"], "application/problem+json", "{text}");
    let problem: Problem = serde_json::from_str(&text).unwrap();
    assert_eq!((problem.status, problem.code.status()), (status, status), "{text}");
    assert_eq!(problem.request_id.as_deref(), headers["x-request-id"].to_str().ok(), "{text}");
    problem
}

async fn jobs(stack: &Stack) -> Vec<Job> {
    let page: Page<Job> = stack.says(&["list", "-o", "json"]).await.exits(0).json();
    page.items
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_and_one_at_the_limit_is_read() {
    let stack = server().await;
    let padded = |bytes: usize| format!("{}{}", good(), " ".repeat(bytes - good().len()));
    let at_limit = post(&stack).header(JSON.0, JSON.1).body(padded(BODY_BYTES)).send().await.unwrap();
    assert_eq!(at_limit.status().as_u16(), 201);
    let refused = problem(post(&stack).header(JSON.0, JSON.1).body(padded(BODY_BYTES + 1))).await;
    assert_eq!(refused.code, ProblemCode::TooLarge);
    // Without a length it is found out while it comes.
    let pieces = futures::stream::iter((0..40).map(|_| Ok::<_, std::io::Error>(vec![b' '; 64 * 1024])));
    let refused = problem(post(&stack).header(JSON.0, JSON.1).body(reqwest::Body::wrap_stream(pieces))).await;
    assert_eq!(refused.code, ProblemCode::TooLarge);
    assert_eq!(jobs(&stack).await.len(), 1);
}

#[tokio::test]
async fn a_key_that_is_used_again_with_another_body_is_refused() {
    let stack = server().await;
    let send = |body: String| post(&stack).header(JSON.0, JSON.1).header("idempotency-key", "nightly-1").body(body);
    let first: Job = send(good()).send().await.unwrap().json().await.unwrap();
    let again = send(good()).send().await.unwrap();
    assert_eq!(again.status().as_u16(), 201);
    assert_eq!(again.json::<Job>().await.unwrap(), first, "the first answer is given again");
    let refused = problem(send(good().replace("true", "false"))).await;
    assert_eq!(refused.code, ProblemCode::IdempotencyMismatch);
    assert!(refused.hint.unwrap().contains("new key"));
    assert_eq!(jobs(&stack).await.len(), 1);
}

#[tokio::test]
async fn a_request_that_comes_many_times_at_once_makes_one_job() {
    let stack = server().await;
    let send = async || {
        let request = post(&stack).header(JSON.0, JSON.1).header("idempotency-key", "ci-42").body(good());
        let answer = request.send().await.unwrap();
        let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
        if status == 201 {
            return Some(serde_json::from_str::<Job>(&text).unwrap().id);
        }
        let problem: Problem = serde_json::from_str(&text).unwrap();
        assert_eq!((problem.code, problem.retryable), (ProblemCode::IdempotencyInProgress, true), "{text}");
        None
    };
    let answers = join_all((0..16).map(|_| send())).await;
    let mut ids: Vec<JobId> = answers.into_iter().flatten().collect();
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert_eq!(send().await, Some(ids[0]));
    let all = jobs(&stack).await;
    assert_eq!(all.iter().map(|job| job.id).collect::<Vec<_>>(), ids);
}

#[tokio::test]
async fn a_field_that_is_not_known_is_named() {
    let stack = server().await;
    for (body, field) in [
        (json!({"spec": {"repo": "https://example.com/a", "command": ["x"], "promt": "x"}}), "spec.promt"),
        (json!({"spec": {"repo": "https://example.com/a", "limits": {"rum": 1}}}), "spec.limits.rum"),
        (json!({"spec": {"repo": "https://example.com/a"}, "porject": null}), "porject"),
        (json!({"spec": {"repo": 7}}), "spec.repo"),
        (json!({"spec": {"command": ["x"]}}), "spec"),
    ] {
        let refused = problem(post(&stack).json(&body)).await;
        assert_eq!(refused.code, ProblemCode::Invalid);
        let fields: Vec<&str> = refused.errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(fields, [field], "{refused:?}");
    }
}

#[tokio::test]
async fn a_list_is_not_taken_for_an_object() {
    let stack = server().await;
    let spec = json!(["https://example.com/a", null, "command", null, ["true"]]);
    for body in [json!([{"repo": "https://example.com/a", "command": ["true"]}]), json!([spec]), json!({"spec": spec})]
    {
        assert_eq!(problem(post(&stack).json(&body)).await.code, ProblemCode::Invalid, "{body}");
    }
    assert_eq!(jobs(&stack).await, []);
}

#[tokio::test]
async fn every_broken_rule_is_named_at_once() {
    let stack = server().await;
    let spec = json!({"repo": "ext::x", "branch": "-x", "agent": "A", "env": {"CKRV_X": "1"}, "priority": 1000});
    let refused = problem(post(&stack).json(&json!({"spec": spec}))).await;
    let fields: Vec<&str> = refused.errors.iter().map(|error| error.field.as_str()).collect();
    for field in ["spec.repo", "spec.branch", "spec.agent", "spec.env", "spec.priority"] {
        assert!(fields.contains(&field), "{field} is not in {fields:?}");
    }
}

#[tokio::test]
async fn what_is_no_json_is_told_apart_from_another_media_type() {
    let stack = server().await;
    for body in ["", "{", "nonsense", "{\"spec\": ", &format!("{} x", good())] {
        let refused = problem(post(&stack).header(JSON.0, JSON.1).body(body.to_owned())).await;
        assert_eq!(refused.code, ProblemCode::BadRequest, "{refused:?}");
    }
    // However deep it is.
    let deep = format!("{{\"spec\": {}", "{\"env\": ".repeat(100_000));
    let refused = problem(post(&stack).header(JSON.0, JSON.1).body(deep)).await;
    assert!(matches!(refused.code, ProblemCode::BadRequest | ProblemCode::Invalid), "{refused:?}");
    for media_type in ["text/plain", "application/x-www-form-urlencoded", "application/yaml", "application/jsonx"] {
        let refused = problem(post(&stack).header("content-type", media_type).body(good())).await;
        assert_eq!(refused.code, ProblemCode::UnsupportedMediaType);
        assert!(refused.detail.unwrap().contains("application/json"));
    }
    let refused = problem(post(&stack).body(good())).await;
    assert_eq!(refused.code, ProblemCode::UnsupportedMediaType);
    let with_charset = post(&stack).header("content-type", "application/json; charset=utf-8").body(good());
    assert_eq!(with_charset.send().await.unwrap().status().as_u16(), 201);
}

#[tokio::test]
async fn a_path_or_method_that_is_not_there_is_a_problem_too() {
    let stack = server().await;
    let http = reqwest::Client::new();
    let refused = problem(http.get(format!("{}/v1/nothing", stack.server_url()))).await;
    assert_eq!(refused.code, ProblemCode::NotFound);
    let refused = problem(http.put(format!("{}/v1/jobs", stack.server_url())).body("x")).await;
    assert_eq!(refused.code, ProblemCode::MethodNotAllowed);
}

#[tokio::test]
async fn the_job_of_another_organization_is_not_found_just_like_one_that_cannot_be() {
    let stack = server().await;
    let job = stack.says(&["run", "--repo", "https://example.com/a", "--", "true"]).await.exits(0).job().to_string();
    let stranger = another_organization(&stack).await;
    let never_made = JobId::new().to_string();
    let says = async |id: &str, arguments: &[&str]| {
        let mut command = stack.ckrv_command(arguments);
        let command = command.arg(id).env("CKRV_TOKEN", stranger.expose()).current_dir(stack.home.path());
        ckrv_tests::cli::Said::new(arguments, command.output().await.unwrap())
    };
    for arguments in [
        &["status"][..],
        &["logs"],
        &["logs", "-f"],
        &["cancel"],
        &["retry"],
        &["explain"],
        &["pull", "--output", "out"],
    ] {
        let [foreign, missing, impossible] = [
            says(&job, arguments).await.exits(6),
            says(&never_made, arguments).await.exits(6),
            says("job-1", arguments).await.exits(6),
        ];
        // Nothing tells the two apart.
        let without_ids = |said: &ckrv_tests::cli::Said, id: &str| {
            let lines = said.err.lines().filter(|line| !line.starts_with("request-id:"));
            lines.map(|line| line.replace(id, "ID")).collect::<Vec<_>>()
        };
        assert_eq!(without_ids(&foreign, &job), without_ids(&missing, &never_made));
        impossible.tells(&["error: ", "job-1"]);
    }
    let seen: Page<Job> = says("json", &["list", "-o"]).await.exits(0).json();
    assert_eq!(seen.items, []);
    assert_eq!(jobs(&stack).await.len(), 1, "a stranger's retry or cancel reached it");
}

/// A second organization of the same installation; its API key.
async fn another_organization(stack: &Stack) -> Secret {
    let (org, project, key) = (OrgId::new(), ProjectId::new(), KeyId::new());
    let api_key = tokens::random(TokenKind::Live, key);
    let mut connection = PgConnection::connect(stack.urls().system.expose()).await.unwrap();
    let org_id = org.uuid();
    for insert in [
        sqlx::query("insert into orgs (id, name) values ($1, 'strangers')").bind(org_id),
        sqlx::query("insert into projects (id, org_id, name) values ($2, $1, 'default')")
            .bind(org_id)
            .bind(project.uuid()),
        sqlx::query(
            "with s as (insert into service_accounts (id, org_id, name, role)
                        values (gen_random_uuid(), $1, 'theirs', 'owner') returning id)
             insert into api_keys (id, org_id, service_account_id, name, token_hash) select $2, $1, id, 'theirs', $3 from s",
        )
            .bind(org_id)
            .bind(key.uuid())
            .bind(tokens::hash(api_key.expose())),
    ] {
        insert.execute(&mut connection).await.unwrap();
    }
    api_key
}

#[tokio::test]
async fn a_token_that_is_not_good_ends_with_4_and_is_not_repeated() {
    let stack = server().await;
    let stranger = tokens::random(TokenKind::Live, KeyId::new());
    let (rest, last) = stack.keys.api_key.expose().split_at(stack.keys.api_key.expose().len() - 1);
    let mistyped = format!("{rest}{}", if last == "0" { "1" } else { "0" });
    for token in [stranger.expose(), &mistyped, stack.keys.runner_token.expose(), "hunter2", "with space"] {
        let mut command = stack.ckrv_command(&["list"]);
        let output = command.env("CKRV_TOKEN", token).output().await.unwrap();
        let said = ckrv_tests::cli::Said::new(&["list"], output).exits(4).tells(&["error: ", "hint: "]);
        assert!(!said.err.contains(token), "{said}");
        let http = reqwest::Client::new().get(format!("{}/v1/jobs", stack.server_url()));
        let refused = problem(http.bearer_auth(token)).await;
        assert_eq!(refused.code, ProblemCode::Unauthenticated);
    }
    let anonymous = problem(reqwest::Client::new().get(format!("{}/v1/jobs", stack.server_url()))).await;
    assert_eq!(anonymous.code, ProblemCode::Unauthenticated);
    let mut command = stack.ckrv_command(&["list"]);
    let output = command.env_remove("CKRV_TOKEN").output().await.unwrap();
    ckrv_tests::cli::Said::new(&["list"], output).exits(4).tells(&["no token", "CKRV_TOKEN"]);
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_ends_with_7_after_the_retry_limit() {
    let stack = server().await;
    let server = format!("http://{}", free_address());
    let started = std::time::Instant::now();
    for arguments in [
        &["list"][..],
        &["run", "--repo", "https://example.com/a", "--", "true"],
        &["status", &JobId::new().to_string()],
    ] {
        let arguments = [&["--server", &server, "--retry-limit", "1s"], arguments].concat();
        let said = stack.says(&arguments).await.exits(7);
        said.tells(&[
            &format!("error: cannot reach {server}"),
            "cause: ",
            "hint: is the address right, and the server running?",
        ]);
    }
    assert!(started.elapsed().as_secs() < 15, "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_prompt_at_the_limit_reaches_the_agent_and_one_byte_more_is_an_error() {
    let agents = tempfile::TempDir::new().unwrap();
    let list = agents.path().join("agents.yaml");
    let reader = "agents:\n  reader:\n    argv: [sh, -c, 'cat > prompt.txt; wc -c < prompt.txt']\n    prompt: stdin\n    output: text\n";
    std::fs::write(&list, reader).unwrap();
    let runner = vec![("CKRV_AGENTS", list.display().to_string())];
    let (stack, repo) = (Stack::with(Options { runner, ..Options::default() }).await, Repo::new());
    // Ends without a line's end, and not on a multiple of anything.
    let mut prompt = "Do it well.\n".repeat(PROMPT_BYTES / 12);
    prompt.push_str(&"x".repeat(PROMPT_BYTES - prompt.len()));

    let says = async |prompt: String| {
        let arguments = ["run", "--wait", "--repo", &repo.url(), "--agent", "reader", "--prompt", "-"];
        let mut command = stack.ckrv_command(&arguments);
        let pipe = std::process::Stdio::piped;
        let mut child = command.stdin(pipe()).stdout(pipe()).stderr(pipe()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(prompt.as_bytes()).await.unwrap();
        drop(stdin);
        ckrv_tests::cli::Said::new(&arguments, child.wait_with_output().await.unwrap())
    };
    let said = says(prompt.clone()).await.exits(0);
    stack.logs(said.job()).await.prints(&[&format!("{PROMPT_BYTES}\n")]);
    assert!(stack.pull(&repo, said.job()).await.file("prompt.txt") == prompt, "the prompt came otherwise");
    says(format!("{prompt}x")).await.exits(2).tells(&["cause: prompt: at most 256 KiB"]);
}
