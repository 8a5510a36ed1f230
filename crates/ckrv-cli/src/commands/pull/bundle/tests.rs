//! Bundles as jobs make them, and as an attacker would, taken in by the real git.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ckrv_types::job::JobResult;
use ckrv_types::{Job, JobId};
use tempfile::TempDir;

use super::super::apply::apply;
use super::*;

/// A remote, a clone of it as the job had it, and a clone as the user has it.
struct World {
    folder: TempDir,
    job: Job,
}

fn git(folder: &Path, arguments: &[&str]) -> String {
    git_with(folder, arguments, &[])
}

fn git_with(folder: &Path, arguments: &[&str], input: &[u8]) -> String {
    use std::io::Write as _;
    let mut child = Command::new("git")
        .current_dir(folder)
        .args(["-c", "user.name=T", "-c", "user.email=t@example.com", "-c", "protocol.file.allow=always"])
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "git {arguments:?}");
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        git(at, &["init", "--quiet", "--initial-branch=main", "remote"]);
        for number in 1..=3 {
            fs::write(at.join("remote/file"), format!("{number}\n")).unwrap();
            git(&at.join("remote"), &["add", "."]);
            git(&at.join("remote"), &["commit", "--quiet", "-m", &format!("commit {number}")]);
        }
        git(at, &["clone", "--quiet", "remote", "work"]);
        git(at, &["clone", "--quiet", "remote", "user"]);
        let job: Job = serde_json::from_value(serde_json::json!({
            "id": JobId::new(), "org": ckrv_types::OrgId::new(), "project": ckrv_types::ProjectId::new(),
            "spec": {"repo": "https://a.example/b", "branch": "main", "command": ["x"]},
            "state": "succeeded", "attempt": 1, "created_at": "2026-01-01T00:00:00Z", "finished_at": "2026-01-01T00:01:00Z",
        }))
        .unwrap();
        Self { folder, job }
    }

    fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    fn user(&self) -> PathBuf {
        self.folder.path().join("user")
    }

    fn branch(&self) -> String {
        format!("ckrv/{}", self.job.id)
    }

    /// Commits a change in the job's clone, as the branch of the job.
    fn commit(&mut self, text: &str) {
        git(&self.work(), &["checkout", "--quiet", "-B", &self.branch()]);
        fs::write(self.work().join("made"), text).unwrap();
        git(&self.work(), &["add", "."]);
        git(&self.work(), &["commit", "--quiet", "-m", "by the agent"]);
        self.tell_result();
    }

    /// What the server knows of the result.
    fn tell_result(&mut self) {
        let commit = |name: &str| git(&self.work(), &["rev-parse", name]);
        self.job.result = Some(JobResult {
            branch: self.branch(),
            base_commit: commit("origin/main"),
            head_commit: commit(&self.branch()),
            files_changed: 1,
            insertions: 1,
            deletions: 0,
        });
    }

    fn bundle(&self, ranges: &[&str]) -> PathBuf {
        let file = self.folder.path().join("result.bundle");
        let branch = self.branch();
        let mut arguments = vec!["bundle", "create", "--quiet", file.to_str().unwrap(), &branch];
        arguments.extend(ranges);
        git(&self.work(), &arguments);
        file
    }

    /// As workers make it: upon the base.
    fn thin(&self) -> PathBuf {
        self.bundle(&["^origin/main"])
    }

    async fn import_into(&self, folder: &Path, file: &Path, force: bool) -> Result<PulledBranch, Failure> {
        let checkout = Checkout::around(folder).await.unwrap().unwrap();
        import(file, &self.job, &checkout, force).await
    }

    async fn import(&self, file: &Path) -> Result<PulledBranch, Failure> {
        self.import_into(&self.user(), file, false).await
    }

    /// Everything that a pull must not touch.
    fn untouched(&self) -> (String, String, String, Vec<u8>) {
        let user = self.user();
        let index = fs::read(user.join(".git/index")).unwrap();
        let refs = git(&user, &["for-each-ref"]);
        let refs = refs.lines().filter(|line| !line.contains("refs/heads/ckrv/")).collect();
        (git(&user, &["symbolic-ref", "HEAD"]), refs, fs::read_to_string(user.join("file")).unwrap(), index)
    }

    async fn assert_refused(&self, file: &Path, word: &str) {
        let Err(Failure::Told(report)) = self.import(file).await else { panic!("it was taken") };
        let text = format!("{} {:?} {:?}", report.what, report.causes, report.hint);
        assert!(text.contains(word), "{text}");
        assert_eq!(git(&self.user(), &["for-each-ref", "refs/heads/ckrv"]), "");
        assert!(!self.user().join(".git/FETCH_HEAD").exists());
    }
}

