//! PDF files of our own making, one with object streams from another library's writer, and what a stranger may send.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use lopdf::{Document, Object, SaveOptions, Stream, dictionary};
use proptest::prelude::*;

use super::*;
use crate::document::envelope::limits::Limits;
use crate::document::envelope::store::folder::Folder;
use crate::model::Role;

const XML: &[u8] = b"<?xml version='1.0'?><rsm:CrossIndustryInvoice xmlns:rsm='a'>factur-x</rsm:CrossIndustryInvoice>";
const LIMITS: Limits = Limits { max_unpacked: 64 << 20, max_entries: 10, max_ratio: 50, max_depth: 8 };

/// A PDF of these objects, the first of which is number 1, with a cross-reference table.
fn pdf(objects: &[Vec<u8>], trailer: &str) -> Vec<u8> {
    let mut bytes = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n".to_vec();
    let mut table = format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1);
    for (at, object) in objects.iter().enumerate() {
        table += &format!("{:010} 00000 n \n", bytes.len());
        bytes.extend_from_slice(format!("{} 0 obj\n", at + 1).as_bytes());
        bytes.extend_from_slice(object);
        bytes.extend_from_slice(b"\nendobj\n");
    }
    let at = bytes.len();
    let size = objects.len() + 1;
    bytes.extend_from_slice(table.as_bytes());
    bytes.extend_from_slice(format!("trailer\n<</Size {size} {trailer}>>\nstartxref\n{at}\n%%EOF\n").as_bytes());
    bytes
}

fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn stream(entries: &str, content: &[u8]) -> Vec<u8> {
    let head = format!("<<{entries} /Length {}>>\nstream\r\n", content.len());
    [head.as_bytes(), content, b"\nendstream"].concat()
}

/// Catalog, specification and stream of one file.
fn with_file(catalog: &str, specification: &str, file: Vec<u8>) -> Vec<u8> {
    pdf(&[catalog.as_bytes().to_vec(), specification.as_bytes().to_vec(), file], "/Root 1 0 R")
}

const BY_NAME: &str = "<</Type/Catalog/Names<</EmbeddedFiles<</Names[(factur-x.xml)2 0 R]>>>>>>";
const SPECIFICATION: &str =
    "<</Type/Filespec/F(factur-x.xml)/UF(factur-x.xml)/AFRelationship/Alternative/EF<</F 3 0 R>>>>";

fn file() -> Vec<u8> {
    stream("/Type/EmbeddedFile/Subtype/text#2Fxml/Filter/FlateDecode", &deflated(XML))
}

/// The name and the bytes of what is found.
fn found(pdf: &[u8]) -> Result<Option<(String, Vec<u8>)>, Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.pdf");
    std::fs::write(&path, pdf).unwrap();
    let mut store = Folder::new();
    let found = embedded(&path, &mut store, &mut Budget::new(LIMITS))?;
    assert_eq!(store.len(), usize::from(found.is_some()), "what is not given stays nowhere");
    Ok(found.map(|found| {
        assert_eq!((found.role, found.media_type.as_deref(), found.readable), (Role::Invoice, Some("text/xml"), false));
        (found.name, std::fs::read(found.body.path).unwrap())
    }))
}

fn is_found(pdf: &[u8]) -> Option<String> {
    found(pdf).unwrap().map(|(name, bytes)| {
        assert_eq!(bytes, XML);
        name
    })
}

#[test]
fn the_xml_is_found_wherever_a_catalog_may_lead_to_it() {
    let by_tree =
        "<</Names<</EmbeddedFiles<</Kids[1 0 R 9 0 R<</Kids[<</Limits[(a)(z)]/Names[(a)null(x)2 0 R]>>]>>]>>>>>>";
    let associated = "<</Type/Catalog/AF[2 0 R]>>";
    let inside = "<</AF[<</F(xrechnung.xml)/EF<</UF 3 0 R>>>>]>>";
    let utf16 =
        "<</UF<FEFF005A00550047004600650052004400 2D0069006E0076006F006900630065002E0078006D006C>/EF<</F 3 0 R>>>>";
    let escaped = "<</F(factur\\055x\\\n.xml)/EF<</F 3 0 R>>>>";
    let plain = || stream("/Type/EmbeddedFile", XML);
    let in_list = || stream("/Filter[/FlateDecode]", &deflated(XML));
    for (catalog, specification, file, name) in [
        (BY_NAME, SPECIFICATION, file(), "factur-x.xml"),
        (by_tree, SPECIFICATION, file(), "factur-x.xml"),
        (associated, SPECIFICATION, file(), "factur-x.xml"),
        (inside, "null", plain(), "xrechnung.xml"),
        (associated, utf16, in_list(), "ZUGFeRD-invoice.xml"),
        (associated, escaped, file(), "factur-x.xml"),
    ] {
        let pdf = with_file(catalog, specification, file);
        assert_eq!(is_found(&pdf).as_deref(), Some(name), "{catalog} {specification}");
        assert_eq!(is_found(&[b"HTTP junk\n", &pdf[..]].concat()).as_deref(), Some(name), "with bytes in front");
        assert_eq!(is_found(&[&pdf[..], &[0; 900]].concat()).as_deref(), Some(name), "with bytes behind");
    }
}

