//! Names of documents: what a part calls itself, and what it may be called on disk.
//!
//! The two are kept apart: filters judge the decoded name as the sender wrote it, [`safe_name`] is for the file that
//! is delivered. What is safe is decided for Windows and Linux at once, because waiting directories are shares.

use unicode_normalization::UnicodeNormalization as _;

use super::header::Parameters;

/// The name of a part: `Content-Disposition` (RFC 2183, 2.3; RFC 2231) first, then `Content-Type`'s `name`; decoded,
/// not sanitised.
pub(super) fn part_name(disposition: &Parameters, content_type: &Parameters) -> Option<String> {
    let charset = content_type.plain("charset").and_then(|charset| std::str::from_utf8(charset).ok());
    disposition.text("filename", charset).or_else(|| content_type.text("name", charset))
}

/// A file name that is safe on Windows and Linux: no path, no reserved or control character, no reserved name, at most
/// [`LONGEST`] bytes with the extension kept, never empty, and in normal form C, because macOS writes `é` as two
/// characters. A safe name stays as it is.
pub fn safe_name(name: &str) -> String {
    let last = name.split(['/', '\\']).rfind(|part| !part.trim_matches(EDGE).is_empty()).unwrap_or_default();
    let safe = last.chars().filter_map(safe_char);
    let kept: String = if last.is_ascii() { safe.collect() } else { safe.nfc().collect() };
    let trimmed = kept.trim_start_matches(EDGE).trim_end_matches(EDGE);
    if trimmed.is_empty() {
        return NAMELESS.to_owned();
    }
    // shortening may trim a stem down to a reserved word
    not_reserved(shortened(&not_reserved(trimmed.to_owned()), ""))
}

/// The name of the `n`-th document that would have this safe name: `facture (2).pdf`. As safe, as long at most; `n`
/// below 2 leaves it.
pub fn numbered(name: &str, n: u64) -> String {
    if n < 2 { name.to_owned() } else { shortened(name, &format!(" ({n})")) }
}

/// The name for the .eml of a message: its subject, where a slash is no path.
pub fn message_name(subject: &str) -> String {
    format!("{}.eml", subject.trim().replace(['/', '\\'], "_"))
}

/// The usual extension of a media type, `bin` where there is none.
pub fn extension_of(media_type: &str) -> &'static str {
    let known = EXTENSIONS.iter().find(|(own, _)| *own == media_type).map(|(_, extension)| *extension);
    known.unwrap_or(if media_type.starts_with("text/") { "txt" } else { "bin" })
}

/// The media type that the first bytes of a document give away; `None` when they are nothing special.
pub(super) fn sniffed(content: &[u8]) -> Option<&'static str> {
    MAGIC.iter().find(|(magic, _)| content.starts_with(magic)).map(|(_, media_type)| *media_type)
}

/// Stem and extension, its dot included; what begins with the only dot or has a very long end has no extension.
pub fn split_extension(name: &str) -> (&str, &str) {
    match name.rfind('.') {
        Some(dot) if dot > 0 && name.len() - dot <= LONGEST_EXTENSION => name.split_at(dot),
        _ => (name, ""),
    }
}

/// The name with `mark` behind its stem, the stem cut so that all fits.
fn shortened(name: &str, mark: &str) -> String {
    let (stem, extension) = split_extension(name);
    let room = LONGEST - mark.len() - extension.len();
    if stem.len() <= room {
        return format!("{stem}{mark}{extension}");
    }
    let cut = (0..=room).rev().find(|at| stem.is_char_boundary(*at)).unwrap_or(0);
    format!("{}{mark}{extension}", stem[..cut].trim_end_matches(EDGE))
}

/// Puts `_` before the names of Windows' devices, which stay devices whatever the extension and the blanks before it.
fn not_reserved(name: String) -> String {
    let stem = name.split('.').next().unwrap_or_default().trim_end().to_uppercase();
    let numbered = stem.strip_prefix("COM").or_else(|| stem.strip_prefix("LPT"));
    let is_port = numbered.is_some_and(|rest| rest.chars().count() == 1 && rest.chars().all(|c| PORTS.contains(c)));
    if is_port || DEVICES.contains(&stem.as_str()) { format!("_{name}") } else { name }
}

