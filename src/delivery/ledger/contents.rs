//! What an envelope says of itself, kept with its item: its index is made of it, and made again should a name change.
//!
//! Not the documents, which are parts like any other. The metadata may be large, so they are dropped once the item is
//! confirmed and no index can be made any more; the rest stays for people and for a copy that is taken again.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::relation::Relation;
use crate::model::EnvelopeKind;
use crate::text::Text;

/// What an envelope says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// The deposit's own name: members' names and kinds may hang on it when a copy is read again.
    pub name: String,
    /// `kind` of the index; `None` for what could not be decoded.
    pub kind: Option<EnvelopeKind>,
    /// `metadata` of the index, `related` included once it is known.
    pub metadata: Map<String, Value>,
    /// `missing` of the index.
    pub missing: Vec<String>,
    /// `warnings` of the index.
    pub warnings: Vec<Text>,
    /// The `{n}` of the documents that a person should be shown, ascending.
    pub readable: Vec<u32>,
    /// What it is known by to later deliveries.
    pub relations: Vec<Relation>,
}

/// As it stands in the file.
#[derive(Serialize, Deserialize)]
struct Kept {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    metadata: Map<String, Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    missing: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    readable: Vec<u32>,
}

impl Contents {
    /// What is known of a deposit that could not be decoded.
    pub fn of_deposit(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// The text of the ledger's file.
    pub(super) fn to_json(&self) -> Option<String> {
        let warnings = self.warnings.iter().map(|Text { en, fr }| (en.to_string(), fr.to_string())).collect();
        serde_json::to_string(&Kept {
            name: self.name.clone(),
            kind: self.kind.map(|kind| kind.as_str().to_owned()),
            metadata: self.metadata.clone(),
            missing: self.missing.clone(),
            warnings,
            readable: self.readable.clone(),
        })
        .ok()
    }

    /// The inverse of [`to_json`](Self::to_json), without relations; `None` for what is none.
    pub(super) fn from_json(json: &str) -> Option<Self> {
        let kept: Kept = serde_json::from_str(json).ok()?;
        Some(Self {
            name: kept.name,
            kind: kept.kind.as_deref().and_then(EnvelopeKind::parse),
            metadata: kept.metadata,
            missing: kept.missing,
            warnings: kept.warnings.into_iter().map(|(en, fr)| Text { en: en.into(), fr: fr.into() }).collect(),
            readable: kept.readable,
            relations: Vec::new(),
        })
    }

    /// Roughly how many bytes of memory it holds.
    pub fn weight(&self) -> u64 {
        let texts = self.missing.iter().map(String::len).sum::<usize>();
        self.metadata.iter().map(|(key, value)| key.len() as u64 + weight(value)).sum::<u64>() + texts as u64
    }
}

fn weight(value: &Value) -> u64 {
    let held = match value {
        Value::String(text) => text.len() as u64,
        Value::Array(values) => values.iter().map(weight).sum(),
        Value::Object(map) => map.iter().map(|(key, value)| key.len() as u64 + weight(value)).sum(),
        _ => 0,
    };
    held + size_of::<Value>() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text;

    #[test]
    fn what_is_kept_reads_back_and_what_is_none_is_none() {
        let contents = Contents {
            name: "Délibération".into(),
            kind: Some(EnvelopeKind::Actes),
            metadata: serde_json::json!({ "objet": "é", "id": ["1", "2"] }).as_object().unwrap().clone(),
            missing: vec!["a.pdf".into()],
            warnings: vec![text!("w", "a")],
            readable: vec![2],
            relations: Vec::new(),
        };
        assert_eq!(Contents::from_json(&contents.to_json().unwrap()), Some(contents.clone()));
        assert!(contents.weight() > 100);
        let bare = Contents::of_deposit("x.zip");
        assert_eq!(bare.to_json().unwrap(), r#"{"name":"x.zip"}"#);
        assert_eq!(Contents::from_json("[]"), None);
    }
}
