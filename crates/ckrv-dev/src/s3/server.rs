//! The HTTP side: accept, answer, stop gracefully.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use s3s::service::S3Service;
use s3s::{Body, HttpError, HttpResponse, S3ErrorCode};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::digest;

/// How long running requests may take to end at a stop.
const STOP_LIMIT: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub struct Service {
    pub s3: S3Service,
    pub refusing: Arc<AtomicBool>,
}

impl Service {
    async fn answer(self, request: Request<Incoming>) -> Result<HttpResponse, HttpError> {
        if self.refusing.load(Ordering::SeqCst) {
            return error(S3ErrorCode::SlowDown);
        }
        let (request, verdict) = digest::checked(request.map(Body::from));
        let response = self.s3.call(request).await?;
        if verdict.is_wrong() { error(S3ErrorCode::BadDigest) } else { Ok(response) }
    }
}

fn error(code: S3ErrorCode) -> Result<HttpResponse, HttpError> {
    s3s::S3Error::new(code).to_http_response().map_err(|error| HttpError::new(Box::new(error)))
}

/// Serves until `stop`.
pub async fn serve(listener: TcpListener, service: Service, stop: CancellationToken) {
    let connections = GracefulShutdown::new();
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "S3 could not accept a connection");
                continue;
            }
        };
        let service = service.clone();
        let http = auto::Builder::new(TokioExecutor::new());
        let answer = service_fn(move |request| service.clone().answer(request));
        let connection = connections.watch(http.serve_connection(TokioIo::new(stream), answer).into_owned());
        tokio::spawn(async move {
            // A client that went away is its own affair.
            let _ = connection.await;
        });
    }
    if timeout(STOP_LIMIT, connections.shutdown()).await.is_err() {
        tracing::warn!("S3 stopped while requests were running");
    }
}
