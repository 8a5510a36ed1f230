//! The main job, as a developer does it: handed in, followed, looked at, pulled.

use std::path::{Path, PathBuf};

use ckrv_tests::cli::Said;
use ckrv_tests::repo::{Repo, git};
use ckrv_tests::stack::{Options, Stack};
use ckrv_types::artifact::Summary;
use ckrv_types::job::Explanation;
use ckrv_types::log::{JobLine, Stream};
use ckrv_types::{Job, Page, State};
use serde_json::Value;
use tempfile::TempDir;

/// What stands in a checkout besides the branches: HEAD, index, work tree.
fn standing(checkout: &Path) -> [String; 4] {
    [
        git(checkout, &["symbolic-ref", "HEAD"]),
        git(checkout, &["rev-parse", "HEAD"]),
        git(checkout, &["ls-files", "--stage"]),
        git(checkout, &["status", "--porcelain"]),
    ]
}

#[tokio::test]
async fn a_job_runs_in_a_fresh_clone_and_its_work_comes_back_as_a_branch() {
    let (stack, repo, folder) = (Stack::start().await, Repo::new(), TempDir::new().unwrap());
    let head = repo.commit(&[("src/app.txt", "one\ntwo\n")], "An app");
    let checkout = repo.clone_to(folder.path());
    // What is not pushed is the developer's own, and stays.
    std::fs::write(checkout.join("README.md"), "# Half a change\n").unwrap();
    std::fs::write(checkout.join("notes.txt"), "mine\n").unwrap();
    let before = standing(&checkout);

    let script =
        "cat README.md; sed -i s/two/2/ src/app.txt; git commit --quiet --all -m 'Say 2'; echo more > src/more.txt";
    let said = stack.says_in(&checkout, &["run", "--", "sh", "-c", script]).await.exits(0);
    let id = said.job().to_string();
    // Repository and branch are those of the checkout, and what the job will not see is told.
    said.tells(&[&repo.url(), "branch main", "warning: there are uncommitted changes"]);

    let log = stack.says(&["logs", "--follow", &id]).await.exits(0);
    assert_eq!(log.out, "# A repository\n", "the agent's lines alone are on stdout");
    log.tells(&[
        "cloning file://",
        &format!("branch main at {}", &head[..10]),
        "agent exited with 0",
        "collected: 2 files",
    ]);
    let shown = stack.says(&["status", &id]).await.exits(0);
    shown.prints(&["succeeded", &repo.url(), "main", &format!("ckrv/{id} (2 files changed, +2 -1)")]);

    let pulled = stack.says_in(&checkout, &["pull", &id]).await.exits(0);
    let branch = format!("ckrv/{id}");
    pulled.prints(&[&branch, "2 files changed, +2 -1"]);
    assert_eq!(standing(&checkout), before, "pulling moved something");
    let log = git(&checkout, &["log", "--format=%s by %an", &format!("{head}..{branch}")]);
    assert_eq!(log, format!("ckrv {id}: work tree by ckrv\nSay 2 by ckrv"));
    assert_eq!(git(&checkout, &["rev-parse", &format!("{branch}~2")]), head, "it begins at the branch's head");
    assert_eq!(git(&checkout, &["show", &format!("{branch}:src/app.txt")]), "one\n2");
    assert_eq!(git(&checkout, &["show", &format!("{branch}:src/more.txt")]), "more");
    assert_eq!(git(&checkout, &["show", &format!("{branch}:README.md")]), "# A repository");

    // Again: nothing to do.
    let again = stack.says_in(&checkout, &["pull", &id]).await.exits(0);
    again.prints(&["was here already"]);
    assert_eq!(repo.head(), head, "the repository itself was written to");
    assert_eq!(git(repo.path(), &["branch", "--list"]), "* main");
    let server = stack.log("server.log");
    assert!(!server.contains(" ERROR ") && !server.contains("status=500"), "{server}");
}

