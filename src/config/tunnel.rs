//! A tunnel: a section with two ends, mostly `accept` and `connect`.
//!
//! Values only, already valid: addresses are split, not resolved; files are named, not read.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::global::Global;
use super::protocol::Protocol;
use super::section::{Options, Report};
use super::{Endpoint, Owner, Places, Store, TlsVersion, Trust, ini, tls, trust, value};
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
    /// `accept`. None: a program that starts by itself (`exec` and `connect`), inetd mode, a service of names.
    pub accept: Vec<Endpoint>,
    /// `connect`. None: `exec`, or a target that the client chooses (`transparent`, `protocol`).
    pub connect: Vec<Endpoint>,
    /// `exec`: in place of `connect`; beside `connect` in place of `accept`.
    pub exec: Option<Exec>,
    /// `retry`: after its end a program that started by itself starts again so much later.
    pub retry: Option<Duration>,
    /// `redirect`: where clients go whose certificate is refused.
    pub redirect: Vec<Endpoint>,
    /// `protocol`.
    pub protocol: Option<Protocol>,
    /// `local`: source address of outgoing connections, a name or an address.
    pub local: Option<String>,
    /// `transparent`.
    pub transparent: Transparent,
    /// `setuid`, `setgid`: owner of the Unix sockets of `accept`.
    pub owner: Owner,
    /// What is demanded of the peer's certificate.
    pub trust: Trust,
    /// `cert`: PEM chain; required in server mode.
    pub cert: Option<PathBuf>,
    /// `key`; the same file as `cert` when it is not given.
    pub key: Option<PathBuf>,
    /// `sni` of client mode.
    pub sni: Sni,
    /// `sni` of server mode: it takes connections of another tunnel.
    pub virtual_host: Option<VirtualHost>,
    /// Lowest and highest version that is negotiated (`sslVersion…`, `options = NO_TLSv1_…`).
    pub versions: (TlsVersion, TlsVersion),
    /// `sessionResume`.
    pub resume: bool,
    /// Cipher suites, groups, session cache, tickets.
    pub tls: tls::Settings,
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
    /// `logId`.
    pub log_id: LogId,
}

/// `exec` and `execArgs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exec {
    /// The program.
    pub program: PathBuf,
    /// Its arguments, the name it is called by first; at least that one.
    pub arguments: Vec<String>,
    /// `setEnv`.
    pub environment: Vec<(String, String)>,
}

/// `transparent`: which addresses of the client's connection the outgoing one keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transparent {
    /// It comes from the client's own address.
    pub source: bool,
    /// It goes to where the client wanted to go before the firewall redirected it.
    pub destination: bool,
}

/// `sni = SERVICE:PATTERN`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualHost {
    /// The section whose connections it takes; it stands earlier in the file.
    pub of: ServiceName,
    /// A server name, or `*` with a suffix.
    pub pattern: String,
}

/// `logId`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogId {
    /// The connection's number; also for `thread` and `process`.
    Sequential,
    /// A name that no other connection has, on whatever machine.
    Unique,
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
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// `SO_BINDTODEVICE`: an interface; empty for any.
    Device(String),
    /// `IP_TOS`, for IPv6 its traffic class.
    TypeOfService(u32),
    /// `IP_TTL`, for IPv6 its hop limit.
    TimeToLive(u32),
    /// `IP_FREEBIND`: an address may be bound that the machine does not have (yet).
    FreeBind(bool),
    /// `IPV6_V6ONLY`: `::` is not for IPv4 too.
    OnlyIpv6(bool),
    /// `TCP_MAXSEG`, bytes.
    MaxSegment(u32),
}

impl Setting {
    /// Its name in `socket(7)`, `tcp(7)`, `ip(7)`, `ipv6(7)`, which is stunnel's.
    pub fn name(&self) -> &'static str {
        match self {
            Self::NoDelay(_) => "TCP_NODELAY",
            Self::KeepAlive(_) => "SO_KEEPALIVE",
            Self::KeepIdle(_) => "TCP_KEEPIDLE",
            Self::KeepInterval(_) => "TCP_KEEPINTVL",
            Self::KeepCount(_) => "TCP_KEEPCNT",
            Self::ReuseAddr(_) => "SO_REUSEADDR",
            Self::Linger(_) => "SO_LINGER",
            Self::ReceiveBuffer(_) => "SO_RCVBUF",
            Self::SendBuffer(_) => "SO_SNDBUF",
            Self::Device(_) => "SO_BINDTODEVICE",
            Self::TypeOfService(_) => "IP_TOS",
            Self::TimeToLive(_) => "IP_TTL",
            Self::FreeBind(_) => "IP_FREEBIND",
            Self::OnlyIpv6(_) => "IPV6_V6ONLY",
            Self::MaxSegment(_) => "TCP_MAXSEG",
        }
    }

    /// Whether it decides who reaches a socket: without effect it would open more than was asked for.
    pub fn restricts(&self) -> bool {
        matches!(self, Self::Device(_) | Self::OnlyIpv6(_))
    }
}

