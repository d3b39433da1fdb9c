//! A launcher: a section with `launcher =`.
//!
//! Values only, already valid: patterns are compiled, secrets read, durations and sizes in their own types;
//! directories are named, not looked at.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::global::Defaults;
use super::oauth::{self, OAuth};
use super::option::{self, Level};
use super::pattern::Pattern;
use super::schedule::Interval;
use super::section::{Options, Report};
use super::template::Template;
use super::{Address, Places, Trust, adullact, ini, trust, value};
use crate::model::{Disposition, EnvelopeKind, ServiceName};
use crate::secret::Secret;
use crate::text;
use crate::text::Text;

/// A launcher. Equal when it does the same; where its options stand does not count.
#[derive(Clone, Debug, PartialEq)]
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
    /// `cert`, `key`: a certificate of our own that the server may ask for; with `oauth` they are the application's, and
    /// stand there.
    pub cert: Option<PathBuf>,
    /// See `cert`.
    pub key: Option<PathBuf>,
    /// `account`; present for imap and pop3. For o365 the account that must have signed in.
    pub account: Option<String>,
    /// `password`.
    pub password: Option<Secret>,
    /// `auth`.
    pub auth: Auth,
    /// The app registration and the sign-in; present for o365, and with `auth = xoauth2` and `oauthbearer`.
    pub oauth: Option<OAuth>,
    /// `mailbox`: the one that is read, where it is not that of the account. o365 only.
    pub mailbox: Option<String>,
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
    /// `take`.
    pub take: Take,
    /// `inline`.
    pub inline: bool,
    /// `nested`.
    pub nested: bool,
    /// `empty = message`: the .eml of a message without any document is delivered.
    pub empty_message: bool,
    /// `max_size`, bytes.
    pub max_size: u64,
    /// `max_unpacked`, bytes.
    pub max_unpacked: u64,
    /// `max_entries`.
    pub max_entries: usize,
    /// `max_depth`.
    pub max_depth: usize,
    /// `deliver`.
    pub deliver: PathBuf,
    /// `staging`; `None`: `.pertuis-staging` beside `deliver`.
    pub staging: Option<PathBuf>,
    /// `name`.
    pub template: Template,
    /// `group = folder` with its `folder_name`; `None`: files side by side.
    pub folder: Option<Template>,
    /// `index`.
    pub index: Index,
    /// `after`.
    pub after: Disposition,
    /// `after_empty`.
    pub after_empty: Disposition,
    /// `keep`: how long `after = delete` and `move` wait after delivery.
    pub keep: Duration,
    /// `interval`.
    pub interval: Interval,
    /// `idle`.
    pub idle: bool,
    /// `proxy`.
    pub proxy: Option<Proxy>,
    /// `alert`: its own ones, else those of the whole program.
    pub alert: Vec<Alert>,
    /// `alert_after`.
    pub alert_after: Duration,
    /// `quarantine`; `None`: below `state`.
    pub quarantine: Option<PathBuf>,
    /// `settle`.
    pub settle: Duration,
    /// `envelope`: the kinds that are taken, all where none is written.
    pub envelope: Vec<EnvelopeKind>,
    /// What has no kind is taken too: this is the first launcher of the file on its directory. Of adullact alone.
    pub takes_unknown: bool,
    /// `alias`: further words for kinds, in their order.
    pub alias: Vec<(String, EnvelopeKind)>,
    /// `end_marker`: a name besides the known ones.
    pub end_marker: Option<String>,
    /// `max_ratio`: bytes that may come out of each byte of an archive.
    pub max_ratio: u64,
}

/// The kinds of launcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `imap`.
    Imap,
    /// `pop3` (`pop`).
    Pop3,
    /// `o365`: Microsoft 365, through Microsoft Graph.
    O365,
    /// `adullact`: envelopes that are dropped into a directory.
    Adullact,
    /// `directory` (`repertoire`).
    Directory,
}

impl Kind {
    /// Whether its `source` is a directory into which others drop files.
    pub fn is_dropped(self) -> bool {
        matches!(self, Self::Directory | Self::Adullact)
    }

    /// The word of the contract, also the index's `source`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Imap => "imap",
            Self::Pop3 => "pop3",
            Self::O365 => "o365",
            Self::Adullact => "adullact",
            Self::Directory => "directory",
        }
    }
}

