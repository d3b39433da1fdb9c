//! Signed S/MIME whose content lies inside the signature (RFC 8551, 3.5.2): takes the content out of the CMS
//! `SignedData` (RFC 5652, 5), as a stream.
//!
//! Not a verifier: whoever wants the proof keeps the message. A reader of BER rather than DER, because Outlook and
//! `openssl cms -stream` write indefinite lengths and the content in chunks. What is encrypted, compressed or only a
//! list of certificates has no content to take out.

use std::io::{self, Read, SeekFrom};

use super::container::{Flaw, Source};
use super::header::split_field;
use crate::text;

/// Whether `source` is signed data around a MIME entity; then it stands at the content, for [`Octets::new`].
pub(super) fn is_signed(source: &mut dyn Source) -> Result<bool, Flaw> {
    let Some(start) = content(source)? else { return Ok(false) };
    let mut octets = Octets::new(&mut *source);
    let mut first = Vec::new();
    octets.by_ref().take(FIRST_LINE).read_to_end(&mut first)?;
    // the whole of it has to be there before anything of it is told
    io::copy(&mut octets, &mut io::sink())?;
    source.seek(SeekFrom::Start(start))?;
    Ok(is_entity(&first))
}

/// Whether content begins as a MIME entity does: with a header field, or the blank line that ends an empty header.
fn is_entity(content: &[u8]) -> bool {
    let line = content.split(|byte| *byte == b'\n').next().unwrap_or_default();
    line.trim_ascii().is_empty() || split_field(line).is_some()
}

/// Reads up to the octet string with the content; `None` when there is none.
fn content(source: &mut dyn Source) -> Result<Option<u64>, Flaw> {
    open(source, SEQUENCE)?;
    if object_identifier(source)? != SIGNED_DATA {
        return Ok(None);
    }
    open(source, EXPLICIT)?;
    open(source, SEQUENCE)?;
    skip(source)?; // version
    skip(source)?; // digestAlgorithms
    open(source, SEQUENCE)?; // encapContentInfo
    if object_identifier(source)? != DATA {
        return Ok(None);
    }
    // a detached signature ends here
    let Some(EXPLICIT) = source.fill_buf()?.first().copied() else { return Ok(None) };
    open(source, EXPLICIT)?;
    Ok(Some(source.stream_position()?))
}

/// A tag and its length; `None`: up to an end mark.
#[derive(Clone, Copy)]
struct Header {
    tag: u8,
    length: Option<u64>,
}

fn header(source: &mut dyn Read) -> io::Result<Header> {
    let tag = byte(source)?;
    let length = match byte(source)? {
        0x80 => None,
        short @ 0..0x80 => Some(u64::from(short)),
        long @ 0x81..=0x88 => {
            let mut length = 0;
            for _ in 0x80..long {
                length = length << 8 | u64::from(byte(source)?);
            }
            Some(length)
        }
        _ => return Err(broken()),
    };
    // no tag of CMS has more than one byte; only what is made of parts may end at a mark
    let is_known = tag & 0x1f != 0x1f && (length.is_some() || tag & CONSTRUCTED != 0);
    if is_known { Ok(Header { tag, length }) } else { Err(broken()) }
}

fn byte(source: &mut dyn Read) -> io::Result<u8> {
    let mut byte = [0];
    source.read_exact(&mut byte).map(|()| byte[0])
}

fn open(source: &mut dyn Source, tag: u8) -> Result<(), Flaw> {
    if header(source)?.tag == tag { Ok(()) } else { Err(broken().into()) }
}

fn object_identifier(source: &mut dyn Source) -> Result<Vec<u8>, Flaw> {
    match header(source)? {
        Header { tag: OBJECT_IDENTIFIER, length: Some(length @ 0..=32) } => {
            let mut value = Vec::new();
            source.take(length).read_to_end(&mut value)?;
            Ok(value)
        }
        _ => Err(broken().into()),
    }
}

/// Passes over one value, whatever is inside.
fn skip(source: &mut dyn Source) -> Result<(), Flaw> {
    let mut open_ends = 0;
    loop {
        match header(source)? {
            Header { tag: 0, length: Some(0) } if open_ends > 0 => open_ends -= 1,
            Header { length: Some(length), .. } => drop(io::copy(&mut source.take(length), &mut io::sink())?),
            Header { length: None, .. } => open_ends += 1,
        }
        if open_ends == 0 {
            return Ok(());
        }
    }
}

/// The bytes of an octet string, in one piece or in chunks, chunks within chunks included.
pub(super) struct Octets<'a> {
    source: &'a mut dyn Source,
    /// The strings that are open around the chunk and where they end, `None`: at a mark.
    around: Vec<Option<u64>>,
    /// Bytes that were read.
    at: u64,
    /// Bytes that are left of the chunk.
    chunk: u64,
    state: Reading,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    Begin,
    Inside,
    Over,
}

impl<'a> Octets<'a> {
    pub(super) fn new(source: &'a mut dyn Source) -> Self {
        Self { source, around: Vec::new(), at: 0, chunk: 0, state: Reading::Begin }
    }

    /// Goes on to the next chunk that is not empty, or to the end.
    fn advance(&mut self) -> io::Result<()> {
        while self.chunk == 0 && self.state != Reading::Over {
            while self.around.last() == Some(&Some(self.at)) {
                self.around.pop();
            }
            if self.state == Reading::Inside && self.around.is_empty() {
                self.state = Reading::Over;
                return Ok(());
            }
            self.state = Reading::Inside;
            self.next_header()?;
        }
        Ok(())
    }

