//! The metadata file that Pastell drops beside the files of a document: XML, JSON or YAML, of all generations (facts A.1).
//!
//! Recognised by what it says: its name is configurable in Pastell, so a name only decides whether a text file may be read
//! as YAML at all, because half of all prose is valid YAML. Of a key that stands twice the last value counts, in the place
//! of the first, as in PHP.

mod fields;
mod flux;
mod json;
mod labels;
mod names;
mod yaml;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::HashMap;

use encoding_rs::WINDOWS_1252;
use serde_json::Value;

pub use self::fields::role;
use super::Reading;
use super::actes;
use crate::model::{EnvelopeKind, Role};
use crate::text;
use crate::text::Text;

/// What a metadata file says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata {
    /// `flux/@type`: only the manifest that is fed into Pastell has it.
    pub kind: Option<String>,
    /// Its fields in order, as written, unknown ones too: a string, or a list of strings (of files: their original names).
    pub fields: Vec<(String, Value)>,
    /// The files that it lists, field by field.
    pub files: Vec<Listed>,
}

/// A file that a metadata file lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The field of Pastell that holds it.
    pub field: String,
    /// Its place among the files of that field, from 0.
    pub n: usize,
    /// Its name in the deposit, unless Pastell cleaned it on the way: see [`Metadata::matches`].
    pub name: String,
    /// Its name in Pastell, where that is another one.
    pub original: Option<String>,
}

/// Reads a metadata file of at most 4 MiB.
///
/// `None`: it is something else. `Some(Err)`: it is one, and does not parse: it is still being written, or Pastell failed to
/// write it (of text that is not UTF-8 PHP makes no JSON at all: the file is empty).
pub fn parse(name: &str, bytes: &[u8]) -> Option<Result<Metadata, Text>> {
    let name = name.to_lowercase();
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let ends_with = |extension: &str| name.ends_with(extension);
    let is_named = name.contains("metadata");
    let is_json = ends_with(".json") && !fields::OTHER_JSON.iter().any(|other| name.contains(other));
    match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
        None => (is_named || is_json).then(|| Err(empty())),
        Some(b'<') => flux::parse(bytes, is_named),
        Some(b'{') if !fields::OTHER_JSON.iter().any(|other| name.contains(other)) => {
            json::parse(&decoded(bytes), is_json)
        }
        Some(b'{' | b'[') => None,
        Some(_) if is_json && is_named => Some(Err(text!("it is not JSON", "ce n'est pas du JSON"))),
        Some(_) if [".yml", ".yaml", ".txt"].iter().any(|extension| ends_with(extension)) => {
            let parsed = yaml::parse(&decoded(bytes));
            let is_one = |metadata: &Metadata| is_named || !ends_with(".txt") || metadata.has_known_key();
            match parsed {
                Ok(metadata) => is_one(&metadata).then_some(Ok(metadata)),
                Err(why) => is_named.then_some(Err(why)),
            }
        }
        Some(_) => None,
    }
}

impl Metadata {
    /// What kind of envelope it belongs to (facts, section C). An alias says its kind when a field has its name, or when
    /// `flux/@type` contains it; aliases of the configuration come before what is built in.
    pub fn envelope_kind(&self, aliases: &[(String, EnvelopeKind)]) -> Option<EnvelopeKind> {
        let has = |key: &str| self.fields.iter().any(|(field, _)| field == key);
        let kind = self.kind.as_deref().unwrap_or_default().to_lowercase();
        let is = |alias: &str| !alias.is_empty() && (has(alias) || kind.contains(&alias.to_lowercase()));
        if let Some((_, named)) = aliases.iter().find(|(alias, _)| is(alias)) {
            return Some(*named);
        }
        if is("acte_nature") || kind.contains("actes") {
            return Some(EnvelopeKind::Actes);
        }
        if is("helios") || has("fichier_pes") || has("pes_aller") || (has("id_coll") && has("dte_str")) {
            return Some(EnvelopeKind::Helios);
        }
        let is_invoice = ["fichier_facture", "id_facture_cpp", "statut_cpp"].into_iter().any(has);
        let is_chorus = is_invoice || is("chorus_fact") || kind.contains("facture");
        is_chorus.then_some(EnvelopeKind::Chorus)
    }

