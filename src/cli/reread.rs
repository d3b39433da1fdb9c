//! The configuration, read anew beside the service.
//!
//! Reading may take for ever: a file on a share that hangs, a FIFO that nobody writes to. So it has a thread of its own
//! rather than one of tokio's: the end of the runtime waits for those, the end of the process for none.

use tokio::sync::oneshot;

use super::Source;
use crate::config::{Config, Remark};
use crate::event::{Event, Events, Level};
use crate::supervisor::{self, Moment, Prepared};
use crate::text;
use crate::text::Text;

/// One reading at a time, and whether it is out of date before it ends.
#[derive(Default)]
pub(super) struct Reading {
    under_way: Option<oneshot::Receiver<Read>>,
    again: bool,
}

/// What was read, or what is wrong with it.
pub(super) type Read = Result<Box<(Config, Prepared)>, Vec<Remark>>;

impl Reading {
    /// Starts to read; `false`: that is under way, and is done once more after it.
    pub(super) fn start(&mut self, source: &Source, events: &Events) -> bool {
        if self.under_way.is_some() {
            self.again = true;
            return false;
        }
        self.again = false;
        let (sender, receiver) = oneshot::channel();
        let (source, theirs) = (source.clone(), events.clone());
        let work = move || {
            // nobody waits for it any more: the service ended meanwhile
            let _ = sender.send(read(&source, &theirs));
        };
        if let Err(error) = std::thread::Builder::new().name("reload".to_owned()).spawn(work) {
            let Text { en, fr } = Text::io(&error);
            let text = text!("cannot start a thread: {en}", "impossible de lancer un fil d'exécution : {fr}");
            events.emit(Event::new(Level::Error, "no_thread", text));
        }
        self.under_way = Some(receiver);
        true
    }

    /// The end of it; while nothing is read, never. Nothing is lost when this is dropped.
    pub(super) async fn done(&mut self) -> Read {
        let Some(receiver) = &mut self.under_way else { return std::future::pending().await };
        // a thread that fell, or never began, said why
        let read = receiver.await.unwrap_or_else(|_| Err(Vec::new()));
        self.under_way = None;
        read
    }

    /// Whether somebody asked meanwhile.
    pub(super) fn is_out_of_date(&self) -> bool {
        self.again
    }
}

fn read(source: &Source, events: &Events) -> Read {
    let config = source.load()?;
    if config.inetd.is_some() {
        return Err(vec![super::run::whole(&config, no_longer_a_service())]);
    }
    let prepared = supervisor::prepare(config.clone(), events, Moment::Reload)?;
    Ok(Box::new((config, prepared)))
}

fn no_longer_a_service() -> Text {
    text!(
        "there is no [section] any more: inetd's way is for a process that serves one connection; restart it as that",
        "il n'y a plus de [section] : le mode inetd sert une seule connexion ; à démarrer comme tel"
    )
}
