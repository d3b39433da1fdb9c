//! metadata.xml: `flux` with `files/file` and `data` (facts A.1). PHP writes ASCII with numeric references and names no
//! encoding.

use serde_json::Value;

use super::{Fields, Listed, Metadata};
use crate::document::envelope::Error;
use crate::document::envelope::xml::{Event, Xml, sniff};
use crate::text;
use crate::text::Text;

/// Reads it; what has no root yet is one by `is_named`, its name, alone.
pub(super) fn parse(bytes: &[u8], is_named: bool) -> Option<Result<Metadata, Text>> {
    match sniff(&mut &*bytes) {
        Ok(Some(root)) if root.local != "flux" || !root.namespace.is_empty() => None,
        Ok(Some(_)) => Some(read(bytes).map_err(why)),
        // a DOCTYPE, or a tag that does not end
        Ok(None) | Err(_) => is_named.then(|| Err(text!("it is no complete XML", "ce n'est pas du XML complet"))),
    }
}

fn read(bytes: &[u8]) -> Result<Metadata, Error> {
    let mut input = bytes;
    let mut xml = Xml::new(&mut input)?;
    let mut metadata = Metadata::default();
    let (mut fields, mut field) = (Fields::default(), String::new());
    loop {
        match xml.next()? {
            Event::Eof => return Ok(Metadata { fields: fields.list, ..metadata }),
            Event::Text(_) | Event::End => {}
            Event::Start => match (xml.path().len(), xml.local()) {
                (1, _) => metadata.kind = xml.attribute("type").map(str::to_owned),
                (2, "files") => field = xml.attribute("name").unwrap_or_default().to_owned(),
                (3, "file") => {
                    let name = xml.attribute("content").unwrap_or_default().to_owned();
                    let original = xml.attribute("name_original").map(str::to_owned);
                    metadata.files.push(list(&mut fields, &field, name, original));
                }
                (2, "data") => {
                    let name = xml.attribute("name").unwrap_or_default().to_owned();
                    let value = xml.attribute("value").map(str::to_owned);
                    let value = match value {
                        Some(value) => value,
                        None => xml.text()?,
                    };
                    *fields.at(&name) = Value::String(value);
                }
                _ => xml.skip()?,
            },
        }
    }
}

/// One more file of a field.
fn list(fields: &mut Fields, field: &str, name: String, original: Option<String>) -> Listed {
    let shown = Value::String(original.clone().unwrap_or_else(|| name.clone()));
    let n = match fields.at(field) {
        Value::Array(list) => {
            list.push(shown);
            list.len() - 1
        }
        value => {
            *value = Value::Array(vec![shown]);
            0
        }
    };
    Listed { field: field.to_owned(), n, name, original }
}

fn why(error: Error) -> Text {
    match error {
        Error::Refused(why) => why,
        Error::Read(error) | Error::Store(error) => Text::io(&error),
    }
}
