//! Clones, good and bad.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use ckrv_types::credential::GitHost as CredentialHost;
use ckrv_types::repo_url::RepoPolicy;
use ckrv_types::{Cause, RepoUrl, Secret};
use ckrv_worker::git::{CloneError, CloneRequest, GitCredential, GitLogin, clone};

use crate::git_host::GitHost;
use crate::repository::{Attempt, git, write};

async fn fails(request: &CloneRequest) -> CloneError {
    clone(request, &mut |_| ()).await.expect_err("the clone must fail")
}

#[tokio::test]
async fn a_clone_is_a_whole_repository_on_the_branch_ready_for_commits() {
    let attempt = Attempt::new();
    git(&attempt.upstream(), &["tag", "v1"]);
    let head = attempt.commit("second");
    let (checkout, _) = attempt.clone().await;
    let tree = &checkout.work_tree;
    assert_eq!((checkout.base.as_str(), checkout.branch.as_str()), (head.as_str(), "main"));
    assert_eq!(git(tree, &["symbolic-ref", "HEAD"]), "refs/heads/main");
    assert_eq!(git(tree, &["rev-list", "--count", "HEAD"]), "2");
    assert_eq!(git(tree, &["describe", "--tags"]).split('-').next(), Some("v1"));
    assert_eq!(git(tree, &["remote", "get-url", "origin"]), format!("file://{}", attempt.upstream().display()));
    assert_eq!(git(tree, &["status", "--porcelain"]), "");
    assert_eq!(git(tree, &["config", "user.name"]), "Agent");
    git(tree, &["fsck", "--strict"]);
    assert!(!tree.join(".git/hooks").exists());
}

