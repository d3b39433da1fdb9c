//! Listening: one `accept` line from binding to cancellation.
//!
//! Not a session: what is accepted is handed on at once. A port that is taken, a process without descriptors and a panic
//! are all waited out, because a tunnel that ended without a word would be worse than any of them.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::crowd::{Crowd, Seat};
use super::session::{self, Origin};
use super::{Shared, lock, next_id};
use crate::backoff::Backoff;
use crate::config::tunnel::{Side, SocketOption};
use crate::config::{Endpoint, Owner, Tunnel};
use crate::event::Level;
use crate::model::ServiceName;
use crate::net::listen::{self, BindError};
use crate::net::stream::{Addr, Listener, Stream};
use crate::text;
use crate::text::Text;

/// One `accept` line at work, or the listener that the service manager gave.
#[derive(Debug)]
pub(super) struct Listening {
    place: Place,
    options: Options,
    cancel: CancellationToken,
    task: JoinHandle<()>,
    bound: Arc<Mutex<Vec<Addr>>>,
}

/// Where connections come from.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// An `accept` line.
    Line(Endpoint),
    /// Bound before we were started; it stands for every `accept` line.
    Inherited(Arc<Listener>),
}

/// What a listener is bound with: another value means to bind anew.
#[derive(Clone, Debug, PartialEq)]
struct Options {
    /// The `socket = a:` lines.
    socket: Vec<SocketOption>,
    /// Who owns a Unix socket.
    owner: Owner,
}

impl Options {
    fn of(tunnel: &Tunnel) -> Self {
        let socket = tunnel.socket.iter().filter(|option| option.side == Side::Accept).cloned().collect();
        Self { socket, owner: tunnel.owner.clone() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(endpoint) => endpoint.fmt(f),
            Self::Inherited(_) => f.write_str("the inherited socket"),
        }
    }
}

impl Listening {
    /// Starts to listen at `place`, in a task of the current runtime.
    pub(super) fn start(shared: &Arc<Shared>, tunnel: &Tunnel, place: Place) -> Self {
        let (options, cancel, bound) = (Options::of(tunnel), CancellationToken::new(), Arc::default());
        let line = Line {
            shared: shared.clone(),
            place: place.clone(),
            options: options.clone(),
            cancel: cancel.clone(),
            bound: Arc::clone(&bound),
        };
        // from now on, not from when the task is scheduled
        let wanted = shared.meter.wants_to_listen();
        let task = tokio::spawn(async move {
            line.serve_on().await;
            drop(wanted);
        });
        Self { place, options, cancel, task, bound }
    }

    /// Whether it is what `tunnel` asks for, as it stands.
    pub(super) fn still_serves(&self, tunnel: &Tunnel) -> bool {
        match &self.place {
            Place::Line(endpoint) => tunnel.accept.contains(endpoint) && self.options == Options::of(tunnel),
            Place::Inherited(_) => !tunnel.accept.is_empty(),
        }
    }

    /// Whether nothing else need be opened for `wanted`.
    pub(super) fn stands_for(&self, wanted: &Place) -> bool {
        match (&self.place, wanted) {
            (Place::Inherited(_), _) => true,
            (Place::Line(ours), Place::Line(wanted)) => ours == wanted,
            (Place::Line(_), Place::Inherited(_)) => false,
        }
    }

    /// The addresses that are bound right now.
    pub(super) fn bound(&self) -> Vec<Addr> {
        lock(&self.bound).clone()
    }

    /// Stops listening, in a moment.
    pub(super) fn cancel(&self) {
        self.cancel.cancel();
    }
}

/// Closes all of them; returns once their ports are free.
pub(super) async fn close(listeners: Vec<Listening>) {
    listeners.iter().for_each(Listening::cancel);
    for listening in listeners {
        // a listener that panicked is closed too
        let _ = listening.task.await;
    }
}

/// What the task of a [`Listening`] works with.
#[derive(Clone)]
struct Line {
    shared: Arc<Shared>,
    place: Place,
    options: Options,
    cancel: CancellationToken,
    bound: Arc<Mutex<Vec<Addr>>>,
}

impl Line {
    /// From binding to cancellation, also after a panic.
    async fn serve_on(self) {
        loop {
            let ended = tokio::spawn(self.clone().serve()).await;
            lock(&self.bound).clear();
            if ended.is_ok() || self.cancel.is_cancelled() {
                return;
            }
            let (name, place) = (&self.shared.name, &self.place);
            let text = text!(
                "Service [{name}] fell by an internal error and listens on {place} again; please report this",
                "Service [{name}] : erreur interne, l'écoute sur {place} reprend ; merci de le signaler"
            );
            self.shared.emit(Level::Critical, "tunnel_fell", text);
            self.cancel.run_until_cancelled(tokio::time::sleep(AFTER_A_FALL)).await;
        }
    }

