use ckrv_tests::replica::Loops;
use ckrv_types::Cause;
use ckrv_types::artifact::ArtifactStatus::{Failed, Stored};
use reqwest::StatusCode;

use super::sha256;
use crate::logs::Fixture;

const CONTENT: &[u8] = b"<script>alert('hi')</script>";

async fn with_one(fixture: &Fixture, name: &str) {
    fixture.store(1, name, CONTENT).await;
    fixture.finish_artifacts(1, &[(name, Stored)]).await;
}

#[tokio::test]
async fn an_artifact_comes_whole_with_its_hash_and_is_never_shown_in_place() {
    let fixture = Fixture::new().await;
    with_one(&fixture, "files/a/ü \"x\".html").await;
    let manifest = fixture.manifest().await;
    assert_eq!(manifest.items[0].sha256.as_deref(), Some(sha256(CONTENT).as_str()));
    let response = fixture.get("/files/a/%C3%BC%20%22x%22.html").await;
    assert_eq!(response.status(), StatusCode::OK);
    let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("content-length"), CONTENT.len().to_string());
    assert_eq!(header("etag"), format!("\"{}\"", sha256(CONTENT)));
    assert_eq!(header("content-disposition"), "attachment; filename*=UTF-8''%C3%BC%20%22x%22.html");
    assert_eq!(header("x-content-type-options"), "nosniff");
    assert!(header("content-security-policy").contains("sandbox"));
    assert_eq!(response.bytes().await.unwrap(), CONTENT);
}

#[tokio::test]
async fn a_range_is_served_and_one_that_makes_no_sense_ignored() {
    let fixture = Fixture::new().await;
    with_one(&fixture, "a").await;
    let url = fixture.url(&format!("/v1/jobs/{}/artifacts/a", fixture.job));
    let range = async |range: &str| {
        let request = fixture.http.get(&url).bearer_auth(fixture.installation.keys().api_key.expose());
        request.header("range", range).send().await.unwrap()
    };
    let part = range("bytes=1-6").await;
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.headers()["content-range"], format!("bytes 1-6/{}", CONTENT.len()).as_str());
    assert_eq!(part.bytes().await.unwrap(), &CONTENT[1..=6]);
    let whole = range("bytes=999-").await;
    assert_eq!((whole.status(), whole.bytes().await.unwrap().len()), (StatusCode::OK, CONTENT.len()));
}

#[tokio::test]
async fn what_is_not_there_or_not_yours_is_not_found() {
    let fixture = Fixture::new().await;
    with_one(&fixture, "a").await;
    fixture.finish_artifacts(1, &[("a", Stored), ("broken", Failed)]).await;
    for path in ["/b", "/a/b", "/../a", "/broken"] {
        assert_eq!(fixture.get(path).await.status(), StatusCode::NOT_FOUND, "{path}");
    }
    let stranger = fixture.installation.organization("strangers").await.api_key;
    for path in ["", "/a"] {
        let url = fixture.url(&format!("/v1/jobs/{}/artifacts{path}", fixture.job));
        let response = fixture.http.get(url).bearer_auth(stranger.expose()).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn the_manifest_is_of_the_latest_attempt_that_stored_any() {
    let fixture = Fixture::new().await;
    assert_eq!(fixture.manifest().await.items, []);
    with_one(&fixture, "a").await;
    fixture.end(1, Some(Cause::NodeLost), None).await;
    fixture.finish_artifacts(2, &[("a", Failed)]).await;
    fixture.end(2, Some(Cause::NodeLost), None).await;
    assert_eq!(fixture.manifest().await.items[0].attempt, 1);
    fixture.store(3, "b", b"later").await;
    fixture.finish_artifacts(3, &[("b", Stored)]).await;
    let manifest = fixture.manifest().await;
    assert_eq!((manifest.items.len(), manifest.items[0].name.as_str(), manifest.items[0].attempt), (1, "b", 3));
}

#[tokio::test]
async fn where_users_reach_the_store_they_are_sent_there_without_a_credential() {
    let elsewhere = "http://127.0.0.1:9";
    let fixture = Fixture::with(&["--s3-public-endpoint", elsewhere]).await;
    with_one(&fixture, "files/a.txt").await;
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let url = fixture.url(&format!("/v1/jobs/{}/artifacts/files/a.txt", fixture.job));
    let response = http.get(url).bearer_auth(fixture.installation.keys().api_key.expose()).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::TEMPORARY_REDIRECT);
    let location = response.headers()["location"].to_str().unwrap();
    assert!(location.starts_with(&format!("{elsewhere}/ckrv/artifacts/")), "{location}");
    assert!(location.contains("response-content-disposition=attachment"), "{location}");
}

#[tokio::test]
async fn a_redirect_to_the_store_gets_the_bytes() {
    let plain = Fixture::new().await;
    let endpoint = plain.installation.s3().endpoint().to_owned();
    let state = plain.installation.another_replica_with(Loops::Off, &["--s3-public-endpoint", &endpoint]).await;
    with_one(&plain, "a").await;
    let url = state.url().join(&format!("/v1/jobs/{}/artifacts/a", plain.job)).unwrap();
    // The client follows the redirect, and drops its credential on the way to another origin.
    let response = plain.http.get(url).bearer_auth(plain.installation.keys().api_key.expose()).send().await.unwrap();
    assert_eq!(response.url().origin(), endpoint.parse::<reqwest::Url>().unwrap().origin());
    assert!(response.headers()["content-disposition"].to_str().unwrap().starts_with("attachment"));
    assert_eq!(response.bytes().await.unwrap(), CONTENT);
}
