//! Configuration: from the text of an ini file to typed, valid values.
//!
//! Not an engine: nothing here opens a socket, resolves a name or looks at a file other than the ini (and what it
//! includes). [`load`] reports every mistake of a file at once; what it returns can be relied upon without asking
//! again. The one table of options ([`option`]) is where names, aliases, types, defaults, documentation and
//! conversion live; help, man page section and sample ini are made from it.

pub mod global;
pub mod launcher;
pub mod pattern;
pub mod tunnel;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use global::{Defaults, Foreground, Global, LogFormat};
pub use launcher::Launcher;
pub use tunnel::Tunnel;

use crate::text::{Lang, Text};

/// A whole, valid configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file it was read from, absolute, so that a reload finds it whatever the working directory is then.
    pub path: PathBuf,
    /// Options of the whole program.
    pub global: Global,
    /// Sections with `accept`, `connect`, … in the order of the file.
    pub tunnels: Vec<Tunnel>,
    /// Sections with `launcher =`, in the order of the file; those with `enabled = no` too.
    pub launchers: Vec<Launcher>,
    /// What was accepted but means something else than it says (obsolete options, odd patterns).
    pub warnings: Vec<Remark>,
}

/// A place in an ini file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The file, as it was named on the command line or found by `include`.
    pub file: Arc<Path>,
    /// The line, from 1; 0 stands for the file as a whole.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// A mistake or a warning at a place: printed as `FILE:LINE: message`.
#[derive(Clone, Debug)]
pub struct Remark {
    /// Where.
    pub place: Place,
    /// What is wrong, what was expected, what to do.
    pub text: Text,
}

impl Remark {
    /// The line that is printed.
    pub fn line(&self, lang: Lang) -> String {
        format!("{}: {}", self.place, self.text.get(lang))
    }
}

/// Where each option of a section stands, for mistakes that only a later check can find.
#[derive(Clone, Debug)]
pub struct Places {
    /// The section's header (for options before the first section: line 0 of the file).
    pub section: Place,
    /// Options by their name of the contract; of repeated ones the last.
    pub options: BTreeMap<&'static str, Place>,
}

impl Places {
    /// The line of `option`, or the section's header where the option is not written.
    pub fn of(&self, option: &str) -> &Place {
        self.options.get(option).unwrap_or(&self.section)
    }
}

/// An address as it is written: `PORT`, `HOST:PORT`, `::1:993`, `[::1]:993`. Not resolved.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// Host name or address without brackets; `None`: every address (accept) or `localhost` (connect).
    pub host: Option<String>,
    /// Port; names of services (`pop3s`) are already numbers.
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Some(host) if host.contains(':') => write!(f, "[{host}]:{}", self.port),
            Some(host) => write!(f, "{host}:{}", self.port),
            None => write!(f, "{}", self.port),
        }
    }
}

/// What is demanded of the other side's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    /// What is checked.
    pub check: Check,
    /// `CAfile`: PEM file of trust anchors, or of pinned certificates.
    pub ca_file: Option<PathBuf>,
    /// `CApath`: directory of such files.
    pub ca_path: Option<PathBuf>,
    /// `pin`: SHA-256 of the `SubjectPublicKeyInfo` in DER (as in RFC 7469, 2.4).
    pub pins: Vec<crate::model::Digest>,
    /// `checkHost`, `checkEmail`, `checkIP`: alternatives, any match of any of the three lists accepts.
    pub check_host: Vec<String>,
    /// See `check_host`.
    pub check_email: Vec<String>,
    /// See `check_host`.
    pub check_ip: Vec<std::net::IpAddr>,
    /// With no `check…` list: the name that the caller expects must match (off for `defaults = stunnel` and
    /// for pinned keys).
    pub dialled_name: bool,
    /// Server mode: a client without a certificate is refused (`requireCert`, `verify = 2` and above).
    pub require: bool,
    /// `defaults = stunnel` and nothing asked: nothing is refused, but one line for each service says whether
    /// verification would have succeeded.
    pub probe: bool,
}

/// See [`Trust::check`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Nothing.
    Off,
    /// The chain up to an anchor of `CAfile`/`CApath`, else of the system.
    Chain,
    /// The leaf's public key is one of `CAfile`/`CApath` or of `pin`.
    Pinned,
    /// Both (`verify = 3`).
    ChainAndPinned,
}

/// The TLS versions that are negotiated. rustls has these two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TlsVersion {
    /// RFC 5246.
    V12,
    /// RFC 8446.
    V13,
}
