//! SOCKS 5 (RFC 1928) inside TLS, towards a server: without a login, since TLS says who we are.

use std::net::{IpAddr, SocketAddr};

use super::machine::{Machine, Then, Turn, Who, quoted};
use crate::config::Address;
use crate::model::Code;
use crate::text;
use crate::text::Text;

/// Towards a server.
pub(super) struct Client {
    request: Option<Vec<u8>>,
    place: Place,
}

/// What is read next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Method,
    Reply,
    /// The length of the name that the server uses.
    Length,
    /// The address that the server uses.
    Rest,
}

impl Client {
    /// To `host`, else to where the client wanted to go.
    pub(super) fn new(host: Option<&Address>, destination: Option<SocketAddr>) -> Self {
        let request = match (host, destination) {
            (Some(address), _) => request(address.host.as_deref().unwrap_or("localhost"), address.port),
            (None, Some(at)) => request(&at.ip().to_string(), at.port()),
            (None, None) => None,
        };
        Self { request, place: Place::Method }
    }
}

impl Machine for Client {
    fn start(&mut self) -> Turn {
        if self.request.is_none() {
            return nowhere();
        }
        Turn::bytes(Who::Remote, 2).saying(Who::Remote, [SOCKS5, 1, NO_LOGIN])
    }

    fn read(&mut self, input: &[u8]) -> Turn {
        match (self.place, input) {
            (Place::Method, [SOCKS5, NO_LOGIN]) => {
                self.place = Place::Reply;
                Turn::bytes(Who::Remote, 4).saying(Who::Remote, self.request.take().unwrap_or_default())
            }
            (Place::Method, [SOCKS5, _]) => Turn::fail(Code::Credentials, wants_login()),
            (Place::Reply, [SOCKS5, 0, _, kind]) => match *kind {
                IPV4 => self.rest(4 + 2),
                IPV6 => self.rest(16 + 2),
                NAME => {
                    self.place = Place::Length;
                    Turn::bytes(Who::Remote, 1)
                }
                _ => not_socks(input),
            },
            (Place::Reply, [SOCKS5, reply, ..]) => Turn::fail(Code::Connect, refused(*reply)),
            (Place::Length, [length]) => self.rest(usize::from(*length) + 2),
            (Place::Rest, _) => Turn::done(Then::Follow),
            _ => not_socks(input),
        }
    }
}

impl Client {
    fn rest(&mut self, count: usize) -> Turn {
        self.place = Place::Rest;
        Turn::bytes(Who::Remote, count)
    }
}

/// RFC 1928, 4; `None` when the name is too long for it.
fn request(host: &str, port: u16) -> Option<Vec<u8>> {
    let mut request = vec![SOCKS5, CONNECT, 0];
    match host.parse() {
        Ok(IpAddr::V4(ip)) => request.extend([&[IPV4][..], &ip.octets()].concat()),
        Ok(IpAddr::V6(ip)) => request.extend([&[IPV6][..], &ip.octets()].concat()),
        Err(_) => {
            request.extend([NAME, u8::try_from(host.len()).ok()?]);
            request.extend(host.as_bytes());
        }
    }
    request.extend(port.to_be_bytes());
    Some(request)
}

fn nowhere() -> Turn {
    Turn::fail(
        Code::Config,
        text!(
            "SOCKS is to go nowhere: `protocolHost = HOST:PORT` (a name of at most 255 bytes) says where to; without it \
             only connections that a firewall redirected have a target",
            "SOCKS n'a pas de cible : `protocolHost = HÔTE:PORT` (un nom d'au plus 255 octets) la donne ; sans cela, seules \
             les connexions redirigées par un pare-feu en ont une"
        ),
    )
}

fn wants_login() -> Text {
    text!(
        "the SOCKS server wants a login, which this protocol does not have: a certificate (`cert`) can take its place",
        "le serveur SOCKS exige une identification, que ce protocole n'a pas : un certificat (`cert`) peut la remplacer"
    )
}

fn not_socks(input: &[u8]) -> Turn {
    let said = quoted(input);
    Turn::fail(
        Code::Protocol,
        text!(
            "the server does not speak SOCKS 5, its answer begins with `{said}`: `connect` names the SOCKS server inside TLS",
            "le serveur ne parle pas SOCKS 5, sa réponse commence par « {said} » : `connect` désigne le serveur SOCKS sous TLS"
        ),
    )
}

/// RFC 1928, 6.
fn refused(reply: u8) -> Text {
    let Text { en, fr } = match reply {
        2 => text!("its rules forbid it, have host and port allowed", "ses règles l'interdisent, à faire autoriser"),
        3 => text!("it has no route to that network", "il n'a pas de route vers ce réseau"),
        4 => text!("it cannot reach or resolve the host", "il ne peut joindre ou résoudre l'hôte"),
        5 => text!("the target refuses its connection", "la cible refuse sa connexion"),
        6 => text!("the target does not answer it", "la cible ne lui répond pas"),
        7 | 8 => text!("it does not make such connections", "il ne fait pas de telles connexions"),
        _ => text!("it fails", "il échoue"),
    };
    text!(
        "the SOCKS server does not connect, reply {reply}: {en}; check `protocolHost`",
        "le serveur SOCKS ne se connecte pas, réponse {reply} : {fr} ; vérifier `protocolHost`"
    )
}

/// Versions, methods, commands and kinds of address (RFC 1928, 3 to 5; the SOCKS 4 memo of NEC).
pub(super) const SOCKS4: u8 = 4;
pub(super) const SOCKS5: u8 = 5;
pub(super) const NO_LOGIN: u8 = 0;
pub(super) const CONNECT: u8 = 1;
pub(super) const IPV4: u8 = 1;
pub(super) const NAME: u8 = 3;
pub(super) const IPV6: u8 = 4;
