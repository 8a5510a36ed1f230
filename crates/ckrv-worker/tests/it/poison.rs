//! A repository that the agent has poisoned runs nothing when the work is collected, and the work comes back all the same.
//!
//! Each poison is first shown to work: plain git, run in a copy of the tree as anybody would run it, makes the canary file.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ckrv_worker::collect::{CollectRequest, collect};

use crate::repository::{Attempt, PATH, git, git_output, write};

/// A trap that makes `canary`.
struct Trap {
    /// An executable script outside the tree.
    script: PathBuf,
    canary: PathBuf,
}

impl Trap {
    fn new(attempt: &Attempt) -> Self {
        let (script, canary) = (attempt.path("trap.sh"), attempt.path("canary"));
        write(attempt.folder.path(), "trap.sh", format!("#!/bin/sh\ntouch '{}'\nexit 1\n", canary.display()));
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        Self { script, canary }
    }

    fn script(&self) -> &str {
        self.script.to_str().unwrap()
    }

    fn has_sprung(&self) -> bool {
        fs::remove_file(&self.canary).is_ok()
    }
}

/// Puts the poison into the tree, which holds honest work by then; and shows it at work with plain git in a copy.
type Poison = fn(&Path, &Trap);
type Control = fn(&Path, &Trap);

async fn check(poison: Poison, control: Control) {
    let attempt = Attempt::new();
    let (checkout, baseline) = attempt.clone().await;
    let tree = &checkout.work_tree;
    write(tree, "src/main.txt", "one\nhonest\nthree\n");
    write(tree, "committed.txt", "honest\n");
    git(tree, &["add", "committed.txt"]);
    git(tree, &["commit", "--quiet", "-m", "honest"]);
    let bundle = attempt.path("agent.bundle");
    let not_base = format!("^{}", checkout.base);
    git(tree, &["bundle", "create", "--quiet", bundle.to_str().unwrap(), "HEAD", "refs/heads/main", &not_base]);
    write(tree, "loose.txt", "honest\n");
    let trap = Trap::new(&attempt);
    poison(tree, &trap);
    fs::remove_file(&trap.canary).ok();

    let copy = attempt.path("copy");
    let copied = Command::new("cp").args(["-a", "--"]).args([tree, &copy]).status().unwrap();
    assert!(copied.success());
    control(&copy, &trap);
    assert!(trap.has_sprung(), "the poison does not work: this test proves nothing");

    let globs = vec!["**".to_owned()];
    let bundles = vec![bundle];
    let request = CollectRequest { bundles, globs, ..attempt.collect_request(&checkout, &baseline) };
    let collected = collect(&request).await;
    assert!(!trap.has_sprung(), "collecting ran the agent's program");
    assert_eq!(collected.summary.agent_commits, 1);
    for (path, text) in [("src/main.txt", "one\nhonest\nthree"), ("committed.txt", "honest"), ("loose.txt", "honest")] {
        assert_eq!(attempt.pulled(&collected, path), text);
    }
    assert!(!trap.has_sprung(), "the result carries the poison to the one who pulls it");
}

/// Runs git; it may fail.
fn run(folder: &Path, args: &[&str]) {
    git_output(folder, args);
}

fn config(tree: &Path, key: &str, value: &str) {
    git(tree, &["config", key, value]);
}

macro_rules! poisons {
    ($($name:ident: |$tree:ident, $trap:ident| $poison:block, |$copy:ident| $control:block)+) => {
        $(
            #[tokio::test]
            async fn $name() {
                check(|$tree, $trap| $poison, |$copy, _trap| $control).await;
            }
        )+
    };
}

