//! Content transfer encodings (RFC 2045, 6), decoded as the bytes come.
//!
//! Not a validator: mail is damaged in many ways, so everything that can be decoded is, and [`Damage`] says that
//! something was not. Each decoder gives the same result however its input is cut. The `base64` crate is of no use
//! here: its streaming decoder refuses line breaks, and for one line of 76 characters it takes twice as long.

use super::mime::Damage;
use crate::text::shown;

/// A decoder of one part's body.
#[derive(Debug)]
pub(super) enum Decoder {
    /// `7bit`, `8bit`, `binary`, and encodings that are not known: byte for byte.
    Identity,
    /// RFC 2045, 6.8.
    Base64(Base64),
    /// RFC 2045, 6.7.
    QuotedPrintable(QuotedPrintable),
}

impl Decoder {
    /// The decoder for a `Content-Transfer-Encoding`, with the damage of a name that is not known.
    pub(super) fn new(encoding: &str) -> (Self, Option<Damage>) {
        match encoding.trim().to_ascii_lowercase().as_str() {
            "" | "7bit" | "8bit" | "binary" | "7-bit" | "8-bit" => (Self::Identity, None),
            "base64" | "base-64" => (Self::Base64(Base64::default()), None),
            "quoted-printable" => (Self::QuotedPrintable(QuotedPrintable::default()), None),
            other => (Self::Identity, Some(Damage::UnknownEncoding(shown(other, SHOWN)))),
        }
    }

    /// Decodes `bytes` onto the end of `out`.
    pub(super) fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Identity => out.extend_from_slice(bytes),
            Self::Base64(decoder) => decoder.push(bytes, out),
            Self::QuotedPrintable(decoder) => decoder.push(bytes, out),
        }
    }

    /// The body is over: decodes what was held back and says whether anything was damaged.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) -> Option<Damage> {
        match self {
            Self::Identity => None,
            Self::Base64(decoder) => decoder.finish(out),
            Self::QuotedPrintable(decoder) => decoder.finish(out),
        }
    }
}

/// Base64: line breaks and blanks are dropped, other foreign characters too but noted; several padded runs one after
/// another are decoded one after another.
#[derive(Debug, Default)]
pub(super) struct Base64 {
    bits: u32,
    sextets: u8,
    foreign: bool,
    cut: bool,
}

impl Base64 {
    fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let whole = if self.sextets == 0 { groups(bytes, out) } else { 0 };
        for &byte in &bytes[whole..] {
            match SEXTET[usize::from(byte)] {
                BLANK => {}
                PAD => self.end_of_run(out),
                FOREIGN => self.foreign = true,
                sextet => self.add(sextet, out),
            }
        }
    }

    fn add(&mut self, sextet: u8, out: &mut Vec<u8>) {
        self.bits = self.bits << 6 | u32::from(sextet);
        self.sextets += 1;
        if self.sextets == 4 {
            out.extend_from_slice(&self.bits.to_be_bytes()[1..]);
            (self.bits, self.sextets) = (0, 0);
        }
    }

    /// What is left of a group of four: 2 sextets are one byte, 3 are two; 1 is nothing, so something is missing.
    fn end_of_run(&mut self, out: &mut Vec<u8>) {
        match self.sextets {
            1 => self.cut = true,
            2 => out.push((self.bits >> 4).to_be_bytes()[3]),
            3 => out.extend_from_slice(&(self.bits >> 2).to_be_bytes()[2..]),
            _ => {}
        }
        (self.bits, self.sextets) = (0, 0);
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Option<Damage> {
        self.end_of_run(out);
        if self.cut { Some(Damage::CutShort) } else { self.foreign.then_some(Damage::ForeignCharacters) }
    }
}

/// Decodes the groups of four in a line of `bytes` that has nothing but the alphabet; how many bytes these are. A line that
/// has anything else is left to the careful way.
fn groups(bytes: &[u8], out: &mut Vec<u8>) -> usize {
    let (start, whole) = (out.len(), bytes.trim_ascii_end().len() & !3);
    out.resize(start + whole / 4 * 3, 0);
    let mut seen = 0;
    for (group, place) in bytes[..whole].chunks_exact(4).zip(out[start..].chunks_exact_mut(3)) {
        let [a, b, c, d] = [group[0], group[1], group[2], group[3]].map(usize::from);
        let bits = PLACED[0][a] | PLACED[1][b] | PLACED[2][c] | PLACED[3][d];
        seen |= bits;
        place.copy_from_slice(&bits.to_be_bytes()[1..]);
    }
    if seen & ALIEN == 0 {
        return whole;
    }
    out.truncate(start);
    0
}

