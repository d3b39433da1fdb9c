//! The text of a document in UTF-8, whatever its bytes are and whatever its declaration says.
//!
//! Not only what the declaration says: Pastell stores acquits as UTF-8 under an ISO-8859-1 declaration, and other tools
//! write Windows-1252 under a UTF-8 one. So the bytes decide, a chunk of 64 KiB at a time: as long as more of its
//! sequences make sense as UTF-8 than not, over the whole document so far, they are read as such, and what is not UTF-8
//! as the declared code page (Windows-1252 where there is none). A late first accent is judged where it comes; a chunk
//! without accents is not judged at all, which is what a PES of 500 MB mostly consists of.

use std::io::{self, BufRead, Cursor, Read};

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};
use encoding_rs_io::DecodeReaderBytesBuilder;

/// A document's text as a stream of valid UTF-8 that can be looked ahead into.
pub(super) struct Source<'a> {
    input: Box<dyn Read + 'a>,
    /// Read and decoded; consumed up to `at`.
    text: Vec<u8>,
    at: usize,
    /// The beginning of a sequence that goes on in the next chunk.
    held: Vec<u8>,
    ended: bool,
    /// What is not UTF-8.
    page: &'static Encoding,
    /// The declaration names that page.
    declared: bool,
    /// Sequences so far that make sense as UTF-8, and bytes that do not.
    sense: u64,
    nonsense: u64,
    /// Bytes that may be consumed before the reader is stopped.
    fuel: usize,
}

impl<'a> Source<'a> {
    /// Reads the first chunk: a byte order mark or the declaration in it.
    pub(super) fn new(input: &'a mut dyn Read) -> io::Result<Self> {
        let mut first = vec![0; CHUNK];
        let count = fill(input, &mut first)?;
        first.truncate(count);
        let rest = Cursor::new(first.clone()).chain(input);
        let (input, page, declared): (Box<dyn Read + 'a>, _, _) = match encoding(&first) {
            Found::Page(page) => (Box::new(rest), page, true),
            Found::Guess => (Box::new(rest), WINDOWS_1252, false),
            Found::Other(encoding) => {
                let decoder = DecodeReaderBytesBuilder::new().encoding(Some(encoding)).build(rest);
                (Box::new(decoder), WINDOWS_1252, false)
            }
        };
        let mut source = Self {
            input,
            text: Vec::with_capacity(2 * CHUNK),
            at: 0,
            held: Vec::new(),
            ended: false,
            page,
            declared,
            sense: 0,
            nonsense: 0,
            fuel: usize::MAX,
        };
        if source.peek(MARK.len())? == MARK {
            source.at += MARK.len();
        }
        Ok(source)
    }

    /// The next `count` bytes, fewer only at the end.
    pub(super) fn peek(&mut self, count: usize) -> io::Result<&[u8]> {
        while self.text.len() - self.at < count && !self.ended {
            self.more()?;
        }
        let end = self.text.len().min(self.at + count);
        Ok(&self.text[self.at..end])
    }

    /// All has been consumed.
    pub(super) fn is_at_end(&self) -> bool {
        self.ended && self.at == self.text.len()
    }

    /// From now on so many bytes may be consumed; then reading fails, see [`is_spent`](Self::is_spent).
    pub(super) fn refuel(&mut self, bytes: usize) {
        self.fuel = bytes;
    }

    /// Reading failed because all of it was consumed.
    pub(super) fn is_spent(&self) -> bool {
        self.fuel == 0
    }

    fn more(&mut self) -> io::Result<()> {
        self.text.drain(..self.at);
        self.at = 0;
        let start = self.text.len();
        self.text.append(&mut self.held);
        let read_from = self.text.len();
        self.text.resize(start + CHUNK, 0);
        let count = fill(&mut self.input, &mut self.text[read_from..])?;
        self.ended = read_from + count < self.text.len();
        self.text.truncate(read_from + count);
        if self.text[start..].is_ascii() {
            return Ok(());
        }
        if !self.ended {
            let cut = self.text.len() - unfinished(&self.text[start..]);
            self.held = self.text.split_off(cut);
        }
        self.decode(start);
        Ok(())
    }

    /// Decodes the chunk that begins at `start`.
    fn decode(&mut self, start: usize) {
        self.weigh(start);
        let chunk = &self.text[start..];
        let is_utf8 = if self.declared { self.sense > self.nonsense } else { self.sense >= self.nonsense };
        if !is_utf8 {
            let (text, _) = self.page.decode_without_bom_handling(chunk);
            let text = text.into_owned();
            self.text.truncate(start);
            self.text.extend_from_slice(text.as_bytes());
        } else if std::str::from_utf8(chunk).is_err() {
            let text = mixed(chunk, self.page);
            self.text.truncate(start);
            self.text.extend_from_slice(text.as_bytes());
        }
    }

