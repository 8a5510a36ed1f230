//! Problems as the API tells them: RFC 9457, media type `application/problem+json`, with ckrv's own members.

use serde::{Deserialize, Serialize};

use crate::quota::QuotaLimit;

/// The media type of every error body.
pub const MEDIA_TYPE: &str = "application/problem+json";

macro_rules! problem_codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $status:literal, $retryable:literal, $title:literal;)+) => {
        /// The closed list of what can go wrong at the API. A code's status never changes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum ProblemCode {
            $($(#[$doc])* #[serde(rename = $text)] $name,)+
            /// A code that a newer server knows and this reader does not.
            #[serde(other, rename = "unknown")]
            Unknown,
        }

        impl ProblemCode {
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ Self::Unknown => "unknown" }
            }

            /// The HTTP status that goes with the code.
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)+ Self::Unknown => 500 }
            }

            /// Whether the same request may succeed later.
            pub const fn is_retryable(self) -> bool {
                match self { $(Self::$name => $retryable,)+ Self::Unknown => false }
            }

            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)+ Self::Unknown => "Unknown problem" }
            }
        }
    };
}

problem_codes! {
    /// The request cannot be read: bad JSON, bad query, bad header.
    BadRequest = "bad_request", 400, false, "The request cannot be read";
    Unauthenticated = "unauthenticated", 401, false, "No valid credential";
    Forbidden = "forbidden", 403, false, "Not allowed";
    QuotaExceeded = "quota_exceeded", 403, false, "Quota used up";
    /// Also for what exists in another organization.
    NotFound = "not_found", 404, false, "No such thing";
    MethodNotAllowed = "method_not_allowed", 405, false, "Method not allowed";
    NotAcceptable = "not_acceptable", 406, false, "None of the accepted media types can be had";
    Conflict = "conflict", 409, false, "In conflict with the present state";
    /// A request with the same idempotency key is still running.
    IdempotencyInProgress = "idempotency_in_progress", 409, true, "The first request with this key is still running";
    /// The attempt, or the runner's token, belongs to another instance.
    OtherInstance = "other_instance", 409, false, "Bound to another instance";
    /// The append does not begin at the next line; `expected_seq` says where it must.
    LogGap = "log_gap", 409, false, "Lines are missing before this batch";
    /// The attempt is over; its log is sealed at `sealed_seq`.
    Sealed = "sealed", 410, false, "The attempt is over";
    Expired = "expired", 410, false, "No longer kept";
    LengthRequired = "length_required", 411, false, "A Content-Length is needed";
    TooLarge = "too_large", 413, false, "The request is too large";
    UnsupportedMediaType = "unsupported_media_type", 415, false, "Unsupported media type";
    /// The request reads well and breaks rules; `errors` names them by field.
    Invalid = "invalid", 422, false, "The request breaks a rule";
    /// The idempotency key was used with another body.
    IdempotencyMismatch = "idempotency_mismatch", 422, false, "The key was used for another request";
    HeadersTooLarge = "headers_too_large", 431, false, "The request's headers are too large";
    RateLimited = "rate_limited", 429, true, "Too many requests";
    Internal = "internal", 500, true, "Internal error";
    Unavailable = "unavailable", 503, true, "Temporarily unavailable";
}

// By hand: the derived schema would list the variants' names, and an unknown code is no value of the contract.
#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for ProblemCode {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .enum_values(Some(Self::ALL.iter().map(|code| code.as_str())))
            .description(Some("What went wrong, from a closed list; a code's status never changes."))
            .into()
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for ProblemCode {}

/// An RFC 9457 problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Problem {
    /// `about:blank`: the code says what it is.
    #[serde(rename = "type", default = "about_blank")]
    pub kind: String,
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    pub code: ProblemCode,
    /// This occurrence, in a sentence; fixed text for 5xx.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Names the request in the server's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    #[serde(default)]
    pub retryable: bool,
    /// The rules broken, by field.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// With `log_gap`: the number that the next line must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_seq: Option<u64>,
    /// With `sealed`: the last line that was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed_seq: Option<u64>,
    /// With `quota_exceeded`: which, how much of it is used, its limit, and when it counts from nothing again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<QuotaLimit>,
}

fn about_blank() -> String {
    "about:blank".to_owned()
}

/// One broken rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FieldError {
    /// Dotted path into the body, such as `spec.limits.run`, or the query parameter's name.
    pub field: String,
    pub message: String,
}

impl Problem {
    pub fn new(code: ProblemCode) -> Self {
        Self {
            kind: about_blank(),
            title: code.title().to_owned(),
            status: code.status(),
            code,
            detail: None,
            hint: None,
            request_id: None,
            retryable: code.is_retryable(),
            errors: Vec::new(),
            expected_seq: None,
            sealed_seq: None,
            quota: None,
        }
    }

    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_survives_the_wire() {
        let problem = Problem { expected_seq: Some(4), ..Problem::new(ProblemCode::LogGap).detail("d").hint("h") };
        let text = serde_json::to_string(&problem).unwrap();
        assert_eq!(serde_json::from_str::<Problem>(&text).unwrap(), problem);
        assert!(text.contains(r#""code":"log_gap""#), "{text}");
    }

    #[test]
    fn a_code_from_a_newer_server_is_read_as_unknown() {
        let problem: Problem = serde_json::from_str(r#"{"title":"t","status":418,"code":"teapot"}"#).unwrap();
        assert_eq!(problem.code, ProblemCode::Unknown);
    }
}
