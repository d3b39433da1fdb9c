//! Tunnels: listeners that stay, settings that change under them, sessions that live on.
//!
//! Not a supervisor: who starts, replaces and stops tunnels decides when. [`prepare`] does everything that can go wrong
//! without touching a port, so that a reload with a mistake changes nothing; [`Running::replace`] then only swaps.
//! Every task is counted: after [`Running::stop`] none is left.

mod crowd;
mod exec;
pub mod inetd;
mod listening;
mod meter;
pub mod protocol;
mod relay;
mod session;
mod settings;
mod solo;
pub mod walk;

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use meter::{Meter, REASONS};
pub use settings::{Prepared, prepare};

use crate::config::tunnel::LogId;
use crate::event::{ConnectionId, Event, Events, Level};
use crate::model::ServiceName;
use crate::net::stream::{Addr, Listener};
use crate::text::Text;
use listening::{Listening, Place};
use session::Entry;
use settings::Settings;
use solo::Solo;

/// A tunnel that listens. Dropping it ends everything at once; [`Running::stop`] is the orderly way.
#[derive(Debug)]
pub struct Running {
    shared: Arc<Shared>,
    open: Mutex<Vec<Listening>>,
    /// The program that starts by itself, where the tunnel is one.
    solo: Mutex<Option<Solo>>,
}

/// What listeners and sessions of one tunnel share.
#[derive(Debug)]
struct Shared {
    name: ServiceName,
    events: Events,
    meter: Arc<Meter>,
    settings: Mutex<Arc<Settings>>,
    sessions: TaskTracker,
    /// Ends what is still open after the drain.
    abort: CancellationToken,
    /// Cancelled once connections may be taken.
    gate: CancellationToken,
    /// The open connections, by a number of our own.
    entries: Mutex<BTreeMap<u64, Arc<Entry>>>,
}

impl Running {
    /// Starts to listen on every `accept` line, in tasks of the current runtime. A port that is taken is tried again
    /// for ever, with the event `tunnel_bind_failed`; each bound address is told by `tunnel_listening`. What happens is
    /// counted in `meter`. `inherited` is a listener of the service manager in place of what `accept` says.
    pub fn start(prepared: Prepared, events: Events, meter: Arc<Meter>, inherited: Option<Listener>) -> Self {
        let open = CancellationToken::new();
        open.cancel();
        Self::start_held(prepared, events, meter, inherited, open)
    }

    /// The same, but connections are taken, and programs started, only once `gate` is cancelled: until then the process
    /// may still be root.
    pub fn start_held(
        prepared: Prepared,
        events: Events,
        meter: Arc<Meter>,
        inherited: Option<Listener>,
        gate: CancellationToken,
    ) -> Self {
        let settings = prepared.0;
        let shared = Shared::new(settings.clone(), events, meter, gate);
        let running = Self { shared, open: Mutex::default(), solo: Mutex::default() };
        if let Some(listener) = inherited {
            running.open_at(&settings, Place::Inherited(Arc::new(listener)));
        }
        running.open_missing(&settings);
        running
    }

    /// New connections follow `prepared` from now on; open ones live on as they are. Listeners whose address and
    /// listening options did not change are kept, others are closed (awaited) and opened.
    pub async fn replace(&self, prepared: Prepared) {
        // the old port is free before the new one is bound: they may overlap
        self.release(Some(&prepared)).await;
        let settings = prepared.0;
        self.follow(settings.clone());
        self.open_missing(&settings);
    }

    fn follow(&self, settings: Arc<Settings>) {
        self.shared.meter.set_own_expiry(settings.expiry);
        let mut current = lock(&self.shared.settings);
        settings.learn_from(&current);
        *current = settings;
    }

    /// Resolves the names of all its targets now: before the process enters a jail without a resolver.
    pub async fn resolve(&self) {
        let settings = self.shared.settings();
        for dialler in settings.diallers() {
            dialler.resolve_all().await;
        }
    }

