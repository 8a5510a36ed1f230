//! Artifacts: from the server, or from where it points to, and nowhere else.

use bytes::Bytes;
use ckrv_client::ClientError;
use ckrv_types::JobId;
use futures::TryStreamExt as _;

use crate::peer::{Peer, Reply, Then};

async fn read(peer: &Peer, name: &str) -> Result<Vec<u8>, ClientError> {
    let download = peer.client().download(JobId::new(), name).await?;
    let chunks: Vec<Bytes> = download.into_stream().try_collect().await?;
    Ok(chunks.concat())
}

#[tokio::test]
async fn an_object_comes_from_the_server_by_its_escaped_name() {
    let peer = Peer::start(|_, _| Reply::status("200 OK", &[], "content")).await;
    assert_eq!(read(&peer, "files/a b/c?.txt").await.unwrap(), b"content");
    assert!(peer.requests()[0].target.ends_with("/artifacts/files/a%20b/c%3F.txt"), "{}", peer.requests()[0].target);
}

#[tokio::test]
async fn a_presigned_address_is_followed_once_and_without_the_token() {
    let store = Peer::start(|_, _| Reply::status("200 OK", &[], "stored")).await;
    let location = store.url.join("/bucket/x?signature=s").unwrap().to_string();
    let peer = Peer::start(move |_, _| Reply::status("307 Temporary Redirect", &[("location", &location)], "")).await;
    assert_eq!(read(&peer, "changes.patch").await.unwrap(), b"stored");
    let request = &store.requests()[0];
    assert_eq!(request.target, "/bucket/x?signature=s");
    assert_eq!(request.header("authorization"), None);
}

#[tokio::test]
async fn an_address_in_clear_text_elsewhere_or_a_second_redirect_is_refused() {
    for location in ["http://192.0.2.1/x?signature=s", "ftp://127.0.0.1/x", "file:///etc/passwd"] {
        let peer =
            Peer::start(move |_, _| Reply::status("307 Temporary Redirect", &[("location", location)], "")).await;
        let error = read(&peer, "changes.patch").await.unwrap_err();
        assert!(matches!(error, ClientError::Redirect { .. }), "{location}: {error:?}");
        assert!(!error.to_string().contains("signature"), "{error}");
    }
    let store = Peer::start(|_, _| Reply::status("302 Found", &[("location", "https://192.0.2.1/")], "")).await;
    let location = store.url.to_string();
    let peer = Peer::start(move |_, _| Reply::status("307 Temporary Redirect", &[("location", &location)], "")).await;
    assert!(matches!(read(&peer, "changes.patch").await, Err(ClientError::Redirect { .. })));
}

#[tokio::test]
async fn a_cut_or_silent_download_is_an_error_not_a_short_object() {
    let peer = Peer::start(|_, _| {
        let reply = Reply::status("200 OK", &[], "whole content");
        let cut = reply.bytes.len() - 3;
        reply.cut(cut)
    })
    .await;
    assert!(matches!(read(&peer, "x").await, Err(ClientError::Interrupted { .. })));
    let peer = Peer::start(|_, _| {
        let reply = Reply::status("200 OK", &[], "whole content");
        let cut = reply.bytes.len() - 3;
        Reply { then: Then::Hold, ..reply.cut(cut) }
    })
    .await;
    assert!(matches!(read(&peer, "x").await, Err(ClientError::Interrupted { .. })));
}

#[tokio::test]
async fn a_name_that_climbs_is_never_sent() {
    let peer = Peer::start(|_, _| Reply::status("200 OK", &[], "")).await;
    for name in ["", "..", "files/../../keys", "files//x", "./x"] {
        assert!(matches!(read(&peer, name).await, Err(ClientError::ArtifactName(_))), "{name}");
    }
    assert!(peer.requests().is_empty());
}
