//! A browser without a screen: keeps cookies, follows redirects within the site, reads forms out of pages and submits them
//! as a person would, under the rules that real browsers keep (`form-action`, `Origin`, `__Host-`).
//!
//! It leaves no site by itself: a redirect to another origin ends at [`Page::leaves_for`], which a test may [`Browser::open`].

use std::collections::BTreeMap;

use reqwest::header::{CONTENT_SECURITY_POLICY, COOKIE, HeaderMap, LOCATION, ORIGIN, SET_COOKIE, USER_AGENT};
use reqwest::redirect::Policy;
use reqwest::{Method, Response, StatusCode};
use scraper::{ElementRef, Html, Selector};
use url::{Origin, Url};

const REDIRECTS: usize = 10;

/// What a person has open.
pub struct Browser {
    http: reqwest::Client,
    cookies: BTreeMap<String, String>,
    agent: String,
}

/// What the browser shows after the last redirect.
pub struct Page {
    pub url: Url,
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
    /// Where the last answer sends the browser: to another site.
    pub leaves_for: Option<Url>,
}

/// A form of a page with what its fields hold.
pub struct Form {
    page: Url,
    action: Url,
    method: Method,
    /// The sources that the page lets its forms go to; none: all.
    allowed: Option<Vec<String>>,
    fields: Vec<(String, String)>,
    buttons: Vec<(String, String)>,
}

impl Default for Browser {
    fn default() -> Self {
        Self::new()
    }
}

impl Browser {
    pub fn new() -> Self {
        ckrv_client::install_crypto_provider();
        let http = reqwest::Client::builder().redirect(Policy::none()).build().expect("a client can be made");
        Self { http, cookies: BTreeMap::new(), agent: "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0".to_owned() }
    }

    pub fn cookie(&self, name: &str) -> Option<&str> {
        self.cookies.get(name).map(String::as_str)
    }

    /// Puts in a cookie, as an attacker might who has had a hand on the machine.
    pub fn set_cookie(&mut self, name: &str, value: &str) {
        self.cookies.insert(name.to_owned(), value.to_owned());
    }

    pub fn forget_cookies(&mut self) {
        self.cookies.clear();
    }

    /// Types an address, or follows a link.
    pub async fn open(&mut self, url: impl AsRef<str>) -> Page {
        let url: Url = url.as_ref().parse().expect("a whole address");
        let response = self.send(Method::GET, &url, None, None).await;
        self.follow(url, response, None).await
    }

    /// Sends a form.
    pub async fn submit(&mut self, form: Form) -> Page {
        form.must_allow(&form.action);
        let origin = form.page.origin();
        let (url, response) = if form.method == Method::GET {
            let mut url = form.action.clone();
            url.query_pairs_mut().clear().extend_pairs(&form.fields);
            let response = self.send(Method::GET, &url, None, None).await;
            (url, response)
        } else {
            let response = self.send(Method::POST, &form.action, Some(&form.fields), Some(&origin)).await;
            (form.action.clone(), response)
        };
        self.follow(url, response, Some(&form)).await
    }

    /// Sends these fields without a form, as any program could; `origin`: the page that does it, if it is one.
    pub async fn post(&mut self, url: impl AsRef<str>, fields: &[(&str, &str)], origin: Option<&str>) -> Page {
        let url: Url = url.as_ref().parse().expect("a whole address");
        let origin = origin.map(|origin| origin.parse::<Url>().expect("an origin is an address").origin());
        let fields: Vec<_> = fields.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let response = self.send(Method::POST, &url, Some(&fields), origin.as_ref()).await;
        self.follow(url, response, None).await
    }

