//! What only all messages of a deposit together tell: the unique identifier of a transmitted acte.
//!
//! A 1-1 knows neither department nor SIREN of its authority: its envelope does, else its file names do. The day in those
//! names is the day of sending on some gateways, so it never counts (facts A.2).

use super::labels;
use super::names;
use crate::document::envelope::Reading;
use crate::model::{EnvelopeKind, Role};

/// Fills in `acte_unique_id`, `siren` and `departement` of the messages of one deposit; each has its member's name beside it.
/// Where no department can be had, there is no identifier.
pub fn complete(readings: &mut [(String, Reading)]) {
    let envelope = of_envelope(readings);
    let mut departments = Vec::new();
    for (name, reading) in readings.iter_mut() {
        if !is_message(reading) || !reading.values.all("acte_unique_id").is_empty() {
            continue;
        }
        let written = sender_in_names(name, reading);
        let (department, siren) = envelope.clone().or_else(|| written.clone()).unzip();
        let values = &mut reading.values;
        for (key, value) in [("departement", &department), ("siren", &siren)] {
            if values.all(key).is_empty() {
                values.add(key, value.as_deref().unwrap_or_default());
            }
        }
        let is_transmission = matches!(values.first("type_message"), Some("1-1" | "1-3"));
        let id = is_transmission.then(|| identifier(reading)).flatten();
        reading.values.add("acte_unique_id", id.as_deref().unwrap_or_default());
    }
    for (_, reading) in readings.iter() {
        if is_message(reading) {
            departments.extend(reading.values.first("departement").map(str::to_owned));
        }
    }
    // the prefecture's own department steps back behind the one in IDActe: a regional one writes to several
    for (_, reading) in readings.iter_mut() {
        let is_sent_back = is_envelope(reading) && reading.values.first("nature_collectivite").is_none();
        let differs =
            reading.values.first("departement").is_some_and(|own| !departments.iter().any(|other| other == own));
        if is_sent_back && differs && !departments.is_empty() {
            reading.values.remove("departement");
            reading.values.remove("arrondissement");
        }
    }
}

fn is_message(reading: &Reading) -> bool {
    reading.kind == EnvelopeKind::Actes && matches!(reading.role, Role::Message | Role::Receipt)
}

fn is_envelope(reading: &Reading) -> bool {
    reading.kind == EnvelopeKind::Actes && reading.role == Role::Envelope
}

/// Department and SIREN, where an envelope has both.
fn of_envelope(readings: &[(String, Reading)]) -> Option<(String, String)> {
    let mut envelopes = readings.iter().map(|(_, reading)| reading).filter(|reading| is_envelope(reading));
    envelopes.find_map(|reading| {
        let value = |key| reading.values.first(key).map(str::to_owned);
        value("departement").zip(value("siren"))
    })
}

/// From the message's own name, else from those of its documents.
fn sender_in_names(name: &str, reading: &Reading) -> Option<(String, String)> {
    let documents = reading.announced.iter().map(|announced| announced.name.as_str());
    std::iter::once(name).chain(documents).find_map(names::sender)
}

fn identifier(reading: &Reading) -> Option<String> {
    let value = |key| reading.values.first(key);
    let department = value("departement").filter(|department| names::is_department(department))?;
    let siren = value("siren")?;
    let date: String = value("date_de_lacte")?.chars().filter(char::is_ascii_digit).collect();
    let number = value("numero_de_lacte")?;
    let nature = labels::abbreviation(value("acte_nature")?)?;
    (date.len() == 8).then(|| format!("{department}-{siren}-{date}-{number}-{nature}"))
}
