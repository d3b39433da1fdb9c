//! Header blocks: fields, parameters, encoded words, and the [`Head`] of a message.
//!
//! Addresses and dates are mail-parser's, on the header block alone. Parameters and encoded words are read here, on
//! bytes: mail-parser turns bytes that are not UTF-8 into U+FFFD before anybody can ask for the declared charset, and
//! French mail of the last twenty years is full of raw Windows-1252.

use std::borrow::Cow;

use encoding_rs::{Encoding, WINDOWS_1252};
use jiff::Timestamp;

use crate::model::Digest;

/// What the header block of a message says, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// `Message-ID`, with its angle brackets.
    pub message_id: Option<String>,
    /// `From`, as `Name <address>`; several are joined with `, `.
    pub from: Option<String>,
    /// `To`, each as `Name <address>`.
    pub to: Vec<String>,
    /// `Subject`.
    pub subject: Option<String>,
    /// `Date`.
    pub date: Option<Timestamp>,
    /// SHA-256 of the header block as received, its final blank line left out.
    pub digest: Digest,
}

impl Head {
    /// Reads a header block; the blank line that ends it may be there or not.
    pub fn parse(block: &[u8]) -> Self {
        Self::of(block, &Fields::parse(block))
    }

    /// The same of a block whose `fields` are known.
    pub(super) fn of(block: &[u8], fields: &Fields<'_>) -> Self {
        // addresses and dates alone: mail-parser would read the dozens of other fields for nothing
        let mut text = Vec::new();
        for name in ["From", "To", "Date"] {
            if let Some(value) = fields.first(name) {
                text.extend_from_slice(&[name.as_bytes(), b": ", value, b"\r\n"].concat());
            }
        }
        text.extend_from_slice(b"\r\n");
        let text = utf8_lines(&text);
        let parsed = mail_parser::MessageParser::default().parse_headers(text.as_bytes());
        let addresses = |list: Option<&mail_parser::Address<'_>>| list.map(readable_addresses).unwrap_or_default();
        let from = addresses(parsed.as_ref().and_then(|message| message.from()));
        let date = parsed.as_ref().and_then(|message| message.date());
        Self {
            message_id: fields.first("message-id").and_then(message_id),
            from: (!from.is_empty()).then(|| from.join(", ")),
            to: addresses(parsed.as_ref().and_then(|message| message.to())),
            subject: subject(fields),
            date: date.and_then(|date| Timestamp::from_second(date.to_timestamp()).ok()),
            digest: Digest::of(without_blank_end(block)),
        }
    }
}

/// The subject, decoded; none when it is empty.
pub(super) fn subject(fields: &Fields<'_>) -> Option<String> {
    fields.first("subject").map(|raw| decode_text(raw, None)).filter(|subject| !subject.is_empty())
}

/// The fields of a header block in their order, values unfolded (RFC 5322, 2.2.3).
#[derive(Clone, Debug, Default)]
pub struct Fields<'a> {
    list: Vec<(&'a [u8], Cow<'a, [u8]>)>,
    /// Lines were left out: they may have been meant as content.
    pub(super) has_strangers: bool,
}

