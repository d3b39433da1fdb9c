//! The words that every floor shares: names, keys, digests, dispositions.
//!
//! Not a place for behaviour: what is decided about these values is decided on the floor that decides it. They are
//! separate types so that a section name is never passed where an item key is meant.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::text::Text;

/// The name of a section of the ini file, verbatim: blanks and case kept, as stunnel keeps them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceName(Arc<str>);

impl ServiceName {
    /// Takes the text between the brackets.
    pub fn new(name: &str) -> Self {
        Self(Arc::from(name))
    }

    /// The text between the brackets.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A file name for what belongs to this section: the readable part of the name, then eight hex digits of its
    /// SHA-256, so that two names never share one file whatever the file system folds.
    pub fn file_stem(&self) -> String {
        let readable: String =
            self.0.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).take(40).collect();
        format!("{readable}-{}", &Digest::of(self.0.as_bytes()).to_string()[..8])
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A SHA-256 digest; printed as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of bytes that are already in memory.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Reads 64 hex digits of either case; anything else is `None`.
    pub fn from_hex(text: &str) -> Option<Self> {
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Two lower-case digits for each byte.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(HEX[usize::from(digit)])).collect()
}

/// What identifies an item at its source: a message, an envelope or a dropped file.
///
/// The text is written by the source and read back by it alone (`acknowledge` may come days later with nothing
/// else in hand), so it holds all that the source needs to find the item again. The contract (section 1,
/// `{key}`) says what goes in for each kind of source. Clones share it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ItemKey(Arc<str>);

impl ItemKey {
    /// Takes the source's text for an item.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The source's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The words in it, for people: a path, or account and folder with the message's numbers.
    pub fn words(&self) -> String {
        let Ok(serde_json::Value::Array(values)) = serde_json::from_str(&self.0) else { return self.0.to_string() };
        let word = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
        let texts: Vec<&str> = values.iter().map_while(serde_json::Value::as_str).collect();
        match texts.as_slice() {
            // a dropped file; a deposit that is too large to be known by its content
            [path, ..] if path.contains(['/', '\\']) => (*path).to_owned(),
            ["envelope", "size", path, ..] => (*path).to_owned(),
            _ => values.iter().map(word).collect::<Vec<_>>().join(" "),
        }
    }

    /// The `{key}` of the contract: file-name-safe, stable, at most 64 bytes. `hint` is a short readable mark (a
    /// UID, say) put in front; the 24 hex digits after it make two keys of one launcher differ.
    pub fn short(&self, hint: &str) -> String {
        let hint: String = hint.chars().filter(char::is_ascii_alphanumeric).take(32).collect();
        let digest = hex(&Digest::of(self.0.as_bytes()).0[..12]);
        if hint.is_empty() { digest } else { format!("{hint}-{digest}") }
    }

    /// The hint in a `{key}` that was made of one; empty where there was none.
    pub fn hint(short: &str) -> &str {
        short.split_once('-').filter(|(_, digest)| digest.len() >= 24).map_or("", |(hint, _)| hint)
    }
}

impl fmt::Display for ItemKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What happens to an item at its source once it is done with (`after`, `after_empty`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Disposition {
    /// Nothing.
    Leave,
    /// Marked as read.
    Seen,
    /// Flagged.
    Flag,
    /// A category of Microsoft 365.
    Category(String),
    /// Moved to a mailbox folder or, for dropped files, a directory.
    Move(String),
    /// Deleted.
    Delete,
}

/// The role of a document in its item: the contract's `role` field.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// A whole message: an .eml, or a message of ACTES as it came.
    Message,
    /// An attachment of a mail; a piece of a PES or of an invoice.
    Attachment,
    /// An inline part that has a file name.
    Inline,
    /// A dropped file; the document that an envelope is about.
    Document,
    /// An annexe of an acte.
    Annex,
    /// An acknowledgement: of an acte, of a PES.
    Receipt,
    /// A PES as it came.
    Pes,
    /// An invoice.
    Invoice,
    /// A flow of Chorus Pro as it came.
    Pivot,
    /// A status of Chorus Pro as it came.
    Status,
    /// A container, or its table of contents.
    Envelope,
    /// The metadata file of a deposit.
    Metadata,
    /// The name of a field of Pastell that has no role of its own.
    Field(Arc<str>),
    /// Not a document: the sidecar with the metadata.
    Index,
    /// Not a document: the folder in which an item's files are delivered.
    Folder,
}

