//! Envelopes: what Adullact's platforms and Chorus Pro drop, decoded into documents and the values of their index.
//!
//! Not the launcher: who drops what, when it is complete and where it goes is decided elsewhere. A decoder reads a stream
//! once and writes what it takes out through a [`Store`], so that memory stays small whatever the size; kinds are
//! recognised by content, never by file names alone.

pub mod actes;
pub mod archive;
mod assemble;
pub mod chorus;
mod decode;
#[cfg(test)]
mod deposits;
pub mod facturx;
pub mod gather;
pub mod helios;
mod identify;
pub mod limits;
pub mod pastell;
pub mod recognise;
pub mod store;
pub mod unpack;
pub mod values;
pub mod webdelib;
pub mod xml;

use std::io;
use std::path::PathBuf;

use self::limits::Limits;
use self::store::{Body, Store};
use self::values::Values;
use crate::model::{Digest, EnvelopeKind, Role};
use crate::text;
use crate::text::Text;

/// A deposit: one unit of work, as it lies in the directory it was dropped into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deposit {
    /// Its own name: of the directory, the archive, the file, or the metadata file of loose files.
    pub name: String,
    /// Its files; one for an archive or a loose file.
    pub members: Vec<Member>,
}

/// A file of a deposit, or one that was unpacked from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its own name, without folders: what a stranger wrote.
    pub name: String,
    /// Where it can be read.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
    /// Its digest, where it has been unpacked into the store already; `None` for a file that is read in place.
    pub body: Option<Body>,
}

/// What a decoder reads from one member: an XML document, or a PDF with one inside.
#[derive(Debug)]
pub struct Reading {
    /// What it is.
    pub kind: EnvelopeKind,
    /// The role of the member itself.
    pub role: Role,
    /// Its values, under the key names of the index.
    pub values: Values,
    /// What was taken out of it, in order.
    pub attachments: Vec<Attachment>,
    /// Files that it names and does not hold, in order.
    pub announced: Vec<Announced>,
    /// What it names and cannot give, by name.
    pub missing: Vec<String>,
    /// What else was noticed.
    pub warnings: Vec<Text>,
    /// The member itself is what a person should be shown (a Factur-X PDF).
    pub readable: bool,
}

impl Reading {
    /// A reading in which nothing has been found yet.
    pub fn new(kind: EnvelopeKind, role: Role) -> Self {
        Self {
            kind,
            role,
            values: Values::default(),
            attachments: Vec::new(),
            announced: Vec::new(),
            missing: Vec::new(),
            warnings: Vec::new(),
            readable: false,
        }
    }
}

/// A file that was inside a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Its name, as written there.
    pub name: String,
    /// Its media type, where the document says one.
    pub media_type: Option<String>,
    /// Its role.
    pub role: Role,
    /// It is what a person should be shown.
    pub readable: bool,
    /// Its bytes.
    pub body: Body,
}

/// A file that a message or a metadata file names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announced {
    /// Its name, as written there.
    pub name: String,
    /// What it is said to be.
    pub role: Role,
}

/// A decoded deposit.
#[derive(Debug)]
pub struct Envelope {
    /// What it is.
    pub kind: EnvelopeKind,
    /// `metadata` of the index.
    pub metadata: serde_json::Map<String, serde_json::Value>,
    /// Its documents, in the order of `files`.
    pub files: Vec<Attachment>,
    /// `missing` of the index.
    pub missing: Vec<String>,
    /// `warnings` of the index.
    pub warnings: Vec<Text>,
}

/// Why a deposit, or one of its members, cannot be decoded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What it holds: it goes to quarantine whole, with this reason.
    #[error("{0}")]
    Refused(Text),
    /// It could not be read: a file that vanished, a disk that fails.
    #[error("{0}")]
    Read(io::Error),
    /// The store could not be written: nothing is wrong with the deposit.
    #[error("{0}")]
    Store(io::Error),
}

