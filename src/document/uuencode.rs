//! Files that are uuencoded in the text of a message (POSIX `uuencode`), as old programs and printers still send them.
//!
//! Text only looks like a file when a `begin` line is followed by a line of data, so a sentence that begins with the
//! word stays text. Blanks at the end of a line that mail servers dropped are put back.

use std::io::{self, BufRead, Read};
use std::ops::Range;

use super::header::decode_bytes;
use super::lines::Lines;

/// A stretch of text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Span {
    /// Text around files.
    Text(Range<u64>),
    /// A file.
    File {
        /// What stands behind `begin`, decoded.
        name: String,
        /// Its lines of data.
        lines: Range<u64>,
        /// Its end is missing.
        is_cut: bool,
    },
}

/// Whether a `Content-Transfer-Encoding` is one of the names that this encoding goes by.
pub(super) fn is_encoding(encoding: &str) -> bool {
    ENCODINGS.iter().any(|known| encoding.trim().eq_ignore_ascii_case(known))
}

/// The name in a line `begin MODE NAME`.
pub(super) fn begin(line: &[u8]) -> Option<&[u8]> {
    let rest = line.strip_prefix(b"begin ")?;
    let digits = rest.iter().take_while(|byte| matches!(byte, b'0'..=b'7')).count();
    let name = rest[digits..].strip_prefix(b" ")?.trim_ascii();
    (matches!(digits, 3 | 4) && !name.is_empty() && name.len() <= NAME).then_some(name)
}

/// The files in a text and what stands between them; text of blanks alone is left out unless nothing else is there.
/// At most `most` of them and one more.
pub(super) fn spans(text: impl BufRead, most: usize) -> io::Result<Vec<Span>> {
    let mut scan = Scan { spans: Vec::new(), place: Place::Text, text: 0, has_text: false };
    let (mut lines, mut at) = (Lines::new(text), 0);
    while let Some(piece) = lines.next()? {
        let next = at + piece.bytes.len() as u64;
        scan.line(piece.whole_line().unwrap_or(NO_LINE), at, next);
        at = next;
        if scan.spans.len() > most {
            break;
        }
    }
    scan.end(at);
    Ok(scan.spans)
}

struct Scan {
    spans: Vec<Span>,
    place: Place,
    /// Where the text that was not told yet begins, and whether it is more than blanks.
    text: u64,
    has_text: bool,
}

enum Place {
    Text,
    /// Behind a `begin` line at this place.
    Begun(u64, String),
    /// In a file whose data begin here; whether its last line has come.
    File(u64, String, bool),
}

impl Scan {
    fn line(&mut self, line: &[u8], at: u64, next: u64) {
        let content = without_break(line);
        match std::mem::replace(&mut self.place, Place::Text) {
            Place::Begun(begin, name) if is_data(content) && (size(content) != Some(0) || is_last(content)) => {
                self.tell_text(begin);
                self.place = Place::File(at, name, is_last(content));
            }
            Place::File(start, name, _) if content == b"end" => self.tell_file(start..at, name, false, next),
            Place::File(start, name, is_over) if is_over && content.trim_ascii().is_empty() => {
                self.place = Place::File(start, name, true);
            }
            Place::File(start, name, false) if is_data(content) => {
                self.place = Place::File(start, name, is_last(content));
            }
            Place::File(start, name, is_over) => {
                self.tell_file(start..at, name, !is_over, at);
                self.text_line(content, at);
            }
            Place::Begun(..) => {
                self.has_text = true;
                self.text_line(content, at);
            }
            Place::Text => self.text_line(content, at),
        }
    }

    fn text_line(&mut self, content: &[u8], at: u64) {
        match begin(content) {
            Some(name) => self.place = Place::Begun(at, decode_bytes(name, None)),
            None => self.has_text = self.has_text || !content.trim_ascii().is_empty(),
        }
    }

    fn tell_text(&mut self, end: u64) {
        if self.has_text {
            self.spans.push(Span::Text(self.text..end));
        }
        self.has_text = false;
    }

    fn tell_file(&mut self, lines: Range<u64>, name: String, is_cut: bool, next: u64) {
        self.spans.push(Span::File { name, lines, is_cut });
        self.text = next;
    }

    fn end(&mut self, at: u64) {
        match std::mem::replace(&mut self.place, Place::Text) {
            Place::File(start, name, is_over) => self.tell_file(start..at, name, !is_over, at),
            Place::Begun(..) => self.has_text = true,
            Place::Text => {}
        }
        self.has_text = self.has_text || self.spans.is_empty();
        self.tell_text(at);
    }
}

/// The data of a file, decoded.
pub(super) struct Decoded<R> {
    lines: Lines<R>,
    line: Vec<u8>,
    given: usize,
}

impl<R: BufRead> Decoded<R> {
    pub(super) fn new(lines: R) -> Self {
        Self { lines: Lines::new(lines), line: Vec::new(), given: 0 }
    }
}

impl<R: BufRead> Read for Decoded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut count = 0;
        while count < buffer.len() {
            if self.given == self.line.len() {
                let Some(piece) = self.lines.next()? else { break };
                self.line.clear();
                decode(without_break(piece.bytes), &mut self.line);
                self.given = 0;
                continue;
            }
            let rest = &self.line[self.given..];
            let taken = rest.len().min(buffer.len() - count);
            buffer[count..count + taken].copy_from_slice(&rest[..taken]);
            (self.given, count) = (self.given + taken, count + taken);
        }
        Ok(count)
    }
}

/// The bytes that a line of data announces.
fn size(line: &[u8]) -> Option<usize> {
    line.first().filter(|first| is_code(**first)).map(|first| usize::from(value(*first)))
}

