//! Tests of ACTES: every message of the table, identifiers from message and envelope, hostile input; real files at hand.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::xml::sniff;
use super::*;

/// Root and content of a message, in our own words.
fn message(root: &str, attributes: &str, content: &str) -> String {
    format!(
        "<a:{root} xmlns:a=\"{NAMESPACE}\" xmlns:insee=\"http://xml.insee.fr/schema\" {attributes}>{content}</a:{root}>"
    )
}

fn decoded(name: &str, xml: &[u8]) -> Reading {
    let root = sniff(&mut &*xml).unwrap().expect("a root");
    decode(&mut &*xml, &root, name).unwrap()
}

fn json_of(reading: Reading) -> Value {
    Value::Object(reading.values.into_json())
}

fn announced(reading: &Reading) -> Vec<(&str, &str)> {
    reading.announced.iter().map(|announced| (announced.role.as_str(), announced.name.as_str())).collect()
}

const ACTE: &str = r#"<a:CodeMatiere2 a:CodeMatiere="8"/><a:CodeMatiere1 a:CodeMatiere="7"/><a:CodeMatiere3 a:CodeMatiere="1"/>
    <a:Objet> Fonds de concours
    </a:Objet><a:PrecedentIdentifiantActe a:IDActe="034-999888777-20240101-DEL_0-DE"/>
    <a:ClassificationDateVersion>2023-06-05+02:00</a:ClassificationDateVersion>
    <a:Document><a:NomFichier>99_DE-034-999888777-20240319-DEL_1-DE-1-1_1.pdf</a:NomFichier>
      <a:Signature><a:Document><a:NomFichier>faux.pdf</a:NomFichier></a:Document><a:Objet>faux</a:Objet></a:Signature></a:Document>
    <a:Annexes a:Nombre="3">
      <a:Annexe><a:NomFichier>22_DP-034-999888777-20240319-DEL_1-DE-1-1_2.PDF</a:NomFichier></a:Annexe>
      <a:Annexe><a:NomFichier>22_DP-034-999888777-20240319-DEL_1-DE-1-1_3.pdf</a:NomFichier></a:Annexe>
      <a:Annexe><a:NomFichier>plan.pdf</a:NomFichier></a:Annexe></a:Annexes>
    <a:DocumentPapier>N</a:DocumentPapier>"#;
const ATTRIBUTES: &str = r#"a:Date="2024-03-18" a:NumeroInterne="DEL_1" a:CodeNatureActe="1""#;
const ID: &str = r#"a:IDActe="034-999888777-20240318-DEL_1-DE""#;
const LETTER: &str = "<a:Document><a:NomFichier>courrier.pdf</a:NomFichier></a:Document>";

fn of_acte() -> Value {
    json!({
        "numero_de_lacte": "DEL_1", "acte_nature": "1", "acte_nature_libelle": "Délibérations", "date_de_lacte": "2024-03-18",
        "objet": "Fonds de concours", "classification": "7.8.1",
        "classification_libelle": "Finances locales / Fonds de concours", "classification_date_version": "2023-06-05",
        "acte_precedent": "034-999888777-20240101-DEL_0-DE", "nombre_annexes": "3", "document_papier": "N",
        "type_acte": "99_DE", "type_acte_libelle": "Délibération", "type_pj": ["22_DP", "22_DP"],
        "type_pj_libelle": "Document photographique",
    })
}

/// `of_acte` with more keys.
fn with(more: &Value) -> Value {
    let mut all = of_acte();
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    all
}

#[test]
fn a_transmission_has_all_its_values_and_announces_its_files_in_order() {
    let reading = decoded("a.xml", message("Acte", ATTRIBUTES, ACTE).as_bytes());
    assert_eq!(reading.role, Role::Message);
    let files = [
        ("document", "99_DE-034-999888777-20240319-DEL_1-DE-1-1_1.pdf"),
        ("annex", "22_DP-034-999888777-20240319-DEL_1-DE-1-1_2.PDF"),
        ("annex", "22_DP-034-999888777-20240319-DEL_1-DE-1-1_3.pdf"),
        ("annex", "plan.pdf"),
    ];
    assert_eq!(announced(&reading), files, "and nothing from inside a signature");
    let expected = with(&json!({ "type_message": "1-1", "type_message_libelle": "Transmission d'un acte" }));
    assert_eq!(json_of(reading), expected);
}

