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

/// The same for a field that may be absent or null.
pub(crate) fn optional_object<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Option::<Object<T>>::deserialize(deserializer).map(|read| read.map(|read| read.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::UpdateProject;
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

    #[test]
    fn a_field_that_may_be_absent_is_an_object_or_null() {
        let read = |text| serde_json::from_str::<UpdateProject>(text);
        for text in ["{}", r#"{"settings": null}"#] {
            assert_eq!(read(text).unwrap().settings, None, "{text}");
        }
        assert_eq!(read(r#"{"settings": {"concurrency": 3}}"#).unwrap().settings.unwrap().concurrency, Some(3));
        for text in [r#"{"settings": []}"#, r#"{"settings": [null, null]}"#] {
            assert!(read(text).unwrap_err().to_string().contains("expected an object"), "{text}");
        }
    }
}
