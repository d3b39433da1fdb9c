//! Every form on documents of our own making (the seeds of the fuzz target), real ones where they stand beside the checkout,
//! and what a stranger may send.

use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::document::envelope::limits::Limits;
use crate::document::envelope::store::folder::Folder;
use crate::document::envelope::xml;

const PIVOT: &str = include_str!("../../../../tests/fuzz/seeds/chorus/pivot.xml");
const MIXED: &str = include_str!("../../../../tests/fuzz/seeds/chorus/mixte.xml");
const OF_INVOICES: &str = include_str!("../../../../tests/fuzz/seeds/chorus/status-invoice.xml");
const OF_FLOW: &str = include_str!("../../../../tests/fuzz/seeds/chorus/status-flow.xml");
const INVOICE: &str = include_str!("../../../../tests/fuzz/seeds/chorus/ubl.xml");
const CREDIT_NOTE: &str = include_str!("../../../../tests/fuzz/seeds/chorus/credit-note.xml");
const CROSS_INDUSTRY: &str = include_str!("../../../../tests/fuzz/seeds/chorus/cii.xml");
const ZUGFERD: &str = include_str!("../../../../tests/fuzz/seeds/chorus/zugferd-1.xml");

const LIMITS: Limits = Limits { max_unpacked: 1 << 20, max_entries: 100, max_ratio: 300, max_depth: 8 };

fn decoded(bytes: &[u8], store: &mut Folder) -> Result<Reading, Error> {
    let root = xml::sniff(&mut &bytes[..])?.ok_or_else(|| Error::Refused(text!("no XML", "pas de XML")))?;
    let mut input = bytes;
    let reading = decode(&mut input, &root, store, &mut Budget::new(LIMITS))?;
    assert!(input.is_empty(), "{} bytes have not been read", input.len());
    Ok(reading)
}

fn metadata(reading: Reading) -> Value {
    Value::Object(reading.values.into_json())
}

/// What is expected of an attachment.
fn files(reading: &Reading) -> Vec<(&str, &str, &str, bool, u64)> {
    let of = reading.attachments.iter();
    of.map(|file| {
        let media_type = file.media_type.as_deref().unwrap_or_default();
        (file.name.as_str(), file.role.as_str(), media_type, file.readable, file.body.size)
    })
    .collect()
}

#[test]
fn a_pivot_gives_the_values_of_all_its_invoices_and_each_by_itself() {
    let mut store = Folder::new();
    let reading = decoded(PIVOT.as_bytes(), &mut store).unwrap();
    assert_eq!((reading.kind, reading.role.clone()), (EnvelopeKind::Chorus, Role::Pivot));
    let mut values = metadata(reading);
    let items = values.as_object_mut().unwrap().remove("items").unwrap();
    assert_eq!(
        values,
        json!({
            "type_identifiant": "1",
            "fournisseur": "99911122200033",
            "fournisseur_raison_sociale": "Société Martin & Fils",
            "fournisseur_code_pays": "FR",
            "fournisseur_compte": "FR7612345",
            "mode_emission": "flux",
            "siret": ["99988877700015", "99988877700023"],
            "destinataire_nom": "Commune de Sète",
            "service_destinataire_code": "SVC1",
            "service_destinataire": "Comptabilité",
            "no_facture": ["FA-2024-001", "AV-2024-002"],
            "id_facture_cpp": "987654",
            "renvoi": "Non",
            "facture_origine": "FA-2024-000",
            "type_facture": ["380", "381"],
            "type_facture_libelle": ["Facture", "Avoir"],
            "facture_cadre": ["A1", "A99"],
            "facture_cadre_libelle": "Dépôt par un fournisseur d'une facture",
            "date_facture": ["2024-03-01", "2024-03-02"],
            "date_livraison": "2024-02-28",
            "mode_paiement": ["42", "68"],
            "mode_paiement_libelle": ["Virement sur compte bancaire", "En ligne"],
            "date_depot": "2024-03-02",
            "date_mise_a_disposition_moe": "2024-03-02",
            "devise": "EUR",
            "montant_ht": ["1000.000000", "-10"],
            "montant_ttc": ["1200.500000", "-12"],
            "montant_net": ["1200.50", "-12"],
            "montant_tva": ["200.500001", "-2.00"],
            "facture_numero_marche": "M-2024-3",
            "facture_numero_engagement": "2412345673",
            "validation_date": "2024-03-02",
            "validation_statut": "01",
            "validation_statut_libelle": "Déposée",
            "date_production": "2024-03-03",
            "id_flux": "CPP0020036000000000000042",
        })
    );
    assert_eq!(items.as_array().map(Vec::len), Some(2));
    assert_eq!(items[0]["no_facture"], "FA-2024-001");
    assert_eq!(items[0]["montant_tva"], "200.500001");
    assert_eq!(items[0]["fichiers"], json!(["FAC001.xml", "FAC001.pdf", "note.txt"]));
    assert_eq!((&items[1]["siret"], &items[1]["type_facture"]), (&json!("99988877700023"), &json!("381")));
    assert!(items[1].get("service_destinataire").is_none(), "a value of another invoice: {}", items[1]);
}

