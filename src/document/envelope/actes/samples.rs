//! Tests alone: real messages of other people's projects, which stand beside the checkout and are not part of it; where
//! they are missing these tests say so and pass.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::super::xml::sniff;
use super::*;

fn folder() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let places = ["../shared/samples/adullact/actes", "../../shared/samples/adullact/actes"];
    let found = places.iter().map(|place| root.join(place)).find(|place| place.is_dir());
    if found.is_none() {
        println!("skipped: no samples beside the checkout");
    }
    found
}

fn read(name: &str, xml: &[u8]) -> Reading {
    let root = sniff(&mut &*xml).unwrap().unwrap_or_else(|| panic!("{name} has no root"));
    decode(&mut &*xml, &root, name).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The values of one message alone, without the words for its codes.
fn values(folder: &Path, path: &str) -> Value {
    let name = path.rsplit('/').next().unwrap();
    let mut readings = [(name.to_owned(), read(name, &fs::read(folder.join(path)).unwrap()))];
    complete(&mut readings);
    let [(_, reading)] = readings;
    plain(reading.values)
}

fn plain(values: Values) -> Value {
    values.into_json().into_iter().filter(|(key, _)| !key.ends_with("_libelle")).collect()
}

#[test]
fn receipts_of_real_platforms_have_all_their_values() {
    let Some(folder) = folder() else { return };
    let expected = json!({
        "type_message": "1-2", "acte_unique_id": "034-491011698-20171207-CL20171227_06-DE", "date_ar": "2017-12-27",
        "numero_de_lacte": "CL20171227_06", "acte_nature": "1", "date_de_lacte": "2017-12-07",
        "objet": "Fichier signé parapheur", "classification_date_version": "2017-11-13", "type_acte": "32_DP",
        "nombre_annexes": "0", "document_papier": "N", "classification": "3.2", "siren": "491011698", "departement": "034",
    });
    assert_eq!(values(&folder, "aractes.xml"), expected);
    let expected = json!({
        "type_message": "1-2", "acte_unique_id": "006-210600235-20180522-684-AI", "date_ar": "2018-05-28",
        "numero_de_lacte": "684", "acte_nature": "3", "date_de_lacte": "2018-05-22",
        "objet": "Contrat à durée déterminée - Jean Dupont", "classification_date_version": "2017-04-19",
        "type_acte": "99_DE", "nombre_annexes": "0", "document_papier": "0", "classification": "4.2",
        "siren": "210600235", "departement": "006",
    });
    assert_eq!(values(&folder, "006-210600235-20180522-684-AI-1-2_5279.xml"), expected);
    let expected = json!({
        "type_message": "1-2", "acte_unique_id": "999-999100057-20190515-201905151546_MR-AR", "date_ar": "2019-05-15",
        "numero_de_lacte": "201905151546_MR", "acte_nature": "2", "date_de_lacte": "2019-05-15",
        "objet": "Objet objet bojet", "classification_date_version": "2001-01-02", "type_acte": "99_AT", "type_pj": "99_AR",
        "nombre_annexes": "1", "document_papier": "N", "classification": "1.1", "siren": "999100057", "departement": "999",
    });
    assert_eq!(values(&folder, "fast-tdt/999-1234----1-2_0.xml"), expected);
}

#[test]
fn transmissions_of_real_platforms_have_all_their_values() {
    let Some(folder) = folder() else { return };
    let name = "transaction-dir-1/034-491011698-20171207-CL20171227_06-DE-1-1_0.xml";
    let expected = json!({
        "type_message": "1-1", "acte_unique_id": "034-491011698-20171207-CL20171227_06-DE",
        "numero_de_lacte": "CL20171227_06", "acte_nature": "1", "date_de_lacte": "2017-12-07",
        "objet": "Fichier signé parapheur", "classification_date_version": "2017-11-13", "nombre_annexes": "0",
        "document_papier": "N", "classification": "3.2", "departement": "034", "siren": "491011698",
    });
    assert_eq!(values(&folder, name), expected);
    let expected = json!({
        "type_message": "1-1", "acte_unique_id": "999-999100057-20190101-201901010000-AU",
        "numero_de_lacte": "201901010000", "acte_nature": "6", "date_de_lacte": "2019-01-01", "objet": "Test send TDT 01",
        "classification_date_version": "2019-04-18", "type_acte": "99_AI", "nombre_annexes": "4",
        "type_pj": ["22_CO", "22_TA", "22_DD", "43_AC"], "document_papier": "N", "classification": "1.1",
        "departement": "999", "siren": "999100057",
    });
    assert_eq!(values(&folder, "fast-tdt/999-1234----1-1_0.xml"), expected);
}

#[test]
fn anomalies_cancellations_and_classifications_of_real_platforms_have_their_values() {
    let Some(folder) = folder() else { return };
    let expected = json!({
        "type_message": "1-3", "date_anomalie": "2017-06-16", "anomalie_nature": "042",
        "anomalie_detail": "Ca ne fonctionne pas", "numero_de_lacte": "TEST42", "acte_nature": "1",
        "date_de_lacte": "2017-01-30", "objet": "test de télétransmission", "classification_date_version": "2014-01-02",
        "type_acte": "99_AI", "nombre_annexes": "0", "classification": "1.3.4",
    });
    assert_eq!(values(&folder, "fast-tdt/999-1234----1-3_0.xml"), expected);
    let expected = json!({
        "type_message": "6-1", "acte_unique_id": "999-999100057-20190429-20190429_TEST1-AI",
        "numero_de_lacte": "20190429_TEST1", "date_de_lacte": "2019-04-29", "acte_nature": "3", "siren": "999100057",
        "departement": "999",
    });
    assert_eq!(values(&folder, "fast-tdt/999-1234----6-1_0.xml"), expected);
    let expected = json!({
        "type_message": "6-2", "acte_unique_id": "999-1234-20190515-201905151412-AI", "date_ar": "2019-07-09",
        "numero_de_lacte": "201905151412", "date_de_lacte": "2019-05-15", "acte_nature": "3", "departement": "999",
    });
    assert_eq!(values(&folder, "fast-tdt/999-1234----6-2_0.xml"), expected);
    let expected = json!({
        "type_message": "6-2", "acte_unique_id": "034-123456725-20230420-ACTE20230420-AI", "date_ar": "2023-04-20",
        "numero_de_lacte": "ACTE20230420", "date_de_lacte": "2023-04-20", "acte_nature": "3", "siren": "123456725",
        "departement": "034",
    });
    assert_eq!(values(&folder, "ARAnnulation.xml"), expected);
    for (path, date) in [("classification.xml", "2017-11-13"), ("fast-tdt/999-1234----7-2_1.xml", "2019-04-18")] {
        assert_eq!(values(&folder, path), json!({ "type_message": "7-2", "date_classification": date }));
    }
}

#[test]
fn a_real_envelope_gives_its_message_an_identifier() {
    let Some(folder) = folder() else { return };
    let packed = fs::File::open(folder.join("SIC-EACT--210600730--20180115-1.tar.gz")).unwrap();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(packed));
    let mut readings = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().to_string_lossy().into_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        if bytes.starts_with(b"<?xml") {
            readings.push((name.clone(), read(&name, &bytes)));
        }
    }
    complete(&mut readings);
    let announced: Vec<_> =
        readings.iter().flat_map(|(_, reading)| reading.announced.iter().map(|file| file.name.as_str())).collect();
    let files = ["006-210600730-20180115-007-AR-1-1_0.xml", "CO_DE-006-210600730-20180115-007-AR-1-1_1.jpg"];
    assert_eq!(announced, files);
    let mut all = Values::default();
    for (_, reading) in readings {
        all.merge(reading.values);
    }
    let expected = json!({
        "siren": "210600730", "departement": "006", "arrondissement": "2", "nature_collectivite": "02",
        "type_message": "1-1", "acte_unique_id": "006-210600730-20180115-007-AR", "numero_de_lacte": "007",
        "acte_nature": "2", "date_de_lacte": "2018-01-15", "objet": "wolo", "classification_date_version": "2017-04-19",
        "type_acte": "CO_DE", "nombre_annexes": "0", "classification": "1.1",
    });
    assert_eq!(plain(all), expected);
}
