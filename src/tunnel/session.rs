//! One connection of a tunnel, from accepted to closed.
//!
//! The local connection is closed at once when the other side cannot be had: the old Python clients behind it wait for
//! ever otherwise. Texts follow stunnel's log lines, which scripts look for.

use std::sync::Arc;
use std::time::Instant;

use tokio_rustls::TlsStream;

use super::relay::{self, At, Counts, End, Limits};
use super::settings::{Mode, Settings};
use super::{Shared, lock};
use crate::config::tunnel::Side;
use crate::event::{Event, Level};
use crate::model::{Code, Fault};
use crate::net::ahead::ReadAhead;
use crate::net::dial::Dialled;
use crate::net::stream::{Addr, Stream};
use crate::text;
use crate::text::Text;
use crate::tls::client::{ClientTls, explain_alert};
use crate::tls::material;
use crate::tls::server::ServerTls;

/// A TLS connection of a tunnel.
type Secured = TlsStream<ReadAhead<Stream>>;

/// Sees a connection through.
pub(super) async fn run(shared: Arc<Shared>, settings: Arc<Settings>, number: u64, local: Stream, peer: Addr) {
    let _open = shared.meter.opened();
    let session = Session { shared, settings, number };
    for warning in local.apply(Side::Local, &session.settings.tunnel.socket) {
        session.tell(Level::Warning, "tunnel_warning", || warning);
    }
    session.accepted(&peer);
    match &session.settings.tls {
        Mode::Client(tls) => session.client(tls, local).await,
        Mode::Server(tls) => session.server(tls, local, peer).await,
    }
}

struct Session {
    shared: Arc<Shared>,
    settings: Arc<Settings>,
    number: u64,
}

impl Session {
    /// Plain here, TLS there.
    async fn client(&self, tls: &ClientTls, mut local: Stream) {
        match self.unless_cut(self.secure_remote(tls)).await {
            Ok((mut remote, host)) => self.relay(&mut local, &mut remote, Some(&host)).await,
            Err(fault) => {
                self.failed(&fault);
                self.break_off(&local);
                self.closed(Counts::default(), true);
            }
        }
    }

    /// TLS here, plain there.
    async fn server(&self, tls: &ServerTls, local: Stream, peer: Addr) {
        match self.unless_cut(self.secure_local(tls, local, peer)).await {
            Ok((mut local, mut remote)) => self.relay(&mut remote, &mut local, None).await,
            Err(fault) => {
                self.failed(&fault);
                self.closed(Counts::default(), true);
            }
        }
    }

    async fn secure_remote(&self, tls: &ClientTls) -> Result<(Secured, String), Fault> {
        let Dialled { stream, host, .. } = self.dial().await?;
        let stream = self.in_time(&host, tls.connect(ReadAhead::new(stream), &host)).await;
        self.probed(tls, &host);
        let stream = TlsStream::from(stream?);
        self.negotiated("TLS connected", &stream);
        Ok((stream, host))
    }

    async fn secure_local(&self, tls: &ServerTls, local: Stream, peer: Addr) -> Result<(Secured, Stream), Fault> {
        let peer = peer.to_string();
        let local = TlsStream::from(self.in_time(&peer, tls.accept(ReadAhead::new(local), &peer)).await?);
        self.negotiated("TLS accepted", &local);
        Ok((local, self.dial().await?.stream))
    }

    async fn dial(&self) -> Result<Dialled, Fault> {
        let dialled = self.settings.dialler.dial(None).await?;
        let target = dialled.target.clone();
        self.tell(Level::Notice, "remote_connected", || {
            text!("s_connect: connected {target}", "s_connect : connecté à {target}")
        });
        if let Ok(from) = dialled.stream.local_addr() {
            let name = &self.shared.name;
            self.tell(Level::Notice, "remote_connected", || {
                text!(
                    "Service [{name}] connected remote server from {from}",
                    "Service [{name}] relié au serveur distant depuis {from}"
                )
            });
        }
        Ok(dialled)
    }

    /// `TIMEOUTbusy` over a handshake.
    async fn in_time<T>(&self, peer: &str, work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        let limit = self.settings.tunnel.timeout_busy;
        let began = Instant::now();
        let ended = tokio::time::timeout(limit, work).await;
        if let Ok(Ok(_)) = ended {
            self.shared.meter.shook_hands(began.elapsed());
        }
        ended.unwrap_or_else(|_| {
            let seconds = limit.as_secs();
            Err(Fault::new(
                Code::Tls,
                text!(
                    "TIMEOUTbusy exceeded: no TLS handshake with {peer} within {seconds} s; it may not speak TLS on this port",
                    "TIMEOUTbusy dépassé : pas de négociation TLS avec {peer} en {seconds} s ; il ne parle peut-être pas \
                     TLS sur ce port"
                ),
            ))
        })
    }

    async fn unless_cut<T>(&self, work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        self.shared.abort.run_until_cancelled(work).await.unwrap_or_else(|| {
            Err(Fault::new(Code::Connect, text!("cut: the service stops", "coupée : le service s'arrête")))
        })
    }

    /// The data phase; `host` is the TLS server where we are its client.
    async fn relay(&self, plain: &mut Stream, tls: &mut Secured, host: Option<&str>) {
        let tunnel = &self.settings.tunnel;
        let limits = Limits { idle: tunnel.timeout_idle, close: tunnel.timeout_close };
        let mut counts = Counts::default();
        let mut told = Counts::default();
        let meter = &self.shared.meter;
        let moved = |counts: Counts| {
            meter.moved(counts.to_tls - told.to_tls, counts.to_plain - told.to_plain);
            told = counts;
        };
        let relay = relay::relay(plain, tls, limits, &mut counts, moved);
        let ended = self.shared.abort.run_until_cancelled(relay).await;
        let reset = match ended {
            None => true,
            Some(end) => self.ended(&end, host),
        };
        if reset {
            self.break_off(plain);
        }
        self.closed(counts, reset);
    }

