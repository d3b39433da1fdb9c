//! SOCKS 4, 4a and 5 inside TLS, as their server: CONNECT, and Tor's RESOLVE (its socks-extensions, 2).
//!
//! No login: TLS and `verifyChain` say who the client is. Names are looked up here, and no target on this machine itself
//! is served: what listens on loopback trusts everybody who can connect. stunnel misses `0.0.0.0`, `::` and mapped
//! addresses there; we do not.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::Target;
use super::machine::{Machine, Then, Turn, Who};
use super::socks::{CONNECT, IPV4, IPV6, NAME, NO_LOGIN, SOCKS4, SOCKS5};
use crate::config::{Address, Endpoint};
use crate::model::{Code, Fault};
use crate::text;
use crate::text::{Text, shown};

/// Towards a client.
#[derive(Default)]
pub(super) struct Server {
    place: Place,
    command: u8,
    request: Option<Request>,
    /// The user or name of SOCKS 4, which a zero byte ends.
    word: Vec<u8>,
}

/// What is read next.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Version,
    /// SOCKS 4: command, port, address.
    Four,
    User,
    Name,
    /// SOCKS 5: how many methods, then the methods.
    Count,
    Methods,
    /// Version, command, reserved, kind of address.
    Five,
    NameLength,
    /// Address and port of this kind.
    Address(u8),
}

/// A request, as its answer repeats it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// Port and address.
    Four([u8; 6]),
    /// Kind, address and port; zeros where it was a name.
    Five(Vec<u8>),
}

/// What an answer says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Granted,
    Forbidden,
    NoHost,
    NotReached,
    Unsupported,
}

impl Machine for Server {
    fn start(&mut self) -> Turn {
        Turn::bytes(Who::Local, 1)
    }

    fn read(&mut self, input: &[u8]) -> Turn {
        match (self.place, input) {
            (Place::Version, [SOCKS4]) => self.then(Place::Four, 7),
            (Place::Version, [SOCKS5]) => self.then(Place::Count, 1),
            (Place::Four, &[command, p1, p2, a1, a2, a3, a4]) => {
                self.command = command;
                self.request = Some(Request::Four([p1, p2, a1, a2, a3, a4]));
                self.then(Place::User, 1)
            }
            (Place::User | Place::Name, &[byte]) => self.letter(byte),
            (Place::Count, [0]) => no_method(),
            (Place::Count, &[count]) => self.then(Place::Methods, usize::from(count)),
            (Place::Methods, methods) if methods.contains(&NO_LOGIN) => {
                self.then(Place::Five, 4).saying(Who::Local, [SOCKS5, NO_LOGIN])
            }
            (Place::Methods, _) => no_method(),
            (Place::Five, &[SOCKS5, command, _, kind]) => self.five(command, kind),
            (Place::NameLength, &[length]) => self.then(Place::Address(NAME), usize::from(length) + 2),
            (Place::Address(kind), bytes) => self.address(kind, bytes),
            _ => not_socks(input),
        }
    }

    fn resolved(&mut self, addresses: &[SocketAddr]) -> Turn {
        if self.command == CONNECT { self.connect(addresses) } else { self.resolve(addresses) }
    }
}

impl Server {
    fn then(&mut self, place: Place, count: usize) -> Turn {
        self.place = place;
        Turn::bytes(Who::Local, count)
    }

    /// One byte of the words that end a request of SOCKS 4.
    fn letter(&mut self, byte: u8) -> Turn {
        let Some(Request::Four([p1, p2, ip @ ..])) = self.request else { return not_socks(&[byte]) };
        if byte != 0 {
            self.word.push(byte);
            let place = self.place;
            return if self.word.len() <= LONGEST_WORD { self.then(place, 1) } else { not_socks(&self.word) };
        }
        let word = std::mem::take(&mut self.word);
        let port = u16::from_be_bytes([p1, p2]);
        // 4a: an address 0.0.0.x says that a name follows
        let named = ip[..3] == [0, 0, 0] && ip[3] != 0;
        if ![CONNECT, RESOLVE].contains(&self.command) {
            return self.refused(Outcome::Unsupported, unsupported(self.command));
        }
        match self.place {
            Place::User if named => self.then(Place::Name, 1),
            Place::User => self.resolved(&[SocketAddr::from((ip, port))]),
            _ => self.name(&word, port),
        }
    }

    fn five(&mut self, command: u8, kind: u8) -> Turn {
        self.command = command;
        self.request = Some(Request::Five(vec![IPV4, 0, 0, 0, 0, 0, 0]));
        if ![CONNECT, RESOLVE].contains(&command) {
            return self.refused(Outcome::Unsupported, unsupported(command));
        }
        match kind {
            IPV4 => self.then(Place::Address(kind), 4 + 2),
            IPV6 => self.then(Place::Address(kind), 16 + 2),
            NAME => self.then(Place::NameLength, 1),
            _ => self.refused(Outcome::Unsupported, unsupported(kind)),
        }
    }

    fn address(&mut self, kind: u8, bytes: &[u8]) -> Turn {
        let Some((host, &port)) = bytes.split_last_chunk() else { return not_socks(bytes) };
        let port = u16::from_be_bytes(port);
        let ip = match kind {
            IPV4 => <[u8; 4]>::try_from(host).map(Ipv4Addr::from).map(IpAddr::V4).ok(),
            IPV6 => <[u8; 16]>::try_from(host).map(Ipv6Addr::from).map(IpAddr::V6).ok(),
            _ => return self.name(host, port),
        };
        let Some(ip) = ip else { return not_socks(bytes) };
        self.request = Some(Request::Five([&[kind], bytes].concat()));
        self.resolved(&[SocketAddr::new(ip, port)])
    }

