//! Tests of the metadata files of Pastell: three grammars, names in a deposit, hostile input.

use proptest::prelude::*;
use serde_json::json;

use super::*;

const XML: &str = r#"<?xml version="1.0"?>
<flux>
  <files name="arrete"><file content="d&#xE9;lib&#xE9;ration 12.pdf"/></files>
  <files name="autre_document_attache"><file content="a.pdf"/><file content="b.pdf"/></files>
  <data name="acte_nature" value="1"/>
  <data name="numero_de_lacte" value="2024_12"/>
  <data name="objet" value="Am&#xE9;nagement &amp; for&#xEA;t"/>
  <data name="type_pj" value="[&quot;22_DP&quot;,&quot;22_DP&quot;]"/>
  <data name="vide" value=""/>
</flux>
"#;
const JSON: &str = r#"{"arrete":["d\u00e9lib\u00e9ration 12.pdf"],"autre_document_attache":["a.pdf","b.pdf"],"acte_nature":"1",
"numero_de_lacte":"2024_12","objet":"Am\u00e9nagement & for\u00eat","type_pj":"[\"22_DP\",\"22_DP\"]","vide":""}"#;
const YAML: &str = "arrete:\n    - 'délibération 12.pdf'\nautre_document_attache:\n    - a.pdf\n    - b.pdf\nacte_nature: '1'\n\
    numero_de_lacte: '2024_12'\nobjet: 'Aménagement & forêt'\ntype_pj: '[\"22_DP\",\"22_DP\"]'\nvide: ''\n";

fn parsed(name: &str, bytes: &[u8]) -> Metadata {
    parse(name, bytes).expect("it is one").expect("it parses")
}

fn listed(field: &str, n: usize, name: &str) -> Listed {
    Listed { field: field.to_owned(), n, name: name.to_owned(), original: None }
}

#[test]
fn the_three_formats_say_the_same() {
    let xml = parsed("metadata.xml", XML.as_bytes());
    assert_eq!(xml, parsed("metadata.json", JSON.as_bytes()));
    assert_eq!(xml, parsed("metadata.txt", YAML.as_bytes()));
    let latin: Vec<u8> = YAML.chars().map(|char| u8::try_from(u32::from(char)).unwrap()).collect();
    assert_eq!(xml, parsed("metadata.txt", &latin), "generation 1 is ISO-8859-1");
    assert_eq!(xml, parsed("metadata.json", &[b"\xEF\xBB\xBF", JSON.as_bytes()].concat()));
    let files = [
        ("arrete", 0, "délibération 12.pdf"),
        ("autre_document_attache", 0, "a.pdf"),
        ("autre_document_attache", 1, "b.pdf"),
    ];
    assert_eq!(xml.files, files.map(|(field, n, name)| listed(field, n, name)));
    let keys: Vec<&str> = xml.fields.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(
        keys,
        ["arrete", "autre_document_attache", "acte_nature", "numero_de_lacte", "objet", "type_pj", "vide"],
        "in the order of the file"
    );
}

#[test]
fn the_index_has_every_field_under_its_own_name_and_words_for_known_codes() {
    let metadata = parsed("metadata.xml", XML.as_bytes());
    let kind = metadata.envelope_kind(&[]);
    let reading = reading(&metadata, kind);
    assert_eq!((reading.kind, &reading.role), (EnvelopeKind::Actes, &Role::Metadata));
    let expected = json!({
        "arrete": ["délibération 12.pdf"], "autre_document_attache": ["a.pdf", "b.pdf"],
        "acte_nature": "1", "acte_nature_libelle": "Délibérations", "numero_de_lacte": "2024_12",
        "objet": "Aménagement & forêt", "type_pj": ["22_DP", "22_DP"], "type_pj_libelle": "Document photographique",
    });
    assert_eq!(Value::Object(reading.values.into_json()), expected);
    let json = br#"{"statut_cpp":"SERVICE_FAIT","etat_ack":"2","type_reponse":"4","classification":"2.1 Documents d urbanisme"}"#;
    let values = super::reading(&parsed("metadata.json", json), None).values;
    for (key, word) in [
        ("statut_cpp", "Service fait"),
        ("etat_ack", "refusé"),
        ("type_reponse", "Lettre d'observations"),
        ("classification", "Urbanisme / Documents d'urbanisme"),
    ] {
        assert_eq!(values.first(&format!("{key}_libelle")), Some(word));
    }
    assert_eq!(values.first("classification"), Some("2.1 Documents d urbanisme"), "as written");
}

