//! Options of the whole program: those before the first section that are not defaults of sections.
//!
//! Values only; what becomes of them is the supervisor's and the platform's business.

use std::path::PathBuf;

use super::launcher::Alert;
use super::section::{Options, Report};
use super::{Address, Overrides, value};
use crate::event::Level;
use crate::secret::Secret;
use crate::text;
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
    /// `metrics`: where /metrics, /healthz and /readyz are served.
    pub metrics: Option<Address>,
    /// `alert`: where failing launchers without an `alert` of their own are reported.
    pub alert: Vec<Alert>,
    /// `alert_server`, with the port of submission (RFC 6409) where none is written.
    pub alert_server: Option<Address>,
    /// `alert_account`.
    pub alert_account: Option<String>,
    /// `alert_password`.
    pub alert_password: Option<Secret>,
    /// `alert_from`.
    pub alert_from: Option<String>,
    /// `chroot`: root directory once everything is bound.
    pub chroot: Option<PathBuf>,
    /// `setuid`, `setgid`: who runs once everything is bound.
    pub owner: Owner,
    /// `setEnv`: for programs that `exec` starts.
    pub environment: Vec<(String, String)>,
    /// `watch_certificates`: files of TLS are read again when they change.
    pub watch_certificates: bool,
    /// Where each option stands.
    pub places: super::Places,
}

/// `setuid` and `setgid`: names or numbers, not looked up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// `setuid`.
    pub user: Option<String>,
    /// `setgid`.
    pub group: Option<String>,
}

impl Owner {
    pub(super) fn build(options: &Options) -> Self {
        Self { user: options.get("setuid", value::some), group: options.get("setgid", value::some) }
    }
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

impl Global {
    /// Reads what stands before the first section.
    pub(super) fn build(options: &Options, overrides: Overrides, report: &mut Report) -> Self {
        let word = |name| options.text(name).map(str::to_lowercase);
        let defaults = match word("defaults").as_deref() {
            Some("stunnel") => Defaults::Stunnel,
            None if overrides.program_is_stunnel => Defaults::Stunnel,
            _ => Defaults::Pertuis,
        };
        let as_stunnel = defaults == Defaults::Stunnel;
        let (facility, debug) = options.get("debug", |text| value::debug(text, true)).unwrap_or((None, Level::Notice));
        let global = Self {
            defaults,
            state: options.get("state", value::path).unwrap_or_else(default_state),
            // who looks for stunnel's words looks for English ones
            lang: options.get("lang", |text| Ok(Lang::from_locale(text))).unwrap_or(if as_stunnel {
                Lang::En
            } else {
                overrides.lang
            }),
            log_format: if word("log_format").as_deref() == Some("json") { LogFormat::Json } else { LogFormat::Text },
            foreground: match options.text("foreground").map(super::ini::fold).as_deref() {
                Some("yes" | "oui") => Foreground::Yes,
                Some("quiet") => Foreground::Quiet,
                None if !as_stunnel => Foreground::Yes,
                _ => Foreground::No,
            },
            pid: options.get("pid", value::path),
            output: options.get("output", value::path),
            overwrite: word("log").as_deref() == Some("overwrite"),
            debug,
            facility: facility.unwrap_or(DAEMON),
            syslog: options.yes("syslog", as_stunnel && cfg!(unix)),
            service: options.text("service").unwrap_or(if as_stunnel { "stunnel" } else { "pertuis" }).to_owned(),
            metrics: options.get("metrics", value::address),
            alert: options.list("alert", value::alert),
            alert_server: options
                .get("alert_server", value::server)
                .map(|(host, port)| Address { host: Some(host), port: port.unwrap_or(SUBMISSION) }),
            alert_account: options.get("alert_account", value::some),
            alert_password: options.get("alert_password", value::secret),
            alert_from: options.get("alert_from", value::some),
            chroot: options.get("chroot", value::path),
            owner: Owner::build(options),
            environment: options.list("setEnv", value::environment),
            watch_certificates: options.yes("watch_certificates", false),
            places: options.places(),
        };
        if global.foreground == Foreground::No {
            demand_full_paths(options, report);
        }
        global
    }
}

/// A daemon leaves its working directory, so a relative path would mean another file after a reload.
fn demand_full_paths(options: &Options, report: &mut Report) {
    for (name, what) in [("output", "Log"), ("pid", "Pid")] {
        let Some(entry) = options.last(name) else { continue };
        if !entry.value.is_empty() && !std::path::Path::new(&entry.value).is_absolute() {
            let text = text!(
                "{name}: {what} file must include full path name with foreground = no",
                "{name} : le fichier demande son chemin complet avec foreground = no"
            );
            report.mistake(&entry.place, text);
        }
    }
}

/// Where the ledger lives if the file does not say.
pub(super) fn default_state() -> PathBuf {
    if cfg!(windows) {
        let data = std::env::var_os("ProgramData").map_or_else(|| PathBuf::from(r"C:\ProgramData"), PathBuf::from);
        return data.join("pertuis");
    }
    PathBuf::from("/var/lib/pertuis")
}

/// RFC 6409, 3.1.
const SUBMISSION: u16 = 587;
/// The facility of RFC 5424, 6.2.1.
const DAEMON: u8 = 3;
