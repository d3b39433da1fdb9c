use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::document::envelope::limits::Limits;
use crate::document::envelope::store::folder::Folder;
use crate::document::envelope::xml::sniff;

mod big;
mod real;

const LIMITS: Limits = Limits { max_unpacked: 1 << 30, max_entries: 5000, max_ratio: 300, max_depth: 8 };

fn gzip(bytes: &[u8]) -> String {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    STANDARD.encode(encoder.finish().unwrap())
}

/// A PES around `blocks`.
fn pes(blocks: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><n:PES_Aller \
         xmlns:n=\"http://www.minefi.gouv.fr/cp/helios/pes_v2/Rev0/aller\"><Enveloppe><Parametres><Version V=\"1\"/>\
         <TypFic V=\"PESALR2\"/><NomFic V=\"PES_2024_0001\"/></Parametres><Emetteur><Sigle V=\"Gestion financière\"/>\
         <Adresse V=\"x\"/></Emetteur><Recepteur><Sigle V=\"HELIOS\"/></Recepteur></Enveloppe><EnTetePES>\
         <DteStr V=\"2024-03-18\"/><IdPost V=\"034001\"/><IdColl V=\"99988877700015\"/><CodCol V=\"244\"/>\
         <CodBud V=\"00\"/><LibelleColBud V=\"Commune de Sète\"/></EnTetePES>{blocks}</n:PES_Aller>"
    )
}

fn piece(content: &str, id: &str, name: &str) -> String {
    format!(
        "<PJ><Contenu><Fichier MIMEType=\"application/pdf\">{content}</Fichier></Contenu><IdUnique V=\"{id}\"/>\
         <NomPJ V=\"{name}\"/><TypePJ V=\"003\"/><Description V=\"d\"/></PJ>"
    )
}

fn pieces(pieces: &[String]) -> String {
    format!("<PES_PJ><EnTetePES_PJ><IdVer V=\"1\"/></EnTetePES_PJ>{}</PES_PJ>", pieces.concat())
}

fn decode_into(bytes: &[u8], store: &mut Folder, limits: Limits) -> Result<Reading, Error> {
    let root = sniff(&mut &*bytes)?.ok_or_else(|| Error::Refused(Text::same("no XML")))?;
    decode(&mut &*bytes, &root, store, &mut Budget::new(limits))
}

struct Decoded {
    metadata: Value,
    /// Names, media types, bytes.
    files: Vec<(String, Option<String>, Vec<u8>)>,
    role: Role,
    missing: Vec<String>,
    warnings: Vec<String>,
}

fn decoded(bytes: &[u8]) -> Decoded {
    let mut store = Folder::new();
    let reading = decode_into(bytes, &mut store, LIMITS).unwrap();
    assert_eq!(reading.kind, EnvelopeKind::Helios);
    assert_eq!(store.len(), reading.attachments.len(), "nothing else is left in the store");
    let files = reading.attachments.into_iter().map(|one| {
        assert_eq!((one.role, one.readable), (Role::Attachment, false));
        (one.name, one.media_type, std::fs::read(one.body.path).unwrap())
    });
    Decoded {
        files: files.collect(),
        metadata: Value::Object(reading.values.into_json()),
        role: reading.role,
        missing: reading.missing,
        warnings: reading.warnings.into_iter().map(|text| text.en.into_owned()).collect(),
    }
}

/// Some keys of the index.
fn picked(metadata: &Value, keys: &Value) -> Value {
    keys.as_object().unwrap().keys().map(|key| (key.clone(), metadata[key].clone())).collect()
}

