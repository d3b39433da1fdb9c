//! A launcher: a section with `launcher =`.
//!
//! Values only, already valid: patterns are compiled, secrets read, durations and sizes in their own types;
//! directories are named, not looked at.

use std::path::PathBuf;
use std::time::Duration;

use super::pattern::Pattern;
use super::{Address, Places, Trust};
use crate::model::{Disposition, ServiceName};
use crate::secret::Secret;

/// A launcher.
#[derive(Clone, Debug)]
pub struct Launcher {
    /// The section's name: what the ledger knows it by.
    pub name: ServiceName,
    /// Where each option stands.
    pub places: Places,
    /// `launcher`.
    pub kind: Kind,
    /// `enabled`.
    pub enabled: bool,
    /// `server`; the port is the protocol's own where none is written. Present for imap and pop3.
    pub server: Option<Address>,
    /// `tls`.
    pub tls: Tls,
    /// What is demanded of the server's certificate.
    pub trust: Trust,
    /// `cert`, `key`: a certificate of our own that the server may ask for.
    pub cert: Option<PathBuf>,
    /// See `cert`.
    pub key: Option<PathBuf>,
    /// `account`; present for imap and pop3.
    pub account: Option<String>,
    /// `password`.
    pub password: Option<Secret>,
    /// `source`: mailbox folder, or directory.
    pub source: String,
    /// `subfolders`.
    pub subfolders: bool,
    /// `unseen_only`.
    pub unseen_only: bool,
    /// `since`.
    pub since: Option<Since>,
    /// `filter`: all must match.
    pub filter: Vec<Pattern>,
    /// `filter_from`.
    pub filter_from: Vec<Pattern>,
    /// `filter_subject`.
    pub filter_subject: Vec<Pattern>,
    /// `inline`.
    pub inline: bool,
    /// `max_size`, bytes.
    pub max_size: u64,
    /// `deliver`.
    pub deliver: PathBuf,
    /// `staging`; `None`: `.pertuis-staging` beside `deliver`.
    pub staging: Option<PathBuf>,
    /// `after`.
    pub after: Disposition,
    /// `after_empty`.
    pub after_empty: Disposition,
    /// `interval`.
    pub interval: Duration,
    /// `quarantine`; `None`: below `state`.
    pub quarantine: Option<PathBuf>,
    /// `settle`.
    pub settle: Duration,
}

/// The kinds of launcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `imap`.
    Imap,
    /// `directory` (`repertoire`).
    Directory,
}

impl Kind {
    /// The word of the contract, also the index's `source`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Imap => "imap",
            Self::Directory => "directory",
        }
    }
}

/// `tls` of a launcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// TLS from the first byte (RFC 8314, 3).
    Implicit,
    /// None; only towards loopback unless `allow_clear_text = yes`.
    None,
}

/// `since`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// A day.
    Date(jiff::civil::Date),
    /// So long before now.
    Back(Duration),
}
