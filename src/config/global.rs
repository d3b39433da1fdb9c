//! Options of the whole program: those before the first section that are not defaults of sections.
//!
//! Values only; what becomes of them is the supervisor's and the platform's business.

use std::path::PathBuf;

use crate::event::Level;
use crate::text::Lang;

/// Options of the whole program.
#[derive(Clone, Debug)]
pub struct Global {
    /// `defaults`: whose defaults tunnels follow.
    pub defaults: Defaults,
    /// `state`: folder of ledger, spool, locks, quarantine.
    pub state: PathBuf,
    /// `lang`.
    pub lang: Lang,
    /// `log_format`.
    pub log_format: LogFormat,
    /// `foreground`.
    pub foreground: Foreground,
    /// `pid`.
    pub pid: Option<PathBuf>,
    /// `output`: log file.
    pub output: Option<PathBuf>,
    /// `log = overwrite`: the log file is emptied when it is opened.
    pub overwrite: bool,
    /// `debug`: events up to this level are logged.
    pub debug: Level,
    /// `debug = FACILITY.LEVEL`: the facility's number of RFC 5424, 6.2.1 (3 = daemon).
    pub facility: u8,
    /// `syslog`.
    pub syslog: bool,
    /// `service`: the name in syslog.
    pub service: String,
    /// Where each option stands.
    pub places: super::Places,
}

/// Whose defaults tunnels follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Defaults {
    /// Ours: verification on, foreground, no syslog.
    #[default]
    Pertuis,
    /// stunnel's.
    Stunnel,
}

/// `foreground`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreground {
    /// Stay, log to standard error too.
    Yes,
    /// Stay, nothing on standard error.
    Quiet,
    /// Become a daemon.
    No,
}

/// `log_format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// stunnel's lines.
    #[default]
    Text,
    /// One object a line.
    Json,
}