#[tokio::test]
async fn one_command_runs_follows_and_pulls_with_the_jobs_exit_code() {
    let (stack, repo, folder) = (Stack::start().await, Repo::new(), TempDir::new().unwrap());
    let checkout = repo.clone_to(folder.path());
    let run = ["run", "--follow", "--pull", "--", "sh", "-c", "echo working; echo x > x; exit 7"];
    let said = stack.says_in(&checkout, &run).await.exits(1);
    let (id, rest) = said.out.split_once('\n').unwrap();
    assert_eq!(rest, "working\n");
    assert_eq!(git(&checkout, &["show", &format!("ckrv/{id}:x")]), "x");
    said.tells(&["cause: agent:exit"]);
    let late =
        stack.says(&["run", "--repo", &repo.url(), "--wait", "--timeout", "1s", "--", "sleep", "600"]).await.exits(8);
    let late = late.tells(&["is not over after 1s", "hint: it goes on"]);
    stack.says(&["cancel", &late.job().to_string()]).await.exits(0);
}

#[tokio::test]
async fn artifacts_patch_and_summary_are_written_to_a_folder() {
    let (stack, repo) = (Stack::start().await, Repo::new());
    let head = repo.head();
    let script = "mkdir -p target; echo report > target/report.txt; head -c 3000000 /dev/urandom > target/big.bin
        printf 'target/\\n' > .gitignore; printf 'a\\000b' > binary; sha256sum target/big.bin | cut -d ' ' -f 1";
    let said = stack.wait(&repo.url(), &["--artifact", "target/**"], script).await.exits(0);
    let id = said.job().to_string();
    let out = stack.home.path().join("out");
    let pull = ["pull", "-o", "json", "--output", &out.display().to_string(), &id];
    let pulled: Value = stack.says(&pull).await.exits(0).json();
    let mut files: Vec<&str> = pulled["files"].as_array().unwrap().iter().map(|file| file.as_str().unwrap()).collect();
    files.sort_unstable();
    let expected =
        ["changes.patch", "files/target/big.bin", "files/target/report.txt", "result.bundle", "summary.json"];
    assert_eq!(files, expected);
    assert_eq!(std::fs::read_to_string(out.join("files/target/report.txt")).unwrap(), "report\n");
    let sum = std::process::Command::new("sha256sum").arg(out.join("files/target/big.bin")).output().unwrap();
    let log = stack.logs(said.job()).await.out;
    assert!(String::from_utf8(sum.stdout).unwrap().starts_with(log.trim_end()));

    let summary: Summary = serde_json::from_slice(&std::fs::read(out.join("summary.json")).unwrap()).unwrap();
    assert_eq!((summary.base_commit, summary.files_changed, summary.tree_commit), (head, 2, true));
    assert_eq!(summary.warnings, [""; 0]);
    // The patch is one that git takes, binary files and all.
    let folder = TempDir::new().unwrap();
    let checkout = repo.clone_to(folder.path());
    git(&checkout, &["apply", &out.join("changes.patch").display().to_string()]);
    assert_eq!(std::fs::read(checkout.join("binary")).unwrap(), b"a\0b");
    assert_eq!(std::fs::read_to_string(checkout.join(".gitignore")).unwrap(), "target/\n");
}

#[tokio::test]
async fn the_changes_go_onto_the_work_tree_if_asked_and_never_over_ones_own() {
    let (stack, repo, folder) = (Stack::start().await, Repo::new(), TempDir::new().unwrap());
    let checkout = repo.clone_to(folder.path());
    let job = stack.wait(&repo.url(), &[], "echo '# Better' > README.md; echo new > new.txt").await.exits(0).job();
    let apply = ["pull", "--apply", &job.to_string()];

    std::fs::write(checkout.join("README.md"), "# My own\n").unwrap();
    let refused = stack.says_in(&checkout, &apply).await.exits(1);
    refused.tells(&["do not go onto the work tree cleanly", "hint: commit or stash your own changes"]);
    assert_eq!(std::fs::read_to_string(checkout.join("README.md")).unwrap(), "# My own\n");

    git(&checkout, &["checkout", "--quiet", "--", "."]);
    stack.says_in(&checkout, &apply).await.exits(0).prints(&["applied"]);
    assert_eq!(std::fs::read_to_string(checkout.join("README.md")).unwrap(), "# Better\n");
    assert_eq!(std::fs::read_to_string(checkout.join("new.txt")).unwrap(), "new\n");
    assert_eq!(git(&checkout, &["rev-parse", "HEAD"]), repo.head(), "HEAD moved");
}

