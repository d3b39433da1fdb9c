//! ACTES: what local authorities transmit to their prefecture, and what comes back (`actesv1_1.xsd`, facts A.2).
//!
//! Not a validator: a fifth of the real files fail the XSD. The root decides what a message is; below it elements are known
//! by their local names, whatever their case, prefix and order, because each gateway writes its own.

mod complete;
pub(super) mod labels;
mod messages;
pub(super) mod names;

#[cfg(test)]
mod tests;

use std::io::Read;

pub use self::complete::complete;
use self::messages::Message;
use self::names::IdActe;
use super::values::{MOST, Values};
use super::xml::{Event, Root, Xml};
use super::{Announced, Error, Reading};
use crate::model::{EnvelopeKind, Role};
use crate::text;

/// The namespace of every message.
pub const NAMESPACE: &str = "http://www.interieur.gouv.fr/ACTES#v1.1-20040216";

/// A root of table A.2 (facts): a message, an envelope or an anomaly. Case does not matter.
pub fn is_root(local: &str) -> bool {
    messages::of(local).is_some()
}

/// Decodes a message or an envelope. `acte_unique_id` of a 1-1 is left to [`complete`], which sees its envelope.
///
/// # Errors
/// Malformed or hostile XML, a root that is none of ACTES; what the input says.
pub fn decode(input: &mut dyn Read, root: &Root, name: &str) -> Result<Reading, Error> {
    let Some(message) = messages::of(&root.local) else {
        return Err(Error::Refused(text!(
            "{name}: its root element is none of ACTES",
            "{name} : son élément racine n'est pas un élément d'ACTES"
        )));
    };
    let mut decoder = Decoder::new(message);
    let mut xml = Xml::new(input)?;
    loop {
        match xml.next()? {
            Event::Start => decoder.start(&mut xml)?,
            Event::Eof => return Ok(decoder.finish()),
            Event::Text(_) | Event::End => {}
        }
    }
}

/// What has been read of a message.
struct Decoder {
    message: &'static Message,
    reading: Reading,
    /// Level and code of `CodeMatiere1` to `CodeMatiere5`.
    matters: Vec<(u8, String)>,
}

impl Decoder {
    fn new(message: &'static Message) -> Self {
        let mut reading = Reading::new(EnvelopeKind::Actes, message.role.clone());
        reading.values.add("type_message", message.code);
        reading.values.add("type_message_libelle", if message.code.is_empty() { "" } else { message.label });
        reading.values.add("type_reponse", message.answer);
        Self { message, reading, matters: Vec::new() }
    }

    fn start(&mut self, xml: &mut Xml<'_>) -> Result<(), Error> {
        let local = xml.local().to_ascii_lowercase();
        if xml.path().len() == 1 {
            self.identity(xml);
            if self.message.is_acte() {
                self.acte(xml);
            }
            return Ok(());
        }
        match local.as_str() {
            // any content: it may well look like ours. The tables of a classification are no values
            "signature" | "naturesactes" | "matieres" => xml.skip()?,
            "acterecu" => self.acte(xml),
            "infoscourrierpref" => self.identity(xml),
            "nomfichier" => self.file(xml)?,
            "idcl" => self.authority(xml),
            "idpref" | "idsouspref" => {
                self.take(xml, &[("Departement", "departement"), ("Arrondissement", "arrondissement")])
            }
            "destinataire" => self.take(xml, &[("SIREN", "siren")]),
            "annexes" => self.take(xml, &[("Nombre", "nombre_annexes")]),
            "precedentidentifiantacte" => self.take(xml, &[("IDActe", "acte_precedent")]),
            _ => self.text(&local, xml)?,
        }
        Ok(())
    }

    /// Attributes that a letter, a receipt or a cancellation has.
    fn identity(&mut self, xml: &Xml<'_>) {
        self.take(xml, &[("IDActe", "acte_unique_id")]);
        self.date(xml.attribute("DateCourrierPref"), "date_courrier");
        // of a letter's answer it is no receipt of the acte
        let received = if self.message.is_receipt_of_acte() { "date_ar" } else { "date_reception" };
        self.date(xml.attribute("DateReception"), received);
    }

