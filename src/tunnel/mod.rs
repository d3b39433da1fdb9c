//! Tunnels: listeners that stay, settings that change under them, sessions that live on.
//!
//! Not a supervisor: who starts, replaces and stops tunnels decides when. [`prepare`] does everything that can go wrong
//! without touching a port, so that a reload with a mistake changes nothing; [`Running::replace`] then only swaps.
//! Every task is counted: after [`Running::stop`] none is left.

mod meter;
mod relay;
mod session;

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use meter::{Meter, REASONS};

use crate::backoff::Backoff;
use crate::config::tunnel::{Side, SocketOption};
use crate::config::{self, Address, Endpoint};
use crate::event::{Event, Events, Level};
use crate::model::{Code, Fault, ServiceName};
use crate::net::dial::Dialler;
use crate::net::listen::{self, BindError};
use crate::net::stream::{Addr, Listener};
use crate::text;
use crate::text::Text;
use crate::tls::client::{ClientOptions, ClientTls};
use crate::tls::material;
use crate::tls::server::{ServerOptions, ServerTls};

/// A tunnel whose files are read and whose TLS is built; nothing is bound or dialled yet.
#[derive(Debug)]
pub struct Prepared(Arc<Settings>);

/// What the sessions of a tunnel go by.
#[derive(Debug)]
struct Settings {
    tunnel: config::Tunnel,
    tls: Mode,
    dialler: Dialler,
    /// When our own certificate ends, in seconds since 1970.
    expiry: Option<i64>,
    /// What the probe said last, so that it is told once for each service and not for each connection.
    probed: Mutex<Option<String>>,
}

#[derive(Debug)]
enum Mode {
    Client(ClientTls),
    Server(ServerTls),
}

/// A tunnel that listens. Dropping it ends everything at once; [`Running::stop`] is the orderly way.
#[derive(Debug)]
pub struct Running {
    shared: Arc<Shared>,
    open: Mutex<Vec<Open>>,
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
    next: AtomicU64,
}

/// One `accept` line at work.
#[derive(Debug)]
struct Open {
    address: Endpoint,
    options: Vec<SocketOption>,
    cancel: CancellationToken,
    task: JoinHandle<()>,
    bound: Arc<Mutex<Vec<Addr>>>,
}

/// Reads the files of a tunnel and builds its TLS. Warnings go to `events`.
///
/// # Errors
/// A certificate, key or CA file is missing or of no use (code `config`), naming file and option.
pub fn prepare(tunnel: &config::Tunnel, events: &Events) -> Result<Prepared, Fault> {
    let warn = |option: &str, text: Text| {
        let place = tunnel.places.of(option);
        let (en, fr) = (text.en, text.fr);
        let text = text!("{place}: {en}", "{place}: {fr}");
        events.emit(Event::new(Level::Warning, "tunnel_warning", text).of(&tunnel.name));
    };
    let tls = if tunnel.client { Mode::Client(client_tls(tunnel)?) } else { Mode::Server(server_tls(tunnel)?) };
    let warnings = match &tls {
        Mode::Client(tls) => tls.warnings(),
        Mode::Server(tls) => tls.warnings(),
    };
    for text in warnings {
        warn(option_of(tunnel, text), text.clone());
    }
    let plain = tunnel.accept.iter().filter(|_| tunnel.client).filter_map(Endpoint::tcp);
    for address in plain.filter(|address| !is_local(address)) {
        warn("accept", open_to_all(tunnel, address));
    }
    let dialler = Dialler::new(
        tunnel.connect.clone(),
        tunnel.failover,
        tunnel.delay,
        tunnel.timeout_connect,
        tunnel.socket.clone(),
    );
    let expiry = own_expiry(tunnel);
    Ok(Prepared(Arc::new(Settings { tunnel: tunnel.clone(), tls, dialler, expiry, probed: Mutex::new(None) })))
}

impl Prepared {
    /// The section's name.
    pub fn name(&self) -> &ServiceName {
        &self.0.tunnel.name
    }
}