#[test]
fn prefixes_case_and_unqualified_attributes_make_no_difference() {
    let expected = json_of(decoded("a.xml", message("Acte", ATTRIBUTES, ACTE).as_bytes()));
    let plain = message("Acte", ATTRIBUTES, ACTE).replace("a:", "").replace("xmlns:a=", "xmlns=");
    let upper = message("ACTE", ATTRIBUTES, ACTE).replace("a:Objet", "a:OBJET").replace("a:NomFichier", "a:nomfichier");
    let other = message("Acte", ATTRIBUTES, ACTE).replace("a:", "ns1:");
    for xml in [plain, upper, other] {
        assert_eq!(json_of(decoded("a.xml", xml.as_bytes())), expected, "{xml}");
    }
}

#[test]
fn a_receipt_counts_the_values_of_its_copy_and_announces_nothing() {
    let copy = format!("<a:ActeRecu {ATTRIBUTES}>{ACTE}</a:ActeRecu>");
    let content = format!("{copy}<a:ClassificationDateVersionEnCours>2024-01-01</a:ClassificationDateVersionEnCours>");
    let xml = message("ARActe", &format!("{ID} a:DateReception=\"2024-03-19\""), &content);
    let reading = decoded("ACK_4242.xml", xml.as_bytes());
    assert_eq!((&reading.role, announced(&reading).len()), (&Role::Receipt, 0));
    let own = json!({
        "type_message": "1-2", "type_message_libelle": "Accusé de réception d'un acte", "date_ar": "2024-03-19",
        "acte_unique_id": "034-999888777-20240318-DEL_1-DE", "siren": "999888777", "departement": "034",
    });
    assert_eq!(json_of(reading), with(&own));

    let anomaly =
        format!("<a:Date>2024-03-20</a:Date><a:Nature>042</a:Nature><a:Detail>ODT-VERIF-17 : non</a:Detail>{copy}");
    let reading = decoded("034-999888777----1-3_1.xml", message("AnomalieActe", "", &anomaly).as_bytes());
    assert_eq!((&reading.role, announced(&reading).len()), (&Role::Message, 0));
    let own = json!({
        "type_message": "1-3", "type_message_libelle": "Anomalie dans la transmission d'un acte", "anomalie_nature": "042",
        "anomalie_detail": "ODT-VERIF-17 : non", "date_anomalie": "2024-03-20",
    });
    assert_eq!(json_of(reading), with(&own));
}

/// Root, code, attributes, content; role, values and files of its reading.
type Case<'a> = (&'a str, &'a str, &'a str, &'a str, &'a str, &'a [(&'a str, &'a str)], &'a [(&'a str, &'a str)]);

