//! Real files of other people's test suites, values read in them by eye. They stand beside the checkout and are not part
//! of it; where they are missing these tests say so and pass.

use std::fs;
use std::path::Path;

use super::*;
use crate::model::Digest;

/// A file of the corpus, decoded.
fn sample(name: &str) -> Option<Decoded> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let places = ["../shared/samples/adullact/helios", "../../shared/samples/adullact/helios"];
    let Some(place) = places.iter().map(|place| root.join(place)).find(|place| place.is_dir()) else {
        println!("skipped: no samples beside the checkout");
        return None;
    };
    Some(decoded(&fs::read(place.join(name)).unwrap()))
}

fn compare(name: &str, role: &Role, expected: &Value) {
    let Some(read) = sample(name) else { return };
    assert_eq!((&picked(&read.metadata, expected), &read.role), (expected, role), "{name}");
    assert!(read.warnings.is_empty() && read.missing.is_empty(), "{name}: {:?} {:?}", read.warnings, read.missing);
}

#[test]
fn a_signed_expense_with_two_pieces() {
    let name = "PESALR2_25060187900027_190328_001.xml";
    compare(
        name,
        &Role::Pes,
        &json!({
            "nom_fic": "STELA11", "typ_fic": "PESALR1", "emetteur": "e.gf évolution - 12.50.03.00",
            "dte_str": "2017-09-19", "id_post": "010001", "id_coll": "75580064600099", "cod_col": "244", "cod_bud": "00",
            "libelle_col_bud": "Commune de Berger-Levrault", "domaine": ["depense", "pj"], "exercice": "2019",
            "id_bordereau": "11", "date_bordereau": "2019-02-14", "montant_bordereau": "4874.40", "id_pce": "1303",
            "objet": "Extension du réseau d'eau", "nom_tiers": "GUGLIELMETTI", "id_tiers": "30566191000029",
            "id_nature": "60611", "id_fonction": "020", "montant_ligne": "4874.40",
            "id_pj": ["21780537300016DEPENSE2016001384", "21780537300016DEPENSE2016001385"],
            "nom_pj": ["FACAVA2015092432682006500083.pdf", "FAC3056619100002920160000000000010075.pdf"], "signe": "1",
            "etat_ack": null, "numero_marche": null,
        }),
    );
    let Some(read) = sample(name) else { return };
    let files: Vec<_> = read
        .files
        .iter()
        .map(|(name, kind, bytes)| (name.as_str(), kind.as_deref(), bytes.len(), Digest::of(bytes).to_string()))
        .collect();
    let kind = Some("application/pdf");
    let digests = [
        "331416265ddd8b939fc963071c1a6492af390086b3f978e740cc96a14e73e55e",
        "574be7da9cfcdbe64866003d643adbeb0b01e2451495aaab99cec6e651556bc5",
    ];
    assert_eq!(
        files,
        [
            ("FACAVA2015092432682006500083.pdf", kind, 10_758, digests[0].to_owned()),
            ("FAC3056619100002920160000000000010075.pdf", kind, 158_561, digests[1].to_owned()),
        ]
    );
}

#[test]
fn what_simulators_write() {
    let files = [
        ("HELIOS_SIMU_ALR2_1496987735_826268894.xml", "COMMUNE"),
        ("HELIOS_SIMU_ALR2_BlocPiece-without-InfoPce.xml", "Test é(-è_çà)="),
        ("HELIOS_SIMU_ALR2_LibelleColBud_avec_accent.xml", "Test é(-è_çà)="),
    ];
    for (name, label) in files {
        compare(
            name,
            &Role::Pes,
            &json!({
                "nom_fic": "HELIOS_SIMU_ALR2_1496987735_826268894.xml", "typ_fic": "PESALR2", "emetteur": "EMSIGLE",
                "dte_str": "2017-06-09", "id_post": "034000", "id_coll": "12345678912345", "cod_col": "123",
                "cod_bud": "12", "libelle_col_bud": label, "domaine": ["depense", "pj"], "exercice": "2009",
                "id_bordereau": "1234567", "date_bordereau": "2009-07-16", "montant_bordereau": "75724.75",
                "id_pce": "832", "objet": "TEST HOMOLOGATION", "nom_tiers": "PAIERIE DEPART. HERAULT", "id_tiers": null,
                "id_nature": "6553", "id_fonction": "113", "montant_ligne": "39724.75", "signe": "0", "id_pj": null,
            }),
        );
    }
}

#[test]
fn acquits_that_accept_and_that_refuse() {
    compare(
        "pes_acquit_ok.xml",
        &Role::Receipt,
        &json!({
            "nom_fic": "HELIOS_SIMU_ALR2_1477486132_1155762524.xml", "typ_fic": "PESALR2", "emetteur": "LIBRICIEL",
            "dte_str": "2015-12-10", "id_post": "086016", "id_coll": "20004910400025", "cod_col": "400", "cod_bud": "01",
            "libelle_col_bud": "EAUX DE METROPOLIS", "exercice": "2015", "id_bordereau": "1847", "etat_ack": "1",
            "erreurs": null, "domaine": null, "id_pj": null, "signe": null,
        }),
    );
    compare(
        "ack-ko/006111_190130123456-ACK-A3020100_A0000IDL_KO.xml",
        &Role::Receipt,
        &json!({
            "nom_fic": "PesDepense-02-2019-5-11112222333344445", "typ_fic": "PESALR1", "emetteur": "Appli GF",
            "dte_str": "2019-01-23", "id_post": "006111", "id_coll": "01234567890001", "cod_col": "000", "cod_bud": "00",
            "libelle_col_bud": "STELA", "exercice": "2019", "id_bordereau": "5", "id_pce": ["20", "21", "22"],
            "etat_ack": "2", "erreurs": ["1971 - Compte fonction présent à tort",
                "2559 - Le code service de la structure publique destinataire est inconnu ou inactif dans Chorus Pro"],
        }),
    );
    compare(
        "ack-ko/006111_190130123456-ACK-A3020100_A0000SEN_KO.xml",
        &Role::Receipt,
        &json!({
            "nom_fic": "PesDepense-12-2018-209-2092019012917666666", "typ_fic": "PESALR1", "emetteur": "Appli GF",
            "dte_str": "2019-01-30", "id_post": "006111", "id_coll": "01234567890001", "cod_col": "000", "cod_bud": "01",
            "libelle_col_bud": "STELA", "exercice": "2018", "id_bordereau": "123", "etat_ack": "2", "id_pce": null,
            "erreurs": "1984 - L'identifiant unique de la PJ a déjà été intégré dans HELIOS",
        }),
    );
}

#[test]
fn a_return() {
    compare(
        "pes_retour.xml",
        &Role::Pes,
        &json!({
            "nom_fic": "HELIOS_SIMU_RETOUR_1441716142_2099520055.xml", "typ_fic": "PESRETOUR_DEP", "emetteur": null,
            "dte_str": "2008-02-15", "id_post": "082008", "id_coll": "12345678900035", "cod_col": "221", "cod_bud": "00",
            "domaine": "depense", "exercice": "2009", "id_bordereau": "1234567", "id_pce": "832",
            "objet": "TEST HOMOLOGATION", "montant_ligne": "39724.75", "signe": "0", "etat_ack": null,
        }),
    );
}
