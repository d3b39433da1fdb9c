use std::io::Cursor;

use proptest::prelude::*;

use super::super::deposits::{LIMITS, gzip, tar, tar_raw, zip};
use super::super::limits::Limits;
use super::*;

/// All entries.
fn walked(bytes: &[u8], limits: Limits) -> Result<(Vec<(String, Vec<u8>)>, Walked), Trouble> {
    let mut entries = Vec::new();
    let budget = RefCell::new(Budget::new(limits));
    let format = Format::of(&bytes[..bytes.len().min(65536)]).expect("an archive");
    let walked = walk(format, "name.GZ", Cursor::new(bytes), &budget, &mut |Entry { name, content }| {
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes).map_err(Error::Read)?;
        entries.push((name, bytes));
        Ok(())
    })?;
    Ok((entries, walked))
}

fn names(bytes: &[u8]) -> Vec<String> {
    walked(bytes, LIMITS).unwrap().0.into_iter().map(|(name, _)| name).collect()
}

fn refused(bytes: &[u8], limits: Limits) -> String {
    Error::from(walked(bytes, limits).unwrap_err()).to_string()
}

const FILES: &[(&str, &[u8])] = &[("a.xml", b"<a/>"), ("sous/été.pdf", b"%PDF"), ("vide", b"")];

#[test]
fn each_format_gives_its_entries_in_order() {
    let tar = tar(FILES);
    for bytes in [zip(FILES), gzip(&tar), tar] {
        let (entries, walked) = walked(&bytes, LIMITS).unwrap();
        let expected = [("a.xml", "<a/>"), ("été.pdf", "%PDF"), ("vide", "")];
        let entries: Vec<_> =
            entries.iter().map(|(name, bytes)| (name.as_str(), std::str::from_utf8(bytes).unwrap())).collect();
        assert_eq!(entries, expected);
        assert!(walked.warnings.is_empty() && walked.open.is_none());
    }
    assert_eq!(walked(&gzip(b"<a/>"), LIMITS).unwrap().0, [("name".to_owned(), b"<a/>".to_vec())]);
}

#[test]
fn a_format_is_told_by_content() {
    let office = zip(&[("[Content_Types].xml", b"<Types/>"), ("word/document.xml", b"<w/>")]);
    let cases: [(&[u8], Option<Format>); 7] = [
        (&zip(FILES), Some(Format::Zip)),
        (&zip(&[]), Some(Format::Zip)),
        (&office, None),
        (&zip(&[("mimetype", b"application/vnd.oasis.opendocument.text")]), None),
        (&gzip(&tar(FILES)), Some(Format::TarGz)),
        (&[0; 1024], None),
        (b"PK", None),
    ];
    for (bytes, format) in cases {
        assert_eq!(Format::of(bytes), format, "{:?}", &bytes[..bytes.len().min(40)]);
    }
}

#[test]
fn names_lose_their_folders_and_a_warning_tells_of_those_that_lead_outside() {
    let hostile = ["../../etc/passwd", "/etc/passwd", "C:\\windows\\passwd", "..\\passwd", "ok/passwd"];
    let entries: Vec<_> = hostile.iter().map(|name| (*name, b'0', &b"x"[..])).collect();
    let (entries, walked) = walked(&gzip(&tar_raw(&entries)), LIMITS).unwrap();
    assert!(entries.iter().all(|(name, _)| name == "passwd") && entries.len() == 5, "{entries:?}");
    assert_eq!(walked.warnings.len(), 4, "{:?}", walked.warnings);
    assert_eq!(names(&zip(&[("../../x.pdf", b"1"), ("y/x.pdf", b"2")])), ["x.pdf", "x.pdf"]);
    assert_eq!(names(&tar_raw(&[("..", b'0', b"1"), (".", b'0', b"1")])), ["document", "document"]);
}

