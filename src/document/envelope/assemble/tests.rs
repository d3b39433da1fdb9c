//! Tests of whole deposits: files, roles, order, what is missing, what is refused; real files where they are at hand.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::deposits::*;
use super::super::limits::Limits;
use super::super::{Deposit, Error, Member, is_junk, is_marker};
use super::*;

fn refused(deposit: &Deposit) -> String {
    match decoded(deposit) {
        Err(Error::Refused(Text { en, fr })) => {
            assert!(!fr.is_empty());
            en.into_owned()
        }
        other => panic!("not refused: {other:?}"),
    }
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(name, role)| ((*name).to_owned(), (*role).to_owned())).collect()
}

const BASE: &str = "034-999888777-20240318-DEL_1-DE-1-1";
const FLUX: &[u8] = b"<?xml version=\"1.0\"?><flux><files name=\"arrete\"><file content=\"acte.pdf\"/></files>\
    <files name=\"autre_document_attache\"><file content=\"z.pdf\"/><file content=\"a.pdf\"/></files>\
    <data name=\"acte_nature\" value=\"1\"/><data name=\"objet\" value=\"Autre objet\"/><data name=\"inconnu\" value=\"1\"/></flux>";

#[test]
fn an_actes_envelope_comes_out_in_its_order_however_it_is_packed() {
    let message = acte("99_DE-x_1.pdf", &["22_DP-x_3.pdf", "22_DP-x_2.pdf"]);
    let (message_name, table) = (format!("{BASE}_0.xml"), actes_envelope(&[&format!("{BASE}_0.xml")]));
    let files: &[(&str, &[u8])] = &[
        ("EACT--999888777--20240318-1.xml", &table),
        ("22_DP-x_2.pdf", b"%PDF 2"),
        ("22_DP-x_3.pdf", b"%PDF 3"),
        ("99_DE-x_1.pdf", PDF),
        (&message_name, &message),
    ];
    let drop = Drop::new();
    let packed = gzip(&tar(files));
    let deposits = [
        drop.directory("d", files),
        drop.file("d.zip", &zip(files)),
        drop.file("d.tar.gz", &packed),
        drop.file("noname", &tar(files)),
        drop.file("deep.zip", &zip(&[("x/d.tar.gz", &packed)])),
    ];
    for deposit in deposits {
        let envelope = decoded(&deposit).unwrap();
        let expected = [
            (message_name.as_str(), "message"),
            ("99_DE-x_1.pdf", "document"),
            ("22_DP-x_3.pdf", "annex"),
            ("22_DP-x_2.pdf", "annex"),
            ("EACT--999888777--20240318-1.xml", "envelope"),
        ];
        assert_eq!(listing(&envelope), pairs(&expected), "{}", deposit.name);
        assert_eq!((envelope.kind, envelope.missing.len()), (EnvelopeKind::Actes, 0), "{}", deposit.name);
        assert_eq!(envelope.metadata["acte_unique_id"], "034-999888777-20240318-DEL_1-DE");
    }
}

#[test]
fn what_is_announced_and_absent_is_missing_and_names_are_found_without_case() {
    let message = acte("acte.pdf", &["annexe.PDF", "gone.pdf"]);
    let drop = Drop::new();
    let files: &[(&str, &[u8])] =
        &[("m.xml", &message), ("ACTE.pdf", PDF), ("annexe.pdf", b"%PDF 2"), ("other.txt", b"hello")];
    let envelope = decoded(&drop.directory("d", files)).unwrap();
    let expected = [("m.xml", "message"), ("ACTE.pdf", "document"), ("annexe.pdf", "annex"), ("other.txt", "document")];
    assert_eq!(listing(&envelope), pairs(&expected));
    assert_eq!(envelope.missing, ["gone.pdf"]);
}

#[test]
fn a_deposit_of_pastell_has_its_fields_as_roles_and_keys() {
    let drop = Drop::new();
    let files: &[(&str, &[u8])] = &[
        ("acte.pdf", PDF),
        ("z.pdf", b"%PDF z"),
        ("stray.pdf", b"%PDF s"),
        ("a.pdf", b"%PDF a"),
        ("metadata.xml", FLUX),
        ("fichier_termine.txt", b"Le transfert est termin\xc3\xa9"),
        (".DS_Store", b"x"),
    ];
    let envelope = decoded(&drop.directory("d", files)).unwrap();
    let expected = [("acte.pdf", "document"), ("z.pdf", "annex"), ("a.pdf", "annex"), ("stray.pdf", "document")];
    assert_eq!((envelope.kind, listing(&envelope)), (EnvelopeKind::Actes, pairs(&expected)));
    let json = serde_json::Value::Object(envelope.metadata);
    assert_eq!(
        (&json["acte_nature"], &json["objet"], &json["inconnu"]),
        (&"1".into(), &"Autre objet".into(), &"1".into())
    );
    assert!(json.get("pastell").is_none());
}

