//! Requests that workers and users send to the store themselves.

use std::time::Duration;

use aws_sdk_s3::presigning::{PresignedRequest, PresigningConfig};
use time::OffsetDateTime;
use url::Url;

use super::{Presigned, PutTerms, S3, S3Error};

/// Long enough for the largest artifact at 5 MB/s, and for a clock that is some minutes off.
const PUT_LIFE: Duration = Duration::from_hours(1);
/// A link is followed at once; whoever loses access has none that is good for longer than all else that they had.
const GET_LIFE: Duration = Duration::from_mins(1);

impl S3 {
    /// A place to put one object to; its length and hash are signed.
    pub async fn presign_put(&self, terms: PutTerms<'_>) -> Result<Presigned, S3Error> {
        let failed = |error: String| S3Error::new("sign an upload of", terms.key, error);
        let put = self.put(&self.client, terms);
        let signed = put.presigned(life(PUT_LIFE)).await.map_err(|error| failed(format!("{error:?}")))?;
        presigned(&signed, PUT_LIFE).ok_or_else(|| failed("the store's address makes no URL".to_owned()))
    }

    /// Where a user gets an object, as an attachment; `None` where users do not reach the store.
    pub async fn presign_get(&self, key: &str, disposition: &str) -> Result<Option<Presigned>, S3Error> {
        let Some(public) = &self.public else { return Ok(None) };
        let failed = |error: String| S3Error::new("sign a download of", key, error);
        let get = public.get_object().bucket(&self.bucket).key(key).response_content_disposition(disposition);
        let signed = get.presigned(life(GET_LIFE)).await.map_err(|error| failed(format!("{error:?}")))?;
        let answer = presigned(&signed, GET_LIFE);
        answer.map(Some).ok_or_else(|| failed("the store's public address makes no URL".to_owned()))
    }
}

fn life(life: Duration) -> PresigningConfig {
    PresigningConfig::expires_in(life).expect("it is below the limit of a week")
}

fn presigned(signed: &PresignedRequest, life: Duration) -> Option<Presigned> {
    // Every HTTP client sets the length itself, from the body.
    let headers = signed.headers().filter(|(name, _)| !name.eq_ignore_ascii_case("content-length"));
    Some(Presigned {
        url: Url::parse(signed.uri()).ok()?,
        headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        expires_at: OffsetDateTime::now_utc() + life,
    })
}
