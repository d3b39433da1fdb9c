//! What must hold for invoices: documents of Chorus Pro, and PDF files with an XML inside.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read};

use pertuis::document::envelope::limits::{Budget, Limits};
use pertuis::document::envelope::store::Store as _;
use pertuis::document::envelope::xml::sniff;
use pertuis::document::envelope::{Error, Reading, chorus as decoder, facturx as pdf};

use super::bodies::Bodies;
use super::one_line;

/// A document of Chorus Pro: how it is read changes nothing, it is read to its end, and what is in the store is what is
/// given.
pub(crate) fn chorus(bytes: &[u8]) {
    let whole = reading(&mut &*bytes, bytes);
    assert_eq!(reading(&mut Slow(bytes), bytes), whole, "read byte by byte");
}

/// A PDF: nothing breaks its reader, what comes out is an invoice within the limits, and bytes in front change nothing.
pub(crate) fn facturx(bytes: &[u8]) {
    let found = embedded(bytes);
    if bytes.starts_with(b"%PDF-") {
        assert_eq!(embedded(&[b"in front\n", bytes].concat()), found, "bytes in front");
    }
}

fn reading(input: &mut dyn Read, bytes: &[u8]) -> Option<String> {
    let root = sniff(&mut &*bytes).ok()??;
    let mut store = Bodies::new();
    let decoded = decoder::decode(input, &root, &mut store, &mut Budget::new(LIMITS));
    if let Err(Error::Refused(why)) = &decoded {
        one_line(why);
    }
    let Reading { role, values, attachments, missing, warnings, .. } = decoded.ok()?;
    assert_eq!(input.read(&mut [0]).ok(), Some(0), "it is read to its end");
    assert_eq!(store.len(), attachments.len(), "what is not given is left in the store");
    warnings.iter().for_each(one_line);
    let mut told = format!("{role:?} {:?} {missing:?} {warnings:?}", values.into_json());
    for file in &attachments {
        assert!(!file.name.is_empty());
        assert_eq!(fs::metadata(&file.body.path).unwrap().len(), file.body.size);
        let content = fs::read(&file.body.path).unwrap();
        write!(told, " {:?} {:?} {} {content:?}", file.name, file.role, file.readable).unwrap();
    }
    Some(told)
}

fn embedded(bytes: &[u8]) -> Option<(String, Vec<u8>)> {
    let (mut input, mut store) = (Bodies::new(), Bodies::new());
    let mut file = input.create().unwrap();
    file.write_all(bytes).unwrap();
    let file = file.finish().unwrap();
    let found = pdf::embedded(&file.path, &mut store, &mut Budget::new(LIMITS)).ok().flatten();
    assert_eq!(store.len(), usize::from(found.is_some()), "what is not given is left in the store");
    let found = found?;
    assert!((1..=LIMITS.max_unpacked).contains(&found.body.size));
    assert!(found.name.to_lowercase().ends_with(".xml"), "{:?}", found.name);
    Some((found.name, fs::read(&found.body.path).unwrap()))
}

/// One byte at a time.
struct Slow<'a>(&'a [u8]);

impl Read for Slow<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let most = buf.len().min(1);
        self.0.read(&mut buf[..most])
    }
}

const LIMITS: Limits = Limits { max_unpacked: 1 << 20, max_entries: 100, max_ratio: 300, max_depth: 8 };
