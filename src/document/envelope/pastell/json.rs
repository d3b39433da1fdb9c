//! metadata.json: a flat object of strings and lists of names, as PHP's `json_encode` writes it.
//!
//! Not any JSON: an object with something else inside (`histo_statut_cpp.json`, Pastell's export of a whole document) is no
//! metadata file. What is nested is passed over without recursion, however deep.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{Field, Metadata, collected};
use crate::text;
use crate::text::Text;

/// Reads it; when it breaks off, only `is_json`, its name, says that it was going to be one.
pub(super) fn parse(text: &str, is_json: bool) -> Option<Result<Metadata, Text>> {
    match serde_json::from_str::<Object>(text) {
        Ok(Object(entries)) => {
            let entries: Option<Vec<_>> =
                entries.into_iter().map(|(key, value)| value.map(|value| (key, value))).collect();
            entries.filter(|entries| !entries.is_empty()).map(|entries| Ok(collected(entries)))
        }
        Err(error) => is_json.then(|| {
            let (line, column) = (error.line(), error.column());
            Err(text!(
                "the JSON ends or breaks in line {line}, column {column}",
                "le JSON s'arrête ou se brise à la ligne {line}, colonne {column}"
            ))
        }),
    }
}

/// `None` where a value is neither a scalar nor a list of scalars.
struct Object(Vec<(String, Option<Field>)>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Entries)
    }
}

struct Entries;

impl<'de> Visitor<'de> for Entries {
    type Value = Object;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key()? {
            entries.push((key, map.next_value_seed(Scalars { in_list: false })?));
        }
        Ok(Object(entries))
    }
}

/// Reads a value of the object, or of a list in it.
struct Scalars {
    in_list: bool,
}

impl<'de> DeserializeSeed<'de> for Scalars {
    type Value = Option<Field>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Scalars {
    type Value = Option<Field>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(Field::Text(text.to_owned())))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Some(Field::Text(value.to_string())))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Some(Field::Text(value.to_string())))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Some(Field::Text(value.to_string())))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Some(Field::Text(value.to_string())))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Some(Field::Nothing))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut list = (!self.in_list).then(Vec::new);
        while let Some(texts) = &mut list {
            match seq.next_element_seed(Self { in_list: true })? {
                None => return Ok(list.map(Field::List)),
                Some(Some(Field::Text(text))) => texts.push(text),
                Some(Some(Field::Nothing)) => {}
                Some(_) => list = None,
            }
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}
