//! Agents that print too much, too long, no text, or secrets: each line arrives once, in order, as far as it can be shown.

use ckrv_tests::repo::Repo;
use ckrv_tests::stack::{Options, Stack, restrict};
use ckrv_types::limits::LINE_BYTES;
use ckrv_types::log::{JobLine, Stream};
use tempfile::TempDir;

#[tokio::test]
async fn fifty_megabytes_arrive_line_by_line_each_once() {
    const LINES: usize = 250_000;
    // 201 bytes a line with its end.
    let line = |number: usize| format!("{number:010} {}", "abcdefghi".repeat(21));
    let (stack, repo) = (Stack::start().await, Repo::new());
    let format = format!("%010.0f {}", "abcdefghi".repeat(21));
    let script =
        format!("seq -f '{format}' 1 {LINES} > printed.txt; cat printed.txt; sha256sum < printed.txt > sum.txt");
    let said = stack.wait(&repo.url(), &["--artifact", "printed.txt"], &script).await.exits(0);
    let job = stack.status(said.job()).await;
    assert!(job.attempts[0].log.unwrap().last_seq >= LINES as u64);

    let log = stack.ckrv_in(stack.home.path(), &["logs", &job.id.to_string()]).await.stdout;
    assert_eq!(log.len(), LINES * 201);
    for (number, found) in (1..).zip(log.split_inclusive(|byte| *byte == b'\n')) {
        let expected = line(number);
        assert!(found.strip_suffix(b"\n") == Some(expected.as_bytes()), "line {number}: {:?}", str::from_utf8(found));
    }
    let numbered = stack.ckrv_in(stack.home.path(), &["logs", "-o", "json", &job.id.to_string()]).await.stdout;
    for (seq, found) in (1..).zip(numbered.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())) {
        let found: JobLine = serde_json::from_slice(found).unwrap();
        assert_eq!((found.attempt, found.line.seq), (1, seq));
    }
    // What was printed, by the hash that the agent itself has taken of it, and by that of the stored copy.
    let printed = stack.home.path().join("printed");
    std::fs::write(&printed, &log).unwrap();
    let sum = sha256(&printed);
    assert!(stack.pull(&repo, job.id).await.file("sum.txt").starts_with(&sum));
    let stored =
        stack.manifest(job.id).await.into_iter().find(|artifact| artifact.name == "files/printed.txt").unwrap();
    assert_eq!(stored.sha256.as_deref(), Some(sum.as_str()));
}

/// By sha256sum(1).
fn sha256(path: &std::path::Path) -> String {
    let output = std::process::Command::new("sha256sum").arg(path).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap().trim_start_matches('\\').to_owned()
}

#[tokio::test]
async fn bytes_that_are_no_text_are_replaced_and_harm_nothing() {
    let (stack, repo) = (Stack::start().await, Repo::new());
    let script =
        r"printf 'good\n\377\376 bad\0bytes\n\303\244 fine, \303 not\n'; head -c 300000 /dev/urandom; printf '\nend\n'";
    let said = stack.wait(&repo.url(), &[], script).await.exits(0);
    let log = stack.logs(said.job()).await;
    assert!(log.out.starts_with("good\n\u{fffd}\u{fffd} bad\0bytes\nä fine, \u{fffd} not\n"), "{log}");
    assert!(log.out.ends_with("\nend\n"), "{log}");
}

#[tokio::test]
async fn a_line_of_ten_megabytes_is_cut_and_marked_and_the_next_one_is_whole() {
    let (stack, repo) = (Stack::start().await, Repo::new());
    let script = "echo before; head -c 10000000 /dev/zero | tr '\\0' x; echo; echo after";
    let said = stack.wait(&repo.url(), &[], script).await.exits(0);
    let log = stack.logs(said.job()).await;
    let lines: Vec<&str> = log.out.lines().collect();
    assert_eq!((lines.len(), lines[0], lines[2]), (3, "before", "after"), "{log}");
    let (kept, mark) = lines[1].split_once(" … ").expect("the cut is marked");
    assert!(kept.len() <= LINE_BYTES && kept.len() > LINE_BYTES / 2 && kept.bytes().all(|byte| byte == b'x'));
    assert_eq!(mark, format!("[cut: {} more bytes]", 10_000_000 - kept.len()));
}

