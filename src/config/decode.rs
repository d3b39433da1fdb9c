//! The bytes of an ini file as text: UTF-8, UTF-16 with a byte order mark, else Windows-1252.
//!
//! Not a guesser of charsets: a mark decides, then validity as UTF-8, for the whole file. Windows-1252 takes every
//! byte, so text that is neither is still read, with wrong accents at worst.

use encoding_rs::{Encoding, UTF_16BE, UTF_16LE, WINDOWS_1252};

use crate::text;
use crate::text::Text;

/// The text of `bytes`, without its byte order mark.
///
/// # Errors
/// UTF-16 that is cut or holds unpaired surrogates.
pub(super) fn decode(bytes: &[u8]) -> Result<String, Text> {
    match Encoding::for_bom(bytes) {
        Some((encoding, mark)) if encoding == UTF_16LE || encoding == UTF_16BE => utf16(encoding, &bytes[mark..]),
        Some((_, mark)) => Ok(bytes_or_1252(&bytes[mark..])),
        None => Ok(bytes_or_1252(bytes)),
    }
}

fn utf16(encoding: &'static Encoding, bytes: &[u8]) -> Result<String, Text> {
    encoding.decode_without_bom_handling_and_without_replacement(bytes).map(std::borrow::Cow::into_owned).ok_or_else(
        || {
            text!(
                "the file begins as UTF-16 but is not valid UTF-16: save it again as UTF-8",
                "le fichier commence comme de l'UTF-16 mais n'en est pas : l'enregistrer à nouveau en UTF-8"
            )
        },
    )
}

fn bytes_or_1252(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => WINDOWS_1252.decode_without_bom_handling(bytes).0.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_supported_encoding_gives_the_same_text() {
        let text = "Mot de passe = é€ç\r\n";
        let le: Vec<u8> = [0xFF, 0xFE].into_iter().chain(text.encode_utf16().flat_map(u16::to_le_bytes)).collect();
        let be: Vec<u8> = [0xFE, 0xFF].into_iter().chain(text.encode_utf16().flat_map(u16::to_be_bytes)).collect();
        let windows = encoding_rs::WINDOWS_1252.encode(text).0.into_owned();
        for bytes in [text.as_bytes().to_vec(), ["\u{FEFF}", text].concat().into_bytes(), le, be, windows] {
            assert_eq!(decode(&bytes).unwrap(), text);
        }
    }

    #[test]
    fn cut_utf16_is_a_mistake() {
        assert!(decode(b"\xFF\xFEa").is_err());
    }
}
