//! Character data, read past quick-xml: pieces of any length, CDATA and references among them, nothing held.
//!
//! Not whole texts: what base64 of 130 MB decodes to is written while it is read.

use std::io::{self, BufRead as _, Read};

use super::{Xml, clean};
use crate::document::envelope::Error;
use crate::text;

/// See [`Xml::body`]; [`read_error`](super::read_error) tells its errors apart.
pub struct BodyText<'x, 'a> {
    xml: &'x mut Xml<'a>,
    /// What is left of a character that did not fit.
    left: Vec<u8>,
}

impl<'x, 'a> BodyText<'x, 'a> {
    pub(super) fn new(xml: &'x mut Xml<'a>) -> Self {
        Self { xml, left: Vec::new() }
    }
}

impl Read for BodyText<'_, '_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        if self.left.is_empty() && !self.xml.is_empty {
            match self.xml.piece().map_err(io::Error::other)? {
                Piece::Bytes(count) => {
                    let count = count.min(buf.len());
                    buf[..count].copy_from_slice(self.xml.peek(count).map_err(io::Error::other)?);
                    self.xml.consume(count);
                    return Ok(count);
                }
                Piece::Char(c) => self.left.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
                Piece::End => return Ok(0),
            }
        }
        let count = self.left.len().min(buf.len());
        buf[..count].copy_from_slice(&self.left[..count]);
        self.left.drain(..count);
        Ok(count)
    }
}

/// What stands next of the character data.
enum Piece {
    /// So many bytes, not consumed yet.
    Bytes(usize),
    /// A reference.
    Char(char),
    /// A tag, or the end of the input.
    End,
}

impl Xml<'_> {
    /// Character data up to the next tag; at most `most` bytes of it are kept.
    pub(super) fn run(&mut self, most: usize) -> Result<String, Error> {
        let mut text = Vec::new();
        loop {
            match self.piece()? {
                Piece::Bytes(count) => {
                    let kept = count.min(most.saturating_sub(text.len()));
                    text.extend_from_slice(self.peek(kept)?);
                    self.consume(count);
                }
                Piece::Char(c) if text.len() < most => {
                    text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                }
                Piece::Char(_) => {}
                Piece::End => break,
            }
        }
        if text.is_empty() {
            return Ok(String::new());
        }
        // cut inside a character
        let valid = text.utf8_chunks().next().map_or("", |chunk| chunk.valid());
        Ok(clean(valid))
    }

    pub(super) fn peek(&mut self, count: usize) -> Result<&[u8], Error> {
        self.reader.get_mut().peek(count).map_err(Error::Read)
    }

    fn consume(&mut self, count: usize) {
        self.reader.stream().consume(count);
    }

    fn piece(&mut self) -> Result<Piece, Error> {
        loop {
            let bytes = self.reader.get_mut().fill_buf().map_err(Error::Read)?;
            if bytes.is_empty() {
                return Ok(Piece::End);
            }
            if self.in_cdata {
                match memchr::memchr(b']', bytes) {
                    None => return Ok(Piece::Bytes(bytes.len())),
                    Some(0) if self.peek(3)? == b"]]>" => {
                        self.consume(3);
                        self.in_cdata = false;
                    }
                    Some(at) => return Ok(Piece::Bytes(at.max(1))),
                }
                continue;
            }
            match memchr::memchr2(b'<', b'&', bytes) {
                None => return Ok(Piece::Bytes(bytes.len())),
                Some(0) if bytes[0] == b'&' => return Ok(Piece::Char(self.reference()?)),
                Some(0) if !self.pass()? => return Ok(Piece::End),
                Some(0) => {}
                Some(at) => return Ok(Piece::Bytes(at)),
            }
        }
    }

    /// Passes a comment or a processing instruction, or enters a CDATA section; `false` in front of a tag.
    fn pass(&mut self) -> Result<bool, Error> {
        let is_inside = !self.path.is_empty();
        let next = self.peek(9)?;
        if next == b"<![CDATA[" && is_inside {
            self.consume(9);
            self.in_cdata = true;
        } else if next.starts_with(b"<!--") {
            self.consume(4);
            self.pass_to(b"-->")?;
        } else if next.starts_with(b"<?") {
            self.consume(2);
            self.pass_to(b"?>")?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    fn pass_to(&mut self, end: &[u8]) -> Result<(), Error> {
        loop {
            let bytes = self.reader.get_mut().fill_buf().map_err(Error::Read)?;
            let (length, found) = (bytes.len(), memchr::memchr(end[0], bytes));
            if length == 0 {
                self.is_cut = true;
                return Err(self.malformed(&text!("it ends inside a comment", "il s'arrête dans un commentaire")));
            }
            self.consume(found.unwrap_or(length));
            if found.is_some() {
                let is_end = self.peek(end.len())? == end;
                self.consume(if is_end { end.len() } else { 1 });
                if is_end {
                    return Ok(());
                }
            }
        }
    }

    /// `&#233;`, `&#xE9;` or one of the five entities of XML.
    fn reference(&mut self) -> Result<char, Error> {
        let next = self.peek(LONGEST_REFERENCE)?;
        let word = next.split(|byte| *byte == b';').next().filter(|word| word.len() < next.len()).unwrap_or_default();
        let (length, found) = (word.len(), std::str::from_utf8(word).ok().and_then(character));
        let Some(c) = found else {
            let cut = next.len() < LONGEST_REFERENCE && !next.contains(&b';') && !next.contains(&b'<');
            self.is_cut |= cut;
            return Err(self.malformed(&text!("an unknown entity", "une entité inconnue")));
        };
        self.consume(length + 1);
        Ok(c)
    }
}

fn character(reference: &str) -> Option<char> {
    let name = reference.strip_prefix('&')?;
    if let Some(number) = name.strip_prefix('#') {
        let code = match number.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16),
            None => number.parse(),
        };
        return code.ok().and_then(char::from_u32);
    }
    match name {
        "lt" => Some('<'),
        "gt" => Some('>'),
        "amp" => Some('&'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => None,
    }
}

/// Bytes in which a reference ends.
const LONGEST_REFERENCE: usize = 16;