/// `tls` of a launcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// TLS from the first byte (RFC 8314, 3).
    Implicit,
    /// STARTTLS (RFC 9051, 6.2.1) or STLS (RFC 2595, 4).
    StartTls,
    /// None; only towards loopback unless `allow_clear_text = yes`.
    None,
}

/// `auth`: how a launcher logs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// The strongest that both sides have.
    Auto,
    /// The protocol's own login command (IMAP: RFC 9051, 6.2.3).
    Login,
    /// SASL PLAIN (RFC 4616).
    Plain,
    /// SASL CRAM-MD5 (RFC 2195).
    CramMd5,
    /// SASL SCRAM-SHA-256 (RFC 5802, 7677).
    ScramSha256,
    /// POP3's APOP (RFC 1939, 7).
    Apop,
    /// A token in the form of Google and Microsoft.
    XOAuth2,
    /// A token in the form of RFC 7628.
    OAuthBearer,
}

impl Auth {
    /// Whether the login takes a token instead of a password.
    pub fn is_oauth(self) -> bool {
        matches!(self, Self::XOAuth2 | Self::OAuthBearer)
    }
}

/// `take`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Take {
    /// What is attached.
    #[default]
    Attachments,
    /// The message itself.
    Message,
    /// Both.
    Both,
}

/// `index`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Index {
    /// None.
    #[default]
    None,
    /// JSON.
    Json,
    /// XML.
    Xml,
    /// CSV.
    Csv,
}

/// `alert`: where a failing launcher is reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alert {
    /// A mail to this address.
    Mail(String),
    /// A POST to this URL.
    Web(String),
}

/// `proxy`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// Its protocol.
    pub kind: ProxyKind,
    /// Where it is.
    pub address: Address,
    /// What it asks for.
    pub login: Option<(String, Secret)>,
}

/// See [`Proxy::kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyKind {
    /// HTTP CONNECT (RFC 9110, 9.3.6).
    Http,
    /// SOCKS 5 (RFC 1928, 1929); the proxy resolves the name.
    Socks5,
}

/// `since`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// A day.
    Date(jiff::civil::Date),
    /// So long before now.
    Back(Duration),
}

impl Since {
    /// When it begins; a day begins at midnight of this machine's clock. `None`: before all times.
    pub fn first_moment(self) -> Option<SystemTime> {
        match self {
            Self::Date(day) => day.to_zoned(jiff::tz::TimeZone::system()).ok().map(|start| start.timestamp().into()),
            Self::Back(back) => SystemTime::now().checked_sub(back),
        }
    }
}

impl Launcher {
    /// Reads a section; `None` when it lacks what a launcher is made of (reported).
    pub(super) fn build(name: ServiceName, options: &Options, report: &mut Report) -> Option<Self> {
        let kind = kind(options);
        let complete = check_required(options, kind, report);
        let tls = tls(options);
        let server = server(options, kind, tls);
        let mut launcher = Self {
            name,
            places: options.places(),
            kind,
            enabled: options.yes("enabled", true),
            tls,
            trust: trust::build(options, true, Defaults::Pertuis, report),
            cert: options.get("cert", value::path),
            key: options.get("key", value::path),
            account: options.get("account", value::some),
            password: password(options, server.as_ref()),
            auth: auth(options),
            oauth: None,
            mailbox: options.get("mailbox", value::some),
            source: source(options, kind),
            subfolders: options.yes("subfolders", false),
            unseen_only: options.yes("unseen_only", false),
            since: options.get("since", value::since),
            filter: options.list("filter", Pattern::parse),
            filter_from: options.list("filter_from", Pattern::parse),
            filter_subject: options.list("filter_subject", Pattern::parse),
            take: take(options),
            inline: options.yes("inline", false),
            nested: options.yes("nested", false),
            empty_message: word(options, "empty").as_deref() == Some("message"),
            max_size: options.get("max_size", value::size).unwrap_or(largest(kind)),
            max_unpacked: options.get("max_unpacked", value::size).unwrap_or(UNPACKED),
            max_entries: options.get("max_entries", value::at_least_one).unwrap_or(ENTRIES),
            max_depth: options.get("max_depth", value::at_least_one).unwrap_or(DEPTH),
            deliver: options.get("deliver", value::path).unwrap_or_default(),
            staging: options.get("staging", value::path),
            template: template(options, kind),
            folder: folder(options),
            index: index(options, kind),
            after: after(options, "after", kind, report),
            after_empty: after(options, "after_empty", kind, report),
            keep: options.get("keep", value::duration).unwrap_or_default(),
            interval: options.get("interval", Interval::parse).unwrap_or(Interval::Every(INTERVAL)),
            idle: options.yes("idle", true),
            proxy: options.get("proxy", value::proxy),
            alert: alert(options),
            alert_after: options.get("alert_after", value::duration).unwrap_or(ALERT_AFTER),
            quarantine: options.get("quarantine", value::path),
            settle: options.get("settle", value::duration).unwrap_or(SETTLE),
            envelope: adullact::envelope(options),
            takes_unknown: false, // only all launchers together tell
            alias: options.list("alias", value::alias),
            end_marker: options.get("end_marker", value::file_name),
            max_ratio: adullact::max_ratio(options),
            server,
        };
        launcher.check(options, report);
        complete.then_some(launcher)
    }

