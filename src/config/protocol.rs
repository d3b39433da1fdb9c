//! `protocol =` and what belongs to it: the negotiation that a tunnel plays around its TLS handshake.
//!
//! Values only, already valid; the negotiation itself is the tunnel's. Which protocol exists on which side is stunnel's
//! (protocol.c of 5.75), but for `proxy-v2`, which is ours.

use super::section::{Options, Report};
use super::{Address, value};
use crate::secret::Secret;
use crate::text;
use crate::text::Text;

/// `protocol =` with its options.
#[derive(Clone, Debug, PartialEq)]
pub struct Protocol {
    /// Which one.
    pub kind: Kind,
    /// `protocolHost` as it is written: `HOST:PORT` for `connect` and `socks`, a name for `smtp`.
    pub host: Option<String>,
    /// `protocolHost` of `connect` and `socks`.
    pub destination: Option<Address>,
    /// `protocolUsername`.
    pub username: Option<String>,
    /// `protocolPassword`.
    pub password: Option<Secret>,
    /// `protocolAuthentication` of `smtp`.
    pub authentication: Authentication,
    /// `protocolHeader` of `connect`, each without its line end.
    pub headers: Vec<String>,
}

/// The protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// HTTP's CONNECT (RFC 9110, 9.3.6), towards a proxy or as one.
    Connect,
    /// RFC 9051, 6.2.1.
    Imap,
    /// RFC 4511, 4.14.
    Ldap,
    /// RFC 4642.
    Nntp,
    /// `PostgreSQL`'s `SSLRequest`.
    Pgsql,
    /// RFC 2595, 4.
    Pop3,
    /// HAProxy's PROXY protocol, version 1.
    Proxy,
    /// The same, version 2.
    ProxyV2,
    /// RFC 3207.
    Smtp,
    /// SOCKS 5 (RFC 1928), as a server 4 and 4a too.
    Socks,
}

/// How `smtp` signs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// RFC 4616.
    Plain,
    /// The undocumented one of old servers.
    Login,
}

impl Kind {
    /// Its name in the file.
    pub fn as_str(self) -> &'static str {
        NAMES.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| *name)
    }

    /// Whether it exists on the side of a client (`client = yes`) or of a server.
    pub fn is_for(self, client: bool) -> bool {
        match self {
            Self::Connect | Self::Imap | Self::Pgsql | Self::Pop3 | Self::Smtp | Self::Socks => true,
            Self::Ldap | Self::Nntp => client,
            Self::Proxy | Self::ProxyV2 => !client,
        }
    }

    /// Whether a server knows the target before TLS stands, by its own greeting or by what the client asks for: no virtual
    /// host could take such a connection over, with its own ideas of who may come in.
    pub fn is_heard_before_tls(self) -> bool {
        matches!(self, Self::Connect | Self::Imap | Self::Pop3 | Self::Smtp)
    }

    /// Whether the client says where to connect, so that there is no `connect`.
    pub fn is_target(self, client: bool) -> bool {
        !client && matches!(self, Self::Connect | Self::Socks)
    }
}

impl Protocol {
    /// Reads it; `None` when there is none, or one that cannot be (reported).
    pub(super) fn build(options: &Options, client: bool, report: &mut Report) -> Option<Self> {
        let place = options.last("protocol")?.place.clone();
        let word = super::ini::fold(options.text("protocol")?);
        let kind = NAMES.iter().find(|(name, _)| super::ini::fold(name) == word).map(|(_, kind)| *kind)?;
        if !kind.is_for(client) {
            report.mistake(&place, wrong_side(kind, client));
            return None;
        }
        let towards = client && matches!(kind, Kind::Connect | Kind::Socks);
        let host = options.get("protocolHost", value::some);
        let destination = host.as_deref().filter(|_| towards).map(value::target).transpose();
        let destination = destination.unwrap_or_else(|why| {
            let (en, fr) = (&why.en, &why.fr);
            let text = text!("protocolHost: {en}", "protocolHost : {fr}");
            report.mistake(options.place_of("protocolHost"), text);
            None
        });
        if client && kind == Kind::Connect && host.is_none() {
            report.mistake(&place, no_host());
        }
        Some(Self {
            kind,
            host,
            destination,
            username: options.get("protocolUsername", value::some),
            password: options.get("protocolPassword", value::secret),
            authentication: match options.text("protocolAuthentication").map(str::to_ascii_lowercase).as_deref() {
                Some("login") => Authentication::Login,
                _ => Authentication::Plain,
            },
            headers: options.list("protocolHeader", value::some),
        })
    }
}

fn wrong_side(kind: Kind, client: bool) -> Text {
    let (name, side, cote) =
        if client { (kind.as_str(), "client", "client") } else { (kind.as_str(), "server", "serveur") };
    text!(
        "The configured protocol is not supported in the {side} mode: {name}",
        "protocole {name} : n'existe pas en mode {cote}"
    )
}

fn no_host() -> Text {
    text!(
        "protocolHost not specified: `protocolHost = HOST:PORT` says what the proxy is to reach",
        "protocolHost manque : `protocolHost = HÔTE:PORT` dit ce que le proxy doit joindre"
    )
}

/// The words of the file.
const NAMES: [(&str, Kind); 10] = [
    ("connect", Kind::Connect),
    ("imap", Kind::Imap),
    ("ldap", Kind::Ldap),
    ("nntp", Kind::Nntp),
    ("pgsql", Kind::Pgsql),
    ("pop3", Kind::Pop3),
    ("proxy", Kind::Proxy),
    ("proxy-v2", Kind::ProxyV2),
    ("smtp", Kind::Smtp),
    ("socks", Kind::Socks),
];