    async fn serve(self) {
        let listeners = match &self.place {
            Place::Inherited(listener) => vec![Arc::clone(listener)],
            Place::Line(address) => {
                let binding = bind_at_last(&self.shared, address, &self.options);
                let Some(listeners) = self.cancel.run_until_cancelled(binding).await else { return };
                listeners
            }
        };
        let _listening = self.shared.meter.listens();
        *lock(&self.bound) = listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();
        let name = &self.shared.name;
        for at in lock(&self.bound).iter() {
            let text = text!("Service [{name}] bound to {at}", "Service [{name}] à l'écoute sur {at}");
            self.shared.emit(Level::Notice, "tunnel_listening", text);
        }
        let mut loops = JoinSet::new();
        for listener in listeners {
            loops.spawn(accept_for_ever(self.shared.clone(), listener, self.cancel.clone()));
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
}

async fn bind_at_last(shared: &Shared, address: &Endpoint, options: &Options) -> Vec<Arc<Listener>> {
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
    loop {
        match listen::bind(address, &options.socket, &options.owner).await {
            Ok(bound) => {
                for warning in bound.warnings {
                    shared.emit(Level::Warning, "tunnel_warning", warning);
                }
                return bound.listeners.into_iter().map(Arc::new).collect();
            }
            Err(error) => {
                shared.meter.failed("bind");
                shared.emit(Level::Error, "tunnel_bind_failed", bind_failed(&shared.name, &error));
            }
        }
        tokio::time::sleep(backoff.next_delay()).await;
    }
}

async fn accept_for_ever(shared: Arc<Shared>, listener: Arc<Listener>, cancel: CancellationToken) {
    if cancel.run_until_cancelled(shared.gate.cancelled()).await.is_none() {
        return;
    }
    let mut door = Door { shared, refused: None, lack: Incidents::default(), full: Incidents::default() };
    loop {
        let accepted = tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => door.let_in(stream, peer),
            Err(error) => door.wait_out(&error, &cancel).await,
        }
    }
}

/// Who comes in, and what was already said about those who cannot.
struct Door {
    shared: Arc<Shared>,
    /// The error that was told of and is not over: told once, and once more when it is over.
    refused: Option<io::ErrorKind>,
    /// Such errors.
    lack: Incidents,
    /// The limit of [`Crowd`], reached.
    full: Incidents,
}

/// What lasts, though it is over for a moment each time that somebody leaves: told of once in a while.
#[derive(Default)]
struct Incidents {
    told: Option<Instant>,
}

impl Incidents {
    fn is_due(&mut self) -> bool {
        let is_due = self.told.is_none_or(|told| told.elapsed() >= BETWEEN_LINES);
        if is_due {
            self.told = Some(Instant::now());
        }
        is_due
    }
}

impl Door {
    fn let_in(&mut self, stream: Stream, peer: Addr) {
        self.is_over();
        let Some(seat) = Seat::take() else { return self.turn_away(stream) };
        let settings = self.shared.settings();
        let origin = Origin::new(stream, Some(peer), &settings);
        let id = next_id(&settings);
        let session = Box::pin(session::run(self.shared.clone(), id, settings, origin));
        self.shared.sessions.spawn(async move {
            session.await;
            drop::<Seat>(seat);
        });
    }

    fn turn_away(&mut self, stream: Stream) {
        drop(stream);
        self.shared.meter.failed("accept");
        if !self.full.is_due() {
            return;
        }
        let most = Crowd::most().unwrap_or(usize::MAX);
        let text = text!(
            "Connection rejected: too many clients (>={most}); raise LimitNOFILE, half of the descriptors are theirs",
            "Connexion refusée : trop de clients (>={most}) ; augmentez LimitNOFILE, la moitié des descripteurs leur revient"
        );
        self.shared.emit(Level::Warning, "tunnel_full", text);
    }

    /// Never ends, never spins, never fills the log.
    async fn wait_out(&mut self, error: &io::Error, cancel: &CancellationToken) {
        let pause = listen::pause_after(error);
        if pause.is_zero() {
            return;
        }
        self.shared.meter.failed("accept");
        if self.refused != Some(error.kind()) && self.lack.is_due() {
            self.refused = Some(error.kind());
            self.shared.emit(Level::Error, "tunnel_accept_failed", cannot_accept(&self.shared.name, error));
        }
        cancel.run_until_cancelled(tokio::time::sleep(pause)).await;
    }

    fn is_over(&mut self) {
        if self.refused.take().is_some() {
            let name = &self.shared.name;
            let text = text!("Service [{name}] accepts connections again", "Service [{name}] accepte de nouveau");
            self.shared.emit(Level::Notice, "tunnel_accepts_again", text);
        }
    }
}

fn cannot_accept(name: &ServiceName, error: &io::Error) -> Text {
    let hint = match error.raw_os_error() {
        Some(code) if OUT_OF_DESCRIPTORS.contains(&code) => text!(
            "; too many open files: raise LimitNOFILE (`ulimit -n`)",
            " ; trop de fichiers ouverts : augmentez LimitNOFILE (`ulimit -n`)"
        ),
        _ => Text::same(""),
    };
    let (en, fr) = (hint.en, hint.fr);
    text!(
        "Service [{name}] cannot accept a connection: {error}{en}; trying again every second",
        "Service [{name}] ne peut accepter de connexion : {error}{fr} ; nouvel essai chaque seconde"
    )
}

fn bind_failed(name: &ServiceName, failure: &BindError) -> Text {
    let (address, Text { en, fr }) = (&failure.address, failure.reason());
    text!(
        "Binding service [{name}] to {address}: {en}; tried again while the service runs",
        "Service [{name}] : écoute sur {address} impossible : {fr} ; nouvel essai tant que le service tourne"
    )
}

/// Descriptors that run short are taken and given back by the second: a line for each would fill the log.
const BETWEEN_LINES: Duration = Duration::from_mins(1);

/// Long enough that an error at every start does not keep a core busy.
const AFTER_A_FALL: Duration = Duration::from_secs(1);

/// EMFILE and ENFILE of Unix, WSAEMFILE of Windows.
const OUT_OF_DESCRIPTORS: [i32; 3] = [24, 23, 10024];