    /// What no option can say by itself.
    fn check(&mut self, options: &Options, report: &mut Report) {
        if self.name.as_str().trim().is_empty() {
            report.mistake(&options.place, no_name());
        }
        self.check_clear_text(options, report);
        self.check_pop3(options, report);
        self.check_oauth(options, report);
        self.check_folder(options, report);
        self.check_directories(options, report);
    }

    /// `tls = none` shows password and mails to everyone on the way.
    fn check_clear_text(&self, options: &Options, report: &mut Report) {
        // what is loopback to a proxy elsewhere is not ours
        let proxy = self.proxy.as_ref().map(|proxy| &proxy.address);
        let hosts = [self.server.as_ref(), proxy].into_iter().flatten().filter_map(|address| address.host.as_deref());
        let far = hosts.into_iter().find(|host| !value::is_loopback(host));
        if let Some(host) = far.filter(|_| self.tls == Tls::None && !options.yes("allow_clear_text", false)) {
            report.mistake(options.place_of("tls"), clear_text(host));
        }
    }

    /// What is moved into the folder that is read would be found there again, under a new key.
    fn check_folder(&self, options: &Options, report: &mut Report) {
        if !matches!(self.kind, Kind::Imap | Kind::O365) {
            return;
        }
        let folded = |folder: &str| folder.trim_matches('/').to_lowercase();
        let into_itself =
            |what: &Disposition| matches!(what, Disposition::Move(to) if folded(to) == folded(&self.source));
        for (name, what) in [("after", &self.after), ("after_empty", &self.after_empty)] {
            if into_itself(what) {
                report.mistake(options.place_of(name), moved_into_itself(options.written(name), &self.source));
            }
        }
    }

    /// POP3 knows one folder, and no marks on its messages.
    fn check_pop3(&mut self, options: &Options, report: &mut Report) {
        if self.kind != Kind::Pop3 {
            if self.auth == Auth::Apop {
                let text = text!("auth = apop is POP3's alone", "auth = apop n'existe qu'en POP3");
                report.mistake(options.place_of("auth"), text);
            }
            return;
        }
        let asked = [
            ("source", !self.source.eq_ignore_ascii_case(INBOX)),
            ("subfolders", self.subfolders),
            ("unseen_only", self.unseen_only),
        ];
        for (name, _) in asked.into_iter().filter(|(_, asked)| *asked) {
            // a default of the preamble is meant for the others
            if options.last(name).is_some_and(|entry| !entry.inherited) {
                report.mistake(options.place_of(name), not_in_pop3(options.written(name)));
            }
        }
        (self.source, self.subfolders, self.unseen_only, self.idle) = (INBOX.to_owned(), false, false, false);
    }

    /// A sign-in with OAuth takes the place of a password, and the certificate is the application's. Graph is reached by
    /// its root, not by a server.
    fn check_oauth(&mut self, options: &Options, report: &mut Report) {
        self.oauth = OAuth::build(self, options, report);
        let graph = self.kind == Kind::O365;
        if graph {
            oauth::refuse(&NOT_FOR_O365, options, report, not_for_o365);
            (self.server, self.tls, self.auth, self.idle) = (None, Tls::Implicit, Auth::Auto, false);
        } else if self.auth.is_oauth() {
            oauth::refuse(&["password"], options, report, token_or_password);
        }
        if graph || self.auth.is_oauth() {
            (self.password, self.cert, self.key) = (None, None, None);
        }
    }