    fn next_header(&mut self) -> io::Result<()> {
        let mut counted = Counted { source: self.source, count: 0 };
        let Header { tag, length } = header(&mut counted)?;
        self.at += counted.count;
        let end = length.map(|length| self.at.saturating_add(length));
        // no string reaches beyond one that it lies in
        let is_inside = self.around.iter().flatten().all(|outer| end.unwrap_or(self.at) <= *outer);
        match (tag, length) {
            _ if !is_inside => return Err(broken()),
            (0, Some(0)) if self.around.last() == Some(&None) => drop(self.around.pop()),
            (OCTET_STRING, Some(length)) => self.chunk = length,
            (CHUNKS, _) if self.around.len() < DEPTH => self.around.push(end),
            _ => return Err(broken()),
        }
        Ok(())
    }
}

impl Read for Octets<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.advance()?;
        if self.chunk == 0 || buffer.is_empty() {
            return Ok(0);
        }
        let room = buffer.len().min(usize::try_from(self.chunk).unwrap_or(usize::MAX));
        let count = self.source.read(&mut buffer[..room])?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.chunk -= count as u64;
        self.at += count as u64;
        Ok(count)
    }
}

/// Counts what is read.
struct Counted<'a> {
    source: &'a mut dyn Source,
    count: u64,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.count += count as u64;
        Ok(count)
    }
}

fn broken() -> io::Error {
    let why = text!("it is no signed data as CMS defines it", "ce ne sont pas des données signées au sens de CMS");
    Flaw::error(why)
}

const CONSTRUCTED: u8 = 0x20;
const SEQUENCE: u8 = 0x30;
const EXPLICIT: u8 = 0xa0;
const OBJECT_IDENTIFIER: u8 = 0x06;
const OCTET_STRING: u8 = 0x04;
const CHUNKS: u8 = OCTET_STRING | CONSTRUCTED;

/// 1.2.840.113549.1.7.2 (RFC 5652, 5.1).
const SIGNED_DATA: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02";
/// 1.2.840.113549.1.7.1 (RFC 5652, 4).
const DATA: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01";

/// Chunks inside each other; nobody writes more than two.
const DEPTH: usize = 8;

/// So many bytes of the content are looked at to see whether it is an entity.
const FIRST_LINE: u64 = 1000;

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    /// A value in BER; of indefinite length when `streamed`.
    fn ber(tag: u8, content: &[u8], streamed: bool) -> Vec<u8> {
        if streamed {
            return [&[tag, 0x80], content, &[0, 0]].concat();
        }
        let length = content.len().to_be_bytes();
        [&[tag, 0x88], length.as_slice(), content].concat()
    }

    fn signed(octets: &[u8], streamed: bool) -> Vec<u8> {
        let info = [ber(OBJECT_IDENTIFIER, DATA, false), ber(EXPLICIT, octets, streamed)].concat();
        let sets = [ber(2, &[1], false), ber(0x31, &ber(SEQUENCE, b"\x05\x00", streamed), streamed)].concat();
        let data = ber(SEQUENCE, &[sets, ber(SEQUENCE, &info, streamed), b"signers".to_vec()].concat(), streamed);
        ber(SEQUENCE, &[ber(OBJECT_IDENTIFIER, SIGNED_DATA, false), ber(EXPLICIT, &data, streamed)].concat(), streamed)
    }

    fn opened(message: &[u8]) -> Result<Option<Vec<u8>>, Flaw> {
        let mut source = Cursor::new(message);
        if !is_signed(&mut source)? {
            return Ok(None);
        }
        let mut content = Vec::new();
        Octets::new(&mut source).read_to_end(&mut content)?;
        Ok(Some(content))
    }

    #[test]
    fn content_in_one_piece_and_in_chunks_comes_out() {
        let entity = b"Content-Type: text/plain\r\n\r\nBonjour";
        let (first, rest) = entity.split_at(9);
        for streamed in [false, true] {
            let one = ber(OCTET_STRING, entity, false);
            assert_eq!(opened(&signed(&one, streamed)).unwrap().as_deref(), Some(entity.as_slice()));
            let chunks = [ber(OCTET_STRING, first, false), ber(OCTET_STRING, b"", false)].concat();
            let inner = ber(CHUNKS, &ber(OCTET_STRING, rest, false), !streamed);
            let chunks = ber(CHUNKS, &[chunks, inner].concat(), streamed);
            assert_eq!(opened(&signed(&chunks, streamed)).unwrap().as_deref(), Some(entity.as_slice()));
        }
    }

    #[test]
    fn what_holds_no_entity_stays_closed() {
        let invoice = signed(&ber(OCTET_STRING, b"<?xml version='1.0'?>", false), false);
        assert_eq!(opened(&invoice).unwrap(), None);
        let mut enveloped = signed(&ber(OCTET_STRING, b"A: b\r\n", false), false);
        let at = enveloped.windows(9).position(|nine| nine == SIGNED_DATA).unwrap();
        enveloped[at + 8] = 3;
        assert_eq!(opened(&enveloped).unwrap(), None);
    }

    #[test]
    fn what_is_cut_is_no_content() {
        let whole = signed(&ber(OCTET_STRING, b"A: b\r\n\r\nBonjour", false), true);
        let at = whole.windows(7).position(|seven| seven == b"Bonjour").unwrap();
        for length in 1..at + 6 {
            assert!(matches!(opened(&whole[..length]), Err(Flaw::Broken(_)) | Ok(None)), "{length}");
        }
        assert!(matches!(opened(b"no BER at all"), Err(Flaw::Broken(_))));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, place in 0usize..60, value: u8) {
            let _ = opened(&bytes);
            let mut near = signed(&ber(CHUNKS, &ber(OCTET_STRING, b"A: b\r\n", false), true), true);
            let place = place % near.len();
            near[place] = value;
            let _ = opened(&near);
        }
    }
}
