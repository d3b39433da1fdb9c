//! Where the objects of a PDF lie: its cross-reference tables and streams, its object streams, and a search for what they
//! do not lead to (ISO 32000-1, 7.5).
//!
//! The file stays where it is: a table is looked up entry by entry, and what is held in memory at one time is one window,
//! one object stream and the entries of cross-reference streams, each with a limit. So is all work together: a chain of
//! sections or references that has no end runs out of it.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use flate2::read::ZlibDecoder;

use super::coding::{Coding, coding, damage, unpredicted};
use super::syntax::{Dictionary, Lexer, Object};
use crate::document::envelope::Error;

/// An open PDF.
pub(super) struct Pdf {
    file: File,
    /// Offsets count from its `%PDF-`.
    start: u64,
    length: u64,
    sections: Vec<Section>,
    root: Option<u32>,
    /// The object stream that was read last.
    container: Option<(u32, Vec<u8>, u64)>,
    work: Work,
}

/// What may still be done.
struct Work {
    objects: u32,
    scans: u32,
    inflated: usize,
}

/// An object, and where its stream begins if it is one.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) object: Object,
    pub(super) stream: Option<u64>,
}

impl Found {
    pub(super) fn dictionary(&self) -> Option<&Dictionary> {
        match &self.object {
            Object::Dictionary(dictionary) => Some(dictionary),
            _ => None,
        }
    }
}

/// A part of the cross-reference data; the newest comes first.
enum Section {
    /// First object, number of objects, and where the first of their entries of 20 bytes stands.
    Table(Vec<(u64, u64, u64)>),
    /// First object and number of objects; widths of the three fields; all entries.
    Stream { ranges: Ranges, widths: [usize; 3], entries: Vec<u8> },
}

/// First object and number of objects.
type Ranges = Vec<(u64, u64)>;

enum Place {
    Offset(u64),
    Container(u32),
}

impl Pdf {
    /// Reads where its objects lie; `None` for what is no PDF, is encrypted, or has no catalog.
    ///
    /// # Errors
    /// Reading.
    pub(super) fn open(path: &Path) -> Result<Option<Self>, Error> {
        let mut file = File::open(path).map_err(Error::Read)?;
        let length = file.seek(SeekFrom::End(0)).map_err(Error::Read)?;
        let work = Work { objects: MOST_LOOKUPS, scans: MOST_SCANS, inflated: MOST_INFLATED };
        let mut pdf = Self { file, start: 0, length, sections: Vec::new(), root: None, container: None, work };
        let head = pdf.window(0, HEAD)?;
        let Some(start) = find(&head, b"%PDF-") else { return Ok(None) };
        pdf.start = start as u64;
        let is_readable = pdf.read_sections()?;
        if is_readable == Some(false) {
            return Ok(None);
        }
        if pdf.root.is_none() && !pdf.search_root()? {
            return Ok(None);
        }
        Ok(Some(pdf))
    }

    /// The catalog.
    pub(super) fn catalog(&mut self) -> Result<Option<Found>, Error> {
        match self.root {
            Some(root) => self.object(root),
            None => Ok(None),
        }
    }

    /// What an object is or refers to.
    pub(super) fn resolve(&mut self, object: &Object) -> Result<Option<Found>, Error> {
        let mut found = Found { object: object.clone(), stream: None };
        for _ in 0..LONGEST_CHAIN {
            let Object::Reference(number) = found.object else { return Ok(Some(found)) };
            match self.object(number)? {
                Some(next) => found = next,
                None => return Ok(None),
            }
        }
        Ok(None)
    }

    /// The object of a number, wherever it is.
    pub(super) fn object(&mut self, number: u32) -> Result<Option<Found>, Error> {
        if self.work.objects == 0 {
            return Ok(None);
        }
        self.work.objects -= 1;
        let found = match self.place(number)? {
            Some(Place::Offset(offset)) => self.object_at(offset, Some(number))?,
            Some(Place::Container(container)) => self.member(container, number)?,
            None => None,
        };
        match found {
            Some(found) => Ok(Some(found)),
            None => self.search_object(number),
        }
    }

