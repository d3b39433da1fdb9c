//! Objects of PDF, read from a bounded piece of a file (ISO 32000-1, 7.3).
//!
//! Lenient where the field is (a missing `endobj`, odd blanks), strict about amounts: depth and number of objects are bounded.

/// An object; numbers are whole ones, all others are as good as null here.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Object {
    /// Null, booleans, fractions.
    Other,
    Number(i64),
    Name(Vec<u8>),
    Text(Vec<u8>),
    Array(Vec<Object>),
    Dictionary(Dictionary),
    /// The number of an object; generations are not looked at, the newest object counts.
    Reference(u32),
}

/// Keys and values.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Dictionary(Vec<(Vec<u8>, Object)>);

impl Dictionary {
    pub(super) fn get(&self, key: &str) -> Option<&Object> {
        self.0.iter().find(|(own, _)| own == key.as_bytes()).map(|(_, value)| value)
    }

    /// A whole number that is written here, not somewhere else.
    pub(super) fn number(&self, key: &str) -> Option<u64> {
        match self.get(key)? {
            Object::Number(number) => u64::try_from(*number).ok(),
            _ => None,
        }
    }

    pub(super) fn is_named(&self, key: &str, name: &str) -> bool {
        matches!(self.get(key), Some(Object::Name(own)) if own == name.as_bytes())
    }
}

