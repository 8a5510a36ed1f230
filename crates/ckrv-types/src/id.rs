//! Typed ids that sort by the time of their making.
//!
//! Shape: a three-letter kind, a dash, and a UUIDv7 (RFC 9562) as 26 characters of Crockford's base 32 in lower case,
//! such as `job-01k9zj3m5r8w2t6y4x0v7q1n5d`. The form is a valid Kubernetes name, git ref component and file name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const ENCODED_LEN: usize = 26;

/// Why a text is not an id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {kind} id (expected {prefix}-… with 26 characters of 0-9 a-z)")]
pub struct InvalidId {
    text: String,
    kind: &'static str,
    prefix: &'static str,
}

fn encode(value: u128) -> String {
    (0..ENCODED_LEN).rev().map(|place| char::from(ALPHABET[((value >> (place * 5)) & 31) as usize])).collect()
}

fn decode(text: &str) -> Option<u128> {
    let bytes = text.as_bytes();
    // 26 characters carry 130 bits: the first may only hold the top three.
    if bytes.len() != ENCODED_LEN || bytes[0] > b'7' {
        return None;
    }
    bytes.iter().try_fold(0_u128, |value, byte| {
        let digit = ALPHABET.iter().position(|known| known == byte)?;
        Some((value << 5) | digit as u128)
    })
}

macro_rules! typed_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            pub const PREFIX: &'static str = $prefix;

            /// A new id, later in order than every id made before on this machine's clock.
            #[allow(clippy::new_without_default, reason = "a default id would be a different one each time")]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }

            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}-{}", $prefix, encode(self.0.as_u128()))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                text.strip_prefix(concat!($prefix, "-"))
                    .and_then(decode)
                    .map(|value| Self(Uuid::from_u128(value)))
                    .ok_or_else(|| InvalidId {
                        text: text.chars().take(64).collect(),
                        kind: $kind,
                        prefix: $prefix,
                    })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }

        #[cfg(feature = "openapi")]
        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                utoipa::openapi::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::String)
                    .pattern(Some(concat!("^", $prefix, "-[0-7][0-9a-hjkmnp-tv-z]{25}$")))
                    .description(Some(concat!("The id of a ", $kind, ".")))
                    .into()
            }
        }

        #[cfg(feature = "openapi")]
        impl utoipa::ToSchema for $name {}
    };
}

typed_id!(
    /// A job: what a user asked for.
    JobId, "job", "job"
);
typed_id!(
    /// An organization: the tenant that owns jobs, keys and usage.
    OrgId, "org", "organization"
);
typed_id!(
    /// A project within an organization.
    ProjectId, "prj", "project"
);
typed_id!(
    /// A person.
    UserId, "usr", "user"
);
typed_id!(
    /// An API key (its public part, not its secret).
    KeyId, "key", "API key"
);
typed_id!(
    /// A program that a person has let act for them, until it is revoked.
    LoginId, "lgn", "login"
);
typed_id!(
    /// A browser in which a person has signed in.
    SessionId, "ses", "session"
);
typed_id!(
    /// A runner: an executor registered with the control plane.
    RunnerId, "rnr", "runner"
);

typed_id!(
    /// An entry of the audit log.
    AuditId, "aud", "audit entry"
);
typed_id!(
    /// A git credential or model key.
    CredentialId, "crd", "credential"
);
typed_id!(
    /// An invitation to an organization (not its link).
    InvitationId, "inv", "invitation"
);
typed_id!(
    /// A member of an organization that is no person.
    ServiceAccountId, "svc", "service account"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_its_text_form() {
        let id = JobId::new();
        assert_eq!(id.to_string().parse::<JobId>(), Ok(id));
        assert_eq!(id.to_string().len(), "job-".len() + ENCODED_LEN);
    }

    #[test]
    fn ids_sort_by_time_as_values_and_as_text() {
        let ids: Vec<JobId> = (0..100).map(|_| JobId::new()).collect();
        let texts: Vec<String> = ids.iter().map(ToString::to_string).collect();
        assert!(ids.is_sorted());
        assert!(texts.is_sorted());
    }

    #[test]
    fn an_id_of_another_kind_or_shape_is_refused() {
        let org = OrgId::new().to_string();
        for text in ["", "job-", "job-zzz", org.as_str(), "job-8zzzzzzzzzzzzzzzzzzzzzzzzz", "JOB-01"] {
            assert!(text.parse::<JobId>().is_err(), "{text} was accepted");
        }
    }
}
