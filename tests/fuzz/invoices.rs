//! What must hold for invoices: documents of Chorus Pro, and PDF files with an XML inside.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use pertuis::document::envelope::limits::{Budget, Limits};
use pertuis::document::envelope::store::{Body, BodyWriter, Store};
use pertuis::document::envelope::xml::sniff;
use pertuis::document::envelope::{Error, Reading, chorus as decoder, facturx as pdf};
use pertuis::model::Digest;

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
        told += &format!(" {:?} {:?} {} {:?}", file.name, file.role, file.readable, fs::read(&file.body.path).unwrap());
    }
    Some(told)
}

fn embedded(bytes: &[u8]) -> Option<(String, Vec<u8>)> {
    let mut store = Bodies::new();
    let path = store.folder.join("file.pdf");
    fs::write(&path, bytes).unwrap();
    let found = pdf::embedded(&path, &mut store, &mut Budget::new(LIMITS)).ok().flatten();
    fs::remove_file(&path).unwrap();
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

/// Bodies in a folder of their own.
pub(super) struct Bodies {
    pub(super) folder: PathBuf,
    count: usize,
}

impl Bodies {
    pub(super) fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("pertuis-invoices-{}-{n}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self { folder, count: 0 }
    }

    pub(super) fn len(&self) -> usize {
        fs::read_dir(&self.folder).unwrap().count()
    }
}

impl Drop for Bodies {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Store for Bodies {
    fn create(&mut self) -> io::Result<Box<dyn BodyWriter>> {
        self.count += 1;
        let path = self.folder.join(self.count.to_string());
        Ok(Box::new(Writer { file: Some(File::create(&path)?), path }))
    }

    fn discard(&mut self, body: &Body) {
        fs::remove_file(&body.path).unwrap();
    }
}

struct Writer {
    file: Option<File>,
    path: PathBuf,
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.as_mut().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl BodyWriter for Writer {
    fn finish(mut self: Box<Self>) -> io::Result<Body> {
        self.file = None;
        let bytes = fs::read(&self.path)?;
        Ok(Body { path: self.path.clone(), size: bytes.len() as u64, sha256: Digest::of(&bytes) })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if self.file.is_some() {
            let _ = fs::remove_file(Path::new(&self.path));
        }
    }
}

const LIMITS: Limits = Limits { max_unpacked: 1 << 20, max_entries: 100, max_ratio: 300, max_depth: 8 };