    async fn follow(&mut self, mut url: Url, mut response: Response, form: Option<&Form>) -> Page {
        for _ in 0..REDIRECTS {
            let Some(next) = target(&url, &response) else { return page(url, response, None).await };
            // Browsers hold the whole way of a submitted form to the page's policy.
            if let Some(form) = form {
                form.must_allow(&next);
            }
            if next.origin() != url.origin() {
                return page(url, response, Some(next)).await;
            }
            response = self.send(Method::GET, &next, None, None).await;
            url = next;
        }
        panic!("{url} redirects for ever");
    }

    async fn send(
        &mut self,
        method: Method,
        url: &Url,
        fields: Option<&[(String, String)]>,
        origin: Option<&Origin>,
    ) -> Response {
        let mut request = self.http.request(method, url.clone()).header(USER_AGENT, &self.agent);
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if !cookies.is_empty() {
            request = request.header(COOKIE, cookies.join("; "));
        }
        if let Some(origin) = origin {
            request = request.header(ORIGIN, origin.ascii_serialization());
        }
        if let Some(fields) = fields {
            request = request.form(fields);
        }
        let response = request.send().await.unwrap_or_else(|error| panic!("{url}: {error}"));
        self.keep_cookies(&response);
        response
    }

    fn keep_cookies(&mut self, response: &Response) {
        for line in response.headers().get_all(SET_COOKIE) {
            let line = line.to_str().expect("a cookie is ASCII");
            let mut parts = line.split(';').map(str::trim);
            let (name, value) = parts.next().and_then(|pair| pair.split_once('=')).expect("a cookie has a name");
            let attributes: Vec<String> = parts.map(str::to_ascii_lowercase).collect();
            if name.starts_with("__Host-") {
                let kept = |wanted: &str| attributes.iter().any(|attribute| attribute == wanted);
                let own = !attributes.iter().any(|attribute| attribute.starts_with("domain="));
                assert!(kept("secure") && kept("path=/") && own, "browsers refuse {line}");
            }
            let over =
                |attribute: &String| attribute == "max-age=0" || attribute.starts_with("expires=thu, 01 jan 1970");
            if attributes.iter().any(over) {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
    }
}

/// Where an answer sends the browser.
fn target(url: &Url, response: &Response) -> Option<Url> {
    if !response.status().is_redirection() {
        return None;
    }
    // A form that was sent once must not be sent again elsewhere.
    assert!(matches!(response.status().as_u16(), 302 | 303), "{url} answers {}", response.status());
    let location = response.headers().get(LOCATION).expect("a redirect says where to");
    Some(url.join(location.to_str().expect("an address is ASCII")).expect("an address"))
}

async fn page(url: Url, response: Response, leaves_for: Option<Url>) -> Page {
    let (status, headers) = (response.status(), response.headers().clone());
    let text = response.text().await.expect("the page can be read");
    Page { url, status, headers, text, leaves_for }
}

impl Page {
    pub fn html(&self) -> Html {
        Html::parse_document(&self.text)
    }

    /// The texts of all elements that this CSS selector finds, with single spaces.
    pub fn texts(&self, selector: &str) -> Vec<String> {
        self.html().select(&css(selector)).map(|element| text(&element)).collect()
    }

    /// The page's heading.
    pub fn heading(&self) -> String {
        self.texts("h1").join(" / ")
    }

    /// What the page says went wrong.
    pub fn alert(&self) -> Option<String> {
        self.texts("[role=alert]").into_iter().next()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().expect("ASCII")).unwrap_or_default()
    }

    /// The one form that goes to this path.
    #[track_caller]
    pub fn form(&self, path: &str) -> Form {
        let mut forms = self.forms();
        forms.retain(|form| form.action.path() == path);
        assert_eq!(forms.len(), 1, "forms to {path} on {} ({}):\n{}", self.url, self.status, self.text);
        forms.remove(0)
    }

    /// All forms, in their order.
    pub fn forms(&self) -> Vec<Form> {
        self.html().select(&css("form")).map(|form| self.read_form(&form)).collect()
    }

    fn read_form(&self, form: &ElementRef<'_>) -> Form {
        let action = form.attr("action").unwrap_or_default();
        let method = form.attr("method").unwrap_or("get").to_ascii_uppercase();
        let named = |element: &ElementRef<'_>, value: Option<String>| {
            Some((element.attr("name")?.to_owned(), value.unwrap_or_default()))
        };
        let mut fields = Vec::new();
        for field in form.select(&css("input, select, textarea")) {
            let value = match field.value().name() {
                "select" => selected(&field),
                "textarea" => Some(field.text().collect()),
                _ if matches!(field.attr("type"), Some("checkbox" | "radio")) && field.attr("checked").is_none() => {
                    continue;
                }
                _ => field.attr("value").map(ToOwned::to_owned),
            };
            fields.extend(named(&field, value));
        }
        let button = css("button");
        let buttons = form.select(&button);
        let buttons = buttons.filter_map(|button| named(&button, button.attr("value").map(ToOwned::to_owned)));
        Form {
            page: self.url.clone(),
            action: self.url.join(action).expect("an action is an address"),
            method: Method::from_bytes(method.as_bytes()).expect("a method"),
            allowed: self.form_action(),
            fields,
            buttons: buttons.collect(),
        }
    }