    /// Its bytes as they stand, from `offset` on: not more than `most`.
    fn window(&mut self, offset: u64, most: usize) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        self.raw(offset)?.take(most as u64).read_to_end(&mut bytes).map_err(Error::Read)?;
        Ok(bytes)
    }

    /// The file from `offset` on.
    pub(super) fn raw(&mut self, offset: u64) -> Result<&mut File, Error> {
        // behind the end there is nothing to read, and no offset is an error
        let at = self.start.saturating_add(offset).min(self.length);
        self.file.seek(SeekFrom::Start(at)).map_err(Error::Read)?;
        Ok(&mut self.file)
    }

    /// The object that is written at `offset`, if it is the one that is looked for.
    fn object_at(&mut self, offset: u64, number: Option<u32>) -> Result<Option<Found>, Error> {
        for most in [WINDOW, LARGE_WINDOW] {
            let bytes = self.window(offset, most)?;
            let mut lexer = Lexer::new(&bytes);
            let own = lexer.number();
            let is_it = number.is_none_or(|number| own == Some(u64::from(number)));
            if own.is_none() || !is_it || lexer.number().is_none() || !lexer.word("obj") {
                return Ok(None);
            }
            let Some(object) = lexer.object() else { continue };
            let is_stream = matches!(object, Object::Dictionary(_)) && lexer.word("stream");
            let rest = bytes.get(lexer.at()..).unwrap_or_default();
            let line_end = if rest.starts_with(b"\r\n") {
                2
            } else {
                u64::from(rest.starts_with(b"\n") || rest.starts_with(b"\r"))
            };
            let stream = is_stream.then(|| offset + lexer.at() as u64 + line_end);
            return Ok(Some(Found { object, stream }));
        }
        Ok(None)
    }

    fn place(&mut self, number: u32) -> Result<Option<Place>, Error> {
        let number = u64::from(number);
        for at in 0..self.sections.len() {
            let entry = match &self.sections[at] {
                Section::Stream { ranges, widths, entries } => {
                    let Some(place) = in_stream(ranges, *widths, entries, number) else { continue };
                    return Ok(Some(place));
                }
                Section::Table(ranges) => {
                    let holds =
                        |(first, count, _): &&(u64, u64, u64)| (*first..first.saturating_add(*count)).contains(&number);
                    ranges
                        .iter()
                        .find(holds)
                        .map(|(first, _, at)| at.saturating_add((number - first).saturating_mul(20)))
                }
            };
            let Some(entry) = entry else { continue };
            let entry = self.window(entry, 20)?;
            // a free entry may stand for an object of the stream of a hybrid file
            if entry.get(17) == Some(&b'n')
                && let Some(offset) = Lexer::new(&entry).number()
            {
                return Ok(Some(Place::Offset(offset)));
            }
        }
        Ok(None)
    }

    /// The object of a number in an object stream.
    fn member(&mut self, container: u32, number: u32) -> Result<Option<Found>, Error> {
        if self.container.as_ref().is_none_or(|(own, ..)| *own != container) {
            let Some(Place::Offset(offset)) = self.place(container)? else { return Ok(None) };
            let Some(found) = self.object_at(offset, Some(container))? else { return Ok(None) };
            let Some(first) = found.dictionary().and_then(|own| own.number("First")) else { return Ok(None) };
            let Some(bytes) = self.inflated(&found)? else { return Ok(None) };
            self.container = Some((container, bytes, first));
        }
        let Some((_, bytes, first)) = &self.container else { return Ok(None) };
        Ok(member_of(bytes, *first, number).map(|object| Found { object, stream: None }))
    }

    /// The bytes of a stream that is read as a whole: cross-references and objects.
    fn inflated(&mut self, found: &Found) -> Result<Option<Vec<u8>>, Error> {
        let (Some(dictionary), Some(at)) = (found.dictionary(), found.stream) else { return Ok(None) };
        let most = self.work.inflated.min(LARGEST_STREAM);
        let mut bytes = Vec::new();
        let read = match coding(dictionary) {
            Some(Coding::Deflated) => {
                let file = self.raw(at)?;
                // what is damaged at its end has been read until there
                ZlibDecoder::new(file).take(most as u64 + 1).read_to_end(&mut bytes).or_else(damage)
            }
            Some(Coding::Plain) => {
                let Some(length) = dictionary.number("Length") else { return Ok(None) };
                let file = self.raw(at)?;
                file.take(length.min(most as u64 + 1)).read_to_end(&mut bytes)
            }
            None => return Ok(None),
        };
        read.map_err(Error::Read)?;
        self.work.inflated = self.work.inflated.saturating_sub(bytes.len());
        if bytes.len() > most {
            return Ok(None);
        }
        Ok(Some(unpredicted(dictionary, bytes)))
    }

    /// `Some(false)` for an encrypted file, `None` where the sections cannot be followed to their end.
    fn read_sections(&mut self) -> Result<Option<bool>, Error> {
        let tail_at = self.length.saturating_sub(self.start + TAIL);
        let tail = self.window(tail_at, HEAD.max(usize::try_from(TAIL).unwrap_or(HEAD)))?;
        let Some(word) = find_last(&tail, b"startxref") else { return Ok(None) };
        let mut next = Lexer::new(&tail[word + b"startxref".len()..]).number();
        let mut seen = Vec::new();
        while let Some(at) = next {
            if seen.contains(&at) || seen.len() == MOST_SECTIONS {
                return Ok(None);
            }
            seen.push(at);
            let Some(trailer) = self.section(at)? else { return Ok(None) };
            if trailer.get("Encrypt").is_some() {
                return Ok(Some(false));
            }
            if let (None, Some(Object::Reference(root))) = (self.root, trailer.get("Root")) {
                self.root = Some(*root);
            }
            if let Some(hybrid) = trailer.number("XRefStm") {
                seen.push(hybrid);
                self.section(hybrid)?;
            }
            next = trailer.number("Prev");
        }
        Ok(Some(true))
    }

    /// Reads one section; its trailer.
    fn section(&mut self, at: u64) -> Result<Option<Dictionary>, Error> {
        let start = self.window(at, 64)?;
        let mut lexer = Lexer::new(&start);
        if lexer.word("xref") {
            return self.table(at + lexer.at() as u64);
        }
        let Some(found) = self.object_at(at, None)? else { return Ok(None) };
        let Some(dictionary) = found.dictionary().filter(|own| own.is_named("Type", "XRef")) else { return Ok(None) };
        let Some((ranges, widths)) = layout(dictionary) else { return Ok(None) };
        let Some(entries) = self.inflated(&found)? else { return Ok(None) };
        let trailer = dictionary.clone();
        self.sections.push(Section::Stream { ranges, widths, entries });
        Ok(Some(trailer))
    }

    fn table(&mut self, mut at: u64) -> Result<Option<Dictionary>, Error> {
        let mut ranges = Vec::new();
        while ranges.len() < MOST_RANGES {
            let bytes = self.window(at, 64)?;
            let mut lexer = Lexer::new(&bytes);
            if lexer.word("trailer") {
                let bytes = self.window(at + lexer.at() as u64, LARGE_WINDOW)?;
                self.sections.push(Section::Table(ranges));
                let trailer = Lexer::new(&bytes).object();
                return Ok(trailer.and_then(|own| if let Object::Dictionary(own) = own { Some(own) } else { None }));
            }
            let (Some(first), Some(count)) = (lexer.number(), lexer.number()) else { return Ok(None) };
            lexer.blanks();
            let entries = at + lexer.at() as u64;
            ranges.push((first, count, entries));
            at = entries.saturating_add(count.saturating_mul(20));
        }
        Ok(None)
    }

    /// Takes the last `/Root` of the file, whatever holds it. `false` for none, and for an encrypted file.
    fn search_root(&mut self) -> Result<bool, Error> {
        self.sections.clear();
        let mut root = None;
        let mut is_encrypted = false;
        self.search(b"/Root", &mut |bytes, _| {
            if let Some(Object::Reference(number)) = Lexer::new(bytes.get(5..).unwrap_or_default()).object() {
                root = Some(number);
            }
        })?;
        self.search(b"/Encrypt", &mut |_, _| is_encrypted = true)?;
        self.root = root.filter(|_| !is_encrypted);
        Ok(self.root.is_some())
    }

    /// The last object of this number that is written anywhere.
    fn search_object(&mut self, number: u32) -> Result<Option<Found>, Error> {
        let mut place = None;
        self.search(format!("{number} ").as_bytes(), &mut |bytes, at| {
            let mut lexer = Lexer::new(bytes);
            if lexer.number().is_some() && lexer.number().is_some() && lexer.word("obj") {
                place = Some(at);
            }
        })?;
        match place {
            Some(at) => self.object_at(at, Some(number)),
            None => Ok(None),
        }
    }

    /// Calls `hit` with the bytes at each place of `needle` that no digit precedes, and the offset.
    fn search(&mut self, needle: &[u8], hit: &mut dyn FnMut(&[u8], u64)) -> Result<(), Error> {
        if self.work.scans == 0 || self.length > LARGEST_SEARCHED {
            return Ok(());
        }
        self.work.scans -= 1;
        let mut offset = 0;
        loop {
            let bytes = self.window(offset, LARGE_WINDOW)?;
            let is_last = bytes.len() < LARGE_WINDOW;
            // what begins in the overlap is found in the next window, whole
            let end = if is_last { bytes.len() } else { bytes.len() - OVERLAP };
            let mut from = 0;
            while let Some(place) = bytes.get(from..).and_then(|rest| find(rest, needle)) {
                let at = from + place;
                if at >= end {
                    break;
                }
                if at == 0 || !bytes[at - 1].is_ascii_digit() {
                    hit(&bytes[at..], offset + at as u64);
                }
                from = at + 1;
            }
            if is_last {
                return Ok(());
            }
            offset += end as u64;
        }
    }
}