    /// `DonneesActe` of the XSD: a 1-1, or the copy of one in what answers it.
    fn acte(&mut self, xml: &Xml<'_>) {
        self.take(xml, &[("NumeroInterne", "numero_de_lacte"), ("CodeNatureActe", "acte_nature")]);
        self.date(xml.attribute("Date"), "date_de_lacte");
    }

    fn authority(&mut self, xml: &Xml<'_>) {
        let keys = [
            ("SIREN", "siren"),
            ("Departement", "departement"),
            ("Arrondissement", "arrondissement"),
            ("Nature", "nature_collectivite"),
        ];
        self.take(xml, &keys);
    }

    fn text(&mut self, local: &str, xml: &mut Xml<'_>) -> Result<(), Error> {
        let is_child = xml.path().len() == 2;
        let key = match local {
            "objet" => "objet",
            "documentpapier" => "document_papier",
            "motif" if is_child => "motif",
            "descriptionpieces" if is_child => "description_pieces",
            "natureillegalite" if is_child => "nature_illegalite",
            "nature" if is_child => "anomalie_nature",
            "detail" if is_child => "anomalie_detail",
            "classificationdateversion" => "classification_date_version",
            "dateclassification" if is_child => "date_classification",
            "datedepot" if is_child => "date_depot",
            "date" if is_child => "date_anomalie",
            _ => {
                if let Some(level) = local.strip_prefix("codematiere").and_then(|level| level.parse().ok()) {
                    self.matters.push((level, xml.attribute("CodeMatiere").unwrap_or_default().trim().to_owned()));
                    self.matters.truncate(DEEPEST);
                }
                return Ok(());
            }
        };
        let text = xml.text()?;
        if key.contains("date") {
            self.date(Some(&text), key);
        } else {
            self.reading.values.add(key, &text);
        }
        Ok(())
    }

    /// `NomFichier`, by what it stands in.
    fn file(&mut self, xml: &mut Xml<'_>) -> Result<(), Error> {
        let path: Vec<String> = xml.path().iter().map(|name| name.to_ascii_lowercase()).collect();
        let name = xml.text()?;
        let is_copy = path.iter().any(|name| name == "acterecu" || name == "envelopperecue");
        let is_acte = self.message.is_acte() || path.iter().any(|name| name == "acterecu");
        let role = match path.iter().rev().nth(1).map(String::as_str) {
            Some("document" | "piecejointe") => Role::Document,
            Some("annexe") => Role::Annex,
            Some("formulaire") => Role::Message,
            _ => return Ok(()),
        };
        if let Some(typology) = names::typology(&name).filter(|_| is_acte) {
            match role {
                Role::Annex => self.reading.values.add_again("type_pj", typology),
                _ => self.reading.values.add("type_acte", typology),
            }
        }
        if !is_copy && !name.is_empty() && self.reading.announced.len() < MOST {
            self.reading.announced.push(Announced { name, role });
        }
        Ok(())
    }

    fn take(&mut self, xml: &Xml<'_>, keys: &[(&str, &str)]) {
        for (attribute, key) in keys {
            self.reading.values.add(key, xml.attribute(attribute).unwrap_or_default());
        }
    }

    fn date(&mut self, date: Option<&str>, key: &str) {
        self.reading.values.add(key, names::day(date.unwrap_or_default().trim()));
    }

    fn finish(mut self) -> Reading {
        self.matters.sort_by_key(|(level, _)| *level);
        let matters: Vec<&str> =
            self.matters.iter().map(|(_, code)| code.as_str()).filter(|code| !code.is_empty()).collect();
        self.reading.values.add("classification", &matters.join("."));
        fill_from_id(&mut self.reading.values);
        labels::add(&mut self.reading.values);
        self.reading
    }
}

/// What the message does not say otherwise is split from its `IDActe`.
fn fill_from_id(values: &mut Values) {
    let Some(id) = values.first("acte_unique_id").and_then(IdActe::split) else { return };
    let nature = labels::code_of_abbreviation(&id.nature).unwrap_or_default();
    let found = [
        ("numero_de_lacte", id.number),
        ("date_de_lacte", id.date),
        ("acte_nature", nature.to_owned()),
        ("siren", id.siren.unwrap_or_default()),
        ("departement", id.department),
    ];
    for (key, value) in found {
        if values.all(key).is_empty() {
            values.add(key, &value);
        }
    }
}

/// Levels of the classification.
const DEEPEST: usize = 5;