    /// The sources of the policy's `form-action`.
    fn form_action(&self) -> Option<Vec<String>> {
        let policy = self.header(CONTENT_SECURITY_POLICY.as_str());
        let mut directives = policy.split(';').map(str::trim);
        let sources = directives.find_map(|directive| directive.strip_prefix("form-action "))?;
        Some(sources.split_whitespace().map(ToOwned::to_owned).collect())
    }
}

impl Form {
    /// Writes into a field, or chooses in a list.
    #[must_use]
    #[track_caller]
    pub fn fill(mut self, name: &str, value: &str) -> Self {
        let field = self.fields.iter_mut().find(|(known, _)| known == name);
        let (_, held) = field.unwrap_or_else(|| panic!("the form has no field `{name}`"));
        value.clone_into(held);
        self
    }

    /// Presses the button that stands for this value.
    #[must_use]
    #[track_caller]
    pub fn press(mut self, name: &str, value: &str) -> Self {
        let button = (name.to_owned(), value.to_owned());
        assert!(self.buttons.contains(&button), "the form has no button {button:?}, but {:?}", self.buttons);
        self.fields.push(button);
        self
    }

    /// What a field holds.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn action(&self) -> &Url {
        &self.action
    }

    /// Adds a field that the form does not have, or takes one away: what no browser does.
    #[must_use]
    pub fn forge(mut self, name: &str, value: Option<&str>) -> Self {
        self.fields.retain(|(known, _)| known != name);
        self.fields.extend(value.map(|value| (name.to_owned(), value.to_owned())));
        self
    }

    #[track_caller]
    fn must_allow(&self, target: &Url) {
        let Some(allowed) = &self.allowed else { return };
        let origin = target.origin().ascii_serialization();
        let fits = |source: &String| match source.as_str() {
            "'self'" => target.origin() == self.page.origin(),
            source if source.ends_with(':') => target.scheme() == source.trim_end_matches(':'),
            source => source.trim_end_matches('/') == origin,
        };
        assert!(allowed.iter().any(fits), "{} lets its forms go to {allowed:?}, not to {target}", self.page);
    }
}

fn selected(list: &ElementRef<'_>) -> Option<String> {
    let chosen = list.select(&css("option[selected]")).next().or_else(|| list.select(&css("option")).next())?;
    Some(chosen.attr("value").map_or_else(|| text(&chosen), ToOwned::to_owned))
}

/// An element's text as it is read out.
pub fn text(element: &ElementRef<'_>) -> String {
    element.text().collect::<String>().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A CSS selector.
#[track_caller]
pub fn css(selector: &str) -> Selector {
    Selector::parse(selector).unwrap_or_else(|error| panic!("{selector}: {error}"))
}
