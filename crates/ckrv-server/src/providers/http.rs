//! Requests to providers: soon over, of bounded answers, and never led elsewhere.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use openidconnect::http::StatusCode;
use openidconnect::{AsyncHttpClient, HttpRequest, HttpResponse};
use reqwest::redirect::Policy;

const CONNECT: Duration = Duration::from_secs(5);
const WHOLE: Duration = Duration::from_secs(10);
/// Key sets are the longest answers, and have a few kilobytes.
const ANSWER_BYTES: usize = 1024 * 1024;

/// The client, shared by all providers.
#[derive(Debug, Clone)]
pub struct Http(reqwest::Client);

#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error("the request failed")]
    Request(#[from] reqwest::Error),
    /// Such as proxies answer in place of what is behind them.
    #[error("the answer is {0}")]
    Unavailable(StatusCode),
    #[error("the answer is longer than {ANSWER_BYTES} bytes")]
    TooLong,
    #[error("the answer cannot be understood")]
    Answer(#[from] openidconnect::http::Error),
}

impl Http {
    pub fn new() -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .timeout(WHOLE)
            .redirect(Policy::none())
            // GitHub wants one.
            .user_agent(concat!("ckrv/", env!("CARGO_PKG_VERSION")));
        client.build().map(Self)
    }

    pub async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        // The address may hold a code; the log has no use for it.
        let request = self.0.execute(request.try_into()?);
        let mut response = request.await.map_err(reqwest::Error::without_url)?;
        let status = response.status();
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            return Err(HttpError::Unavailable(status));
        }
        let mut answer = openidconnect::http::Response::builder().status(status);
        if let Some(headers) = answer.headers_mut() {
            *headers = std::mem::take(response.headers_mut());
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(reqwest::Error::without_url)? {
            if body.len() + chunk.len() > ANSWER_BYTES {
                return Err(HttpError::TooLong);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(answer.body(body)?)
    }
}

impl<'c> AsyncHttpClient<'c> for Http {
    type Error = HttpError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.send(request))
    }
}