#[tokio::test]
async fn a_line_that_is_never_ended_is_shown_while_the_agent_waits() {
    let (stack, repo) = (Stack::start().await, Repo::new());
    let job = stack.submit(&repo.url(), &[], "printf 'continue? [y/n] '; until [ -e go ]; do sleep 0.05; done").await;
    stack.until_printed(job, "continue? [y/n] ").await;
    stack.says(&["cancel", &job.to_string()]).await.exits(0);
}

#[tokio::test]
async fn standard_error_and_standard_output_are_told_apart_and_both_printed() {
    let (stack, repo) = (Stack::start().await, Repo::new());
    let said = stack.wait(&repo.url(), &[], "echo out; echo err >&2").await.exits(0);
    let lines = stack.says(&["logs", "-o", "json", &said.job().to_string()]).await.exits(0);
    let lines: Vec<JobLine> = lines.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let stream_of = |text: &str| lines.iter().find(|line| line.line.text == text).map(|line| line.line.stream);
    assert_eq!((stream_of("out"), stream_of("err")), (Some(Stream::Stdout), Some(Stream::Stderr)));
}

#[tokio::test]
async fn what_the_runner_holds_as_secret_is_redacted_in_every_form_it_is_printed_in() {
    const TOKEN: &str = "glpat-Zx81+q/7Kd&mmQp";
    let folder = TempDir::new().unwrap();
    let secrets = folder.path().join("secrets.yaml");
    std::fs::write(&secrets, format!("forge:\n  git: {{host: git.example.com, username: bot, token: '{TOKEN}'}}\n"))
        .unwrap();
    restrict(&secrets);
    let runner = vec![("CKRV_SECRETS", secrets.display().to_string())];
    let (stack, repo) = (Stack::with(Options { runner, ..Options::default() }).await, Repo::new());
    // In one piece, in two writes, as base64, as a part of a URL, and on the other stream.
    let script = format!(
        "t='{TOKEN}'; echo \"plain $t.\"; printf 'torn %s' 'glpat-Zx81+'; sleep 0.5; echo 'q/7Kd&mmQp.'
         printf %s \"user:$t\" | base64; echo 'url glpat-Zx81%2Bq%2F7Kd%26mmQp.'; echo \"error $t.\" >&2; echo 'glpat- is fine'"
    );
    let said = stack.wait(&repo.url(), &[], &script).await.exits(0);
    let id = said.job().to_string();
    let log = stack.logs(said.job()).await;
    log_has_no_secret(&log.out);
    let lines: Vec<&str> = log.out.lines().filter(|line| !line.starts_with("error")).collect();
    assert_eq!(lines[0], "plain [redacted].");
    assert!(log.out.contains("url [redacted].\n") && log.out.contains("error [redacted].\n"), "{log}");
    assert_eq!(lines.last(), Some(&"glpat- is fine"));
    let raw = stack.says(&["logs", "--raw", "-o", "json", &id]).await.exits(0);
    log_has_no_secret(&raw.out);
    for name in ["server.log", "runner.log"] {
        log_has_no_secret(&stack.log(name));
    }
}

#[track_caller]
fn log_has_no_secret(text: &str) {
    // The token itself, the end of its torn form, its base64 behind `user:`, its URL form.
    for piece in ["Zx81+q", "7Kd&mmQp", "BhdC1aeDgxK3E", "Zx81%2B"] {
        assert!(!text.contains(piece), "`{piece}` is in:\n{text}");
    }
}
