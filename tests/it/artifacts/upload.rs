use ckrv_server::db::transition::Transition;
use ckrv_tests::acting::SOON;
use ckrv_tests::wait::wait_for;
use ckrv_types::artifact::ArtifactStatus::{Failed, Skipped, Stored};
use ckrv_types::worker::{NewArtifact, Upload};
use ckrv_types::{Cause, ProblemCode, limits};
use reqwest::StatusCode;

use super::artifact;
use crate::logs::{Fixture, problem};

#[tokio::test]
async fn an_upload_takes_these_bytes_and_no_others() {
    let fixture = Fixture::new().await;
    let upload: Upload = fixture.offer(1, &artifact("files/a", b"the work")).await.json().await.unwrap();
    for other in [&b"the w0rk"[..], b"longer than the work", b""] {
        assert!(fixture.put(&upload, other).await.is_client_error());
    }
    fixture.finish_artifacts(1, &[("files/a", Stored)]).await;
    assert_eq!(fixture.manifest().await.items[0].status, Failed, "nothing of it is in the store");
    assert_eq!(fixture.put(&upload, b"the work").await, StatusCode::OK);
    fixture.finish_artifacts(1, &[("files/a", Stored)]).await;
    assert_eq!(fixture.manifest().await.items[0].status, Stored);
}

#[tokio::test]
async fn what_a_worker_says_is_checked_against_the_store() {
    let fixture = Fixture::new().await;
    fixture.store(1, "result.bundle", b"bundle").await;
    fixture.store(1, "files/replaced", b"old").await;
    for never_sent in ["files/never-sent", "files/replaced", "files/silent"] {
        assert_eq!(fixture.offer(1, &artifact(never_sent, b"not sent")).await.status(), StatusCode::OK);
    }
    fixture
        .finish_artifacts(
            1,
            &[
                ("result.bundle", Stored),
                ("files/never-sent", Stored),
                ("files/never-offered", Stored),
                ("files/replaced", Stored),
                ("files/*.none", Skipped),
                ("files/broken\u{1b}[2J", Failed),
            ],
        )
        .await;
    fixture.end(1, None, Some(0)).await;
    let manifest = fixture.manifest().await;
    let outcome = |name: &str| {
        let item = manifest.items.iter().find(|item| item.name == name).unwrap_or_else(|| panic!("{name} is missing"));
        (item.status, item.sha256.is_some(), item.message.clone().unwrap_or_default())
    };
    assert_eq!(outcome("result.bundle"), (Stored, true, String::new()));
    let (status, hash, message) = outcome("files/never-sent");
    assert!(status == Failed && !hash && message.contains("never arrived"), "{message}");
    assert!(outcome("files/never-offered").2.contains("never offered"));
    assert!(outcome("files/replaced").2.contains("bytes"), "the store still has the old one");
    assert!(outcome("files/silent").2.contains("did not say"));
    assert_eq!(outcome("files/*.none").0, Skipped);
    assert_eq!(outcome("files/broken\u{fffd}[2J").0, Failed);
}

#[tokio::test]
async fn hostile_names_sizes_and_hashes_are_refused() {
    let fixture = Fixture::new().await;
    let long = "x".repeat(limits::ARTIFACT_NAME_CHARS + 1);
    for name in
        ["", "/etc/passwd", "../x", "a/../x", "a//b", "a/", ".", "a\\b", "a\nb", "a\0b", "\u{202e}gpj.exe", &long]
    {
        let response = fixture.offer(1, &artifact(name, b"x")).await;
        assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY, "{name:?}");
        assert_eq!(problem(response).await.errors[0].field, "name", "{name:?}");
    }
    let good = artifact("a", b"x");
    for broken in [
        NewArtifact { size: limits::ARTIFACT_BYTES + 1, ..good.clone() },
        NewArtifact { sha256: "x".repeat(64), ..good.clone() },
        NewArtifact { content_type: "a/b\r\nSet-Cookie: x".to_owned(), ..good.clone() },
    ] {
        assert_eq!(fixture.offer(1, &broken).await.status(), StatusCode::UNPROCESSABLE_ENTITY, "{broken:?}");
    }
    assert_eq!(fixture.manifest().await.items, []);
}

#[tokio::test]
async fn nothing_is_taken_for_an_attempt_that_is_over_or_that_never_was() {
    let fixture = Fixture::new().await;
    let missing = fixture.offer(2, &artifact("a", b"x")).await;
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);
    fixture.end(1, None, Some(0)).await;
    let over = fixture.offer(1, &artifact("a", b"x")).await;
    assert_eq!(over.status(), StatusCode::GONE);
    let over = problem(over).await;
    assert_eq!((over.code, over.sealed_seq), (ProblemCode::Sealed, Some(0)));
}

#[tokio::test]
async fn what_is_offered_while_the_attempt_ends_is_refused_and_not_left_pending() {
    let fixture = Fixture::new().await;
    let (state, org) = (fixture.installation.state(), fixture.installation.keys().org);
    let mut ending = state.db.tenant(org).await.unwrap();
    let end = Transition::end(fixture.attempt(1), Cause::AgentExit, None);
    assert!(end.apply(&mut ending).await.unwrap().unwrap().applied);
    let waiting = async {
        let sql = tokio::sync::Mutex::new(fixture.installation.sql().await);
        wait_for("the offer waits for the end", SOON, async || {
            let locked =
                "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
            let locked: i64 = sqlx::query_scalar(locked).fetch_one(&mut *sql.lock().await).await.unwrap();
            (locked == 1).then_some(())
        })
        .await;
        ending.commit().await.unwrap();
    };
    let offered = artifact("a", b"x");
    let (offered, ()) = tokio::join!(fixture.offer(1, &offered), waiting);
    assert_eq!(offered.status(), StatusCode::GONE);
    assert_eq!(fixture.manifest().await.items, []);
}

#[tokio::test]
async fn an_attempt_has_so_many_artifacts_and_no_more() {
    let fixture = Fixture::new().await;
    let mut sql = fixture.installation.sql().await;
    sqlx::query(
        "insert into artifacts (job_id, attempt, org_id, name, status)
         select $1, 1, $2, 'files/' || n, 'pending' from generate_series(1, $3) n",
    )
    .bind(fixture.job.uuid())
    .bind(fixture.installation.keys().org.uuid())
    .bind(i32::try_from(limits::ARTIFACTS).unwrap())
    .execute(&mut sql)
    .await
    .unwrap();
    assert_eq!(fixture.offer(1, &artifact("one/more", b"x")).await.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(fixture.offer(1, &artifact("files/7", b"x")).await.status(), StatusCode::OK, "one of them again");
}

#[tokio::test]
async fn while_the_store_is_away_a_worker_is_asked_to_try_again() {
    let fixture = Fixture::new().await;
    fixture.store(1, "a", b"x").await;
    fixture.installation.s3().set_refusing(true);
    let finished = [ckrv_types::worker::FinishedArtifact { name: "a".to_owned(), status: Stored, message: None }];
    let (state, org) = (fixture.installation.state(), fixture.installation.keys().org);
    let error = ckrv_server::artifacts::confirm(state, org, fixture.attempt(1), &finished).await.unwrap_err();
    assert_eq!(error.problem().code, ProblemCode::Unavailable);
}