/// Whether a line can be one of data: its characters are, and it is as long as it says. A checksum may follow, and
/// blanks at its end may be missing.
fn is_data(line: &[u8]) -> bool {
    let Some(size) = size(line) else { return line.is_empty() };
    let (shortest, longest) = (1 + (size * 8).div_ceil(6), 1 + size.div_ceil(3) * 4 + 2);
    let may_be_shorter = size == FULL;
    line.iter().all(|byte| is_code(*byte)) && line.len() <= longest && (line.len() >= shortest || may_be_shorter)
}

/// The line of no bytes behind the last one; its blank may be missing.
fn is_last(line: &[u8]) -> bool {
    size(line).unwrap_or(0) == 0
}

fn decode(line: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    let size = size(line).unwrap_or(0);
    let code = |at: usize| u32::from(line.get(at).copied().map_or(0, value));
    for group in 0..size.div_ceil(3) {
        let at = 1 + group * 4;
        let bits = code(at) << 18 | code(at + 1) << 12 | code(at + 2) << 6 | code(at + 3);
        out.extend_from_slice(&bits.to_be_bytes()[1..]);
    }
    out.truncate(start + size);
}

fn is_code(byte: u8) -> bool {
    (b' '..=b'`').contains(&byte)
}

fn value(code: u8) -> u8 {
    code.wrapping_sub(b' ') & 0x3f
}

fn without_break(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

const ENCODINGS: [&str; 4] = ["x-uuencode", "uuencode", "x-uue", "uue"];

/// No name is longer, bytes.
const NAME: usize = 1024;

/// The bytes of a full line.
const FULL: usize = 45;

/// What stands for a piece of a longer line: never data, never blank.
const NO_LINE: &[u8] = b"\x7f";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encode(data: &[u8], zero: char) -> String {
        let code = |value: u8| match value & 0x3f {
            0 => zero,
            bits => char::from(bits + 32),
        };
        let mut text = String::new();
        for line in data.chunks(45) {
            text.push(code(u8::try_from(line.len()).unwrap()));
            for three in line.chunks(3) {
                let byte = |at: usize| three.get(at).copied().unwrap_or(0);
                let (a, b, c) = (byte(0), byte(1), byte(2));
                text.extend([code(a >> 2), code(a << 4 | b >> 4), code(b << 2 | c >> 6), code(c)]);
            }
            text.push('\n');
        }
        format!("{text}{zero}\nend\n")
    }

    fn files(text: &str) -> Vec<(String, Vec<u8>, bool)> {
        let spans = spans(text.as_bytes(), 100).unwrap().into_iter();
        let file = |span: Span| match span {
            Span::Text(_) => None,
            Span::File { name, lines, is_cut } => {
                let mut data = Vec::new();
                let lines =
                    &text.as_bytes()[usize::try_from(lines.start).unwrap()..usize::try_from(lines.end).unwrap()];
                Decoded::new(lines).read_to_end(&mut data).unwrap();
                Some((name, data, is_cut))
            }
        };
        spans.filter_map(file).collect()
    }

    #[test]
    fn files_and_text_take_turns() {
        let text = "Bonjour\n\nbegin 644 a.txt\n#86)C\n`\nend\nSuite\nbegin 0600 b c.txt\n!80``\n`\nend\n\n";
        let found = spans(text.as_bytes(), 100).unwrap();
        assert!(matches!(found[..], [Span::Text(_), Span::File { .. }, Span::Text(_), Span::File { .. }]), "{found:?}");
        assert_eq!(files(text), [("a.txt".into(), b"abc".to_vec(), false), ("b c.txt".into(), b"a".to_vec(), false)]);
    }

    #[test]
    fn a_sentence_is_no_file() {
        for text in ["begin 644 reasons to stay\nFirst of all, none.\n", "begin 99 a\n#86)C\n", "begin 644 a\n", ""] {
            assert_eq!(files(text), [], "{text}");
            assert_eq!(spans(text.as_bytes(), 9).unwrap(), [Span::Text(0..text.len() as u64)]);
        }
    }

    #[test]
    fn a_file_without_its_end_is_cut() {
        assert_eq!(files("begin 644 a\n#86)C\n"), [("a".into(), b"abc".to_vec(), true)]);
        assert_eq!(files("begin 644 a\n#86)C\nAdvertisement\n"), [("a".into(), b"abc".to_vec(), true)]);
        assert_eq!(files("begin 644 a\n#86)C\n`\n"), [("a".into(), b"abc".to_vec(), false)]);
        assert_eq!(files("begin 644 a\n#86)C\nend\n"), [("a".into(), b"abc".to_vec(), false)]);
    }

    #[test]
    fn an_empty_file_is_one() {
        assert_eq!(files("begin 644 a\n`\nend\n"), [("a".into(), vec![], false)]);
        assert_eq!(files("begin 644 a\n\nend\n"), [("a".into(), vec![], false)]);
    }

    proptest! {
        #[test]
        fn what_was_encoded_comes_out(data: Vec<u8>, blank: bool, trimmed: bool) {
            let text = encode(&data, if blank { ' ' } else { '`' });
            let lines = text.lines().map(|line| if trimmed && line.starts_with('M') { line.trim_end() } else { line });
            let text = format!("begin 644 été.bin\r\n{}\r\n", lines.collect::<Vec<_>>().join("\r\n"));
            prop_assert_eq!(files(&text), [("été.bin".to_owned(), data, false)]);
        }

        #[test]
        fn no_text_makes_it_panic(text in "(begin 644 a|[ -`]{0,70}|end|`|\n){0,20}") {
            files(&text);
        }
    }
}