    /// Nothing may appear in `deliver` but finished files, and nothing that is delivered may be taken again.
    fn check_directories(&self, options: &Options, report: &mut Report) {
        if !options.has("deliver") || self.deliver.as_os_str().is_empty() {
            return;
        }
        let inside = |path: &Path| path.starts_with(&self.deliver);
        let own = [("staging", self.staging.as_deref()), ("quarantine", self.quarantine.as_deref())];
        for (name, _) in own.iter().filter(|(_, path)| path.is_some_and(inside)) {
            report.mistake(options.place_of(name), inside_deliver(options.written(name), options.written("deliver")));
        }
        if !self.kind.is_dropped() {
            return;
        }
        let source = Path::new(&self.source);
        if source == self.deliver {
            report.mistake(options.place_of("deliver"), same_directory(options.written("deliver")));
        }
        for (name, what) in [("after", &self.after), ("after_empty", &self.after_empty)] {
            if matches!(what, Disposition::Move(to) if Path::new(to).starts_with(source)) {
                report.mistake(options.place_of(name), moved_inside(options.written(name), options.written("source")));
            }
        }
        if self.kind == Kind::Adullact {
            adullact::check_directories(self, options, report);
        }
    }
}

pub(super) fn word(options: &Options, name: &str) -> Option<String> {
    options.text(name).map(ini::fold)
}

fn auth(options: &Options) -> Auth {
    match word(options, "auth").as_deref() {
        Some("login") => Auth::Login,
        Some("plain") => Auth::Plain,
        Some("crammd5") => Auth::CramMd5,
        Some("scramsha256") => Auth::ScramSha256,
        Some("apop") => Auth::Apop,
        Some("xoauth2") => Auth::XOAuth2,
        Some("oauthbearer") => Auth::OAuthBearer,
        _ => Auth::Auto,
    }
}

fn kind(options: &Options) -> Kind {
    match word(options, "launcher").as_deref() {
        _ if options.level == Level::Directory => Kind::Directory,
        _ if options.level == Level::Adullact => Kind::Adullact,
        Some("pop3" | "pop") => Kind::Pop3,
        Some("o365") => Kind::O365,
        _ => Kind::Imap,
    }
}

fn tls(options: &Options) -> Tls {
    match word(options, "tls").as_deref() {
        Some("none") => Tls::None,
        Some("starttls") => Tls::StartTls,
        _ => Tls::Implicit,
    }
}

/// The port is the protocol's own where none is written.
fn server(options: &Options, kind: Kind, tls: Tls) -> Option<Address> {
    let (host, port) = options.get("server", value::server)?;
    Some(Address { host: Some(host), port: port.unwrap_or(usual_port(kind, tls)) })
}

fn usual_port(kind: Kind, tls: Tls) -> u16 {
    match (kind, tls) {
        (Kind::Pop3, Tls::Implicit) => POP3S,
        (Kind::Pop3, _) => POP3,
        (_, Tls::Implicit) => IMAPS,
        _ => IMAP,
    }
}

fn take(options: &Options) -> Take {
    match word(options, "take").as_deref() {
        Some("message") => Take::Message,
        Some("both") => Take::Both,
        _ => Take::Attachments,
    }
}

fn folder(options: &Options) -> Option<Template> {
    let grouped = word(options, "group").as_deref() == Some("folder");
    grouped.then(|| options.get("folder_name", Template::folder).unwrap_or_else(Template::key))
}

fn template(options: &Options, kind: Kind) -> Template {
    match kind {
        Kind::Adullact => adullact::template(options),
        _ => options.get("name", Template::document).unwrap_or_else(Template::own_name),
    }
}

fn index(options: &Options, kind: Kind) -> Index {
    match word(options, "index").as_deref() {
        None if kind == Kind::Adullact => Index::Json,
        Some("json") => Index::Json,
        Some("xml") => Index::Xml,
        Some("csv") => Index::Csv,
        _ => Index::None,
    }
}

/// A section's own alerts replace those before the first section (contract, section 1: inheritance).
fn alert(options: &Options) -> Vec<Alert> {
    let entries: Vec<_> = options.good().filter(|entry| entry.row.name == "alert").collect();
    let own = entries.iter().any(|entry| !entry.inherited);
    let entries = entries.into_iter().filter(|entry| !(own && entry.inherited));
    entries.filter_map(|entry| value::alert(&entry.value).ok()).collect()
}

/// A mailbox folder as it is written; a directory made absolute.
fn source(options: &Options, kind: Kind) -> String {
    match kind {
        Kind::Imap | Kind::Pop3 | Kind::O365 => options.text("source").unwrap_or(INBOX).to_owned(),
        Kind::Directory | Kind::Adullact => {
            let path = options.get("source", value::path).unwrap_or_default();
            path.to_string_lossy().into_owned()
        }
    }
}

