//! tar, plain or out of a gzip: regular files alone.

use std::io::{self, Read};

use tar::{Archive, Entry as TarEntry, EntryType};

use super::names::{Entry, decoded, kept, shown};
use super::tally::Tally;
use super::{Each, Trouble, Walked, broken, drain};
use crate::text;

/// Hands every regular file to `each`. `sealed`: what is around it proves where it ends.
pub(super) fn walk(
    source: impl Read,
    sealed: bool,
    tally: &Tally<'_>,
    walked: &mut Walked,
    each: Each<'_>,
) -> Result<(), Trouble> {
    let mut archive = Archive::new(Position { inner: source, at: 0 });
    let mut next = Next::default();
    let mut end = 0;
    for entry in archive.entries().map_err(|error| broken(&error))?.raw(true) {
        let mut entry = entry.map_err(|error| broken(&error))?;
        tally.entry()?;
        end = entry.raw_file_position().saturating_add(entry.size());
        one(&mut entry, &mut next, walked, each)?;
    }
    let mut rest = archive.into_inner();
    drain(&mut rest)?;
    if !sealed && rest.at < end.next_multiple_of(BLOCK as u64).saturating_add(BLOCK as u64) {
        walked.open = Some(text!("the tar has no end", "le tar n'a pas de fin"));
    }
    Ok(())
}

/// Whether `block` is the head of an entry: POSIX.1-1988, "ustar Interchange Format"; the checksum holds in all
/// variants.
pub(super) fn is_header(block: &[u8]) -> bool {
    let Some(digits) = block.get(148..156).filter(|_| block.len() == BLOCK && block[0] != 0) else { return false };
    let digits: String = digits.iter().map(|byte| char::from(*byte)).collect();
    let Ok(sum) = u32::from_str_radix(digits.trim_matches([' ', '\0']), 8) else { return false };
    let blanks = 8 * u32::from(b' ');
    sum == blanks + block[..148].iter().chain(&block[156..]).map(|byte| u32::from(*byte)).sum::<u32>()
}

fn one<R: Read>(
    entry: &mut TarEntry<'_, R>,
    next: &mut Next,
    walked: &mut Walked,
    each: Each<'_>,
) -> Result<(), Trouble> {
    let kind = entry.header().entry_type();
    match kind {
        EntryType::GNULongName => next.name = Some(description(entry, LONGEST_NAME)?),
        EntryType::XHeader => next.pax(&description(entry, LONGEST_PAX)?),
        EntryType::GNULongLink | EntryType::XGlobalHeader => {}
        EntryType::Directory => *next = Next::default(),
        EntryType::Regular | EntryType::Continuous => return regular(entry, std::mem::take(next), walked, each),
        other => {
            let path = std::mem::take(next).name.unwrap_or_else(|| entry.path_bytes().into_owned());
            let shown = shown(&decoded(&path));
            let code = char::from(other.as_byte());
            walked.warn(text!(
                "{shown} in the archive is a link, a device or the like (type {code:?}): skipped",
                "{shown} dans l'archive est un lien, un périphérique ou autre (type {code:?}) : ignoré"
            ));
        }
    }
    Ok(())
}

fn regular<R: Read>(
    entry: &mut TarEntry<'_, R>,
    next: Next,
    walked: &mut Walked,
    each: Each<'_>,
) -> Result<(), Trouble> {
    let bytes = next.name.unwrap_or_else(|| entry.path_bytes().into_owned());
    let path = decoded(&bytes);
    // old archivers mark folders by their names alone
    if path.ends_with('/') {
        return Ok(());
    }
    let Some(name) = kept(&path, walked) else { return Ok(()) };
    if next.odd || next.size.is_some_and(|size| size != entry.size()) {
        let shown = shown(&path);
        return Err(Trouble::Locked(text!(
            "{shown} in the tar is sparse or of a size of its own: a plain tar (`--format=ustar`) is expected",
            "{shown} dans le tar est creux ou d'une taille à part : un tar simple (« --format=ustar ») est attendu"
        )));
    }
    let size = entry.size();
    let mut content = Whole { inner: entry, left: size };
    each(Entry { name, content: &mut content })?;
    drain(&mut content)
}

/// What the entries before a file say about it.
#[derive(Default)]
struct Next {
    name: Option<Vec<u8>>,
    size: Option<u64>,
    odd: bool,
}

impl Next {
    /// POSIX.1-2001, "pax Extended Header": records of `length key=value\n`.
    fn pax(&mut self, records: &[u8]) {
        let mut rest = records;
        while let Some(blank) = rest.iter().position(|byte| *byte == b' ') {
            let length = std::str::from_utf8(&rest[..blank]).ok().and_then(|digits| digits.parse::<usize>().ok());
            let Some(record) = length.filter(|length| *length > blank + 1).and_then(|length| rest.get(..length)) else {
                return;
            };
            rest = &rest[record.len()..];
            let record = &record[blank + 1..];
            let record = record.strip_suffix(b"\n").unwrap_or(record);
            let Some(equals) = record.iter().position(|byte| *byte == b'=') else { continue };
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            match key {
                b"path" => self.name = Some(value.to_vec()),
                b"size" => self.size = std::str::from_utf8(value).ok().and_then(|size| size.parse().ok()),
                _ => self.odd |= key.starts_with(b"GNU.sparse."),
            }
        }
    }
}

/// What stands in an entry that describes the next one.
fn description<R: Read>(entry: &mut TarEntry<'_, R>, longest: u64) -> Result<Vec<u8>, Trouble> {
    let size = entry.size();
    if size > longest {
        return Err(Trouble::Locked(text!(
            "an entry of the tar has a name of {size} bytes, at most {longest} are taken",
            "une entrée du tar a un nom de {size} octets, {longest} au plus sont acceptés"
        )));
    }
    let mut bytes = Vec::new();
    Whole { inner: entry, left: size }.read_to_end(&mut bytes).map_err(|error| broken(&error))?;
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    Ok(bytes)
}

/// The tar crate takes the end of the file for the end of an entry.
struct Whole<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Whole<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.left = self.left.saturating_sub(count as u64);
        if count == 0 && self.left > 0 && !buffer.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ends inside an entry"));
        }
        Ok(count)
    }
}

/// How far a stream has been read.
struct Position<R> {
    inner: R,
    at: u64,
}

impl<R: Read> Read for Position<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.at += count as u64;
        Ok(count)
    }
}

/// Bytes of a block.
pub(super) const BLOCK: usize = 512;
/// Bytes of a GNU long name.
const LONGEST_NAME: u64 = 64 << 10;
/// Bytes of a pax header.
const LONGEST_PAX: u64 = 1 << 20;
