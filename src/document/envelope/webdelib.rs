//! An export of web-delib: the XML that describes a session, its acts and their files (facts A.1, "Other drops").
//!
//! Not an ACTES message, though it shares the words: natures are written out, days are moments. The root is `depot`
//! without namespace; what web-delib adds by configuration (`…ACTE`) is kept under its own name.

use std::io::Read;

use super::actes::keeper::Keeper;
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
    let mut keeper = Keeper::default();
    let mut xml = Xml::new(input)?;
    loop {
        match xml.next()? {
            Event::Start => start(&mut xml, &mut reading, &mut keeper)?,
            Event::Eof => break,
            Event::Text(_) | Event::End => {}
        }
    }
    labels::add(&mut reading.values);
    Ok(reading)
}

fn start(xml: &mut Xml<'_>, reading: &mut Reading, keeper: &mut Keeper) -> Result<(), Error> {
    let depth = xml.path().len();
    let local = xml.local().to_owned();
    let values = &mut reading.values;
    match (depth, local.as_str()) {
        (2, "dossierActe") => keeper.add(values, "id_acte", xml.attribute("idActe").unwrap_or_default()),
        (2, "seance") => keeper.add(values, "id_seance", xml.attribute("idSeance").unwrap_or_default()),
        (3, "document") => announce(xml, reading, keeper),
        (3, other) => {
            let text = xml.text()?;
            if let Some((key, value)) = field(other, &text) {
                keeper.add(values, key, value);
            }
        }
        // the title of a document is the subject of its act in some versions
        (4, "titre") => {
            let title = xml.text()?;
            keeper.add(values, "titre", &title);
        }
        (4, _) => xml.skip()?,
        _ => {}
    }
    Ok(())
}

fn announce(xml: &Xml<'_>, reading: &mut Reading, keeper: &mut Keeper) {
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
    if is_new && reading.announced.len() < MOST {
        reading.announced.extend(keeper.name(name).map(|name| Announced { name, role }));
    }
}

/// Key and value of an element of a session or an act.
fn field<'a>(local: &'a str, text: &'a str) -> Option<(&'a str, &'a str)> {
    let found = match local {
        "natureACTE" => match labels::code_of_nature(text) {
            Some(code) => ("acte_nature", code),
            None => ("acte_nature_libelle", text),
        },
        "numeroACTE" => ("numero_de_lacte", text),
        "dateACTE" => ("date_de_lacte", day(text)),
        "libelle" => ("objet", text),
        "dateAR" => ("date_ar", day(text)),
        "dateSeance" => ("date_seance", day(text)),
        "dateConvocation" => ("date_convocation", day(text)),
        "typeSeance" => ("type_seance", text),
        "titre" | "description" => (local, text),
        other if other.ends_with("ACTE") && other.len() <= LONGEST_KEY => (other, text),
        _ => return None,
    };
    Some(found)
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::xml::sniff;
    use super::*;

    const XML: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<depot idDepot="7" xmlns:webdelibdossier="http://www.adullact.org/webdelib/infodossier/1.0" date="10/11/2024">
  <seance idSeance="12"><typeSeance>Conseil municipal</typeSeance><dateSeance>2024-03-18 18:30:00</dateSeance>
    <document nom="convocation.pdf" type="convocation"><mimetype>application/pdf</mimetype></document></seance>
  <dossierActe idActe="38" refSeance="12">
    <libelle>Horaires de la mairie</libelle><titre/><natureACTE>Délibération</natureACTE>
    <dateACTE>2024-03-18 18:30:00</dateACTE><numeroACTE>DEL_1</numeroACTE><themeACTE>Administration</themeACTE>
    <document idDocument="1" nom="38-DEL_1.pdf" type="TexteActe"><signature formatSignature="p7s">true</signature></document>
    <document idDocument="2" nom="38-DEL_1.pdf" type="Rapport"/>
    <document idDocument="3" nom="plan.odt" relname="5.pdf" type="Annexe"><titre>Plan</titre></document>
    <document idDocument="4" nom="signature.zip" type="signature" refDocument="1"/>
    <document idDocument="5" nom="ARacte.xml" type="ARacte"/>
  </dossierActe>
  <dossierActe idActe="39"><libelle>Cantine</libelle><natureACTE>Arrete</natureACTE><numeroACTE/>
    <document nom="39.pdf" type="TexteActe"/></dossierActe>
</depot>"#;

    fn decoded(xml: &str) -> Result<Reading, Error> {
        let root = sniff(&mut xml.as_bytes())?.expect("a root");
        assert!(is_root(&root));
        decode(&mut xml.as_bytes(), &root)
    }

    #[test]
    fn an_export_has_its_values_and_announces_each_file_once() {
        let reading = decoded(XML).unwrap();
        let files: Vec<_> = reading.announced.iter().map(|file| (file.role.as_str(), file.name.as_str())).collect();
        let expected = [
            ("document", "convocation.pdf"),
            ("document", "38-DEL_1.pdf"),
            ("annex", "5.pdf"),
            ("signature", "signature.zip"),
            ("receipt", "ARacte.xml"),
            ("document", "39.pdf"),
        ];
        assert_eq!(files, expected);
        let expected = json!({
            "id_depot": "7", "date_depot": "2024-11-10", "id_seance": "12", "type_seance": "Conseil municipal",
            "date_seance": "2024-03-18", "id_acte": ["38", "39"], "objet": ["Horaires de la mairie", "Cantine"],
            "acte_nature": "1", "acte_nature_libelle": ["Arrete", "Délibérations"], "date_de_lacte": "2024-03-18",
            "numero_de_lacte": "DEL_1", "themeACTE": "Administration", "titre": "Plan",
        });
        assert_eq!(serde_json::Value::Object(reading.values.into_json()), expected);
    }

    #[test]
    fn other_depots_and_broken_ones_are_refused() {
        let other = sniff(&mut &b"<depot><a/></depot>"[..]).unwrap().unwrap();
        assert!(!is_root(&other));
        assert!(matches!(decoded(&XML[..XML.len() - 5]), Err(Error::Refused(_))));
        let long =
            format!("<depot idDepot='1'><dossierActe><{0}ACTE>x</{0}ACTE></dossierActe></depot>", "x".repeat(100));
        assert_eq!(decoded(&long).unwrap().values.into_json(), json!({ "id_depot": "1" }).as_object().unwrap().clone());
    }
}