#[test]
fn pieces_are_unpacked_and_named_and_what_is_lost_is_told() {
    let mut store = Folder::new();
    let reading = decoded(PIVOT.as_bytes(), &mut store).unwrap();
    assert_eq!(
        files(&reading),
        [
            ("FAC001.xml", "invoice", "application/xml", false, 10),
            ("FAC001.pdf", "invoice", "application/pdf", true, 48),
            ("note.txt", "attachment", "text/plain", false, 11),
            ("UBL.xml", "invoice", "application/xml", false, 10),
            ("autre.pdf", "attachment", "application/pdf", false, 48),
            ("PJ00 facture", "attachment", "application/pdf", true, 50),
            ("piece-7.pdf", "attachment", "application/pdf", false, 50),
        ]
    );
    assert_eq!(store.len(), 7, "nothing else is left in the store");
    assert_eq!(reading.missing, ["cassee.pdf", "vide.pdf", "absente.pdf"]);
    for (warning, name) in reading.warnings.iter().zip(&reading.missing) {
        assert!(
            warning.en.contains(name) && warning.fr.contains(name) && warning.en.contains("AV-2024-002"),
            "{warning:?}"
        );
    }
    assert_eq!(reading.warnings.len(), 3, "{:?}", reading.warnings);
    let content = std::fs::read(&reading.attachments[2].body.path).unwrap();
    assert_eq!(content, b"plain bytes");
}

#[test]
fn a_mixed_deposit_is_read_however_its_names_are_written() {
    let mut store = Folder::new();
    let reading = decoded(MIXED.as_bytes(), &mut store).unwrap();
    assert_eq!(reading.role, Role::Pivot);
    assert_eq!(files(&reading), [("facture.PDF", "invoice", "", true, 48)]);
    let values = metadata(reading);
    for (key, value) in [
        ("no_facture", "MX-1"),
        ("siret", "99988877700015"),
        ("fournisseur", "99911122200033"),
        ("date_facture", "2024-03-01"),
        ("montant_ht", "828.43"),
        ("montant_tva", "45.56"),
        ("mode_paiement", "01"),
        ("facture_cadre_libelle", "Dépôt par un sous-traitant d'une facture"),
    ] {
        assert_eq!(values[key], value, "{key}");
    }
}

