//! A message cut into lines, and lines that are too long into pieces; the cuts never depend on how it was read.
//!
//! The hot path of every mail: a line that lies whole in the reader's buffer is handed out where it lies.

use std::io::{self, BufRead};

/// The lines of a reader.
pub(super) struct Lines<R> {
    input: R,
    /// A line that lies in several buffers, put together.
    joined: Vec<u8>,
    /// A CR at the end of a full piece: it may be half of a line break.
    carried: Option<u8>,
    at_start: bool,
    /// Bytes of the buffer that were handed out.
    lent: usize,
}

/// A line, or a part of one.
pub(super) struct Piece<'a> {
    pub(super) bytes: &'a [u8],
    /// It begins a line.
    pub(super) starts_line: bool,
    /// The line goes on in the next piece.
    pub(super) goes_on: bool,
}

impl Piece<'_> {
    pub(super) fn whole_line(&self) -> Option<&[u8]> {
        (self.starts_line && !self.goes_on).then_some(self.bytes)
    }

    /// The content of the piece and the break that ends it, if it ends a line.
    pub(super) fn split_break(&self) -> (&[u8], &'static [u8]) {
        match self.bytes {
            [content @ .., b'\r', b'\n'] => (content, b"\r\n"),
            [content @ .., b'\n'] => (content, b"\n"),
            content => (content, b""),
        }
    }
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, joined: Vec::new(), carried: None, at_start: true, lent: 0 }
    }

    /// The next piece; `None` at the end of the input.
    pub(super) fn next(&mut self) -> io::Result<Option<Piece<'_>>> {
        self.input.consume(std::mem::take(&mut self.lent));
        if self.carried.is_none() {
            let end = line_end(fill(&mut self.input)?);
            if let Some(end) = end.filter(|end| *end <= LINE) {
                self.lent = end;
                let starts_line = std::mem::replace(&mut self.at_start, true);
                // what was filled is still there: nothing was consumed
                let bytes = &self.input.fill_buf()?[..end];
                return Ok(Some(Piece { bytes, starts_line, goes_on: false }));
            }
        }
        self.joined()
    }

    /// A piece that has to be put together.
    fn joined(&mut self) -> io::Result<Option<Piece<'_>>> {
        self.joined.clear();
        self.joined.extend(self.carried.take());
        let mut over = false;
        while !over && self.joined.len() < LINE {
            let available = fill(&mut self.input)?;
            if available.is_empty() {
                break;
            }
            let room = &available[..available.len().min(LINE - self.joined.len())];
            let end = line_end(room);
            over = end.is_some();
            let taken = end.unwrap_or(room.len());
            self.joined.extend_from_slice(&room[..taken]);
            self.input.consume(taken);
        }
        if self.joined.is_empty() {
            return Ok(None);
        }
        let goes_on = !over && self.joined.len() == LINE;
        if goes_on && self.joined.ends_with(b"\r") {
            self.carried = self.joined.pop();
        }
        let starts_line = std::mem::replace(&mut self.at_start, !goes_on);
        Ok(Some(Piece { bytes: &self.joined, starts_line, goes_on }))
    }
}

fn line_end(bytes: &[u8]) -> Option<usize> {
    memchr::memchr(b'\n', bytes).map(|at| at + 1)
}

fn fill(input: &mut impl BufRead) -> io::Result<&[u8]> {
    while let Err(error) = input.fill_buf() {
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    input.fill_buf()
}

/// The longest piece of a line, bytes.
pub(super) const LINE: usize = 64 * 1024;