impl Tunnel {
    /// The files of TLS that it names, each with its option.
    pub fn files(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let trust = &self.trust;
        let store = match &trust.ca_store {
            Some(Store::File(path)) => Some(path),
            _ => None,
        };
        let named = [
            ("key", self.key.as_ref()),
            ("cert", self.cert.as_ref()),
            ("CAfile", trust.ca_file.as_ref()),
            ("CApath", trust.ca_path.as_ref()),
            ("CAstore", store),
            ("CRLfile", trust.crl_file.as_ref()),
            ("CRLpath", trust.crl_path.as_ref()),
        ];
        named.into_iter().filter_map(|(option, path)| Some((option, path?.as_path())))
    }

    /// Reads a section; `None` when it lacks what a tunnel is made of (reported).
    pub(super) fn build(name: ServiceName, options: &Options, global: &Global, report: &mut Report) -> Option<Self> {
        Self::of(name, options, global, false, report)
    }

    /// The same for what stands in a file without sections: standard input is one of the two ends.
    pub(super) fn inetd(name: ServiceName, options: &Options, global: &Global, report: &mut Report) -> Option<Self> {
        Self::of(name, options, global, true, report)
    }

    fn of(name: ServiceName, options: &Options, global: &Global, inetd: bool, report: &mut Report) -> Option<Self> {
        let client = options.yes("client", false);
        let mistakes = report.mistakes.len();
        check_certificate(options, client, report);
        let protocol = Protocol::build(options, client, report);
        let virtual_host = virtual_host(options, client, report);
        check_ends(options, client, inetd, report);
        check_redirect(options, client, report);
        warn_of_idle_options(options, client, report);
        let complete = report.mistakes.len() == mistakes;
        let tunnel = Self {
            name,
            places: options.places(),
            client,
            accept: options.list("accept", value::endpoint),
            connect: options.list("connect", value::destination),
            exec: exec(options, global, report),
            retry: options.get("retry", value::retry).flatten(),
            redirect: options.list("redirect", value::destination),
            protocol,
            local: options.get("local", value::some),
            transparent: transparent(options, report),
            owner: Owner::build(options),
            trust: trust::build(options, client, global.defaults, report),
            cert: options.get("cert", value::path),
            key: options.get("key", value::path),
            sni: sni(options, client),
            virtual_host,
            versions: versions(options, report),
            resume: options.yes("sessionResume", true),
            tls: tls::Settings::build(options, client, report),
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
            log_id: match options.text("logId").map(str::to_ascii_lowercase).as_deref() {
                Some("unique") => LogId::Unique,
                _ => LogId::Sequential,
            },
        };
        complete.then_some(tunnel)
    }
}

fn seconds(options: &Options, name: &str, default: u64) -> Duration {
    options.get(name, value::duration).unwrap_or(Duration::from_secs(default))
}

/// stunnel's first check of a section.
fn check_certificate(options: &Options, client: bool, report: &mut Report) {
    if !client && !options.has("cert") && !options.is_bad("client") {
        report.mistake(&options.place, no_certificate());
    }
    if options.has("key") && !options.has("cert") {
        let text = text!("key: cert is missing beside it", "key : il manque cert à côté");
        report.mistake(options.place_of("key"), text);
    }
    for name in ["cert", "key"].into_iter().filter(|name| options.text(name).is_some_and(is_token)) {
        let text = text!(
            "{name}: keys on tokens (PKCS#11) cannot be used: put key and certificate into a PEM file (see docs/tls.md)",
            "{name} : les clés sur jeton (PKCS#11) sont inutilisables : mettre clé et certificat dans un fichier PEM (voir \
             docs/tls.fr.md)"
        );
        report.mistake(options.place_of(name), text);
    }
}

/// RFC 7512.
fn is_token(path: &str) -> bool {
    path.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("pkcs11:"))
}

/// A tunnel has two ends (stunnel 5.75, options.c: "Each service must define two endpoints"): where it comes from and
/// where it goes to, or a program and where it goes to.
fn check_ends(options: &Options, client: bool, inetd: bool, report: &mut Report) {
    if inetd && options.has("accept") {
        let text = text!(
            "Inetd mode: 'accept' option is only allowed in a [section]",
            "mode inetd : `accept` va dans une [section]"
        );
        return report.mistake(options.place_of("accept"), text);
    }
    let named = !client && options.text("sni").is_some_and(|sni| !sni.is_empty());
    let from = inetd || options.has("accept") || named;
    let protocol = options.text("protocol").filter(|_| !client).map(ini::fold);
    // stunnel demands a second end beside `connect`, which it never uses, and forbids it beside `socks`
    let given = options.has("connect") || options.has("exec");
    let chosen = protocol.is_some_and(|word| word == "socks" || (word == "connect" && !given));
    let kept = options.text("transparent").is_some_and(|word| ["destination", "both"].contains(&&*ini::fold(word)));
    let to = [options.has("connect"), options.has("exec"), chosen, kept];
    match (from, to.iter().filter(|given| **given).count()) {
        (true, 1) => {}
        // a program that starts by itself
        (false, 2) if options.has("connect") && options.has("exec") => {}
        (_, count @ 2..) => {
            let at = if options.has("exec") { "exec" } else { "connect" };
            report.mistake(options.place_of(at), ends_doubled(count));
        }
        (from, count) => report.mistake(&options.place, ends_missing(from, count > 0)),
    }
}