/// The password; Google shows an application password as four groups of four letters, and the blanks are not part
/// of it.
fn password(options: &Options, server: Option<&Address>) -> Option<Secret> {
    let secret = options.get("password", value::secret)?;
    let host = server.and_then(|server| server.host.as_deref()).unwrap_or_default().to_ascii_lowercase();
    let google = ["gmail.com", "googlemail.com"].iter().any(|name| host.ends_with(name));
    let groups: Vec<&str> = secret.reveal().split_whitespace().collect();
    let grouped =
        groups.len() == 4 && groups.iter().all(|g| g.len() == 4 && g.bytes().all(|b| b.is_ascii_alphabetic()));
    if google && grouped { Some(Secret::new(groups.concat())) } else { Some(secret) }
}

/// What a directory cannot do is a mistake in its own section; a default of the preamble that only mailboxes can
/// follow (`after = seen`, `after = move Done`) is none for it, and leaving a file where it is harms nothing.
fn after(options: &Options, name: &str, kind: Kind, report: &mut Report) -> Disposition {
    let Some(wanted) = options.get(name, value::after) else { return Disposition::Leave };
    let inherited = options.last(name).is_some_and(|entry| entry.inherited);
    match (kind, wanted.clone()) {
        (Kind::Directory | Kind::Adullact, Disposition::Seen | Disposition::Flag | Disposition::Category(_)) => {
            if !inherited {
                report.mistake(options.place_of(name), not_for_directories(options.written(name)));
            }
            Disposition::Leave
        }
        (Kind::Directory | Kind::Adullact, Disposition::Move(to)) if inherited && !Path::new(&to).is_absolute() => {
            Disposition::Leave
        }
        (Kind::Pop3, Disposition::Leave | Disposition::Delete) => wanted,
        (Kind::Pop3, _) => {
            if !inherited {
                report.mistake(options.place_of(name), not_for_pop3(options.written(name)));
            }
            Disposition::Leave
        }
        (Kind::Directory | Kind::Adullact, Disposition::Move(to)) => {
            Disposition::Move(value::path(&to).unwrap_or_default().to_string_lossy().into_owned())
        }
        (Kind::Imap, Disposition::Category(_)) => {
            if !inherited {
                report.mistake(options.place_of(name), not_for_imap(options.written(name)));
            }
            Disposition::Leave
        }
        (Kind::Imap | Kind::O365 | Kind::Directory | Kind::Adullact, wanted) => wanted,
    }
}

fn check_required(options: &Options, kind: Kind, report: &mut Report) -> bool {
    let required: &[&str] = match kind {
        Kind::Imap | Kind::Pop3 if auth(options).is_oauth() => &["server", "account", "deliver"],
        Kind::Imap | Kind::Pop3 => &["server", "account", "password", "deliver"],
        Kind::O365 => &["deliver"],
        Kind::Directory | Kind::Adullact => &["source", "deliver"],
    };
    if options.is_kind_unknown() {
        return false;
    }
    let mut complete = true;
    for name in required.iter().filter(|name| !options.has(name)) {
        complete = false;
        report.mistake(&options.place, missing(name, kind));
    }
    if options.has("key") && !options.has("cert") {
        let text = text!("key: cert is missing beside it", "key : il manque cert à côté");
        report.mistake(options.place_of("key"), text);
    }
    complete
}

/// Where files are prepared unless `staging` says otherwise.
pub fn staging_beside(deliver: &Path) -> PathBuf {
    deliver.parent().unwrap_or(Path::new(".")).join(".pertuis-staging")
}

/// Where quarantined items go unless `quarantine` says otherwise; a folder for each launcher below it.
pub fn quarantine_below(state: &Path) -> PathBuf {
    state.join("quarantine")
}

fn largest(kind: Kind) -> u64 {
    match kind {
        Kind::Imap | Kind::Pop3 | Kind::O365 => 150 << 20,
        Kind::Directory | Kind::Adullact => 4 << 30,
    }
}

fn no_name() -> Text {
    text!(
        "a launcher needs a name between its brackets: the ledger knows it by that",
        "un lanceur demande un nom entre ses crochets : le registre le connaît par lui"
    )
}

