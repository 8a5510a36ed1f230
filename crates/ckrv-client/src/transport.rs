//! Requests on the wire: address, credential, retries, and problems read from the answer.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use ckrv_types::identity::ORG_HEADER;
use ckrv_types::{Page, Problem, ProblemCode, Secret, problem};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, Response, redirect};
use serde::de::DeserializeOwned;
use url::Url;

use crate::config::{self, ClientConfig, ConfigError, Timeouts};
use crate::{ClientError, Credential, Retry, TokenError, TokenSource};

/// One control plane, one credential. Clones share their connections.
#[derive(Clone)]
pub(crate) struct Transport {
    shared: Arc<Shared>,
    bearer: Bearer,
    org: Option<HeaderValue>,
    retry: Retry,
}

#[derive(Clone)]
enum Bearer {
    None,
    Fixed(HeaderValue),
    Source(Arc<dyn TokenSource>),
}

impl Bearer {
    fn new(credential: Credential) -> Result<Self, ConfigError> {
        Ok(match credential {
            Credential::None => Self::None,
            Credential::Fixed(token) => Self::Fixed(config::bearer(&token)?),
            Credential::Source(source) => Self::Source(source),
        })
    }
}

struct Shared {
    http: reqwest::Client,
    /// For the object store where `http` cannot speak TLS; made when it is needed.
    store: OnceLock<reqwest::Client>,
    user_agent: String,
    base: Url,
    /// `base` without a slash at its end, for messages.
    server: String,
    timeouts: Timeouts,
    allow_plain_http: bool,
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").field("server", &self.shared.server).finish_non_exhaustive()
    }
}

impl Transport {
    pub(crate) fn new(config: ClientConfig) -> Result<Self, ConfigError> {
        let shared = Shared {
            http: http_client(&config)?,
            store: OnceLock::new(),
            user_agent: config.user_agent,
            server: config.server.as_str().trim_end_matches('/').to_owned(),
            base: config.server,
            timeouts: config.timeouts,
            allow_plain_http: config.allow_plain_http,
        };
        let org = config.org.as_deref().map(config::org_value).transpose()?;
        Ok(Self { shared: Arc::new(shared), bearer: Bearer::new(config.credential)?, org, retry: config.retry })
    }

    /// The same control plane and connections, with another credential.
    pub(crate) fn with_token(&self, token: &Secret) -> Result<Self, ConfigError> {
        Ok(Self { bearer: Bearer::Fixed(config::bearer(token)?), ..self.clone() })
    }

    pub(crate) fn with_retry(&self, retry: Retry) -> Self {
        Self { retry, ..self.clone() }
    }

    pub(crate) fn server(&self) -> &str {
        &self.shared.server
    }

    pub(crate) fn timeouts(&self) -> Timeouts {
        self.shared.timeouts
    }

