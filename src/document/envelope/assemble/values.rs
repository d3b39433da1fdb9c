//! `metadata` of the index: what the documents say, then what the metadata file of the deposit says.

use serde_json::{Map, Value};

use crate::document::envelope::Reading;
use crate::document::envelope::pastell::{self, Metadata};
use crate::document::envelope::values::Values;
use crate::model::{EnvelopeKind, Role};
use crate::text;
use crate::text::Text;

/// Merges the values of all readings, in their order, with those of the metadata file.
pub(super) fn index(
    kind: EnvelopeKind,
    readings: Vec<Reading>,
    metadata: Option<&Metadata>,
    warnings: &mut Vec<Text>,
) -> Map<String, Value> {
    let mut values = Values::default();
    let has_pivot = readings.iter().any(|reading| reading.role == Role::Pivot);
    for reading in readings {
        // an invoice beside its own pivot says the same in other words
        if reading.kind == kind && !(has_pivot && reading.role == Role::Invoice) {
            values.merge(reading.values);
        }
    }
    let cut: Vec<String> = values.cut().map(str::to_owned).collect();
    for key in cut {
        warnings.push(text!("{key} has more values than are kept", "{key} a plus de valeurs qu'il n'en est conservé"));
    }
    let mut index = values.into_json();
    if let Some(metadata) = metadata {
        add(&mut index, metadata, kind, warnings);
    }
    index
}

/// The deposit's own keys; where a document has another value, it counts, and the deposit's is kept in `pastell`.
fn add(index: &mut Map<String, Value>, metadata: &Metadata, kind: EnvelopeKind, warnings: &mut Vec<Text>) {
    let own = |key: &str| metadata.fields.iter().any(|(field, _)| field == key);
    let mut aside = Map::new();
    for (key, value) in pastell::reading(metadata, Some(kind)).values.into_json() {
        let Some(there) = index.get(&key) else {
            index.insert(key, value);
            continue;
        };
        if !own(&key) || *there == value || says_the_same(there, &value) {
            continue;
        }
        warnings.push(text!(
            "{key} has another value in the metadata file than in the documents: theirs counts",
            "{key} n'a pas la même valeur dans le fichier de métadonnées et dans les documents : celle des documents compte"
        ));
        aside.insert(key, value);
    }
    if !aside.is_empty() {
        index.insert("pastell".to_owned(), Value::Object(aside));
    }
}

/// Pastell joins several values by a comma.
fn says_the_same(there: &Value, value: &Value) -> bool {
    match (there, value) {
        (Value::Array(list), Value::String(joined)) => {
            let parts: Vec<&str> = joined.split(',').map(str::trim).collect();
            list.len() == parts.len() && list.iter().zip(parts).all(|(one, part)| one.as_str() == Some(part))
        }
        _ => false,
    }
}