#[tokio::test]
async fn the_work_becomes_a_branch_and_nothing_else_changes() {
    let mut world = World::new();
    world.commit("new\n");
    let before = world.untouched();
    let pulled = world.import(&world.thin()).await.unwrap();
    assert_eq!(world.untouched(), before);
    assert_eq!(git(&world.user(), &["rev-parse", &world.branch()]), pulled.head);
    assert_eq!(git(&world.user(), &["rev-parse", &format!("{}^", world.branch())]), pulled.base);
    assert_eq!((pulled.commits, pulled.files_changed, pulled.insertions, pulled.deletions), (1, 1, 1, 0));
    git(&world.user(), &["fsck", "--strict"]);

    let again = world.import(&world.thin()).await.unwrap();
    assert_eq!(again, PulledBranch { updated: false, ..pulled });
    assert_eq!(world.untouched(), before);
}

#[tokio::test]
async fn a_bundle_with_the_whole_history_is_taken_too() {
    let mut world = World::new();
    world.commit("new\n");
    assert_eq!(world.import(&world.bundle(&[])).await.unwrap().commits, 1);
    world.job.result = None;
    assert_eq!(world.import(&world.bundle(&[])).await.unwrap().commits, 1);
}

#[tokio::test]
async fn a_shallow_checkout_and_a_linked_work_tree_will_do() {
    let mut world = World::new();
    world.commit("new\n");
    let at = world.folder.path();
    let remote = format!("file://{}", at.join("remote").display());
    git(at, &["clone", "--quiet", "--depth=1", &remote, "shallow"]);
    git(&world.user(), &["worktree", "add", "--quiet", "--detach", "../linked"]);
    for name in ["shallow", "linked"] {
        let pulled = world.import_into(&at.join(name), &world.thin(), false).await;
        assert_eq!(pulled.unwrap().commits, 1, "{name}");
        assert_eq!(git(&at.join(name), &["show", &format!("{}:made", world.branch())]), "new");
    }
}

#[tokio::test]
async fn a_checkout_without_the_base_says_what_to_fetch() {
    let mut world = World::new();
    fs::write(world.work().join("later"), "").unwrap();
    git(&world.work(), &["add", "."]);
    git(&world.work(), &["commit", "--quiet", "-m", "not fetched yet"]);
    git(&world.work(), &["update-ref", "refs/remotes/origin/main", "HEAD"]);
    world.commit("new\n");
    world.assert_refused(&world.thin(), "git fetch origin main").await;
}

#[tokio::test]
async fn a_branch_with_other_content_is_replaced_only_by_force() {
    let mut world = World::new();
    world.commit("new\n");
    git(&world.user(), &["branch", &world.branch()]);
    let old = git(&world.user(), &["rev-parse", &world.branch()]);
    let file = world.thin();
    assert!(world.import(&file).await.is_err());
    assert_eq!(git(&world.user(), &["rev-parse", &world.branch()]), old);
    assert!(world.import_into(&world.user(), &file, true).await.unwrap().updated);

    git(&world.user(), &["checkout", "--quiet", &world.branch()]);
    git(&world.user(), &["commit", "--quiet", "--allow-empty", "-m", "mine"]);
    let mine = git(&world.user(), &["rev-parse", "HEAD"]);
    assert!(world.import_into(&world.user(), &file, true).await.is_err(), "the branch is checked out");
    assert_eq!(git(&world.user(), &["rev-parse", "HEAD"]), mine);
}