#[test]
fn the_xml_is_found_in_a_file_with_object_streams() {
    let mut document = Document::with_version("1.7");
    let file = Stream::new(dictionary! { "Type" => "EmbeddedFile", "Filter" => "FlateDecode" }, deflated(XML));
    let file = document.add_object(file);
    let name = || Object::string_literal("factur-x.xml");
    let specification = document.add_object(dictionary! {
        "Type" => "Filespec", "F" => name(), "UF" => name(), "EF" => dictionary! { "F" => file },
    });
    let tree = document.add_object(dictionary! { "Names" => vec![name(), specification.into()] });
    let pages = document.add_object(dictionary! { "Type" => "Pages", "Kids" => Vec::<Object>::new(), "Count" => 0 });
    let names = dictionary! { "EmbeddedFiles" => tree };
    let root = document.add_object(dictionary! { "Type" => "Catalog", "Pages" => pages, "Names" => names });
    document.trailer.set("Root", root);
    for packed in [false, true] {
        let mut bytes = Vec::new();
        let options = SaveOptions::builder().use_object_streams(packed).use_xref_streams(packed).build();
        document.clone().save_with_options(&mut bytes, options).unwrap();
        let has_streams = bytes.windows(6).any(|word| word == b"ObjStm");
        assert_eq!(has_streams, packed, "the writer does what it is told");
        assert_eq!(is_found(&bytes).as_deref(), Some("factur-x.xml"), "object streams: {packed}");
    }
}

#[test]
fn a_cross_reference_stream_with_a_predictor_is_read() {
    let objects = [BY_NAME.as_bytes().to_vec(), SPECIFICATION.as_bytes().to_vec(), file()];
    let table = pdf(&objects, "/Root 1 0 R");
    let end = table.windows(4).position(|word| word == b"xref").unwrap();
    let mut bytes = table[..end].to_vec();
    let offset = |n: usize| bytes.windows(7).position(|word| word == format!("{n} 0 obj").as_bytes()).unwrap();
    let rows: Vec<[u8; 4]> = std::iter::once([0; 4])
        .chain((1..=3).map(|n| {
            let [.., high, low] = offset(n).to_be_bytes();
            [1, high, low, 0]
        }))
        .collect();
    let (mut above, mut coded) = ([0_u8; 4], Vec::new());
    for row in rows {
        coded.push(2);
        coded.extend(row.iter().zip(above).map(|(byte, above)| byte.wrapping_sub(above)));
        above = row;
    }
    let entries = "/Type/XRef/Size 4/W[1 2 1]/Root 1 0 R/Filter/FlateDecode/DecodeParms<</Predictor 12/Columns 4>>";
    let at = bytes.len();
    bytes.extend_from_slice(b"4 0 obj\n");
    bytes.extend_from_slice(&stream(entries, &deflated(&coded)));
    bytes.extend_from_slice(format!("\nendobj\nstartxref\n{at}\n%%EOF").as_bytes());
    assert_eq!(is_found(&bytes).as_deref(), Some("factur-x.xml"));
}

#[test]
fn damaged_tables_are_helped_by_a_search() {
    let pdf = with_file(BY_NAME, SPECIFICATION, file());
    let text = |from: &str, to: &str| {
        let at = pdf.windows(from.len()).rposition(|word| word == from.as_bytes()).unwrap();
        [&pdf[..at], to.as_bytes(), &pdf[at + from.len()..]].concat()
    };
    for (what, pdf) in [
        ("no startxref", text("startxref", "")),
        ("startxref to nowhere", text("startxref\n", "startxref\n9")),
        ("no table", text("xref\n0", "nothing")),
        ("offsets that lie", text("0000000015 00000 n", "0000000016 00000 n")),
        ("a previous table that is none", text("/Size 4", "/Size 4/Prev 3")),
        ("line ends made long", [&b"%PDF-1.4\n\r\n\r\n\r\n"[..], &pdf[9..]].concat()),
    ] {
        assert_eq!(is_found(&pdf).as_deref(), Some("factur-x.xml"), "{what}");
    }
}

