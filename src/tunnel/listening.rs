//! Listening: one `accept` line from binding to cancellation.
//!
//! Not a session: what is accepted is handed on at once. A port that is taken, a process without descriptors and a panic
//! are all waited out, because a tunnel that ended without a word would be worse than any of them.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::{Shared, lock, session};
use crate::backoff::Backoff;
use crate::config::tunnel::{Side, SocketOption};
use crate::config::{self, Endpoint};
use crate::event::Level;
use crate::model::ServiceName;
use crate::net::listen::{self, BindError};
use crate::net::stream::{Addr, Listener};
use crate::text;
use crate::text::Text;

/// One `accept` line at work.
#[derive(Debug)]
pub(super) struct Listening {
    pub(super) address: Endpoint,
    pub(super) options: Vec<SocketOption>,
    pub(super) cancel: CancellationToken,
    pub(super) task: JoinHandle<()>,
    pub(super) bound: Arc<Mutex<Vec<Addr>>>,
}

/// The `socket = a:` lines.
pub(super) fn listening_options(tunnel: &config::Tunnel) -> Vec<SocketOption> {
    tunnel.socket.iter().filter(|option| option.side == Side::Accept).cloned().collect()
}

/// Closes all of them; returns once their ports are free.
pub(super) async fn close(listeners: Vec<Listening>) {
    for open in &listeners {
        open.cancel.cancel();
    }
    for open in listeners {
        // a listener that panicked is closed too
        let _ = open.task.await;
    }
}

/// One `accept` line, also after a panic: a tunnel that ended without a word would be worse than the error itself.
pub(super) async fn serve_on(
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
        match listen::bind(address, options, &config::Owner::default()).await {
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
    if cancel.run_until_cancelled(shared.gate.cancelled()).await.is_none() {
        return;
    }
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

/// Long enough that an error at every start does not keep a core busy.
const AFTER_A_FALL: Duration = Duration::from_secs(1);
