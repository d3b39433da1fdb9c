//! An export of web-delib: the XML that describes a session, its acts and their files (facts A.1, "Other drops").
//!
//! Not an ACTES message, though it shares the words: natures are written out, days are moments. The root is `depot` without
//! namespace; what web-delib adds by configuration (`…ACTE`) is kept under its own name.

use std::io::Read;

use super::actes::labels;
use super::actes::names::day;
use super::values::MOST;
use super::xml::{Event, Root, Xml};
use super::{Announced, Error, Reading};
use crate::model::{EnvelopeKind, Role};

/// Whether a document is such an export: `depot` with its number. Its namespace is declared, but never used.
pub fn is_root(root: &Root) -> bool {
    root.local.eq_ignore_ascii_case("depot")
        && root.attributes.iter().any(|(name, _)| name.eq_ignore_ascii_case("idDepot"))
}

/// Decodes the description; the files it names are announced, each once.
///
/// # Errors
/// Malformed or hostile XML; what the input says.
pub fn decode(input: &mut dyn Read, root: &Root) -> Result<Reading, Error> {
    let mut reading = Reading::new(EnvelopeKind::Webdelib, Role::Envelope);
    for (attribute, key) in [("idDepot", "id_depot"), ("date", "date_depot")] {
        let value = root.attributes.iter().find(|(name, _)| name == attribute).map_or("", |(_, value)| value);
        reading.values.add(key, &french_day(value));
    }
    let mut xml = Xml::new(input)?;
    loop {
        match xml.next()? {
            Event::Start => start(&mut xml, &mut reading)?,
            Event::Eof => break,
            Event::Text(_) | Event::End => {}
        }
    }
    labels::add(&mut reading.values);
    Ok(reading)
}

fn start(xml: &mut Xml<'_>, reading: &mut Reading) -> Result<(), Error> {
    let depth = xml.path().len();
    let local = xml.local().to_owned();
    match (depth, local.as_str()) {
        (2, "dossierActe") => reading.values.add("id_acte", xml.attribute("idActe").unwrap_or_default()),
        (2, "seance") => reading.values.add("id_seance", xml.attribute("idSeance").unwrap_or_default()),
        (3, "document") => announce(xml, reading),
        (3, other) => field(other, xml, reading)?,
        // the title of a document is the subject of its act in some versions
        (4, "titre") => {
            let title = xml.text()?;
            reading.values.add("titre", &title);
        }
        (4, _) => xml.skip()?,
        _ => {}
    }
    Ok(())
}

fn announce(xml: &Xml<'_>, reading: &mut Reading) {
    let kind = xml.attribute("type").unwrap_or_default();
    let role = match kind.to_ascii_lowercase().as_str() {
        "annexe" => Role::Annex,
        "aracte" => Role::Receipt,
        "signature" => Role::Field("signature".into()),
        "bordereau" => Role::Field("bordereau".into()),
        _ => Role::Document,
    };
    // in the ZIP a file has its relative name, where there is one
    let name = xml.attribute("relname").or_else(|| xml.attribute("nom")).unwrap_or_default().trim();
    let is_new = reading.announced.iter().rev().take(LATELY).all(|announced| announced.name != name);
    if !name.is_empty() && is_new && reading.announced.len() < MOST {
        reading.announced.push(Announced { name: name.to_owned(), role });
    }
}

fn field(local: &str, xml: &mut Xml<'_>, reading: &mut Reading) -> Result<(), Error> {
    let text = xml.text()?;
    let values = &mut reading.values;
    match local {
        "natureACTE" => match labels::code_of_nature(&text) {
            Some(code) => values.add("acte_nature", code),
            None => values.add("acte_nature_libelle", &text),
        },
        "numeroACTE" => values.add("numero_de_lacte", &text),
        "dateACTE" => values.add("date_de_lacte", day(&text)),
        "libelle" => values.add("objet", &text),
        "dateAR" => values.add("date_ar", day(&text)),
        "dateSeance" => values.add("date_seance", day(&text)),
        "dateConvocation" => values.add("date_convocation", day(&text)),
        "typeSeance" => values.add("type_seance", &text),
        "titre" => values.add("titre", &text),
        "description" => values.add("description", &text),
        other if other.ends_with("ACTE") && other.len() <= LONGEST_KEY => values.add(other, &text),
        _ => {}
    }
    Ok(())
}

/// `10/11/2012` is the tenth of November.
fn french_day(date: &str) -> String {
    let parts: Vec<&str> = date.trim().split('/').collect();
    match parts[..] {
        [day, month, year] if year.len() == 4 => format!("{year}-{month:0>2}-{day:0>2}"),
        _ => date.to_owned(),
    }
}

/// Names among which a file that is listed twice is looked for: those of one act stand together.
const LATELY: usize = 200;
/// Keys that are made of element names.
const LONGEST_KEY: usize = 64;
