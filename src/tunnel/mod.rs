//! Tunnels: listeners that stay, settings that change under them, sessions that live on.
//!
//! Not a supervisor: who starts, replaces and stops tunnels decides when. [`prepare`] does everything that can go wrong
//! without touching a port, so that a reload with a mistake changes nothing; [`Running::replace`] then only swaps.
//! Every task is counted: after [`Running::stop`] none is left.

pub mod inetd;
mod listening;
mod meter;
#[allow(dead_code)] // until the sessions play it
pub mod protocol;
mod relay;
mod session;
mod settings;

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use meter::{Meter, REASONS};
pub use settings::{Prepared, prepare};

use crate::config;
use crate::event::{Event, Events, Level};
use crate::model::ServiceName;
use crate::net::stream::{Addr, Listener};
use crate::text::Text;
use listening::{Listening, close, listening_options, serve_on};
use settings::Settings;

/// A tunnel that listens. Dropping it ends everything at once; [`Running::stop`] is the orderly way.
#[derive(Debug)]
pub struct Running {
    shared: Arc<Shared>,
    open: Mutex<Vec<Listening>>,
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
    next: AtomicU64,
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
        drop(inherited);
        let settings = prepared.0;
        meter.set_own_expiry(settings.expiry);
        let shared = Arc::new(Shared {
            name: settings.tunnel.name.clone(),
            events,
            meter,
            settings: Mutex::new(settings.clone()),
            sessions: TaskTracker::new(),
            abort: CancellationToken::new(),
            gate,
            next: AtomicU64::new(0),
        });
        let running = Self { shared, open: Mutex::new(Vec::new()) };
        running.open_missing(&settings.tunnel);
        running
    }

    /// New connections follow `prepared` from now on; open ones live on as they are. Listeners whose address and
    /// listening options did not change are kept, others are closed (awaited) and opened.
    pub async fn replace(&self, prepared: Prepared) {
        let settings = prepared.0;
        *lock(&self.shared.settings) = settings.clone();
        self.shared.meter.set_own_expiry(settings.expiry);
        let kept = listening_options(&settings.tunnel);
        let gone: Vec<Listening> = {
            let mut open = lock(&self.open);
            let (keep, gone) =
                open.drain(..).partition(|one| settings.tunnel.accept.contains(&one.address) && one.options == kept);
            *open = keep;
            gone
        };
        // the old port is free before the new one is bound: they may overlap
        close(gone).await;
        self.open_missing(&settings.tunnel);
    }

    /// As [`replace`](Self::replace), but listeners stay whatever they are: only files of TLS were read anew.
    pub fn refresh(&self, prepared: Prepared) {
        let settings = prepared.0;
        self.shared.meter.set_own_expiry(settings.expiry);
        *lock(&self.shared.settings) = settings;
    }

    /// Whether every `accept` line is bound. A program that starts by itself has none.
    pub fn is_listening(&self) -> bool {
        lock(&self.open).iter().all(|open| !lock(&open.bound).is_empty())
    }

    /// One line for each open connection, as stunnel tells them at SIGUSR2.
    pub fn report(&self) -> Vec<String> {
        Vec::new()
    }

    /// The addresses that are bound right now.
    pub fn bound(&self) -> Vec<Addr> {
        lock(&self.open).iter().flat_map(|open| lock(&open.bound).clone()).collect()
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        self.shared.sessions.len()
    }

    /// Stops accepting, lets open connections end by themselves for as long as `drain`, then cuts what is left.
    /// When it returns no task of the tunnel is left.
    pub async fn stop(self, drain: Duration) {
        let open = std::mem::take(&mut *lock(&self.open));
        close(open).await;
        let sessions = &self.shared.sessions;
        sessions.close();
        if tokio::time::timeout(drain, sessions.wait()).await.is_err() {
            self.shared.abort.cancel();
            sessions.wait().await;
        }
    }

    fn open_missing(&self, tunnel: &config::Tunnel) {
        let options = listening_options(tunnel);
        let mut open = lock(&self.open);
        for address in &tunnel.accept {
            if open.iter().any(|one| one.address == *address) {
                continue;
            }
            let (cancel, bound) = (CancellationToken::new(), Arc::new(Mutex::new(Vec::new())));
            let work = serve_on(self.shared.clone(), address.clone(), options.clone(), cancel.clone(), bound.clone());
            // from now on, not from when the task is scheduled
            let wanted = self.shared.meter.wants_to_listen();
            let task = tokio::spawn(async move {
                work.await;
                drop(wanted);
            });
            open.push(Listening { address: address.clone(), options: options.clone(), cancel, task, bound });
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for open in lock(&self.open).iter() {
            open.cancel.cancel();
        }
        self.shared.abort.cancel();
    }
}

impl Shared {
    fn emit(&self, level: Level, name: &'static str, text: Text) {
        self.events.emit(Event::new(level, name, text).of(&self.name));
    }
}

/// A lock whose holder panicked holds a whole value all the same: none is changed in more than one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
