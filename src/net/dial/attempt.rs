//! One attempt at one target: the socket with its options and source address, the time limit, and what to say of its end.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream};

use crate::config::tunnel::{Side, SocketOption};
use crate::net::options::{self, Family};
use crate::net::stream::Stream;
use crate::text;
use crate::text::Text;

/// How attempts are made.
pub(super) struct Way<'a> {
    /// For each attempt.
    pub(super) limit: Duration,
    /// Those of the remote side count.
    pub(super) options: &'a [SocketOption],
    /// Where connections come from.
    pub(super) source: Source,
}

/// Where a connection comes from.
pub(super) enum Source {
    /// What the system chooses.
    Any,
    /// `local`: that name, these addresses.
    Local { name: String, addresses: Vec<SocketAddr> },
    /// `transparent = source`: the client's own address.
    Client(SocketAddr),
}

impl Way<'_> {
    /// Nothing but a time limit.
    pub(super) fn plain(limit: Duration) -> Self {
        Self { limit, options: &[], source: Source::Any }
    }
}

/// Connects to `target`.
pub(super) async fn tcp(target: SocketAddr, way: &Way<'_>) -> Result<TcpStream, Text> {
    let socket = if target.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let socket = socket.map_err(|error| Text::io(&error))?;
    // buffer sizes take part in the handshake's window scale: before the connection
    options::apply(&SockRef::from(&socket), Family::of(target), Side::Remote, way.options)
        .map_err(|refused| refused.text)?;
    match &way.source {
        Source::Any => {}
        Source::Local { name, addresses } => bind_local(&socket, target, name, addresses)?,
        Source::Client(client) => bind_transparent(&socket, target, *client)?,
    }
    in_time(way.limit, socket.connect(target)).await
}

/// Connects to the Unix socket at `path`.
#[cfg(unix)]
pub(super) async fn unix(path: &Path, limit: Duration) -> Result<Stream, Text> {
    let connect = async {
        loop {
            match tokio::net::UnixStream::connect(path).await {
                // its queue is full, and no event tells when it is not any more (connect(2), EAGAIN)
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => tokio::time::sleep(FULL_QUEUE).await,
                ended => return ended,
            }
        }
    };
    in_time(limit, connect).await.map(Stream::Unix)
}

#[cfg(not(unix))]
pub(super) async fn unix(_path: &Path, _limit: Duration) -> Result<Stream, Text> {
    Err(text!("this system has no Unix sockets", "ce système n'a pas de sockets Unix"))
}

async fn in_time<T>(limit: Duration, connect: impl Future<Output = io::Result<T>>) -> Result<T, Text> {
    if let Ok(ended) = tokio::time::timeout(limit, connect).await {
        return ended.map_err(|error| reason(&error));
    }
    let seconds = limit.as_secs_f32();
    Err(text!(
        "TIMEOUTconnect exceeded: no answer within {seconds} s",
        "TIMEOUTconnect dépassé : pas de réponse en {seconds} s"
    ))
}

fn bind_local(socket: &TcpSocket, target: SocketAddr, name: &str, addresses: &[SocketAddr]) -> Result<(), Text> {
    let Some(local) = addresses.iter().find(|local| local.is_ipv4() == target.is_ipv4()) else {
        let version = if target.is_ipv4() { "IPv4" } else { "IPv6" };
        return Err(text!(
            "left out: local = {name} has no address of {version}",
            "laissée de côté : local = {name} n'a pas d'adresse {version}"
        ));
    };
    socket.bind(*local).map_err(|error| {
        let said = Text::io(&error);
        let (en, fr) = (said.en, said.fr);
        text!(
            "not from local = {name}: {en}; it must be an address of this machine",
            "pas depuis local = {name} : {fr} ; ce doit être une adresse de cette machine"
        )
    })
}

/// As stunnel (its log line is `bind succeeded on the original port`): from the client's port if it is free for that,
/// else from any.
fn bind_transparent(socket: &TcpSocket, target: SocketAddr, client: SocketAddr) -> Result<(), Text> {
    if client.is_ipv4() != target.is_ipv4() {
        return Err(text!(
            "left out: transparent = source cannot bring {client} there, one is IPv4 and the other IPv6",
            "laissée de côté : transparent = source ne peut y amener {client}, l'une est IPv4 et l'autre IPv6"
        ));
    }
    make_transparent(socket, client).map_err(|error| not_transparent(client, &error))?;
    let bound = match socket.bind(client) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => socket.bind(SocketAddr::new(client.ip(), 0)),
        ended => ended,
    };
    bound.map_err(|error| not_transparent(client, &error))
}

#[cfg(target_os = "linux")]
fn make_transparent(socket: &TcpSocket, client: SocketAddr) -> io::Result<()> {
    let socket = SockRef::from(socket);
    if client.is_ipv4() { socket.set_ip_transparent_v4(true) } else { socket.set_ip_transparent_v6(true) }
}

#[cfg(not(target_os = "linux"))]
fn make_transparent(_socket: &TcpSocket, _client: SocketAddr) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

fn not_transparent(client: SocketAddr, error: &io::Error) -> Text {
    let ip = client.ip();
    if error.kind() == io::ErrorKind::PermissionDenied {
        return text!(
            "not from {ip} (transparent = source): {error}; it needs the capability CAP_NET_ADMIN: run as root without \
             `setuid`, or AmbientCapabilities=CAP_NET_ADMIN in the unit",
            "pas depuis {ip} (transparent = source) : {error} ; il y faut la capacité CAP_NET_ADMIN : tourner en root sans \
             `setuid`, ou AmbientCapabilities=CAP_NET_ADMIN dans l'unité"
        );
    }
    text!("not from {ip} (transparent = source): {error}", "pas depuis {ip} (transparent = source) : {error}")
}

fn reason(error: &io::Error) -> Text {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => text!(
            "connection refused (nothing listens there, or a firewall says no)",
            "connexion refusée (rien n'y écoute, ou un pare-feu s'y oppose)"
        ),
        _ => Text::io(error),
    }
}

/// Between two looks at a queue that was full.
#[cfg(unix)]
const FULL_QUEUE: Duration = Duration::from_millis(20);