impl Running {
    /// Starts to listen on every `accept` line, in tasks of the current runtime. A port that is taken is tried again
    /// for ever, with the event `tunnel_bind_failed`; each bound address is told by `tunnel_listening`. What happens is
    /// counted in `meter`.
    pub fn start(prepared: Prepared, events: Events, meter: Arc<Meter>) -> Self {
        let settings = prepared.0;
        meter.set_own_expiry(settings.expiry);
        let shared = Arc::new(Shared {
            name: settings.tunnel.name.clone(),
            events,
            meter,
            settings: Mutex::new(settings.clone()),
            sessions: TaskTracker::new(),
            abort: CancellationToken::new(),
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
        let gone: Vec<Open> = {
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
            open.push(Open { address: address.clone(), options: options.clone(), cancel, task, bound });
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

async fn close(listeners: Vec<Open>) {
    for open in &listeners {
        open.cancel.cancel();
    }
    for open in listeners {
        // a listener that panicked is closed too
        let _ = open.task.await;
    }
}

/// One `accept` line, also after a panic: a tunnel that ended without a word would be worse than the error itself.
async fn serve_on(
    shared: Arc<Shared>,
    address: Endpoint,
    options: Vec<SocketOption>,
    cancel: CancellationToken,
    bound: Arc<Mutex<Vec<Addr>>>,
) {
    loop {
        let work = serve(shared.clone(), address.clone(), options.clone(), cancel.clone(), bound.clone());
        let ended = tokio::spawn(work).await;
        lock(&bound).clear();
        if ended.is_ok() || cancel.is_cancelled() {
            return;
        }
        let name = &shared.name;
        let text = text!(
            "Service [{name}] fell by an internal error and listens on {address} again; please report this",
            "Service [{name}] : erreur interne, l'écoute sur {address} reprend ; merci de le signaler"
        );
        shared.emit(Level::Critical, "tunnel_fell", text);
        cancel.run_until_cancelled(tokio::time::sleep(AFTER_A_FALL)).await;
    }
}

/// One `accept` line from binding to cancellation.
async fn serve(
    shared: Arc<Shared>,
    address: Endpoint,
    options: Vec<SocketOption>,
    cancel: CancellationToken,
    bound: Arc<Mutex<Vec<Addr>>>,
) {
    let Some(listeners) = cancel.run_until_cancelled(bind_at_last(&shared, &address, &options)).await else { return };
    let _listening = shared.meter.listens();
    *lock(&bound) = listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();
    let name = &shared.name;
    for at in lock(&bound).iter() {
        let text = text!("Service [{name}] bound to {at}", "Service [{name}] à l'écoute sur {at}");
        shared.emit(Level::Notice, "tunnel_listening", text);
    }
    let mut loops = JoinSet::new();
    for listener in listeners {
        loops.spawn(accept_for_ever(shared.clone(), listener, cancel.clone()));
    }
    while let Some(ended) = loops.join_next().await {
        if let Err(error) = ended
            && error.is_panic()
        {
            // falls as a whole: the other listeners of this line close with it
            std::panic::resume_unwind(error.into_panic());
        }
    }
}

async fn bind_at_last(shared: &Shared, address: &Endpoint, options: &[SocketOption]) -> Vec<Listener> {
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
    loop {
        match listen::bind(address, options).await {
            Ok(bound) => {
                for warning in bound.warnings {
                    shared.emit(Level::Warning, "tunnel_warning", warning);
                }
                return bound.listeners;
            }
            Err(error) => {
                shared.meter.failed("bind");
                shared.emit(Level::Error, "tunnel_bind_failed", bind_failed(&shared.name, &error));
            }
        }
        tokio::time::sleep(backoff.next_delay()).await;
    }
}

async fn accept_for_ever(shared: Arc<Shared>, listener: Listener, cancel: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let settings = lock(&shared.settings).clone();
                let number = shared.next.fetch_add(1, Ordering::Relaxed);
                shared.sessions.spawn(session::run(shared.clone(), settings, number, stream, peer));
            }
            Err(error) => wait_out(&shared, &error, &cancel).await,
        }
    }
}

async fn wait_out(shared: &Shared, error: &io::Error, cancel: &CancellationToken) {
    let pause = listen::pause_after(error);
    if pause.is_zero() {
        return;
    }
    let name = &shared.name;
    let text = text!(
        "Service [{name}] cannot accept a connection: {error}; trying again (too many open files? raise LimitNOFILE)",
        "Service [{name}] ne peut accepter de connexion : {error} ; nouvel essai (trop de fichiers ouverts ? \
         augmentez LimitNOFILE)"
    );
    shared.meter.failed("accept");
    shared.emit(Level::Error, "tunnel_accept_failed", text);
    cancel.run_until_cancelled(tokio::time::sleep(pause)).await;
}

fn client_tls(tunnel: &config::Tunnel) -> Result<ClientTls, Fault> {
    ClientTls::build(&ClientOptions {
        trust: &tunnel.trust,
        cert: tunnel.cert.as_deref(),
        key: tunnel.key.as_deref(),
        sni: &tunnel.sni,
        versions: tunnel.versions,
        resume: tunnel.resume,
        settings: &tunnel.tls,
    })
}

fn server_tls(tunnel: &config::Tunnel) -> Result<ServerTls, Fault> {
    let Some(cert) = tunnel.cert.as_deref() else { return Err(no_certificate(tunnel)) };
    ServerTls::build(&ServerOptions {
        trust: &tunnel.trust,
        cert,
        key: tunnel.key.as_deref(),
        versions: tunnel.versions,
        resume: tunnel.resume,
        settings: &tunnel.tls,
        redirect: !tunnel.redirect.is_empty(),
    })
}

fn own_expiry(tunnel: &config::Tunnel) -> Option<i64> {
    let chain = material::certificates(tunnel.cert.as_deref()?).ok()?;
    chain.first().and_then(material::expiry)
}

fn listening_options(tunnel: &config::Tunnel) -> Vec<SocketOption> {
    tunnel.socket.iter().filter(|option| option.side == Side::Accept).cloned().collect()
}

/// The option whose file a warning names.
fn option_of(tunnel: &config::Tunnel, text: &Text) -> &'static str {
    let files = [("key", &tunnel.key), ("cert", &tunnel.cert), ("CApath", &tunnel.trust.ca_path)];
    let named = |path: &Option<PathBuf>| path.as_ref().is_some_and(|path| text.en.contains(&*path.to_string_lossy()));
    files.iter().find(|(_, path)| named(path)).map_or("CAfile", |(option, _)| option)
}

fn is_local(address: &Address) -> bool {
    match &address.host {
        None => false,
        Some(host) => host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()),
    }
}