#[tokio::test]
async fn another_commit_than_the_server_says_is_refused() {
    let mut world = World::new();
    world.commit("told\n");
    let told = world.job.result.clone();
    world.commit("other\n");
    world.job.result = told;
    world.assert_refused(&world.thin(), "another commit").await;
}

#[tokio::test]
async fn commits_beside_the_base_are_refused() {
    let mut world = World::new();
    git(&world.work(), &["checkout", "--quiet", "--orphan", &world.branch()]);
    world.commit("unrelated\n");
    world.assert_refused(&world.bundle(&[]), "do not build upon").await;
}

#[tokio::test]
async fn a_second_ref_is_refused() {
    let mut world = World::new();
    world.commit("new\n");
    git(&world.work(), &["branch", "evil"]);
    world.assert_refused(&world.bundle(&["evil"]), "refs/heads/evil").await;
}

#[tokio::test]
async fn a_branch_that_is_no_commit_is_refused() {
    let world = World::new();
    let blob = git_with(&world.work(), &["hash-object", "-w", "--stdin"], b"x");
    let mut pack = Command::new("git")
        .current_dir(world.work())
        .args(["pack-objects", "--quiet", world.folder.path().join("blob").to_str().unwrap()])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut pack.stdin.take().unwrap(), blob.as_bytes()).unwrap();
    let name = String::from_utf8(pack.wait_with_output().unwrap().stdout).unwrap();
    let pack = fs::read(world.folder.path().join(format!("blob-{}.pack", name.trim()))).unwrap();
    let head = format!("# v2 git bundle\n{blob} refs/heads/{}\n\n", world.branch());
    let file = world.folder.path().join("blob.bundle");
    fs::write(&file, [head.as_bytes(), &pack].concat()).unwrap();
    world.assert_refused(&file, "no commit").await;
}

#[tokio::test]
async fn a_cut_off_changed_or_hollow_bundle_is_refused() {
    let mut world = World::new();
    world.commit("new\n");
    let file = world.thin();
    let whole = fs::read(&file).unwrap();
    let pack = whole.windows(6).position(|window| window == b"\n\nPACK").unwrap() + 2;

    fs::write(&file, &whole[..whole.len() - 10]).unwrap();
    world.assert_refused(&file, "refused").await;

    let mut changed = whole.clone();
    changed[pack + 20] ^= 0x55;
    fs::write(&file, changed).unwrap();
    world.assert_refused(&file, "refused").await;

    // A good pack, and the objects that the branch needs are not in it.
    let empty = Command::new("git").current_dir(world.work()).args(["pack-objects", "--stdout", "--quiet"]).output();
    fs::write(&file, [&whole[..pack], &empty.unwrap().stdout].concat()).unwrap();
    world.assert_refused(&file, "refused").await;
}

#[tokio::test]
async fn trees_that_attack_a_checkout_are_refused() {
    let evil_modules = b"[submodule \"x\"]\n\tpath = x\n\turl = -u./payload\n";
    for (name, content) in
        [(".git", None), ("..", None), (".GIT", None), (".gitmodules", Some(evil_modules.as_slice()))]
    {
        let mut world = World::new();
        world.commit("new\n");
        let work = world.work();
        let blob = git_with(&work, &["hash-object", "-w", "--stdin"], content.unwrap_or(b"payload"));
        let id: Vec<u8> = (0..20).map(|at| u8::from_str_radix(&blob[at * 2..at * 2 + 2], 16).unwrap()).collect();
        let tree = [format!("100644 {name}\0").as_bytes(), &id].concat();
        let tree = git_with(&work, &["hash-object", "-t", "tree", "--literally", "-w", "--stdin"], &tree);
        let commit = git(&work, &["commit-tree", &tree, "-p", "origin/main", "-m", "evil"]);
        git(&work, &["update-ref", &format!("refs/heads/{}", world.branch()), &commit]);
        world.tell_result();
        world.assert_refused(&world.thin(), "refused").await;
    }
}

