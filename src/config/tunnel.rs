//! A tunnel: a section with `accept` and `connect`.
//!
//! Values only, already valid: addresses are split, not resolved; files are named, not read.

use std::path::PathBuf;
use std::time::Duration;

use super::global::Global;
use super::section::{Options, Report};
use super::{Address, Places, TlsVersion, Trust, trust, value};
use crate::event::Level;
use crate::model::ServiceName;
use crate::text;
use crate::text::Text;

/// A tunnel. Equal when it does the same; where its options stand does not count.
#[derive(Clone, Debug, PartialEq)]
pub struct Tunnel {
    /// The section's name; two tunnels may share one, as in stunnel.
    pub name: ServiceName,
    /// Where each option stands.
    pub places: Places,
    /// `client`: plain on the accepting side, TLS towards `connect`; else the other way round.
    pub client: bool,
    /// `accept`, at least one.
    pub accept: Vec<Address>,
    /// `connect`, at least one.
    pub connect: Vec<Address>,
    /// What is demanded of the peer's certificate.
    pub trust: Trust,
    /// `cert`: PEM chain; required in server mode.
    pub cert: Option<PathBuf>,
    /// `key`; the same file as `cert` when it is not given.
    pub key: Option<PathBuf>,
    /// `sni` of client mode.
    pub sni: Sni,
    /// Lowest and highest version that is negotiated (`sslVersion…`, `options = NO_TLSv1_…`).
    pub versions: (TlsVersion, TlsVersion),
    /// `sessionResume`, and `options = NO_TICKET` in server mode.
    pub resume: bool,
    /// `failover`.
    pub failover: Failover,
    /// `delay`: resolve for each connection.
    pub delay: bool,
    /// `reset`: errors reach the plain side as a TCP reset.
    pub reset: bool,
    /// `TIMEOUTbusy`: a handshake without progress.
    pub timeout_busy: Duration,
    /// `TIMEOUTclose`: a half-closed connection without traffic; zero closes at once.
    pub timeout_close: Duration,
    /// `TIMEOUTconnect`, for each address.
    pub timeout_connect: Duration,
    /// `TIMEOUTidle`: neither side sent anything. Zero cuts at once, as in stunnel; `None` (a negative number) never.
    pub timeout_idle: Option<Duration>,
    /// `socket`, in the order of the file; the last one for a side and name counts.
    pub socket: Vec<SocketOption>,
    /// `debug`: events of this tunnel up to this level are logged.
    pub debug: Level,
}

/// `sni` of client mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sni {
    /// The host that is dialled.
    Dialled,
    /// `sni =`: none is sent.
    Off,
    /// This name.
    Name(String),
}

/// `failover`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failover {
    /// Always from the first address.
    Prio,
    /// In turn.
    RoundRobin,
}

/// `socket = a|l|r:NAME=VALUE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketOption {
    /// Which socket.
    pub side: Side,
    /// What is set.
    pub setting: Setting,
}

/// Which socket of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The listening one.
    Accept,
    /// The accepted one.
    Local,
    /// The one towards `connect`.
    Remote,
}

/// What is set on a socket; durations are whole seconds at the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// `TCP_NODELAY`.
    NoDelay(bool),
    /// `SO_KEEPALIVE`.
    KeepAlive(bool),
    /// `TCP_KEEPIDLE`.
    KeepIdle(Duration),
    /// `TCP_KEEPINTVL`.
    KeepInterval(Duration),
    /// `TCP_KEEPCNT`.
    KeepCount(u32),
    /// `SO_REUSEADDR`.
    ReuseAddr(bool),
    /// `SO_LINGER`: off, or the time.
    Linger(Option<Duration>),
    /// `SO_RCVBUF`, bytes.
    ReceiveBuffer(usize),
    /// `SO_SNDBUF`, bytes.
    SendBuffer(usize),
}

impl Tunnel {
    /// Reads a section; `None` when it lacks what a tunnel is made of (reported).
    pub(super) fn build(name: ServiceName, options: &Options, global: &Global, report: &mut Report) -> Option<Self> {
        let client = options.yes("client", false);
        let complete = check_ends(options, client, report);
        let tunnel = Self {
            name,
            places: options.places(),
            client,
            accept: options.list("accept", value::address),
            connect: options.list("connect", value::address),
            trust: trust::build(options, client, global.defaults, report),
            cert: options.get("cert", value::path),
            key: options.get("key", value::path),
            sni: sni(options, client, report),
            versions: versions(options, report),
            resume: options.yes("sessionResume", true) && (client || !is_set(options, &["NO_TICKET"])),
            failover: if options.text("failover").is_some_and(|word| word.eq_ignore_ascii_case("rr")) {
                Failover::RoundRobin
            } else {
                Failover::Prio
            },
            delay: options.yes("delay", false),
            reset: options.yes("reset", true),
            timeout_busy: seconds(options, "TIMEOUTbusy", 300),
            timeout_close: seconds(options, "TIMEOUTclose", 60),
            timeout_connect: seconds(options, "TIMEOUTconnect", 10),
            timeout_idle: options.get("TIMEOUTidle", value::duration_or_never).unwrap_or(Some(IDLE)),
            socket: options.list("socket", |text| value::socket(text).and_then(std::convert::identity)),
            debug: options.get("debug", |text| value::debug(text, true)).map_or(global.debug, |(_, level)| level),
        };
        complete.then_some(tunnel)
    }
}