impl<'a> Fields<'a> {
    /// Splits a header block. Lines that are neither a field nor a continuation are left out.
    pub fn parse(block: &'a [u8]) -> Self {
        let mut fields: Vec<(&[u8], Cow<'_, [u8]>)> = Vec::new();
        // a continuation of a line that was left out is left out too
        let (mut open, mut has_strangers) = (false, false);
        let mut rest = block;
        while !rest.is_empty() {
            let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
            let (line, after) = rest.split_at(end);
            rest = after;
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.first().is_some_and(|byte| matches!(byte, b' ' | b'\t')) {
                if let Some((_, value)) = fields.last_mut().filter(|_| open) {
                    let value = value.to_mut();
                    value.push(b' ');
                    value.extend_from_slice(line.trim_ascii_start());
                }
            } else if let Some((name, value)) = split_field(line) {
                fields.push((name, Cow::Borrowed(value.trim_ascii())));
                open = true;
            } else {
                open = false;
                has_strangers = has_strangers || !line.is_empty();
            }
        }
        Self { list: fields, has_strangers }
    }

    /// The value of the first field of this name, in any case.
    pub fn first(&self, name: &str) -> Option<&[u8]> {
        self.list.iter().find(|(field, _)| field.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value.as_ref())
    }
}

/// A value with parameters: `Content-Type`, `Content-Disposition` (RFC 2045, 5.1; RFC 2183; RFC 2231).
#[derive(Clone, Debug, Default)]
pub(super) struct Parameters {
    /// What stands before the first `;`, in lower case.
    pub(super) value: String,
    list: Vec<(String, Vec<u8>)>,
}

impl Parameters {
    /// Reads a field's value, forgiving: unquoted values with blanks, missing end quotes, stray `;`.
    pub(super) fn parse(raw: &[u8]) -> Self {
        let end = raw.iter().position(|byte| matches!(byte, b';' | b' ' | b'\t')).unwrap_or(raw.len());
        let value = String::from_utf8_lossy(&raw[..end]).trim_matches('"').to_ascii_lowercase();
        let mut list = Vec::new();
        let mut rest = &raw[end..];
        while let Some((name, value, after)) = next_parameter(rest) {
            list.push((name, value));
            rest = after;
        }
        Self { value, list }
    }

    /// A parameter as it is written, in ASCII or what was meant as such (`boundary`, `charset`).
    pub(super) fn plain(&self, name: &str) -> Option<&[u8]> {
        let value = self.list.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_slice())?;
        Some(value).filter(|value| !value.is_empty())
    }

    /// A parameter for people: RFC 2231 with its continuations first, else the plain one with RFC 2047 words in it
    /// (forbidden by RFC 2047, 5, and common).
    pub(super) fn text(&self, name: &str, charset: Option<&str>) -> Option<String> {
        let extended = self.extended(name, charset);
        extended.or_else(|| Some(decode_text(self.plain(name)?, charset))).filter(|text| !text.trim().is_empty())
    }

    /// RFC 2231, 3 and 4: `name*`, `name*0`, `name*0*`, …
    fn extended(&self, name: &str, declared: Option<&str>) -> Option<String> {
        let mut segments: Vec<(u32, bool, &[u8])> =
            self.list.iter().filter_map(|(own, value)| segment(own, name, value)).collect();
        segments.sort_by_key(|(index, ..)| *index);
        segments.dedup_by_key(|(index, ..)| *index);
        let (_, first_is_encoded, first) = *segments.first()?;
        let (charset, start) = if first_is_encoded { charset_prefix(first) } else { (None, 0) };
        let mut bytes = Vec::new();
        for (place, (_, encoded, value)) in segments.iter().enumerate() {
            let value = if place == 0 { &value[start..] } else { value };
            if *encoded { percent_decode(value, &mut bytes) } else { bytes.extend_from_slice(value) }
        }
        Some(charset.and_then(|charset| decode_as(&bytes, &charset)).unwrap_or_else(|| decode_text(&bytes, declared)))
    }
}

/// Text of a header: encoded words (RFC 2047) decoded, the bytes between them as UTF-8, else in the declared charset,
/// else as Windows-1252.
pub fn decode_text(raw: &[u8], declared: Option<&str>) -> String {
    let mut text = String::new();
    let mut rest = raw;
    let mut after_word = false;
    while let Some((start, first)) = find_word(rest) {
        let gap = &rest[..start];
        // blanks between two encoded words are not text (RFC 2047, 6.2)
        if !after_word || !gap.trim_ascii().is_empty() {
            text.push_str(&decode_bytes(gap, declared));
        }
        let (bytes, after) = adjacent_words(&rest[start..], &first);
        text.push_str(&decode_as(&bytes, &first.charset).unwrap_or_else(|| decode_bytes(&bytes, declared)));
        (rest, after_word) = (after, true);
    }
    text.push_str(&decode_bytes(rest, declared));
    text
}