#[test]
fn an_expense_gives_every_value_and_its_pieces() {
    let expense = "<PES_DepenseAller><EnTeteDepense><IdVer V=\"2\"/></EnTeteDepense>\
        <Bordereau Id=\"B\"><BlocBordereau><Exer V=\"2024\"/><IdBord V=\"11\"/><DteBordEm V=\"2024-03-15\"/>\
        <MtCumulAnnuel V=\"9999999.99\"/><MtBordHT V=\"4874.40\"/></BlocBordereau>\
        <Piece><BlocPiece><InfoPce><IdPce V=\"0000001305\"/><Obj V=\" Extension du r&#xE9;seau d'eau \"/>\
        <PJRef><Support V=\"01\"/><IdUnique V=\"PJ1\"/><NomPJ V=\"facture.pdf\"/></PJRef>\
        <PJRef><Support V=\"01\"/><IdUnique V=\"PJ8\"/><NomPJ V=\"absente.pdf\"/></PJRef>\
        <PJRef><Support V=\"01\"/><IdUnique V=\"PJ9\"/></PJRef>\
        <PJRef><Support V=\"02\"/><IdUnique V=\"PJ10\"/><NomPJ V=\"papier.pdf\"/></PJRef>\
        <PJRef><Support V=\"03\"/><IdUnique V=\"PJ11\"/></PJRef><PJ V=\"libre\"/></InfoPce></BlocPiece>\
        <LigneDePiece><BlocLignePiece><InfoLignePce><IdLigne V=\"1\"/><Nature V=\"60611\"/><Fonction V=\"020\"/>\
        <MtHT V=\"4874.40\"/><MtFactHT V=\"1.00\"/>\
        <PJRef><Support V=\"01\"/><IdUnique V=\"PJ8\"/><NomPJ V=\"absente.pdf\"/></PJRef></InfoLignePce></BlocLignePiece>\
        <Tiers><InfoTiers><IdTiers V=\"99911122200033\"/><Nom V=\"ENTREPRISE MARTIN\"/></InfoTiers>\
        <CpteBancaire><TitCpte V=\"x\"/></CpteBancaire></Tiers></LigneDePiece></Piece>\
        <ds:Signature xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\"><ds:KeyInfo><Nom V=\"x\"/></ds:KeyInfo></ds:Signature>\
        </Bordereau></PES_DepenseAller>";
    let pdf = b"%PDF-1.7 facture".repeat(1000);
    let packed = gzip(&pdf);
    let wrapped = packed.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned() + "&#13;\n");
    let all = pieces(&[
        piece(&wrapped.collect::<String>(), "PJ1", "facture.pdf"),
        piece(&gzip(b"autre"), "PJ2", "facture.pdf"),
        piece(&gzip(b"%PDF-1.4"), "PJ3", ""),
    ]);
    let read = decoded(pes(&(expense.to_owned() + &all)).as_bytes());
    let expected = json!({
        "nom_fic": "PES_2024_0001", "typ_fic": "PESALR2", "emetteur": "Gestion financière", "dte_str": "2024-03-18",
        "id_post": "034001", "id_coll": "99988877700015", "cod_col": "244", "cod_bud": "00",
        "libelle_col_bud": "Commune de Sète", "domaine": ["depense", "pj"],
        "domaine_libelle": ["Dépense", "Pièces justificatives"], "exercice": "2024", "id_bordereau": "11",
        "date_bordereau": "2024-03-15", "montant_bordereau": "4874.40", "id_pce": "0000001305",
        "objet": "Extension du réseau d'eau", "id_nature": "60611", "id_fonction": "020", "montant_ligne": "4874.40",
        "id_tiers": "99911122200033", "nom_tiers": "ENTREPRISE MARTIN", "id_pj": ["PJ1", "PJ2", "PJ3"],
        "nom_pj": "facture.pdf", "type_pj": "003", "description_pj": "d", "signe": "1",
    });
    assert_eq!(read.metadata, expected);
    let kind = Some("application/pdf".to_owned());
    let file = |name: &str, bytes: &[u8]| (name.to_owned(), kind.clone(), bytes.to_vec());
    let files = [file("facture.pdf", &pdf), file("facture.pdf", b"autre"), file("PJ3.pdf", b"%PDF-1.4")];
    assert_eq!(read.files, files);
    assert_eq!((read.role, read.missing), (Role::Pes, vec!["absente.pdf".to_owned(), "PJ9".to_owned()]));
}