fn seconds(options: &Options, name: &str, default: u64) -> Duration {
    options.get(name, value::duration).unwrap_or(Duration::from_secs(default))
}

/// stunnel's checks of a section, in its order: the certificate first.
fn check_ends(options: &Options, client: bool, report: &mut Report) -> bool {
    let mistakes = report.mistakes.len();
    if !client && !options.has("cert") && !options.is_bad("client") {
        report.mistake(&options.place, no_certificate());
    }
    if options.has("key") && !options.has("cert") {
        let text = text!("key: cert is missing beside it", "key : il manque cert à côté");
        report.mistake(options.place_of("key"), text);
    }
    let target = options.has("connect") || options.has("exec");
    if !(options.has("accept") && target) {
        report.mistake(&options.place, ends_missing(options.has("accept"), target));
    }
    report.mistakes.len() == mistakes
}

fn no_certificate() -> Text {
    text!(
        "TLS server needs a certificate: `cert = FILE`, or `client = yes` if this section is to connect with TLS",
        "un serveur TLS demande un certificat : `cert = FICHIER`, ou `client = yes` si la section doit se connecter \
         en TLS"
    )
}

fn ends_missing(accept: bool, connect: bool) -> Text {
    let missing = match (accept, connect) {
        (true, _) => "`connect =`",
        (false, true) => "`accept =`",
        (false, false) => "`accept =`, `connect =`",
    };
    text!(
        "Each service must define two endpoints: {missing} is missing",
        "un tunnel demande ses deux bouts : il manque {missing}"
    )
}

/// In server mode `sni = SERVICE:PATTERN` makes a service of names; in client mode it is the name that is sent.
fn sni(options: &Options, client: bool, report: &mut Report) -> Sni {
    let Some(entry) = options.last("sni") else { return Sni::Dialled };
    match entry.value.as_str() {
        "" => Sni::Off,
        name if client => Sni::Name(name.to_owned()),
        _ => {
            report.mistake(&entry.place, value::not_yet("sni = SERVICE:PATTERN"));
            Sni::Dialled
        }
    }
}

/// The versions that are left of what rustls has (1.2 and 1.3). Older ones are raised: a client that asks for `SSLv3`
/// gets what today's servers speak.
fn versions(options: &Options, report: &mut Report) -> (TlsVersion, TlsVersion) {
    let (mut low, mut high, mut at) = (None, None, "sslVersion");
    for entry in options.good() {
        let version = value::tls_version(&entry.value).unwrap_or_default();
        match entry.row.name {
            "sslVersion" => (low, high) = (version, version),
            "sslVersionMin" => low = version,
            "sslVersionMax" => high = version,
            _ => continue,
        }
        at = entry.row.name;
    }
    let (low, high) = (low.unwrap_or(0), high.unwrap_or(V13));
    let wrong = low > high;
    let (low, high) = if high < V12 { (V12, V13) } else { (low.max(V12), high) };
    let no12 = is_set(options, &["NO_TLSV1_2", "NO_TLSV1.2"]);
    let no13 = is_set(options, &["NO_TLSV1_3", "NO_TLSV1.3"]);
    let left: Vec<TlsVersion> = [(V12, no12, TlsVersion::V12), (V13, no13, TlsVersion::V13)]
        .into_iter()
        .filter(|(number, off, _)| !off && (low..=high).contains(number))
        .map(|(_, _, version)| version)
        .collect();
    match left.as_slice() {
        [low, .., high] if !wrong => (*low, *high),
        [only] if !wrong => (*only, *only),
        _ => {
            let at = if wrong || !(no12 || no13) { at } else { "options" };
            report.mistake(options.place_of(at), no_version());
            (TlsVersion::V12, TlsVersion::V13)
        }
    }
}

fn no_version() -> Text {
    text!(
        "Invalid protocol version range: nothing is left of TLS 1.2 and 1.3",
        "plage de versions vide : il ne reste rien de TLS 1.2 et 1.3"
    )
}

/// Whether one of these of `options =` is set once all lines have been read.
fn is_set(options: &Options, names: &[&str]) -> bool {
    let all = options.list("options", value::tls_option);
    all.iter().rfind(|(_, name)| names.contains(&name.as_str())).is_some_and(|(set, _)| *set)
}

/// stunnel's default: twelve hours.
const IDLE: Duration = Duration::from_hours(12);
/// See [`value::tls_version`].
const V12: u8 = 3;
/// See [`value::tls_version`].
const V13: u8 = 4;
