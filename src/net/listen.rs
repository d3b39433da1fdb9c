//! Listening: binding with the `socket` options, telling who holds a taken address.
//!
//! Not an accept loop: that is the tunnel's, with its drain slots. A taken port is no reason to give up or to stop
//! anybody else; the caller tries again.

mod holder;
mod reason;
#[cfg(unix)]
mod unix;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};
use tokio::net::TcpListener;

use super::options::{self, Family};
use super::stream::Listener;
use crate::config::tunnel::{Setting, Side, SocketOption};
use crate::config::{Address, Endpoint, Owner};
use crate::text::Text;
#[cfg(unix)]
pub use unix::UnixSocket;

/// The sockets of one `accept` line.
#[derive(Debug)]
pub struct Bound {
    /// At least one.
    pub listeners: Vec<Listener>,
    /// Socket options that the system refused, addresses of a name that this machine does not have, files taken over.
    pub warnings: Vec<Text>,
}

/// Why an `accept` line could not be bound.
#[derive(Debug)]
pub struct BindError {
    /// Which address.
    pub address: String,
    /// What the system says.
    pub error: io::Error,
    /// Who holds the address, where that can be found out: `pid 123 (stunnel4)`.
    pub holder: Option<String>,
}

/// Binds `endpoint`: a name to all its addresses, no host to `0.0.0.0` and, where the system has IPv6, `::` too. `::` that
/// is written out is for IPv4 too unless the system or `IPV6_V6ONLY` says otherwise, as in stunnel. `owner` is for Unix
/// sockets: see [`UnixSocket`].
///
/// # Errors
/// Nothing could be bound. As in stunnel one address of a name is enough; what the others lack is a warning.
pub async fn bind(endpoint: &Endpoint, settings: &[SocketOption], owner: &Owner) -> Result<Bound, BindError> {
    let address = match endpoint {
        Endpoint::Tcp(address) => address,
        Endpoint::Unix(path) => return bind_unix(path, owner).await,
    };
    let Some(host) = &address.host else { return bind_everywhere(address.port, settings).await };
    let targets = resolve(host, address).await?;
    let mut bound = Bound { listeners: Vec::new(), warnings: Vec::new() };
    let mut failures = Vec::new();
    for target in targets {
        match bind_one(target, settings, &mut bound.warnings).await {
            Ok(listener) => bound.listeners.push(listener),
            Err(error) => failures.push(error),
        }
    }
    if bound.listeners.is_empty() {
        return Err(failures.into_iter().next().unwrap_or_else(|| reason::no_address(address, host)));
    }
    bound.warnings.extend(failures.iter().map(reason::left_out));
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
async fn bind_unix(path: &Path, owner: &Owner) -> Result<Bound, BindError> {
    UnixSocket::bind(path, owner)
        .await
        .map(|(socket, warnings)| Bound { listeners: vec![Listener::Unix(socket)], warnings })
}

#[cfg(not(unix))]
async fn bind_unix(path: &Path, _owner: &Owner) -> Result<Bound, BindError> {
    Err(BindError { address: path.display().to_string(), error: io::ErrorKind::Unsupported.into(), holder: None })
}

async fn resolve(host: &str, address: &Address) -> Result<Vec<SocketAddr>, BindError> {
    match tokio::net::lookup_host((host, address.port)).await {
        Ok(found) => {
            let mut targets: Vec<SocketAddr> = Vec::new();
            for target in found {
                if !targets.contains(&target) {
                    targets.push(target);
                }
            }
            Ok(targets)
        }
        Err(error) => Err(reason::unresolved(address, host, &error)),
    }
}

async fn bind_everywhere(port: u16, settings: &[SocketOption]) -> Result<Bound, BindError> {
    let mut warnings = Vec::new();
    let first = bind_one((Ipv4Addr::UNSPECIFIED, port).into(), settings, &mut warnings).await?;
    // with port 0 both get the same port
    let port = first.local_addr().ok().and_then(|at| at.ip()).map_or(port, |at| at.port());
    // beside `0.0.0.0`, which is for IPv4 already
    let only = SocketOption { side: Side::Accept, setting: Setting::OnlyIpv6(true) };
    let beside: Vec<SocketOption> = settings.iter().cloned().chain([only]).collect();
    let mut listeners = vec![first];
    // a system without IPv6 is no mistake, and what it refuses was told already
    listeners.extend(listen((Ipv6Addr::UNSPECIFIED, port).into(), &beside, &mut Vec::new()).ok());
    Ok(Bound { listeners, warnings })
}

async fn bind_one(
    target: SocketAddr,
    settings: &[SocketOption],
    warnings: &mut Vec<Text>,
) -> Result<Listener, BindError> {
    let error = match listen(target, settings, warnings) {
        Ok(listener) => return Ok(listener),
        Err(error) => error,
    };
    let holder = match error.kind() {
        io::ErrorKind::AddrInUse => tokio::task::spawn_blocking(move || holder::of_port(target)).await.ok().flatten(),
        _ => None,
    };
    Err(BindError { address: target.to_string(), error, holder })
}

fn listen(target: SocketAddr, settings: &[SocketOption], warnings: &mut Vec<Text>) -> io::Result<Listener> {
    let attempt = |settings: &[SocketOption], warnings: &mut Vec<Text>| {
        let socket = Socket::new(Domain::for_address(target), Type::STREAM, None)?;
        let refused = options::apply(&SockRef::from(&socket), Family::of(target), Side::Accept, settings);
        warnings.extend(refused.map_err(|refused| refused.text.into_io(refused.error.kind()))?);
        socket.bind(&target.into())?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        TcpListener::from_std(socket.into()).map(Listener::Tcp)
    };
    match attempt(settings, warnings) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && may_leave_ipv4(target, settings) => {
            // somebody, perhaps another `accept` line, has the port for IPv4
            let only = SocketOption { side: Side::Accept, setting: Setting::OnlyIpv6(true) };
            let half: Vec<SocketOption> = settings.iter().cloned().chain([only]).collect();
            let listener = attempt(&half, &mut Vec::new()).map_err(|_| error)?;
            warnings.push(reason::only_ipv6(target));
            Ok(listener)
        }
        ended => ended,
    }
}

/// Whether `target` is for IPv4 too without anybody having asked for that.
fn may_leave_ipv4(target: SocketAddr, settings: &[SocketOption]) -> bool {
    let said = |option: &SocketOption| option.side == Side::Accept && matches!(option.setting, Setting::OnlyIpv6(_));
    target.is_ipv6() && target.ip().is_unspecified() && !settings.iter().any(said)
}

/// As many waiting connections as the system allows, mostly (`somaxconn` cuts it).
const BACKLOG: i32 = 4096;

#[cfg(test)]
mod tests;