#[test]
fn junk_links_and_devices_are_left_out() {
    let entries = [
        ("__MACOSX/._a.xml", b'0', &b"1"[..]),
        (".DS_Store", b'0', b"1"),
        ("Thumbs.db", b'0', b"1"),
        ("a.part", b'0', b"1"),
        ("link", b'2', b""),
        ("hard", b'1', b""),
        ("char", b'3', b""),
        ("fifo", b'6', b""),
        ("folder/", b'5', b""),
        ("a.xml", b'0', b"1"),
    ];
    let (files, walked) = walked(&tar_raw(&entries), LIMITS).unwrap();
    assert_eq!((files.len(), files[0].0.as_str(), walked.warnings.len()), (1, "a.xml", 4));
    let many: Vec<_> = (0..200).map(|_| ("link", b'2', &b""[..])).collect();
    let (_, capped) = super::tests::walked(&tar_raw(&many), LIMITS).unwrap();
    assert_eq!(capped.warnings.len(), MOST_WARNINGS + 1);
}

#[test]
fn long_names_of_gnu_and_pax_are_read() {
    let long = format!("{}/{}.pdf", "d".repeat(200), "é".repeat(60));
    let pax = |key: &str, value: &str| {
        let length = key.len() + value.len() + 3;
        let length = (length..).map(|guess| guess + guess.to_string().len()).next().unwrap();
        format!("{length} {key}={value}\n")
    };
    let record = pax("path", &long);
    let gnu = [("././@LongLink", b'L', long.as_bytes()), ("short", b'0', b"1")];
    let posix = [("PaxHeaders/x", b'x', record.as_bytes()), ("short", b'0', b"1")];
    let expected = format!("{}.pdf", "é".repeat(60));
    assert_eq!(names(&tar_raw(&gnu)), [expected.as_str()]);
    assert_eq!(names(&tar_raw(&posix)), [expected.as_str()]);
    let latin = [("././@LongLink", b'L', &b"\xe9t\xe9.pdf"[..]), ("short", b'0', b"1")];
    assert_eq!(names(&tar_raw(&latin)), ["été.pdf"]);
    let sparse = pax("GNU.sparse.major", "1");
    assert!(refused(&tar_raw(&[("x", b'x', sparse.as_bytes()), ("a", b'0', b"1")]), LIMITS).contains("sparse"));
    let huge = vec![b'a'; 1 << 20];
    assert!(refused(&tar_raw(&[("x", b'L', &huge), ("a", b'0', b"1")]), LIMITS).contains("name"));
}

#[test]
fn equal_names_are_all_kept() {
    let mut bytes = zip(&[("a.pdf", b"1"), ("b.pdf", b"2")]);
    while let Some(at) = bytes.windows(5).position(|five| five == b"b.pdf") {
        bytes[at] = b'a';
    }
    assert_eq!(
        walked(&bytes, LIMITS).unwrap().0,
        [("a.pdf".to_owned(), b"1".to_vec()), ("a.pdf".to_owned(), b"2".to_vec())]
    );
    assert_eq!(names(&tar(&[("a.pdf", b"1"), ("a.pdf", b"2")])), ["a.pdf", "a.pdf"]);
}