fn missing(name: &str, kind: Kind) -> Text {
    let kind = kind.as_str();
    let fr = option::find(name, |_| true).and_then(|row| row.aliases.first()).unwrap_or(&name);
    text!("launcher = {kind} needs `{name} =`", "lanceur = {kind} demande `{fr} =`")
}

fn clear_text(host: &str) -> Text {
    text!(
        "tls = none towards {host}: password and mails would be readable on the way; use tls = implicit, or say \
         allow_clear_text = yes",
        "tls = none vers {host} : mot de passe et courriels seraient lisibles en chemin ; utiliser tls = implicit, \
         ou dire allow_clear_text = yes"
    )
}

fn inside_deliver(name: &str, deliver: &str) -> Text {
    text!(
        "{name} lies inside {deliver}: unfinished files would be taken by the COLD; put it beside {deliver}",
        "{name} est dans {deliver} : le COLD prendrait des fichiers inachevés ; le mettre à côté de {deliver}"
    )
}

fn same_directory(deliver: &str) -> Text {
    text!(
        "{deliver} is the directory that is watched: files would be delivered again and again",
        "{deliver} est le répertoire surveillé : les fichiers seraient livrés sans fin"
    )
}

fn moved_inside(name: &str, source: &str) -> Text {
    text!(
        "{name}: the directory lies inside {source}; move out of it",
        "{name} : le répertoire est dans {source} ; en sortir"
    )
}

fn moved_into_itself(name: &str, folder: &str) -> Text {
    text!(
        "{name}: {folder} is the folder that is read: messages moved there would be found again; choose another one",
        "{name} : {folder} est le dossier qui est lu : les messages déplacés là seraient retrouvés ; en choisir un autre"
    )
}

fn not_for_pop3(name: &str) -> Text {
    text!(
        "{name}: POP3 can only leave or delete a message",
        "{name} : POP3 ne sait que laisser ou supprimer un message (leave, delete)"
    )
}

fn not_for_imap(name: &str) -> Text {
    text!(
        "{name}: only launcher = o365 has categories; IMAP can leave, mark (seen, flag), move or delete a message",
        "{name} : seul lanceur = o365 a des catégories ; IMAP sait laisser, marquer (seen, flag), déplacer ou supprimer un \
         message"
    )
}

fn not_for_o365(name: &str) -> Text {
    text!(
        "{name}: launcher = o365 has no use for it; it reaches Microsoft Graph by HTTPS (cloud, graph_root) and signs in with \
         client_id",
        "{name} : lanceur = o365 n'en a pas l'usage ; il joint Microsoft Graph en HTTPS (cloud, graph_root) et se connecte \
         avec client_id"
    )
}

fn token_or_password(name: &str) -> Text {
    text!(
        "{name}: auth = xoauth2 and oauthbearer sign in with client_id, not with a password; remove one of the two",
        "{name} : auth = xoauth2 et oauthbearer se connectent avec client_id, pas avec un mot de passe ; retirer l'un des deux"
    )
}

fn not_in_pop3(name: &str) -> Text {
    text!(
        "{name}: POP3 has one folder and no marks of what was read; use launcher = imap",
        "{name} : POP3 n'a qu'un dossier et ne marque pas ce qui est lu ; utiliser lanceur = imap"
    )
}

fn not_for_directories(name: &str) -> Text {
    text!(
        "{name}: a file can be left, moved or deleted: leave, move DIR, delete",
        "{name} : un fichier peut être laissé, déplacé ou supprimé : leave, move RÉP, delete"
    )
}

/// RFC 9051, 11: IMAP in clear.
const IMAP: u16 = 143;
/// RFC 8314, 7.3.
const IMAPS: u16 = 993;
/// RFC 1939, 3.
const POP3: u16 = 110;
/// RFC 8314, 7.3.
const POP3S: u16 = 995;
/// What a launcher that speaks with Graph has no use for.
const NOT_FOR_O365: [&str; 6] = ["server", "password", "auth", "tls", "allow_clear_text", "idle"];
/// The folder that every mailbox has (RFC 9051, 5.1), whatever its case.
const INBOX: &str = "INBOX";
/// `max_unpacked`.
const UNPACKED: u64 = 2 << 30;
/// `max_entries`.
const ENTRIES: usize = 20_000;
/// `max_depth`.
const DEPTH: usize = 8;
/// `alert_after`.
const ALERT_AFTER: Duration = Duration::from_mins(15);
/// `interval`.
const INTERVAL: Duration = Duration::from_mins(5);
/// `settle`.
const SETTLE: Duration = Duration::from_secs(30);