impl Role {
    /// The word of the contract.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Message => "message",
            Self::Attachment => "attachment",
            Self::Inline => "inline",
            Self::Document => "document",
            Self::Annex => "annex",
            Self::Receipt => "receipt",
            Self::Pes => "pes",
            Self::Invoice => "invoice",
            Self::Pivot => "pivot",
            Self::Status => "status",
            Self::Envelope => "envelope",
            Self::Metadata => "metadata",
            Self::Field(name) => name,
            Self::Index => "index",
            Self::Folder => "folder",
        }
    }

    /// Reads the word of [`as_str`](Self::as_str); any other word is a field of Pastell.
    pub fn parse(word: &str) -> Self {
        let all = [
            Self::Message,
            Self::Attachment,
            Self::Inline,
            Self::Document,
            Self::Annex,
            Self::Receipt,
            Self::Pes,
            Self::Invoice,
            Self::Pivot,
            Self::Status,
            Self::Envelope,
            Self::Metadata,
            Self::Index,
            Self::Folder,
        ];
        all.into_iter().find(|role| role.as_str() == word).unwrap_or_else(|| Self::Field(word.into()))
    }

    /// Whether it is one of the item's documents, not something that is delivered with them.
    pub fn is_document(&self) -> bool {
        !matches!(self, Self::Index | Self::Folder)
    }
}

/// The kinds of envelope: the `kind` of the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EnvelopeKind {
    /// What local authorities send to their prefecture, and its answers.
    Actes,
    /// Payments and revenue between an authority and its accountant: PES V2.
    Helios,
    /// Invoices of Chorus Pro.
    Chorus,
    /// A deposit of Pastell that is none of these.
    Pastell,
    /// An export of web-delib.
    Webdelib,
}

impl EnvelopeKind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Actes, Self::Helios, Self::Chorus, Self::Pastell, Self::Webdelib];

    /// The word of the index.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Actes => "actes",
            Self::Helios => "helios",
            Self::Chorus => "chorus",
            Self::Pastell => "pastell",
            Self::Webdelib => "webdelib",
        }
    }

    /// Reads the word of the index, or EzGED's (`acte_nature`, `chorus_fact`); case does not matter.
    pub fn parse(word: &str) -> Option<Self> {
        let word = word.to_ascii_lowercase();
        match word.as_str() {
            "acte_nature" => Some(Self::Actes),
            "chorus_fact" => Some(Self::Chorus),
            _ => Self::ALL.into_iter().find(|kind| kind.as_str() == word),
        }
    }
}

/// The contract's error codes of a launcher (`fetch --json`, alerts, metrics).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// The configuration.
    Config,
    /// A host name that does not resolve.
    Resolve,
    /// No connection, or one that broke.
    Connect,
    /// TLS: certificate, protocol version.
    Tls,
    /// Login refused.
    Credentials,
    /// A folder or directory of the source that is not there or not readable.
    Folder,
    /// A reply that the protocol does not allow.
    Protocol,
    /// The provider asks to slow down.
    Throttled,
    /// Staging or the delivery directory: missing, full, not writable.
    Deliver,
    /// The ledger: unreadable, lost, set back.
    Ledger,
    /// Another cycle of this launcher is running.
    Busy,
}

impl Code {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Config,
        Self::Resolve,
        Self::Connect,
        Self::Tls,
        Self::Credentials,
        Self::Folder,
        Self::Protocol,
        Self::Throttled,
        Self::Deliver,
        Self::Ledger,
        Self::Busy,
    ];

    /// The word of the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Credentials => "credentials",
            Self::Folder => "folder",
            Self::Protocol => "protocol",
            Self::Throttled => "throttled",
            Self::Deliver => "deliver",
            Self::Ledger => "ledger",
            Self::Busy => "busy",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What went wrong, for people and for programs: one sentence that says where, what was expected and what to do,
/// and the contract's code.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{text}")]
pub struct Fault {
    /// The contract's code.
    pub code: Code,
    /// The sentence.
    pub text: Text,
}

impl Fault {
    /// A fault of this code.
    pub fn new(code: Code, text: Text) -> Self {
        Self { code, text }
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_round_trips_through_hex() {
        let digest = Digest::of(b"abc");
        assert_eq!(digest.to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(Digest::from_hex(&digest.to_string().to_uppercase()), Some(digest));
        assert_eq!(Digest::from_hex("zz"), None);
    }

    #[test]
    fn the_words_of_a_key_are_for_people() {
        for (key, words) in [
            (r#"["/drop/a.pdf",3,"17"]"#, "/drop/a.pdf"),
            (r#"["envelope","size","/drop/big.zip",3,"17"]"#, "/drop/big.zip"),
            (r#"["a@b","INBOX/été",1,42]"#, "a@b INBOX/été 1 42"),
            ("plain", "plain"),
        ] {
            assert_eq!(ItemKey::new(key).words(), words);
        }
    }

    #[test]
    fn short_keys_are_safe_and_bounded() {
        let key = ItemKey::new("[\"a@b\",\"INBOX/été\",1,42]");
        let short = key.short(&"../42".repeat(40));
        assert!(short.len() <= 64 && short.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'), "{short}");
        assert_ne!(short, ItemKey::new("other").short(""));
    }

    #[test]
    fn file_stems_differ_where_names_differ() {
        let stems = ["a/b", "a_b", "A_b"].map(|name| ServiceName::new(name).file_stem());
        assert_ne!(stems[0], stems[1]);
        assert_ne!(stems[1], stems[2]);
    }
}