/// What a deposit is, told from one pass over its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// What it is; `None` where nothing in it says so (yet).
    pub kind: Option<EnvelopeKind>,
    /// SHA-256 over the sorted digests of what it holds, without names: a replay renames, a ZIP made again has other
    /// bytes. A directory, a ZIP and a tar.gz of equal contents have one. Meaningful once it is complete.
    pub digest: Digest,
    /// Whether all of it is there.
    pub state: State,
}

/// Whether all of a deposit is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// As far as its content tells.
    Complete,
    /// It may still grow: an XML that is not closed, an archive that is cut, listed files that are absent, a metadata
    /// file that does not parse.
    Incomplete(Text),
    /// It will never be taken: a DOCTYPE, a limit, an encrypted archive.
    Refused(Text),
}

/// What `deposit` is: one pass over its bytes, and nothing is written anywhere. End markers and junk do not count; an
/// end marker of a name of its own is left out by the caller. With an end marker that is known, absent files and
/// the like no longer make it incomplete.
///
/// # Errors
/// [`Error::Read`] alone; what it holds is told by [`State`].
pub fn identify(deposit: &Deposit, limits: &Limits, aliases: &[(String, EnvelopeKind)]) -> Result<Identity, Error> {
    identify::identify(deposit, limits, aliases)
}

/// Decodes a deposit, whole or not at all. Everything that it gives stands in `store`; a member that is read in place
/// is copied there while it is decoded, so that each byte is read once.
///
/// # Errors
/// Those of [`Error`]; what was written to the store by then is the caller's to remove.
pub fn decode(
    deposit: &Deposit,
    limits: &Limits,
    aliases: &[(String, EnvelopeKind)],
    store: &mut dyn Store,
) -> Result<Envelope, Error> {
    decode::decode(deposit, limits, aliases, store)
}

/// The same with the name of the file in front.
fn named(name: &str, error: Error) -> Error {
    match error {
        Error::Refused(Text { en, fr }) => Error::Refused(text!("{name}: {en}", "{name} : {fr}")),
        other => other,
    }
}

/// Whether a file of this name ends a deposit and is no part of it; `end_marker` is the option of that name.
pub fn is_marker(name: &str, end_marker: Option<&str>) -> bool {
    let same = |marker: &str| name.eq_ignore_ascii_case(marker);
    end_marker.is_some_and(same) || MARKERS.into_iter().any(same)
}

/// Whether a file of this name is what systems and transfers leave behind: never delivered, no part of the identity.
pub fn is_junk(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let ends = |ending: &&str| name.ends_with(*ending);
    (name.starts_with('.') && !is_document(&name))
        || name == "thumbs.db"
        || name == "__macosx"
        || JUNK_ENDINGS.iter().any(ends)
}

/// Whether a name with a leading dot is a document's all the same (facts, E: #2078). What systems and transfers hide has no
/// such ending: `.DS_Store`, `.acte.pdf.Xy12Ab` of rsync, `.~lock.acte.odt#`; or a beginning of its own.
fn is_document(name: &str) -> bool {
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    !HIDDEN.iter().any(|beginning| name.starts_with(beginning))
        && DOCUMENTS.contains(&ending)
        && name.len() > ending.len() + 1
}

/// Resource forks of macOS, temporary files of lftp and `ProFTPD`.
const HIDDEN: [&str; 3] = ["._", ".in.", ".~"];
/// Endings of what is attached to actes, PES and invoices.
const DOCUMENTS: [&str; 20] = [
    "bmp", "csv", "doc", "docx", "gif", "gz", "jpeg", "jpg", "odp", "ods", "odt", "p7s", "pdf", "png", "rtf", "tif",
    "tiff", "xls", "xlsx", "zip",
];
/// The end markers of Pastell's connectors (facts, A.1: generation 1b and 2).
const MARKERS: [&str; 2] = ["fichier_termine.txt", "transfert_termine.txt"];
/// Transfers under way, and the control files of the PES gateway (facts, C.1, A.3).
const JUNK_ENDINGS: [&str; 3] = [".part", ".tmp", ".ocre"];