#[test]
fn names_of_pastell_are_kept_beside_the_original_ones() {
    let xml = r#"<flux type="helios-automatique"><files name="fichier_pes"><file content="aB3.yml_fichier_pes_0"
        name_original="PES 1.xml"/></files><files name="vide"/></flux>"#;
    let metadata = parsed("manifest.xml", xml.as_bytes());
    assert_eq!(metadata.kind.as_deref(), Some("helios-automatique"));
    assert_eq!(metadata.fields, [("fichier_pes".to_owned(), json!(["PES 1.xml"]))]);
    let file = &metadata.files[0];
    assert_eq!((file.name.as_str(), file.original.as_deref()), ("aB3.yml_fichier_pes_0", Some("PES 1.xml")));
    for name in ["aB3.yml_fichier_pes_0", "PES 1.xml", "PES_1.xml", "zz9.yml_fichier_pes_0"] {
        assert!(metadata.matches(file, name), "{name}");
    }
    for name in ["aB3.yml_fichier_pes_1", "aB3.yml_fichier_0", ".yml_fichier_pes_0", "PES 2.xml", ""] {
        assert!(!metadata.matches(file, name), "{name}");
    }
}

#[test]
fn a_listed_file_is_found_under_the_names_that_each_generation_makes_of_it() {
    let metadata = Metadata::default();
    let cases = [
        ("arrete", "a.pdf", "a.pdf", true),
        ("arrete", "été.pdf", "e\u{301}te\u{301}.pdf", true),
        ("arrete", "a/b\\c.pdf", "a-b-c.pdf", true),
        ("arrete", "dossier/b.pdf", "b.pdf", true),
        ("arrete", "Délib. n° 3-été.pdf", "Delib._n_3ete.pdf", true),
        ("arrete", "PES-2024-1.xml", "PES_2024_1.xml", true),
        ("arrete", "a.pdf", "a_20241126071532_1804289383.pdf", true),
        ("arrete", "a b.pdf", "a_b_20241126071532_18.pdf", true),
        ("arrete", "a.pdf", "a_2024112607153_18.pdf", false),
        ("fichier_pes_signe", "pes.xml", "signe_pes.xml", true),
        ("fichier_pes_signe", "pes.xml", "signe_pes_20241126071532_7.xml", true),
        ("fichier_pes", "pes.xml", "signe_pes.xml", false),
        ("arrete", "a.pdf", "b.pdf", false),
        ("arrete", "a.pdf", "A.pdf", false),
        ("arrete", "°.pdf", ".pdf", true),
        ("arrete", "°", "", false),
    ];
    for (field, name, member, expected) in cases {
        assert_eq!(metadata.matches(&listed(field, 0, name), member), expected, "{name:?} as {member:?}");
    }
}