#[test]
fn every_other_message_has_its_code_role_values_and_files() {
    let dated = format!("{ID} a:DateCourrierPref=\"2024-04-02\"");
    let described = format!("<a:DescriptionPieces>Plan de masse</a:DescriptionPieces>{LETTER}");
    let reason = format!("<a:Motif>Délai</a:Motif>{LETTER}");
    let pieces = format!("<a:Documents>{LETTER}{LETTER}</a:Documents>");
    let answered = format!("<a:InfosCourrierPref {dated}/>");
    let received = "a:DateReception=\"2024-04-09\"";
    let referral = "<a:DateDepot>2024-05-06</a:DateDepot><a:NatureIllegalite>Incompétence</a:NatureIllegalite>\
        <a:PiecesJointes><a:PieceJointe><a:NomFichier>r.pdf</a:NomFichier></a:PieceJointe></a:PiecesJointes>";
    let courrier = &[("date_courrier", "2024-04-02")][..];
    let letter = &[("document", "courrier.pdf")][..];
    let cases: [Case<'_>; 17] = [
        ("CourrierSimple", "2-1", &dated, LETTER, "message", &[("type_reponse", "2"), courrier[0]], letter),
        ("ReponseCourrierSimple", "2-2", &dated, LETTER, "message", courrier, letter),
        (
            "DemandePieceComplementaire",
            "3-1",
            &dated,
            &described,
            "message",
            &[("type_reponse", "3"), ("description_pieces", "Plan de masse"), courrier[0]],
            letter,
        ),
        ("ARDemandePieceComplementaire", "3-2", &dated, "", "receipt", courrier, &[]),
        ("RefusPieceComplementaire", "3-3", &dated, LETTER, "message", courrier, letter),
        ("PieceComplementaire", "3-4", &dated, &pieces, "message", courrier, &[letter[0], letter[0]]),
        (
            "ARPieceComplementaire",
            "3-5",
            received,
            &answered,
            "receipt",
            &[("date_reception", "2024-04-09"), courrier[0]],
            &[],
        ),
        (
            "LettreObservations",
            "4-1",
            &dated,
            &reason,
            "message",
            &[("type_reponse", "4"), ("motif", "Délai"), courrier[0]],
            letter,
        ),
        ("ARLettreObservations", "4-2", &dated, "", "receipt", courrier, &[]),
        ("RejetLettreObservations", "4-3", &dated, LETTER, "message", courrier, letter),
        ("ReponseLettreObservations", "4-4", &dated, LETTER, "message", courrier, letter),
        ("ARReponseRejetLettreObservations", "4-5", received, &answered, "receipt", courrier, &[]),
        (
            "DefereTA",
            "5-1",
            ID,
            referral,
            "message",
            &[("type_reponse", "5"), ("date_depot", "2024-05-06"), ("nature_illegalite", "Incompétence")],
            &[("document", "r.pdf")],
        ),
        ("Annulation", "6-1", ID, "", "message", &[("numero_de_lacte", "DEL_1")], &[]),
        ("ARAnnulation", "6-2", &format!("{ID} {received}"), "", "receipt", &[("date_ar", "2024-04-09")], &[]),
        ("DemandeClassification", "7-1", "", "", "message", &[], &[]),
        (
            "ReponseClassificationSansChangement",
            "7-3",
            "",
            "<a:DateClassification>2023-06-05</a:DateClassification>",
            "message",
            &[("date_classification", "2023-06-05")],
            &[],
        ),
    ];
    for (root, code, attributes, content, role, values, files) in cases {
        assert!(is_root(root) && is_root(&root.to_uppercase()), "{root}");
        let reading = decoded("a.xml", message(root, attributes, content).as_bytes());
        assert_eq!((reading.values.first("type_message"), reading.role.as_str()), (Some(code), role), "{root}");
        assert_eq!(announced(&reading), files, "{root}");
        for (key, value) in values {
            assert_eq!(reading.values.all(key), [*value], "{key} of {root}");
        }
        let id = if code.starts_with('7') { None } else { Some("034-999888777-20240318-DEL_1-DE") };
        assert_eq!(reading.values.first("acte_unique_id"), id, "{root}");
        assert_eq!(reading.values.first("acte_nature_libelle"), id.map(|_| "Délibérations"), "{root}");
    }
}

#[test]
fn a_classification_gives_its_date_and_not_its_tables() {
    let content = "<a:DateClassification>2023-06-05</a:DateClassification><a:NaturesActes><a:NatureActe a:CodeNatureActe='5'/>\
        </a:NaturesActes><a:Matieres><a:Matiere1 a:CodeMatiere='1' a:Libelle='x'><a:CodeMatiere1 a:CodeMatiere='9'/></a:Matiere1></a:Matieres>";
    let reading = decoded("034-999888777----7-2_1.xml", message("RetourClassification", "", content).as_bytes());
    let mut readings = [("034-999888777----7-2_1.xml".to_owned(), reading)];
    complete(&mut readings);
    let [(_, reading)] = readings;
    let expected = json!({
        "type_message": "7-2", "type_message_libelle": "Classification", "date_classification": "2023-06-05",
        "departement": "034", "siren": "999888777",
    });
    assert_eq!(json_of(reading), expected);
}

const FROM_AUTHORITY: &str = r#"<a:Emetteur><a:IDCL insee:SIREN="999888777" a:Departement="034" a:Arrondissement="2" a:Nature="31"/>
    <a:Referent><a:Nom>Nom</a:Nom></a:Referent></a:Emetteur><a:AdressesRetour><a:Email>a@example.fr</a:Email></a:AdressesRetour>
    <a:FormulairesEnvoyes><a:Formulaire><a:NomFichier>un.xml</a:NomFichier></a:Formulaire>
    <a:Formulaire><a:NomFichier>deux.xml</a:NomFichier></a:Formulaire></a:FormulairesEnvoyes>"#;

