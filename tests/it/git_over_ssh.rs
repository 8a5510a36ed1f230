//! A repository behind SSH, with a key among the runner's named secrets, by the whole path.

use std::path::{Path, PathBuf};

use ckrv_tests::cli::Said;
use ckrv_tests::repo::Repo;
use ckrv_tests::runners::ClassRunner;
use ckrv_tests::ssh_host::SshHost;
use ckrv_tests::stack::{Options, Stack, restrict};

/// A runner for jobs of this class whose secret `deploy` is this key.
async fn runner(stack: &Stack, class: &str, key: &Path, known_hosts: Option<&Path>) -> ClassRunner {
    let known_hosts = known_hosts.map(|path| format!(", known_hosts_file: {}", path.display())).unwrap_or_default();
    let file = stack.home.path().join(format!("{class}.yaml"));
    let entry = format!("deploy:\n  git: {{host: 127.0.0.1, ssh_key_file: {}{known_hosts}}}\n", key.display());
    std::fs::write(&file, entry).unwrap();
    restrict(&file);
    stack.class_runner(class, &[("CKRV_SECRETS", file.display().to_string())]).await
}

/// Neither what the job says nor any file of server, runner and attempt has the key.
async fn keeps_the_key(stack: &Stack, runner: &ClassRunner, key: &Path, said: &Said) {
    let secret = std::fs::read_to_string(key).unwrap();
    let line = secret.lines().nth(1).unwrap();
    let log = stack.logs(said.job()).await;
    for text in [&said.err, &log.out, &log.err] {
        assert!(!text.contains(line), "{text}");
    }
    assert!(holders(key.parent().unwrap(), line).contains(&key.to_owned()), "the search finds it");
    assert!(runner.home().starts_with(stack.home.path()));
    assert_eq!(holders(stack.home.path(), line), Vec::<PathBuf>::new());
}

/// Files below the folder that hold the text. What goes meanwhile holds nothing.
fn holders(folder: &Path, text: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
        if path.is_dir() && !path.is_symlink() {
            found.extend(holders(&path, text));
        } else if path.is_file() {
            let bytes = std::fs::read(&path).unwrap_or_default();
            found.extend(bytes.windows(text.len()).any(|part| part == text.as_bytes()).then_some(path));
        }
    }
    found
}

#[tokio::test]
async fn a_repository_behind_ssh_is_cloned_with_the_runners_key_and_the_agent_has_no_way_in() {
    let (stack, host, repo) = (Stack::with(no_runner()).await, SshHost::start().await, Repo::new());
    let known = host.known_hosts(true);
    let url = host.url(&repo);
    let script = "echo done > work.txt; git remote get-url origin; env; cat .git/config
        GIT_SSH_COMMAND='ssh -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null' git fetch ||
            echo 'no way in'";
    for (class, known_hosts) in [("known", Some(known.as_path())), ("first", None)] {
        let runner = runner(&stack, class, &host.key(), known_hosts).await;
        let said = stack.wait(&url, &["--class", class, "--secret", "deploy"], script).await.exits(0);
        let log = stack.logs(said.job()).await.prints(&[&format!("{url}\n"), "no way in\n"]);
        assert!(!log.out.contains(&host.key().display().to_string()), "the agent is told of the key: {log}");
        keeps_the_key(&stack, &runner, &host.key(), &said).await;
        let pulled = stack.pull(&repo, said.job()).await;
        assert_eq!(pulled.file("work.txt"), "done");
    }
    let log = host.log();
    assert_eq!(log.matches("Accepted publickey for").count(), 2, "only the two clones were let in: {log}");
}

#[tokio::test]
async fn what_keeps_ssh_from_a_repository_is_told_by_its_kind() {
    let (stack, host, repo) = (Stack::with(no_runner()).await, SshHost::start().await, Repo::new());
    let (known, wrong) = (host.known_hosts(true), host.known_hosts(false));
    let unknown = stack.home.path().join("known-none");
    std::fs::write(&unknown, "").unwrap();
    let url = host.url(&repo);
    let gone = format!("{url}/gone");
    let refused = "127.0.0.1 refused the credential `deploy`";
    let stranger = "the key that 127.0.0.1 shows is not in the known_hosts file of the credential `deploy`";
    for (class, key, known_hosts, url, cause, texts) in [
        ("changed", host.key(), &wrong, &url, "setup:clone", [stranger, "has changed"]),
        ("unknown", host.key(), &unknown, &url, "setup:clone", [stranger, "host key is known"]),
        ("refused", host.other_key(), &known, &url, "setup:credential", [refused, "Permission denied (publickey)"]),
        ("gone", host.key(), &known, &gone, "setup:clone", ["no git repository at that URL", "check its spelling"]),
    ] {
        let runner = runner(&stack, class, &key, Some(known_hosts)).await;
        let before = host.log().matches("Accepted publickey for").count();
        let said = stack.wait(url, &["--class", class], "echo the agent ran").await.exits(1);
        let said = said.tells(&[&format!("cause: {cause}: ")]).tells(&texts);
        assert!(!stack.logs(said.job()).await.out.contains("the agent ran"));
        let let_in = host.log().matches("Accepted publickey for").count() - before;
        assert_eq!(let_in, usize::from(class == "gone"), "{class}: {}", host.log());
        keeps_the_key(&stack, &runner, &key, &said).await;
    }
}

#[tokio::test]
async fn without_a_key_for_the_host_the_user_is_told_to_give_one() {
    let (stack, host, repo) = (Stack::start().await, SshHost::start().await, Repo::new());
    let said = stack.wait(&host.url(&repo), &[], "true").await.exits(1);
    said.tells(&[
        "cause: setup:credential: ",
        "127.0.0.1 wants a login",
        "give the organization or the runner a credential for 127.0.0.1",
    ]);
}

fn no_runner() -> Options {
    Options { slots: 0, ..Options::default() }
}