/// Bytes of a header: UTF-8, else the declared charset, else Windows-1252.
pub(super) fn decode_bytes(bytes: &[u8], declared: Option<&str>) -> String {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return text.to_owned();
    }
    let utf8 = |charset: &&str| Encoding::for_label(charset.as_bytes()) != Some(encoding_rs::UTF_8);
    let declared = declared.filter(utf8).and_then(|charset| decode_as(bytes, charset));
    declared.unwrap_or_else(|| WINDOWS_1252.decode_without_bom_handling(bytes).0.into_owned())
}

/// Bytes in a named charset; `None` for a name that nobody knows.
fn decode_as(bytes: &[u8], charset: &str) -> Option<String> {
    if let Some(encoding) = Encoding::for_label(charset.as_bytes()) {
        if encoding == encoding_rs::UTF_8 && std::str::from_utf8(bytes).is_err() {
            // says UTF-8 and is not: the usual liar writes Windows-1252
            return None;
        }
        return Some(encoding.decode_without_bom_handling(bytes).0.into_owned());
    }
    // UTF-7, cp850 and other names that browsers do not know
    mail_parser::decoders::charsets::map::charset_decoder(charset.as_bytes()).map(|decode| decode(bytes))
}

/// An encoded word: `=?charset*language?encoding?text?=`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Word {
    charset: String,
    bytes: Vec<u8>,
    /// Bytes it takes up as written.
    length: usize,
}

/// The first encoded word of `raw` and where it begins.
fn find_word(raw: &[u8]) -> Option<(usize, Word)> {
    let starts = raw.windows(2).enumerate().filter(|(_, pair)| *pair == b"=?").map(|(start, _)| start);
    starts.take(WORDS).find_map(|start| Some((start, read_word(&raw[start..])?)))
}

/// Words of one charset that follow each other are joined before they are decoded: many programs cut in the middle of
/// a character (forbidden by RFC 2047, 5).
fn adjacent_words<'a>(raw: &'a [u8], first: &Word) -> (Vec<u8>, &'a [u8]) {
    let mut bytes = first.bytes.clone();
    let mut rest = &raw[first.length..];
    while let Some(next) = read_word(rest.trim_ascii_start()) {
        if !next.charset.eq_ignore_ascii_case(&first.charset) {
            break;
        }
        bytes.extend_from_slice(&next.bytes);
        rest = &rest.trim_ascii_start()[next.length..];
    }
    (bytes, rest)
}

/// Reads an encoded word at the start of `raw`. Blanks inside the text are forbidden and accepted.
fn read_word(raw: &[u8]) -> Option<Word> {
    let inside = raw.strip_prefix(b"=?")?;
    let charset_end = inside.iter().take(CHARSET).position(|byte| *byte == b'?')?;
    let charset = std::str::from_utf8(&inside[..charset_end]).ok()?.split('*').next()?.to_owned();
    let encoding = inside.get(charset_end + 1)?.to_ascii_lowercase();
    let text = inside.get(charset_end + 2..)?.strip_prefix(b"?")?;
    let text_end = text.windows(2).take(WORD).position(|pair| pair == b"?=")?;
    let mut bytes = Vec::new();
    match encoding {
        b'q' => q_decode(&text[..text_end], &mut bytes),
        b'b' => {
            let (mut decoder, _) = super::transfer::Decoder::new("base64");
            decoder.push(&text[..text_end], &mut bytes);
            decoder.finish(&mut bytes);
        }
        _ => return None,
    }
    Some(Word { charset, bytes, length: 2 + charset_end + 3 + text_end + 2 })
}

/// RFC 2047, 4.2.
fn q_decode(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let [first, after @ ..] = rest {
        rest = after;
        match first {
            b'_' => out.push(b' '),
            b'=' if hex_pair(after).is_some() => {
                out.extend(hex_pair(after));
                rest = &after[2..];
            }
            other => out.push(*other),
        }
    }
}

