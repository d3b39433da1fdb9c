//! Pieces inside a document: base64 of gzip (PES, XSD `Class_PJ`), of a ZIP with one file (Chorus Pro), or of the file.
//!
//! Not the decoder of mails, which saves what it can: a piece is a supporting document of an accountant, so it comes out
//! as it was sent or it is reported. What it is packed in is told by its first bytes, because senders differ from what
//! the schema says. Everything is a stream; only a ZIP, whose directory stands at its end, waits in the store meanwhile.

mod base64;

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};

use flate2::bufread::GzDecoder;
use zip::ZipReadOptions;
use zip::read::{Config, ZipFileEntry};
use zip::result::ZipError;
use zip::unstable::read::ZipIterable;

use self::base64::{Base64, Foreign};
use super::Error;
use super::limits::{Budget, Flow};
use super::store::{Body, Store};
use crate::text;
use crate::text::Text;

/// What a piece turned out to be.
#[derive(Debug)]
pub enum Unpacked {
    /// Its bytes.
    Body(Body),
    /// It cannot be decoded, and why; nothing of it is left in the store.
    Damaged(Text),
    /// There is nothing in it.
    Empty,
}

/// Decodes base64, wrapped or not, and unpacks one level of gzip or of a ZIP with one file. A ZIP with several files, or
/// one that is an office document, is the piece itself.
///
/// # Errors
/// [`Error::Refused`] for a limit, [`Error::Read`] for `text`, [`Error::Store`] for `store`.
pub fn unpack(text: &mut dyn Read, store: &mut dyn Store, budget: &mut Budget) -> Result<Unpacked, Error> {
    let decoded = Cell::new(0);
    let mut piece = Base64::new(text, &decoded);
    let result = open(&mut piece, &decoded, store, budget);
    // whatever the decompressor makes of it
    if let Some(error) = piece.take_failure() {
        if let Ok(Some(body)) = &result {
            store.discard(body);
        }
        return Err(error);
    }
    match result {
        Ok(Some(body)) => Ok(Unpacked::Body(body)),
        Ok(None) => Ok(Unpacked::Empty),
        Err(Trouble::Damage(why)) => Ok(Unpacked::Damaged(why)),
        Err(Trouble::Error(error)) => Err(error),
    }
}

enum Trouble {
    Damage(Text),
    Error(Error),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

fn open(
    piece: &mut Base64<'_>,
    decoded: &Cell<u64>,
    store: &mut dyn Store,
    budget: &mut Budget,
) -> Result<Option<Body>, Trouble> {
    let mut out = Out { store, budget, flow: Flow::default(), packed: decoded };
    match piece.peek(4).map_err(|error| damage(&error))? {
        [] => Ok(None),
        [0x1f, 0x8b, ..] => gunzip(piece, &mut out).map(Some),
        [b'P', b'K', 3, 4] => unzip(piece, &mut out).map(Some),
        _ => out.save(piece).map(Some),
    }
}

/// RFC 1952: members one after another are one file. Zeros and other bytes behind the last one are padding.
fn gunzip(piece: &mut Base64<'_>, out: &mut Out<'_>) -> Result<Body, Trouble> {
    let mut writer = out.store.create().map_err(Error::Store)?;
    loop {
        out.copy(&mut GzDecoder::new(&mut *piece), &mut writer)?;
        if piece.peek(2).map_err(|error| damage(&error))? != [0x1f, 0x8b] {
            break;
        }
    }
    io::copy(piece, &mut io::sink()).map_err(|error| damage(&error))?;
    Ok(writer.finish().map_err(Error::Store)?)
}

fn unzip(piece: &mut Base64<'_>, out: &mut Out<'_>) -> Result<Body, Trouble> {
    let archive = out.save(piece)?;
    let result = only_entry(&archive, out);
    if !matches!(result, Ok(None)) {
        out.store.discard(&archive);
    }
    Ok(result?.unwrap_or(archive))
}

/// The one regular file of a ZIP; `None` where it holds several, or is a document in itself.
fn only_entry(archive: &Body, out: &mut Out<'_>) -> Result<Option<Body>, Trouble> {
    let file = File::open(&archive.path).map_err(Error::Store)?;
    let mut zip = ZipIterable::try_new(BufReader::new(file), Config::default()).map_err(|error| zip_damage(&error))?;
    let files = zip.files().map_err(|error| zip_damage(&error))?;
    let mut only: Option<ZipFileEntry<'_>> = None;
    for entry in files.by_ref() {
        let entry = entry.map_err(|error| zip_damage(&error))?;
        if is_document(entry.name_raw()) {
            return Ok(None);
        }
        if entry.is_dir() || is_junk(entry.name_raw()) {
            continue;
        }
        if only.replace(entry).is_some() {
            return Ok(None);
        }
    }
    let Some(entry) = only else {
        return Err(Trouble::Damage(text!("its ZIP holds no file", "son ZIP ne contient aucun fichier")));
    };
    let entry = entry.with_reader(files.reader_mut(), ZipReadOptions::new()).map_err(|error| zip_damage(&error))?;
    let size = Cell::new(archive.size);
    let mut out = Out { store: &mut *out.store, budget: &mut *out.budget, flow: Flow::default(), packed: &size };
    out.save(&mut { entry }).map(Some)
}

/// First or early entries of OOXML (ECMA-376 part 2), `OpenDocument` (ODF 1.2 part 3) and jars.
fn is_document(name: &[u8]) -> bool {
    [b"[Content_Types].xml".as_slice(), b"mimetype", b"META-INF/"].iter().any(|first| name.starts_with(first))
}

/// What macOS adds.
fn is_junk(name: &[u8]) -> bool {
    name.starts_with(b"__MACOSX/") || name.ends_with(b".DS_Store")
}

/// Where a piece is written to, and what it may grow to.
struct Out<'a> {
    store: &'a mut dyn Store,
    budget: &'a mut Budget,
    flow: Flow,
    /// Bytes that have been read of what is unpacked.
    packed: &'a Cell<u64>,
}

impl Out<'_> {
    fn save(&mut self, input: &mut dyn Read) -> Result<Body, Trouble> {
        let mut writer = self.store.create().map_err(Error::Store)?;
        self.copy(input, &mut writer)?;
        Ok(writer.finish().map_err(Error::Store)?)
    }

    fn copy(&mut self, input: &mut dyn Read, writer: &mut dyn Write) -> Result<(), Trouble> {
        let mut buffer = vec![0; BUFFER];
        loop {
            let count = match input.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(damage(&error)),
            };
            self.budget.unpack(&mut self.flow, self.packed.get(), count as u64)?;
            writer.write_all(&buffer[..count]).map_err(Error::Store)?;
        }
    }
}

fn damage(error: &io::Error) -> Trouble {
    let is_foreign = error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<Foreign>);
    Trouble::Damage(match error.kind() {
        _ if is_foreign => text!("it is not base64", "ce n'est pas du base64"),
        io::ErrorKind::UnexpectedEof => text!("it is cut short", "il est tronqué"),
        _ => text!("its compressed content is damaged ({error})", "son contenu compressé est abîmé ({error})"),
    })
}

fn zip_damage(error: &ZipError) -> Trouble {
    Trouble::Damage(text!("its ZIP cannot be read ({error})", "son ZIP est illisible ({error})"))
}

/// Bytes that are unpacked at a time.
const BUFFER: usize = 64 << 10;

#[cfg(test)]
mod tests;
