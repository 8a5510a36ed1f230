//! What is around every page: its head and header, the answer's headers, and pages in place of problems.

use askama::Template;
use axum::Extension;
use axum::extract::Request;
use axum::http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse as _, Response};
use ckrv_types::{Problem, ProblemCode};

use super::assets;
use super::csrf::Csrf;
use super::session::Session;
use crate::error::{ApiError, ApiResult, OwnBody, ProblemBody};
use crate::http::request::{self, RequestId};
use crate::state::AppState;

/// No script, nothing from elsewhere, no form to elsewhere, in nobody's frame.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; \
    frame-ancestors 'none'; base-uri 'none'";

/// What each page's template has in `frame`.
pub struct Frame {
    pub style: String,
    pub icon: String,
    pub person: Option<Person>,
}

/// Who is signed in.
pub struct Person {
    pub name: String,
    pub csrf: Csrf,
}

impl Frame {
    /// For anybody.
    pub fn open() -> Self {
        Self { style: assets::STYLE.path(), icon: assets::ICON.path(), person: None }
    }

    /// With who is signed in, and the means to sign out.
    pub fn of(state: &AppState, session: &Session) -> Self {
        let person = Person { name: session.name.clone(), csrf: Csrf::of_session(state, session.id) };
        Self { person: Some(person), ..Self::open() }
    }

    /// The hidden field of this page's forms; empty if nobody is signed in.
    pub fn csrf(&self) -> &str {
        self.person.as_ref().map_or("", |person| person.csrf.as_str())
    }
}

/// A page as an answer.
pub fn page(status: StatusCode, template: &impl Template) -> ApiResult<Response> {
    let html = template.render().map_err(|_| ApiError::Internal("a page cannot be written"))?;
    Ok((status, Extension(OwnBody), Html(html)).into_response())
}

/// The policy of a page whose form leads to this origin in the end: browsers hold the redirects of a form's answer to the page's
/// `form-action`.
pub fn policy_towards(origin: &str) -> ApiResult<HeaderValue> {
    // CSP Level 3 has no way to write an address of IPv6.
    let source = match origin.split_once("//[") {
        Some((scheme, _)) => scheme,
        None => origin,
    };
    let policy = POLICY.replace("form-action 'self'", &format!("form-action 'self' {source}"));
    HeaderValue::try_from(policy).map_err(|_| ApiError::Internal("an origin is no header's value"))
}

/// The layer around all pages.
pub async fn surround(request: Request, next: Next) -> Response {
    let id = request.extensions().get::<RequestId>().cloned();
    let mut response = readable(next.run(request).await, id.as_ref());
    let headers = response.headers_mut();
    headers.entry(CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(POLICY));
    // Not `no-referrer`: with it browsers send our own forms as from nowhere (`Origin: null`).
    headers.entry(REFERRER_POLICY).or_insert(HeaderValue::from_static("same-origin"));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// An error that is no page becomes one, and keeps its headers.
fn readable(response: Response, id: Option<&RequestId>) -> Response {
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    if !is_error || response.extensions().get::<OwnBody>().is_some() {
        return response;
    }
    let problem = match response.extensions().get::<ProblemBody>() {
        Some(ProblemBody(problem)) => problem.clone(),
        None => request::bare(status),
    };
    let Ok(page) = page(status, &ErrorPage::new(&problem, id)) else { return response };
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(CONTENT_LENGTH);
    parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    parts.extensions.insert(OwnBody);
    Response::from_parts(parts, page.into_body())
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage {
    frame: Frame,
    title: String,
    detail: Option<String>,
    hint: Option<String>,
    /// Names the request in the server's log, where that may be looked at.
    request: Option<String>,
}

impl ErrorPage {
    fn new(problem: &Problem, id: Option<&RequestId>) -> Self {
        let (title, detail) = match problem.code {
            ProblemCode::NotFound => ("There is no such page".to_owned(), None),
            _ => (problem.title.clone(), problem.detail.clone()),
        };
        let logged = problem.status >= 500;
        let request = id.filter(|_| logged).map(ToString::to_string);
        Self { frame: Frame::open(), title, detail, hint: problem.hint.clone(), request }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_may_lead_to_the_program_that_waits_and_nowhere_else() {
        for (origin, source) in [("http://127.0.0.1:4711", "http://127.0.0.1:4711"), ("http://[::1]:4711", "http:")] {
            let policy = policy_towards(origin).unwrap();
            let wanted = format!("; form-action 'self' {source}; frame-ancestors");
            assert!(policy.to_str().unwrap().contains(&wanted), "{policy:?}");
        }
    }
}