fn percent_decode(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let [first, after @ ..] = rest {
        rest = after;
        match hex_pair(after).filter(|_| *first == b'%') {
            Some(byte) => {
                out.push(byte);
                rest = &after[2..];
            }
            None => out.push(*first),
        }
    }
}

fn hex_pair(text: &[u8]) -> Option<u8> {
    let pair = text.get(..2).filter(|pair| pair.iter().all(u8::is_ascii_hexdigit))?;
    u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()
}

/// The number of a segment `name*N` or `name*N*` and whether it is percent-encoded; `name*` is the whole.
fn segment<'a>(own: &str, name: &str, value: &'a [u8]) -> Option<(u32, bool, &'a [u8])> {
    let rest = own.strip_prefix(name)?.strip_prefix('*')?;
    if rest.is_empty() {
        return Some((0, true, value));
    }
    let (number, encoded) = rest.strip_suffix('*').map_or((rest, false), |number| (number, true));
    Some((number.parse().ok()?, encoded, value))
}

/// `charset'language'` in front of an extended value; without its two apostrophes there is none.
fn charset_prefix(value: &[u8]) -> (Option<String>, usize) {
    let mut quotes = value.iter().enumerate().filter(|(_, byte)| **byte == b'\'').map(|(at, _)| at);
    match (quotes.next(), quotes.next()) {
        (Some(first), Some(second)) => {
            let charset = String::from_utf8_lossy(&value[..first]).into_owned();
            (Some(charset).filter(|charset| !charset.is_empty()), second + 1)
        }
        _ => (None, 0),
    }
}

/// The next `; name=value` of `raw` and what follows it.
fn next_parameter(raw: &[u8]) -> Option<(String, Vec<u8>, &[u8])> {
    let begin = raw.iter().position(|byte| !matches!(byte, b';' | b' ' | b'\t'))?;
    let raw = &raw[begin..];
    let name_end = raw.iter().position(|byte| matches!(byte, b'=' | b';')).unwrap_or(raw.len());
    let name = String::from_utf8_lossy(&raw[..name_end]).trim().to_ascii_lowercase();
    let Some(after) = raw[name_end..].strip_prefix(b"=") else {
        return Some((name, Vec::new(), &raw[name_end..]));
    };
    let after = after.trim_ascii_start();
    let (value, rest) = match after.strip_prefix(b"\"") {
        Some(quoted) => quoted_string(quoted),
        None => unquoted(after, &name),
    };
    Some((name, value, rest))
}

/// What stands up to the end quote. A backslash escapes only a quote or itself: old programs put whole Windows paths
/// here as they are.
fn quoted_string(raw: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut value = Vec::new();
    let mut rest = raw;
    while let [first, after @ ..] = rest {
        rest = after;
        match (first, after.first()) {
            (b'"', _) => break,
            (b'\\', Some(next @ (b'"' | b'\\'))) => {
                value.push(*next);
                rest = &after[1..];
            }
            _ => value.push(*first),
        }
    }
    let end = rest.iter().position(|byte| *byte == b';').unwrap_or(rest.len());
    (value, &rest[end..])
}

/// An unquoted value reaches up to `;`: file names with blanks are often left unquoted. In other parameters a comment
/// may follow the value (RFC 2045, 5.1).
fn unquoted<'a>(raw: &'a [u8], name: &str) -> (Vec<u8>, &'a [u8]) {
    let end = raw.iter().position(|byte| *byte == b';').unwrap_or(raw.len());
    let mut value = raw[..end].trim_ascii();
    if !name.contains("name") {
        let blank = value.iter().position(u8::is_ascii_whitespace).unwrap_or(value.len());
        value = &value[..blank];
    }
    (value.to_vec(), &raw[end..])
}

/// `Name: value`; blanks before the colon are an old liberty (RFC 5322, 4.5), inside the name there are none.
pub(super) fn split_field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
    let colon = memchr::memchr(b':', line)?;
    let name = line[..colon].trim_ascii_end();
    let is_name = !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
    is_name.then(|| (name, &line[colon + 1..]))
}

