//! What a session tells: stunnel's log lines, in their order and at their levels.

use std::io;
use std::time::Instant;

use rustls::HandshakeKind;
use rustls_pki_types::CertificateDer;

use super::super::relay::{At, Counts, End};
use super::{Cut, Secured, Session, Stop, Why};
use crate::config::{self, Check};
use crate::event::{ConnectionId, Event, Events, Level};
use crate::model::{Code, ServiceName};
use crate::text;
use crate::text::Text;
use crate::tls::client::{ClientTls, explain_alert};
use crate::tls::failure::{Cause, Failure, Shaken};
use crate::tls::material;
use crate::tls::verify::Verdict;
use crate::tunnel::settings::Settings;
use crate::tunnel::{Shared, lock};

/// What a session waits for when nothing moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The TLS handshake.
    Tls,
    /// What `protocol` says around it.
    Protocol,
}

impl Session {
    pub(super) fn accepted(&self) {
        let name = &self.shared.name;
        self.tell(Level::Debug, "connection_started", || text!("Service [{name}] started", "Service [{name}] démarre"));
        match &self.about.peer {
            Some(peer) => self.tell(Level::Notice, "connection_accepted", || {
                text!(
                    "Service [{name}] accepted connection from {peer}",
                    "Service [{name}] connexion acceptée de {peer}"
                )
            }),
            None => self.tell(Level::Notice, "connection_accepted", || {
                text!("Service [{name}] accepted connection", "Service [{name}] connexion acceptée")
            }),
        }
    }

    /// A handshake, with `TIMEOUTbusy` over it.
    pub(super) async fn shaken<T, S>(&self, work: impl Future<Output = Shaken<T, S>>) -> Result<T, Stop> {
        let began = Instant::now();
        let shaken = self.busy(Step::Tls, work).await?;
        // the stream is dropped behind the order how
        let shaken = shaken.map_err(|(failure, _stream)| self.not_shaken(failure))?;
        self.shared.meter.shook_hands(began.elapsed());
        Ok(shaken)
    }

    /// Who says no TLS is reset as the plain end is; who does has been told in an alert.
    pub(super) fn not_shaken(&self, failure: Failure) -> Stop {
        let Failure { fault, cause } = failure;
        if let Cause::Refused(subject) = &cause {
            self.tell_refused(subject);
        }
        self.fail(fault, if cause == Cause::NoTls { Cut::Both } else { Cut::Plain })
    }

    /// Whether the handshake fails without a certificate of the other side.
    pub(super) fn tell_demand(&self) {
        let config::Tunnel { client, trust, .. } = &self.settings.tunnel;
        let required = trust.require || (*client && trust.check != Check::Off);
        self.tell(Level::Info, "certificate_demand", || {
            if required {
                text!("Peer certificate required", "Certificat du correspondant exigé")
            } else {
                text!("Peer certificate not required", "Certificat du correspondant facultatif")
            }
        });
    }

    fn tell_refused(&self, subject: &str) {
        self.tell(Level::Warning, "certificate_rejected", || {
            text!("Rejected by CERT at depth=0: {subject}", "Certificat refusé (depth=0) : {subject}")
        });
    }

    /// What was found of the certificate that the other side has just shown.
    fn tell_verdict(&self, leaf: &CertificateDer<'_>, verdict: &Verdict) {
        match verdict {
            Err(refusal) => self.tell_refused(&refusal.subject),
            Ok(()) => self.tell(Level::Notice, "certificate_accepted", || {
                let subject = material::subject(leaf);
                text!("Certificate accepted at depth=0: {subject}", "Certificat accepté (depth=0) : {subject}")
            }),
        }
    }

