//! The SDK's client, set up for S3-compatible stores, rustls and ring.

use std::time::Duration;

use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Builder, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
};
use aws_sdk_s3::{Client, Config};
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use url::Url;

use crate::config::S3Config;

const CONNECT: Duration = Duration::from_secs(3);
/// From a request to the beginning of its answer.
const ANSWER: Duration = Duration::from_secs(15);
const ATTEMPTS: u32 = 3;

pub fn at(endpoint: &Url, config: &S3Config) -> Client {
    let http = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let credentials =
        Credentials::new(config.access_key.expose(), config.secret_key.expose(), None, None, "ckrv's configuration");
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(http)
        .region(Region::new(config.region.clone()))
        .endpoint_url(endpoint.as_str())
        .credentials_provider(credentials)
        .force_path_style(true)
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .timeout_config(timeouts(ANSWER))
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
        .build();
    Client::from_conf(config)
}

/// For one call whose answer may take this long.
pub fn patience(limit: Duration) -> Builder {
    Config::builder().timeout_config(timeouts(limit))
}

fn timeouts(answer: Duration) -> TimeoutConfig {
    TimeoutConfig::builder().connect_timeout(CONNECT).read_timeout(answer).operation_attempt_timeout(answer).build()
}