#[test]
fn a_status_tells_what_became_of_invoices_or_of_a_flow() {
    let mut store = Folder::new();
    let reading = decoded(OF_INVOICES.as_bytes(), &mut store).unwrap();
    assert_eq!((reading.role.clone(), reading.attachments.len()), (Role::Status, 0));
    let mut values = metadata(reading);
    let items = values.as_object_mut().unwrap().remove("items").unwrap();
    assert_eq!(
        values,
        json!({
            "fournisseur": "99911122200033",
            "fournisseur_raison_sociale": "Société Martin",
            "siret": "99988877700015",
            "destinataire_nom": "Commune de Sète",
            "statut_cpp": ["07", "41"],
            "statut_cpp_libelle": "Service fait",
            "statut_complement": "Service fait",
            "statut_horodatage": ["2024-03-18T16:51:55.000+01:00", "2024-03-19T00:00:00"],
            "no_facture": ["FA-2024-001", "FA-2024-009"],
            "date_facture": "2024-03-01",
            "numero_mandat": "1305",
            "date_production": "2024-03-03",
            "id_flux": "CPP0020036000000000000042",
        })
    );
    assert_eq!((&items[1]["statut_cpp"], &items[1]["no_facture"]), (&json!("41"), &json!("FA-2024-009")));

    let values = metadata(decoded(OF_FLOW.as_bytes(), &mut store).unwrap());
    for (key, value) in [
        ("statut_cpp", json!("93")),
        ("statut_cpp_libelle", json!("Erreur réception")),
        ("id_flux", json!("CPP1113")),
        ("statut_commentaire", json!("Refusé")),
        ("erreurs", json!(["E1 - SIRET inconnu (ligne 3)", "Autre"])),
    ] {
        assert_eq!(values[key], value, "{key}");
    }
}

#[test]
fn an_invoice_alone_has_the_same_keys_in_ubl_and_in_cii() {
    let both = [
        ("date_facture", "2024-03-01"),
        ("date_livraison", "2024-02-28"),
        ("fournisseur_raison_sociale", "Société Martin"),
        ("destinataire_nom", "Commune de Sète"),
        ("service_destinataire_code", "SVC1"),
        ("facture_numero_engagement", "ENG-7"),
        ("facture_numero_marche", "M-2024-3"),
        ("devise", "EUR"),
        ("montant_ht", "1000.00"),
        ("montant_ttc", "1200.50"),
        ("montant_net", "1100.50"),
        ("montant_tva", "200.50"),
    ];
    let ubl = [
        ("no_facture", "U-1"),
        ("fournisseur", "999111222"),
        ("siret", "99988877700015"),
        ("facture_cadre", "A1"),
        ("mode_paiement_libelle", "Virement SEPA"),
        ("facture_origine", "U-0"),
    ];
    let cii = [
        ("no_facture", "C-1"),
        ("fournisseur", "99911122200033"),
        ("siret", "999888777"),
        ("facture_cadre_libelle", "Dépôt par un cotraitant d'une facture"),
        ("mode_paiement", "30"),
        ("facture_origine", "C-0"),
    ];
    let all = [
        (INVOICE, &ubl, "380", "Facture", 2),
        (CREDIT_NOTE, &ubl, "381", "Avoir", 0),
        (CROSS_INDUSTRY, &cii, "380", "Facture", 1),
    ];
    for (document, own, kind, label, pieces) in all {
        let mut store = Folder::new();
        let reading = decoded(document.as_bytes(), &mut store).unwrap();
        assert_eq!((reading.role.clone(), reading.attachments.len()), (Role::Invoice, pieces));
        assert!(reading.missing.is_empty() && reading.warnings.is_empty(), "{:?}", reading.warnings);
        if let Some(first) = reading.attachments.first() {
            assert_eq!((first.name.as_str(), &first.role, first.body.size), ("detail.pdf", &Role::Attachment, 48));
            assert_eq!(first.media_type.as_deref(), Some("application/pdf"));
        }
        if let Some(second) = reading.attachments.get(1) {
            assert_eq!((second.name.as_str(), second.body.size), ("D-3.bin", 3));
        }
        let values = metadata(reading);
        assert_eq!((&values["type_facture"], &values["type_facture_libelle"]), (&json!(kind), &json!(label)));
        for (key, value) in both.iter().chain(own) {
            assert_eq!(values[*key], *value, "{key} of {}", own[0].1);
        }
    }
}