#[test]
fn an_envelope_names_its_messages_and_the_authority() {
    let reading = decoded("e.xml", message("EnveloppeCLMISILL", "", FROM_AUTHORITY).as_bytes());
    assert_eq!(reading.role, Role::Envelope);
    assert_eq!(announced(&reading), [("message", "un.xml"), ("message", "deux.xml")]);
    let authority =
        json!({ "siren": "999888777", "departement": "034", "arrondissement": "2", "nature_collectivite": "31" });
    assert_eq!(json_of(reading), authority);

    let content = "<a:Emetteur><a:IDSousPref a:Departement='034' a:Arrondissement='1'/></a:Emetteur><a:FormulairesEnvoyes><a:Formulaire>\
        <a:NomFichier>un.xml</a:NomFichier></a:Formulaire></a:FormulairesEnvoyes><a:Destinataire insee:SIREN='999888777'/>";
    let reading = decoded("e.xml", message("EnveloppeMISILLCL", "", content).as_bytes());
    assert_eq!(announced(&reading), [("message", "un.xml")]);
    assert_eq!(json_of(reading), json!({ "siren": "999888777", "departement": "034", "arrondissement": "1" }));

    let content = format!(
        "<a:Date>2024-03-20</a:Date><a:Nature>002</a:Nature><a:Detail>Mal formée</a:Detail><a:EnveloppeRecue>{FROM_AUTHORITY}</a:EnveloppeRecue>"
    );
    let reading = decoded("ANO_e.xml", message("AnomalieEnveloppe", "", &content).as_bytes());
    assert_eq!((&reading.role, announced(&reading).len()), (&Role::Message, 0));
    let mut expected = authority;
    let own = json!({ "anomalie_nature": "002", "anomalie_detail": "Mal formée", "date_anomalie": "2024-03-20" });
    expected.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
    assert_eq!(json_of(reading), expected);
}

#[test]
fn the_identifier_comes_from_the_envelope_else_from_names_else_not_at_all() {
    let acte =
        |name: &str, content: &str| (name.to_owned(), decoded(name, message("Acte", ATTRIBUTES, content).as_bytes()));
    let envelope =
        || ("EACT.xml".to_owned(), decoded("EACT.xml", message("EnveloppeCLMISILL", "", FROM_AUTHORITY).as_bytes()));
    let id = Some("034-999888777-20240318-DEL_1-DE");
    let of = |mut readings: Vec<(String, Reading)>| {
        complete(&mut readings);
        readings[0].1.values.first("acte_unique_id").map(str::to_owned)
    };
    assert_eq!(
        of(vec![acte("02A-111222333-20240401-X-AR-1-1_0.xml", ""), envelope()]).as_deref(),
        id,
        "the envelope first"
    );
    assert_eq!(of(vec![acte("034-999888777-20240401-X-AR-1-1_17.xml", "")]).as_deref(), id, "the date of the XML");
    assert_eq!(of(vec![acte("renamed.xml", ACTE)]).as_deref(), id, "from its documents");
    assert_eq!(of(vec![acte("renamed.xml", "")]), None);
    let odd = message("Acte", &ATTRIBUTES.replace("\"1\"", "\"9\""), "");
    let name = "034-999888777-20240401-X-AR-1-1_0.xml";
    assert_eq!(of(vec![(name.to_owned(), decoded(name, odd.as_bytes()))]), None, "a nature without abbreviation");
}

#[test]
fn several_messages_of_one_envelope_have_each_their_own_identifier() {
    let numbered = |number: &str| {
        let xml = message("Acte", &ATTRIBUTES.replace("DEL_1", number), "");
        (format!("{number}.xml"), decoded("a.xml", xml.as_bytes()))
    };
    let envelope = decoded("e.xml", message("EnveloppeCLMISILL", "", FROM_AUTHORITY).as_bytes());
    let mut readings = vec![("e.xml".to_owned(), envelope), numbered("A-1 bis"), numbered("B")];
    complete(&mut readings);
    let mut all = Values::default();
    for (_, reading) in readings {
        all.merge(reading.values);
    }
    assert_eq!(all.all("acte_unique_id"), ["034-999888777-20240318-A-1 bis-DE", "034-999888777-20240318-B-DE"]);
    assert_eq!((all.all("departement"), all.all("siren")), (&["034".to_owned()][..], &["999888777".to_owned()][..]));
}