fn safe_char(c: char) -> Option<char> {
    match c {
        '<' | '>' | ':' | '"' | '|' | '?' | '*' => Some('_'),
        '\t' => Some(' '),
        _ if c.is_control() || HIDDEN.contains(&c) => None,
        _ => Some(c),
    }
}

/// The longest safe name, bytes of UTF-8: room for a mark below the 255 of file systems.
pub const LONGEST: usize = 200;

/// A longer end is no extension; its dot included.
const LONGEST_EXTENSION: usize = 32;

/// What stands for a name of which nothing is left.
const NAMELESS: &str = "document";

/// Windows drops blanks and dots at the end of a name; a dot at its beginning hides a file on Linux.
const EDGE: fn(char) -> bool = |c| c == '.' || c.is_whitespace() || c.is_control() || HIDDEN.contains(&c);

/// Characters that change how a name reads and are not seen: marks and overrides of direction, line separators, BOM.
const HIDDEN: [char; 17] = [
    '\u{61c}', '\u{200b}', '\u{200e}', '\u{200f}', '\u{2028}', '\u{2029}', '\u{202a}', '\u{202b}', '\u{202c}',
    '\u{202d}', '\u{202e}', '\u{2066}', '\u{2067}', '\u{2068}', '\u{2069}', '\u{feff}', '\u{fffe}',
];

/// Microsoft, "Naming Files, Paths, and Namespaces".
const DEVICES: [&str; 6] = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"];

/// The digits after `COM` and `LPT`, superscripts included (same page).
const PORTS: &str = "0123456789¹²³";

