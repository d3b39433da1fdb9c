//! Base64 (RFC 4648, 4) as a stream: blanks are dropped, everything else that is foreign is an error.
//!
//! Not the decoder of mails, which goes on behind damage and decodes byte by byte: here whole chunks go through the
//! base64 crate, which is what the time of a large PES is spent on.

use std::cell::Cell;
use std::io::{self, BufRead, Read};

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::document::envelope::Error;
use crate::document::envelope::xml::read_error;

/// A character that is no base64.
#[derive(Debug, thiserror::Error)]
#[error("not base64")]
pub(super) struct Foreign;

/// Decoded bytes of a text.
pub(super) struct Base64<'a> {
    text: &'a mut dyn Read,
    /// Characters; the first `kept` are the beginning of a group of four.
    chars: Vec<u8>,
    kept: usize,
    /// Bytes, consumed up to `at`.
    bytes: Vec<u8>,
    at: usize,
    /// Padding was read: nothing may follow.
    is_padded: bool,
    ended: bool,
    /// Bytes that have been consumed.
    decoded: &'a Cell<u64>,
    /// Why `text` could not be read.
    failure: Option<Error>,
}

impl<'a> Base64<'a> {
    /// Counts in `decoded` what is consumed.
    pub(super) fn new(text: &'a mut dyn Read, decoded: &'a Cell<u64>) -> Self {
        Self {
            text,
            chars: vec![0; CHARS],
            kept: 0,
            bytes: Vec::with_capacity(CHARS),
            at: 0,
            is_padded: false,
            ended: false,
            decoded,
            failure: None,
        }
    }

    /// The next `count` bytes, fewer only at the end.
    pub(super) fn peek(&mut self, count: usize) -> io::Result<&[u8]> {
        while self.bytes.len() - self.at < count && !self.ended {
            self.more()?;
        }
        let end = self.bytes.len().min(self.at + count);
        Ok(&self.bytes[self.at..end])
    }

    /// The error that reading ended with, when it came from the text.
    pub(super) fn take_failure(&mut self) -> Option<Error> {
        self.failure.take()
    }

    /// Decodes one more chunk.
    fn more(&mut self) -> io::Result<()> {
        self.bytes.drain(..self.at);
        self.at = 0;
        let count = match self.text.read(&mut self.chars[self.kept..]) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(error) => {
                self.failure = Some(read_error(error));
                return Err(io::ErrorKind::Other.into());
            }
        };
        self.ended = count == 0;
        let length = self.kept + without_blanks(&mut self.chars[self.kept..self.kept + count]);
        if self.is_padded && length > 0 {
            return Err(io::Error::other(Foreign));
        }
        let whole = if self.ended { length } else { length / 4 * 4 };
        let start = self.bytes.len();
        self.bytes.resize(start + whole.div_ceil(4) * 3, 0);
        let decoded = ENGINE.decode_slice(&self.chars[..whole], &mut self.bytes[start..]);
        self.bytes.truncate(start + decoded.as_ref().map_or(0, |count| *count));
        decoded.map_err(|_| io::Error::other(Foreign))?;
        self.is_padded = whole > 0 && self.chars[whole - 1] == b'=';
        self.chars.copy_within(whole..length, 0);
        self.kept = length - whole;
        Ok(())
    }
}

impl Read for Base64<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buf)?;
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Base64<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.peek(1)?;
        Ok(&self.bytes[self.at..])
    }

    fn consume(&mut self, count: usize) {
        self.at += count;
        self.decoded.set(self.decoded.get() + count as u64);
    }
}

/// Moves everything but blanks to the front; how much that is.
fn without_blanks(chars: &mut [u8]) -> usize {
    let has_tabs = memchr::memchr2(b'\t', 0x0c, chars).is_some();
    let next = |from: &[u8]| {
        if has_tabs { from.iter().position(u8::is_ascii_whitespace) } else { memchr::memchr3(b'\n', b'\r', b' ', from) }
    };
    let Some(mut to) = next(chars) else { return chars.len() };
    let mut from = to;
    while from < chars.len() {
        if chars[from].is_ascii_whitespace() {
            from += 1;
            continue;
        }
        let end = next(&chars[from..]).map_or(chars.len(), |count| from + count);
        chars.copy_within(from..end, to);
        to += end - from;
        from = end;
    }
    to
}

/// Padding may be missing; bits behind the last byte need not be zero.
const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Characters that are decoded at a time.
const CHARS: usize = 64 << 10;