poisons! {
    a_file_system_monitor_does_not_run: |tree, trap| {
        config(tree, "core.fsmonitor", trap.script());
    }, |copy| {
        run(copy, &["status"]);
    }

    an_ssh_command_does_not_run: |tree, trap| {
        config(tree, "core.sshCommand", trap.script());
        config(tree, "remote.origin.url", "ssh://git@localhost/x");
    }, |copy| {
        run(copy, &["fetch"]);
    }

    a_promised_object_is_not_fetched: |tree, trap| {
        config(tree, "core.repositoryFormatVersion", "1");
        config(tree, "extensions.partialClone", "origin");
        config(tree, "remote.origin.promisor", "true");
        config(tree, "core.sshCommand", trap.script());
        config(tree, "remote.origin.url", "ssh://git@localhost/x");
    }, |copy| {
        run(copy, &["cat-file", "-p", "1111111111111111111111111111111111111111"]);
    }

    an_external_diff_does_not_run: |tree, trap| {
        config(tree, "diff.external", trap.script());
    }, |copy| {
        run(copy, &["diff"]);
    }

    a_text_conversion_does_not_run: |tree, trap| {
        config(tree, "diff.evil.textconv", trap.script());
        write(tree, ".gitattributes", "* diff=evil\n");
    }, |copy| {
        run(copy, &["diff"]);
    }

    a_diff_driver_does_not_run: |tree, trap| {
        config(tree, "diff.evil.command", trap.script());
        write(tree, ".gitattributes", "* diff=evil\n");
    }, |copy| {
        run(copy, &["diff"]);
    }

    a_clean_filter_does_not_run: |tree, trap| {
        config(tree, "filter.evil.clean", trap.script());
        write(tree, ".gitattributes", "* filter=evil\n");
    }, |copy| {
        run(copy, &["add", "-A"]);
    }

    a_clean_filter_of_the_private_attributes_does_not_run: |tree, trap| {
        config(tree, "filter.evil.clean", trap.script());
        write(tree, ".git/info/attributes", "* filter=evil\n");
    }, |copy| {
        run(copy, &["add", "-A"]);
    }

    a_smudge_filter_does_not_run: |tree, trap| {
        config(tree, "filter.evil.smudge", trap.script());
        write(tree, ".gitattributes", "* filter=evil\n");
    }, |copy| {
        run(copy, &["checkout", "--", "README", "src/main.txt"]);
    }

    a_filter_process_does_not_run: |tree, trap| {
        config(tree, "filter.evil.process", trap.script());
        config(tree, "filter.evil.required", "true");
        write(tree, ".gitattributes", "* filter=evil\n");
    }, |copy| {
        run(copy, &["add", "-A"]);
    }

    a_hooks_path_does_not_run: |tree, trap| {
        write(tree, ".git/evil/pre-commit", fs::read(&trap.script).unwrap());
        fs::set_permissions(tree.join(".git/evil/pre-commit"), fs::Permissions::from_mode(0o755)).unwrap();
        let hooks = tree.join(".git/evil");
        config(tree, "core.hooksPath", hooks.to_str().unwrap());
    }, |copy| {
        run(copy, &["commit", "--allow-empty", "-m", "x"]);
    }

    hooks_do_not_run: |tree, trap| {
        let hooks = [
            "pre-commit", "post-commit", "post-index-change", "reference-transaction", "post-checkout", "update", "pre-auto-gc",
            "commit-msg", "prepare-commit-msg", "post-update", "pre-receive",
        ];
        for hook in hooks {
            write(tree, &format!(".git/hooks/{hook}"), fs::read(&trap.script).unwrap());
            fs::set_permissions(tree.join(".git/hooks").join(hook), fs::Permissions::from_mode(0o755)).unwrap();
        }
    }, |copy| {
        run(copy, &["commit", "--allow-empty", "-m", "x"]);
    }

    a_credential_helper_does_not_run: |tree, trap| {
        config(tree, "credential.helper", trap.script());
    }, |copy| {
        let mut fill = Command::new("git");
        fill.args(["credential", "fill"]).current_dir(copy).env("GIT_TERMINAL_PROMPT", "0").stdin(Stdio::piped());
        let mut fill = fill.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut stdin = fill.stdin.take().unwrap();
        std::io::Write::write_all(&mut stdin, b"protocol=https\nhost=x\n\n").unwrap();
        drop(stdin);
        fill.wait().unwrap();
    }

    a_signing_program_does_not_run: |tree, trap| {
        config(tree, "gpg.program", trap.script());
        config(tree, "commit.gpgSign", "true");
    }, |copy| {
        run(copy, &["commit", "--allow-empty", "-m", "x"]);
    }

    an_editor_does_not_run: |tree, trap| {
        config(tree, "core.editor", trap.script());
    }, |copy| {
        run(copy, &["commit", "--allow-empty"]);
    }

    a_pager_does_not_run: |tree, trap| {
        config(tree, "core.pager", trap.script());
        config(tree, "pager.diff", trap.script());
    }, |copy| {
        // git pages on a terminal only: `script` is one.
        let mut script = Command::new("script");
        script.args(["-qec", "git --paginate log", "/dev/null"]).current_dir(copy).env_clear();
        script.env("PATH", PATH).env("TERM", "xterm").env("HOME", "/nonexistent");
        script.stdin(Stdio::null()).stdout(Stdio::null()).status().unwrap();
    }

    an_alias_does_not_run: |tree, trap| {
        for name in ["status", "st", "add", "collect"] {
            config(tree, &format!("alias.{name}"), &format!("!{}", trap.script()));
        }
    }, |copy| {
        run(copy, &["st"]);
    }

    an_included_configuration_is_not_read: |tree, trap| {
        write(tree, "evil.config", format!("[core]\n\tfsmonitor = {}\n", trap.script()));
        config(tree, "include.path", "../evil.config");
    }, |copy| {
        run(copy, &["status"]);
    }

    a_git_file_that_points_elsewhere_is_not_followed: |tree, trap| {
        let elsewhere = trap.script.with_file_name("elsewhere.git");
        config(tree, "core.fsmonitor", trap.script());
        fs::rename(tree.join(".git"), &elsewhere).unwrap();
        write(tree, ".git", format!("gitdir: {}\n", elsewhere.display()));
    }, |copy| {
        run(copy, &["status"]);
    }

    a_git_link_that_points_elsewhere_is_not_followed: |tree, trap| {
        let elsewhere = trap.script.with_file_name("elsewhere.git");
        config(tree, "core.fsmonitor", trap.script());
        fs::rename(tree.join(".git"), &elsewhere).unwrap();
        symlink(&elsewhere, tree.join(".git")).unwrap();
    }, |copy| {
        run(copy, &["status"]);
    }

    a_nested_repository_is_not_entered: |tree, trap| {
        for folder in ["nested", "src/deep/nested"] {
            write(tree, &format!("{folder}/file"), "x");
            let nested = tree.join(folder);
            git(&nested, &["init", "--quiet"]);
            git(&nested, &["add", "-A"]);
            git(&nested, &["commit", "--quiet", "-m", "x"]);
            git(tree, &["add", folder]);
            config(&nested, "core.fsmonitor", trap.script());
        }
    }, |copy| {
        run(copy, &["add", "-A"]);
    }

    a_nested_git_file_is_not_followed: |tree, trap| {
        let elsewhere = trap.script.with_file_name("elsewhere.git");
        write(tree, "nested/file", "x");
        let nested = tree.join("nested");
        git(&nested, &["init", "--quiet", "--separate-git-dir", elsewhere.to_str().unwrap()]);
        git(&nested, &["add", "-A"]);
        git(&nested, &["commit", "--quiet", "-m", "x"]);
        git(tree, &["add", "nested"]);
        config(&nested, "core.fsmonitor", trap.script());
    }, |copy| {
        run(copy, &["add", "-A"]);
    }

    refs_and_objects_of_strange_names_and_places_do_no_harm: |tree, trap| {
        let elsewhere = trap.script.with_file_name("objects");
        fs::create_dir(&elsewhere).unwrap();
        write(tree, ".git/objects/info/alternates", format!("{}\n", elsewhere.display()));
        let head = git(tree, &["rev-parse", "HEAD"]);
        for name in ["-x", "--upload-pack=touch canary", "a..b", "x.lock", "..;touch canary", "\u{1b}[2J"] {
            write(tree, &format!(".git/refs/heads/{name}"), format!("{head}\n"));
        }
        git(tree, &["replace", "--graft", "HEAD"]);
        config(tree, "core.worktree", "/etc");
        config(tree, "core.fsmonitor", trap.script());
    }, |copy| {
        run(copy, &["status"]);
    }
}