    /// `verdict`: of a certificate that was judged without failing the handshake.
    pub(super) fn negotiated(&self, what: &str, stream: &Secured, verdict: &Verdict) {
        let state = stream.get_ref().1;
        let resumed = state.handshake_kind() == Some(HandshakeKind::Resumed);
        if let Some(leaf) = state.peer_certificates().and_then(|chain| chain.first()) {
            self.shared.meter.set_peer_expiry(material::expiry(leaf));
            if !resumed && self.settings.tunnel.trust.check != Check::Off {
                self.tell_verdict(leaf, verdict);
            }
        }
        self.tell(Level::Info, "tls_negotiated", || {
            if resumed {
                text!("{what}: previous session reused", "{what} : session précédente reprise")
            } else {
                text!("{what}: new session negotiated", "{what} : nouvelle session négociée")
            }
        });
        self.tell(Level::Info, "tls_ciphersuite", || {
            let version = match state.protocol_version() {
                Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
                _ => "TLSv1.3",
            };
            let suite = state.negotiated_cipher_suite().map(|suite| suite.suite());
            let name = suite.and_then(|suite| suite.as_str()).unwrap_or("?").replace("TLS13_", "TLS_");
            let bits = if name.contains("AES_128") { 128 } else { 256 };
            text!(
                "{version} ciphersuite: {name} ({bits}-bit encryption)",
                "{version}, suite de chiffrement : {name} ({bits} bits)"
            )
        });
    }