/// Ranges and widths of a cross-reference stream.
fn layout(dictionary: &Dictionary) -> Option<(Ranges, [usize; 3])> {
    let numbers = |key: &str| match dictionary.get(key) {
        Some(Object::Array(all)) => {
            let number = |own: &Object| if let Object::Number(own) = own { u64::try_from(*own).ok() } else { None };
            all.iter().map(number).collect::<Option<Vec<u64>>>()
        }
        _ => None,
    };
    let widths: Vec<usize> =
        numbers("W")?.into_iter().map(|width| usize::try_from(width).unwrap_or(usize::MAX)).collect();
    let widths: [usize; 3] = widths.try_into().ok()?;
    if widths.iter().any(|width| *width > 8) || widths[1] == 0 {
        return None;
    }
    let ranges = match numbers("Index") {
        Some(index) => index.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect(),
        None => vec![(0, dictionary.number("Size")?)],
    };
    Some((ranges, widths))
}

fn in_stream(ranges: &[(u64, u64)], widths: [usize; 3], entries: &[u8], number: u64) -> Option<Place> {
    let mut before = 0_u64;
    for (first, count) in ranges {
        if (*first..first.saturating_add(*count)).contains(&number) {
            let size: usize = widths.iter().sum();
            let at = usize::try_from(before.saturating_add(number - first)).ok()?.checked_mul(size)?;
            let entry = entries.get(at..at.checked_add(size)?)?;
            let (kind, rest) = entry.split_at(widths[0]);
            let field = rest[..widths[1]].iter().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
            let kind =
                if kind.is_empty() { 1 } else { kind.iter().fold(0_u64, |value, byte| value << 8 | u64::from(*byte)) };
            return match kind {
                1 => Some(Place::Offset(field)),
                2 => u32::try_from(field).ok().map(Place::Container),
                _ => None,
            };
        }
        before = before.saturating_add(*count);
    }
    None
}