    /// Closes the listeners that `prepared` has no use for, all of them where there is none. Their ports are free when
    /// it returns.
    pub async fn release(&self, prepared: Option<&Prepared>) {
        let serves = |one: &Listening| prepared.is_some_and(|prepared| one.still_serves(&prepared.0.tunnel));
        let gone: Vec<Listening> = {
            let mut open = lock(&self.open);
            let (keep, gone) = open.drain(..).partition(serves);
            *open = keep;
            gone
        };
        listening::close(gone).await;
    }

    /// As [`replace`](Self::replace), but listeners stay whatever they are: only files of TLS were read anew.
    pub fn refresh(&self, prepared: Prepared) {
        self.follow(prepared.0);
    }

    /// Whether every `accept` line is bound. A program that starts by itself has none.
    pub fn is_listening(&self) -> bool {
        lock(&self.open).iter().all(|open| !open.bound().is_empty())
    }

    /// One line for each open connection, as stunnel tells them at SIGUSR2.
    pub fn report(&self) -> Vec<String> {
        lock(&self.shared.entries).values().map(|entry| entry.line()).collect()
    }

    /// The addresses that are bound right now.
    pub fn bound(&self) -> Vec<Addr> {
        lock(&self.open).iter().flat_map(Listening::bound).collect()
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        self.shared.sessions.len()
    }

    /// Nobody comes in any more; who is there may stay.
    pub async fn retire(&self) {
        self.release(None).await;
        // its program is not started again
        drop(lock(&self.solo).take());
    }

    /// Stops accepting, lets open connections end by themselves for as long as `drain`, then cuts what is left.
    /// When it returns no task of the tunnel is left.
    pub async fn stop(self, drain: Duration) {
        self.release(None).await;
        let solo = lock(&self.solo).take();
        let sessions = &self.shared.sessions;
        sessions.close();
        let mut all = pin!(async {
            if let Some(solo) = solo {
                solo.end().await;
            }
            sessions.wait().await;
        });
        if tokio::time::timeout(drain, &mut all).await.is_err() {
            self.shared.abort.cancel();
            all.await;
        }
    }

    /// What is not at work yet of what `settings` asks for.
    fn open_missing(&self, settings: &Arc<Settings>) {
        let is_open = |wanted: &Place| lock(&self.open).iter().any(|one| one.stands_for(wanted));
        for endpoint in &settings.tunnel.accept {
            let place = Place::Line(endpoint.clone());
            if !is_open(&place) {
                self.open_at(settings, place);
            }
        }
        let mut solo = lock(&self.solo);
        match &*solo {
            _ if !settings.starts_by_itself() => *solo = None,
            Some(running) if !running.has_ended() => {}
            _ => *solo = Some(Solo::start(&self.shared)),
        }
    }

    fn open_at(&self, settings: &Settings, place: Place) {
        lock(&self.open).push(Listening::start(&self.shared, &settings.tunnel, place));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        lock(&self.open).iter().for_each(Listening::cancel);
        self.shared.abort.cancel();
    }
}

impl Shared {
    fn new(settings: Arc<Settings>, events: Events, meter: Arc<Meter>, gate: CancellationToken) -> Arc<Self> {
        meter.set_own_expiry(settings.expiry);
        Arc::new(Self {
            name: settings.tunnel.name.clone(),
            events,
            meter,
            settings: Mutex::new(settings),
            sessions: TaskTracker::new(),
            abort: CancellationToken::new(),
            gate,
            entries: Mutex::default(),
        })
    }

    fn settings(&self) -> Arc<Settings> {
        lock(&self.settings).clone()
    }

    fn emit(&self, level: Level, name: &'static str, text: Text) {
        self.events.emit(Event::new(level, name, text).of(&self.name));
    }
}

/// What the next connection is called in the log. Numbers are the process's, as stunnel counts them.
fn next_id(settings: &Settings) -> ConnectionId {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    match settings.tunnel.log_id {
        LogId::Sequential => NEXT.fetch_add(1, Ordering::Relaxed).into(),
        LogId::Unique => ConnectionId::unique(),
    }
}

/// A lock whose holder panicked holds a whole value all the same: none is changed in more than one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
