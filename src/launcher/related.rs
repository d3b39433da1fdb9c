//! What an envelope is known by, and the earlier deliveries of its launcher to which it belongs: `related` of the index.
//!
//! Not a guess from file names: IDActe for what concerns an acte; name of the flow and code of the authority for a PES
//! and its acquit (facts, end of the table of keys, and A.3).

use serde_json::{Map, Value};

use crate::delivery::ledger::{Before, Bond, Entry, Ledger, Relation};
use crate::document::envelope::Attachment;
use crate::model::{EnvelopeKind, Fault, Role};

/// What an envelope of this kind is known by.
pub(super) fn relations(kind: EnvelopeKind, metadata: &Map<String, Value>, files: &[Attachment]) -> Vec<Relation> {
    match kind {
        EnvelopeKind::Actes => {
            let names = texts(metadata, ACTE).take(MOST).map(ToOwned::to_owned);
            names.map(|name| Relation { bond: Bond::Acte, name, answers: None }).collect()
        }
        EnvelopeKind::Helios => {
            let any = |role: Role| files.iter().any(|file| file.role == role);
            let bonds = [(Bond::Aller, any(Role::Pes)), (Bond::Acquit, any(Role::Receipt))];
            let flows: Vec<String> = flows(metadata).take(MOST).collect();
            let of = |bond: Bond| {
                flows.iter().map(move |name| Relation { bond, name: name.clone(), answers: None }).collect::<Vec<_>>()
            };
            bonds.into_iter().filter(|(_, is)| *is).flat_map(|(bond, _)| of(bond)).collect()
        }
        EnvelopeKind::Chorus | EnvelopeKind::Pastell | EnvelopeKind::Webdelib => Vec::new(),
    }
}

/// Fills in `related` of an envelope that is about to be recorded behind those of `before`, and joins it to them.
pub(super) fn relate(ledger: &Ledger, entry: &mut Entry, before: &mut Vec<Before>) -> Result<(), Fault> {
    let Some(contents) = entry.contents.as_mut().filter(|contents| !contents.relations.is_empty()) else {
        return Ok(());
    };
    let related = ledger.related(&entry.short, &mut contents.relations, before)?;
    if !related.is_empty() {
        contents.metadata.insert(RELATED.to_owned(), Value::from(related));
    }
    before.push(Before { short: entry.short.clone(), relations: contents.relations.clone() });
    Ok(())
}

/// Name of the flow and code of the authority, each with each where an archive holds several.
fn flows(metadata: &Map<String, Value>) -> impl Iterator<Item = String> {
    let authorities: Vec<&str> = texts(metadata, "cod_col").collect();
    let each = move |flow: &str| {
        authorities.iter().map(|authority| Value::from(vec![flow, authority]).to_string()).collect::<Vec<_>>()
    };
    texts(metadata, "nom_fic").flat_map(each)
}

/// The values of a key: one, or several.
pub(super) fn texts<'a>(metadata: &'a Map<String, Value>, key: &str) -> impl Iterator<Item = &'a str> {
    let (one, list) = match metadata.get(key) {
        Some(Value::String(text)) => (Some(text.as_str()), &[][..]),
        Some(Value::Array(values)) => (None, values.as_slice()),
        _ => (None, &[][..]),
    };
    one.into_iter().chain(list.iter().filter_map(Value::as_str))
}

const ACTE: &str = "acte_unique_id";
const RELATED: &str = "related";
/// Names by which one envelope is known: more than any flow holds.
const MOST: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::envelope::store::Body;
    use crate::model::Digest;

    fn file(role: Role) -> Attachment {
        let body = Body { path: "x".into(), size: 0, sha256: Digest::of(b"") };
        Attachment { name: "x".into(), media_type: None, role, readable: false, body }
    }

    #[test]
    fn an_acte_is_known_by_its_number_and_a_pes_by_flow_and_authority() {
        let metadata = serde_json::json!({
            "acte_unique_id": ["a", "b"], "nom_fic": "STELA11", "cod_col": ["244", "245"],
        });
        let metadata = metadata.as_object().unwrap();
        let of = |kind, roles: &[Role]| {
            let files: Vec<_> = roles.iter().cloned().map(file).collect();
            let relations = relations(kind, metadata, &files).into_iter();
            relations.map(|relation| (relation.bond, relation.name)).collect::<Vec<_>>()
        };
        assert_eq!(of(EnvelopeKind::Actes, &[]), [(Bond::Acte, "a".into()), (Bond::Acte, "b".into())]);
        let (one, other) = (r#"["STELA11","244"]"#.to_owned(), r#"["STELA11","245"]"#.to_owned());
        assert_eq!(of(EnvelopeKind::Helios, &[Role::Pes]), [(Bond::Aller, one.clone()), (Bond::Aller, other)]);
        assert_eq!(of(EnvelopeKind::Helios, &[Role::Receipt])[0], (Bond::Acquit, one));
        assert_eq!(of(EnvelopeKind::Chorus, &[Role::Invoice]), []);
    }
}