/// The object of a number among those of an object stream: pairs of number and offset, then the objects.
fn member_of(bytes: &[u8], first: u64, number: u32) -> Option<Object> {
    let first = usize::try_from(first).ok()?;
    let mut pairs = Lexer::new(bytes.get(..first)?);
    while let (Some(own), Some(offset)) = (pairs.number(), pairs.number()) {
        if own == u64::from(number) {
            let at = first.checked_add(usize::try_from(offset).ok()?)?;
            return Lexer::new(bytes.get(at..)?).object();
        }
    }
    None
}

fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, needle)
}

fn find_last(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    memchr::memmem::rfind(bytes, needle)
}

/// Where `%PDF-` may begin (the readers of the field look as far).
const HEAD: usize = 1024;
/// Where `startxref` stands before the end, with what some append.
const TAIL: u64 = 2048;
/// What most objects fit in, and what an object must fit in.
const WINDOW: usize = 4 << 10;
const LARGE_WINDOW: usize = 256 << 10;
const OVERLAP: usize = 64;
/// References to references.
const LONGEST_CHAIN: usize = 8;
/// Sections behind each other: one for each time the file was saved.
const MOST_SECTIONS: usize = 64;
const MOST_RANGES: usize = 4096;
const MOST_LOOKUPS: u32 = 1_000;
const MOST_SCANS: u32 = 16;
/// Of one stream, and of all together.
const LARGEST_STREAM: usize = 8 << 20;
const MOST_INFLATED: usize = 64 << 20;
/// A file in which objects are searched where its tables lead nowhere.
const LARGEST_SEARCHED: u64 = 64 << 20;