#[tokio::test]
async fn a_job_that_changes_nothing_makes_no_branch() {
    let (stack, repo, folder) = (Stack::start().await, Repo::new(), TempDir::new().unwrap());
    let checkout = repo.clone_to(folder.path());
    let job = stack.wait(&repo.url(), &[], "true").await.exits(0).job().to_string();
    let said = stack.says_in(&checkout, &["pull", &job]).await.exits(0);
    said.tells(&["the job changed nothing, so there is no branch"]);
    assert_eq!(git(&checkout, &["branch", "--list", "ckrv/*"]), "");
    stack.says(&["status", &job]).await.exits(0).prints(&["no change"]);
}

#[tokio::test]
async fn what_is_read_by_programs_has_the_apis_shape() {
    let (stack, repo) = (Stack::start().await, Repo::new());
    let run = ["--label", "team=web", "--branch", "main", "--env", "A=b", "--priority", "3"];
    let job = stack.wait(&repo.url(), &run, "echo x > x").await.exits(0).job();
    let other = stack.wait(&repo.url(), &[], "exit 1").await.exits(1).job();
    let id = job.to_string();

    let shown: Job = stack.says(&["status", "-o", "json", &id]).await.exits(0).json();
    assert_eq!((shown.id, shown.state, shown.attempt, shown.spec.priority), (job, State::Succeeded, 1, 3));
    assert_eq!((shown.spec.branch.as_deref(), shown.spec.labels["team"].as_str()), (Some("main"), "web"));
    let result = shown.result.clone().unwrap();
    assert_eq!((result.branch, result.base_commit), (format!("ckrv/{id}"), repo.head()));
    let attempt = &shown.attempts[0];
    let times = [Some(attempt.queued_at), attempt.assigned_at, attempt.starting_at, attempt.running_at];
    let times: Vec<_> =
        times.into_iter().chain([attempt.finishing_at, attempt.finished_at]).map(Option::unwrap).collect();
    assert!(times.is_sorted(), "{times:?}");

    let all: Page<Job> = stack.says(&["list", "-o", "json"]).await.exits(0).json();
    assert_eq!(all.items.iter().map(|job| job.id).collect::<Vec<_>>(), [other, job], "the newest first");
    assert_eq!(all.items[1], Job { attempts: Vec::new(), ..shown });
    for filter in [["--state", "succeeded"], ["--label", "team=web"], ["--limit", "1"]] {
        let names = stack.ckrv(&[&["list", "-o", "name"], &filter[..]].concat()).await;
        assert_eq!(names, if filter[0] == "--limit" { other.to_string() } else { id.clone() }, "{filter:?}");
    }
    assert_eq!(stack.ckrv(&["list", "-o", "name", "--repo", &repo.url()]).await, format!("{other}\n{id}"));
    let explained: Explanation = stack.says(&["explain", "-o", "json", &id]).await.exits(0).json();
    assert_eq!((explained.job, explained.state, explained.cause), (job, State::Succeeded, None));
    let yaml = stack.ckrv(&["status", "-o", "yaml", &id]).await;
    assert!(yaml.contains(&format!("id: {id}\n")) && yaml.contains("state: succeeded\n"), "{yaml}");

    let lines = stack.ckrv(&["logs", "-o", "json", &id]).await;
    let lines: Vec<JobLine> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().map(|line| line.line.seq).eq(1..=lines.len() as u64), "{lines:?}");
    assert_eq!(attempt.log.unwrap().last_seq, lines.len() as u64);
}

