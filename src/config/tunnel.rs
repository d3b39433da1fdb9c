//! A tunnel: a section with `accept` and `connect`.
//!
//! Values only, already valid: addresses are split, not resolved; files are named, not read.

use std::path::PathBuf;
use std::time::Duration;

use super::{Address, Places, TlsVersion, Trust};
use crate::event::Level;
use crate::model::ServiceName;

/// A tunnel.
#[derive(Clone, Debug)]
pub struct Tunnel {
    /// The section's name; two tunnels may share one, as in stunnel.
    pub name: ServiceName,
    /// Where each option stands.
    pub places: Places,
    /// `client`: plain on the accepting side, TLS towards `connect`; else the other way round.
    pub client: bool,
    /// `accept`, at least one.
    pub accept: Vec<Address>,
    /// `connect`, at least one.
    pub connect: Vec<Address>,
    /// What is demanded of the peer's certificate.
    pub trust: Trust,
    /// `cert`: PEM chain; required in server mode.
    pub cert: Option<PathBuf>,
    /// `key`; the same file as `cert` when it is not given.
    pub key: Option<PathBuf>,
    /// `sni` of client mode.
    pub sni: Sni,
    /// Lowest and highest version that is negotiated (`sslVersion…`, `options = NO_TLSv1_…`).
    pub versions: (TlsVersion, TlsVersion),
    /// `sessionResume`, and `options = NO_TICKET` in server mode.
    pub resume: bool,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
}
