//! The rules of ARCHITECTURE.md that a compiler does not check.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Normal (not dev, not build) dependencies of every package in the graph, by name.
struct Graph(BTreeMap<String, BTreeSet<String>>);

impl Graph {
    fn read() -> Self {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
        let output = Command::new(env!("CARGO"))
            .args(["metadata", "--format-version", "1", "--locked", "--manifest-path"])
            .arg(manifest)
            .output()
            .expect("cargo runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
        let names: BTreeMap<&str, &str> =
            list(&metadata["packages"]).iter().map(|package| (text(&package["id"]), text(&package["name"]))).collect();
        let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for node in list(&metadata["resolve"]["nodes"]) {
            let targets = edges.entry(names[text(&node["id"])].to_owned()).or_default();
            for dependency in list(&node["deps"]) {
                if list(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"].is_null()) {
                    targets.insert(names[text(&dependency["pkg"])].to_owned());
                }
            }
        }
        Self(edges)
    }

    fn reachable(&self, from: &str) -> BTreeSet<String> {
        let mut seen = BTreeSet::new();
        let mut todo = vec![from.to_owned()];
        while let Some(name) = todo.pop() {
            for next in self.0.get(&name).into_iter().flatten() {
                if seen.insert(next.clone()) {
                    todo.push(next.clone());
                }
            }
        }
        seen
    }

    fn ours(&self, from: &str) -> BTreeSet<String> {
        self.0[from].iter().filter(|name| name.starts_with("ckrv-")).cloned().collect()
    }
}

fn list(value: &Value) -> &Vec<Value> {
    value.as_array().expect("an array")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

#[test]
fn crates_depend_on_each_other_only_in_the_directions_of_the_architecture() {
    let graph = Graph::read();
    let expected = [
        ("ckrv-types", set(&[])),
        ("ckrv-client", set(&["ckrv-types"])),
        ("ckrv-server", set(&["ckrv-types"])),
        ("ckrv-worker", set(&["ckrv-types", "ckrv-client"])),
        ("ckrv-operator", set(&["ckrv-types", "ckrv-client"])),
        ("ckrv-cli", set(&["ckrv-types", "ckrv-client"])),
    ];
    for (name, allowed) in expected {
        let extra: Vec<_> = graph.ours(name).difference(&allowed).cloned().collect();
        assert!(extra.is_empty(), "{name} must not depend on {extra:?}");
    }
}

#[test]
fn no_crate_reaches_a_library_that_is_not_its_business() {
    let graph = Graph::read();
    let forbidden = [
        ("ckrv-types", &["tokio", "reqwest", "sqlx", "axum", "kube"][..]),
        ("ckrv-client", &["sqlx", "axum", "kube", "aws-sdk-s3"]),
        ("ckrv-cli", &["sqlx", "kube", "aws-sdk-s3", "postgresql_embedded"]),
        ("ckrv-worker", &["sqlx", "kube", "aws-sdk-s3", "postgresql_embedded"]),
        ("ckrv-operator", &["sqlx", "aws-sdk-s3", "postgresql_embedded", "s3s"]),
        ("ckrv-server", &["kube", "postgresql_embedded", "s3s"]),
    ];
    for (name, libraries) in forbidden {
        let reached = graph.reachable(name);
        for library in libraries {
            assert!(!reached.contains(*library), "{name} must not reach {library}");
        }
    }
}

#[test]
fn one_tls_stack_and_one_crypto_provider_are_in_the_lock_file() {
    let lock =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock")).expect("the lock file");
    for library in ["openssl-sys", "native-tls", "aws-lc-sys", "aws-lc-rs"] {
        assert!(!lock.contains(&format!("name = \"{library}\"\n")), "{library} is in Cargo.lock");
    }
    for library in ["rustls", "ring", "reqwest"] {
        let count = lock.matches(&format!("name = \"{library}\"\n")).count();
        assert_eq!(count, 1, "{count} versions of {library} are in Cargo.lock");
    }
}

#[test]
fn every_variable_that_a_program_reads_is_in_the_configuration_reference() {
    let reference = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md"))
        .expect("the configuration reference");
    for (program, command) in [
        ("ckrv-server", "serve"),
        ("ckrv-worker", "local"),
        ("ckrv-worker", "supervise"),
        ("ckrv-operator", "run"),
        ("ckrv-dev", "serve"),
    ] {
        let output =
            Command::new(ckrv_tests::stack::program(program)).args([command, "--help"]).output().expect("it runs");
        let help = String::from_utf8(output.stdout).expect("help is UTF-8");
        let variables: Vec<&str> =
            help.split("[env: ").skip(1).filter_map(|rest| rest.split(['=', ']']).next()).collect();
        assert!(variables.len() > 5, "{program} {command} --help names only {variables:?}");
        for variable in variables {
            assert!(reference.contains(&format!("`{variable}`")), "{program} reads {variable}, which is not explained");
        }
    }
}