    /// Tells how the data phase ended; whether the plain side learns of it by a reset.
    fn ended(&self, end: &End, host: Option<&str>) -> bool {
        match end {
            End::Closed => false,
            End::Idle => {
                self.shared.meter.failed("idle");
                self.tell(Level::Info, "connection_idle", || {
                    text!("TIMEOUTidle exceeded: sending reset", "TIMEOUTidle dépassé : réinitialisation")
                });
                true
            }
            End::HalfClosed => {
                self.tell(Level::Info, "connection_half_closed", || {
                    text!("TIMEOUTclose exceeded: closing", "TIMEOUTclose dépassé : fermeture")
                });
                false
            }
            End::Reset { at, lost } => {
                let (en, fr) = side_words(*at);
                if *lost {
                    self.shared.meter.failed("reset");
                }
                self.tell(Level::Info, "connection_reset", || {
                    text!("{en}: connection reset by peer", "{fr} : connexion réinitialisée par le correspondant")
                });
                *lost
            }
            End::Failed { at, error } => {
                let (en, fr) = side_words(*at);
                self.shared.meter.failed("broken");
                let alert = host.and_then(|host| explain_alert(host, error));
                let told = || alert.unwrap_or_else(|| text!("{en}: {error}", "{fr} : {error}"));
                self.tell(Level::Error, "connection_failed", told);
                true
            }
        }
    }

    /// A reset instead of an orderly end, unless `reset = no`: who reads on the plain side must not take what it has
    /// for everything.
    fn break_off(&self, plain: &Stream) {
        if self.settings.tunnel.reset {
            plain.reset_on_close();
        }
    }

    fn accepted(&self, peer: &Addr) {
        let name = &self.shared.name;
        self.tell(Level::Notice, "connection_accepted", || {
            text!("Service [{name}] accepted connection from {peer}", "Service [{name}] connexion acceptée de {peer}")
        });
    }

    fn negotiated(&self, what: &str, stream: &Secured) {
        let state = stream.get_ref().1;
        if let Some(leaf) = state.peer_certificates().and_then(|chain| chain.first()) {
            self.shared.meter.set_peer_expiry(material::expiry(leaf));
        }
        self.tell(Level::Info, "tls_negotiated", || {
            let resumed = state.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
            let version = state.protocol_version().and_then(|version| version.as_str()).unwrap_or("TLS");
            let suite = state.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or("?");
            let (en, fr) = if resumed {
                ("previous session reused", "session précédente reprise")
            } else {
                ("new session negotiated", "nouvelle session négociée")
            };
            text!("{what}: {en}, {version} {suite}", "{what} : {fr}, {version} {suite}")
        });
    }

    /// With `defaults = stunnel`: whether verification would have succeeded, told when it is new.
    fn probed(&self, tls: &ClientTls, host: &str) {
        let Some(verdict) = tls.take_verdict() else { return };
        let name = &self.shared.name;
        let text = match verdict {
            Ok(()) => text!(
                "Service [{name}] verifies nothing, but verification would succeed: `verifyChain = yes` costs nothing",
                "Service [{name}] ne vérifie rien, mais la vérification réussirait : `verifyChain = yes` ne coûte rien"
            ),
            Err(refusal) => {
                let reason = refusal.text(host);
                let (en, fr) = (&reason.en, &reason.fr);
                text!(
                    "Service [{name}] verifies nothing, and verification would fail: {en}",
                    "Service [{name}] ne vérifie rien, et la vérification échouerait : {fr}"
                )
            }
        };
        let news = lock(&self.settings.probed).replace(text.en.to_string());
        if news.as_deref() != Some(&text.en) {
            self.shared.emit(Level::Warning, "verification_probe", text);
        }
    }

    fn failed(&self, fault: &Fault) {
        // what the end of the service cuts is nobody's failure
        if !self.shared.abort.is_cancelled() {
            self.shared.meter.failed(fault.code.as_str());
        }
        self.tell(Level::Error, "connection_failed", || fault.text.clone());
    }

    fn closed(&self, counts: Counts, reset: bool) {
        let Counts { to_tls, to_plain } = counts;
        let (en, fr) = if reset { ("reset", "rompue") } else { ("closed", "fermée") };
        self.tell(Level::Notice, "connection_closed", || {
            text!(
                "Connection {en}: {to_tls} byte(s) sent to TLS, {to_plain} byte(s) sent to socket",
                "Connexion {fr} : {to_tls} octet(s) envoyé(s) vers TLS, {to_plain} octet(s) envoyé(s) vers le socket"
            )
        });
    }

    /// Told only where the tunnel's `debug` asks for it: a text costs more than a byte relayed.
    fn tell(&self, level: Level, name: &'static str, text: impl FnOnce() -> Text) {
        if level <= self.settings.tunnel.debug {
            self.shared.events.emit(Event::new(level, name, text()).of(&self.shared.name).on(self.number));
        }
    }
}

fn side_words(at: At) -> (&'static str, &'static str) {
    match at {
        At::Plain => ("plain socket", "socket en clair"),
        At::Tls => ("TLS socket", "socket TLS"),
    }
}
