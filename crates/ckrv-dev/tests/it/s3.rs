use std::time::Duration;

use aws_sdk_s3::config::{
    BehaviorVersion, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
};
use aws_sdk_s3::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_s3::presigning::{PresignedRequest, PresigningConfig};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::{Client, Config};
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ckrv_dev::s3::{BUCKET, EmbeddedS3};
use ckrv_dev::testing;
use reqwest::{Method, StatusCode};
use sha2::{Digest as _, Sha256};

fn client(s3: &EmbeddedS3) -> Client {
    let http = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(http)
        .region(Region::new("us-east-1"))
        .endpoint_url(s3.endpoint())
        .credentials_provider(Credentials::new(s3.access_key(), s3.secret_key().expose(), None, None, "test"))
        .force_path_style(true)
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .retry_config(aws_sdk_s3::config::retry::RetryConfig::disabled())
        .build();
    Client::from_conf(config)
}

fn sha256(body: &[u8]) -> String {
    BASE64_STANDARD.encode(Sha256::digest(body))
}

fn ten_minutes() -> PresigningConfig {
    PresigningConfig::expires_in(Duration::from_mins(10)).unwrap()
}

/// The upload of exactly this body, and of no other.
async fn presigned_put(client: &Client, key: &str, body: &[u8]) -> PresignedRequest {
    let length = i64::try_from(body.len()).unwrap();
    let put = client.put_object().bucket(BUCKET).key(key).content_length(length).checksum_sha256(sha256(body));
    put.presigned(ten_minutes()).await.unwrap()
}