#[tokio::test]
async fn a_log_is_read_in_part_or_in_full_long_after_the_end() {
    let (stack, repo) = (Stack::start().await, Repo::new());
    let job = stack.wait(&repo.url(), &[], "seq 1 5000; echo end >&2").await.exits(0).job();
    let id = job.to_string();
    let expected: String = (1..=5000).flat_map(|number| [number.to_string(), "\n".to_owned()]).collect();
    let full = stack.says(&["logs", &id]).await.exits(0);
    assert_eq!(full.out.replace("end\n", ""), expected);
    let followed = stack.says(&["logs", "--follow", &id]).await.exits(0);
    assert_eq!(followed.out, full.out);
    let numbered = stack.says(&["logs", "-o", "json", &id]).await.exits(0).out;
    let last = numbered.lines().rev().take(20).collect::<Vec<_>>();
    let tail = stack.says(&["logs", "-o", "json", "--tail", "20", &id]).await.exits(0).out;
    assert_eq!(tail.lines().rev().collect::<Vec<_>>(), last);

    let lines: Vec<JobLine> = numbered.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let since = lines[lines.len() / 2].line.ts;
    let later: Vec<&JobLine> = lines.iter().filter(|line| line.line.ts >= since).collect();
    let since = since.format(&time::format_description::well_known::Rfc3339).unwrap();
    let found = stack.says(&["logs", "-o", "json", "--since", &since, &id]).await.exits(0).out;
    let found: Vec<JobLine> = found.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(found.iter().eq(later), "{} lines since {since}", found.len());
    assert_eq!(stack.says(&["logs", "--attempt", "1", &id]).await.exits(0).out, full.out);
    let stamped = stack.says(&["logs", "--timestamps", "--tail", "20", &id]).await.exits(0);
    for line in stamped.out.lines() {
        let (stamp, _) = line.split_once(' ').unwrap();
        time::OffsetDateTime::parse(stamp, &time::format_description::well_known::Rfc3339).unwrap();
    }
    assert!(lines.iter().any(|line| line.line.stream == Stream::System) && !full.out.contains("cloning"));
}

#[tokio::test]
async fn a_retry_is_a_new_job_with_the_same_specification() {
    let (stack, repo, folder) = (Stack::start().await, Repo::new(), TempDir::new().unwrap());
    let mark = format!("MARK={}", folder.path().join("mark").display());
    let script = "[ -e \"$MARK\" ] || { touch \"$MARK\"; exit 3; }; echo worked";
    let first = stack.wait(&repo.url(), &["--env", &mark, "--label", "a=b"], script).await.exits(1).job();
    let second = stack.says(&["retry", &first.to_string()]).await.exits(0).job();
    assert_ne!(first, second);
    let job = stack.ended(second).await;
    let old = stack.status(first).await;
    assert_eq!((job.state, job.retry_of, &job.spec), (State::Succeeded, Some(first), &old.spec));
    assert_eq!(old.state, State::Failed, "the old job stays as it is");
    stack.says(&["status", &second.to_string()]).await.exits(0).prints(&["retry of", &first.to_string()]);

    let running = stack.submit(&repo.url(), &[], "sleep 600").await.to_string();
    let refused = stack.says(&["retry", &running]).await.exits(1);
    refused.tells(&["only a job that is over can be retried", "hint: "]);
    stack.says(&["cancel", &running]).await.exits(0);
}

/// Agents that read a prompt without a model.
fn readers(folder: &TempDir) -> Vec<(&'static str, String)> {
    let list = folder.path().join("agents.yaml");
    let agents = "agents:
  command: {argv: ['{command}'], output: text}
  reader: {argv: [sh, -c, 'echo \"$GREETING\"; cat > prompt.txt'], prompt: stdin, output: text, env: {GREETING: default}}
  echo: {argv: [printf, '<%s>', '{prompt}'], prompt: argv, output: text}
";
    std::fs::write(&list, agents).unwrap();
    vec![("CKRV_AGENTS", list.display().to_string())]
}

