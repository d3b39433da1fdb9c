//! Listening: binding with the `socket` options, telling who holds a taken port.
//!
//! Not an accept loop: that is the tunnel's, with its drain slots. A taken port is no reason to give up or to stop
//! anybody else; the caller tries again.

use std::io;
#[cfg(target_os = "linux")]
use std::net::IpAddr;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};
use tokio::net::TcpListener;
#[cfg(unix)]
use tokio::net::UnixListener;

use super::options;
use super::stream::Listener;
use crate::config::tunnel::{Side, SocketOption};
use crate::config::{Endpoint, Owner};
use crate::text::Text;

/// The sockets of one `accept` line.
#[derive(Debug)]
pub struct Bound {
    /// At least one.
    pub listeners: Vec<Listener>,
    /// Socket options that the system refused.
    pub warnings: Vec<Text>,
}

/// Why an `accept` line could not be bound.
#[derive(Debug)]
pub struct BindError {
    /// Which address.
    pub address: String,
    /// What the system says.
    pub error: io::Error,
    /// Who holds the port, where that can be found out: `pid 123 (stunnel4)`.
    pub holder: Option<String>,
}

impl BindError {
    /// What the system says in both languages, who holds the address, and the remedy. English begins as stunnel does:
    /// `Address already in use (98)`.
    pub fn reason(&self) -> Text {
        Text::io(&self.error)
    }
}

/// Binds `address`: a name to all its addresses, no host to `0.0.0.0` and, where the system has IPv6, `::` too.
///
/// # Errors
/// Nothing could be bound. (With no host, IPv4 alone is enough; a name must be bound whole.)
pub async fn bind(endpoint: &Endpoint, settings: &[SocketOption], _owner: &Owner) -> Result<Bound, BindError> {
    let address = match endpoint {
        Endpoint::Tcp(address) => address,
        Endpoint::Unix(path) => return bind_unix(path),
    };
    let Some(host) = &address.host else { return bind_everywhere(address.port, settings).await };
    let targets = match tokio::net::lookup_host((host.as_str(), address.port)).await {
        Ok(targets) => targets.collect::<Vec<_>>(),
        Err(error) => return Err(BindError { address: address.to_string(), error, holder: None }),
    };
    let mut bound = Bound { listeners: Vec::new(), warnings: Vec::new() };
    for target in targets {
        bind_one(target, settings, &mut bound).await?;
    }
    Ok(bound)
}

/// How long to wait after an accept error: not at all where only that one connection was lost, else (no descriptors,
/// no memory) a second, as stunnel does.
pub fn pause_after(error: &io::Error) -> Duration {
    match error.kind() {
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted => {
            Duration::ZERO
        }
        _ => Duration::from_secs(1),
    }
}

#[cfg(unix)]
fn bind_unix(path: &Path) -> Result<Bound, BindError> {
    match UnixListener::bind(path) {
        Ok(listener) => Ok(Bound { listeners: vec![Listener::Unix(listener)], warnings: Vec::new() }),
        Err(error) => Err(BindError { address: path.display().to_string(), error, holder: None }),
    }
}

#[cfg(not(unix))]
fn bind_unix(path: &Path) -> Result<Bound, BindError> {
    Err(BindError { address: path.display().to_string(), error: io::ErrorKind::Unsupported.into(), holder: None })
}

async fn bind_everywhere(port: u16, settings: &[SocketOption]) -> Result<Bound, BindError> {
    let mut bound = Bound { listeners: Vec::new(), warnings: Vec::new() };
    bind_one(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)), settings, &mut bound).await?;
    // with port 0 both get the same port
    let port = bound
        .listeners
        .first()
        .and_then(|listener| listener.local_addr().ok())
        .and_then(|at| at.ip())
        .map_or(port, |at| at.port());
    // a system without IPv6 is no mistake
    let _ = bind_one(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)), settings, &mut bound).await;
    Ok(bound)
}

async fn bind_one(target: SocketAddr, settings: &[SocketOption], bound: &mut Bound) -> Result<(), BindError> {
    match listen(target, settings, &mut bound.warnings) {
        Ok(listener) => {
            bound.listeners.push(listener);
            Ok(())
        }
        Err(error) => {
            let holder = match error.kind() {
                io::ErrorKind::AddrInUse => tokio::task::spawn_blocking(move || holder_of(target)).await.ok().flatten(),
                _ => None,
            };
            Err(BindError { address: target.to_string(), error, holder })
        }
    }
}