    pub(crate) fn get<'p>(&self, path: impl IntoIterator<Item = &'p str>) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    pub(crate) fn post<'p>(&self, path: impl IntoIterator<Item = &'p str>) -> RequestBuilder {
        self.request(Method::POST, path)
    }

    /// A `POST` that creates: sent with an idempotency key of its own, so that repeating it creates nothing more.
    pub(crate) fn create<'p>(&self, path: impl IntoIterator<Item = &'p str>) -> RequestBuilder {
        self.post(path).header("idempotency-key", format!("{:032x}", rand::random::<u128>()))
    }

    pub(crate) fn patch<'p>(&self, path: impl IntoIterator<Item = &'p str>) -> RequestBuilder {
        self.request(Method::PATCH, path)
    }

    pub(crate) fn put<'p>(&self, path: impl IntoIterator<Item = &'p str>) -> RequestBuilder {
        self.request(Method::PUT, path)
    }

    pub(crate) fn delete<'p>(&self, path: impl IntoIterator<Item = &'p str>) -> RequestBuilder {
        self.request(Method::DELETE, path)
    }

    fn request<'p>(&self, method: Method, path: impl IntoIterator<Item = &'p str>) -> RequestBuilder {
        let mut url = self.shared.base.clone();
        url.path_segments_mut().expect("http and https URLs have a path").pop_if_empty().extend(path);
        let request = self.shared.http.request(method, url);
        match &self.org {
            Some(org) => request.header(ORG_HEADER, org.clone()),
            None => request,
        }
    }

    /// Sends `request` with the credential.
    async fn authorized(&self, request: &RequestBuilder, limit: Option<Duration>) -> Result<Response, ClientError> {
        let request = match &self.bearer {
            Bearer::None => again(request),
            Bearer::Fixed(bearer) => again(request).header(AUTHORIZATION, bearer.clone()),
            Bearer::Source(source) => return Box::pin(self.by_source(source.as_ref(), request, limit)).await,
        };
        begin(self.server(), request, limit).await
    }

    /// The same by a token that can be renewed: one that is refused is, once.
    async fn by_source(
        &self,
        source: &dyn TokenSource,
        request: &RequestBuilder,
        limit: Option<Duration>,
    ) -> Result<Response, ClientError> {
        let send = |bearer| begin(self.server(), again(request).header(AUTHORIZATION, bearer), limit);
        let token = source.token(None).await?;
        match send(of_source(&token)?).await {
            Err(error) if error.problem_code() == Some(ProblemCode::Unauthenticated) => {
                let renewed = source.token(Some(&token)).await?;
                if renewed == token { Err(error) } else { send(of_source(&renewed)?).await }
            }
            answer => answer,
        }
    }

    /// Sends a request that may be repeated, and reads the JSON of its answer; `what` names it in errors.
    pub(crate) async fn json<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
        what: &'static str,
    ) -> Result<T, ClientError> {
        self.json_after(Duration::ZERO, request, what).await
    }

    /// The same for a request that the server may hold back for `wait` on purpose.
    pub(crate) async fn json_after<T: DeserializeOwned>(
        &self,
        wait: Duration,
        request: RequestBuilder,
        what: &'static str,
    ) -> Result<T, ClientError> {
        let bytes = self.bytes(request.header(ACCEPT, "application/json"), wait).await?;
        serde_json::from_slice(&bytes).map_err(|source| ClientError::Body {
            server: self.server().into(),
            what,
            source,
        })
    }

    /// The whole of a list, however many pages the server makes of it.
    pub(crate) async fn whole<T: DeserializeOwned>(
        &self,
        path: [&str; 2],
        what: &'static str,
    ) -> Result<Page<T>, ClientError> {
        let (mut items, mut cursor) = (Vec::new(), None);
        loop {
            let page: Page<T> = self.json(self.get(path).query(&[("cursor", &cursor)]), what).await?;
            items.extend(page.items);
            // The same place again would be asked for without an end.
            if page.next.is_none() || page.next == cursor {
                return Ok(Page { items, next: None });
            }
            cursor = page.next;
        }
    }

    /// Sends a request that may be repeated, and drops the body of its answer.
    pub(crate) async fn done(&self, request: RequestBuilder) -> Result<(), ClientError> {
        self.bytes(request, Duration::ZERO).await.map(drop)
    }

    async fn bytes(&self, request: RequestBuilder, wait: Duration) -> Result<Bytes, ClientError> {
        let request = request.timeout(wait + self.shared.timeouts.request);
        self.retry
            .run(|| async {
                let response = no_redirect(self.server(), self.authorized(&request, None).await?)?;
                response.bytes().await.map_err(|source| unreachable(self.server(), source))
            })
            .await
    }

    /// One try at a request whose answer is a stream. Only its beginning is limited in time.
    pub(crate) async fn open(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        no_redirect(self.server(), self.authorized(&request, Some(self.shared.timeouts.request)).await?)
    }

    /// Sends a request that may be repeated, whose answer is an object: at once, or by the one redirect that the API
    /// knows, which is followed without the credential.
    pub(crate) async fn object(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let once = || async {
            let response = self.authorized(&request, Some(self.shared.timeouts.request)).await?;
            match redirect_of(&response) {
                Some(to) => self.follow(&response, &to).await,
                None => Ok(response),
            }
        };
        self.retry.run(once).await
    }

    async fn follow(&self, response: &Response, to: &str) -> Result<Response, ClientError> {
        let refused = || ClientError::Redirect { server: self.server().into(), to: without_query(to) };
        let target = response.url().join(to).map_err(|_| refused())?;
        if !config::is_private_enough(&target, self.shared.allow_plain_http) {
            return Err(refused());
        }
        let store = target.origin().ascii_serialization();
        let request = self.store_client(&target).map_err(|source| unreachable(&store, source))?.get(target);
        no_redirect(&store, begin(&store, request, Some(self.shared.timeouts.request)).await?)
    }

    fn store_client(&self, target: &Url) -> Result<&reqwest::Client, reqwest::Error> {
        let Shared { http, base, store, user_agent, timeouts, .. } = &*self.shared;
        if base.scheme() == "https" || target.scheme() == "http" {
            return Ok(http);
        }
        if let Some(store) = store.get() {
            return Ok(store);
        }
        let made = builder(user_agent, *timeouts).build()?;
        Ok(store.get_or_init(|| made))
    }
}