#[tokio::test]
async fn a_job_can_be_written_down_in_yaml_or_markdown() {
    let (repo, folder) = (Repo::new(), TempDir::new().unwrap());
    let stack = Stack::with(Options { runner: readers(&folder), ..Options::default() }).await;
    let write = |name: &str, text: &str| -> PathBuf {
        let path = stack.home.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let url = repo.url();
    write(
        "nightly.yaml",
        &format!(
            "repo: {url}\nbranch: main\ncommand: [sh, -c, 'echo \"$SIZE $FLAG\"; echo kept > kept.log']\nenv: {{SIZE: 12, FLAG: on}}\n\
         artifacts: ['*.log']\nlimits: {{run: 5m, idle: 90}}\nlabels: {{run: nightly}}\n"
        ),
    );
    let said = stack.says(&["run", "nightly.yaml", "--wait", "--label", "who=me", "--env", "SIZE=13"]).await.exits(0);
    let job = stack.status(said.job()).await;
    assert_eq!((job.spec.limits.run, job.spec.limits.idle, job.spec.labels.len()), (300, 90, 2));
    assert_eq!(stack.logs(job.id).await.out, "13 on\n", "a flag goes before the file");
    assert!(stack.manifest(job.id).await.iter().any(|artifact| artifact.name == "files/kept.log"));

    write(
        "task.md",
        &format!("---\nrepo: {url}\nagent: reader\nenv: {{GREETING: hello}}\n---\n\n# Fix it\n\n- é, *all* of it\n"),
    );
    let said = stack.says(&["run", "task.md", "--wait"]).await.exits(0);
    assert_eq!(stack.logs(said.job()).await.out, "hello\n");
    assert_eq!(stack.pull(&repo, said.job()).await.file("prompt.txt"), "# Fix it\n\n- é, *all* of it");
    let prompt = "--prompt=-- $(touch x); 'quoted'";
    let said = stack.says(&["run", "--repo", &url, "--agent", "echo", "--wait", prompt]).await.exits(0);
    assert_eq!(stack.logs(said.job()).await.out, "<-- $(touch x); 'quoted'>\n", "a shell has read the prompt");

    for (name, text, why) in [
        ("typo.yaml", "repo: x\npromt: do it\n", "promt"),
        ("limits.yaml", "limits: {rum: 3}\n", "rum"),
        ("list.yaml", "- repo: x\n", "not a job's specification"),
        ("two.md", "---\nprompt: a\n---\nb\n", "the prompt is given twice"),
        ("open.md", "---\nprompt: a\n", "does not end"),
        ("none.yaml", "", "repo"),
    ] {
        write(name, text);
        stack.says(&["run", name]).await.exits(2).tells(&[why]);
    }
    stack.says(&["run", "missing.yaml"]).await.tells(&["error: ", "missing.yaml"]);
    let jobs: Page<Job> = stack.says(&["list", "-o", "json"]).await.exits(0).json();
    assert_eq!(jobs.items.len(), 3, "a bad file became a job");
}

#[tokio::test]
async fn server_and_token_in_the_environment_are_all_that_is_needed() {
    let (stack, repo) = (Stack::start().await, Repo::new());
    let home = TempDir::new().unwrap();
    let says = async |arguments: &[&str]| {
        let mut command = stack.ckrv_command(arguments);
        command.env_clear().current_dir(home.path());
        command.env("PATH", "/usr/bin:/bin").env("HOME", home.path());
        command.env("CKRV_SERVER", stack.server_url()).env("CKRV_TOKEN", stack.keys.api_key.expose());
        Said::new(arguments, command.output().await.unwrap())
    };
    let run = ["run", "--repo", &repo.url(), "--wait", "--", "sh", "-c", "echo from CI; echo x > x"];
    let id = says(&run).await.exits(0).job().to_string();
    assert_eq!(says(&["logs", &id]).await.exits(0).out, "from CI\n");
    says(&["status", &id]).await.exits(0).prints(&["succeeded"]);
    says(&["list"]).await.exits(0).prints(&[&id]);
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0, "a file was written");
    says(&["pull", "--output", "out", &id]).await.exits(0);
    assert!(home.path().join("out/changes.patch").exists());
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 1, "another file was written");
}

#[tokio::test]
async fn without_a_control_plane_the_user_is_told_how_to_get_one() {
    let home = TempDir::new().unwrap();
    for arguments in [&["list"][..], &["run", "--repo", "https://example.com/a", "--", "true"]] {
        let mut command = tokio::process::Command::new(ckrv_tests::stack::program("ckrv"));
        command
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", home.path())
            .current_dir(home.path());
        let said = Said::new(arguments, command.output().await.unwrap()).exits(4);
        said.tells(&[
            "error: no control plane to talk to",
            "hint: `ckrv dev --detach`",
            "`ckrv cloud login --server URL`",
            "CKRV_SERVER with CKRV_TOKEN",
        ]);
    }
}