fn no_certificate(tunnel: &config::Tunnel) -> Fault {
    let name = &tunnel.name;
    Fault::new(
        Code::Config,
        text!(
            "Service [{name}]: TLS server needs a certificate: add `cert` (and `key`), or `client = yes`",
            "Service [{name}] : un serveur TLS a besoin d'un certificat : ajoutez `cert` (et `key`), ou `client = yes`"
        ),
    )
}

fn open_to_all(tunnel: &config::Tunnel, address: &Address) -> Text {
    let name = &tunnel.name;
    let port = address.port;
    text!(
        "Service [{name}] takes plain text on {address} from the whole network; accept = 127.0.0.1:{port} keeps it to \
         this machine",
        "Service [{name}] reçoit en clair sur {address} depuis tout le réseau ; accept = 127.0.0.1:{port} le limite à \
         cette machine"
    )
}

fn bind_failed(name: &ServiceName, failure: &BindError) -> Text {
    let BindError { address, error, holder } = failure;
    let (en, fr) = match holder {
        Some(holder) => (format!(", held by {holder}"), format!(", occupé par {holder}")),
        None => (String::new(), String::new()),
    };
    text!(
        "Binding service [{name}] to {address}: {error}{en}; trying again",
        "Service [{name}] : écoute sur {address} impossible : {error}{fr} ; nouvel essai"
    )
}

/// A lock whose holder panicked holds a whole value all the same: none is changed in more than one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Long enough that an error at every start does not keep a core busy.
const AFTER_A_FALL: Duration = Duration::from_secs(1);
