//! A model key of the vault, by the whole path: the proxy has it, the agent has not.

use ckrv_tests::model::{ModelServer, Turn};
use ckrv_tests::repo::Repo;
use ckrv_tests::stack::{Options, Stack};
use serde_json::json;

use super::Api;

const KEY: &str = "sk-ant-the-key-of-the-organization";
/// An agent whose prompt is a shell script, and which has a model.
const AGENTS: &str = r#"agents: {script: {argv: [sh, -c, "{prompt}"], provider: anthropic}}"#;

#[tokio::test]
async fn an_agents_model_is_reached_with_the_organizations_key_which_the_agent_does_not_have() {
    let model = ModelServer::start(KEY, vec![Turn::new().text("hello"); 2]).await;
    let (repo, folder) = (Repo::new(), tempfile::TempDir::new().unwrap());
    let agents = folder.path().join("agents.yaml");
    std::fs::write(&agents, AGENTS).unwrap();
    let runner = vec![("CKRV_AGENTS", agents.display().to_string())];
    let stack = Stack::with(Options { runner, ..Options::default() }).await;
    let api = Api::new(stack.server_url().parse().unwrap(), &stack.keys.api_key);
    let body = json!({"model": "claude-opus-4-8", "max_tokens": 10, "messages": []});
    let script = format!(
        "env; curl --silent --show-error --fail --header \"x-api-key: $ANTHROPIC_API_KEY\" --json '{body}' \
         \"$ANTHROPIC_BASE_URL/v1/messages\""
    );
    let repo = repo.url();
    let run = ["run", "--repo", &repo, "--wait", "--agent", "script", "--prompt", &script];
    let said = stack.says(&run).await.exits(1);
    said.tells(&[
        "cause: setup:secret: ",
        "neither the organization nor this runner has one",
        "ckrv cloud credentials",
    ]);

    let key = json!({"name": "claude", "kind": "model_key", "host": model.url(), "secret": KEY});
    let made = api.create(&key).await.credential();
    let said = stack.says(&run).await.exits(0);
    let log = stack.logs(said.job()).await.prints(&["hello", "ANTHROPIC_API_KEY="]);
    assert_eq!(model.asked().len(), 1);
    for text in [&said.err, &log.out, &log.err, &stack.log("server.log"), &stack.log("runner.log")] {
        assert!(!text.contains(KEY), "{text}");
    }
    api.replace(&made, "sk-ant-another-key-altogether").await.credential();
    stack.says(&run).await.exits(1);
}