/// The connections to one control plane: no redirects, no proxy to this machine itself.
pub(crate) fn http_client(config: &ClientConfig) -> Result<reqwest::Client, ConfigError> {
    config::check_server(&config.server, config.allow_plain_http)?;
    let mut builder = builder(&config.user_agent, config.timeouts);
    if config::is_loopback(&config.server) {
        builder = builder.no_proxy();
        if config.server.scheme() == "http" {
            // Reading the system's certificates takes longer than all else before the first request.
            builder = builder.tls_certs_only([]);
        }
    }
    builder.build().map_err(ConfigError::Tls)
}

fn of_source(token: &Secret) -> Result<HeaderValue, TokenError> {
    config::bearer(token).map_err(|error| TokenError::Missing(Box::new(error)))
}

/// Sends; the beginning of the answer is limited in time.
async fn begin(server: &str, request: RequestBuilder, limit: Option<Duration>) -> Result<Response, ClientError> {
    let Some(limit) = limit else { return exchange(server, request).await };
    let silent = || ClientError::Interrupted { server: server.into(), what: format!("no answer in {limit:?}") };
    tokio::time::timeout(limit, exchange(server, request)).await.map_err(|_| silent())?
}

fn builder(user_agent: &str, timeouts: Timeouts) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .user_agent(user_agent)
        .redirect(redirect::Policy::none())
        .connect_timeout(timeouts.connect)
        .tcp_nodelay(true)
}

/// Sends, and reads a refusal. Redirects are for the caller to refuse or follow.
async fn exchange(server: &str, request: RequestBuilder) -> Result<Response, ClientError> {
    let response = request.send().await.map_err(|source| unreachable(server, source))?;
    if response.status().is_success() || redirect_of(&response).is_some() {
        return Ok(response);
    }
    Err(refusal(server, response).await)
}

async fn refusal(server: &str, response: Response) -> ClientError {
    let status = response.status().as_u16();
    let retry_after = retry_after(&response);
    let media_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if media_type.starts_with(problem::MEDIA_TYPE)
        && let Ok(bytes) = response.bytes().await
        && let Ok(problem) = serde_json::from_slice::<Problem>(&bytes)
    {
        return ClientError::Problem { problem: Box::new(problem), retry_after };
    }
    ClientError::Status { server: server.into(), status, retry_after }
}

/// The URL is left out: it may be a presigned one, and the server's name stands in the message already.
pub(crate) fn unreachable(server: &str, source: reqwest::Error) -> ClientError {
    ClientError::Unreachable { server: server.into(), source: source.without_url() }
}

fn no_redirect(server: &str, response: Response) -> Result<Response, ClientError> {
    match redirect_of(&response) {
        Some(to) => Err(ClientError::Redirect { server: server.into(), to: without_query(&to) }),
        None => Ok(response),
    }
}

fn again(request: &RequestBuilder) -> RequestBuilder {
    request.try_clone().expect("a body held in memory can be sent again")
}

/// Where a redirect leads.
fn redirect_of(response: &Response) -> Option<String> {
    let value = response.headers().get(LOCATION).filter(|_| response.status().is_redirection())?;
    Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// A presigned URL's query is a credential: it is never shown.
fn without_query(url: &str) -> String {
    url.split(['?', '#']).next().unwrap_or_default().to_owned()
}

/// `Retry-After` (RFC 9110, section 10.2.3) in seconds; the date form is for caches and is not used by ckrv.
pub(crate) fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}