/// Quoted-printable: blanks at the end of a line are dropped (rule 3), `=` at the end of a line joins it with the next
/// (rule 5), other `=` that are no code stay as they are but are noted.
#[derive(Debug, Default)]
pub(super) struct QuotedPrintable {
    /// Blanks that are only data when something other than a line break follows, and a CR of which the same holds.
    held: Vec<u8>,
    state: Quoted,
    foreign: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Quoted {
    #[default]
    Text,
    /// After `=`.
    Equals,
    /// After `=` and one hex digit, as it was written.
    Digit(u8),
    /// After `=` and blanks or CR: a soft line break in the making.
    Soft,
}

impl QuotedPrintable {
    fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        for &byte in bytes {
            self.byte(byte, out);
        }
    }

    fn byte(&mut self, byte: u8, out: &mut Vec<u8>) {
        self.state = match (self.state, byte) {
            (Quoted::Text, b'=') => {
                out.append(&mut self.held);
                Quoted::Equals
            }
            (Quoted::Text, _) => {
                self.text(byte, out);
                Quoted::Text
            }
            (Quoted::Equals | Quoted::Soft, b' ' | b'\t' | b'\r') if self.held.len() < HELD => {
                self.held.push(byte);
                Quoted::Soft
            }
            (Quoted::Equals | Quoted::Soft, b'\n') => {
                self.held.clear();
                Quoted::Text
            }
            (Quoted::Equals, digit) if digit.is_ascii_hexdigit() => Quoted::Digit(digit),
            (Quoted::Equals | Quoted::Soft, other) => self.not_a_code(b"=", other, out),
            (Quoted::Digit(first), second) if second.is_ascii_hexdigit() => {
                out.push(hex(first) << 4 | hex(second));
                Quoted::Text
            }
            (Quoted::Digit(first), other) => self.not_a_code(&[b'=', first], other, out),
        };
    }

    fn text(&mut self, byte: u8, out: &mut Vec<u8>) {
        match byte {
            b' ' | b'\t' | b'\r' if self.held.len() < HELD => self.held.push(byte),
            b'\n' => {
                let break_begins = self.held.iter().rposition(|held| *held != b'\r').map_or(0, |at| at + 1);
                out.extend_from_slice(&self.held[break_begins..]);
                out.push(b'\n');
                self.held.clear();
            }
            _ => {
                out.append(&mut self.held);
                out.push(byte);
            }
        }
    }

