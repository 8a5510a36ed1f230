//! Keys and runners by the CLI: the token is shown once, and worth nothing after it was revoked.

use ckrv_tests::stack::{Options, Stack};

/// Makes one, uses its token as `is_good` does, revokes it.
async fn life(thing: &str, is_good: impl AsyncFn(&Stack, &str) -> bool) {
    let stack = Stack::with(Options { slots: 0, ..Options::default() }).await;
    let made = stack.says(&[thing, "create", "one"]).await.exits(0).tells(&["the token is shown this one time"]);
    let token = made.out.trim().to_owned();
    assert!(ckrv_types::token::parse(&token).is_ok(), "not a token alone: {token}");
    assert!(is_good(&stack, &token).await);

    let whole: serde_json::Value = stack.says(&[thing, "create", "two", "-o", "json"]).await.exits(0).json();
    assert!(whole["token"].is_string() && whole["name"] == "two", "{whole}");
    let id = stack.says(&[thing, "create", "three", "-o", "name"]).await.exits(0).out;
    assert!(stack.says(&[thing, "list", "-o", "name"]).await.exits(0).out.contains(&id));

    let listed: serde_json::Value = stack.says(&[thing, "list", "-o", "json"]).await.exits(0).json();
    let items = listed["items"].as_array().unwrap();
    let one = items.iter().find(|item| item["name"] == "one").unwrap()["id"].as_str().unwrap();
    assert!(!listed.to_string().contains("token"), "{listed}");
    stack.says(&[thing, "revoke", one]).await.exits(0).tells(&[&format!("{one} is revoked")]);
    assert!(!is_good(&stack, &token).await);
    stack.says(&[thing, "revoke", "nonsense"]).await.exits(6).tells(&[&format!("`ckrv {thing} list` shows them")]);
}

async fn is_accepted(stack: &Stack, request: reqwest::RequestBuilder, token: &str) -> bool {
    let status = request.bearer_auth(token).send().await.unwrap().status();
    assert!(status.is_success() || status == 401, "{status}\n{}", stack.log("server.log"));
    status.is_success()
}

#[tokio::test]
async fn a_keys_token_is_shown_once_and_dies_with_it() {
    life("key", async |stack, token| {
        let request = reqwest::Client::new().get(format!("{}/v1/whoami", stack.server_url()));
        is_accepted(stack, request, token).await
    })
    .await;
}

#[tokio::test]
async fn a_runners_token_is_shown_once_and_dies_with_it() {
    life("runner", async |stack, token| {
        let body = ckrv_types::runner::Register {
            instance: "a-machine".to_owned(),
            offer: ckrv_tests::replica::offer(1, &[]),
        };
        let request = reqwest::Client::new().post(format!("{}/v1/runner/register", stack.server_url())).json(&body);
        is_accepted(stack, request, token).await
    })
    .await;
}

#[tokio::test]
async fn a_runner_is_allowed_namespaces_at_its_making_and_later() {
    let stack = Stack::with(Options { slots: 0, ..Options::default() }).await;
    let project = stack.keys.project.to_string();
    let allowed = |namespace: &str| format!("{namespace}={project}");
    let made: serde_json::Value =
        stack.says(&["runner", "create", "c", "--allow", &allowed("builds"), "-o", "json"]).await.exits(0).json();
    assert_eq!(made["allow"], serde_json::json!({"builds": project}));
    let id = made["id"].as_str().unwrap();
    assert!(stack.says(&["runner", "list"]).await.exits(0).out.contains(&allowed("builds")));
    let shown = stack.says(&["runner", "allow", id, &allowed("*"), &allowed("ci")]).await.exits(0).out;
    assert!(shown.contains(&allowed("*")) && shown.contains(&allowed("ci")) && !shown.contains("builds"), "{shown}");
    let none: serde_json::Value = stack.says(&["runner", "allow", id, "-o", "json"]).await.exits(0).json();
    assert!(none["items"][0]["allow"].is_null(), "{none}");
    stack.says(&["runner", "allow", id, "builds"]).await.exits(2).tells(&["NAMESPACE=PROJECT"]);
    let unknown = format!("builds={}", ckrv_types::ProjectId::new());
    stack.says(&["runner", "allow", id, &unknown]).await.exits(2).tells(&["there is no such project"]);
}
