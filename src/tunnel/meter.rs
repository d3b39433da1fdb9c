//! What a tunnel counts: a few atomic numbers that its sessions raise and `/metrics` reads.
//!
//! Not events: bytes and connections are too many for that. Sections of one name share a meter, as they share the label;
//! it outlives a reload, so that counters never run backwards.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

/// The counters of a tunnel.
#[derive(Debug)]
pub struct Meter {
    /// Connections that were accepted.
    pub connections: Counter,
    /// Connections that are open.
    pub open: Gauge,
    /// Bytes from the plain side into TLS.
    pub to_tls: Counter,
    /// Bytes from TLS to the plain side.
    pub to_socket: Counter,
    /// Seconds of successful TLS handshakes.
    pub handshake: Histogram,
    /// What went wrong, by [`REASONS`].
    pub failures: BTreeMap<&'static str, Counter>,
    own_expiry: AtomicI64,
    peer_expiry: AtomicI64,
    wanted: Gauge,
    listening: Gauge,
}

impl Meter {
    /// When our own certificate ends, in seconds since 1970.
    pub fn own_expiry(&self) -> Option<i64> {
        known(&self.own_expiry)
    }

    /// The same of the certificate that was seen last at the other end.
    pub fn peer_expiry(&self) -> Option<i64> {
        known(&self.peer_expiry)
    }

    /// Whether every `accept` line listens.
    pub fn is_listening(&self) -> bool {
        self.wanted.get() <= self.listening.get()
    }

    pub(super) fn set_own_expiry(&self, expiry: Option<i64>) {
        self.own_expiry.store(expiry.unwrap_or(UNKNOWN), Ordering::Relaxed);
    }

    pub(super) fn set_peer_expiry(&self, expiry: Option<i64>) {
        self.peer_expiry.store(expiry.unwrap_or(UNKNOWN), Ordering::Relaxed);
    }

    /// A connection, open until the answer is dropped.
    pub(super) fn opened(&self) -> Held {
        self.connections.inc();
        Held::new(&self.open)
    }

    /// An `accept` line that should listen, until the answer is dropped.
    pub(super) fn wants_to_listen(&self) -> Held {
        Held::new(&self.wanted)
    }

    /// One that does.
    pub(super) fn listens(&self) -> Held {
        Held::new(&self.listening)
    }

    pub(super) fn moved(&self, to_tls: u64, to_socket: u64) {
        for (counter, bytes) in [(&self.to_tls, to_tls), (&self.to_socket, to_socket)] {
            if bytes > 0 {
                counter.inc_by(bytes);
            }
        }
    }

    pub(super) fn shook_hands(&self, took: Duration) {
        self.handshake.observe(took.as_secs_f64());
    }

    pub(super) fn failed(&self, reason: &str) {
        if let Some(counter) = self.failures.get(reason).or_else(|| self.failures.get("broken")) {
            counter.inc();
        }
    }
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            connections: Counter::default(),
            open: Gauge::default(),
            to_tls: Counter::default(),
            to_socket: Counter::default(),
            handshake: Histogram::new(SECONDS),
            failures: REASONS.into_iter().map(|reason| (reason, Counter::default())).collect(),
            own_expiry: AtomicI64::new(UNKNOWN),
            peer_expiry: AtomicI64::new(UNKNOWN),
            wanted: Gauge::default(),
            listening: Gauge::default(),
        }
    }
}

/// One more, as long as this lives: also a task that falls gives it back.
#[derive(Debug)]
pub(super) struct Held(Gauge);

impl Held {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn known(expiry: &AtomicI64) -> Option<i64> {
    Some(expiry.load(Ordering::Relaxed)).filter(|expiry| *expiry != UNKNOWN)
}

/// The values of `reason`: the port could not be bound, no connection could be accepted; the codes of what fails before
/// the data; `TIMEOUTidle`, bytes lost to a reset, a TLS alert or another error in the middle.
pub const REASONS: [&str; 9] = ["accept", "bind", "broken", "config", "connect", "idle", "reset", "resolve", "tls"];

/// No certificate ends then.
const UNKNOWN: i64 = i64::MIN;

/// From a resumed session on one machine to `TIMEOUTbusy`.
const SECONDS: [f64; 11] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];