/// Reads objects one after the other.
pub(super) struct Lexer<'a> {
    bytes: &'a [u8],
    at: usize,
    objects: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, objects: 0 }
    }

    /// Bytes read so far.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The next object; `None` where none begins, it does not end here, or there are too many.
    pub(super) fn object(&mut self) -> Option<Object> {
        self.nested(0)
    }

    /// Passes over `word`, if it is next.
    pub(super) fn word(&mut self, word: &str) -> bool {
        self.blanks();
        let is_next = self.rest().starts_with(word.as_bytes());
        self.at += if is_next { word.len() } else { 0 };
        is_next
    }

    /// A whole number without sign.
    pub(super) fn number(&mut self) -> Option<u64> {
        self.blanks();
        let rest = self.rest();
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let number = std::str::from_utf8(rest.get(..digits)?).ok()?.parse().ok()?;
        self.at += digits;
        Some(number)
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    pub(super) fn blanks(&mut self) {
        while let Some(byte) = self.peek() {
            if byte == b'%' {
                self.at += self.rest().iter().take_while(|byte| !b"\r\n".contains(byte)).count();
            } else if BLANKS.contains(&byte) {
                self.at += 1;
            } else {
                return;
            }
        }
    }

    fn nested(&mut self, depth: usize) -> Option<Object> {
        self.objects += 1;
        if depth > DEEPEST || self.objects > MOST_OBJECTS {
            return None;
        }
        self.blanks();
        match self.peek()? {
            b'/' => Some(Object::Name(self.name())),
            b'(' => self.literal().map(Object::Text),
            b'[' => self.array(depth),
            b'<' if self.rest().starts_with(b"<<") => self.dictionary(depth),
            b'<' => self.hexadecimal().map(Object::Text),
            _ => self.number_or_word(),
        }
    }

    fn name(&mut self) -> Vec<u8> {
        self.at += 1;
        let mut name = Vec::new();
        while let Some(byte) = self.peek().filter(|byte| !BLANKS.contains(byte) && !DELIMITERS.contains(byte)) {
            self.at += 1;
            let escaped = if byte == b'#' { self.rest().get(..2).and_then(hex_pair) } else { None };
            self.at += if escaped.is_some() { 2 } else { 0 };
            name.push(escaped.unwrap_or(byte));
        }
        name
    }

    fn literal(&mut self) -> Option<Vec<u8>> {
        self.at += 1;
        let (mut text, mut open) = (Vec::new(), 1_usize);
        loop {
            let byte = self.peek()?;
            self.at += 1;
            match byte {
                b'\\' => self.escaped(&mut text)?,
                b')' if open == 1 => return Some(text),
                _ => {
                    open = open + usize::from(byte == b'(') - usize::from(byte == b')');
                    text.push(byte);
                }
            }
        }
    }

    /// What stands behind a backslash; nothing for a line that goes on.
    fn escaped(&mut self, text: &mut Vec<u8>) -> Option<()> {
        let byte = self.peek()?;
        self.at += 1;
        match byte {
            b'n' => text.push(b'\n'),
            b'r' => text.push(b'\r'),
            b't' => text.push(b'\t'),
            b'b' => text.push(8),
            b'f' => text.push(12),
            b'\r' => self.at += usize::from(self.peek() == Some(b'\n')),
            b'\n' => {}
            b'0'..=b'7' => {
                let mut code = u32::from(byte - b'0');
                for _ in 0..2 {
                    let Some(digit @ b'0'..=b'7') = self.peek() else { break };
                    self.at += 1;
                    code = code * 8 + u32::from(digit - b'0');
                }
                // overflow of three digits is ignored (7.3.4.2)
                text.extend(u8::try_from(code & 0xff));
            }
            other => text.push(other),
        }
        Some(())
    }

    fn hexadecimal(&mut self) -> Option<Vec<u8>> {
        self.at += 1;
        let mut digits = Vec::new();
        loop {
            let byte = self.peek()?;
            self.at += 1;
            match byte {
                b'>' => break,
                _ if BLANKS.contains(&byte) => {}
                _ => digits.push(byte),
            }
        }
        if digits.len() % 2 == 1 {
            digits.push(b'0');
        }
        digits.chunks(2).map(hex_pair).collect()
    }

    fn array(&mut self, depth: usize) -> Option<Object> {
        self.at += 1;
        let mut array = Vec::new();
        loop {
            self.blanks();
            if self.peek()? == b']' {
                self.at += 1;
                return Some(Object::Array(array));
            }
            array.push(self.nested(depth + 1)?);
        }
    }

    fn dictionary(&mut self, depth: usize) -> Option<Object> {
        self.at += 2;
        let mut entries = Vec::new();
        loop {
            self.blanks();
            if self.rest().starts_with(b">>") {
                self.at += 2;
                return Some(Object::Dictionary(Dictionary(entries)));
            }
            if self.peek()? != b'/' {
                return None;
            }
            let key = self.name();
            entries.push((key, self.nested(depth + 1)?));
        }
    }

    /// A number, a reference `12 0 R`, or a word.
    fn number_or_word(&mut self) -> Option<Object> {
        let rest = self.rest();
        let length = rest.iter().take_while(|byte| !BLANKS.contains(byte) && !DELIMITERS.contains(byte)).count();
        let word = std::str::from_utf8(rest.get(..length)?).ok()?;
        if length == 0 || ["endobj", "stream", "endstream", "obj", "R"].contains(&word) {
            return None;
        }
        self.at += length;
        let Ok(number) = word.parse::<i64>() else { return Some(Object::Other) };
        Some(self.reference(number).unwrap_or(Object::Number(number)))
    }

    fn reference(&mut self, number: i64) -> Option<Object> {
        let number = u32::try_from(number).ok()?;
        let before = self.at;
        let is_reference = self.number().is_some() && {
            self.blanks();
            self.rest().first() == Some(&b'R')
                && self.rest().get(1).is_none_or(|byte| BLANKS.contains(byte) || DELIMITERS.contains(byte))
        };
        self.at = if is_reference { self.at + 1 } else { before };
        is_reference.then_some(Object::Reference(number))
    }
}

fn hex_pair(pair: &[u8]) -> Option<u8> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let [high, low] = pair else { return None };
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

/// A text string (7.9.2.2): UTF-16 or UTF-8 with a mark, else `PDFDocEncoding`, of which Latin-1 is close enough for a name.
pub(super) fn text(bytes: &[u8]) -> String {
    let units = |pair: fn([u8; 2]) -> u16, rest: &[u8]| {
        let units: Vec<u16> = rest.chunks_exact(2).map(|two| pair([two[0], two[1]])).collect();
        String::from_utf16_lossy(&units)
    };
    match bytes {
        [0xfe, 0xff, rest @ ..] => units(u16::from_be_bytes, rest),
        [0xff, 0xfe, rest @ ..] => units(u16::from_le_bytes, rest),
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8_lossy(rest).into_owned(),
        _ => bytes.iter().map(|byte| char::from(*byte)).collect(),
    }
}

const BLANKS: &[u8] = b"\0\t\n\x0c\r ";
const DELIMITERS: &[u8] = b"()<>[]{}/%";
/// Arrays and dictionaries inside each other.
const DEEPEST: usize = 32;
/// Objects inside one.
const MOST_OBJECTS: usize = 50_000;
