//! Structs from objects alone: serde would also take a list of the fields' values, which no contract speaks of.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// A struct that is read from an object and from nothing else.
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        object(deserializer).map(Self)
    }
}

/// The same for a field: `#[serde(deserialize_with = "object")]`.
pub(crate) fn object<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    struct MapOnly<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for MapOnly<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map))
        }
    }

    deserializer.deserialize_map(MapOnly(PhantomData))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::SubmitJob;

    fn read(text: &str) -> Result<SubmitJob, serde_json::Error> {
        serde_json::from_str::<Object<SubmitJob>>(text).map(|read| read.0)
    }

    #[test]
    fn an_object_is_read_and_a_list_of_its_values_is_not() {
        assert!(read(r#"{"spec": {"repo": "r", "limits": {"run": 1}, "retries": {"oom": true}}}"#).is_ok());
        for text in [
            r#"[{"repo": "r"}]"#,
            r#"{"spec": ["r"]}"#,
            r#"{"spec": {"repo": "r", "limits": [1]}}"#,
            r#"{"spec": {"repo": "r", "retries": [1]}}"#,
        ] {
            assert!(read(text).unwrap_err().to_string().contains("expected an object"), "{text}");
        }
    }
}