/// How documents begin.
const MAGIC: [(&[u8], &str); 10] = [
    (b"%PDF-", "application/pdf"),
    (b"PK\x03\x04", "application/zip"),
    (b"\x89PNG\r\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
    (b"<?xml", "application/xml"),
    (b"\xef\xbb\xbf<?xml", "application/xml"),
    (b"{\\rtf", "application/rtf"),
];

const EXTENSIONS: [(&str, &str); 46] = [
    ("application/pdf", "pdf"),
    ("application/x-pdf", "pdf"),
    ("application/xml", "xml"),
    ("application/json", "json"),
    ("application/zip", "zip"),
    ("application/x-zip-compressed", "zip"),
    ("application/gzip", "gz"),
    ("application/x-tar", "tar"),
    ("application/x-7z-compressed", "7z"),
    ("application/vnd.rar", "rar"),
    ("application/rtf", "rtf"),
    ("application/msword", "doc"),
    ("application/vnd.ms-excel", "xls"),
    ("application/vnd.ms-powerpoint", "ppt"),
    ("application/vnd.ms-outlook", "msg"),
    ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", "docx"),
    ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "xlsx"),
    ("application/vnd.openxmlformats-officedocument.presentationml.presentation", "pptx"),
    ("application/vnd.oasis.opendocument.text", "odt"),
    ("application/vnd.oasis.opendocument.spreadsheet", "ods"),
    ("application/vnd.oasis.opendocument.presentation", "odp"),
    ("application/ms-tnef", "dat"),
    ("application/vnd.ms-tnef", "dat"),
    ("application/pkcs7-mime", "p7m"),
    ("application/x-pkcs7-mime", "p7m"),
    ("application/pkcs7-signature", "p7s"),
    ("application/x-pkcs7-signature", "p7s"),
    ("application/pgp-signature", "asc"),
    ("application/ics", "ics"),
    ("image/jpeg", "jpg"),
    ("image/jpg", "jpg"),
    ("image/png", "png"),
    ("image/gif", "gif"),
    ("image/tiff", "tif"),
    ("image/bmp", "bmp"),
    ("image/webp", "webp"),
    ("image/svg+xml", "svg"),
    ("image/heic", "heic"),
    ("message/rfc822", "eml"),
    ("message/global", "eml"),
    ("text/html", "html"),
    ("text/csv", "csv"),
    ("text/xml", "xml"),
    ("text/calendar", "ics"),
    ("text/vcard", "vcf"),
    ("text/rtf", "rtf"),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_and_forbidden_characters_go() {
        for (name, safe) in [
            ("facture été.pdf", "facture été.pdf"),
            ("../../etc/passwd", "passwd"),
            ("C:\\Temp\\a.pdf", "a.pdf"),
            ("dossier/", "dossier"),
            ("a<b>:\"|?*.pdf", "a_b______.pdf"),
            ("a\u{202e}fdp.exe\r\n", "afdp.exe"),
            (".cache", "cache"),
            ("fin. . ", "fin"),
            (" . a .pdf", "a .pdf"),
            ("", "document"),
            ("e\u{301}te\u{301}.pdf", "été.pdf"),
            ("../..", "document"),
            ("\u{202e}\u{0}", "document"),
        ] {
            assert_eq!(safe_name(name), safe, "{name:?}");
        }
    }

    #[test]
    fn devices_of_windows_are_no_names() {
        for name in ["CON", "nul.txt", "Com1.tar.gz", "lpt³", "aux .pdf", "CONIN$"] {
            assert_eq!(safe_name(name), format!("_{name}"));
        }
        for name in ["console.txt", "COM10.txt", "nulle.pdf", "com.pdf"] {
            assert_eq!(safe_name(name), name);
        }
        assert_eq!(safe_name(&format!("nul{}x.pdf", " ".repeat(300))), "_nul.pdf");
    }

    #[test]
    fn long_names_keep_their_extension_and_whole_characters() {
        let safe = safe_name(&format!("{}.pdf", "é".repeat(300)));
        assert_eq!((safe.len(), safe.ends_with("é.pdf")), (200, true));
        let marked = numbered(&safe, 12);
        assert!(marked.len() <= LONGEST && marked.ends_with("é (12).pdf"), "{marked}");
        assert_eq!(safe_name(&format!("a.{}", "b".repeat(300))).len(), LONGEST);
    }

    #[test]
    fn numbers_stand_before_the_extension() {
        assert_eq!(numbered("facture.pdf", 1), "facture.pdf");
        assert_eq!(numbered("facture.pdf", 2), "facture (2).pdf");
        assert_eq!(numbered("sans", 3), "sans (3)");
        assert_eq!(numbered("a.tar.gz", 2), "a.tar (2).gz");
    }

    #[test]
    fn a_slash_in_a_subject_is_no_path() {
        assert_eq!(safe_name(&message_name("Re: facture 12/2026 ")), "Re_ facture 12_2026.eml");
    }

    fn any_name() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<String>(),
            "[a.é/\\\\ :*?\u{202e}\u{0}\t]{0,20}",
            "(nul|com1|AUX|Lpt9)[ .a]{0,4}[ ]{0,210}[.]?[a-z]{0,40}",
            "[é. ]{90,260}[.]?[a-z]{0,40}",
        ]
    }

    proptest! {
        #[test]
        fn any_name_becomes_safe_and_a_safe_one_stays(name in any_name(), n in 2u64..) {
            let safe = safe_name(&name);
            prop_assert_eq!(safe_name(&safe), safe.clone());
            for name in [numbered(&safe, n), safe] {
                prop_assert!(!name.is_empty() && name.len() <= LONGEST, "{:?}", name);
                prop_assert!(!name.contains(['/', '\\', '<', '>', ':', '"', '|', '?', '*']), "{:?}", name);
                prop_assert!(!name.chars().any(|c| c.is_control() || HIDDEN.contains(&c)), "{:?}", name);
                prop_assert!(!name.starts_with(EDGE) && !name.ends_with(EDGE), "{:?}", name);
            }
        }
    }
}