    /// `member` is the file that is listed: under its original name, the name that some generation of Pastell cleaned it to,
    /// with or without what Pastell adds on a conflict, or under Pastell's own name (`<id_d>.yml_<field>_<n>`).
    pub fn matches(&self, listed: &Listed, member: &str) -> bool {
        names::matches(listed, member)
    }

    fn has_known_key(&self) -> bool {
        self.kind.is_some() || self.fields.iter().any(|(field, _)| fields::KNOWN.contains(&field.as_str()))
    }
}

/// What the metadata file itself tells the index: every field under its own name, labels beside the codes that are known.
///
/// The files that it lists are not announced here: a name alone does not find them, [`Metadata::matches`] does.
pub fn reading(metadata: &Metadata, kind: Option<EnvelopeKind>) -> Reading {
    let mut reading = Reading::new(kind.unwrap_or(EnvelopeKind::Pastell), Role::Metadata);
    for (field, value) in &metadata.fields {
        match value {
            Value::String(text) if field == "type_pj" => typologies(text).iter().for_each(|code| {
                reading.values.add_again(field, code);
            }),
            Value::String(text) => reading.values.add(field, text),
            Value::Array(list) if field == "type_pj" => {
                list.iter().filter_map(Value::as_str).for_each(|code| reading.values.add_again(field, code));
            }
            Value::Array(list) if !list.is_empty() => reading.values.set_object(field, value.clone()),
            _ => {}
        }
    }
    actes::labels::add(&mut reading.values);
    labels::add(&mut reading.values);
    reading
}

/// `type_pj` is a JSON list inside a string.
fn typologies(text: &str) -> Vec<String> {
    serde_json::from_str(text).unwrap_or_else(|_| vec![text.to_owned()])
}

/// The oldest deposits are ISO-8859-1 (facts A.1).
fn decoded(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => WINDOWS_1252.decode_without_bom_handling(bytes).0,
    }
}

/// One value of a JSON or YAML file.
enum Field {
    Text(String),
    List(Vec<String>),
    /// No value: `null`.
    Nothing,
}

/// Fields in order, found by name: a file may have very many.
#[derive(Default)]
struct Fields {
    list: Vec<(String, Value)>,
    places: HashMap<String, usize>,
}

impl Fields {
    /// The value of a field, which is made where there is none.
    fn at(&mut self, field: &str) -> &mut Value {
        let place = match self.places.get(field) {
            Some(place) => *place,
            None => {
                self.places.insert(field.to_owned(), self.list.len());
                self.list.push((field.to_owned(), Value::Null));
                self.list.len() - 1
            }
        };
        &mut self.list[place].1
    }
}

/// The fields of a JSON or YAML file, in order. A list of strings is a list of files, with few exceptions.
fn collected(entries: Vec<(String, Field)>) -> Metadata {
    let mut all = Fields::default();
    for (field, value) in entries {
        match value {
            Field::Nothing => {}
            Field::Text(text) => *all.at(&field) = Value::String(text),
            Field::List(list) => *all.at(&field) = Value::from(list),
        }
    }
    let mut files = Vec::new();
    for (field, value) in &all.list {
        let listed =
            |(n, name): (usize, &str)| Listed { field: field.clone(), n, name: name.to_owned(), original: None };
        match value {
            Value::Array(list) if !fields::is_list_of_codes(field) => {
                files.extend(list.iter().filter_map(Value::as_str).enumerate().map(listed));
            }
            Value::String(name) if fields::is_file(field) && !name.is_empty() => files.push(listed((0, name))),
            _ => {}
        }
    }
    Metadata { kind: None, fields: all.list, files }
}

fn empty() -> Text {
    text!(
        "the metadata file is empty: it is still being written, or Pastell could not write it (text that is not UTF-8)",
        "le fichier de métadonnées est vide : il est en cours d'écriture, ou Pastell n'a pas pu l'écrire (texte qui n'est pas en UTF-8)"
    )
}
