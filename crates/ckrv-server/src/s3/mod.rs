//! The object store: artifacts and archived logs, in one bucket of an S3-compatible service.
//!
//! Path-style addresses, and checksums only where the protocol requires or we ask for them: what calls itself
//! S3-compatible agrees on these. Knows nothing of jobs; keys are the callers'.

mod body;
mod client;
mod error;
mod presign;

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::operation::get_object::{GetObjectError, GetObjectOutput};
use aws_sdk_s3::operation::head_object::HeadObjectError;
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use aws_sdk_s3::types::{ChecksumMode, Delete, ObjectIdentifier, ServerSideEncryption};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use time::OffsetDateTime;
use url::Url;

use crate::config::S3Config;

pub use body::ChannelBody;
pub use error::S3Error;

/// Most keys in one `DeleteObjects` call (S3 API Reference).
pub const DELETE_MANY: usize = 1000;
/// A large object goes up as one request; this bounds it where the usual bound is for small ones.
const LONG_PUT: Duration = Duration::from_mins(30);

/// The store as this server and the workers reach it, and, where users can reach it too, as they do.
#[derive(Clone)]
pub struct S3 {
    client: Client,
    public: Option<Client>,
    bucket: String,
    encryption: Option<Encryption>,
}

#[derive(Clone)]
enum Encryption {
    StoreKey,
    Kms(String),
}

/// What the store says of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    pub size: u64,
    /// Lower-case hex; `None`: the store keeps no such checksum.
    pub sha256: Option<String>,
}

/// An object's bytes on their way.
pub struct Object {
    /// Of what is sent: the whole, or the range asked for.
    pub length: u64,
    pub body: SdkBody,
}

/// A request that somebody without our credentials may send, until it expires.
#[derive(Debug, Clone)]
pub struct Presigned {
    pub url: Url,
    /// To be sent exactly so: they are signed.
    pub headers: BTreeMap<String, String>,
    pub expires_at: OffsetDateTime,
}

/// What may be put by a presigned request: this content and no other.
#[derive(Debug, Clone, Copy)]
pub struct PutTerms<'a> {
    pub key: &'a str,
    pub size: u64,
    /// Lower-case hex.
    pub sha256: &'a str,
    pub content_type: &'a str,
}

impl S3 {
    pub fn new(config: &S3Config) -> Self {
        let encryption = config.encryption.as_deref().map(|wanted| match wanted {
            "AES256" => Encryption::StoreKey,
            key => Encryption::Kms(key.to_owned()),
        });
        Self {
            client: client::at(&config.endpoint, config),
            public: config.public_endpoint.as_ref().map(|endpoint| client::at(endpoint, config)),
            bucket: config.bucket.clone(),
            encryption,
        }
    }

    /// Whether users reach the store themselves.
    pub fn is_public(&self) -> bool {
        self.public.is_some()
    }

    /// Whether the bucket is there and ours to use.
    pub async fn check(&self) -> Result<(), S3Error> {
        let head = self.client.head_bucket().bucket(&self.bucket).send().await;
        head.map(drop).map_err(|error| S3Error::new("look for the bucket", &self.bucket, error))
    }

    /// Puts a large object as it comes; the store refuses what has another length or hash (lower-case hex) than said.
    pub async fn put_stream(&self, key: &str, size: u64, sha256: &str, body: ChannelBody) -> Result<(), S3Error> {
        let put = self
            .put(&self.client, PutTerms { key, size, sha256, content_type: "application/zstd" })
            .body(ByteStream::new(SdkBody::from_body_1_x(body)));
        let sent = put.customize().config_override(client::patience(LONG_PUT)).send().await;
        sent.map(drop).map_err(|error| S3Error::new("put", key, error))
    }

    /// An object, or its bytes `range.start..range.end`. `None`: there is no such object.
    pub async fn get(&self, key: &str, range: Option<std::ops::Range<u64>>) -> Result<Option<Object>, S3Error> {
        let range = range.map(|range| format!("bytes={}-{}", range.start, range.end.saturating_sub(1)));
        match self.client.get_object().bucket(&self.bucket).key(key).set_range(range).send().await {
            Ok(found) => Ok(Some(object(found))),
            Err(error) if error.as_service_error().is_some_and(GetObjectError::is_no_such_key) => Ok(None),
            Err(error) => Err(S3Error::new("get", key, error)),
        }
    }

    /// `None`: there is no such object.
    pub async fn head(&self, key: &str) -> Result<Option<Head>, S3Error> {
        let head = self.client.head_object().bucket(&self.bucket).key(key).checksum_mode(ChecksumMode::Enabled);
        match head.send().await {
            Ok(found) => Ok(Some(Head {
                size: length(found.content_length()),
                sha256: found.checksum_sha256().and_then(hex_of_base64),
            })),
            Err(error) if error.as_service_error().is_some_and(HeadObjectError::is_not_found) => Ok(None),
            Err(error) => Err(S3Error::new("look up", key, error)),
        }
    }

    /// Deletes objects; those that are not there are no error.
    pub async fn delete_many(&self, keys: &[String]) -> Result<(), S3Error> {
        for keys in keys.chunks(DELETE_MANY) {
            let mut objects = Vec::with_capacity(keys.len());
            for key in keys {
                objects.push(ObjectIdentifier::builder().key(key).build().expect("the key is set"));
            }
            let delete = Delete::builder().set_objects(Some(objects)).quiet(true).build().expect("the objects are set");
            let sent = self.client.delete_objects().bucket(&self.bucket).delete(delete).send().await;
            let answer = sent.map_err(|error| S3Error::new("delete", &keys[0], error))?;
            if let Some(refused) = answer.errors().first() {
                return Err(S3Error::refused("delete", refused.key().unwrap_or(&keys[0]), refused.message()));
            }
        }
        Ok(())
    }

    fn put(&self, client: &Client, terms: PutTerms<'_>) -> PutObjectFluentBuilder {
        let sha256 = hex::decode(terms.sha256).map(|bytes| BASE64_STANDARD.encode(bytes)).unwrap_or_default();
        let put = client
            .put_object()
            .bucket(&self.bucket)
            .key(terms.key)
            .content_length(i64::try_from(terms.size).unwrap_or(i64::MAX))
            .content_type(terms.content_type)
            .checksum_sha256(sha256);
        match &self.encryption {
            None => put,
            Some(Encryption::StoreKey) => put.server_side_encryption(ServerSideEncryption::Aes256),
            Some(Encryption::Kms(key)) => put.server_side_encryption(ServerSideEncryption::AwsKms).ssekms_key_id(key),
        }
    }
}

fn object(found: GetObjectOutput) -> Object {
    Object { length: length(found.content_length()), body: found.body.into_inner() }
}

fn length(value: Option<i64>) -> u64 {
    value.and_then(|value| u64::try_from(value).ok()).unwrap_or_default()
}

fn hex_of_base64(text: &str) -> Option<String> {
    BASE64_STANDARD.decode(text).ok().map(hex::encode)
}
