//! Where a session goes to: an address, a program, or where the client had wanted to go itself.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::pace::{End, Paced};
use super::{Cut, Secured, Session, Stop, Why};
use crate::config::tunnel::Exec;
use crate::config::{Address, Endpoint};
use crate::event::Level;
use crate::model::{Code, Fault};
use crate::net::dial::{Dialled, Dialler};
use crate::text;
use crate::text::Text;
use crate::tunnel::exec::{self, Caller};
use crate::tunnel::lock;
use crate::tunnel::protocol::Failed;

/// What a session is connected to.
pub(super) struct Reached {
    pub(super) stream: Paced,
    /// The host as the configuration writes it: what the certificate must name.
    pub(super) host: String,
}

impl Session {
    /// The target that the configuration says. `client`: the TLS end where it is the client's, for what a program is
    /// told about it.
    pub(super) async fn reach(&self, client: Option<&Secured>) -> Result<Reached, Stop> {
        let tunnel = &self.settings.tunnel;
        match &tunnel.exec {
            Some(exec) if tunnel.connect.is_empty() => self.start(exec, client),
            _ if !tunnel.connect.is_empty() => self.dial(&self.settings.dialler).await,
            _ => {
                let destination = self.destination()?;
                self.reach_one_of(&[destination]).await
            }
        }
    }

    /// One of these, which no `connect` line says.
    pub(super) async fn reach_one_of(&self, endpoints: &[Endpoint]) -> Result<Reached, Stop> {
        self.dial(&self.dialler_of(endpoints)).await
    }

    pub(super) fn dialler_of(&self, endpoints: &[Endpoint]) -> Dialler {
        self.settings.dialler_of(endpoints)
    }

    /// Where the client's session was before, if that is one of `dialler`'s; else in its order.
    pub(super) async fn dial(&self, dialler: &Dialler) -> Result<Reached, Stop> {
        let visit = self.visit.get();
        let before = visit.and_then(|visit| visit.before.as_ref());
        let dialled = dialler.dial_preferring(self.source(), before).await;
        let dialled = dialled.map_err(|fault| self.stop(Why::Unreached(fault), Cut::Both))?;
        let target = dialled.target.clone();
        let reached = self.dialled(dialled);
        if let Some(visit) = visit.filter(|_| self.settings.tunnel.resume) {
            let (en, fr) = if before == Some(&target) { ("reused", "repris") } else { ("cached", "retenu") };
            self.tell(Level::Info, "persistence", || {
                text!("persistence: {target} {en}", "persistance : {target} {fr}")
            });
            lock(&self.settings.memory).remember(visit.number, target, self.settings.tunnel.tls.cache_size);
        }
        Ok(reached)
    }

    pub(super) fn dialled(&self, dialled: Dialled) -> Reached {
        let Dialled { stream, host, target, failed } = dialled;
        for (target, reason) in failed {
            self.tell(Level::Error, "remote_failed", || {
                let Text { en, fr } = reason;
                text!("s_connect: connect {target}: {en}", "s_connect : connexion à {target} : {fr}")
            });
        }
        self.tell(Level::Info, "remote_connecting", || {
            text!("s_connect: connecting {target}", "s_connect : connexion à {target}")
        });
        self.tell(Level::Notice, "remote_connected", || {
            text!("s_connect: connected {target}", "s_connect : connecté à {target}")
        });
        if let Ok(from) = stream.local_addr() {
            let name = &self.settings.tunnel.name;
            self.tell(Level::Notice, "remote_connected", || {
                text!(
                    "Service [{name}] connected remote server from {from}",
                    "Service [{name}] relié au serveur distant depuis {from}"
                )
            });
        }
        Reached { stream: Paced::new(stream, End::Remote, &self.pace), host }
    }

    /// The address that `transparent = source` connects from.
    pub(super) fn source(&self) -> Option<SocketAddr> {
        self.about.peer.as_ref().and_then(crate::net::stream::Addr::ip)
    }

    fn destination(&self) -> Result<Endpoint, Stop> {
        let known = self.about.destination.as_ref();
        let unknown = || Err("no original destination".to_owned());
        known.cloned().unwrap_or_else(unknown).map(endpoint).map_err(|why| {
            let text = text!(
                "transparent = destination: {why}; the connection must come through a REDIRECT or TPROXY rule of the firewall",
                "transparent = destination : {why} ; la connexion doit passer par une règle REDIRECT ou TPROXY du pare-feu"
            );
            self.fail(Fault::new(Code::Connect, text), Cut::Both)
        })
    }

    fn start(&self, exec: &Exec, client: Option<&Secured>) -> Result<Reached, Stop> {
        let leaf = client.and_then(|stream| stream.get_ref().1.peer_certificates()).and_then(<[_]>::first);
        let caller = Caller::new(self.source(), leaf);
        let stream = exec::start(exec, &caller, &self.teller())
            .map_err(|error| self.fail(Fault::new(Code::Connect, exec::cannot_start(exec, &error)), Cut::Both))?;
        Ok(Reached { stream: Paced::new(stream, End::Remote, &self.pace), host: "localhost".to_owned() })
    }

    /// A negotiation that failed: whoever was told in words must be able to read them.
    pub(super) async fn negotiation_failed<S>(&self, failed: Failed, told: &mut S) -> Stop
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        if !failed.told {
            return self.fail(failed.fault, Cut::Both);
        }
        self.farewell(told).await;
        self.fail(failed.fault, Cut::None)
    }

    /// Ends our half and waits a moment for theirs: closing over bytes that nobody read would be a reset, which takes
    /// away what was said.
    pub(super) async fn farewell<S>(&self, stream: &mut S)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let rest = async {
            let _ = stream.shutdown().await;
            let mut thrown = [0; 1024];
            while stream.read(&mut thrown).await.is_ok_and(|count| count > 0) {}
        };
        // whatever they do: it is over
        let _ = tokio::time::timeout(LAST_WORDS, rest).await;
    }
}

fn endpoint(at: SocketAddr) -> Endpoint {
    Endpoint::Tcp(Address { host: Some(at.ip().to_string()), port: at.port() })
}

/// Long beside a round trip, short beside anybody's patience.
const LAST_WORDS: Duration = Duration::from_secs(2);
