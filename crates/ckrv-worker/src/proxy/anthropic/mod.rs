//! Anthropic's Messages API (version 2023-06-01): its routes, headers, limits and errors, as its public reference has them.

mod usage;

use std::collections::BTreeMap;

use axum::http::{HeaderName, HeaderValue, Method};
use bytes::Bytes;
use ckrv_types::Secret;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::provider::{Answer, Ask, Dialect, Refusal, Route, StreamReader};

pub(super) struct Anthropic;

impl Dialect for Anthropic {
    fn default_upstream(&self) -> &'static str {
        "https://api.anthropic.com"
    }

    fn agent_env(&self, base_url: &str, phantom: &str) -> BTreeMap<String, String> {
        [("ANTHROPIC_BASE_URL", base_url), ("ANTHROPIC_API_KEY", phantom)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    }

    fn route(&self, method: &Method, path: &str) -> Option<Route> {
        match (method.as_str(), path) {
            ("HEAD", "/") => Some(Route::Probe),
            ("POST", "/v1/messages") => Some(Route::Generate),
            ("POST", "/v1/messages/count_tokens") | ("GET", "/v1/models") => Some(Route::Free),
            ("GET", path) => path.strip_prefix("/v1/models/").filter(|id| is_model(id)).map(|_| Route::Free),
            _ => None,
        }
    }

    fn passes_to_provider(&self, header: &str) -> bool {
        matches!(header, "accept" | "content-type" | "user-agent" | "x-app")
            || ["anthropic-", "x-stainless-", "x-claude-code-"].iter().any(|prefix| header.starts_with(prefix))
    }

    fn passes_to_agent(&self, header: &str) -> bool {
        matches!(
            header,
            "content-type" | "cache-control" | "request-id" | "retry-after" | "retry-after-ms" | "x-should-retry"
        ) || header.starts_with("anthropic-ratelimit-")
    }

    fn key_header(&self, key: &Secret) -> Option<(HeaderName, HeaderValue)> {
        let mut value = HeaderValue::from_str(key.expose()).ok()?;
        value.set_sensitive(true);
        Some((HeaderName::from_static("x-api-key"), value))
    }

    fn read_ask(&self, body: &[u8]) -> Result<Ask, String> {
        // Of a field that is there twice the last one counts, and only that one is sent on.
        let fields: BTreeMap<String, Box<RawValue>> =
            serde_json::from_slice(body).map_err(|error| format!("the body is not a JSON object: {error}"))?;
        let max_output = field(&fields, "max_tokens")?.ok_or("max_tokens: Field required")?;
        let thinking: Option<Thinking> = field(&fields, "thinking")?;
        let speed: Option<String> = field(&fields, "speed")?;
        Ok(Ask {
            model: field(&fields, "model")?.ok_or("model: Field required")?,
            fast: speed.is_some_and(|speed| speed != "standard"),
            max_output,
            // "budget_tokens must be less than max_tokens"
            least_output: thinking.and_then(|thinking| thinking.budget_tokens).unwrap_or_default() + 1,
            fields,
            max_output_field: "max_tokens",
        })
    }

    fn read_answer(&self, body: &[u8]) -> Option<Answer> {
        usage::of_message(body)
    }

    fn stream_reader(&self) -> Box<dyn StreamReader> {
        Box::new(usage::Stream::default())
    }

    fn error_body(&self, refusal: &Refusal) -> Value {
        let kind = match refusal {
            Refusal::Unauthenticated => "authentication_error",
            Refusal::NoSuchRoute { .. } => "not_found_error",
            Refusal::TooLarge { .. } => "request_too_large",
            Refusal::Malformed(_) => "invalid_request_error",
            Refusal::BudgetUsedUp { .. } => "billing_error",
            Refusal::NoAnswer { .. } | Refusal::Closing => "api_error",
        };
        json!({"type": "error", "error": {"type": kind, "message": refusal.to_string()}})
    }

    fn error_event(&self, refusal: &Refusal) -> Bytes {
        format!("event: error\ndata: {}\n\n", self.error_body(refusal)).into()
    }
}

