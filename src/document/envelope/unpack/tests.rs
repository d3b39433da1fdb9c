use std::io::Write as _;

use ::base64::Engine as _;
use ::base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;
use crate::document::envelope::limits::Limits;
use crate::document::envelope::store::folder::Folder;

const LIMITS: Limits = Limits { max_unpacked: 64 << 20, max_entries: 10, max_ratio: 300, max_depth: 8 };

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zipped(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(io::Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        if name.ends_with('/') {
            writer.add_directory(*name, SimpleFileOptions::default()).unwrap();
        } else {
            writer.start_file(*name, SimpleFileOptions::default()).unwrap();
            writer.write_all(bytes).unwrap();
        }
    }
    writer.finish().unwrap().into_inner()
}

/// What comes out, as text where it is no body, and how many files the store then has.
fn unpacked(mut text: &[u8]) -> (Result<Vec<u8>, String>, usize) {
    let (mut store, mut budget) = (Folder::new(), Budget::new(LIMITS));
    let result = match unpack(&mut text, &mut store, &mut budget) {
        Ok(Unpacked::Body(body)) => {
            let bytes = std::fs::read(&body.path).unwrap();
            assert_eq!((body.size, body.sha256), (bytes.len() as u64, crate::model::Digest::of(&bytes)));
            Ok(bytes)
        }
        Ok(Unpacked::Damaged(why)) => Err(format!("damaged: {}", why.en)),
        Ok(Unpacked::Empty) => Err("empty".to_owned()),
        Err(error) => Err(format!("error: {error}")),
    };
    (result, store.len())
}

#[test]
fn what_a_piece_is_packed_in_is_told_by_its_first_bytes() {
    let pdf = b"%PDF-1.4 \xe9\xff".repeat(30_000);
    let docx = zipped(&[("[Content_Types].xml", b"<Types/>")]);
    let two = zipped(&[("a", b"1"), ("b", b"2")]);
    let cases: [(&str, Vec<u8>, &[u8]); 9] = [
        ("gzip", gzip(&pdf), &pdf),
        ("two members", [gzip(&pdf[..999]), gzip(&pdf[999..])].concat(), &pdf),
        ("padded with zeros", [gzip(&pdf), vec![0; 512]].concat(), &pdf),
        ("an empty file", gzip(b""), b""),
        ("one level only", gzip(&gzip(b"x")), &gzip(b"x")),
        ("ZIP of one", zipped(&[("d/", b""), ("d/f.pdf", &pdf), ("__MACOSX/d/._f.pdf", b"x")]), &pdf),
        ("ZIP of two", two.clone(), &two),
        ("office document", docx.clone(), &docx),
        ("raw", pdf.clone(), &pdf),
    ];
    for (what, packed, expected) in cases {
        let text = STANDARD.encode(packed);
        let wrapped: Vec<u8> = text.as_bytes().chunks(76).flat_map(|line| [line, b"\r\n\t "].concat()).collect();
        let unpadded = text.trim_end_matches('=');
        for text in [text.as_bytes(), &wrapped, unpadded.as_bytes(), &[b"\n  ", unpadded.as_bytes()].concat()] {
            let (result, files) = unpacked(text);
            assert!(result.as_deref() == Ok(expected) && files == 1, "{what}: {files} files, {:?}", result.err());
        }
    }
}

#[test]
fn what_is_damaged_is_said_and_leaves_nothing() {
    let packed = gzip(&b"Facture 1 ".repeat(100_000));
    let mut flipped = packed.clone();
    let crc = flipped.len() - 6;
    flipped[crc] ^= 1;
    let archive = zipped(&[("a", &b"Facture".repeat(50))]);
    let mut wrong = archive.clone();
    wrong[40] ^= 0xff;
    let encoded = |bytes: &[u8]| STANDARD.encode(bytes).into_bytes();
    let cases = [
        (b"".to_vec(), "empty"),
        (b" \r\n\t".to_vec(), "empty"),
        (b"Ceci est un test...".to_vec(), "not base64"),
        ("Ceci est un test d'été".into(), "not base64"),
        (b"YWJj*YWJj".to_vec(), "not base64"),
        (b"YWJj-_8=".to_vec(), "not base64"),
        (b"YQ==YWJj".to_vec(), "not base64"),
        (b"YWJjY".to_vec(), "not base64"),
        (b"YW\0Jj".to_vec(), "not base64"),
        (encoded(&packed[..packed.len() / 2]), "cut short"),
        (encoded(&packed[..packed.len() - 3]), "cut short"),
        (encoded(&[0x1f, 0x8b, 8]), "cut short"),
        (encoded(&flipped), "compressed content is damaged"),
        (encoded(&[0x1f, 0x8b, 9, 0, 0, 0, 0, 0, 0, 3, 1]), "compressed content is damaged"),
        ([encoded(&packed), b"!".to_vec()].concat(), "not base64"),
        (encoded(&archive[..archive.len() - 30]), "its ZIP cannot be read"),
        (encoded(&wrong), "damaged"),
        (encoded(&zipped(&[("d/", b"")])), "holds no file"),
    ];
    for (text, why) in cases {
        let (result, files) = unpacked(&text);
        let said = result.unwrap_err();
        let shown = String::from_utf8_lossy(&text[..text.len().min(40)]).into_owned();
        assert!(said.contains(why) && !said.starts_with("error") && files == 0, "{shown}: {said}, {files} files");
    }
}

