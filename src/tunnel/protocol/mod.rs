//! `protocol =`: what is said around the TLS handshake of a tunnel.
//!
//! Each negotiation is a machine without I/O (`machine.rs` and one file for each protocol); `Negotiation` plays it on
//! the sockets of a session, one byte at a time, so that nothing is read that belongs to what follows. What a peer
//! sends in clear behind the words that precede TLS is refused (the class of CVE-2011-0411): it would be taken for
//! something said inside TLS.

mod connect;
mod imap;
mod ldap;
mod machine;
mod nntp;
mod pgsql;
mod pop3;
mod proxy;
mod rehearsal;
mod smtp;
mod socks;
mod socks_server;
mod wire;

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncWrite};

pub use machine::Who;
pub use rehearsal::{Ending, Rehearsal, rehearse};

use self::machine::{Machine, Then};
use self::wire::{About, Ends, Io};
use crate::config::Endpoint;
use crate::config::protocol::{Kind, Protocol};
use crate::model::Fault;
use crate::net::stream::Addr;

/// The negotiation of a tunnel as its sessions play it. The session bounds the time of each call.
#[derive(Clone, Debug)]
pub(super) struct Negotiation {
    protocol: Protocol,
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
    /// What the answer repeats.
    request: Option<socks_server::Request>,
}

impl From<Failed> for Fault {
    fn from(failed: Failed) -> Self {
        failed.fault
    }
}

impl Negotiation {
    /// For sessions of a tunnel with this `protocol`; `client` is the tunnel's.
    pub(super) fn new(protocol: &Protocol, client: bool) -> Self {
        Self { protocol: protocol.clone(), client }
    }

    /// Server mode: [`greet`](Self::greet) needs the backend, which is dialled before TLS (smtp, imap, pop3).
    pub(super) fn connects_first(&self) -> bool {
        !self.client && matches!(self.protocol.kind, Kind::Smtp | Kind::Imap | Kind::Pop3)
    }

    /// Server mode: the client says inside TLS where to go (socks): [`target`](Self::target) is to be asked.
    pub(super) fn chooses_target(&self) -> bool {
        !self.client && self.protocol.kind == Kind::Socks
    }

    /// Client mode: the name that TLS verifies and sends instead of the dialled host (`protocolHost` of connect).
    pub(super) fn tls_host(&self) -> Option<&str> {
        let through = self.client && self.protocol.kind == Kind::Connect;
        let address = self.protocol.destination.as_ref().filter(|_| through)?;
        Some(address.host.as_deref().unwrap_or("localhost"))
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
        let Some(machine) = before(&self.protocol, self.client) else { return Ok(()) };
        let ends = Ends { local: Some(local), remote: Some(remote) };
        wire::play(machine, ends, self.about(host)).await.map(drop)
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
        let Some(machine) = inside(&self.protocol, self.client, destination) else { return Ok(()) };
        let ends = Ends { local: None, remote: Some(remote) };
        wire::play(machine, ends, self.about(host)).await.map(drop)
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
        let about = self.about(peer);
        let Some(machine) = before(&self.protocol, self.client) else { return Ok(Start::Tls(None)) };
        if matches!(self.protocol.kind, Kind::Smtp | Kind::Imap)
            && let Some(byte) = wire::early(local, about).await?
        {
            return Ok(Start::Direct(vec![byte]));
        }
        let ends = Ends { local: Some(local), remote: backend.map(|backend| backend as &mut dyn Io) };
        Ok(match wire::play(machine, ends, about).await? {
            Then::Direct(bytes) => Start::Direct(bytes),
            Then::Go(target) => Start::Tls(Some(target)),
            Then::Follow | Then::End => Start::Tls(None),
        })
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
        let Some(machine) = inside(&self.protocol, self.client, None) else { return Ok(None) };
        let ends = Ends { local: Some(local), remote: None };
        Ok(match wire::play(machine, ends, self.about(peer)).await? {
            Then::Go(target) => Some(target),
            Then::Follow | Then::Direct(_) | Then::End => None,
        })
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
        let Some(request) = &target.request else { return Ok(()) };
        wire::tell(local, &request.dialled(dialled.err()), self.about(peer)).await
    }

    /// Server mode: the first bytes towards the backend (PROXY protocol); empty for others. `from` is the client, `to`
    /// our own end of its connection.
    pub(super) fn preamble(&self, from: &Addr, to: &Addr) -> Vec<u8> {
        match self.protocol.kind {
            Kind::Proxy if !self.client => proxy::v1(from, to),
            Kind::ProxyV2 if !self.client => proxy::v2(from, to),
            _ => Vec::new(),
        }
    }

    fn about<'a>(&self, name: &'a str) -> About<'a> {
        About { name, protocol: self.protocol.kind.as_str(), client: self.client }
    }
}

/// What is said before TLS, if anything.
fn before(protocol: &Protocol, client: bool) -> Option<Box<dyn Machine>> {
    Some(match (protocol.kind, client) {
        (Kind::Connect, true) => Box::new(connect::Client::new(protocol)),
        (Kind::Connect, false) => Box::<connect::Server>::default(),
        (Kind::Imap, true) => Box::<imap::Client>::default(),
        (Kind::Imap, false) => Box::<imap::Server>::default(),
        (Kind::Ldap, true) => Box::<ldap::Client>::default(),
        (Kind::Nntp, true) => Box::<nntp::Client>::default(),
        (Kind::Pgsql, true) => Box::new(pgsql::Client),
        (Kind::Pgsql, false) => Box::<pgsql::Server>::default(),
        (Kind::Pop3, true) => Box::<pop3::Client>::default(),
        (Kind::Pop3, false) => Box::<pop3::Server>::default(),
        (Kind::Smtp, true) => Box::new(smtp::Client::new(our_name(protocol))),
        (Kind::Smtp, false) => Box::<smtp::Server>::default(),
        (Kind::Ldap | Kind::Nntp, false) | (Kind::Proxy | Kind::ProxyV2 | Kind::Socks, _) => return None,
    })
}

/// What is said inside TLS, if anything.
fn inside(protocol: &Protocol, client: bool, destination: Option<SocketAddr>) -> Option<Box<dyn Machine>> {
    match (protocol.kind, client) {
        (Kind::Smtp, true) => {
            let (username, password) = protocol.username.as_deref().zip(protocol.password.as_ref())?;
            Some(Box::new(smtp::Login::new(our_name(protocol), username, password, protocol.authentication)))
        }
        (Kind::Socks, true) => Some(Box::new(socks::Client::new(protocol.destination.as_ref(), destination))),
        (Kind::Socks, false) => Some(Box::<socks_server::Server>::default()),
        _ => None,
    }
}

/// What EHLO says: `protocolHost`, as in stunnel.
fn our_name(protocol: &Protocol) -> &str {
    protocol.host.as_deref().unwrap_or("localhost")
}

#[cfg(test)]
mod tests;
