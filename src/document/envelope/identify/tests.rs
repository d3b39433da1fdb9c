//! Tests of identities: one for equal contents, kinds, what may still grow.

use super::super::deposits::*;
use super::*;

const FLUX: &[u8] =
    b"<flux><files name=\"arrete\"><file content=\"acte.pdf\"/></files><data name=\"acte_nature\" value=\"1\"/></flux>";

fn incomplete(deposit: &Deposit) -> String {
    match identified(deposit).state {
        State::Incomplete(Text { en, fr }) => {
            assert!(!fr.is_empty());
            en.into_owned()
        }
        other => panic!("{}: {other:?}", deposit.name),
    }
}

#[test]
fn a_directory_a_zip_and_a_tar_of_equal_contents_have_one_identity() {
    let drop = Drop::new();
    let message = acte("acte.pdf", &[]);
    let files: &[(&str, &[u8])] = &[("m.xml", &message), ("acte.pdf", PDF), ("twice.pdf", PDF)];
    let renamed: &[(&str, &[u8])] = &[("z.pdf", PDF), ("x.pdf", PDF), ("m2.xml", &message)];
    let cluttered: &[(&str, &[u8])] =
        &[files[0], files[1], files[2], ("fichier_termine.txt", b"x"), ("Thumbs.db", b"y"), ("a.part", b"z")];
    let packed = gzip(&tar(files));
    let same = [
        drop.directory("a", files),
        drop.directory("b", renamed),
        drop.directory("c", cluttered),
        drop.file("d.zip", &zip(files)),
        drop.file("e.zip", &zip(cluttered)),
        drop.file("f.tar.gz", &packed),
        drop.file("g.tar", &tar(renamed)),
        drop.file("h.zip", &zip(&[("f.tar.gz", &packed)])),
        drop.directory("i", &[("f.zip", &zip(files))]),
        drop.file("j.tar.gz", &gzip(&tar(&[("f.zip", &zip(files))]))),
    ];
    let first = identified(&same[0]);
    assert_eq!((first.kind, &first.state), (Some(EnvelopeKind::Actes), &State::Complete));
    for deposit in &same {
        assert_eq!(identified(deposit), first, "{}", deposit.name);
        assert_eq!(identified(deposit), first, "{} again", deposit.name);
    }
    let others = [drop.directory("k", &files[..2]), drop.directory("l", &[files[0], ("x", b"y"), files[2]])];
    for deposit in &others {
        assert_ne!(identified(deposit).digest, first.digest, "{}", deposit.name);
    }
    assert_eq!(
        identified(&drop.file("m.xml", &message)).digest,
        identified(&drop.file("m.gz", &gzip(&message))).digest
    );
}

#[test]
fn what_is_cut_is_not_taken_for_what_could_be_read_of_it() {
    let drop = Drop::new();
    let message = acte("acte.pdf", &[]);
    let noise: Vec<u8> = (0..200_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[1]).collect();
    let packed = gzip(&tar(&[("m.xml", &message), ("annexe.bin", &noise)]));
    let (one, other) = (zip(&[("m.xml", &message)]), zip(&[("n.xml", PDF)]));
    let deposits = [
        drop.file("m.xml", &message),
        drop.file("cut.tar.gz", &packed[..packed.len() - 1000]),
        drop.file("one.zip", &one[..one.len() - 30]),
        drop.file("other.zip", &other[..other.len() - 30]),
        drop.file("empty.zip", &zip(&[])),
    ];
    let digests: Vec<_> = deposits.iter().map(|deposit| identified(deposit).digest).collect();
    for (n, digest) in digests.iter().enumerate() {
        assert!(!digests[..n].contains(digest), "{}", deposits[n].name);
    }
}

#[test]
fn each_kind_is_told_by_what_is_inside() {
    let drop = Drop::new();
    let (message, pes, pivot) = (acte("a", &[]), pes("P", ("a.pdf", PDF)), pivot("1", ("a.pdf", PDF)));
    let alias = br#"{"chorus_fact":"1","x":["a.pdf"]}"#;
    let own = br#"{"titre":"1","x":["a.pdf"]}"#;
    let cases: Vec<(Deposit, Option<EnvelopeKind>)> = vec![
        (drop.file("a", &message), Some(EnvelopeKind::Actes)),
        (drop.file("b", &pes), Some(EnvelopeKind::Helios)),
        (drop.file("c", &pivot), Some(EnvelopeKind::Chorus)),
        (drop.directory("d", &[("a.pdf", PDF), ("m.json", alias)]), Some(EnvelopeKind::Chorus)),
        (drop.directory("e", &[("a.pdf", PDF), ("m.json", own)]), Some(EnvelopeKind::Pastell)),
        (
            drop.directory("f", &[("a.pdf", PDF), ("b.tar.gz", &gzip(&tar(&[("m.xml", &message)])))]),
            Some(EnvelopeKind::Actes),
        ),
        (drop.file("g", &zip(&[("a.pdf", PDF), ("b.zip", &zip(&[("p.xml", &pes)]))])), Some(EnvelopeKind::Helios)),
        (
            drop.directory("h", &[("p.xml", &pes), ("acte.pdf", PDF), ("metadata.xml", FLUX)]),
            Some(EnvelopeKind::Helios),
        ),
        (drop.directory("i", &[("a.pdf", PDF)]), None),
        (drop.file("j", b"<other/>"), None),
    ];
    for (deposit, kind) in cases {
        assert_eq!(identified(&deposit).kind, kind, "{}", deposit.name);
    }
}