#[test]
fn an_identifier_is_split_from_both_ends() {
    let split = |id: &str| {
        IdActe::split(id)
            .map(|id| [id.department, id.siren.unwrap_or_default(), id.date, id.number, id.nature].join("|"))
    };
    for (id, expected) in [
        ("034-999888777-20240318-DEL_1-DE", Some("034|999888777|2024-03-18|DEL_1|DE")),
        ("02A-999888777-20240318-A-1 bis-2-AR", Some("02A|999888777|2024-03-18|A-1 bis-2|AR")),
        ("999-1234-20190515-201905151412-AI", Some("999||2019-05-15|201905151412|AI")),
        ("034-999888777-20240318-DE", None),
        ("034-999888777--DEL_1-DE", None),
        ("34-999888777-20240318-DEL_1-DE", None),
        ("034-999888777-20240318-é-D\u{e9}", None),
        ("", None),
    ] {
        assert_eq!(split(id).as_deref(), expected, "{id}");
    }
}

#[test]
fn a_typology_is_what_stands_before_the_department() {
    for (name, expected) in [
        ("99_DE-034-999888777-20240318-DEL_1-DE-1-1_1.pdf", Some("99_DE")),
        ("CO_DE-006-999888777-20180115-007-AR-1-1_1.jpg", Some("CO_DE")),
        ("01_01-02B-999888777-20240318-1-AI-1-1_12.PDF", Some("01_01")),
        ("034-999888777-20240318-DEL_1-DE-1-1_1.pdf", None),
        ("99_DE-budget.pdf", Some("99_DE")),
        ("mon_acte-v2.pdf", None),
        ("é_1-a.pdf", None),
    ] {
        assert_eq!(names::typology(name), expected, "{name}");
    }
    assert_eq!(names::sender("034-999888777----1-3_1.xml"), Some(("034".to_owned(), "999888777".to_owned())));
    assert_eq!(names::sender("X-é34-999888777-"), None);
}

#[test]
fn what_is_hostile_or_cut_is_refused() {
    let whole = message("Acte", ATTRIBUTES, ACTE);
    let root = sniff(&mut whole.as_bytes()).unwrap().unwrap();
    let refused = |xml: &str| matches!(decode(&mut xml.as_bytes(), &root, "a.xml"), Err(Error::Refused(_)));
    assert!(refused(&whole[..whole.len() - 9]));
    assert!(refused(&format!("<!DOCTYPE a [<!ENTITY x 'y'>]>{whole}")));
    assert!(refused(&message("Acte", "", &"<a:x>".repeat(100_000))));
    let other = Root { namespace: NAMESPACE.to_owned(), local: "Autre".to_owned(), attributes: Vec::new() };
    assert!(matches!(decode(&mut whole.as_bytes(), &other, "a.xml"), Err(Error::Refused(_))));
    let many = "<a:Annexe><a:NomFichier>22_DP-a.pdf</a:NomFichier></a:Annexe>".repeat(MOST + 10);
    assert_eq!(decoded("a.xml", message("Acte", "", &many).as_bytes()).announced.len(), MOST);
}

proptest! {
    #[test]
    fn any_bytes_are_decoded_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0usize..2000) {
        let root = Root { namespace: NAMESPACE.to_owned(), local: "Acte".to_owned(), attributes: Vec::new() };
        let _ = decode(&mut &bytes[..], &root, "a.xml");
        let whole = message("Acte", ATTRIBUTES, ACTE).into_bytes();
        let cut = cut.min(whole.len());
        let mixed = [&whole[..cut], &bytes[..], &whole[cut..]].concat();
        let _ = decode(&mut &mixed[..], &root, "a.xml");
    }

    #[test]
    fn any_name_is_split_without_a_panic(name in "\\PC{0,40}", id in "[0-9AB-]{0,40}\\PC{0,4}") {
        for text in [&name, &id] {
            let _ = (names::typology(text), names::sender(text), names::day(text), IdActe::split(text));
        }
    }
}