/// A client of no library's making.
fn http() -> reqwest::Client {
    // Another test may have done it already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}

async fn send(request: &PresignedRequest, body: &'static [u8]) -> (StatusCode, String) {
    let method: Method = request.method().parse().unwrap();
    let mut http = http().request(method, request.uri()).body(body);
    for (name, value) in request.headers().filter(|(name, _)| *name != "content-length") {
        http = http.header(name, value);
    }
    let response = http.send().await.unwrap();
    (response.status(), response.text().await.unwrap())
}

async fn exists(client: &Client, key: &str) -> bool {
    client.head_object().bucket(BUCKET).key(key).send().await.is_ok()
}

async fn content(client: &Client, key: &str) -> Vec<u8> {
    let object = client.get_object().bucket(BUCKET).key(key).send().await.unwrap();
    object.body.collect().await.unwrap().to_vec()
}

#[tokio::test]
async fn objects_are_put_got_listed_and_deleted() {
    let s3 = testing::s3().await;
    let client = client(&s3);
    let put = client.put_object().bucket(BUCKET).key("logs/one").checksum_sha256(sha256(b"0123456789"));
    put.body(ByteStream::from_static(b"0123456789")).send().await.unwrap();
    assert_eq!(content(&client, "logs/one").await, b"0123456789");

    let range = client.get_object().bucket(BUCKET).key("logs/one").range("bytes=2-4").send().await.unwrap();
    assert_eq!(range.content_range(), Some("bytes 2-4/10"));
    assert_eq!(range.body.collect().await.unwrap().to_vec(), b"234");

    client.put_object().bucket(BUCKET).key("other").body(ByteStream::from_static(b"")).send().await.unwrap();
    let list = client.list_objects_v2().bucket(BUCKET).prefix("logs/").send().await.unwrap();
    let found: Vec<_> = list.contents().iter().map(|object| (object.key().unwrap(), object.size().unwrap())).collect();
    assert_eq!(found, [("logs/one", 10)]);

    for _ in 0..2 {
        client.delete_object().bucket(BUCKET).key("logs/one").send().await.unwrap();
    }
    assert!(!exists(&client, "logs/one").await);
    assert!(exists(&client, "other").await);
}

#[tokio::test]
async fn a_presigned_put_takes_the_signed_body_and_a_presigned_get_gives_it_back() {
    let s3 = testing::s3().await;
    let client = client(&s3);
    let put = presigned_put(&client, "artifact", b"the work").await;
    let signed: Vec<_> = put.headers().map(|(name, _)| name.to_owned()).collect();
    assert!(put.uri().contains("content-length"), "the length is signed: {}", put.uri());
    assert!(put.uri().contains("x-amz-checksum-sha256"), "the hash is signed: {} {signed:?}", put.uri());
    assert_eq!(send(&put, b"the work").await.0, StatusCode::OK);

    let get = client.get_object().bucket(BUCKET).key("artifact").presigned(ten_minutes()).await.unwrap();
    assert_eq!(send(&get, b"").await, (StatusCode::OK, "the work".to_owned()));
    let forged = get.uri().replace("/artifact?", "/other?");
    assert_eq!(http().get(forged).send().await.unwrap().status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_presigned_put_of_another_body_is_refused_and_leaves_the_object_as_it_was() {
    let s3 = testing::s3().await;
    let client = client(&s3);
    let put = presigned_put(&client, "artifact", b"the work").await;
    let (status, error) = send(&put, b"the w0rk").await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{error}");
    assert!(error.contains("BadDigest"), "{error}");
    assert!(!exists(&client, "artifact").await, "a refused body is not an object");

    assert_eq!(send(&put, b"the work").await.0, StatusCode::OK);
    assert_eq!(send(&put, b"the w0rk").await.0, StatusCode::BAD_REQUEST);
    assert_eq!(content(&client, "artifact").await, b"the work");
    let (status, error) = send(&put, b"longer than the work").await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{error}");
}

#[tokio::test]
async fn a_put_with_a_wrong_checksum_is_refused_and_leaves_no_object() {
    let s3 = testing::s3().await;
    let client = client(&s3);
    for body in ["", "wrong"] {
        let put = client.put_object().bucket(BUCKET).key("log").checksum_sha256(sha256(b"right"));
        let error = put.body(ByteStream::from(body.as_bytes().to_vec())).send().await.unwrap_err();
        assert_eq!(error.code(), Some("BadDigest"), "{error:?}");
        assert!(!exists(&client, "log").await);
    }
}

#[tokio::test]
async fn strangers_are_refused() {
    let s3 = testing::s3().await;
    let url = format!("{}/{BUCKET}/artifact", s3.endpoint());
    assert_eq!(http().get(url).send().await.unwrap().status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn while_it_refuses_every_request_is_told_to_slow_down() {
    let s3 = testing::s3().await;
    let client = client(&s3);
    let put = presigned_put(&client, "artifact", b"the work").await;
    s3.set_refusing(true);
    let error = client.list_objects_v2().bucket(BUCKET).send().await.unwrap_err();
    assert!(matches!(&error, SdkError::ServiceError(error) if error.raw().status().as_u16() == 503), "{error:?}");
    assert_eq!(error.code(), Some("SlowDown"));
    assert_eq!(send(&put, b"the work").await.0, StatusCode::SERVICE_UNAVAILABLE);
    s3.set_refusing(false);
    assert_eq!(send(&put, b"the work").await.0, StatusCode::OK);
}

#[tokio::test]
async fn keys_and_objects_last_over_a_restart_and_a_second_bucket_is_apart() {
    let folder = tempfile::TempDir::new().unwrap();
    let any_port = (std::net::Ipv4Addr::LOCALHOST, 0).into();
    let s3 = EmbeddedS3::start(folder.path(), any_port).await.unwrap();
    s3.create_bucket("second").unwrap();
    let put = client(&s3).put_object().bucket("second").key("kept").body(ByteStream::from_static(b"here"));
    put.send().await.unwrap();
    let address = s3.endpoint().trim_start_matches("http://").parse().unwrap();
    let endpoint = s3.endpoint().to_owned();
    let client = client(&s3);
    s3.stop().await;
    assert!(http().get(&endpoint).send().await.is_err(), "nobody listens any more");

    let s3 = EmbeddedS3::start(folder.path(), address).await.unwrap();
    let kept = client.get_object().bucket("second").key("kept").send().await.unwrap();
    assert_eq!(kept.body.collect().await.unwrap().to_vec(), b"here");
    assert!(!exists(&client, "kept").await);
    s3.stop().await;
}

#[tokio::test]
async fn it_listens_on_loopback_alone() {
    let folder = tempfile::TempDir::new().unwrap();
    let everywhere = (std::net::Ipv4Addr::UNSPECIFIED, 0).into();
    assert!(EmbeddedS3::start(folder.path(), everywhere).await.is_err());
}