#[tokio::test]
async fn an_old_harmless_fault_is_borne() {
    let mut world = World::new();
    world.commit("new\n");
    let work = world.work();
    let commit = git(&work, &["cat-file", "commit", "HEAD"]);
    let author = commit.lines().find(|line| line.starts_with("author ")).unwrap();
    let (odd, _) = author.rsplit_once(' ').unwrap();
    let odd = format!("{}\n", commit.replacen(author, &format!("{odd} +051800"), 1));
    let odd = git_with(&work, &["hash-object", "-t", "commit", "--literally", "-w", "--stdin"], odd.as_bytes());
    git(&work, &["update-ref", &format!("refs/heads/{}", world.branch()), &odd]);
    world.tell_result();
    assert_eq!(world.import(&world.thin()).await.unwrap().head, odd);
}

#[tokio::test]
async fn what_the_bundle_brings_runs_nothing() {
    let mut world = World::new();
    // Filters and drivers that exist in the user's own settings would run on a checkout; a pull makes none.
    fs::write(world.work().join(".gitattributes"), "* filter=evil diff=evil merge=evil\n").unwrap();
    world.commit("new\n");
    let proof = world.folder.path().join("ran");
    let run = format!("touch {}", proof.display());
    for key in ["filter.evil.smudge", "filter.evil.clean", "diff.evil.command", "diff.evil.textconv", "core.fsmonitor"]
    {
        git(&world.user(), &["config", key, &run]);
    }
    for hook in ["reference-transaction", "post-checkout", "post-merge"] {
        let path = world.user().join(".git/hooks").join(hook);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("#!/bin/sh\n{run}\n")).unwrap();
        make_executable(&path);
    }
    world.import(&world.thin()).await.unwrap();
    assert!(!proof.exists());
}

#[cfg(unix)]
fn make_executable(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[cfg(not(unix))]
fn make_executable(_path: &Path) {}

#[tokio::test]
async fn changes_are_put_onto_the_work_tree_or_not_at_all() {
    let mut world = World::new();
    fs::write(world.work().join("file"), "changed\n").unwrap();
    world.commit("new\n");
    let pulled = world.import(&world.thin()).await.unwrap();
    let checkout = Checkout::around(&world.user()).await.unwrap().unwrap();

    fs::write(world.user().join("file"), "my own\n").unwrap();
    assert!(apply(&pulled, &checkout).await.is_err());
    assert_eq!(fs::read_to_string(world.user().join("file")).unwrap(), "my own\n");
    assert!(!world.user().join("made").exists());

    git(&world.user(), &["checkout", "--quiet", "--", "file"]);
    apply(&pulled, &checkout).await.unwrap();
    assert_eq!(fs::read_to_string(world.user().join("file")).unwrap(), "changed\n");
    assert_eq!(fs::read_to_string(world.user().join("made")).unwrap(), "new\n");
    assert_eq!(git(&world.user(), &["symbolic-ref", "HEAD"]), "refs/heads/main");
}

#[cfg(unix)]
#[tokio::test]
async fn applying_never_writes_through_a_link() {
    let mut world = World::new();
    let outside = world.folder.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::create_dir(world.work().join("sub")).unwrap();
    fs::write(world.work().join("sub/payload"), "payload\n").unwrap();
    world.commit("new\n");
    let pulled = world.import(&world.thin()).await.unwrap();
    std::os::unix::fs::symlink(&outside, world.user().join("sub")).unwrap();
    let checkout = Checkout::around(&world.user()).await.unwrap().unwrap();
    assert!(apply(&pulled, &checkout).await.is_err());
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn a_short_statistic_is_read() {
    let stat = " 3 files changed, 10 insertions(+), 1 deletion(-)";
    assert_eq!((number_before(stat, "file"), number_before(stat, "insertion")), (3, 10));
    assert_eq!((number_before(stat, "deletion"), number_before("", "file")), (1, 0));
}