#[test]
fn a_bomb_is_refused_and_leaves_nothing() {
    let zeros = gzip(&vec![0; 40 << 20]);
    let archive = zipped(&[("a", &vec![0; 40 << 20])]);
    for (packed, why) in [(zeros.clone(), "max_ratio"), (archive, "max_ratio"), (zeros.repeat(2), "max_")] {
        let (result, files) = unpacked(STANDARD.encode(packed).as_bytes());
        let result = result.map(|bytes| bytes.len());
        assert!(result.as_ref().is_err_and(|said| said.starts_with("error") && said.contains(why)), "{result:?}");
        assert_eq!(files, 0);
    }
    let mut flat = STANDARD.encode(vec![b'x'; 3 << 20]).into_bytes();
    flat = flat.repeat(22);
    let (result, files) = unpacked(&flat);
    assert!(result.is_err_and(|said| said.contains("max_unpacked")) && files == 0);
}

#[test]
fn an_error_of_the_text_is_not_a_damage() {
    struct Failing(Vec<u8>);
    impl Read for Failing {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let count = self.0.as_slice().read(buf)?;
            self.0.drain(..count);
            if count == 0 { Err(io::ErrorKind::InvalidData.into()) } else { Ok(count) }
        }
    }
    for bytes in [gzip(&[b'x'; 5000]), zipped(&[("a", b"x")]), b"%PDF".to_vec(), Vec::new()] {
        let (mut store, mut budget) = (Folder::new(), Budget::new(LIMITS));
        let text = STANDARD.encode(&bytes).into_bytes();
        let result = unpack(&mut Failing(text), &mut store, &mut budget);
        assert!(matches!(result, Err(Error::Read(_))), "{result:?}");
        assert_eq!(store.len(), 0);
    }
}

proptest! {
    #[test]
    fn how_the_text_is_cut_and_wrapped_changes_nothing(
        bytes: Vec<u8>, width in 1usize..90, step in 1usize..300, blank in "[ \t\r\n]{0,3}", packed: bool) {
        struct Steps<'a>(&'a [u8], usize);
        impl Read for Steps<'_> {
            fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                let count = self.1.min(buf.len());
                self.0.read(&mut buf[..count])
            }
        }
        // not mistaken for something that is packed
        let bytes = [b"x", bytes.as_slice()].concat();
        let text = STANDARD.encode(if packed { gzip(&bytes) } else { bytes.clone() });
        let text: Vec<u8> = text.as_bytes().chunks(width).flat_map(|line| [line, blank.as_bytes()].concat()).collect();
        let (mut store, mut budget) = (Folder::new(), Budget::new(LIMITS));
        let unpacked = unpack(&mut Steps(&text, step), &mut store, &mut budget).unwrap();
        let Unpacked::Body(body) = unpacked else { panic!("{unpacked:?}") };
        prop_assert_eq!(std::fs::read(&body.path).unwrap(), bytes);
    }

    #[test]
    fn any_text_is_unpacked_or_told(text: Vec<u8>, bytes: Vec<u8>, head in 0usize..3) {
        let head = [b"\x1f\x8b\x08\0".as_slice(), b"PK\x03\x04", b""][head];
        for text in [text, STANDARD.encode([head, &bytes].concat()).into_bytes()] {
            let (result, files) = unpacked(&text);
            prop_assert_eq!(files, usize::from(result.is_ok()));
        }
    }
}
