//! What a hostile or careless agent leaves in its work tree: the honest part comes back, the rest does no harm.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use ckrv_tests::repo::{Repo, git};
use ckrv_tests::stack::Stack;
use ckrv_types::artifact::{ArtifactStatus, BUNDLE};
use tempfile::TempDir;

/// A program that leaves a trace when it is run.
struct Trap {
    folder: TempDir,
}

impl Trap {
    fn new() -> Self {
        let trap = Self { folder: TempDir::with_prefix("ckrv-test-trap-").unwrap() };
        let script = format!("#!/bin/sh\necho \"$0 $*\" >> '{}'\nexit 1\n", trap.canary().display());
        std::fs::write(trap.program(), script).unwrap();
        std::fs::set_permissions(trap.program(), std::fs::Permissions::from_mode(0o755)).unwrap();
        trap
    }

    fn program(&self) -> PathBuf {
        self.folder.path().join("trap.sh")
    }

    fn canary(&self) -> PathBuf {
        self.folder.path().join("canary")
    }

    #[track_caller]
    fn has_not_sprung(&self, when: &str) {
        let ran = std::fs::read_to_string(self.canary()).unwrap_or_default();
        assert_eq!(ran, "", "the agent's program ran {when}");
    }
}

/// Honest work, then every poison that git knows; each kind is shown to work in a copy of the tree.
const POISON: &str = r#"
    set -e
    echo honest > committed.txt; git add -A; git commit --quiet -m 'honest work'; echo honest > loose.txt
    clean() { rm -f "$CANARY"; }
    clean
    hook() { mkdir -p .git/hooks; for name in "$@"; do cp "$TRAP" ".git/hooks/$name"; done; }
    hook pre-commit post-commit post-checkout post-index-change reference-transaction pre-auto-gc post-merge \
        prepare-commit-msg commit-msg update pre-receive post-receive post-update pre-push sendemail-validate
    git config core.fsmonitor "$TRAP"
    git config core.sshCommand "$TRAP"; git config remote.origin.url ssh://git@localhost/x
    git config core.pager "$TRAP"
    git config core.editor "$TRAP"
    git config core.askPass "$TRAP"
    git config credential.helper "!$TRAP"
    git config gpg.program "$TRAP"
    git config commit.gpgSign true
    git config diff.external "$TRAP"
    git config diff.evil.command "$TRAP"
    git config diff.evil.textconv "$TRAP"
    git config merge.evil.driver "$TRAP %A"
    git config filter.evil.clean "$TRAP"
    git config filter.evil.smudge "$TRAP"
    git config filter.evil.process "$TRAP"
    git config uploadpack.packObjectsHook "$TRAP"
    git config alias.status "!$TRAP"
    git config url."ext::$TRAP %S".insteadOf https://
    git config protocol.ext.allow always
    printf '* filter=evil diff=evil merge=evil\n' > .gitattributes
    mkdir -p .git/info; printf '* filter=evil diff=evil\n' > .git/info/attributes
    printf '[core]\n\tfsmonitor = %s\n' "$TRAP" > included; git config include.path ../included
    mkdir nested; (cd nested; GIT_CONFIG_GLOBAL=/dev/null git init --quiet; git config core.fsmonitor "$TRAP"; echo x > x)
    clean
    for try in 'status' 'add -A' 'diff' 'commit --allow-empty -m x' 'fetch'; do
        rm -rf ../copy; cp -a . ../copy
        timeout 10 git -C ../copy $try > /dev/null 2>&1 < /dev/null || true
        [ -e "$CANARY" ] || { echo "git $try does not spring the trap"; exit 1; }
        clean
    done
    echo "the poison works"
"#;

