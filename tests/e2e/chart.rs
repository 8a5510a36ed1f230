//! The chart before anything of it runs: Helm's own lint, the shapes of the API as kubeconform judges them, and a dry run by
//! the API server, each with little and with much set.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::cluster::{Jobs, cluster};
use crate::release::CHART;

async fn ran(program: &str, arguments: &[&str]) -> Output {
    let output = Command::new(program).args(arguments).output().await;
    output.unwrap_or_else(|error| panic!("{program}: {error}: is it in PATH?"))
}

#[track_caller]
fn good(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// The least that must be set, and as much as can be.
fn values() -> [Value; 3] {
    let least = json!({ "server": { "s3": { "endpoint": "https://s3.example.com" } } });
    let operator_alone = json!({
        "server": { "enabled": false },
        "operator": { "server": "https://ckrv.example.com", "egress": { "server": ["203.0.113.1/32:443"] } },
    });
    let much = json!({
        "images": { "registry": "registry.example.com/ckrv", "tag": "1.2.3", "pullSecrets": [{ "name": "pull" }] },
        "server": {
            "replicas": 3,
            "s3": { "endpoint": "https://s3.example.com", "publicEndpoint": "https://files.example.com",
                    "encryption": "AES256" },
            "ingress": { "enabled": true, "host": "ckrv.example.com", "className": "nginx", "tlsSecret": "tls",
                         "annotations": { "example.com/a": "b" } },
            "networkPolicy": {
                "from": [{ "namespaceSelector": { "matchLabels": { "name": "ingress" } } }],
                "metricsFrom": [{ "podSelector": { "matchLabels": { "app": "prometheus" } } }],
            },
            "allowPrivateRepos": true,
            "env": { "CKRV_LOG": "debug", "CKRV_LEASE_SECONDS": 30 },
            "nodeSelector": { "pool": "control" },
            "tolerations": [{ "key": "control", "operator": "Exists" }],
        },
        "operator": {
            "egress": { "s3": ["203.0.113.10/32:443"] },
            "closedCidrs": ["10.0.0.0/8"],
            "shimImages": ["registry.example.com/agents/*"],
            "env": { "CKRV_LOG": "debug" },
        },
        "classes": {
            "big": {
                "resources": { "requests": { "cpu": "4", "memory": "8Gi" }, "limits": { "memory": "16Gi" } },
                "egressCIDRs": ["0.0.0.0/0"],
                "secrets": ["model-keys"],
            },
        },
    });
    [least, operator_alone, much]
}

#[tokio::test]
async fn the_chart_passes_lint_kubeconform_and_a_dry_run_by_the_server() {
    let client = cluster().await;
    let jobs = Jobs::new(&client).await;
    let folder = TempDir::with_prefix("ckrv-test-chart-").expect("a temporary folder");
    schemas(&client, folder.path()).await;
    let location = format!("{}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json", folder.path().display());
    for (number, values) in values().iter().enumerate() {
        let file = folder.path().join(format!("values-{number}.yaml")).display().to_string();
        std::fs::write(&file, values.to_string()).expect("they can be written");
        good(&ran("helm", &["lint", "--strict", CHART, "--values", &file]).await);
        let rendered = ["template", "ckrv", CHART, "--namespace", &jobs.namespace, "--values", &file];
        let manifest = folder.path().join(format!("manifest-{number}.yaml")).display().to_string();
        std::fs::write(&manifest, good(&ran("helm", &rendered).await)).expect("it can be written");
        let said = good(&ran("kubeconform", &["-strict", "-summary", "-schema-location", &location, &manifest]).await);
        assert!(said.contains("Invalid: 0, Errors: 0, Skipped: 0"), "{said}");
        let dry =
            ["apply", "--server-side", "--dry-run=server", "--namespace", &jobs.namespace, "--filename", &manifest];
        good(&ran("kubectl", &dry).await);
    }
    // What does not fit is refused before anything is sent.
    let wrong = ran("helm", &["template", CHART, "--set", "server.replicas=many"]).await;
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(!wrong.status.success() && said.contains("replicas"), "{said}");
}

/// Writes what the API server says of its kinds as JSON schemas, one file each, in which nothing that is unknown may stand.
async fn schemas(client: &kube::Client, folder: &Path) {
    let request = axum::http::Request::get("/openapi/v2").body(Vec::new()).expect("it is a request");
    let document: Value = client.request(request).await.expect("the API server tells of its kinds");
    let mut definitions: BTreeMap<String, Value> =
        serde_json::from_value(document["definitions"].clone()).expect("definitions are a map");
    for definition in definitions.values_mut() {
        if definition.get("properties").is_some() && definition.get("additionalProperties").is_none() {
            definition["additionalProperties"] = Value::Bool(false);
        }
    }
    for (name, definition) in &mut definitions {
        // Either a number or a text (Kubernetes API conventions, "Primitive types").
        if name.ends_with("IntOrString") || name.ends_with("resource.Quantity") {
            *definition = json!({ "type": ["string", "number"] });
        }
    }
    let text =
        json!({ "definitions": definitions }).to_string().replace("#/definitions/", "_definitions.json#/definitions/");
    std::fs::write(folder.join("_definitions.json"), text).expect("it can be written");
    for (name, definition) in &definitions {
        for kind in definition["x-kubernetes-group-version-kind"].as_array().into_iter().flatten() {
            let part = |key: &str| kind[key].as_str().unwrap_or_default().to_lowercase();
            // kubeconform's "KindSuffix": the first label of the group, and the version.
            let group = part("group");
            let group = group.split('.').next().filter(|group| !group.is_empty());
            let suffix = group.map(|group| format!("-{group}")).unwrap_or_default();
            let file = format!("{}{suffix}-{}.json", part("kind"), part("version"));
            let schema = json!({ "$ref": format!("_definitions.json#/definitions/{name}") });
            std::fs::write(folder.join(file), schema.to_string()).expect("it can be written");
        }
    }
}