#[test]
fn the_names_of_zugferd_1_are_read_too() {
    let mut store = Folder::new();
    assert_eq!(
        metadata(decoded(ZUGFERD.as_bytes(), &mut store).unwrap()),
        json!({
            "no_facture": "Z-1",
            "type_facture": "380",
            "type_facture_libelle": "Facture",
            "date_facture": "2013-03-05",
            "date_livraison": "2013-03-04",
            "fournisseur": "DE123456789",
            "fournisseur_raison_sociale": "Lieferant",
            "destinataire_nom": "Kunde",
            "facture_numero_engagement": "B-7",
            "devise": "EUR",
            "montant_ht": "198.00",
            "montant_ttc": "235.62",
            "montant_tva": "37.62",
        })
    );
}

#[test]
fn a_root_is_recognised_by_its_name_and_namespace() {
    let ubl = "urn:oasis:names:specification:ubl:schema:xsd:Invoice-2";
    for (namespace, local, form) in [
        ("", "CPPFacturePivot", Some(Form::Pivot)),
        ("http://chorus-factures.budget.gouv.fr/facture", "CPPFacturePivot", Some(Form::Pivot)),
        ("", "cppfacturemixte", Some(Form::Pivot)),
        ("", "CPPStatut", Some(Form::Status)),
        (ubl, "Invoice", Some(Form::Ubl)),
        ("", "Invoice", None),
        ("urn:oasis:names:specification:ubl:schema:xsd:Order-2", "Order", None),
        ("urn:un:unece:uncefact:data:standard:CrossIndustryInvoice:100", "CrossIndustryInvoice", Some(Form::Cii)),
        ("urn:ferd:CrossIndustryDocument:invoice:1p0", "CrossIndustryDocument", Some(Form::Cii)),
        ("", "PES_Aller", None),
    ] {
        let root = Root { namespace: namespace.to_owned(), local: local.to_owned(), attributes: Vec::new() };
        assert_eq!(Form::of(&root), form, "{namespace} {local}");
    }
}

#[test]
fn hostile_documents_are_refused_or_read_within_limits() {
    let long = "9".repeat(100_000);
    let piece = "<PJ><Contenu>QUJD</Contenu><NomPJ>../../etc/passwd\n\u{0}</NomPJ><TypePJ>01</TypePJ></PJ>"
        .replace("\\u{0}", "");
    let unit = |inside: &str| {
        format!(
            "<CPPFacturePivot><CPPFactures><CPPFacturePivotUnitaire>{inside}</CPPFacturePivotUnitaire></CPPFactures></CPPFacturePivot>"
        )
    };
    let data = |inside: &str| unit(&format!("<DonneesFacture><Id>1</Id>{inside}</DonneesFacture>"));
    for (document, is_read) in [
        (unit(&piece), true),
        (unit(&piece.repeat(99)), true),
        (data(&format!("<TVAs><TVA><MontantTVA>{long}</MontantTVA></TVA></TVAs>")), true),
        (data(&format!("<IdCPRO>{long}</IdCPRO>")), true),
        (data(&"<Id/>".repeat(1000)), true),
        (unit("<PJ><Contenu>QUJD</Contenu><Contenu>QUJE</Contenu></PJ>"), true),
        (unit("<PJ><Contenu>QU<b>JD</b>RA==</Contenu></PJ>"), true),
        ("<CPPFacturePivot/>".to_owned(), true),
        ("<CPPStatut><CPPFluxStatuts/></CPPStatut>".to_owned(), true),
        ("<CPPFacturePivot>".to_owned(), false),
        ("<CPPFacturePivot></CPPStatut>".to_owned(), false),
        (format!("<!DOCTYPE a [<!ENTITY b 'c'>]>{}", unit("")), false),
        (unit("&b;"), false),
        (unit(&"<PJ/>".repeat(101)), false),
        ("<PES_Aller/>".to_owned(), false),
    ] {
        let mut store = Folder::new();
        let start: String = document.chars().take(200).collect();
        match decoded(document.as_bytes(), &mut store) {
            Ok(reading) => {
                assert!(is_read, "{start}");
                assert_eq!(store.len(), reading.attachments.len(), "{start}");
                assert!(reading.warnings.iter().all(|text| !text.en.contains('\n') && text.en.len() < 1000), "{start}");
            }
            Err(error) => assert!(!is_read && matches!(error, Error::Refused(_)), "{start}: {error}"),
        }
    }
}