#[tokio::test]
async fn a_poisoned_repository_runs_nothing_and_the_honest_work_comes_back() {
    let (stack, repo, trap) = (Stack::start().await, Repo::new(), Trap::new());
    let variables = [format!("TRAP={}", trap.program().display()), format!("CANARY={}", trap.canary().display())];
    let options = ["--env", &variables[0], "--env", &variables[1], "--artifact", "**"];
    let said = stack.wait(&repo.url(), &options, POISON).await.exits(0);
    stack.logs(said.job()).await.prints(&["the poison works\n"]);
    trap.has_not_sprung("when the work was collected");

    let pulled = stack.pull(&repo, said.job()).await;
    trap.has_not_sprung("at `ckrv pull`");
    assert_eq!((pulled.file("committed.txt"), pulled.file("loose.txt")), ("honest".to_owned(), "honest".to_owned()));
    let messages = git(&pulled.checkout, &["log", "--format=%s", &pulled.branch]);
    assert!(messages.contains("honest work"), "the agent's own commit is lost: {messages}");

    let folder = TempDir::new().unwrap();
    let checkout = repo.clone_to(folder.path());
    let output = folder.path().join("out").display().to_string();
    let pull = ["pull", "--apply", "--output", &output, &said.job().to_string()];
    stack.says_in(&checkout, &pull).await.exits(0);
    trap.has_not_sprung("at `ckrv pull --apply --output`");
    assert_eq!(std::fs::read_to_string(checkout.join("committed.txt")).unwrap(), "honest\n");
    assert_eq!(std::fs::read_to_string(folder.path().join("out/files/loose.txt")).unwrap(), "honest\n");
    assert!(!folder.path().join("out/files/.git").exists());
    // What came home, looked at as a developer would.
    git(&checkout, &["status"]);
    git(&checkout, &["diff", "HEAD"]);
    git(&checkout, &["checkout", "--quiet", "--force", &pulled.branch]);
    trap.has_not_sprung("in the developer's checkout");
}

/// Leaves a `.gitmodules` that runs a program in whoever follows it.
const EVIL_MODULES: &str = r#"printf '[submodule "x"]\n\tpath = x\n\turl = x\n\tupdate = !touch x\n' > .gitmodules"#;

#[tokio::test]
async fn work_that_git_refuses_makes_no_branch_and_its_patch_can_be_looked_at() {
    let (stack, repo) = (Stack::start().await, Repo::new());
    let loose = format!("echo honest > work.txt; {EVIL_MODULES}");
    let committed = format!("{loose}; git add -A; git commit --quiet -m work");
    for script in [loose, committed] {
        let job = stack.wait(&repo.url(), &[], &script).await.exits(0).job();
        let fault = "git refuses what would be in it: gitmodulesUpdate";
        stack.logs(job).await.tells(&["warning: there is no branch", fault, "changes.patch"]);
        let manifest = stack.manifest(job).await;
        let bundle = manifest.iter().find(|artifact| artifact.name == BUNDLE).unwrap();
        assert_eq!((bundle.status, bundle.sha256.as_ref()), (ArtifactStatus::Skipped, None), "{bundle:?}");

        let (job, folder) = (job.to_string(), TempDir::new().unwrap());
        let checkout = repo.clone_to(folder.path());
        let said = stack.says_in(&checkout, &["pull", &job]).await.exits(1);
        said.tells(&["has no branch", fault, "hint: `ckrv pull --output DIR"]);
        let said = stack.says_in(&checkout, &["pull", "--output", "out", &job]).await.exits(0);
        said.tells(&["no branch was made: ", fault]);
        assert!(std::fs::read_to_string(checkout.join("out/changes.patch")).unwrap().contains("+honest"));
        assert_eq!(git(&checkout, &["branch", "--list", "ckrv/*"]), "");
    }
}

