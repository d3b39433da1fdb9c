//! `exec` with `connect` and without `accept`: a program that starts by itself, and again after its end with `retry`.
//!
//! Not a listener: nobody comes in, the program is the one client. It has one connection at a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::exec::{self, Caller};
use super::session::{self, Origin, Teller};
use super::settings::Settings;
use super::{Shared, next_id};
use crate::event::{ConnectionId, Level};
use crate::net::stream::Addr;
use crate::text;

/// A program that is started as often as `retry` says. Dropped, it is not started again; what runs goes on to its end.
#[derive(Debug)]
pub(super) struct Solo {
    cancel: DropGuard,
    task: JoinHandle<()>,
}

impl Solo {
    /// Starts it, in a task of the current runtime.
    pub(super) fn start(shared: &Arc<Shared>) -> Self {
        let name = &shared.name;
        let text = text!("Starting exec+connect service [{name}]", "Démarrage du service exec+connect [{name}]");
        shared.emit(Level::Debug, "program_begins", text);
        let cancel = CancellationToken::new();
        let task = tokio::spawn(turns(shared.clone(), cancel.clone()));
        Self { cancel: cancel.drop_guard(), task }
    }

    /// Starts it no more; returns once what runs has ended.
    pub(super) async fn end(self) {
        drop(self.cancel);
        let _ = self.task.await;
    }

    /// Whether it will not start again by itself.
    pub(super) fn has_ended(&self) -> bool {
        self.task.is_finished()
    }
}

async fn turns(shared: Arc<Shared>, cancel: CancellationToken) {
    if cancel.run_until_cancelled(shared.gate.cancelled()).await.is_none() {
        return;
    }
    let id = next_id(&shared.settings());
    for turn in 0.. {
        if cancel.is_cancelled() {
            return;
        }
        let settings = shared.settings();
        let session = one(shared.clone(), id.turn(turn), settings.clone());
        let began = Instant::now();
        // a session that fell was told by the panic's own event: it counts as ended
        let _ = shared.sessions.spawn(session).await;
        let Some(pause) = shared.settings().tunnel.retry else { return };
        let teller = Teller::new(&shared, &settings, id.turn(turn));
        teller.tell(Level::Info, "program_again", || {
            text!("Retrying an exec+connect section", "Nouvel essai d'une section exec+connect")
        });
        // a target that is down, a program that ends at once: starting it again and again would be a storm of programs
        let pause = if began.elapsed() < SHORT { pause.max(SHORT) } else { pause };
        cancel.run_until_cancelled(tokio::time::sleep(pause)).await;
    }
}

async fn one(shared: Arc<Shared>, id: ConnectionId, settings: Arc<Settings>) {
    let Some(exec) = &settings.tunnel.exec else { return };
    let teller = Teller::new(&shared, &settings, id.clone());
    match exec::start(exec, &Caller::default(), &teller) {
        Ok(stream) => {
            let origin = Origin::new(stream, Some(Addr::Unix(None)), &settings);
            Box::pin(session::run(shared, id, settings, origin)).await;
        }
        Err(error) => {
            shared.meter.failed("broken");
            teller.tell(Level::Error, "connection_failed", || exec::cannot_start(exec, &error));
        }
    }
}

/// A turn that ended sooner came to nothing; stunnel 5.68 waits as long after each.
const SHORT: Duration = Duration::from_secs(1);
