//! Configuration: from the text of an ini file to typed, valid values.
//!
//! Not an engine: nothing here opens a socket, resolves a name or looks at a file other than the ini (and what it
//! includes). [`load`] reports every mistake of a file at once; what it returns can be relied upon without asking
//! again. The one table of options ([`option`]) is where names, aliases, types, defaults, documentation and
//! conversion live; help, man page section and sample ini are made from it.

mod adullact;
mod cipher_string;
mod decode;
pub mod explain;
pub mod global;
pub mod ini;
pub mod launcher;
pub mod manual;
pub mod oauth;
pub mod option;
pub mod pattern;
pub mod protocol;
mod rows;
pub mod schedule;
mod section;
pub mod stunnel;
pub mod template;
pub mod tls;
mod trust;
pub mod tunnel;
pub mod value;

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use figment::Figment;
use figment::providers::Serialized;

pub use explain::Explained;
pub use global::{Defaults, Foreground, Global, LogFormat, Owner};
pub use launcher::Launcher;
pub use oauth::OAuth;
pub use protocol::Protocol;
pub use tunnel::Tunnel;

use crate::model::ServiceName;
use crate::text;
use crate::text::{Lang, Text};
use ini::Ini;
use section::{Options, Report};

/// A whole, valid configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file it was read from, absolute, so that a reload finds it whatever the working directory is then.
    pub path: PathBuf,
    /// Options of the whole program.
    pub global: Global,
    /// Sections with `accept`, `connect`, … in the order of the file.
    pub tunnels: Vec<Tunnel>,
    /// A file without sections is stunnel's inetd mode: one connection on standard input and output, then the end.
    pub inetd: Option<Box<Tunnel>>,
    /// Sections with `launcher =`, in the order of the file; those with `enabled = no` too.
    pub launchers: Vec<Launcher>,
    /// What was accepted but means something else than it says (obsolete options, odd patterns).
    pub warnings: Vec<Remark>,
    /// Every effective value and where it comes from, in the order of the file.
    pub explained: Vec<Explained>,
}

/// A file with mistakes.
#[derive(Debug)]
pub struct Rejected {
    /// All that were found, in the order of the file.
    pub mistakes: Vec<Remark>,
    /// The sections that say what they need. Good for finding more mistakes, never to be run.
    pub rest: Option<Box<Config>>,
    /// Where the sections begin in which the mistakes are: what such a section seems to lack may be what was misspelt.
    pub troubled: HashSet<Place>,
}

/// What is known before the file is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Overrides {
    /// The program was called as `stunnel` or `stunnel4`: the default of `defaults` is then `stunnel`.
    pub program_is_stunnel: bool,
    /// The default of `lang`, mostly [`Lang::from_env`].
    pub lang: Lang,
}

/// Reads and checks the file at `path`; nothing else is looked at but what it includes and the files of secrets.
///
/// # Errors
/// Every mistake of the file, in its order.
pub fn load(path: &Path, overrides: &Overrides) -> Result<Config, Vec<Remark>> {
    load_partly(path, overrides).map_err(|rejected| rejected.mistakes)
}

/// The same, for those who look on for mistakes that this floor cannot see.
///
/// # Errors
/// As [`load`], with what the file says all the same.
pub fn load_partly(path: &Path, overrides: &Overrides) -> Result<Config, Rejected> {
    assemble(&Ini::read(path), path, *overrides)
}

/// The same for `bytes` that are the content of the file at `path`: tests, fuzzing, standard input.
///
/// # Errors
/// As [`load`].
pub fn load_bytes(path: &Path, bytes: &[u8], overrides: &Overrides) -> Result<Config, Vec<Remark>> {
    load_bytes_partly(path, bytes, overrides).map_err(|rejected| rejected.mistakes)
}

/// As [`load_partly`], for `bytes`.
///
/// # Errors
/// As [`load_partly`].
pub fn load_bytes_partly(path: &Path, bytes: &[u8], overrides: &Overrides) -> Result<Config, Rejected> {
    assemble(&Ini::parse(path, bytes), path, *overrides)
}

/// The layers as figment hands them over: built-in defaults, the file, what the command line says.
#[derive(serde::Deserialize)]
struct Layers {
    #[serde(flatten)]
    file: ini::Layer,
    overrides: Overrides,
}

fn assemble(ini: &Ini, path: &Path, overrides: Overrides) -> Result<Config, Rejected> {
    let figment = Figment::from(Serialized::defaults(ini::Layer::default()))
        .merge(ini)
        .merge(Serialized::default("overrides", overrides));
    let layers: Layers = figment.extract().map_err(|error| {
        let place = Place { file: Arc::from(path), line: 0 };
        let mistakes = vec![Remark { place, text: Text::same(error.to_string()) }];
        Rejected { mistakes, rest: None, troubled: HashSet::new() }
    })?;
    build(path, &layers)
}