/// The identifier with its brackets, or the whole value where it has none.
fn message_id(raw: &[u8]) -> Option<String> {
    let text = decode_bytes(raw, None);
    let bracketed = text.find('<').and_then(|start| Some(&text[start..=start + text[start..].find('>')?]));
    Some(bracketed.unwrap_or(text.trim()).to_owned()).filter(|id| !id.is_empty())
}

fn readable_addresses(list: &mail_parser::Address<'_>) -> Vec<String> {
    list.iter()
        .filter_map(|one| match (one.name(), one.address()) {
            (Some(name), Some(address)) => Some(format!("{name} <{address}>")),
            (Some(only), None) | (None, Some(only)) => Some(only.to_owned()),
            (None, None) => None,
        })
        .collect()
}

fn without_blank_end(block: &[u8]) -> &[u8] {
    let is_break = |at: usize| block[..at].ends_with(b"\n");
    for blank in [b"\r\n".as_slice(), b"\n"] {
        if let Some(rest) = block.strip_suffix(blank)
            && (rest.is_empty() || is_break(rest.len()))
        {
            return rest;
        }
    }
    block
}

/// The block in UTF-8: lines that are not, as Windows-1252.
fn utf8_lines(block: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(block) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => block.split_inclusive(|byte| *byte == b'\n').map(|line| decode_bytes(line, None)).collect(),
    }
}

/// No charset's name is longer, language tag included.
const CHARSET: usize = 80;

/// No encoded word is longer; RFC 2047, 2 allows 75, and there are programs that put a whole subject in one.
const WORD: usize = 4096;