    fn not_a_code(&mut self, written: &[u8], next: u8, out: &mut Vec<u8>) -> Quoted {
        self.foreign = true;
        out.extend_from_slice(written);
        if next == b'=' {
            out.append(&mut self.held);
            return Quoted::Equals;
        }
        self.text(next, out);
        Quoted::Text
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Option<Damage> {
        if self.state == Quoted::Text {
            // a CR that no LF followed is data
            self.held.retain(|held| *held == b'\r');
            out.append(&mut self.held);
        }
        if matches!(self.state, Quoted::Digit(_)) {
            Some(Damage::CutShort)
        } else {
            self.foreign.then_some(Damage::ForeignCharacters)
        }
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}

/// The characters that are shown of an encoding that nobody knows; the longest known one has 16.
const SHOWN: usize = 40;

/// Longer runs of blanks inside one line are data, whatever follows: the memory stays bounded.
const HELD: usize = 64 * 1024;

const FOREIGN: u8 = 0xff;
const BLANK: u8 = 0xfe;
const PAD: u8 = 0xfd;

/// The value of each character of the alphabet (RFC 4648, 4), or what else it is.
static SEXTET: [u8; 256] = sextets();

/// The same where it stands in the three bytes of a group, by its place there; [`ALIEN`] for all else.
static PLACED: [[u32; 256]; 4] = [placed(18), placed(12), placed(6), placed(0)];

/// A bit that no three bytes have.
const ALIEN: u32 = 1 << 31;

const fn placed(shift: u32) -> [u32; 256] {
    let (sextets, mut table, mut byte) = (sextets(), [ALIEN; 256], 0);
    while byte < table.len() {
        if sextets[byte] < 64 {
            table[byte] = (sextets[byte] as u32) << shift;
        }
        byte += 1;
    }
    table
}

const fn sextets() -> [u8; 256] {
    let mut table = [FOREIGN; 256];
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut value = 0;
    while value < 64 {
        table[alphabet[value as usize] as usize] = value;
        value += 1;
    }
    table[b' ' as usize] = BLANK;
    table[b'\t' as usize] = BLANK;
    table[b'\r' as usize] = BLANK;
    table[b'\n' as usize] = BLANK;
    table[b'=' as usize] = PAD;
    table
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use proptest::prelude::*;

    use super::*;

    fn decode(encoding: &str, text: &[u8], piece: usize) -> (Vec<u8>, Option<Damage>) {
        let (mut decoder, unknown) = Decoder::new(encoding);
        let mut out = Vec::new();
        for bytes in text.chunks(piece.max(1)) {
            decoder.push(bytes, &mut out);
        }
        let damage = decoder.finish(&mut out);
        (out, unknown.or(damage))
    }

    #[test]
    fn base64_of_every_remainder_with_and_without_padding() {
        for (text, value) in [("", ""), ("YQ==", "a"), ("YWI=", "ab"), ("YWJj", "abc"), ("YQ", "a"), ("YWI", "ab")] {
            assert_eq!(decode("Base64", text.as_bytes(), 1), (value.into(), None), "{text}");
        }
    }

    #[test]
    fn base64_drops_blanks_and_notes_what_is_foreign_or_missing() {
        assert_eq!(decode("base64", b" YW\r\n Jj\t\n", 3), (b"abc".to_vec(), None));
        assert_eq!(decode("base64", b"YW*Jj", 9), (b"abc".to_vec(), Some(Damage::ForeignCharacters)));
        assert_eq!(decode("base64", b"YWJjZ", 9), (b"abc".to_vec(), Some(Damage::CutShort)));
        assert_eq!(decode("base64", b"YQ==\r\nYg==", 9), (b"ab".to_vec(), None));
    }

    #[test]
    fn quoted_printable_follows_the_rules_of_its_rfc() {
        let text = b"=C3=A9t=e9 \t\r\nun=\r\n deux=  \r\ntrois  \nfin =20";
        let value = b"\xc3\xa9t\xe9\r\nun deuxtrois\nfin  ";
        assert_eq!(decode("quoted-printable", text, 1), (value.to_vec(), None));
    }

    #[test]
    fn quoted_printable_keeps_what_is_no_code() {
        assert_eq!(decode("quoted-printable", b"a=zb==41=", 2).0, b"a=zb=A");
        assert_eq!(decode("quoted-printable", b"a = b", 1).0, b"a = b");
        assert_eq!(decode("quoted-printable", b"a=zb", 2).1, Some(Damage::ForeignCharacters));
        assert_eq!(decode("quoted-printable", b"a=4", 2).1, Some(Damage::CutShort));
        assert_eq!(decode("quoted-printable", b"a\rb\r", 2), (b"a\rb\r".to_vec(), None));
    }

    #[test]
    fn an_unknown_encoding_passes_through_and_is_named() {
        let (bytes, damage) = decode("X-Uuencode", b"begin 644 a\r\n", 5);
        assert_eq!(bytes, b"begin 644 a\r\n");
        assert_eq!(damage, Some(Damage::UnknownEncoding("x-uuencode".into())));
    }

    #[test]
    fn the_name_of_an_unknown_encoding_is_a_short_line() {
        let name = format!("x\r\x1b[2J{}", "y".repeat(5000));
        let (_, Some(Damage::UnknownEncoding(shown))) = Decoder::new(&name) else { panic!("{name:?} is known") };
        assert_eq!(shown, format!("x[2j{}", "y".repeat(36)));
    }

    proptest! {
        #[test]
        fn base64_decodes_what_another_implementation_wrote(data: Vec<u8>, width in 1usize..90, piece in 1usize..40) {
            let text = base64::engine::general_purpose::STANDARD.encode(&data);
            let lines: Vec<u8> = text.as_bytes().chunks(width).flat_map(|line| [line, b"\r\n"].concat()).collect();
            prop_assert_eq!(decode("base64", &lines, piece), (data, None));
        }

        #[test]
        fn any_cut_gives_the_same(text in proptest::collection::vec(
            prop_oneof![Just(b'='), Just(b'\r'), Just(b'\n'), Just(b' '), Just(b'4'), any::<u8>()], 0..60), piece in 1usize..9) {
            for encoding in ["base64", "quoted-printable", "8bit"] {
                prop_assert_eq!(decode(encoding, &text, piece), decode(encoding, &text, text.len()));
            }
        }
    }
}
