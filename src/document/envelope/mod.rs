//! Envelopes: what Adullact's platforms and Chorus Pro drop, decoded into documents and the values of their index.
//!
//! Not the launcher: who drops what, when it is complete and where it goes is decided elsewhere. A decoder reads a stream
//! once and writes what it takes out through a [`Store`], so that memory stays small whatever the size; kinds are
//! recognised by content, never by file names alone.

pub mod actes;
pub mod helios;
pub mod limits;
pub mod pastell;
pub mod store;
pub mod unpack;
pub mod values;
pub mod webdelib;
pub mod xml;

use std::io;
use std::path::PathBuf;

use self::store::Body;
use self::values::Values;
use crate::model::{EnvelopeKind, Role};
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
