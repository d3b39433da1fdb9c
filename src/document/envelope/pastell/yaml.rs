//! metadata.txt: a YAML mapping, dumped by Symfony (generation 2) or copied raw from Pastell's workspace (1 and 1b).
//!
//! Read twice, for two reasons: a scalar is wanted as written (`007`, `1.10`, `on`), which serde gives only to who asks for
//! a string, and what stands under a key, a scalar or a list, must be known before. Aliases are refused: Pastell writes
//! none, and bombs are made of them.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DuplicateKeyPolicy, MergeKeyPolicy, NonFiniteFloatPolicy, Options};

use super::{Field, Metadata, collected};
use crate::text;
use crate::text::Text;

/// Reads it.
///
/// # Errors
/// It is no YAML, or no flat mapping of scalars and lists of scalars.
pub(super) fn parse(text: &str) -> Result<Metadata, Text> {
    let shapes: Shapes = serde_saphyr::from_str_with_options(text, options()).map_err(|error| mistake(&error))?;
    let Some(shapes) = shapes.0 else {
        return Err(text!(
            "it is no flat list of YAML keys and values",
            "ce n'est pas une liste plate de clés et de valeurs YAML"
        ));
    };
    let entries = serde_saphyr::with_deserializer_from_str_with_options(text, options(), |deserializer| {
        deserializer.deserialize_map(Entries(&shapes))
    });
    let mut entries = entries.map_err(|error| mistake(&error))?;
    for (_, field) in &mut entries {
        match field {
            Field::Text(text) => unwrap(text),
            Field::List(list) => list.iter_mut().for_each(unwrap),
            Field::Nothing => {}
        }
    }
    Ok(collected(entries))
}

/// Generation 1 keeps its values in quotes inside of YAML's own (`'\"on\"'`, facts A.1): one layer goes.
fn unwrap(text: &mut String) {
    let inner = text.strip_prefix("\\\"").and_then(|rest| rest.strip_suffix("\\\""));
    let inner = inner.or_else(|| text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')));
    if let Some(inner) = inner {
        *text = inner.replace("\\\"", "\"");
    }
}

fn options() -> Options {
    let budget = serde_saphyr::budget! {
        max_events: 1_000_000,
        max_nodes: 250_000,
        max_aliases: 0,
        max_anchors: 0,
        max_depth: 16,
        max_documents: 1,
    };
    serde_saphyr::options! {
        budget: budget,
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        merge_keys: MergeKeyPolicy::AsOrdinary,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        ignore_binary_tag_for_string: true,
        with_snippet: false,
    }
}

fn mistake(error: &serde_saphyr::Error) -> Text {
    let line = error.location().map_or(1, |location| location.line());
    text!("the YAML ends or breaks in line {line}", "le YAML s'arrête ou se brise à la ligne {line}")
}

/// What stands under a key.
enum Shape {
    Nothing,
    Scalar,
    List(Vec<Shape>),
    Other,
}

/// The shapes under the keys of a mapping, in order; `None` for what is no flat mapping.
struct Shapes(Option<Vec<Shape>>);

impl<'de> Deserialize<'de> for Shapes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Mapping)
    }
}

struct Mapping;

impl<'de> Visitor<'de> for Mapping {
    type Value = Shapes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Shapes, A::Error> {
        let mut shapes = Some(Vec::new());
        while map.next_key::<IgnoredAny>()?.is_some() {
            let shape = map.next_value_seed(Probe { in_list: false })?;
            match (&mut shapes, shape.is_flat()) {
                (Some(shapes), true) => shapes.push(shape),
                _ => shapes = None,
            }
        }
        Ok(Shapes(shapes))
    }
}

impl Shape {
    fn is_flat(&self) -> bool {
        match self {
            Self::Nothing | Self::Scalar => true,
            Self::List(list) => list.iter().all(|shape| matches!(shape, Self::Nothing | Self::Scalar)),
            Self::Other => false,
        }
    }
}

struct Probe {
    in_list: bool,
}

impl<'de> DeserializeSeed<'de> for Probe {
    type Value = Shape;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Shape, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Probe {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_str<E>(self, _: &str) -> Result<Shape, E> {
        Ok(Shape::Scalar)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Shape, E> {
        Ok(Shape::Scalar)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Shape, E> {
        Ok(Shape::Scalar)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Shape, E> {
        Ok(Shape::Scalar)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Shape, E> {
        Ok(Shape::Scalar)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Shape, E> {
        Ok(Shape::Scalar)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Shape, E> {
        Ok(Shape::Scalar)
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<Shape, E> {
        Ok(Shape::Scalar)
    }

    fn visit_unit<E>(self) -> Result<Shape, E> {
        Ok(Shape::Nothing)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Shape, A::Error> {
        if self.in_list {
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(Shape::Other);
        }
        let mut list = Vec::new();
        while let Some(shape) = seq.next_element_seed(Self { in_list: true })? {
            list.push(shape);
        }
        Ok(Shape::List(list))
    }

    /// Symfony dumps an empty list as an empty mapping, `{  }`.
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Shape, A::Error> {
        let mut shape = Shape::Other;
        if !self.in_list && map.next_key::<IgnoredAny>()?.is_none() {
            shape = Shape::Nothing;
        } else if !self.in_list {
            map.next_value::<IgnoredAny>()?;
        }
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(shape)
    }
}

/// The second reading, along the shapes of the first.
struct Entries<'a>(&'a [Shape]);

impl<'de> Visitor<'de> for Entries<'_> {
    type Value = Vec<(String, Field)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the mapping of the first reading")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        let mut shapes = self.0.iter();
        while let Some(key) = map.next_key::<String>()? {
            let value = map.next_value_seed(Along(shapes.next().unwrap_or(&Shape::Nothing)))?;
            entries.push((key, value));
        }
        Ok(entries)
    }
}

struct Along<'a>(&'a Shape);

impl<'de> DeserializeSeed<'de> for Along<'_> {
    type Value = Field;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Field, D::Error> {
        match self.0 {
            Shape::Scalar => String::deserialize(deserializer).map(Field::Text),
            Shape::List(shapes) => deserializer.deserialize_seq(Texts(shapes)).map(Field::List),
            Shape::Nothing | Shape::Other => IgnoredAny::deserialize(deserializer).map(|_| Field::Nothing),
        }
    }
}

struct Texts<'a>(&'a [Shape]);

impl<'de> Visitor<'de> for Texts<'_> {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the list of the first reading")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<String>, A::Error> {
        let mut texts = Vec::new();
        for shape in self.0 {
            match seq.next_element_seed(Along(shape))? {
                Some(Field::Text(text)) => texts.push(text),
                Some(_) => {}
                None => break,
            }
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(texts)
    }
}