fn listen(target: SocketAddr, settings: &[SocketOption], warnings: &mut Vec<Text>) -> io::Result<Listener> {
    let socket = Socket::new(Domain::for_address(target), Type::STREAM, None)?;
    if target.is_ipv6() {
        // `::` beside `0.0.0.0` on one port
        socket.set_only_v6(true)?;
    }
    warnings.extend(options::apply(&SockRef::from(&socket), Side::Accept, settings));
    socket.bind(&target.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into()).map(Listener::Tcp)
}

/// Who listens on `target`, from `/proc`; of other users' processes only root sees the descriptors.
#[cfg(target_os = "linux")]
fn holder_of(target: SocketAddr) -> Option<String> {
    let inode =
        ["/proc/net/tcp", "/proc/net/tcp6"].iter().filter_map(|table| std::fs::read_to_string(table).ok()).find_map(
            |table| table.lines().skip(1).find_map(|line| inode_of_listener(line, target).map(ToOwned::to_owned)),
        )?;
    let wanted = format!("socket:[{inode}]");
    let processes = std::fs::read_dir("/proc")
        .ok()?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
    for pid in processes {
        let Ok(descriptors) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { continue };
        let holds = |entry: std::fs::DirEntry| {
            std::fs::read_link(entry.path()).is_ok_and(|link| link.as_os_str() == wanted.as_str())
        };
        if descriptors.flatten().any(holds) {
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            return Some(format!("pid {pid} ({})", name.trim_end()));
        }
    }
    None
}

#[cfg(not(target_os = "linux"))]
fn holder_of(_target: SocketAddr) -> Option<String> {
    None
}

/// The inode of a line of `/proc/net/tcp` (proc(5)) that listens on `target`'s port, at its address or at all.
#[cfg(target_os = "linux")]
fn inode_of_listener(line: &str, target: SocketAddr) -> Option<&str> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let (address, port) = fields.get(1)?.split_once(':')?;
    let listening = fields.get(3) == Some(&"0A");
    let same_port = u16::from_str_radix(port, 16).ok()? == target.port();
    let address = hex_address(address)?;
    let overlaps = address.is_unspecified() || target.ip().is_unspecified() || address.to_canonical() == target.ip();
    (listening && same_port && overlaps).then(|| fields.get(9).copied()).flatten()
}

/// An address as `/proc/net/tcp` writes it: 32-bit words in the machine's own byte order.
#[cfg(target_os = "linux")]
fn hex_address(hex: &str) -> Option<IpAddr> {
    let words: Option<Vec<u8>> = (0..hex.len() / 8)
        .map(|word| u32::from_str_radix(hex.get(word * 8..word * 8 + 8)?, 16).ok())
        .try_fold(Vec::new(), |mut bytes, word| {
            bytes.extend(word?.to_ne_bytes());
            Some(bytes)
        });
    let bytes = words?;
    <[u8; 4]>::try_from(bytes.as_slice())
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(bytes.as_slice()).map(IpAddr::from))
        .ok()
}

/// As many waiting connections as the system allows, mostly (`somaxconn` cuts it).
const BACKLOG: i32 = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Address;

    fn at(host: Option<&str>, port: u16) -> Endpoint {
        Endpoint::Tcp(Address { host: host.map(ToOwned::to_owned), port })
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn who_holds_a_taken_port_is_named() {
        let held = bind(&at(Some("127.0.0.1"), 0), &[], &Owner::default()).await.unwrap();
        let port = held.listeners[0].local_addr().unwrap().ip().unwrap().port();
        let error = bind(&at(Some("127.0.0.1"), port), &[], &Owner::default()).await.unwrap_err();
        assert_eq!(error.error.kind(), io::ErrorKind::AddrInUse);
        let holder = error.holder.unwrap();
        assert!(holder.starts_with(&format!("pid {} (", std::process::id())), "{holder}");
    }

    #[tokio::test]
    async fn no_host_means_every_address_on_one_port() {
        let bound = bind(&at(None, 0), &[], &Owner::default()).await.unwrap();
        let ports: Vec<u16> =
            bound.listeners.iter().map(|one| one.local_addr().unwrap().ip().unwrap().port()).collect();
        assert!(ports.iter().all(|port| *port == ports[0]), "{ports:?}");
        assert!(tokio::net::TcpStream::connect(("127.0.0.1", ports[0])).await.is_ok());
    }

    #[test]
    fn only_lost_connections_are_not_waited_for() {
        assert_eq!(pause_after(&io::ErrorKind::ConnectionAborted.into()), Duration::ZERO);
        assert_eq!(pause_after(&io::Error::from_raw_os_error(24)), Duration::from_secs(1));
    }
}