#[test]
fn a_sum_with_a_part_that_is_no_number_is_left_out_with_a_warning() {
    let document = PIVOT.replace("0.400001", "beaucoup");
    let reading = decoded(document.as_bytes(), &mut Folder::new()).unwrap();
    assert!(reading.warnings[0].en.contains("FA-2024-001") && reading.warnings[0].en.contains("montant_tva"));
    assert_eq!(metadata(reading)["montant_tva"], "-2.00");
}

#[test]
fn the_list_of_items_is_bounded_and_says_so() {
    let unit = "<CPPFluxStatutUnitaire><DonneesStatut><IdFlux>1</IdFlux></DonneesStatut></CPPFluxStatutUnitaire>";
    let document = format!("<CPPStatut><CPPFluxStatuts>{}</CPPFluxStatuts></CPPStatut>", unit.repeat(MOST_ITEMS + 3));
    let reading = decoded(document.as_bytes(), &mut Folder::new()).unwrap();
    assert!(reading.warnings[0].en.starts_with("3 invoices"), "{:?}", reading.warnings);
    assert_eq!(metadata(reading)["items"].as_array().map(Vec::len), Some(MOST_ITEMS));
}

/// The folder of samples, or nothing when it is not there.
fn sample(name: &str) -> Option<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let places = ["../shared", "../../shared"].map(|place| root.join(place).join("samples/adullact/chorus"));
    let Some(place) = places.iter().find(|place| place.is_dir()) else {
        println!("skipped: no samples beside the checkout");
        return None;
    };
    Some(std::fs::read(place.join(name)).unwrap())
}