#[test]
fn what_may_still_grow_is_incomplete() {
    let drop = Drop::new();
    let message = acte("acte.pdf", &[]);
    let half = &message[..message.len() / 2];
    let (packed, bundle) = (zip(&[("m.xml", &message)]), gzip(&tar(&[("m.xml", &message)])));
    let cases: Vec<(Deposit, &str)> = vec![
        (drop.file("a.xml", half), "a.xml: "),
        (drop.file("b.zip", &packed[..packed.len() - 5]), "b.zip: the archive is cut"),
        (drop.file("c.tgz", &bundle[..bundle.len() - 5]), "c.tgz: the archive is cut"),
        (drop.file("d.pdf", &PDF[..20]), "d.pdf: the PDF has no end"),
        (drop.file("empty.xml", b""), "empty.xml is empty"),
        (drop.directory("e", &[("m.xml", half), ("acte.pdf", PDF)]), "m.xml: "),
        (
            drop.directory("f", &[("metadata.xml", FLUX)]),
            "1 files that its metadata file lists are not there: acte.pdf",
        ),
        (drop.directory("g", &[("acte.pdf", PDF), ("metadata.json", b"")]), "metadata.json: "),
        (drop.directory("h", &[("acte.pdf", PDF), ("metadata.xml", &FLUX[..50])]), "metadata.xml: "),
    ];
    for (deposit, expected) in cases {
        let why = incomplete(&deposit);
        assert!(why.contains(expected), "{}: {why}", deposit.name);
    }
}

#[test]
fn an_end_marker_ends_the_waiting() {
    let drop = Drop::new();
    let marked = drop.directory("a", &[("metadata.xml", FLUX), ("transfert_termine.txt", b"")]);
    assert_eq!(identified(&marked).state, State::Complete);
    assert_eq!(
        identified(&drop.file("b.zip", &zip(&[("metadata.xml", FLUX)]))).state,
        State::Complete,
        "a ZIP is whole"
    );
}

#[test]
fn what_will_never_be_taken_says_why() {
    let drop = Drop::new();
    let doctype = [b"<!DOCTYPE x>".as_slice(), &acte("a", &[])].concat();
    let mut locked = zip(&[("a.xml", b"<a/>")]);
    let directory = locked.windows(4).position(|four| four == b"PK\x01\x02").unwrap();
    locked[directory + 8] |= 1;
    let zeros = vec![0; 40 << 20];
    let bomb = gzip(&zeros);
    let cases: Vec<(Deposit, &str)> = vec![
        (drop.file("a.xml", &doctype), "a.xml: "),
        (drop.file("b.zip", &locked), "b.zip: a.xml in the ZIP is encrypted"),
        (drop.file("c.gz", &bomb), "max_ratio"),
        (drop.file("d.zip", &zip(&[("x.gz", &bomb)])), "max_ratio"),
        (drop.directory("e", &[("m.xml", &acte("a", &[])), ("x.gz", &bomb)]), "max_ratio"),
    ];
    for (deposit, expected) in cases {
        match identified(&deposit).state {
            State::Refused(Text { en, .. }) => assert!(en.contains(expected), "{}: {en}", deposit.name),
            other => panic!("{}: {other:?}", deposit.name),
        }
    }
}

#[test]
fn an_archive_cut_anywhere_is_never_complete() {
    let drop = Drop::new();
    let message = acte("acte.pdf", &[]);
    for bytes in [zip(&[("m.xml", &message), ("acte.pdf", PDF)]), gzip(&tar(&[("m.xml", &message), ("acte.pdf", PDF)]))]
    {
        for part in 1..50 {
            let deposit = drop.file("a", &bytes[..bytes.len() * part / 50]);
            let identity = identified(&deposit);
            let told = identity.kind.is_some() || identity.state != State::Complete;
            // the first bytes alone may not even show that it is an archive
            assert!(identity.state != State::Complete || !told, "cut at {part}/50: {identity:?}");
        }
    }
}