#[test]
fn nothing_is_found_where_no_invoice_is() {
    let order = SPECIFICATION.replace("factur-x", "order-x");
    let elsewhere = SPECIFICATION.replace("3 0 R", "1 0 R");
    let loops = "<</Names<</EmbeddedFiles 2 0 R>>>>";
    let chain = "<</Names<</EmbeddedFiles<</Names[(a)2 0 R]>>>>>>";
    let deep = format!("<</A{}{}/AF[2 0 R]>>", "[".repeat(5000), "]".repeat(5000));
    let wide = format!("<</AF[2 0 R]/A[{}]>>", "0 ".repeat(60_000));
    let long = format!("<</AF[2 0 R]/A({})>>", "x".repeat(400_000));
    let cut = {
        let packed = deflated(XML);
        stream("/Filter/FlateDecode", &packed[..packed.len() / 2])
    };
    for (what, pdf) in [
        ("no PDF", XML.to_vec()),
        ("nothing", Vec::new()),
        ("an empty PDF", b"%PDF-1.7\n%%EOF".to_vec()),
        ("an order", with_file(BY_NAME, &order, file())),
        ("no stream", with_file(BY_NAME, &elsewhere, file())),
        ("an unknown filter", with_file(BY_NAME, SPECIFICATION, stream("/Filter/LZWDecode", XML))),
        ("a stream cut short", with_file(BY_NAME, SPECIFICATION, cut)),
        ("an empty file", with_file(BY_NAME, SPECIFICATION, stream("/Filter/FlateDecode", &deflated(b"")))),
        ("a node below itself", with_file(loops, "<</Kids[2 0 R 2 0 R 3 0 R]>>", b"<</Kids[2 0 R]>>".to_vec())),
        ("a reference to itself", with_file(chain, "2 0 R", b"2 0 R".to_vec())),
        ("references in a ring", with_file(chain, "3 0 R", b"2 0 R".to_vec())),
        ("arrays 5000 deep", with_file(&deep, SPECIFICATION, file())),
        ("an array of 60000", with_file(&wide, SPECIFICATION, file())),
        ("a catalog of 400 KB", with_file(&long, SPECIFICATION, file())),
        ("encrypted", pdf(&[BY_NAME.into(), SPECIFICATION.into(), file()], "/Root 1 0 R/Encrypt 9 0 R")),
        ("encrypted, without a table", {
            let whole = pdf(&[BY_NAME.into(), SPECIFICATION.into(), file()], "/Root 1 0 R/Encrypt 9 0 R");
            whole[..whole.len() - 12].to_vec()
        }),
    ] {
        assert_eq!(found(&pdf).unwrap(), None, "{what}");
    }
}

#[test]
fn a_bomb_is_refused_by_the_limit_on_its_ratio() {
    let bomb = stream("/Filter/FlateDecode", &deflated(&vec![b' '; 20 << 20]));
    let error = found(&with_file(BY_NAME, SPECIFICATION, bomb)).unwrap_err();
    assert!(matches!(&error, Error::Refused(why) if why.en.contains("max_ratio")), "{error}");
}

#[test]
fn an_object_stream_that_is_a_bomb_is_not_held() {
    let bomb = stream("/Type/ObjStm/N 1/First 4/Filter/FlateDecode", &deflated(&vec![b' '; 100 << 20]));
    let entries = "/Type/XRef/Size 4/W[1 2 1]/Root 2 0 R/Index[2 1]";
    let mut bytes = b"%PDF-1.7\n".to_vec();
    bytes.extend_from_slice(b"1 0 obj\n");
    bytes.extend_from_slice(&bomb);
    bytes.extend_from_slice(b"\nendobj\n");
    let at = bytes.len();
    bytes.extend_from_slice(b"3 0 obj\n");
    bytes.extend_from_slice(&stream(entries, &[2, 0, 1, 0]));
    bytes.extend_from_slice(format!("\nendobj\nstartxref\n{at}\n%%EOF").as_bytes());
    assert_eq!(found(&bytes).unwrap(), None);
}

#[test]
fn a_file_that_vanished_is_an_error_of_reading() {
    let mut store = Folder::new();
    let error = embedded(Path::new("/nowhere/a.pdf"), &mut store, &mut Budget::new(LIMITS)).unwrap_err();
    assert!(matches!(error, Error::Read(_)), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_damage_is_survived(at in 0_usize..2000, with in proptest::collection::vec(any::<u8>(), 0..12)) {
        let mut pdf = with_file(BY_NAME, SPECIFICATION, file());
        let at = at % pdf.len();
        let end = (at + with.len()).min(pdf.len());
        pdf.splice(at..end, with);
        let _ = found(&pdf);
    }

    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = found(&[b"%PDF-1.7\n", &bytes[..], b"\nstartxref\n9\n"].concat());
        let _ = syntax::Lexer::new(&bytes).object();
    }
}