#[tokio::test]
async fn the_agents_clone_shares_no_file_with_the_pristine_repository_and_does_not_name_it() {
    let attempt = Attempt::new();
    let (checkout, _) = attempt.clone().await;
    let mut objects = 0;
    for file in files_below(&checkout.work_tree) {
        assert_eq!(file.metadata().unwrap().nlink(), 1, "{} is a hard link", file.display());
        objects += usize::from(file.starts_with(checkout.work_tree.join(".git/objects")));
    }
    assert!(objects > 0);
    assert!(!checkout.work_tree.join(".git/objects/info/alternates").exists());
    assert_eq!(mentions(&checkout.work_tree, "pristine.git"), Vec::<PathBuf>::new());
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

/// Files that hold the text, also in `.git`.
fn mentions(folder: &Path, text: &str) -> Vec<PathBuf> {
    let holds = |path: &PathBuf| std::fs::read(path).unwrap().windows(text.len()).any(|bytes| bytes == text.as_bytes());
    files_below(folder).into_iter().filter(holds).collect()
}

#[tokio::test]
async fn without_a_branch_the_remotes_default_is_taken() {
    let attempt = Attempt::new();
    git(&attempt.upstream(), &["branch", "-m", "main", "trunk/now"]);
    let request = CloneRequest { branch: None, ..attempt.request() };
    assert_eq!(clone(&request, &mut |_| ()).await.unwrap().branch, "trunk/now");
}

#[tokio::test]
async fn an_unknown_branch_names_the_similar_ones() {
    let attempt = Attempt::new();
    for branch in ["develop", "maintenance", "x1", "x2", "x3", "x4"] {
        git(&attempt.upstream(), &["branch", branch]);
    }
    let request = CloneRequest { branch: Some("mian".into()), ..attempt.request() };
    let error = fails(&request).await;
    assert_eq!(error.cause(), Cause::BranchMissing);
    let CloneError::UnknownBranch { similar, total, .. } = error else { panic!("{error}") };
    assert_eq!((similar[0].as_str(), similar.len(), total), ("main", 5, 7));
}

#[tokio::test]
async fn a_tag_is_not_a_branch() {
    let attempt = Attempt::new();
    git(&attempt.upstream(), &["tag", "v1"]);
    let error = fails(&CloneRequest { branch: Some("v1".into()), ..attempt.request() }).await;
    assert!(matches!(error, CloneError::UnknownBranch { .. }), "{error}");
}

#[tokio::test]
async fn a_branch_name_that_git_would_take_for_an_option_never_reaches_it() {
    let attempt = Attempt::new();
    let error = fails(&CloneRequest { branch: Some("--upload-pack=touch x".into()), ..attempt.request() }).await;
    assert!(matches!(error, CloneError::BadBranchName(_)), "{error}");
}

#[tokio::test]
async fn an_empty_repository_says_so() {
    let attempt = Attempt::new();
    git(attempt.folder.path(), &["init", "--quiet", "--bare", "empty.git"]);
    let url = RepoUrl::parse(attempt.path("empty.git").to_str().unwrap(), &RepoPolicy::embedded()).unwrap();
    for branch in [None, Some("main".to_owned())] {
        let request = CloneRequest { url: url.clone(), branch, ..attempt.request() };
        let error = fails(&request).await;
        assert!(matches!(error, CloneError::Empty), "{error}");
        std::fs::remove_dir_all(&request.git_dir).ok();
    }
}

#[tokio::test]
async fn a_default_branch_that_is_not_there_is_told_with_those_that_are() {
    let attempt = Attempt::new();
    git(&attempt.upstream(), &["symbolic-ref", "HEAD", "refs/heads/gone"]);
    let error = fails(&CloneRequest { branch: None, ..attempt.request() }).await;
    assert_eq!(error.cause(), Cause::BranchMissing);
    assert!(error.to_string().contains("`main`"), "{error}");
}

#[tokio::test]
async fn what_is_no_repository_says_so() {
    let attempt = Attempt::new();
    let url = RepoUrl::parse(attempt.path("private").to_str().unwrap(), &RepoPolicy::embedded()).unwrap();
    let error = fails(&CloneRequest { url, ..attempt.request() }).await;
    assert!(matches!(error, CloneError::NotARepository { .. }), "{error}");
    assert_eq!(error.cause(), Cause::CloneRefused);
}

#[tokio::test]
async fn a_repository_of_another_user_says_so() {
    let attempt = Attempt::new();
    let other = nix::unistd::Uid::from_raw(65_534);
    // Only root can give files away; without it there is no such repository to make.
    if !nix::unistd::getuid().is_root() {
        return;
    }
    for path in [attempt.upstream(), attempt.upstream().join(".git")] {
        nix::unistd::chown(&path, Some(other), None).unwrap();
    }
    let error = fails(&attempt.request()).await;
    assert!(matches!(error, CloneError::OtherOwner), "{error}");
}

#[tokio::test]
async fn a_host_that_nobody_answers_at_is_unreachable() {
    let attempt = Attempt::new();
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = RepoUrl::parse(&format!("http://127.0.0.1:{port}/a/b"), &RepoPolicy::embedded()).unwrap();
    let error = fails(&CloneRequest { url, ..attempt.request() }).await;
    assert!(matches!(error, CloneError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn ssh_takes_every_option_it_is_given_and_reports_an_unreachable_host() {
    let attempt = Attempt::new();
    let private = attempt.path("a folder's 100%d name");
    std::fs::create_dir(&private).unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = RepoUrl::parse(&format!("ssh://git@127.0.0.1:{port}/a/b"), &RepoPolicy::embedded()).unwrap();
    for known_hosts in [None, Some(String::new())] {
        let login = GitLogin::SshKey { key: Secret::new("not a key, and never needed"), known_hosts };
        let host = CredentialHost::parse("127.0.0.1").unwrap();
        let credentials = vec![GitCredential { name: "key".into(), host, login }];
        let (private, url) = (private.clone(), url.clone());
        let error = fails(&CloneRequest { url, credentials, private, ..attempt.request() }).await;
        let CloneError::Unreachable { said, .. } = &error else { panic!("{error}") };
        assert!(said.contains("Connection refused"), "{said}");
    }
}

#[tokio::test]
async fn a_host_that_never_answers_ends_at_the_limit() {
    let attempt = Attempt::new();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let url = RepoUrl::parse(&format!("http://127.0.0.1:{port}/a/b"), &RepoPolicy::embedded()).unwrap();
    let error = fails(&CloneRequest { url, limit: Duration::from_millis(500), ..attempt.request() }).await;
    assert!(matches!(error, CloneError::Timeout { .. }), "{error}");
}

#[tokio::test]
async fn a_private_repository_comes_with_its_hosts_credential_and_leaves_no_trace_of_it() {
    let attempt = Attempt::new();
    let host = GitHost::start(attempt.folder.path(), &login("s3cr3t/pass")).await;
    let credentials = vec![credential("127.0.0.1", "s3cr3t/pass")];
    let request = CloneRequest { url: host.url("upstream"), credentials, ..attempt.request() };
    let mut told = Vec::new();
    let checkout = clone(&request, &mut |line| told.push(line)).await.unwrap();
    assert_eq!(git(&checkout.work_tree, &["remote", "get-url", "origin"]), host.url("upstream").as_str());
    assert!(told.iter().any(|line| line.contains("Receiving objects")), "{told:?}");
    for part in ["s3cr3t", "czNjcjN0"] {
        assert_eq!(mentions(attempt.folder.path(), part), Vec::<PathBuf>::new());
    }
    write(&checkout.work_tree, ".git/found", "is s3cr3t there?");
    assert_eq!(mentions(attempt.folder.path(), "s3cr3t").len(), 1, "the search can find it");
    assert_eq!(std::fs::read_dir(attempt.path("private")).unwrap().count(), 0);
}

#[tokio::test]
async fn refusals_of_a_git_host_tell_what_to_do() {
    let attempt = Attempt::new();
    let host = GitHost::start(attempt.folder.path(), &login("right")).await;
    let with = |credentials| CloneRequest { url: host.url("upstream"), credentials, ..attempt.request() };
    let error = fails(&with(vec![])).await;
    assert!(matches!(error, CloneError::LoginNeeded { .. }), "{error}");
    assert_eq!(error.cause(), Cause::Credential);
    let error = fails(&with(vec![credential("127.0.0.1", "wr0ng-s3cr3t")])).await;
    assert!(matches!(&error, CloneError::CredentialRefused { credential, .. } if credential == "forge"), "{error}");
    assert!(!error.to_string().contains("wr0ng"), "{error}");
}

#[tokio::test]
async fn a_credential_of_another_host_is_not_sent() {
    let attempt = Attempt::new();
    let host = GitHost::start(attempt.folder.path(), &login("right")).await;
    let credentials = vec![credential("forge.example", "right")];
    fails(&CloneRequest { url: host.url("upstream"), credentials, ..attempt.request() }).await;
    assert_eq!(host.logins(), 0);
    // The same request with the right host does send it: the count can rise.
    let credentials = vec![credential("127.0.0.1", "right")];
    clone(&CloneRequest { url: host.url("upstream"), credentials, ..attempt.request() }, &mut |_| ()).await.unwrap();
    assert!(host.logins() > 0);
}

#[tokio::test]
async fn a_redirect_is_told_and_not_followed() {
    let attempt = Attempt::new();
    let host = GitHost::start(attempt.folder.path(), &login("right")).await;
    let credentials = vec![credential("127.0.0.1", "right")];
    let error = fails(&CloneRequest { url: host.url("moved/upstream"), credentials, ..attempt.request() }).await;
    assert!(matches!(error, CloneError::Redirected { .. }), "{error}");
    assert_eq!(host.logins(), 0);
}

#[tokio::test]
async fn a_history_with_an_old_harmless_fault_comes_and_one_with_a_trap_is_refused() {
    let attempt = Attempt::new();
    let upstream = attempt.upstream();
    let blob = git(&upstream, &["rev-parse", "HEAD:README"]);
    let commit = |mode: &str, name: &str| {
        let mut tree = format!("{mode} {name}\0").into_bytes();
        tree.extend((0..20).map(|i| u8::from_str_radix(&blob[2 * i..2 * i + 2], 16).unwrap()));
        write(&attempt.path("private"), "tree", &tree);
        let file = attempt.path("private/tree");
        let tree = git(&upstream, &["hash-object", "-t", "tree", "-w", "--literally", file.to_str().unwrap()]);
        let commit = git(&upstream, &["commit-tree", &tree, "-m", "odd"]);
        git(&upstream, &["update-ref", "refs/heads/odd", &commit]);
    };
    let request = CloneRequest { branch: Some("odd".into()), ..attempt.request() };
    commit("0100644", "a");
    clone(&request, &mut |_| ()).await.unwrap();
    std::fs::remove_dir_all(&request.git_dir).unwrap();
    std::fs::remove_dir_all(&request.work_tree).unwrap();
    commit("100644", ".git");
    let error = fails(&request).await;
    assert!(matches!(error, CloneError::Malformed { .. }), "{error}");
}

#[tokio::test]
async fn nothing_of_the_repository_runs_while_it_is_cloned() {
    let attempt = Attempt::new();
    let upstream = attempt.upstream();
    write(&upstream, ".gitattributes", "* filter=evil diff=evil\n");
    write(&upstream, ".gitmodules", "[submodule \"x\"]\n\tpath = x\n\turl = ../private\n\tupdate = !touch canary\n");
    git(&upstream, &["update-index", "--add", "--cacheinfo", "160000,1111111111111111111111111111111111111111,x"]);
    git(&upstream, &["add", ".gitattributes", ".gitmodules"]);
    git(&upstream, &["commit", "--quiet", "-m", "traps"]);
    // `!command` in .gitmodules is refused by fsck: the clone fails, and says why.
    let error = fails(&attempt.request()).await;
    assert!(matches!(error, CloneError::Malformed { .. }), "{error}");
    write(&upstream, ".gitmodules", "[submodule \"x\"]\n\tpath = x\n\turl = ../private\n");
    git(&upstream, &["add", ".gitmodules"]);
    git(&upstream, &["commit", "--quiet", "--amend", "-m", "a submodule"]);
    let (checkout, _) = attempt.clone().await;
    assert_eq!(std::fs::read_dir(checkout.work_tree.join("x")).unwrap().count(), 0, "the submodule was fetched");
}

/// As the host wants to see it.
fn login(password: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(format!("bot:{password}"))
}

fn credential(host: &str, password: &str) -> GitCredential {
    let login = GitLogin::Password { username: "bot".into(), password: Secret::new(password) };
    GitCredential { name: "forge".into(), host: CredentialHost::parse(host).unwrap(), login }
}
