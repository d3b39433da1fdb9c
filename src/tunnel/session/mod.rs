//! One connection of a tunnel, from accepted to closed.
//!
//! Two ends, whatever they are: a TCP or Unix socket, a program, standard input. Which end speaks TLS decides between
//! [`client`] and [`server`]; both end in one relay. The local connection is closed at once when the other side cannot be
//! had: the old Python clients behind it wait for ever otherwise. Texts follow stunnel's log lines, which scripts look
//! for.

mod client;
mod pace;
mod server;
mod target;
mod tell;

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use tokio_rustls::TlsStream;

use super::relay::{self, Counts, Limits, Notice};
use super::settings::{Mode, Settings};
use super::{Shared, lock};
use crate::config::tunnel::Side;
use crate::event::{ConnectionId, Level};
use crate::model::{Fault, ServiceName};
use crate::net::ahead::ReadAhead;
use crate::net::dial;
use crate::net::stream::{Addr, Stream};
use pace::{End, Pace, Paced};
use tell::Step;
pub(super) use tell::Teller;

/// A TLS connection of a tunnel.
type Secured = TlsStream<ReadAhead<Paced>>;

/// Where a session comes from.
#[derive(Debug)]
pub(super) struct Origin {
    stream: Stream,
    about: About,
}

/// What is known of the connection that came to us.
#[derive(Debug)]
struct About {
    /// Who is at its other end; `None` where that is no socket.
    peer: Option<Addr>,
    /// Our own end.
    own: Option<Addr>,
    /// Where it was to go before the firewall redirected it to us, where the tunnel needs to know.
    destination: Option<Result<SocketAddr, String>>,
}

/// A connection in the list of those that are open.
#[derive(Debug)]
pub(super) struct Entry {
    id: ConnectionId,
    /// Changes once when a virtual host takes the connection over.
    name: Mutex<ServiceName>,
    to_tls: AtomicU64,
    to_plain: AtomicU64,
}

/// The end of a session before its data.
#[derive(Debug)]
struct Stop {
    why: Why,
    cut: Cut,
}

/// Why a session ends before its data.
#[derive(Debug)]
enum Why {
    /// Something went wrong.
    Failed(Fault),
    /// None of the targets could be connected to.
    Unreached(Fault),
    /// `TIMEOUTbusy`; what was waited for.
    Busy(Step),
    /// After the drain.
    ServiceEnds,
    /// Everything was said: there is no data to carry.
    Over,
}

/// How the ends of a session learn that it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// In order.
    None,
    /// The plain end by a reset; TLS had its say in an alert.
    Plain,
    /// Both by a reset.
    Both,
}

impl Origin {
    /// `peer` is `None` where the other end is no socket, or a program.
    pub(super) fn new(stream: Stream, peer: Option<Addr>, settings: &Settings) -> Self {
        let destination = settings.wants_destination();
        let destination = destination.then(|| dial::original_destination(&stream).map_err(|error| error.to_string()));
        let own = stream.local_addr().ok();
        Self { stream, about: About { peer, own, destination } }
    }
}

/// Sees a connection through.
pub(super) async fn run(shared: Arc<Shared>, id: ConnectionId, settings: Arc<Settings>, origin: Origin) {
    let _open = shared.meter.opened();
    let listed = Listed::new(&shared, id, &settings.tunnel.name);
    let Origin { stream, about } = origin;
    let warnings = stream.apply(Side::Local, &settings.tunnel.socket);
    let pace = Arc::<Pace>::default();
    let local = Paced::new(stream, End::Local, &pace);
    let mut session = Session { shared, settings, entry: listed.entry.clone(), about, pace, visit: OnceLock::new() };
    for warning in warnings {
        session.tell(Level::Warning, "tunnel_warning", || warning);
    }
    session.accepted();
    match &session.settings.clone().tls {
        Mode::Client(tls) => session.client(tls, local).await,
        Mode::Server(_) => session.server(local).await,
    }
}

struct Session {
    shared: Arc<Shared>,
    /// Those of the tunnel, then those of the virtual host that the client asks for.
    settings: Arc<Settings>,
    entry: Arc<Entry>,
    about: About,
    pace: Arc<Pace>,
    /// Known once TLS stands, in server mode.
    visit: OnceLock<Visit>,
}

/// The TLS session of a client, as far as it decides where the client goes.
#[derive(Debug)]
struct Visit {
    /// Its own, in [`Settings::memory`].
    number: u64,
    /// Where the session that it resumes was.
    before: Option<Addr>,
}

