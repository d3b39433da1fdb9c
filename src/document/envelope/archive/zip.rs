//! ZIP: the entries of the central directory, one at a time.
//!
//! Not `ZipArchive`, which keys entries by their names and so loses all but one of equal ones, and holds the whole
//! directory in memory.

use std::borrow::Cow;
use std::io::{BufReader, Read, Seek};

use zip::ZipReadOptions;
use zip::read::{Config, ZipFileEntry};
use zip::result::ZipError;
use zip::unstable::read::ZipIterable;

use super::names::{Entry, decoded, kept, shown};
use super::tally::{Packed, Tally};
use super::{Each, Trouble, Walked, broken, drain};
use crate::text;

/// Hands every regular file to `each`, its checksum verified.
pub(super) fn walk<R: Read + Seek>(
    source: Packed<'_, '_, R>,
    tally: &Tally<'_>,
    walked: &mut Walked,
    each: Each<'_>,
) -> Result<(), Trouble> {
    let mut archive =
        ZipIterable::try_new(BufReader::with_capacity(BUFFER, source), Config::default()).map_err(trouble)?;
    let files = archive.files().map_err(trouble)?;
    while let Some(entry) = files.next() {
        let entry = entry.map_err(trouble)?;
        tally.entry()?;
        let path = path(&entry);
        if entry.is_dir() {
            continue;
        }
        let Some(name) = kept(&path, walked) else { continue };
        if !is_regular(entry.unix_mode()) {
            let shown = shown(&path);
            walked.warn(text!(
                "{shown} in the archive is a link or a device: skipped",
                "{shown} dans l'archive est un lien ou un périphérique : ignoré"
            ));
            continue;
        }
        if entry.encrypted() {
            return Err(encrypted(&shown(&path)));
        }
        let file = entry.with_reader(files.reader_mut(), ZipReadOptions::new()).map_err(trouble)?;
        let mut content = tally.unpacked(file);
        each(Entry { name, content: &mut content })?;
        drain(&mut content)?;
    }
    Ok(())
}

/// Whether a ZIP that begins with `head` is a document in itself (OOXML, `OpenDocument`, EPUB, `ASiC`, a jar), told by its
/// first entry.
pub(super) fn is_office(head: &[u8]) -> bool {
    let length = head.get(26..28).map_or(0, |bytes| usize::from(u16::from_le_bytes([bytes[0], bytes[1]])));
    let name = head.get(30..30 + length).unwrap_or_default();
    OFFICE.iter().any(|first| name.starts_with(first))
}

/// The name as it was meant: marked as UTF-8, or UTF-8 without the mark (macOS), else code page 437.
fn path<'a>(entry: &'a ZipFileEntry<'_>) -> Cow<'a, str> {
    let raw = entry.name_raw();
    match (std::str::from_utf8(raw), entry.name()) {
        (Ok(name), _) => Cow::Borrowed(name),
        (Err(_), Ok(name)) => name,
        (Err(_), Err(_)) => decoded(raw),
    }
}

/// Only the mode tells links and devices; many programs write none.
fn is_regular(mode: Option<u32>) -> bool {
    mode.is_none_or(|mode| matches!(mode & 0o170_000, 0 | 0o100_000))
}

fn encrypted(path: &str) -> Trouble {
    Trouble::Locked(text!(
        "{path} in the ZIP is encrypted: it has to be dropped without a password",
        "{path} dans le ZIP est chiffré : il doit être déposé sans mot de passe"
    ))
}

fn trouble(error: ZipError) -> Trouble {
    match error {
        ZipError::UnsupportedArchive(_) | ZipError::CompressionMethodNotSupported(_) => Trouble::Locked(text!(
            "the ZIP cannot be read ({error}): a ZIP in one part with the methods store or deflate is expected",
            "le ZIP est illisible ({error}) : un ZIP d'un seul volume, aux méthodes store ou deflate, est attendu"
        )),
        ZipError::Io(error) => broken(&error),
        other => broken(&other),
    }
}

/// First entries of what is a document in itself (ECMA-376 part 2, ODF 1.2 part 3, JAR).
const OFFICE: [&[u8]; 6] = [b"[Content_Types].xml", b"mimetype", b"META-INF/", b"_rels/.rels", b"docProps/", b"word/"];
/// Bytes read ahead.
const BUFFER: usize = 8 << 10;
