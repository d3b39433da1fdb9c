//! HAProxy's PROXY protocol (its proxy-protocol.txt, 2.1 and 2.2): where a client comes from, told to the backend.
//!
//! Version 1 is what stunnel sends. An address written as IPv6 that is one of IPv4 is told as such, unless the other end
//! is really IPv6.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::Path;

use crate::net::stream::Addr;

/// The line of version 1.
pub(super) fn v1(from: &Addr, to: &Addr) -> Vec<u8> {
    let Some((from, to)) = tcp(from, to) else { return b"PROXY UNKNOWN\r\n".to_vec() };
    let family = if from.is_ipv4() { "TCP4" } else { "TCP6" };
    format!("PROXY {family} {} {} {} {}\r\n", from.ip(), to.ip(), from.port(), to.port()).into_bytes()
}

/// The header of version 2.
pub(super) fn v2(from: &Addr, to: &Addr) -> Vec<u8> {
    let (command, family, addresses) = match (from, to) {
        // whoever it is, it has no address: as if we had connected by ourselves
        (Addr::Unix(None), Addr::Unix(None)) => (LOCAL, UNSPECIFIED, Vec::new()),
        (Addr::Unix(from), Addr::Unix(to)) => {
            (PROXY, UNIX_STREAM, [path(from.as_deref()), path(to.as_deref())].concat())
        }
        _ => match tcp(from, to) {
            None => (PROXY, UNSPECIFIED, Vec::new()),
            Some((from, to)) => {
                let family = if from.is_ipv4() { TCP_OVER_IPV4 } else { TCP_OVER_IPV6 };
                let ports = [from.port().to_be_bytes(), to.port().to_be_bytes()].concat();
                (PROXY, family, [octets(from.ip()), octets(to.ip()), ports].concat())
            }
        },
    };
    let length = u16::try_from(addresses.len()).unwrap_or(0);
    [SIGNATURE, &[command, family], &length.to_be_bytes(), &addresses].concat()
}

/// Both addresses in one family, if both are of TCP.
fn tcp(from: &Addr, to: &Addr) -> Option<(SocketAddr, SocketAddr)> {
    let plain = |at: SocketAddr| SocketAddr::new(at.ip().to_canonical(), at.port());
    let (from, to) = (plain(from.ip()?), plain(to.ip()?));
    if from.is_ipv4() == to.is_ipv4() { Some((from, to)) } else { Some((widened(from), widened(to))) }
}

fn widened(at: SocketAddr) -> SocketAddr {
    match at.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), at.port()),
        IpAddr::V6(ip) => SocketAddr::new(Ipv6Addr::into(ip), at.port()),
    }
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

/// 108 bytes, zeros behind the path.
fn path(path: Option<&Path>) -> Vec<u8> {
    let mut field = path.map(|path| path.as_os_str().as_encoded_bytes().to_vec()).unwrap_or_default();
    field.resize(PATH_FIELD, 0);
    field
}

/// What version 2 begins with.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2 and the command.
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
/// Family and transport.
const UNSPECIFIED: u8 = 0x00;
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;
const UNIX_STREAM: u8 = 0x31;
/// Length of a path's field.
const PATH_FIELD: usize = 108;