#[test]
fn an_archive_cut_anywhere_is_broken_or_open_and_never_whole() {
    let noise: Vec<u8> = (0..20_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let files: &[(&str, &[u8])] = &[("a.bin", &noise), ("b.bin", &noise[..7000])];
    let tar = tar(files);
    for bytes in [zip(files), gzip(&tar), gzip(&noise)] {
        for cut in (1..50).map(|part| bytes.len() * part / 50).chain([bytes.len() - 1]) {
            let result = walked(&bytes[..cut], LIMITS);
            assert!(matches!(result, Err(Trouble::Broken(_))), "cut at {cut} of {}: {result:?}", bytes.len());
        }
    }
    for cut in (1..50).map(|part| tar.len() * part / 50) {
        match walked(&tar[..cut], LIMITS) {
            Err(Trouble::Broken(_)) => {}
            Ok((_, walked)) => assert!(walked.open.is_some(), "cut at {cut}"),
            other => panic!("cut at {cut}: {other:?}"),
        }
    }
}

#[test]
fn a_damaged_byte_is_noticed() {
    let files: &[(&str, &[u8])] = &[("a.bin", b"some bytes that are stored or deflated, whichever is shorter")];
    for bytes in [zip(files), gzip(&tar(files))] {
        let mut bytes = bytes;
        bytes[45] ^= 0x10;
        assert!(matches!(walked(&bytes, LIMITS), Err(Trouble::Broken(_))));
    }
}

#[test]
fn an_encrypted_zip_is_refused_with_a_reason() {
    let mut bytes = zip(&[("a.pdf", b"1")]);
    let directory = bytes.windows(4).position(|four| four == b"PK\x01\x02").unwrap();
    bytes[6] |= 1;
    bytes[directory + 8] |= 1;
    assert!(refused(&bytes, LIMITS).contains("encrypted"));
}

#[test]
fn bombs_and_lying_sizes_end_at_the_limits() {
    let zeros = vec![0; 80 << 20];
    let small = Limits { max_ratio: u64::MAX, max_unpacked: 1 << 20, ..LIMITS };
    let mut lying = zip(&[("a", &zeros[..4 << 20])]);
    let directory = lying.windows(4).position(|four| four == b"PK\x01\x02").unwrap();
    lying[22..26].copy_from_slice(&1u32.to_le_bytes());
    lying[directory + 24..directory + 28].copy_from_slice(&1u32.to_le_bytes());
    for (bytes, limits, option) in [
        (zip(&[("a", &zeros)]), LIMITS, "max_ratio"),
        (gzip(&zeros), LIMITS, "max_ratio"),
        (gzip(&tar(&[("a", &zeros)])), LIMITS, "max_ratio"),
        (gzip(&tar_raw(&[("link", b'2', &zeros)])), LIMITS, "max_ratio"),
        (zip(&[("a", &zeros[..2 << 20])]), small, "max_unpacked"),
        (gzip(&zeros[..2 << 20]), small, "max_unpacked"),
        (lying, small, "max_unpacked"),
    ] {
        let reason = refused(&bytes, limits);
        assert!(reason.contains(option), "{option}: {reason}");
    }
}

#[test]
fn a_hundred_thousand_entries_end_at_the_limit() {
    let entries: Vec<_> = (0..100_000).map(|_| ("a", b'0', &b""[..])).collect();
    let limits = Limits { max_entries: 20_000, ..LIMITS };
    assert!(refused(&tar_raw(&entries), limits).contains("max_entries"));
}

#[test]
fn a_read_error_is_the_disks_and_not_the_archives() {
    struct Failing(usize);
    impl Read for Failing {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0 += 1;
            let header = tar(&[("a", &[7; 2000])]);
            if self.0 > 1 {
                return Err(io::Error::from_raw_os_error(5));
            }
            let count = buffer.len().min(512);
            buffer[..count].copy_from_slice(&header[..count]);
            Ok(count)
        }
    }
    let budget = RefCell::new(Budget::new(LIMITS));
    let result = stream(Format::Tar, "a", &mut Failing(0), &budget, &mut |_| Ok(()));
    assert!(matches!(result, Err(Trouble::Error(Error::Read(_)))), "{result:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_damage_to_an_archive_ends_within_the_limits(at in 0usize..3000, byte: u8, which in 0usize..3) {
        let tar = tar(FILES);
        let mut bytes = vec![zip(FILES), gzip(&tar), tar].swap_remove(which);
        let at = at % bytes.len();
        bytes[at] = byte;
        let limits = Limits { max_unpacked: 1 << 20, ..LIMITS };
        if let Some(format) = Format::of(&bytes) {
            let budget = RefCell::new(Budget::new(limits));
            let mut count = 0;
            let _ = walk(format, "a", Cursor::new(&bytes), &budget, &mut |Entry { content, .. }| {
                count += io::copy(content, &mut io::sink()).map_err(Error::Read)?;
                Ok(())
            });
            prop_assert!(count <= 2 << 20);
        }
    }
}