impl Session {
    /// `work` as long as it makes progress (`TIMEOUTbusy`). Boxed by who calls, as all long steps of a session are: one
    /// future inside another multiplies its size, and a thousand clients may wait in their first step.
    async fn busy<T>(&self, step: Step, work: impl Future<Output = T>) -> Result<T, Stop> {
        let mut work = pin!(work);
        let done = self.pace.within(self.settings.tunnel.timeout_busy, work.as_mut()).await;
        // before `work` is dropped, which owns streams
        done.ok_or_else(|| self.stop(Why::Busy(step), Cut::Both))
    }

    /// `work`, unless the service ends meanwhile.
    async fn until_cut<T>(&self, work: impl Future<Output = Result<T, Stop>>) -> Result<T, Stop> {
        let mut work = pin!(work);
        let done = self.shared.abort.run_until_cancelled(work.as_mut()).await;
        // before `work` is dropped, which owns streams
        done.unwrap_or_else(|| Err(self.stop(Why::ServiceEnds, Cut::Plain)))
    }

    /// Why the session ends; the streams know how from now on, wherever they are dropped.
    fn stop(&self, why: Why, cut: Cut) -> Stop {
        self.break_off(cut);
        Stop { why, cut }
    }

    fn fail(&self, fault: Fault, cut: Cut) -> Stop {
        self.stop(Why::Failed(fault), cut)
    }

    /// Nothing goes on; tells why.
    fn stopped(&self, stop: &Stop) {
        self.told_why(&stop.why);
        self.closed(Counts::default(), stop.cut);
    }

    /// The data phase; `host` is the TLS server where we are its client.
    async fn relay(&self, plain: &mut Paced, tls: &mut Secured, host: Option<&str>) {
        let tunnel = &self.settings.tunnel;
        let limits = Limits { idle: tunnel.timeout_idle, close: tunnel.timeout_close };
        let mut counts = Counts::default();
        let mut told = Counts::default();
        let hear = |notice: Notice| match notice {
            Notice::Moved(counts) => {
                self.shared.meter.moved(counts.to_tls - told.to_tls, counts.to_plain - told.to_plain);
                self.entry.moved(counts);
                told = counts;
            }
            Notice::TlsEnded { orderly } => self.tls_ended(orderly),
        };
        let relay = relay::relay(plain, tls, limits, &mut counts, hear);
        let cut = match self.shared.abort.run_until_cancelled(relay).await {
            None => Cut::Plain,
            Some(end) => self.ended(&end, host),
        };
        self.break_off(cut);
        self.closed(counts, cut);
    }

    /// A reset instead of an orderly end, unless `reset = no`: who reads must not take what it has for everything.
    fn break_off(&self, cut: Cut) {
        if !self.settings.tunnel.reset {
            return;
        }
        let (plain, secure) =
            if self.settings.tunnel.client { (End::Local, End::Remote) } else { (End::Remote, End::Local) };
        if cut != Cut::None {
            self.pace.reset(plain);
        }
        if cut == Cut::Both {
            self.pace.reset(secure);
        }
    }
}

impl Entry {
    /// As stunnel tells it at SIGUSR2.
    pub(super) fn line(&self) -> String {
        let Self { id, name, to_tls, to_plain } = self;
        let (name, to_tls, to_plain) = (lock(name), to_tls.load(Ordering::Relaxed), to_plain.load(Ordering::Relaxed));
        format!(
            "Active connection {id}: Service [{name}], {to_tls} byte(s) sent to TLS, {to_plain} byte(s) sent to socket"
        )
    }

    fn moved(&self, counts: Counts) {
        self.to_tls.store(counts.to_tls, Ordering::Relaxed);
        self.to_plain.store(counts.to_plain, Ordering::Relaxed);
    }
}

/// An [`Entry`] on the list, until this is dropped.
struct Listed {
    shared: Arc<Shared>,
    key: u64,
    entry: Arc<Entry>,
}

impl Listed {
    fn new(shared: &Arc<Shared>, id: ConnectionId, name: &ServiceName) -> Self {
        let (to_tls, to_plain) = (AtomicU64::new(0), AtomicU64::new(0));
        let entry = Arc::new(Entry { id, name: Mutex::new(name.clone()), to_tls, to_plain });
        let mut entries = lock(&shared.entries);
        let key = entries.last_key_value().map_or(0, |(last, _)| last + 1);
        entries.insert(key, entry.clone());
        Self { shared: shared.clone(), key, entry }
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        lock(&self.shared.entries).remove(&self.key);
    }
}