    fn name(&mut self, name: &[u8], port: u16) -> Turn {
        let name = std::str::from_utf8(name).ok().filter(|name| !name.is_empty() && !name.contains(char::is_control));
        match name {
            Some(name) => Turn::resolve(Address { host: Some(name.to_owned()), port }),
            None => self.resolved(&[]),
        }
    }

    fn connect(&mut self, addresses: &[SocketAddr]) -> Turn {
        if addresses.is_empty() {
            return self.refused(Outcome::NoHost, unknown());
        }
        let to = |at: &SocketAddr| Endpoint::Tcp(Address { host: Some(at.ip().to_string()), port: at.port() });
        let endpoints: Vec<Endpoint> =
            addresses.iter().filter(|at| !is_own(at.ip()) && at.port() != 0).map(to).collect();
        if endpoints.is_empty() {
            return self.refused(Outcome::Forbidden, own(addresses));
        }
        Turn::done(Then::Go(Target { endpoints, request: self.request.take() }))
    }

    /// RESOLVE.
    fn resolve(&mut self, addresses: &[SocketAddr]) -> Turn {
        let found = match &self.request {
            Some(Request::Four([p1, p2, ..])) => addresses.iter().find_map(|at| match at.ip() {
                IpAddr::V4(ip) => Some(Request::Four(joined([*p1, *p2], ip.octets()))),
                IpAddr::V6(_) => None,
            }),
            _ => addresses.first().map(|at| match at.ip() {
                IpAddr::V4(ip) => Request::Five([&[IPV4][..], &ip.octets(), &[0, 0]].concat()),
                IpAddr::V6(ip) => Request::Five([&[IPV6][..], &ip.octets(), &[0, 0]].concat()),
            }),
        };
        match found {
            Some(found) => Turn::done(Then::End).saying(Who::Local, found.answer(Outcome::Granted)),
            None => self.refused(Outcome::NoHost, unknown()),
        }
    }

    fn refused(&self, outcome: Outcome, text: Text) -> Turn {
        let turn = Turn::fail(Code::Connect, text);
        match &self.request {
            Some(request) => turn.saying(Who::Local, request.answer(outcome)),
            None => turn,
        }
    }
}

impl Request {
    /// What the client is told once its target has been dialled.
    pub(super) fn dialled(&self, failure: Option<&Fault>) -> Vec<u8> {
        self.answer(match failure.map(|fault| fault.code) {
            None => Outcome::Granted,
            Some(Code::Resolve) => Outcome::NoHost,
            Some(_) => Outcome::NotReached,
        })
    }

    fn answer(&self, outcome: Outcome) -> Vec<u8> {
        match self {
            Self::Four(place) => {
                let reply = if outcome == Outcome::Granted { 0x5a } else { 0x5b };
                [&[0, reply], &place[..]].concat()
            }
            Self::Five(place) => {
                // RFC 1928, 6
                let reply = match outcome {
                    Outcome::Granted => 0,
                    Outcome::Forbidden => 2,
                    Outcome::NoHost => 4,
                    Outcome::NotReached => 5,
                    Outcome::Unsupported => 7,
                };
                [&[SOCKS5, reply, 0], &place[..]].concat()
            }
        }
    }
}

fn joined([p1, p2]: [u8; 2], [a1, a2, a3, a4]: [u8; 4]) -> [u8; 6] {
    [p1, p2, a1, a2, a3, a4]
}

/// Whether a connection to this address stays on this machine whatever its interfaces are.
fn is_own(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    // the whole of 0.0.0.0/8 is "this host" (RFC 1122, 3.2.1.3)
    let zero = matches!(ip, IpAddr::V4(ip) if ip.octets()[0] == 0);
    ip.is_loopback() || ip.is_unspecified() || zero
}

fn no_method() -> Turn {
    let refusal = Turn::fail(
        Code::Protocol,
        text!(
            "the SOCKS client wants to sign in: set it to SOCKS 5 without name and password",
            "le client SOCKS veut s'identifier : le régler sur SOCKS 5 sans compte ni mot de passe"
        ),
    );
    refusal.saying(Who::Local, [SOCKS5, 0xff])
}

fn unsupported(number: u8) -> Text {
    text!(
        "the SOCKS client asks for command or kind of address {number:#04x}: only CONNECT and RESOLVE are served, to names, \
         IPv4 and IPv6",
        "le client SOCKS demande la commande ou le type d'adresse {number:#04x} : seuls CONNECT et RESOLVE sont servis, vers \
         des noms, IPv4 et IPv6"
    )
}

fn own(addresses: &[SocketAddr]) -> Text {
    let at = addresses.first().map(ToString::to_string).unwrap_or_default();
    text!(
        "SOCKS connection to {at} rejected: nothing on this machine itself is served",
        "connexion SOCKS vers {at} refusée : rien n'est servi de cette machine elle-même"
    )
}

fn unknown() -> Text {
    text!(
        "the SOCKS client wants to go to a host that does not resolve: check the name that it is given",
        "le client SOCKS veut aller à un hôte qui ne se résout pas : vérifier le nom qu'on lui donne"
    )
}

fn not_socks(input: &[u8]) -> Turn {
    let said = shown(&String::from_utf8_lossy(input), 20);
    Turn::fail(
        Code::Protocol,
        text!(
            "the client does not speak SOCKS 4 or 5 inside TLS, it says `{said}`: check its proxy settings",
            "le client ne parle ni SOCKS 4 ni SOCKS 5 sous TLS, il dit « {said} » : vérifier son réglage de proxy"
        ),
    )
}

/// Tor's command.
const RESOLVE: u8 = 0xf0;
/// The longest user or name that is taken; DNS has no longer ones.
const LONGEST_WORD: usize = 255;