#[tokio::test]
async fn an_agent_that_destroys_its_repository_still_hands_in_its_tree() {
    let (stack, repo) = (Stack::start().await, Repo::new());
    for script in [
        "echo work > work.txt; rm -rf .git",
        "echo work > work.txt; rm -rf .git/objects",
        "echo work > work.txt; rm -rf .git; echo 'gitdir: /nowhere' > .git",
        "echo work > work.txt; rm -rf .git; git init --quiet; git add -A; git -c user.name=x -c user.email=x@x commit --quiet -m x",
        "echo work > work.txt; printf garbage > .git/HEAD; printf garbage > .git/index; printf '[garbage' > .git/config",
    ] {
        let said = stack.wait(&repo.url(), &[], script).await.exits(0);
        let pulled = stack.pull(&repo, said.job()).await;
        assert_eq!(pulled.file("work.txt"), "work", "{script}");
        assert_eq!(pulled.files(), ["README.md", "work.txt"], "{script}");
        assert_eq!(git(&pulled.checkout, &["rev-parse", &format!("{}^", pulled.branch)]), repo.head());
    }
}

#[tokio::test]
async fn globs_that_bring_nothing_are_listed_each_with_its_reason() {
    let (stack, repo) = (Stack::start().await, Repo::new());
    let script = "mkdir -p folder/sub logs; echo in > folder/sub/file; ln -s /etc/passwd link; ln -s /etc out
        ln -s folder/sub inside; mkfifo pipe; echo kept > logs/a.log; echo kept > report.txt";
    let globs =
        ["nothing/*.xml", "folder", "link", "out/passwd", "inside/file", "pipe", "[", "logs/*.log", "report.txt"];
    let options: Vec<&str> = globs.iter().flat_map(|glob| ["--artifact", glob]).collect();
    let said = stack.wait(&repo.url(), &options, script).await.exits(0);
    let reasons = [
        ("nothing/*.xml", "it matches no file"),
        ("folder", "it matches only folders; `folder/**` takes the files in them"),
        ("link", "it is a link, and links are not followed"),
        ("out/passwd", "it matches no file"),
        ("inside/file", "it matches no file"),
        ("pipe", "it is not a regular file"),
        ("[", "it is no glob"),
    ];
    let manifest = stack.manifest(said.job()).await;
    let find = |glob: &str| {
        let name = format!("files/{glob}");
        manifest.iter().find(|artifact| artifact.name == name).unwrap_or_else(|| panic!("{glob}: {manifest:#?}"))
    };
    for (glob, reason) in reasons {
        let artifact = find(glob);
        assert_eq!((artifact.status, artifact.sha256.as_ref()), (ArtifactStatus::Skipped, None), "{artifact:?}");
        assert!(artifact.message.as_ref().unwrap().starts_with(reason), "{artifact:?}");
    }
    for glob in ["logs/a.log", "report.txt"] {
        assert_eq!((find(glob).status, find(glob).size), (ArtifactStatus::Stored, 5));
    }

    let output = stack.home.path().join("out").display().to_string();
    let pulled = stack.says(&["pull", "--output", &output, &said.job().to_string()]).await.exits(0);
    for (glob, reason) in reasons {
        assert!(pulled.err.contains(&format!("`files/{glob}` was not stored: {reason}")), "{glob}: {pulled}");
    }
    let written = |path: &str| std::fs::read_to_string(stack.home.path().join("out/files").join(path));
    assert_eq!((written("logs/a.log").unwrap(), written("report.txt").unwrap()), ("kept\n".into(), "kept\n".into()));
    assert!(written("link").is_err() && written("out/passwd").is_err());
    stack.logs(said.job()).await.tells(&["left out files/link: it is a link"]);
}

#[tokio::test]
async fn a_glob_that_leads_out_of_the_tree_is_refused_before_anything_is_sent() {
    let (stack, repo) = (Stack::start().await, Repo::new());
    for glob in ["../secrets", "/etc/passwd", "a/../../b", ""] {
        let said = stack.wait(&repo.url(), &["--artifact", glob], "true").await.exits(2);
        said.tells(&["cause: artifacts: ", "a glob below the work tree is expected"]);
    }
}
