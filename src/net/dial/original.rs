//! `transparent = destination`: where a client wanted to go before the firewall sent its connection to us.
//!
//! Not the firewall's rules, which are the administrator's. A connection that nobody redirected has no such place: its
//! own end is our listener, and to dial that would be to talk to ourselves for ever.

use std::io;
use std::net::SocketAddr;

use crate::net::stream::Stream;
use crate::text;

/// The address that the client of `stream` asked for: what netfilter remembers of a connection that it translated
/// (`SO_ORIGINAL_DST`, `IP6T_SO_ORIGINAL_DST`), or the connection's own end where the socket is a transparent one (TPROXY,
/// `Transparent=yes` of systemd.socket(5)).
///
/// # Errors
/// The connection was made to our own address, is no TCP, or the system has nothing of the kind. stunnel fails then
/// too (`getsockopt SO_ORIGINAL_DST: No such file or directory (2)`).
pub fn original_destination(stream: &Stream) -> io::Result<SocketAddr> {
    #[cfg(target_os = "linux")]
    if let Stream::Tcp(stream) = stream {
        let local = stream.local_addr()?;
        let socket = socket2::SockRef::from(stream);
        // where connections are tracked those that were not translated are told too, with what they have anyway
        return match translated(&socket, local) {
            Ok(address) if address != local => Ok(address),
            _ if is_transparent(&socket, local) => Ok(local),
            Ok(_) => Err(not_redirected(local, "")),
            Err(error) => Err(not_redirected(local, &format!(" (getsockopt SO_ORIGINAL_DST: {error})"))),
        };
    }
    let _ = stream;
    let text = text!(
        "only TCP of Linux knows where a connection was to go",
        "seul TCP sous Linux sait où allait une connexion"
    );
    Err(text.into_io(io::ErrorKind::Unsupported))
}

#[cfg(target_os = "linux")]
fn translated(socket: &socket2::SockRef<'_>, local: SocketAddr) -> io::Result<SocketAddr> {
    // a client of IPv4 on a socket of IPv6 is one of IPv4 for netfilter
    let ipv4 = local.ip().to_canonical().is_ipv4();
    let address = if ipv4 { socket.original_dst_v4() } else { socket.original_dst_v6() }?;
    let address = address.as_socket().ok_or(io::ErrorKind::InvalidData)?;
    // in the form of `local`, so that the two can be compared
    Ok(match (address, local) {
        (SocketAddr::V4(v4), SocketAddr::V6(_))
            if SocketAddr::new(local.ip().to_canonical(), local.port()) == address =>
        {
            SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port())
        }
        (address, _) => address,
    })
}

#[cfg(target_os = "linux")]
fn is_transparent(socket: &socket2::SockRef<'_>, local: SocketAddr) -> bool {
    // an accepted socket has it from its listener
    let set = if local.is_ipv4() { socket.ip_transparent_v4() } else { socket.ip_transparent_v6() };
    set.unwrap_or(false)
}

#[cfg(target_os = "linux")]
fn not_redirected(local: SocketAddr, why: &str) -> io::Error {
    let text = text!(
        "this connection was made to {local} itself, no firewall redirected it{why}",
        "cette connexion visait {local} même, aucun pare-feu ne l'a redirigée{why}"
    );
    text.into_io(io::ErrorKind::AddrNotAvailable)
}
