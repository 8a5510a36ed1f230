//! What the proxy must know of a model provider's API, and the list of those it knows.
//!
//! A provider more is one file that implements [`Dialect`], one entry in [`Provider`] and one list in `prices.yaml`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use bytes::Bytes;
use ckrv_types::Secret;
use serde_json::Value;

use super::anthropic::Anthropic;
use super::prices::Counts;
use crate::human::dollars;

/// Who runs the models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    Anthropic,
}

/// A name that is not in [`Provider::ALL`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("ckrv has no proxy for the model provider `{name}` (it knows: {known})")]
pub struct UnknownProvider {
    pub name: String,
    pub known: String,
}

impl Provider {
    pub const ALL: [Self; 1] = [Self::Anthropic];

    /// As `provider` in agents.yaml says it, and `prices.yaml`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
        }
    }

    /// Where its API is, unless a gateway takes its place.
    pub fn default_upstream(self) -> &'static str {
        self.dialect().default_upstream()
    }

    pub(super) fn dialect(self) -> &'static dyn Dialect {
        match self {
            Self::Anthropic => &Anthropic,
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Provider {
    type Err = UnknownProvider;

    fn from_str(name: &str) -> Result<Self, UnknownProvider> {
        Self::ALL
            .into_iter()
            .find(|provider| provider.name() == name)
            .ok_or_else(|| UnknownProvider { name: name.to_owned(), known: Self::ALL.map(Self::name).join(", ") })
    }
}

/// One provider's API as the proxy sees it.
pub(super) trait Dialect: Sync {
    fn default_upstream(&self) -> &'static str;

    /// What makes the agent use the proxy at `base_url` with the key `phantom`.
    fn agent_env(&self, base_url: &str, phantom: &str) -> BTreeMap<String, String>;

    /// Where a request may go; none: nowhere.
    fn route(&self, method: &Method, path: &str) -> Option<Route>;

    /// Whether the agent's header of this (lower-case) name is passed on. The agent's credentials never are.
    fn passes_to_provider(&self, header: &str) -> bool;

    /// Whether the provider's header of this (lower-case) name is passed on to the agent.
    fn passes_to_agent(&self, header: &str) -> bool;

    /// The header that carries `key` to the provider. None: no header can carry it.
    fn key_header(&self, key: &Secret) -> Option<(HeaderName, HeaderValue)>;

    /// What a request for an answer asks for; the error says what is wrong with it.
    fn read_ask(&self, body: &[u8]) -> Result<Ask, String>;

    /// Reads an answer in one piece. None: it says nothing of what it used.
    fn read_answer(&self, body: &[u8]) -> Option<Answer>;

    /// Reads an answer that comes as events.
    fn stream_reader(&self) -> Box<dyn StreamReader>;

    /// The body of a refusal.
    fn error_body(&self, refusal: &Refusal) -> Value;

    /// The event that ends a stream with an error.
    fn error_event(&self, refusal: &Refusal) -> Bytes;
}

/// Where a request of the agent leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    /// To the provider, for an answer that costs.
    Generate,
    /// To the provider, for what is free.
    Free,
    /// Nowhere: agents ask so whether there is a server at all. Needs no key.
    Probe,
}

/// A request for an answer, as far as it can cost.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub model: String,
    pub fast: bool,
    /// Tokens of output that it allows.
    pub max_output: u64,
    /// With less than this the provider would refuse it.
    pub least_output: u64,
    /// The body's fields as they came, in the provider's own names.
    pub fields: BTreeMap<String, Box<serde_json::value::RawValue>>,
    /// The field that holds `max_output`.
    pub max_output_field: &'static str,
}

impl Ask {
    /// The body to send, which allows `max_output` tokens.
    pub fn body(mut self, max_output: u64) -> Bytes {
        let number = serde_json::value::to_raw_value(&max_output).expect("a number is always JSON");
        self.fields.insert(self.max_output_field.to_owned(), number);
        serde_json::to_vec(&self.fields).expect("JSON values under string keys are always JSON").into()
    }
}

/// What an answer has used so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// The model that answered, as the provider names it.
    pub model: Option<String>,
    /// What is billed; each at the price of its model, or else of `model`.
    pub parts: Vec<Part>,
    /// The provider has said its last word on what was used.
    pub is_final: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Part {
    pub model: Option<String>,
    pub counts: Counts,
}

pub(super) trait StreamReader: Send {
    /// Takes the data of the next event.
    fn read(&mut self, data: &[u8]);

    /// What was used so far. Output that the provider has not counted yet is estimated from the text that came.
    fn answer(&self) -> Answer;
}

/// Why the proxy does not do what the agent asks.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("this needs the key that ckrv gave to the job's agent")]
    Unauthenticated,
    #[error("ckrv's model proxy passes on requests to models only, not {method} {path}")]
    NoSuchRoute { method: Method, path: String },
    #[error("the request has more than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("{0}")]
    Malformed(String),
    #[error("the job's model budget of {} is used up ({} spent)", dollars(*budget), dollars(*spent))]
    BudgetUsedUp { budget: f64, spent: f64 },
    #[error("ckrv's model proxy got no answer from {host}: {reason}")]
    NoAnswer { host: String, reason: String },
    #[error("the job's agent was stopped")]
    Closing,
}

impl Refusal {
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::NoSuchRoute { .. } => StatusCode::NOT_FOUND,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::BudgetUsedUp { .. } => StatusCode::PAYMENT_REQUIRED,
            Self::NoAnswer { .. } => StatusCode::BAD_GATEWAY,
            Self::Closing => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Whether asking again may help.
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::NoAnswer { .. })
    }
}
