//! Names in archives: strangers' text, of which only the last part is kept.

use std::borrow::Cow;
use std::io::Read;

use encoding_rs::WINDOWS_1252;

use super::Walked;
use crate::document::envelope::is_junk;
use crate::text;

/// A regular file in an archive.
pub struct Entry<'a> {
    /// Its own name, without folders.
    pub name: String,
    /// Its bytes; what is left of them is read by who walks.
    pub content: &'a mut dyn Read,
}

/// The file's own name in a path that a stranger wrote; `None` for what systems and transfers leave behind.
pub fn plain(path: &str) -> Option<String> {
    let mut parts = parts(path);
    let name = parts.next_back().unwrap_or_default();
    let hidden =
        |part: &str| part.eq_ignore_ascii_case("__MACOSX") || (part.starts_with('.') && part != ".." && part != ".");
    let junk = parts.any(hidden) || (is_junk(name) && name != ".." && name != ".");
    (!junk).then(|| or_document(name))
}

/// As [`plain`], with a warning for what tried to leave the folder it is unpacked into.
pub(super) fn kept(path: &str, walked: &mut Walked) -> Option<String> {
    let name = plain(path)?;
    let drive = path.as_bytes().get(1) == Some(&b':') && path.as_bytes()[0].is_ascii_alphabetic();
    if drive || path.starts_with(['/', '\\']) || parts(path).any(|part| part == "..") {
        let shown = shown(path);
        walked.warn(text!(
            "the entry {shown} of the archive names a place outside of it: only the name {name} is kept",
            "l'entrée {shown} de l'archive désigne un endroit extérieur : seul le nom {name} est conservé"
        ));
    }
    Some(name)
}

/// A name from bytes of no declared encoding: UTF-8, else Windows-1252.
pub(super) fn decoded(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(name) => Cow::Borrowed(name),
        Err(_) => WINDOWS_1252.decode_without_bom_handling(bytes).0,
    }
}

/// A stranger's path in a sentence.
pub(super) fn shown(path: &str) -> String {
    let end = path.floor_char_boundary(LONGEST_SHOWN);
    path[..end].chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// A name that is none becomes `document`.
pub(super) fn or_document(name: &str) -> String {
    if matches!(name, "" | "." | "..") { "document".to_owned() } else { name.to_owned() }
}

fn parts(path: &str) -> impl DoubleEndedIterator<Item = &str> {
    path.split(['/', '\\']).filter(|part| !part.is_empty())
}

/// Bytes of a path that a sentence holds.
const LONGEST_SHOWN: usize = 200;