/// So many `=?` that are no encoded word are looked at before the rest is taken as it stands.
const WORDS: usize = 1000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(field: &[u8]) -> Option<String> {
        Parameters::parse(field).text("filename", None)
    }

    #[test]
    fn the_head_of_a_french_mail_is_decoded() {
        let head = Head::parse(
            b"Message-ID:\r\n <1@exemple.fr>\r\nFrom: =?utf-8?Q?Ren=C3=A9e?= <renee@exemple.fr>\r\n\
              To: a@exemple.fr, =?iso-8859-1?Q?B=E9a?= <b@exemple.fr>\r\n\
              Subject: =?UTF-8?B?RmFjdHVyZSBkJ8O?= =?UTF-8?B?qXTDqQ==?= 2026\r\n\
              Date: Wed, 25 Nov 2026 10:00:00 +0100\r\n\r\n",
        );
        assert_eq!(head.message_id.as_deref(), Some("<1@exemple.fr>"));
        assert_eq!(head.from.as_deref(), Some("Renée <renee@exemple.fr>"));
        assert_eq!(head.to, ["a@exemple.fr", "Béa <b@exemple.fr>"]);
        assert_eq!(head.subject.as_deref(), Some("Facture d'été 2026"));
        assert_eq!(head.date.unwrap().to_string(), "2026-11-25T09:00:00Z");
    }

    #[test]
    fn raw_windows_1252_is_read_as_such() {
        let head = Head::parse(b"From: Ren\xe9e <r@exemple.fr>\nSubject: \x80t\xe9\n");
        assert_eq!(head.from.as_deref(), Some("Renée <r@exemple.fr>"));
        assert_eq!(head.subject.as_deref(), Some("€té"));
    }

    #[test]
    fn the_digest_leaves_out_the_final_blank_line_alone() {
        let digest = Digest::of(b"A: b\r\n");
        assert_eq!(Head::parse(b"A: b\r\n").digest, digest);
        assert_eq!(Head::parse(b"A: b\r\n\r\n").digest, digest);
        assert_ne!(Head::parse(b"A: b\r\n\r\n\r\n").digest, digest);
    }

    #[test]
    fn rfc_2231_names_are_put_together() {
        assert_eq!(name(b"attachment; filename*=UTF-8''%e2%82%ac%20rates.pdf").as_deref(), Some("€ rates.pdf"));
        let cut = b"attachment; filename*1*=%A9.pdf; filename*0*=utf-8'fr'Caf%C3; filename=old.pdf";
        assert_eq!(name(cut).as_deref(), Some("Café.pdf"));
        assert_eq!(name(b"x; filename*0=\"a b\"; filename*1*=%20c; filename*2=.pdf").as_deref(), Some("a b c.pdf"));
        assert_eq!(name(b"x; filename*=iso-8859-1''%e9t%e9.pdf").as_deref(), Some("été.pdf"));
        assert_eq!(name(b"x; filename*=utf-8''%e9t%e9.pdf").as_deref(), Some("été.pdf"));
        assert_eq!(name(b"x; filename*=t%C3%A9.pdf").as_deref(), Some("té.pdf"));
    }

    #[test]
    fn forbidden_but_common_names_are_read() {
        let words = b"attachment; filename=\"=?utf-8?Q?Facture_d=C3=A9?=\t=?utf-8?Q?cembre=2Epdf?=\"";
        assert_eq!(name(words).as_deref(), Some("Facture décembre.pdf"));
        assert_eq!(name(b"attachment; filename=Facture mars.pdf; size=3").as_deref(), Some("Facture mars.pdf"));
        assert_eq!(name(b"attachment; filename=\"sans fin.pdf").as_deref(), Some("sans fin.pdf"));
        assert_eq!(name(b"attachment; filename=\"C:\\tmp\\a \\\"b\\\".pdf\"").as_deref(), Some("C:\\tmp\\a \"b\".pdf"));
        assert_eq!(name(b"attachment; filename=\"\xe9t\xe9.pdf\"").as_deref(), Some("été.pdf"));
        assert_eq!(name(b"attachment ;; filename = a.pdf ;").as_deref(), Some("a.pdf"));
        assert_eq!(name(b"attachment; filename=\"\"").as_deref(), None);
    }

    #[test]
    fn raw_bytes_follow_the_declared_charset() {
        let field = b"text/plain; name=\"\xd4\xc5\xd3\xd4.txt\"; charset=koi8-r";
        assert_eq!(Parameters::parse(field).text("name", Some("koi8-r")).as_deref(), Some("тест.txt"));
    }

    #[test]
    fn charset_names_of_old_programs_are_known() {
        assert_eq!(decode_text(b"=?utf-7?Q?caf+AOk-?=", None), "café");
        assert_eq!(decode_text(b"=?cp850?Q?=82t=82?=", None), "été");
        assert_eq!(decode_text(b"=?windows-31j?B?g2WDWINn?=", None), "テスト");
        assert_eq!(decode_text(b"=?nobody-knows?Q?=E9?=", None), "é");
    }

    #[test]
    fn text_that_only_looks_encoded_stays() {
        for text in ["a =? b", "=?utf-8?X?abc?=", "=?utf-8?Q?abc", "2 =?=? 3"] {
            assert_eq!(decode_text(text.as_bytes(), None), text);
        }
    }

    #[test]
    fn boundary_and_charset_may_be_followed_by_a_comment() {
        let field = Parameters::parse(b"Text/Plain; charset=us-ascii (Plain text); boundary=\"a b\"");
        assert_eq!(field.value, "text/plain");
        assert_eq!(field.plain("charset"), Some(b"us-ascii".as_slice()));
        assert_eq!(field.plain("boundary"), Some(b"a b".as_slice()));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, text in "[=?utf8QB;*'\"%\\\\ \r\nname0-9:]{0,80}") {
            Head::parse(&bytes);
            Head::parse(text.as_bytes());
            Parameters::parse(&bytes).text("name", Some("utf-8"));
            Parameters::parse(text.as_bytes()).text("name", None);
            decode_text(&bytes, None);
            decode_text(text.as_bytes(), Some("koi8-r"));
        }
    }
}