/// "Extended thinking" with a number of tokens.
#[derive(Deserialize)]
struct Thinking {
    #[serde(default)]
    budget_tokens: Option<u64>,
}

fn field<'f, T: Deserialize<'f>>(fields: &'f BTreeMap<String, Box<RawValue>>, name: &str) -> Result<Option<T>, String> {
    let Some(raw) = fields.get(name) else { return Ok(None) };
    serde_json::from_str(raw.get()).map_err(|error| format!("{name}: {error}"))
}

/// An id that cannot lead to another path.
fn is_model(id: &str) -> bool {
    id.starts_with(|c: char| c.is_ascii_alphanumeric())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_model_routes_lead_anywhere() {
        let route = |method: &str, path| Anthropic.route(&method.parse().unwrap(), path);
        assert_eq!(route("POST", "/v1/messages"), Some(Route::Generate));
        for (method, path) in
            [("POST", "/v1/messages/count_tokens"), ("GET", "/v1/models"), ("GET", "/v1/models/claude-opus-4-8")]
        {
            assert_eq!(route(method, path), Some(Route::Free), "{path}");
        }
        for (method, path) in [
            ("GET", "/v1/messages"),
            ("DELETE", "/v1/models/x"),
            ("POST", "/v1/messages/"),
            ("POST", "/v1/messages/batches"),
            ("POST", "/v1/messages/../organizations"),
            ("GET", "/v1/models/.."),
            ("GET", "/v1/models/../organizations/api_keys"),
            ("GET", "/v1/models/%2e%2e"),
            ("GET", "/v1/files"),
            ("GET", "/v1/organizations/api_keys"),
            ("POST", "//v1/messages"),
            ("GET", "/"),
        ] {
            assert_eq!(route(method, path), None, "{method} {path}");
        }
    }

    #[test]
    fn credentials_and_connection_headers_do_not_pass() {
        for header in [
            "x-api-key",
            "authorization",
            "proxy-authorization",
            "cookie",
            "host",
            "connection",
            "transfer-encoding",
            "accept-encoding",
            "content-length",
            "x-forwarded-for",
            "te",
            "expect",
        ] {
            assert!(!Anthropic.passes_to_provider(header), "{header}");
        }
        assert!(!Anthropic.passes_to_agent("set-cookie") && !Anthropic.passes_to_agent("anthropic-organization-id"));
    }

    #[test]
    fn a_request_is_changed_in_the_number_of_tokens_alone() {
        let body = br#"{"model":"m","max_tokens":1,"tools":[{"z":1,"a":2.50}],"max_tokens":64000}"#;
        let ask = Anthropic.read_ask(body).unwrap();
        assert_eq!((ask.model.as_str(), ask.max_output, ask.least_output, ask.fast), ("m", 64000, 1, false));
        assert_eq!(ask.body(77), r#"{"max_tokens":77,"model":"m","tools":[{"z":1,"a":2.50}]}"#);
    }

    #[test]
    fn thinking_needs_room_for_itself_and_fast_is_seen() {
        let body =
            br#"{"model":"m","max_tokens":9000,"thinking":{"type":"enabled","budget_tokens":4000},"speed":"fast"}"#;
        let ask = Anthropic.read_ask(body).unwrap();
        assert_eq!((ask.least_output, ask.fast), (4001, true));
    }

    #[test]
    fn a_request_whose_cost_cannot_be_bounded_is_refused() {
        for body in [
            "",
            "[]",
            r#"{"model":"m"}"#,
            r#"{"max_tokens":5}"#,
            r#"{"model":"m","max_tokens":6.4e4}"#,
            r#"{"model":"m","max_tokens":"64000"}"#,
            r#"{"model":"m","max_tokens":-1}"#,
        ] {
            assert!(Anthropic.read_ask(body.as_bytes()).is_err(), "{body}");
        }
    }
}