/// `redirect` is for clients whose certificate is refused.
fn check_redirect(options: &Options, client: bool, report: &mut Report) {
    if client && options.has("redirect") {
        let text = text!(
            "\"redirect\" is unsupported in client sections: it is for clients whose certificate is refused",
            "`redirect` n'existe pas en mode client : elle vaut pour les clients dont le certificat est refusé"
        );
        report.mistake(options.place_of("redirect"), text);
    }
}

/// Options that say something only beside another one: written in the section itself they are meant, and do nothing.
fn warn_of_idle_options(options: &Options, client: bool, report: &mut Report) {
    let negotiates = options.has("protocol");
    let idle = [
        ("retry", options.has("exec") && options.has("connect"), "exec = … + connect = …"),
        ("execArgs", options.has("exec"), "exec = …"),
        ("protocolHost", negotiates, "protocol = …"),
        ("protocolUsername", negotiates, "protocol = …"),
        ("protocolPassword", negotiates, "protocol = …"),
        ("protocolAuthentication", negotiates, "protocol = …"),
        ("protocolHeader", negotiates, "protocol = …"),
        ("requireCert", !client, "client = no"),
    ];
    for (option, acts, beside) in idle {
        let Some(entry) = options.last(option).filter(|entry| !acts && !entry.inherited) else { continue };
        if value::yes_no(&entry.value) != Ok(false) {
            let text = text!(
                "{option} has no effect here: it acts only beside `{beside}`",
                "{option} est sans effet ici : elle n'agit qu'à côté de `{beside}`"
            );
            report.warning(&entry.place, text);
        }
    }
}

fn exec(options: &Options, global: &Global, report: &mut Report) -> Option<Exec> {
    let program = options.get("exec", value::path)?;
    if !cfg!(unix) {
        report.mistake(options.place_of("exec"), text!("exec: only on Unix", "exec : seulement sous Unix"));
        return None;
    }
    let written = options.text("execArgs").unwrap_or_default();
    let mut arguments: Vec<String> = written.split_ascii_whitespace().map(str::to_owned).collect();
    if arguments.is_empty() {
        arguments.push(program.to_string_lossy().into_owned());
    }
    Some(Exec { program, arguments, environment: global.environment.clone() })
}

fn transparent(options: &Options, report: &mut Report) -> Transparent {
    let (source, destination) = match options.text("transparent").map(ini::fold).as_deref() {
        Some("source" | "yes" | "oui") => (true, false),
        Some("destination") => (false, true),
        Some("both") => (true, true),
        _ => (false, false),
    };
    if (source || destination) && !cfg!(target_os = "linux") {
        let text = text!("transparent: only on Linux", "transparent : seulement sous Linux");
        report.mistake(options.place_of("transparent"), text);
    }
    Transparent { source, destination }
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

fn ends_doubled(count: usize) -> Text {
    text!(
        "Each service must define two endpoints: {count} targets beside `accept =`, leave one of `connect =`, `exec =`",
        "un tunnel a deux bouts : {count} cibles à côté d'`accept =`, n'en laisser qu'une de `connect =`, `exec =`"
    )
}

fn sni(options: &Options, client: bool) -> Sni {
    match options.text("sni").filter(|_| client) {
        None => Sni::Dialled,
        Some("") => Sni::Off,
        Some(name) => Sni::Name(name.to_owned()),
    }
}

/// In server mode `sni = SERVICE:PATTERN` takes the connections of an earlier section.
fn virtual_host(options: &Options, client: bool, report: &mut Report) -> Option<VirtualHost> {
    let entry = options.last("sni").filter(|entry| !client && !entry.value.is_empty())?;
    let split = entry.value.rsplit_once(':').map(|(of, pattern)| (of.trim(), pattern.trim()));
    let Some((of, pattern)) = split.filter(|(_, pattern)| !pattern.is_empty()) else {
        let text = text!(
            "Invalid SNI parameter format: in server mode expected SERVICE:PATTERN, as in web:*.example.com",
            "sni : en mode serveur, attendu SERVICE:MOTIF, comme web:*.example.com"
        );
        report.mistake(&entry.place, text);
        return None;
    };
    Some(VirtualHost { of: ServiceName::new(of), pattern: pattern.to_owned() })
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
pub(super) fn is_set(options: &Options, names: &[&str]) -> bool {
    let all = options.list("options", value::tls_option);
    all.iter().rfind(|(_, name)| names.contains(&name.as_str())).is_some_and(|(set, _)| *set)
}

/// stunnel's default: twelve hours.
const IDLE: Duration = Duration::from_hours(12);
/// See [`value::tls_version`].
const V12: u8 = 3;
/// See [`value::tls_version`].
const V13: u8 = 4;
