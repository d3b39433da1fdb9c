//! `protocol =`: what is said around the TLS handshake of a tunnel.
//!
//! Each negotiation is a machine without I/O (`machine.rs` and one file for each protocol); [`Negotiation`] plays it on
//! the sockets of a session, one byte at a time, so that nothing is read that belongs to what follows. What a peer
//! sends in clear behind the words that precede TLS is refused (the class of CVE-2011-0411): it would be taken for
//! something said inside TLS.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::config::{self, Endpoint};
use crate::model::Fault;
use crate::net::stream::Addr;

/// The negotiation of a tunnel as its sessions play it. The session bounds the time of each call.
#[derive(Clone, Debug)]
pub(super) struct Negotiation {
    protocol: config::protocol::Protocol,
    client: bool,
}

/// How a negotiation failed.
#[derive(Debug)]
pub(super) struct Failed {
    /// Why.
    pub(super) fault: Fault,
    /// The plain or TLS client has been told in the words of its protocol: the connection is to end in order, a reset
    /// could take these words away.
    pub(super) told: bool,
}

/// What follows [`Negotiation::greet`].
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// TLS, after what was said. The target is there when the client named one (connect: in clear, before TLS, as
    /// stunnel has it); it is dialled once TLS stands and needs no [`Negotiation::answer`].
    Tls(Option<Target>),
    /// TLS right away: the client began with it. These bytes were read and belong to its handshake.
    Direct(Vec<u8>),
}

/// Where a client wants to go.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// These in turn: addresses where the protocol demands a look at them, else the name.
    pub(super) endpoints: Vec<Endpoint>,
}

impl From<Failed> for Fault {
    fn from(failed: Failed) -> Self {
        failed.fault
    }
}

impl Negotiation {
    /// For sessions of a tunnel with this `protocol`; `client` is the tunnel's.
    pub(super) fn new(protocol: &config::protocol::Protocol, client: bool) -> Self {
        Self { protocol: protocol.clone(), client }
    }

    /// Server mode: [`greet`](Self::greet) needs the backend, which is dialled before TLS (smtp, imap, pop3).
    pub(super) fn connects_first(&self) -> bool {
        todo!()
    }

    /// Server mode: the client says inside TLS where to go (socks): [`target`](Self::target) is to be asked.
    pub(super) fn chooses_target(&self) -> bool {
        todo!()
    }

    /// Client mode: the name that TLS verifies and sends instead of the dialled host (`protocolHost` of connect).
    pub(super) fn tls_host(&self) -> Option<&str> {
        todo!()
    }

    /// Client mode, after connecting and before TLS, for every protocol: `local` is the plain client, `remote` the server, in clear. `host`
    /// names the server in messages.
    ///
    /// # Errors
    /// Code `tls` when the server has no TLS to offer or sent something behind the words that precede it; `protocol`,
    /// `credentials` (a proxy that wants a login), `connect` (one that refuses; a connection that broke).
    pub(super) async fn before_tls<L, R>(&self, local: &mut L, remote: &mut R, host: &str) -> Result<(), Failed>
    where
        L: AsyncRead + AsyncWrite + Unpin + Send,
        R: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let _ = (local, remote, host);
        todo!()
    }

    /// Client mode, inside TLS, for every protocol: the login of smtp, the request of socks. `destination`: where socks is to go when there
    /// is no `protocolHost` (where the client wanted to go before the firewall redirected it).
    ///
    /// # Errors
    /// As [`before_tls`](Self::before_tls).
    pub(super) async fn inside_tls<R>(
        &self,
        remote: &mut R,
        destination: Option<SocketAddr>,
        host: &str,
    ) -> Result<(), Failed>
    where
        R: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let _ = (remote, destination, host);
        todo!()
    }

    /// Server mode, before TLS, for every protocol: `backend` is there when [`connects_first`](Self::connects_first). `peer` names the
    /// client in messages.
    ///
    /// # Errors
    /// As [`before_tls`](Self::before_tls).
    pub(super) async fn greet<L, R>(&self, local: &mut L, backend: Option<&mut R>, peer: &str) -> Result<Start, Failed>
    where
        L: AsyncRead + AsyncWrite + Unpin + Send,
        R: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let _ = (local, backend, peer);
        todo!()
    }

    /// Server mode, inside TLS: where the client wants to go; `None` when it wanted to know something and has its
    /// answer (SOCKS RESOLVE): the connection then ends in order.
    ///
    /// # Errors
    /// As [`before_tls`](Self::before_tls).
    pub(super) async fn target<L>(&self, local: &mut L, peer: &str) -> Result<Option<Target>, Failed>
    where
        L: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let _ = (local, peer);
        todo!()
    }

    /// Server mode, inside TLS: tells the client how dialling its target went. After a failure the connection is to end
    /// in order.
    ///
    /// # Errors
    /// The client is gone (code `connect`).
    pub(super) async fn answer<L>(
        &self,
        local: &mut L,
        target: &Target,
        dialled: Result<&Addr, &Fault>,
        peer: &str,
    ) -> Result<(), Failed>
    where
        L: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let _ = (local, target, dialled, peer);
        todo!()
    }

    /// Server mode: the first bytes towards the backend (PROXY protocol); empty for others. `from` is the client, `to`
    /// our own end of its connection.
    pub(super) fn preamble(&self, from: &Addr, to: &Addr) -> Vec<u8> {
        let _ = (from, to);
        todo!()
    }
}