fn build(path: &Path, layers: &Layers) -> Result<Config, Rejected> {
    let mut report = Report::default();
    report.mistakes.extend(layers.file.mistakes.iter().map(ini::Note::remark));
    report.warnings.extend(layers.file.warnings.iter().map(ini::Note::remark));
    let Some((first, sections)) = layers.file.sections.split_first() else {
        return Err(Rejected { mistakes: report.mistakes, rest: None, troubled: HashSet::new() });
    };
    let preamble = Options::preamble(first, &mut report);
    let global = Global::build(&preamble, layers.overrides, &mut report);
    let mut troubled = HashSet::new();
    if !report.mistakes.is_empty() {
        troubled.insert(preamble.place.clone());
    }
    let cut = !layers.file.mistakes.is_empty();
    let (mut tunnels, mut launchers) = (Vec::new(), Vec::new());
    let mut explained = explain::of(None, &preamble, &global);
    for section in sections {
        let name = ServiceName::new(section.name.as_deref().unwrap_or_default());
        let before = report.mistakes.len();
        let level = section::level_of(section, &mut report);
        let options = Options::section(section, level, &preamble, &mut report);
        explained.extend(explain::of(Some(&name), &options, &global));
        if section::is_launcher(level) {
            launchers.extend(Launcher::build(name, &options, &mut report));
        } else {
            tunnels.extend(Tunnel::build(name, &options, &global, &mut report));
        }
        if cut || report.mistakes.len() > before {
            troubled.insert(options.place.clone());
        }
    }
    let inetd = if sections.is_empty() && report.mistakes.is_empty() {
        inetd(&preamble, &global, &mut report).map(Box::new)
    } else {
        None
    };
    section::compare(&tunnels, &launchers, &mut report);
    adullact::share(&mut launchers, &mut report);
    let Report { mistakes, warnings } = report.sorted();
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let config = Config { path, global, tunnels, inetd, launchers, warnings, explained };
    if mistakes.is_empty() { Ok(config) } else { Err(Rejected { mistakes, rest: Some(Box::new(config)), troubled }) }
}

/// stunnel's inetd mode: what stands in a file without sections is the one service.
fn inetd(preamble: &Options, global: &Global, report: &mut Report) -> Option<Tunnel> {
    if !["connect", "exec"].iter().any(|target| preamble.has(target)) {
        report.mistake(&preamble.place, no_section());
        return None;
    }
    Tunnel::inetd(ServiceName::new(&global.service), preamble, global, report)
}

fn no_section() -> Text {
    text!(
        "there is no [section]: a tunnel or a launcher needs one; a tunnel for inetd needs `connect =` or `exec =`",
        "il n'y a aucune [section] : un tunnel ou un lanceur en demande une ; un tunnel pour inetd demande `connect =` \
         ou `exec =`"
    )
}

impl Config {
    /// Every effective value and where it comes from, in the order of the file.
    pub fn explain(&self) -> &[Explained] {
        &self.explained
    }
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
#[derive(Clone, Debug, PartialEq, Eq)]
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
///
/// Two `Places` are always equal: a section that only moved within its file means what it meant, and a reload must
/// not disturb it.
#[derive(Clone, Debug)]
pub struct Places {
    /// The section's header (for options before the first section: line 0 of the file).
    pub section: Place,
    /// Options by their name of the contract; of repeated ones the last.
    pub options: BTreeMap<&'static str, Place>,
    /// What whoever wrote the file calls them.
    pub written: BTreeMap<&'static str, String>,
}

impl Places {
    /// The line of `option`, or the section's header where the option is not written.
    pub fn of(&self, option: &str) -> &Place {
        self.options.get(option).unwrap_or(&self.section)
    }

    /// `option` as it is written, or as it is called where it is not.
    pub fn name<'a>(&'a self, option: &'a str) -> &'a str {
        self.written.get(option).map_or(option, String::as_str)
    }
}

impl PartialEq for Places {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Places {}

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

/// One end of a tunnel as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `PORT`, `HOST:PORT`.
    Tcp(Address),
    /// `/PATH`: a Unix socket.
    Unix(PathBuf),
}

impl Endpoint {
    /// Its address, if it is one of TCP.
    pub fn tcp(&self) -> Option<&Address> {
        match self {
            Self::Tcp(address) => Some(address),
            Self::Unix(_) => None,
        }
    }
}

impl From<Address> for Endpoint {
    fn from(address: Address) -> Self {
        Self::Tcp(address)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
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
    /// `CAstore`: one more file, or the system's store.
    pub ca_store: Option<Store>,
    /// `CRLfile`: PEM file of revocation lists.
    pub crl_file: Option<PathBuf>,
    /// `CRLpath`: directory of such files.
    pub crl_path: Option<PathBuf>,
    /// `pin`: SHA-256 of the `SubjectPublicKeyInfo` in DER (as in RFC 7469, 2.4).
    pub pins: Vec<crate::model::Digest>,
    /// `checkHost`, `checkEmail`, `checkIP`: alternatives, any match of any of the three lists accepts.
    pub check_host: Vec<String>,
    /// See `check_host`.
    pub check_email: Vec<String>,
    /// See `check_host`.
    pub check_ip: Vec<std::net::IpAddr>,
    /// With no `check…` list: the name that the caller expects must match (off for `defaults = stunnel` and
    /// for pinned keys; on with `probe`, where it is part of what would have been verified).
    pub dialled_name: bool,
    /// Server mode: a client without a certificate is refused (`requireCert`, `verify = 2` and above).
    pub require: bool,
    /// `defaults = stunnel` and nothing asked: nothing is refused, but one line for each service says whether
    /// verification would have succeeded.
    pub probe: bool,
    /// `defaults = stunnel`: what OpenSSL takes and webpki does not, a certificate of X.509 version 1 or of a CA
    /// (`CA:TRUE`) as somebody's own, counts where a listed authority signed it itself.
    pub old_leaves: bool,
}

/// `CAstore`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Store {
    /// `file:PATH`.
    File(PathBuf),
    /// `org.openssl.winstore:`.
    System,
}

/// What holds where nothing is written: chain up to the system's anchors, and the dialled name.
impl Default for Trust {
    fn default() -> Self {
        Self {
            check: Check::Chain,
            ca_file: None,
            ca_path: None,
            ca_store: None,
            crl_file: None,
            crl_path: None,
            pins: Vec::new(),
            check_host: Vec::new(),
            check_email: Vec::new(),
            check_ip: Vec::new(),
            dialled_name: true,
            require: false,
            probe: false,
            old_leaves: false,
        }
    }
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

#[cfg(test)]
mod tests;