#[test]
fn an_annexe_that_begins_with_a_dot_is_delivered_from_a_directory_and_from_a_zip() {
    let drop = Drop::new();
    let note = br#"{"acte_nature": "1", "arrete": ["acte.pdf"], "autre_document_attache": [".plan.pdf"]}"#;
    let files: &[(&str, &[u8])] = &[("acte.pdf", PDF), (".plan.pdf", b"%PDF p"), ("metadata.json", note)];
    let zip = zip(files);
    for deposit in [drop.directory("d", files), drop.file("d.zip", &zip)] {
        let envelope = decoded(&deposit).unwrap();
        assert_eq!(listing(&envelope), pairs(&[("acte.pdf", "document"), (".plan.pdf", "annex")]));
        assert_eq!(envelope.missing, Vec::<String>::new());
    }
}

#[test]
fn the_pdf_of_an_invoice_without_its_pivot_is_readable() {
    let drop = Drop::new();
    let table: [(&[u8], &str, Option<&str>); 5] = [
        (br#"{"statut_cpp": "A", "fichier_facture": ["1.xml"], "facture_pj_01": ["x.csv", "f.pdf"], "fichier_facture_pdf": ["f.pdf"]}"#, "f.pdf", Some("f.pdf")),
        (br#"{"statut_cpp": "A", "fichier_facture_pdf": ["f.pdf"]}"#, "f.pdf", Some("f.pdf")),
        (br#"{"statut_cpp": "A", "facture_pj_02": ["PJ00_f.pdf"]}"#, "PJ00_f.pdf", Some("PJ00_f.pdf")),
        (br#"{"statut_cpp": "A", "facture_pj_02": ["f.pdf"]}"#, "f.pdf", None),
        (br#"{"acte_nature": "1", "facture_pj_01": ["f.pdf"]}"#, "f.pdf", None),
    ];
    for (n, (note, name, expected)) in table.into_iter().enumerate() {
        let files: &[(&str, &[u8])] = &[(name, PDF), ("x.csv", b"1;2"), ("metadata.json", note)];
        let envelope = decoded(&drop.directory(&format!("d{n}"), files)).unwrap();
        let readable: Vec<&str> =
            envelope.files.iter().filter(|file| file.readable).map(|file| file.name.as_str()).collect();
        assert_eq!(readable, expected.into_iter().collect::<Vec<_>>(), "{n}");
    }
}

#[test]
fn a_document_counts_more_than_the_metadata_file() {
    let drop = Drop::new();
    let (message, receipt) = (acte("acte.pdf", &[]), receipt());
    let files: &[(&str, &[u8])] = &[
        ("acte.pdf", PDF),
        ("m.xml", &message),
        ("r.xml", &receipt),
        ("z.pdf", b"1"),
        ("a.pdf", b"2"),
        ("meta_1.xml", FLUX),
    ];
    let envelope = decoded(&drop.directory("d", files)).unwrap();
    let expected =
        [("m.xml", "message"), ("acte.pdf", "document"), ("z.pdf", "annex"), ("a.pdf", "annex"), ("r.xml", "receipt")];
    assert_eq!(listing(&envelope), pairs(&expected));
    assert_eq!(
        (&envelope.metadata["objet"], &envelope.metadata["pastell"]["objet"]),
        (&"Forêt".into(), &"Autre objet".into())
    );
    assert!(envelope.warnings.iter().any(|warning| warning.en.contains("objet")), "{:?}", envelope.warnings);
    let pes = pes("P", ("pj.pdf", PDF));
    let files: &[(&str, &[u8])] =
        &[("acte.pdf", PDF), ("p.xml", &pes), ("z.pdf", b"1"), ("a.pdf", b"2"), ("metadata.xml", FLUX)];
    let envelope = decoded(&drop.directory("e", files)).unwrap();
    assert_eq!(envelope.kind, EnvelopeKind::Helios);
    assert!(envelope.warnings.iter().any(|warning| warning.en.contains("says actes")), "{:?}", envelope.warnings);
}

#[test]
fn names_of_pastell_become_the_original_ones() {
    let json = br#"{"acte_nature":"1","arrete":["Acte.pdf"],"autre_document_attache":["Un.pdf","Deux.pdf"]}"#;
    let drop = Drop::new();
    let files: &[(&str, &[u8])] = &[
        ("aBc.yml_autre_document_attache_1", b"%PDF 2"),
        ("aBc.yml_autre_document_attache_0", b"%PDF 1"),
        ("aBc.yml_arrete_0", PDF),
        ("metadata.json", json),
    ];
    let envelope = decoded(&drop.directory("aBc", files)).unwrap();
    assert_eq!(listing(&envelope), pairs(&[("Acte.pdf", "document"), ("Un.pdf", "annex"), ("Deux.pdf", "annex")]));
    assert!(envelope.missing.is_empty());
}

#[test]
fn a_pes_comes_with_its_pieces_and_what_stands_twice_comes_once() {
    let drop = Drop::new();
    let pes = pes("P", ("Facture 1.pdf", PDF));
    for deposit in
        [drop.file("p.xml", &pes), drop.file("p.xml.gz", &gzip(&pes)), drop.file("p.zip", &zip(&[("p.xml", &pes)]))]
    {
        let envelope = decoded(&deposit).unwrap();
        assert_eq!(
            (envelope.kind, listing(&envelope)),
            (EnvelopeKind::Helios, pairs(&[("p.xml", "pes"), ("Facture 1.pdf", "attachment")]))
        );
        assert_eq!(fs_bytes(&deposit, &envelope), pes);
    }
    let files: &[(&str, &[u8])] = &[("p.xml", &pes), ("Facture 1.pdf", PDF), ("other.pdf", PDF)];
    let envelope = decoded(&drop.directory("d", files)).unwrap();
    assert_eq!(
        listing(&envelope),
        pairs(&[("p.xml", "pes"), ("Facture 1.pdf", "attachment"), ("other.pdf", "document")])
    );
}

/// The bytes of a loose file, unpacked where it is an archive.
fn fs_bytes(deposit: &Deposit, envelope: &Envelope) -> Vec<u8> {
    let size = envelope.files[0].body.size;
    let bytes = fs::read(&deposit.members[0].path).unwrap();
    if bytes.len() as u64 == size { bytes } else { inflated(&deposit.members[0].path) }
}

fn inflated(path: &Path) -> Vec<u8> {
    let (bytes, mut store) = (fs::read(path).unwrap(), super::super::store::folder::Folder::new());
    let budget = std::cell::RefCell::new(super::super::limits::Budget::new(LIMITS));
    let member = Member { name: "x".into(), path: path.into(), size: bytes.len() as u64, body: None };
    let deposit = Deposit { name: "x".into(), members: vec![member] };
    let gathered = super::super::gather::gather(&deposit, &budget, &mut store).unwrap();
    fs::read(&gathered.pieces.last().unwrap().path).unwrap()
}

#[test]
fn a_piece_of_a_pivot_beside_the_deposits_own_copy_comes_once() {
    let pivot = pivot("FA-1", ("FAC 1.pdf", PDF));
    let json = br#"{"id_facture_cpp":"9","fichier_facture":["9.xml"],"facture_pj_01":["FAC 1.pdf"],"fichier_facture_pdf":["FAC 1.pdf"],"no_facture":"FA-1"}"#;
    let drop = Drop::new();
    let files: &[(&str, &[u8])] = &[("9.xml", &pivot), ("FAC 1.pdf", PDF), ("metadata.json", json)];
    let envelope = decoded(&drop.directory("d", files)).unwrap();
    assert_eq!(
        (envelope.kind, listing(&envelope)),
        (EnvelopeKind::Chorus, pairs(&[("9.xml", "pivot"), ("FAC 1.pdf", "invoice")]))
    );
    assert!(envelope.files[1].readable && envelope.missing.is_empty(), "{:?}", envelope.missing);
    let files: &[(&str, &[u8])] = &[("9.xml", &pivot), ("metadata.json", json)];
    assert!(decoded(&drop.directory("e", files)).unwrap().missing.is_empty(), "the pivot holds it");
}

#[test]
fn an_archive_beside_its_unpacked_files_comes_once() {
    let letter = "<a:CourrierSimple xmlns:a=\"http://www.interieur.gouv.fr/ACTES#v1.1-20040216\" \
        a:IDActe=\"034-999888777-20240318-DEL_1-DE\" a:DateCourrierPref=\"2024-04-02\"><a:Document><a:NomFichier>c.pdf</a:NomFichier></a:Document></a:CourrierSimple>";
    let inside: &[(&str, &[u8])] = &[("c.xml", letter.as_bytes()), ("c.pdf", PDF)];
    let archive = gzip(&tar(inside));
    let flux = b"<flux><files name=\"reponse_prefecture\"><file content=\"courrier_simple.tar.gz\"/></files>\
        <files name=\"reponse_prefecture_unzip\"><file content=\"c.xml\"/><file content=\"c.pdf\"/></files>\
        <data name=\"acte_nature\" value=\"1\"/><data name=\"type_reponse\" value=\"2\"/></flux>";
    let drop = Drop::new();
    let files: &[(&str, &[u8])] = &[("courrier_simple.tar.gz", &archive), inside[0], inside[1], ("metadata.xml", flux)];
    let (envelope, store) = decoded_within(&drop.directory("d", files), &LIMITS);
    let envelope = envelope.unwrap();
    let expected = [("c.xml", "message"), ("c.pdf", "document"), ("courrier_simple.tar.gz", "envelope")];
    assert_eq!((listing(&envelope), envelope.missing.len()), (pairs(&expected), 0));
    assert_eq!(store.len(), 3, "nothing else stays in the store");
}

#[test]
fn an_archive_that_is_somebodys_annexe_stays_one() {
    let drop = Drop::new();
    let message = acte("acte.pdf", &["plans.zip"]);
    let mut locked = zip(&[("plan.pdf", PDF)]);
    let directory = locked.windows(4).position(|four| four == b"PK\x01\x02").unwrap();
    locked[6] |= 1;
    locked[directory + 8] |= 1;
    let office = zip(&[("[Content_Types].xml", b"<Types/>")]);
    for plans in [&zip(&[("plan.pdf", PDF)]), &locked, &office] {
        let files: &[(&str, &[u8])] = &[("m.xml", &message), ("acte.pdf", PDF), ("plans.zip", plans)];
        let (envelope, store) = decoded_within(&drop.directory("d", files), &LIMITS);
        assert_eq!(
            listing(&envelope.unwrap()),
            pairs(&[("m.xml", "message"), ("acte.pdf", "document"), ("plans.zip", "annex")])
        );
        assert_eq!(store.len(), 3);
    }
}

#[test]
fn what_cannot_be_taken_is_refused_whole_with_a_reason() {
    let drop = Drop::new();
    let message = acte("a.pdf", &[]);
    let doctype = [b"<!DOCTYPE x [<!ENTITY a 'b'>]>".as_slice(), &message].concat();
    let packed = zip(&[("m.xml", &message)]);
    let deep = (0..6).fold(zip(&[("m.xml", &message)]), |inner, _| zip(&[("in.zip", &inner)]));
    let zeros = vec![0; 40 << 20];
    let cases: Vec<(Deposit, &str)> = vec![
        (drop.file("a.xml", b"<something/>"), "nothing in it is recognised (a.xml)"),
        (drop.directory("pdfs", &[("a.pdf", PDF), ("b.pdf", PDF)]), "nothing in it is recognised (a.pdf, b.pdf)"),
        (drop.file("b.xml", &doctype), "b.xml: "),
        (drop.directory("c", &[("a.xml", &message), ("b.xml", &message[..message.len() - 3])]), "b.xml: "),
        (drop.file("d.zip", &packed[..packed.len() - 10]), "d.zip: the archive is cut or damaged"),
        (drop.file("e.zip", &deep), "max_depth"),
        (drop.file("f.zip", &zip(&[("x.gz", &gzip(&zeros))])), "max_ratio"),
        (drop.directory("g", &[("metadata.xml", FLUX)]), "announced and absent: acte.pdf, z.pdf, a.pdf"),
        (drop.directory("h", &[("fichier_termine.txt", b""), (".x", b"")]), "nothing in it is recognised"),
        (drop.file("i.docx", &zip(&[("[Content_Types].xml", b"<Types/>")])), "nothing in it is recognised"),
    ];
    for (deposit, expected) in cases {
        let reason = refused(&deposit);
        assert!(reason.contains(expected), "{}: {reason}", deposit.name);
    }
}

#[test]
fn a_page_with_a_doctype_is_somebodys_annexe() {
    let drop = Drop::new();
    let message = acte("acte.pdf", &[]);
    let files: &[(&str, &[u8])] =
        &[("m.xml", &message), ("acte.pdf", PDF), ("body.html", b"<!DOCTYPE html><html><p>x</html>")];
    assert_eq!(decoded(&drop.directory("d", files)).unwrap().files.len(), 3);
}

#[test]
fn a_metadata_file_of_no_kind_makes_a_deposit_of_pastell() {
    let drop = Drop::new();
    let json = br#"{"titre":"X","document":["a.pdf"]}"#;
    let envelope = decoded(&drop.directory("d", &[("a.pdf", PDF), ("metadata.json", json)])).unwrap();
    assert_eq!((envelope.kind, listing(&envelope)), (EnvelopeKind::Pastell, pairs(&[("a.pdf", "document")])));
    assert_eq!(envelope.metadata["titre"], "X");
}

#[test]
fn what_a_bomb_leaves_in_the_store_stays_within_the_limit() {
    let drop = Drop::new();
    let noise = vec![7; 3 << 20];
    let limits = Limits { max_unpacked: 4 << 20, max_ratio: u64::MAX, ..LIMITS };
    let inner = zip(&[("a", &noise)]);
    for deposit in [
        drop.file("a.zip", &zip(&[("a", &noise), ("b", &noise)])),
        drop.file("b.tar.gz", &gzip(&tar(&[("a", &noise), ("b", &noise)]))),
        drop.file("c.zip", &zip(&[("a.zip", &inner), ("b.zip", &inner)])),
        drop.directory("d", &[("a.gz", &gzip(&noise)), ("b.gz", &gzip(&noise))]),
    ] {
        let (result, store) = decoded_within(&deposit, &limits);
        assert!(matches!(&result, Err(Error::Refused(why)) if why.en.contains("max_unpacked")), "{result:?}");
        assert!(store.size() <= limits.max_unpacked, "{}: {}", deposit.name, store.size());
    }
}

#[test]
fn markers_and_junk_are_known() {
    for name in ["fichier_termine.txt", "transfert_termine.txt", "FIN.ok"] {
        assert!(is_marker(name, Some("fin.ok")), "{name}");
    }
    assert!(!is_marker("fin.ok", None));
    for name in [
        "__MACOSX",
        "._a",
        ".DS_Store",
        "Thumbs.db",
        "a.part",
        "a.TMP",
        "x.ocre",
        "._a.pdf",
        ".pdf",
        ".a.pdf.Xy12Ab",
        ".in.a.pdf",
    ] {
        assert!(is_junk(name), "{name}");
    }
    for name in ["a.xml", ".plan.pdf", ".Annexe.PDF", "-rf"] {
        assert!(!is_junk(name), "{name}");
    }
}

/// Folders of real files beside the checkout.
fn samples() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let places = [root.join("../shared/samples/adullact"), root.join("../../shared/samples/adullact")];
    let place = places.into_iter().find(|place| place.is_dir());
    if place.is_none() {
        println!("skipped: no samples beside the checkout");
    }
    place
}

#[test]
fn every_real_file_is_decoded_and_complete() {
    let Some(root) = samples() else { return };
    let mut count = 0;
    for folder in ["actes", "actes/fast-tdt", "helios", "helios/ack-ko", "chorus"] {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() || path.extension().is_some_and(|extension| extension == "pdf") {
                continue;
            }
            let size = fs::metadata(&path).unwrap().len();
            let deposit =
                Deposit { name: name.clone(), members: vec![Member { name: name.clone(), path, size, body: None }] };
            let identity = identified(&deposit);
            assert_eq!(identity.state, super::super::State::Complete, "{name}");
            let envelope = decoded(&deposit).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(Some(envelope.kind), identity.kind, "{name}");
            assert!(!envelope.files.is_empty() && !envelope.metadata.is_empty(), "{name}");
            count += 1;
        }
    }
    assert!(count > 20, "{count} samples");
}

#[test]
fn real_directories_are_deposits() {
    let Some(root) = samples() else { return };
    let dir = root.join("actes/transaction-dir-1");
    let member = |path: PathBuf| Member {
        name: path.file_name().unwrap().to_string_lossy().into_owned(),
        size: fs::metadata(&path).unwrap().len(),
        path,
        body: None,
    };
    let mut members: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| member(entry.unwrap().path())).collect();
    members.sort_by(|one, other| one.name.cmp(&other.name));
    let envelope = decoded(&Deposit { name: "transaction".into(), members }).unwrap();
    let roles: Vec<_> = envelope.files.iter().map(|file| file.role.as_str().to_owned()).collect();
    assert_eq!(roles, ["message", "document", "receipt"], "{:?}", listing(&envelope));
}