#[test]
fn every_variant_of_a_name_is_understood() {
    let revenue = "<PES_RecetteAller><Bordereau><BlocBordereau><Exer V=\"2024\"/><IdBord V=\"7\"/>\
        <MtBordHt V=\"10,50\"/><Objet V=\"du bordereau\"/></BlocBordereau><Piece><BlocPiece><IdPce V=\"0042\"/>\
        <ObjPce V=\"Loyer\"/><NumeroFacture V=\"F-77\"/><NumeroMarche V=\"M-2024-3\"/><NumeroEngagement V=\"ENG-7\"/>\
        </BlocPiece><LigneDePiece><BlocLignePiece><InfoLignePiece><Nature V=\"752\"/><Fonction V=\"01\"/>\
        <MtHT V=\"10.500000\"/></InfoLignePiece></BlocLignePiece><Tiers><InfoTiers><Nom V=\"A\"/></InfoTiers></Tiers>\
        <Tiers><InfoTiers><Nom V=\"B\"/></InfoTiers></Tiers></LigneDePiece></Piece>\
        <Piece><BlocPiece><IdPce V=\"0043\"/></BlocPiece></Piece></Bordereau></PES_RecetteAller>";
    let alone = "<PES_PJ><PJ><Contenu><Fichier>eA==</Fichier></Contenu><IdUnique V=\"P\"/><NomPJ V=\"a.xml\"/><RefCompta>\
        <Domaine V=\"02\"/><Exercice V=\"2023\"/><TypeObjet V=\"01\"/><Identifiant V=\"815\"/>\
        <ComplementIdentifiant V=\"2\"/></RefCompta></PJ></PES_PJ>";
    let cases = [
        (
            pes(revenue),
            json!({
                "domaine": "recette", "montant_bordereau": "10.50", "id_pce": ["0042", "0043"], "objet": "Loyer",
                "numero_facture": "F-77", "numero_marche": "M-2024-3", "numero_engagement": "ENG-7", "id_nature": "752",
                "id_fonction": "01", "montant_ligne": "10.500000", "nom_tiers": ["A", "B"], "signe": "0",
                "items": [{ "exercice": "2024", "id_bordereau": "7", "montant_bordereau": "10.50", "id_pce": "0042",
                    "objet": "Loyer", "numero_facture": "F-77", "numero_marche": "M-2024-3", "numero_engagement": "ENG-7",
                    "id_nature": "752", "id_fonction": "01", "montant_ligne": "10.500000", "nom_tiers": ["A", "B"] },
                    { "exercice": "2024", "id_bordereau": "7", "montant_bordereau": "10.50", "id_pce": "0043" }],
            }),
        ),
        (
            pes(alone),
            json!({
                "domaine": "pj", "exercice": "2023", "id_pce": "815", "id_pj": "P", "nom_pj": "a.xml", "items": null,
            }),
        ),
        (pes("<PES_Facture/><PES_Marche/>"), json!({ "domaine": ["facture", "marche"], "exercice": null })),
        (
            pes(
                "<PES_DepenseAller><Bordereau><Piece><BlocPiece><IdPce V=\"832\"/><Obj V=\"sans InfoPce\"/></BlocPiece>\
            </Piece></Bordereau></PES_DepenseAller>",
            ),
            json!({ "id_pce": "832", "objet": "sans InfoPce" }),
        ),
    ];
    for (xml, expected) in cases {
        assert_eq!(picked(&decoded(xml.as_bytes()).metadata, &expected), expected);
    }
}