    fn weigh(&mut self, start: usize) {
        for piece in self.text[start..].utf8_chunks() {
            let leads = piece.valid().bytes().filter(|byte| *byte >= 0xc2);
            // É and « one after another are a letter of the phonetic alphabet in UTF-8; of what was converted from an
            // 8-bit page nothing is left but Latin letters, accents that stand alone, and longer sequences
            let counted = leads.filter(|lead| !self.declared || matches!(lead, 0xc2..=0xc5 | 0xcc | 0xcd | 0xe0..));
            self.sense += counted.count() as u64;
            self.nonsense += piece.invalid().len() as u64;
        }
    }
}

impl Read for Source<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buf)?;
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Source<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.fuel == 0 {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        if self.at == self.text.len() && !self.ended {
            self.more()?;
        }
        Ok(&self.text[self.at..])
    }

    fn consume(&mut self, count: usize) {
        self.at += count;
        if self.fuel != usize::MAX {
            self.fuel = self.fuel.saturating_sub(count);
        }
    }
}

enum Found {
    /// An 8-bit page that the declaration names.
    Page(&'static Encoding),
    /// UTF-8, or nothing that helps.
    Guess,
    /// What does not look like ASCII.
    Other(&'static Encoding),
}

/// XML 1.0, appendix F: the mark, the shape of the first character, the declaration.
fn encoding(first: &[u8]) -> Found {
    match first {
        [0xff, 0xfe, ..] | [b'<', 0, ..] => return Found::Other(UTF_16LE),
        [0xfe, 0xff, ..] | [0, b'<', ..] => return Found::Other(UTF_16BE),
        _ => {}
    }
    match declared(first) {
        Some(page) if page.is_single_byte() => Found::Page(page),
        // UTF-16 that can be read as ASCII is none
        Some(other) if ![UTF_8, UTF_16LE, UTF_16BE].contains(&other) => Found::Other(other),
        _ => Found::Guess,
    }
}

fn declared(first: &[u8]) -> Option<&'static Encoding> {
    let first = &first[..first.len().min(DECLARATION)];
    let first = first.strip_prefix(MARK).unwrap_or(first).trim_ascii_start();
    let text = String::from_utf8_lossy(first.strip_prefix(b"<?xml")?);
    let (declaration, _) = text.split_once("?>")?;
    let (_, value) = declaration.split_once("encoding")?;
    let value = value.trim_start().strip_prefix('=')?.trim_start();
    let quote = value.chars().next().filter(|quote| ['"', '\''].contains(quote))?;
    Encoding::for_label(value[1..].split(quote).next()?.as_bytes())
}

/// UTF-8 where it is, `page` where it is not.
fn mixed(bytes: &[u8], page: &'static Encoding) -> String {
    let mut text = String::with_capacity(bytes.len() + bytes.len() / 8);
    for piece in bytes.utf8_chunks() {
        text.push_str(piece.valid());
        text.push_str(&page.decode_without_bom_handling(piece.invalid()).0);
    }
    text
}

/// Bytes at the end that are the beginning of a longer sequence.
fn unfinished(bytes: &[u8]) -> usize {
    let last = &bytes[bytes.len().saturating_sub(3)..];
    for (back, byte) in last.iter().rev().enumerate() {
        let length = match byte {
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            0x80..=0xbf => continue,
            _ => return 0,
        };
        return if length > back + 1 { back + 1 } else { 0 };
    }
    0
}

/// Reads until `buf` is full or the input ends.
fn fill(input: &mut dyn Read, buf: &mut [u8]) -> io::Result<usize> {
    let mut count = 0;
    while count < buf.len() {
        match input.read(&mut buf[count..]) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}

/// Bytes that are judged together.
pub(super) const CHUNK: usize = 64 << 10;
/// Bytes in which a declaration ends.
const DECLARATION: usize = 512;
/// The byte order mark in UTF-8.
const MARK: &[u8] = b"\xef\xbb\xbf";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8]) -> String {
        let mut input = bytes;
        let mut text = String::new();
        Source::new(&mut input).unwrap().read_to_string(&mut text).unwrap();
        text
    }

    fn declaring(encoding: &str, content: &[u8]) -> Vec<u8> {
        [format!("<?xml version=\"1.0\" encoding=\"{encoding}\"?>").as_bytes(), content].concat()
    }

    #[test]
    fn bytes_decide_and_the_declaration_helps() {
        let cases: [(&str, &[u8], &str); 16] = [
            ("UTF-8", "été".as_bytes(), "été"),
            ("ISO-8859-1", b"\xe9t\xe9", "été"),
            ("iso-8859-1", "été".as_bytes(), "été"),
            ("windows-1252", b"\x80 \x93\xe9\x94", "€ “é”"),
            ("windows-1252", "€ été".as_bytes(), "€ été"),
            ("ISO-8859-15", b"\xa4 \xe9", "€ é"),
            ("ISO-8859-15", "€ é".as_bytes(), "€ é"),
            ("UTF-8", b"\xe9t\xe9 \x80", "été €"),
            ("nonsense", b"\xe9t\xe9", "été"),
            ("UTF-16", "été".as_bytes(), "été"),
            ("UTF-8", b"\xc3\xa9t\xc3\xa9 et \xe9", "été et é"),
            // É with a closing guillemet, a no-break space or an apostrophe behind it
            ("ISO-8859-1", b"\xabCAF\xc9\xbb", "«CAFÉ»"),
            ("ISO-8859-1", b"SOCI\xc9T\xc9\xa0: \xabCAF\xc9\xbb", "SOCIÉTÉ\u{a0}: «CAFÉ»"),
            ("windows-1252", b"UNIVERSIT\xc9\x92", "UNIVERSITÉ’"),
            ("ISO-8859-1", "e\u{301}te\u{301}".as_bytes(), "e\u{301}te\u{301}"),
            ("Shift_JIS", b"\x93\xfa", "日"),
        ];
        for (encoding, content, text) in cases {
            let read = read(&declaring(encoding, content));
            assert_eq!(read.split_once("?>").unwrap().1, text, "{encoding} {content:x?}");
        }
        assert_eq!(read("\u{feff}<été>".as_bytes()), "<été>");
        assert_eq!(read(b"<\xe9t\xe9>"), "<été>");
        assert_eq!(read(b" \n<?xml version='1.0' encoding = 'ISO-8859-15' ?>\xa4").pop(), Some('€'));
    }

    #[test]
    fn utf_16_is_read_with_and_without_a_mark() {
        let text = "<?xml version=\"1.0\" encoding=\"UTF-16\"?><a>été €</a>";
        for mark in ["\u{feff}", ""] {
            let units = || mark.encode_utf16().chain(text.encode_utf16());
            assert_eq!(read(&units().flat_map(u16::to_le_bytes).collect::<Vec<_>>()), text);
            assert_eq!(read(&units().flat_map(u16::to_be_bytes).collect::<Vec<_>>()), text);
        }
    }

    #[test]
    fn a_first_accent_far_behind_the_beginning_is_judged_where_it_comes() {
        for (late, text) in [("é".as_bytes(), "é"), (b"\xe9".as_slice(), "é"), (b"\xc9\xbb".as_slice(), "É»")] {
            for pad in [3 * CHUNK, 2 * CHUNK - 38, 2 * CHUNK - 45, CHUNK - 44] {
                let bytes = declaring("ISO-8859-1", &[vec![b'a'; pad].as_slice(), late, &vec![b'b'; CHUNK]].concat());
                let read = read(&bytes);
                assert!(read.ends_with(&format!("a{text}{}", "b".repeat(CHUNK))), "{late:x?} {pad}");
            }
        }
    }

    /// Gives `step` bytes at a time.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(buf.len());
            self.0.read(&mut buf[..count])
        }
    }

    proptest! {
        #[test]
        fn how_it_is_read_changes_nothing_and_it_is_utf_8(
            pad in 0usize..20, bytes: Vec<u8>, step in 1usize..70_000, latin: bool) {
            let encoding = if latin { "ISO-8859-1" } else { "UTF-8" };
            let bytes = declaring(encoding, &[vec![b' '; CHUNK - 60 + pad], bytes].concat());
            let mut slow = Slow(&bytes, step);
            let mut text = String::new();
            Source::new(&mut slow).unwrap().read_to_string(&mut text).unwrap();
            prop_assert_eq!(text, read(&bytes));
        }

        #[test]
        fn utf_8_comes_out_as_it_went_in(text: String, pad in 0usize..9) {
            let text = format!("<{}{text}", " ".repeat(CHUNK - 1 - pad));
            prop_assert_eq!(read(text.as_bytes()), text);
        }
    }
}
