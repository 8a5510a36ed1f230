//! schemathesis reads the contract, not the code, and sends what the contract allows and what it does not.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use ckrv_tests::repo::Repo;
use ckrv_tests::stack::{Options, Stack};

use crate::tools;

const VERSION: &str = "4.32.5";

#[tokio::test(flavor = "multi_thread")]
async fn schemathesis_finds_no_server_error_and_nothing_undocumented() {
    let unlimited = |name| (name, "1000000".to_owned());
    let server = vec![unlimited("CKRV_RATE_PER_ADDRESS"), unlimited("CKRV_RATE_PER_KEY")];
    let stack = Stack::with(Options { server, ..Options::default() }).await;
    let repo = Repo::new();
    stack.ckrv(&["run", "--repo", &repo.url(), "--wait", "--", "true"]).await;

    let program = tools::python("schemathesis", VERSION, "schemathesis");
    let contract = Path::new(env!("CARGO_MANIFEST_DIR")).join("../contracts/cloud-api.yaml");
    let run = tokio::process::Command::new(program)
        .arg("run")
        .arg(contract)
        .args(["--url", &stack.server_url()])
        .args(["--header", &format!("Authorization: Bearer {}", stack.keys.api_key.expose())])
        // Some rules (what may be a repository, which fields go together) are told by `invalid` and not by the schema.
        .args(["--checks", "all", "--exclude-checks", "positive_data_acceptance"])
        .args(["--max-examples", "25", "--request-timeout", "20", "--workers", "2", "--seed", "7"])
        // Revoking the key in use would end the run; frames of zstd are beyond what it can make up.
        .args(["--exclude-operation-id", "revokeKey", "--exclude-operation-id", "appendLog"])
        .current_dir(stack.home.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(Duration::from_mins(9), run).await.expect("it ends in time").expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", stack.log("server.log"));
}
