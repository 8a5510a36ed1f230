//! A body whose `x-amz-checksum-sha256` is wrong must not become an object. `s3s-fs` answers such a request 400, but
//! compares only after it has put the object in place. So the body fails at its end, before that; and the request
//! is answered 400 `BadDigest` ("The Content-MD5 or checksum value that you specified did not match", S3 API
//! Reference, "Error responses").

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};
use s3s::{Body, HttpRequest, StdError};
use sha2::{Digest as _, Sha256};

const CHECKSUM: &str = "x-amz-checksum-sha256";
/// Such a body is framed: what arrives is not what is hashed.
const FRAMED: (&str, &str) = ("x-amz-content-sha256", "STREAMING-");

/// What came of the check, once the request is answered.
#[derive(Clone, Default)]
pub struct Verdict(Arc<AtomicBool>);

impl Verdict {
    pub fn is_wrong(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// The same request, its body checked on the way if it names a checksum.
pub fn checked(request: HttpRequest) -> (HttpRequest, Verdict) {
    let verdict = Verdict::default();
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let framed = header(FRAMED.0).is_some_and(|value| value.starts_with(FRAMED.1));
    let expected = header(CHECKSUM).and_then(|value| BASE64_STANDARD.decode(value).ok());
    let Some(expected) = expected.filter(|_| !framed) else { return (request, verdict) };
    let checked = |body| CheckedBody { body, expected, hash: Some(Sha256::new()), verdict: verdict.clone() };
    (request.map(|body| Body::http_body(checked(body))), verdict)
}

struct CheckedBody {
    body: Body,
    expected: Vec<u8>,
    /// Taken at the end of the body.
    hash: Option<Sha256>,
    verdict: Verdict,
}

impl CheckedBody {
    fn finish(&mut self) -> Result<(), StdError> {
        let Some(hash) = self.hash.take() else { return Ok(()) };
        if hash.finalize()[..] == self.expected[..] {
            return Ok(());
        }
        self.verdict.0.store(true, Ordering::SeqCst);
        Err("the body has another SHA-256 than its checksum header says".into())
    }
}

impl HttpBody for CheckedBody {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return Poll::Ready(Some(Err(error))),
            None => return Poll::Ready(self.finish().err().map(Err)),
        };
        if let (Some(hash), Some(data)) = (self.hash.as_mut(), frame.data_ref()) {
            hash.update(data);
        }
        Poll::Ready(Some(Ok(frame)))
    }

    /// Never before the check.
    fn is_end_stream(&self) -> bool {
        self.hash.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