#[test]
fn real_flows_give_what_a_person_reads_in_them() {
    let pivot = [
        ("id_flux", "CPP0020036000000000000004"),
        ("siret", "21930053000017"),
        ("destinataire_nom", "Commune de Noisy Le Sec"),
        ("service_destinataire_code", "GN5CAFZ069"),
        ("service_destinataire", "COMPTABILITE"),
        ("type_facture", "380"),
        ("facture_cadre", "A1"),
        ("date_facture", "2015-08-19"),
        ("date_depot", "2015-08-19"),
        ("devise", "EUR"),
        ("mode_paiement", "42"),
        ("montant_ht", "3245.000000"),
        ("montant_ttc", "3245.681450"),
        ("montant_net", "3245.681450"),
        ("montant_tva", "0.681450"),
    ];
    let with_pdf = [
        ("no_facture", "AVA20150923"),
        ("facture_origine", "AVA20150923"),
        ("fournisseur", "32682006500083"),
        ("fournisseur_raison_sociale", "SARL Structure 1 SIRET"),
        ("facture_numero_engagement", "2412345673"),
    ];
    let with_ubl = [
        ("no_facture", "AVA20150925"),
        ("facture_origine", "AVA20150925"),
        ("fournisseur", "44460844213631"),
        ("fournisseur_raison_sociale", "ELECTRICITE RESEAU DISTRIBUTION FRANCE"),
        ("facture_numero_engagement", "2412345671"),
    ];
    let mixed = [
        ("no_facture", "FAC19-2512"),
        ("id_flux", "1000000000"),
        ("fournisseur", "00000000000727"),
        ("fournisseur_raison_sociale", "OST-DEVELOPPEMENT"),
        ("siret", "00000000000727"),
        ("destinataire_nom", "CHU DE BORDEAUX"),
        ("service_destinataire_code", "EJ"),
        ("service_destinataire", "Raison Sociale"),
        ("type_facture", "380"),
        ("date_facture", "2019-03-21"),
        ("mode_paiement", "01"),
        ("montant_ht", "828.43"),
        ("montant_ttc", "873.99"),
        ("montant_tva", "45.56"),
        ("facture_numero_marche", "175191/0/175191"),
        ("facture_numero_engagement", "3004564"),
    ];
    let of_invoice = [
        ("statut_cpp", "07"),
        ("statut_cpp_libelle", "Service fait"),
        ("statut_complement", "Service fait"),
        ("statut_commentaire", "Service fait"),
        ("statut_horodatage", "2018-12-18T16:51:55.000+01:00"),
        ("no_facture", "Example01"),
        ("date_facture", "2018-06-13"),
        ("fournisseur", "00000000169959"),
        ("fournisseur_raison_sociale", "26049168FOURNISSEUR"),
        ("fournisseur_code_pays", "FR"),
        ("siret", "00000000169991"),
        ("destinataire_nom", "26049168DESTINATAIRE"),
        ("id_flux", "1000000000"),
        ("date_production", "2016-09-08"),
    ];
    let of_flow = [
        ("statut_cpp", "92"),
        ("statut_cpp_libelle", "Reçu destinataire final"),
        ("statut_complement", "Reçu destinataire final."),
        ("statut_commentaire", "La facture est bien reçue et prise en charge dans le logiciel ELISE."),
        ("statut_horodatage", "2018-02-22T16:06:38"),
        ("id_flux", "1000000000"),
        ("date_production", "2016-09-08"),
    ];
    let pdf = "facture_client_format_portrait_(avec_sous-_tat.pdf";
    let check = |name: &str, values: &[&[(&str, &str)]], expected: &[(&str, &str, bool, u64)]| {
        let Some(bytes) = sample(name) else { return };
        let reading = decoded(&bytes, &mut Folder::new()).unwrap();
        let found: Vec<_> =
            files(&reading).into_iter().map(|(name, role, _, readable, size)| (name, role, readable, size)).collect();
        assert_eq!(found, expected, "{name}");
        assert!(reading.missing.is_empty() && reading.warnings.is_empty(), "{name}");
        let own = metadata(reading);
        for (key, value) in values.iter().flat_map(|part| part.iter()) {
            assert_eq!(own[*key], *value, "{key} of {name}");
        }
    };
    let two = [
        ("FACAVA2015092332682006500083.pdf", "invoice", true, 10758),
        ("PJFACAVA2015092332682006500083.pdf", "attachment", false, 10758),
    ];
    check("facture_1221.xml", &[&pivot, &with_pdf], &two);
    check("facture_1223.xml", &[&pivot, &with_ubl], &[("UblInvoice_Test.xml", "invoice", false, 6605)]);
    check("CPPFactureMixte_E2.xml", &[&mixed], &[(pdf, "invoice", true, 141_187)]);
    check("CPPStatut_Example01-FactureStatut-ok.xml", &[&of_invoice], &[]);
    check("CPPStatut_Example04-FactureStatut-ko.xml", &[&of_flow], &[]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_damage_is_an_error_or_a_reading(at in 0_usize..6000, with in proptest::collection::vec(any::<u8>(), 0..8), which in 0_usize..8) {
        let all = [PIVOT, MIXED, OF_INVOICES, OF_FLOW, INVOICE, CREDIT_NOTE, CROSS_INDUSTRY, ZUGFERD];
        let mut bytes = all[which].as_bytes().to_vec();
        let at = at % bytes.len();
        let end = (at + with.len()).min(bytes.len());
        bytes.splice(at..end, with);
        let mut store = Folder::new();
        if let Ok(reading) = decoded(&bytes, &mut store) {
            prop_assert_eq!(store.len(), reading.attachments.len());
        }
    }

    #[test]
    fn any_bytes_are_an_error_or_a_reading(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let root = Root { namespace: String::new(), local: "CPPFacturePivot".to_owned(), attributes: Vec::new() };
        let _ = decode(&mut &bytes[..], &root, &mut Folder::new(), &mut Budget::new(LIMITS));
        let inside = [b"<CPPFacturePivot>", &bytes[..], b"</CPPFacturePivot>"].concat();
        let _ = decode(&mut &inside[..], &root, &mut Folder::new(), &mut Budget::new(LIMITS));
    }
}