    /// With `defaults = stunnel`: whether verification would have succeeded, told when it is new.
    pub(super) fn probed(&self, tls: &ClientTls, host: &str) {
        let Some(verdict) = tls.take_verdict() else { return };
        let name = &self.settings.tunnel.name;
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

    /// The TLS side has ended its half, with `close_notify` or without.
    pub(super) fn tls_ended(&self, orderly: bool) {
        self.tell(Level::Info, "tls_ended", || {
            if orderly {
                text!("TLS closed (SSL_read)", "TLS terminé par le correspondant")
            } else {
                text!("TLS socket closed (SSL_read)", "socket TLS fermé sans annonce de fin")
            }
        });
    }

    /// Tells how the data phase ended; how the ends of the session learn of it.
    pub(super) fn ended(&self, end: &End, host: Option<&str>) -> Cut {
        match end {
            End::Closed => Cut::None,
            End::Idle => {
                self.shared.meter.failed("idle");
                self.tell(Level::Info, "connection_idle", || {
                    text!("TIMEOUTidle exceeded: sending reset", "TIMEOUTidle dépassé : réinitialisation")
                });
                Cut::Both
            }
            End::HalfClosed => {
                self.tell(Level::Error, "connection_half_closed", || {
                    text!("TIMEOUTclose exceeded: closing", "TIMEOUTclose dépassé : fermeture")
                });
                Cut::None
            }
            End::Reset { at, lost, code } => {
                if *lost {
                    self.shared.meter.failed("reset");
                }
                self.tell(Level::Info, "connection_reset", || aborted(*at, *code));
                if *lost { Cut::Both } else { Cut::None }
            }
            End::Failed { at, error } => {
                let (en, fr) = side_words(*at);
                self.shared.meter.failed("broken");
                let alert = host.and_then(|host| explain_alert(host, error));
                let told = || alert.unwrap_or_else(|| text!("{en}: {error}", "{fr} : {error}"));
                self.tell(Level::Error, "connection_failed", told);
                Cut::Plain
            }
        }
    }

    /// Why there is no data.
    pub(super) fn told_why(&self, why: &Why) {
        match why {
            Why::Over => {}
            Why::Failed(fault) | Why::Unreached(fault) => {
                // what the end of the service cuts is nobody's failure
                if !self.shared.abort.is_cancelled() {
                    self.shared.meter.failed(fault.code.as_str());
                }
                self.tell(Level::Error, "connection_failed", || fault.text.clone());
                if matches!(why, Why::Unreached(_)) && fault.code == Code::Connect {
                    self.tell(Level::Error, "connection_failed", || {
                        text!("No more addresses to connect", "Plus d'adresse à laquelle se connecter")
                    });
                }
            }
            Why::Busy(step) => self.stood_still(*step),
            Why::ServiceEnds => self.tell(Level::Error, "connection_failed", || {
                text!("cut: the service stops", "coupée : le service s'arrête")
            }),
        }
    }

    /// A stranger that says nothing is told as stunnel tells it; a server of our own choice that does is an error.
    fn stood_still(&self, step: Step) {
        let code = if step == Step::Tls { Code::Tls } else { Code::Connect };
        self.shared.meter.failed(code.as_str());
        let level = if self.settings.tunnel.client { Level::Error } else { Level::Info };
        let seconds = self.settings.tunnel.timeout_busy.as_secs_f32();
        self.tell(level, "connection_failed", || match step {
            Step::Tls => text!(
                "TIMEOUTbusy exceeded: sending reset; no TLS handshake: nothing came for {seconds} s, the other side may not \
                 speak TLS on this port",
                "TIMEOUTbusy dépassé : réinitialisation ; pas de négociation TLS : rien pendant {seconds} s, l'autre bout ne \
                 parle peut-être pas TLS sur ce port"
            ),
            Step::Protocol => text!(
                "TIMEOUTbusy exceeded: sending reset; nothing came for {seconds} s in the negotiation of `protocol`",
                "TIMEOUTbusy dépassé : réinitialisation ; rien pendant {seconds} s dans la négociation de `protocol`"
            ),
        });
    }

    /// stunnel names the two ends apart where only one is reset: remote/local.
    pub(super) fn closed(&self, counts: Counts, cut: Cut) {
        let Counts { to_tls, to_plain } = counts;
        let config::Tunnel { client, reset, .. } = self.settings.tunnel;
        let (en, fr) = match (cut, client) {
            _ if !reset => ("closed", "fermée"),
            (Cut::None, _) => ("closed", "fermée"),
            (Cut::Both, _) => ("reset", "rompue"),
            (Cut::Plain, true) => ("closed/reset", "fermée/rompue"),
            (Cut::Plain, false) => ("reset/closed", "rompue/fermée"),
        };
        self.tell(Level::Notice, "connection_closed", || {
            text!(
                "Connection {en}: {to_tls} byte(s) sent to TLS, {to_plain} byte(s) sent to socket",
                "Connexion {fr} : {to_tls} octet(s) envoyé(s) vers TLS, {to_plain} octet(s) envoyé(s) vers le socket"
            )
        });
    }

    /// For those who go on to tell after the session has ended.
    pub(super) fn teller(&self) -> Teller {
        Teller::new(&self.shared, &self.settings, self.entry.id.clone())
    }

    /// As [`Teller::tell`].
    pub(super) fn tell(&self, level: Level, name: &'static str, text: impl FnOnce() -> Text) {
        if level <= self.settings.tunnel.debug {
            let event = Event::new(level, name, text()).of(&self.settings.tunnel.name).on(&self.entry.id);
            self.shared.events.emit(event);
        }
    }
}

/// Tells what concerns one connection, also once that has ended.
#[derive(Clone, Debug)]
pub(in crate::tunnel) struct Teller {
    events: Events,
    name: ServiceName,
    id: ConnectionId,
    debug: Level,
}

impl Teller {
    /// For the connection `id`, which follows `settings`.
    pub(in crate::tunnel) fn new(shared: &Shared, settings: &Settings, id: ConnectionId) -> Self {
        let config::Tunnel { name, debug, .. } = &settings.tunnel;
        Self { events: shared.events.clone(), name: name.clone(), id, debug: *debug }
    }

    /// Told only where the tunnel's `debug` asks for it: a text costs more than a byte relayed.
    pub(in crate::tunnel) fn tell(&self, level: Level, name: &'static str, text: impl FnOnce() -> Text) {
        if level <= self.debug {
            self.events.emit(Event::new(level, name, text()).of(&self.name).on(&self.id));
        }
    }
}

/// The other end of a side is gone; `code`: `errno`, as stunnel writes it behind the words.
fn aborted(at: At, code: Option<i32>) -> Text {
    let (en, fr) = match at {
        At::Plain => ("socket fd", "socket en clair"),
        At::Tls => ("TLS fd", "socket TLS"),
    };
    let said = code.map_or_else(|| io::ErrorKind::ConnectionReset.into(), io::Error::from_raw_os_error);
    let Text { en: words, fr: mots } = Text::io(&said);
    let words = words.replace("(os error ", "(");
    text!("{en}: {words}", "{fr} : {mots}")
}

fn side_words(at: At) -> (&'static str, &'static str) {
    match at {
        At::Plain => ("plain socket", "socket en clair"),
        At::Tls => ("TLS socket", "socket TLS"),
    }
}