#[test]
fn what_is_no_metadata_file_is_left_alone() {
    let cases: [(&str, &str); 17] = [
        ("histo_statut_cpp.json", r#"[{"statut":"SERVICE_FAIT"}]"#),
        ("histo_statut_cpp.json", r#"{"statut":"SERVICE_FAIT"}"#),
        ("liste.json", r#"{"1":{"statut":"SERVICE_FAIT"}}"#),
        ("export.json", r#"{"metadata":{"a":"b"},"file":{"arrete":["QQ=="]}}"#),
        ("type_piece.json", r#"[{"filename":"a.pdf"}]"#),
        ("a.json", r#"["a"]"#),
        ("a.json", r#"{"a":[["b"]]}"#),
        ("a.json", "{}"),
        ("a.bin", r#"{"a":"#),
        ("lisezmoi.txt", "Objet : réunion\nLieu : mairie\n"),
        ("lisezmoi.txt", "Bonjour, ceci est un texte."),
        ("fichier_termine.txt", "Le transfert est terminé"),
        ("transfert_termine.txt", ""),
        ("acte.xml", "<actes/>"),
        ("flux.xml", "<x:flux xmlns:x='urn:x'/>"),
        ("conf.yml", "a: {b: c}"),
        ("acte.pdf", "%PDF-1.4"),
    ];
    for (name, content) in cases {
        assert!(parse(name, content.as_bytes()).is_none(), "{name}: {content}");
    }
}

#[test]
fn a_metadata_file_without_its_end_is_one_that_does_not_parse() {
    let cases = [
        ("metadata.json", ""),
        ("fichier_metadata_3.json", " \n"),
        ("acte.json", r#"{"acte_nature":"1","#),
        ("acte.json", r#"{"acte_nature":"1"} {"#),
        ("metadata.json", "acte_nature: 1"),
        ("metadata.xml", "<?xml version=\"1.0\"?><fl"),
        ("fichier.xml", "<flux><data name='a' value='b'/>"),
        ("metadata.txt", ""),
        ("metadata.txt", "acte_nature: '1"),
        ("metadata.txt", "acte_na"),
    ];
    for (name, content) in cases {
        let parsed = parse(name, content.as_bytes());
        assert!(matches!(parsed, Some(Err(_))), "{name}: {content}: {parsed:?}");
    }
}

#[test]
fn yaml_scalars_stay_as_they_are_written() {
    let yaml = "acte_nature: 1\nnumero: 007\nmontant: 1.10\nhas: on\nflag: true\nvide: ~\nrien:\nliste: {  }\ndate: 2018-12-10\n\
        lib: \"a \\u00e9\"\nvieux: '\\\"on\\\"'\nvieux2: '\"a\\\"b\"'\nfichier:\n- 1.pdf\n- 02\n-\nhex: 0x1F\nexp: 1e5\n";
    let metadata = parsed("metadata.txt", yaml.as_bytes());
    let expected = json!([
        ["acte_nature", "1"],
        ["numero", "007"],
        ["montant", "1.10"],
        ["has", "on"],
        ["flag", "true"],
        ["date", "2018-12-10"],
        ["lib", "a é"],
        ["vieux", "on"],
        ["vieux2", "a\"b"],
        ["fichier", ["1.pdf", "02"]],
        ["hex", "0x1F"],
        ["exp", "1e5"]
    ]);
    assert_eq!(json!(metadata.fields), expected);
}

#[test]
fn of_a_field_that_stands_twice_the_last_value_counts() {
    for (name, content) in [
        ("metadata.json", r#"{"acte_nature":"1","b":"x","acte_nature":"2"}"#),
        ("metadata.txt", "acte_nature: '1'\nb: x\nacte_nature: '2'\n"),
        (
            "metadata.xml",
            "<flux><data name='acte_nature' value='1'/><data name='b' value='x'/><data name='acte_nature' value='2'/></flux>",
        ),
    ] {
        let metadata = parsed(name, content.as_bytes());
        assert_eq!(json!(metadata.fields), json!([["acte_nature", "2"], ["b", "x"]]), "{name}");
    }
}

#[test]
fn the_kind_is_told_by_fields_types_and_aliases() {
    use EnvelopeKind::{Actes, Chorus, Helios, Webdelib};
    let aliases = [("mon_champ".to_owned(), Webdelib), ("ls-".to_owned(), Helios), (String::new(), Chorus)];
    let cases: [(Option<&str>, &[&str], Option<EnvelopeKind>); 13] = [
        (None, &["acte_nature", "numero_de_lacte"], Some(Actes)),
        (None, &["acte_nature", "type_reponse"], Some(Actes)),
        (None, &["fichier_pes"], Some(Helios)),
        (None, &["id_coll", "dte_str"], Some(Helios)),
        (None, &["id_coll"], None),
        (None, &["helios"], Some(Helios)),
        (Some("helios-automatique"), &[], Some(Helios)),
        (None, &["chorus_fact"], Some(Chorus)),
        (None, &["statut_cpp"], Some(Chorus)),
        (Some("actes-generique"), &["objet"], Some(Actes)),
        (None, &["acte_nature", "mon_champ"], Some(Webdelib)),
        (Some("LS-autre"), &[], Some(Helios)),
        (Some("document"), &["objet"], None),
    ];
    for (kind, keys, expected) in cases {
        let fields = keys.iter().map(|key| ((*key).to_owned(), json!("1"))).collect();
        let metadata = Metadata { kind: kind.map(str::to_owned), fields, files: Vec::new() };
        assert_eq!(metadata.envelope_kind(&aliases), expected, "{kind:?} {keys:?}");
    }
}

#[test]
fn bombs_are_refused_and_depth_costs_nothing() {
    let laughs = "a: &a ['x','x','x','x']\nb: &b [*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b]\nacte_nature: *c\n";
    assert!(matches!(parse("metadata.txt", laughs.as_bytes()), Some(Err(_))));
    assert!(matches!(parse("metadata.txt", b"a: &a x\nb: *a\n"), Some(Err(_))), "aliases are refused altogether");
    let deep = format!("a: {}", "[".repeat(200_000));
    assert!(matches!(parse("metadata.txt", deep.as_bytes()), Some(Err(_))));
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(1_000_000), "]".repeat(1_000_000));
    assert!(parse("metadata.json", deep.as_bytes()).is_none());
    let doctype = "<!DOCTYPE flux [<!ENTITY a 'b'>]><flux><data name='a' value='&a;'/></flux>";
    assert!(matches!(parse("metadata.xml", doctype.as_bytes()), Some(Err(_))));
    let many: Vec<String> = (0..150_000).map(|n| format!("<data name='{n}' value=''/>")).collect();
    assert_eq!(parsed("a.xml", format!("<flux>{}</flux>", many.concat()).as_bytes()).fields.len(), 150_000);
}

#[test]
fn files_have_the_roles_of_the_contract_or_their_fields_names() {
    for (field, expected) in [
        ("arrete", "document"),
        ("autre_document_attache", "annex"),
        ("fichier_pes", "pes"),
        ("fichier_facture", "pivot"),
        ("facture_pj_01", "invoice"),
        ("facture_pj_02", "attachment"),
        ("aractes", "receipt"),
        ("bordereau", "bordereau"),
        ("histo_statut_cpp", "histo_statut_cpp"),
    ] {
        assert_eq!(role(field).as_str(), expected);
    }
}

/// The metadata files of Pastell's own tests, which stand beside the checkout.
#[test]
fn real_metadata_files_say_the_same_in_every_format() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let places = ["../shared/samples/adullact/pastell", "../../shared/samples/adullact/pastell"];
    let Some(folder) = places.iter().map(|place| root.join(place)).find(|place| place.is_dir()) else {
        println!("skipped: no samples beside the checkout");
        return;
    };
    let expected = json!({ "fichier": ["foo.txt"], "fichier_simple": ["bar.txt"], "toto": "Titre de mon document", "prenom": "Eric" });
    for name in ["metadata.xml", "metadata.json", "metadata.yml", "metadata-pastell-name.xml"] {
        let metadata = parsed(name, &std::fs::read(folder.join(name)).unwrap());
        assert_eq!(metadata.envelope_kind(&[]), None);
        let files: Vec<_> = metadata.files.iter().map(|file| (file.field.as_str(), file.n)).collect();
        assert_eq!(files, [("fichier", 0), ("fichier_simple", 0)], "{name}");
        for (file, member) in
            [(0, "foo.txt"), (0, "aaaa.yml_fichier_0"), (1, "bar.txt"), (1, "aaaa.yml_fichier_simple_0")]
        {
            assert!(metadata.matches(&metadata.files[file], member), "{member} of {name}");
            assert!(!metadata.matches(&metadata.files[1 - file], member), "{member} of {name}");
        }
        let reading = reading(&metadata, None);
        assert_eq!(reading.kind, EnvelopeKind::Pastell);
        assert_eq!(Value::Object(reading.values.into_json()), expected, "{name}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), name in 0usize..4) {
        let name = ["metadata.xml", "metadata.json", "metadata.txt", "a.yml"][name];
        let _ = parse(name, &bytes);
    }

    #[test]
    fn a_metadata_file_that_is_cut_anywhere_never_parses_to_other_fields(cut in 0usize..600) {
        for (name, content) in [("metadata.xml", XML), ("metadata.json", JSON)] {
            let whole = parsed(name, content.trim_end().as_bytes());
            let end = cut.min(content.trim_end().len());
            match parse(name, &content.as_bytes()[..end]) {
                Some(Ok(metadata)) => prop_assert_eq!(metadata, whole),
                Some(Err(_)) => prop_assert!(end < content.trim_end().len()),
                None => prop_assert!(false, "{} of {}", end, name),
            }
        }
    }

    #[test]
    fn a_name_matches_itself(name in "\\PC{1,30}") {
        prop_assert!(Metadata::default().matches(&listed("arrete", 0, &name), &name));
    }
}