#[test]
fn acquits_and_returns_are_told_by_their_root_and_tell_their_state() {
    let head =
        "<Enveloppe><Parametres><NomFic V=\"F\"/></Parametres></Enveloppe><EnTetePES><CodColl V=\"221\"/></EnTetePES>";
    let ok = "<ACQUIT><ElementACQUIT><DomaineAck V=\"5\"/><EtatAck V=\"1\"/><NumBord V=\"18\"/><ExerciceBord V=\"2015\"/>\
        </ElementACQUIT><ElementACQUIT><DomaineAck V=\"4\"/><EtatAck V=\"1\"/><IdUnique V=\"P\"/></ElementACQUIT></ACQUIT>";
    let ko = "<ACQUIT><ElementACQUIT><EtatAck V=\"1\"/></ElementACQUIT><ElementACQUIT><EtatAck V=\"0\"/><NumBord V=\"5\"/>\
        <Erreur><NumAnoAck V=\"E\"/><LibelleAnoAck V=\"un\"/></Erreur><DetailPiece><NumPiece V=\"20\"/>\
        <Erreur><LibelleAnoAck V=\"deux\"/></Erreur><DetailLigne><NumLigne V=\"1\"/><Erreur><LibelleAnoAck V=\"trois\"/>\
        </Erreur></DetailLigne><DetailLigne><Erreur><LibelleAnoAck V=\"trois\"/></Erreur></DetailLigne></DetailPiece>\
        </ElementACQUIT></ACQUIT>";
    let old = "<ACQUIT><ElementACQUIT><EtatAck V=\"0\"/><NumPiece V=\"8\"/><LibelleAnoAck V=\"v1\"/></ElementACQUIT></ACQUIT>";
    let back = "<PES_RecetteRetour><Bordereau><BlocBordereau><Exer V=\"2009\"/><IdBord V=\"1\"/></BlocBordereau><Piece>\
        <InfoPiece><IdPce V=\"832\"/><Obj V=\"O\"/></InfoPiece></Piece></Bordereau></PES_RecetteRetour>";
    let given =
        "<ACQUIT_RETOUR><ElementACQUIT_RETOUR><NomFichierRetour V=\"R.xml\"/></ElementACQUIT_RETOUR></ACQUIT_RETOUR>";
    let cases = [
        (
            "PES_ACQUIT",
            "Rev0/retour/v2",
            ok,
            Role::Receipt,
            json!({
            "etat_ack": "1", "etat_ack_libelle": "accepté", "id_bordereau": "18", "exercice": "2015", "erreurs": null,
            "nom_fic": "F", "cod_col": "221", "signe": null, "id_pj": null }),
        ),
        (
            "PES_ACQUIT",
            "Rev0/retour/v2",
            ko,
            Role::Receipt,
            json!({
            "etat_ack": "2", "id_pce": "20", "erreurs": ["un", "deux", "trois"] }),
        ),
        ("PES_ACQUIT", "Rev0/retour", old, Role::Receipt, json!({ "etat_ack": "2", "id_pce": "8", "erreurs": "v1" })),
        ("PES_ACQUIT", "Rev0/retour/v2", "", Role::Receipt, json!({ "etat_ack": "1" })),
        ("pes_acquit", "Rev0/retour", "", Role::Receipt, json!({ "etat_ack": "1" })),
        ("PES_NonAcquit", "Rev0/retour", "", Role::Receipt, json!({ "etat_ack": "2" })),
        (
            "PES_ACQUIT_RETOUR",
            "Rev0/aller/ack",
            given,
            Role::Receipt,
            json!({
            "etat_ack": "1", "nom_fichier_retour": "R.xml" }),
        ),
        (
            "PES_Retour",
            "Rev0/retour",
            back,
            Role::Pes,
            json!({
            "domaine": "recette", "id_pce": "832", "objet": "O", "signe": "0", "etat_ack": null }),
        ),
    ];
    for (root, end, blocks, role, expected) in cases {
        for base in ["http://www.minefi.gouv.fr/cp/helios/pes_v2/", "http://autre.example/", "none"] {
            let space = if base == "none" { String::new() } else { format!(" xmlns:x=\"{base}{end}\"") };
            let name = if base == "none" { root.to_owned() } else { format!("x:{root}") };
            let read = decoded(format!("<{name}{space}>{head}{blocks}</{name}>").as_bytes());
            assert_eq!((picked(&read.metadata, &expected), &read.role), (expected.clone(), &role), "{root} of {base}");
        }
    }
    assert!(decode_into(b"<PES_Autre/>", &mut Folder::new(), LIMITS).is_err());
}

#[test]
fn an_acquit_in_utf_8_that_declares_iso_8859_1_and_the_other_way_round() {
    let text = "<PES_ACQUIT><ACQUIT><ElementACQUIT><EtatAck V=\"0\"/><Erreur><LibelleAnoAck V=\"présent à tort\"/></Erreur>\
        </ElementACQUIT></ACQUIT></PES_ACQUIT>";
    let latin: Vec<u8> = text.chars().map(|c| c as u8).collect();
    for encoding in ["ISO-8859-1", "UTF-8", "windows-1252"] {
        for bytes in [text.as_bytes(), &latin] {
            let xml = [format!("<?xml version=\"1.0\" encoding=\"{encoding}\"?>").as_bytes(), bytes].concat();
            assert_eq!(decoded(&xml).metadata["erreurs"], "présent à tort", "{encoding}");
        }
    }
}

#[test]
fn a_piece_that_cannot_be_taken_out_is_missing_and_the_others_come() {
    let cut = gzip(&b"x".repeat(50_000));
    let all = pieces(&[
        piece("Ceci est un test d'attachement", "P1", "a.pdf"),
        piece("", "P2", "b.pdf"),
        piece(&cut[..cut.len() / 2 / 4 * 4], "P3", ""),
        "<PJ><IdUnique V=\"P4\"/><NomPJ V=\"d.pdf\"/></PJ>".to_owned(),
        "<PJ><Contenu><Fichier/></Contenu></PJ>".to_owned(),
        piece(&gzip(b"bon"), "P5", "../../e\u{1}.pdf"),
        piece("Y<!-- c -->W<![CDATA[J]]>j", "P6", "f.PDF"),
    ]);
    let read = decoded(pes(&all).as_bytes());
    assert_eq!(read.missing, ["a.pdf", "b.pdf", "P3", "d.pdf", "PJ 5"]);
    for (warning, why) in read.warnings.iter().zip(["not base64", "empty", "cut short", "no Fichier", "empty"]) {
        assert!(warning.contains(why), "{warning}");
    }
    let files: Vec<_> = read.files.iter().map(|(name, _, bytes)| (name.as_str(), bytes.as_slice())).collect();
    assert_eq!(files, [("../../e .pdf", b"bon".as_slice()), ("f.PDF", b"abc")]);
}

