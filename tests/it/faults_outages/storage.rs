//! The object store refuses, alone or with everything else.

use super::*;

/// Makes a commit's worth of change, and a file that git ignores and the job declares.
fn work() -> String {
    "echo '*.log' > .gitignore; echo made > made.txt; echo logged > out.log".to_owned()
}

#[tokio::test]
async fn an_object_store_that_refuses_around_the_upload_is_waited_for() {
    let (stack, repo, gate) = (Stack::start().await, Repo::new(), Gate::new());
    let job = stack.submit(&repo.url(), &["--artifact", "*.log"], &format!("{}; {}", work(), gate.stop("run"))).await;
    gate.reached("run").await;
    stack.s3.set_refusing(true);
    gate.open("run");
    until(&stack, first(job), State::Finishing).await;
    // Long enough for the pauses between tries to have grown.
    lasts(Duration::from_secs(10)).await;
    assert_eq!(stack.status(job).await.state, State::Finishing, "it cannot have stored anything");
    stack.s3.set_refusing(false);
    succeeded_at_once(&stack.ended(job).await);
    let pulled = stack.pull(&repo, job).await;
    assert_eq!(pulled.file("made.txt"), "made");
    let statuses: Vec<_> = stack.manifest(job).await.into_iter().map(|found| (found.name, found.status)).collect();
    assert!(statuses.contains(&("files/out.log".to_owned(), ArtifactStatus::Stored)), "{statuses:?}");
    stack.holds(&[job]).await;
}

#[tokio::test]
async fn an_object_store_that_refuses_past_the_deadline_fails_the_job_that_has_work_to_lose_and_no_other() {
    let runner = vec![("CKRV_UPLOAD_LIMIT", "3".to_owned())];
    let (stack, repo) = (Stack::with(Options { runner, ..Options::default() }).await, Repo::new());
    stack.s3.set_refusing(true);
    let options = ["--max-attempts", "1", "--artifact", "*.txt"];
    let with_work = stack.submit(&repo.url(), &options, "echo made > made.txt; echo done").await;
    let without = stack.submit(&repo.url(), &options, "echo done").await;

    let ended = stack.ended(with_work).await;
    assert_eq!((ended.state, ended.cause), (State::Failed, Some(Cause::Storage)), "{:?}", ended.message);
    let message = ended.message.unwrap_or_default();
    assert!(message.contains(BUNDLE) && message.contains("503"), "{message}");
    let manifest = stack.manifest(with_work).await;
    for name in [BUNDLE, "files/made.txt"] {
        let found = manifest.iter().find(|found| found.name == name).unwrap_or_else(|| panic!("{name}: {manifest:?}"));
        assert_eq!(found.status, ArtifactStatus::Failed);
        assert!(found.message.as_deref().is_some_and(|why| why.contains("503")), "{found:?}");
    }
    // Nothing was changed, so nothing that matters is lost.
    succeeded_at_once(&stack.ended(without).await);
    for job in [with_work, without] {
        assert_eq!(stack.logs(job).await.out, "done\n");
    }
    stack.s3.set_refusing(false);
    stack.holds(&[with_work, without]).await;
}

#[tokio::test]
async fn an_agent_that_ends_while_the_whole_control_plane_is_away_has_succeeded_all_the_same() {
    let options = Options { server: quick_leases(), ..Options::default() };
    let (mut stack, repo, gate) = (Stack::with(options).await, Repo::new(), Gate::new());
    let last = gate.note("last", "word");
    let script = format!("{}; {}; echo done; {last}", gate.stop("run"), work());
    let job = stack.submit(&repo.url(), &["--artifact", "*.log"], &script).await;
    gate.reached("run").await;
    stack.kill_server().await;
    stack.s3.set_refusing(true);
    gate.open("run");
    gate.read("last").await;
    lasts(LEASE * 2).await;
    stack.s3.set_refusing(false);
    stack.start_server().await;
    succeeded_at_once(&stack.ended(job).await);
    assert_eq!(stack.logs(job).await.out, "done\n");
    assert_eq!(stack.pull(&repo, job).await.file("made.txt"), "made");
    stack.holds(&[job]).await;
}