#[test]
fn what_is_hostile_is_refused_and_leaves_nothing() {
    let good = piece(&gzip(b"bon"), "P", "a.pdf");
    let bomb = {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&vec![0; 40 << 20]).unwrap();
        STANDARD.encode(encoder.finish().unwrap())
    };
    let whole = pes(&pieces(std::slice::from_ref(&good)));
    let laughs = "<!DOCTYPE a [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;&a;\">]>";
    let cases = [
        (whole[..whole.len() - 3].to_owned(), "malformed"),
        (whole[..whole.len() / 2].to_owned(), "malformed"),
        (whole.replace("<n:PES_Aller", &format!("{laughs}<n:PES_Aller")), "DOCTYPE"),
        (whole.replace("</PES_PJ>", "</PES_PJ><!DOCTYPE a>"), "DOCTYPE"),
        (whole.replace("</PES_PJ>", "&b;</PES_PJ>"), "unknown entity"),
        (whole.replace("</PES_PJ>", &"<a>".repeat(100_000)), "256 elements"),
        (whole.replace("</PES_PJ>", &format!("<a V=\"{}\"/>", "x".repeat(1 << 20))), "a tag of more than"),
        (whole.clone() + "<n:PES_Aller/>", "second root"),
        (whole.replace("</PES_PJ>", "</PES_PJ>\0</n:PES_Alle>"), "malformed"),
        (pes(&pieces(&[good.clone(), piece(&bomb, "B", "b.pdf")])), "max_ratio"),
        (pes(&pieces(&vec![good; 11])), "max_entries"),
    ];
    for (xml, why) in cases {
        let mut store = Folder::new();
        let said = decode_into(xml.as_bytes(), &mut store, Limits { max_entries: 10, ..LIMITS }).unwrap_err();
        assert!(matches!(said, Error::Refused(_)) && said.to_string().contains(why), "{why}: {said}");
        assert_eq!(store.len(), 0, "{why}");
    }
    let nul = whole.replace("Commune", "Com\0mune");
    assert_eq!(decoded(nul.as_bytes()).metadata["libelle_col_bud"], "Com mune de Sète");
}

#[test]
fn what_is_kept_of_a_flow_is_bounded() {
    let title = |n: usize| {
        format!("<Piece><BlocPiece><IdPce V=\"{n}\"/><ObjPce V=\"{}\"/></BlocPiece></Piece>", "o".repeat(3000))
    };
    let titles: String = (0..4000).map(title).collect();
    let read =
        decoded(pes(&format!("<PES_RecetteAller><Bordereau>{titles}</Bordereau></PES_RecetteAller>")).as_bytes());
    assert_eq!(read.metadata["id_pce"].as_array().unwrap().len(), 4000);
    assert!(read.metadata["items"].as_array().unwrap().len() < 600);
    assert!(read.metadata["objet"].as_str().is_some_and(|objet| objet.len() == 2 << 10));
}

proptest! {
    #[test]
    fn how_it_is_read_changes_nothing(step in 1usize..4000, cut in 0usize..100, content: Vec<u8>) {
        struct Steps<'a>(&'a [u8], usize);
        impl Read for Steps<'_> {
            fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
                let count = self.1.min(buf.len());
                self.0.read(&mut buf[..count])
            }
        }
        let xml = pes(&pieces(&[piece(&gzip(&content), "P", "a.pdf"), piece("eA==", "Q", "b")]));
        let bytes = &xml.as_bytes()[..xml.len() - cut.saturating_sub(50)];
        let root = sniff(&mut &*bytes).unwrap().unwrap();
        let mut store = Folder::new();
        let stepped = decode(&mut Steps(bytes, step), &root, &mut store, &mut Budget::new(LIMITS));
        let whole = decode(&mut &*bytes, &root, &mut store, &mut Budget::new(LIMITS));
        match (stepped, whole) {
            (Ok(stepped), Ok(whole)) => {
                let digests = |reading: &Reading| reading.attachments.iter().map(|one| one.body.sha256).collect::<Vec<_>>();
                prop_assert_eq!(digests(&stepped), digests(&whole));
                prop_assert_eq!(stepped.values.into_json(), whole.values.into_json());
            }
            (Err(stepped), Err(whole)) => prop_assert_eq!(stepped.to_string(), whole.to_string()),
            other => prop_assert!(false, "{:?}", other),
        }
    }
}
