//! Alerts: who is told when a launcher fails for longer than `alert_after`, and when it works again.
//!
//! A task beside the launchers, fed by the same events as the log: the [`book`] decides, the [`outbox`] keeps order and
//! tries again, the [`courier`] sends. A slow mail server therefore holds up no launcher. What is open (incidents, and
//! notices on their way) is kept in `alerts.json` below `state`: a restart neither repeats an alert nor loses one.

mod book;
pub(super) mod courier;
mod outbox;

use std::collections::HashSet;
use std::fs;
use std::future::Future;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::config::launcher::Alert;
use crate::config::{Config, Launcher, value};
use crate::delivery::{make_state, replace, sync_directory};
use crate::event::{Event, Events, Level};
use crate::model::{Fault, ServiceName};
use crate::text;
use crate::text::Text;

use book::{Book, Incident, Notice, State, Watch};
use courier::Courier;
use outbox::{Outbox, Parcel};

/// The task. It ends when this is dropped; what is on its way then is sent after the next start.
#[derive(Debug)]
pub(super) struct Alerts {
    signs: Signs,
    task: JoinHandle<()>,
    stop: DropGuard,
}

/// The way into the task.
#[derive(Clone, Debug)]
pub(super) struct Signs(UnboundedSender<Sign>);

#[derive(Debug)]
enum Sign {
    Follow(Box<Orders>),
    Alive(ServiceName),
    Cycle(ServiceName, Option<Fault>),
}

/// What a configuration says about alerts.
struct Orders {
    watches: Vec<(ServiceName, Watch)>,
    targets: Vec<(ServiceName, Vec<String>)>,
    carrier: Carrier,
}

/// How a notice is sent once.
type Carrier = Arc<dyn Fn(Alert, Notice) -> Pin<Box<dyn Future<Output = Result<(), Text>> + Send>> + Send + Sync>;

impl Alerts {
    /// Starts the task; `events` is where it tells what it sends.
    pub(super) fn start(state: &Path, events: Events) -> Self {
        let (sender, receiver) = unbounded_channel();
        let stop = CancellationToken::new();
        let desk = Desk::open(state.join(FILE), events);
        let task = tokio::spawn(desk.run(receiver, stop.clone()));
        Self { signs: Signs(sender), task, stop: stop.drop_guard() }
    }

    /// Ends the task, once what is on its way has arrived, or soon.
    pub(super) async fn end(self) {
        drop(self.stop);
        // one that fell has nothing more to say
        let _ = self.task.await;
    }

    /// Follows a configuration.
    pub(super) fn follow(&self, config: &Config) {
        self.signs.send(Sign::Follow(Box::new(Orders::of(config))));
    }

    /// The way in, for the tap on the events.
    pub(super) fn signs(&self) -> Signs {
        self.signs.clone()
    }
}

impl Signs {
    /// Takes from an event what alerts are about.
    pub(super) fn note(&self, event: &Event) {
        let Some(name) = event.service.as_ref().filter(|_| event.connection.is_none()) else { return };
        match &event.cycle {
            Some(cycle) => self.send(Sign::Cycle(name.clone(), cycle.fault.clone())),
            // told about a launcher, not by it
            None if event.name.starts_with("launcher_") || event.name.starts_with("alert_") => {}
            None => self.send(Sign::Alive(name.clone())),
        }
    }

    fn send(&self, sign: Sign) {
        // after the end nobody listens
        let _ = self.0.send(sign);
    }
}

impl Orders {
    fn of(config: &Config) -> Self {
        let courier = Courier::of(&config.global);
        let carrier: Carrier = Arc::new(move |to, notice| Box::pin(courier.clone().send(to, notice)));
        let alerting = |launcher: &&Launcher| launcher.enabled && !launcher.alert.is_empty();
        let launchers: Vec<&Launcher> = config.launchers.iter().filter(alerting).collect();
        let watch = |launcher: &&Launcher| {
            let watch = Watch { after: launcher.alert_after, interval: launcher.interval.clone() };
            (launcher.name.clone(), watch)
        };
        let targets = |launcher: &&Launcher| (launcher.name.clone(), launcher.alert.iter().map(written).collect());
        let (watches, targets) = (launchers.iter().map(watch).collect(), launchers.iter().map(targets).collect());
        Self { watches, targets, carrier }
    }
}

impl std::fmt::Debug for Orders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Orders").field("watches", &self.watches).finish_non_exhaustive()
    }
}

/// An `alert` as it stands in the ini.
fn written(alert: &Alert) -> String {
    match alert {
        Alert::Mail(address) => format!("mailto:{address}"),
        Alert::Web(url) => url.clone(),
    }
}

/// What is kept below `state`.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    incidents: Vec<Incident>,
    outbox: Vec<Parcel>,
}

/// The task's own state.
struct Desk {
    book: Book,
    outbox: Outbox,
    targets: Vec<(ServiceName, Vec<String>)>,
    carrier: Option<Carrier>,
    sending: JoinSet<(String, Result<(), Text>)>,
    events: Events,
    path: PathBuf,
    saved: Kept,
    /// The last save failed, and that was said.
    unsaved: bool,
}

impl Desk {
    fn open(path: PathBuf, events: Events) -> Self {
        let saved = read(&path, &events);
        let mut outbox = Outbox::default();
        saved.outbox.iter().cloned().for_each(|parcel| outbox.push(parcel));
        let book = Book::with(saved.incidents.clone());
        let (targets, sending) = (Vec::new(), JoinSet::new());
        Self { book, outbox, targets, carrier: None, sending, events, path, saved, unsaved: false }
    }

    async fn run(mut self, mut signs: UnboundedReceiver<Sign>, stop: CancellationToken) {
        let mut batch = Vec::new();
        loop {
            self.book.due().into_iter().for_each(|notice| self.post(&notice));
            self.save().await;
            self.send();
            let next = self.book.next().into_iter().chain(self.outbox.next()).min();
            let pause = async {
                match next {
                    // what waits while nobody can carry it wakes nobody
                    Some(at) if self.carrier.is_some() => tokio::time::sleep_until(at).await,
                    _ => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return self.end().await,
                Some(done) = self.sending.join_next() => self.done(done),
                count = signs.recv_many(&mut batch, BATCH) => {
                    if count == 0 {
                        return;
                    }
                    batch.drain(..).for_each(|sign| self.take(sign));
                }
                () = pause => {}
            }
        }
    }

    /// What is on its way when the service stops is waited for, so that the next run does not send it again.
    async fn end(mut self) {
        let ending = async {
            while let Some(done) = self.sending.join_next().await {
                self.done(done);
            }
        };
        // what takes longer is sent again: rather twice than never
        let _ = tokio::time::timeout(LAST_POSTS, ending).await;
        self.save().await;
    }

    fn take(&mut self, sign: Sign) {
        match sign {
            Sign::Alive(name) => self.book.alive(&name),
            Sign::Cycle(name, fault) => {
                // what became due before this cycle ended is told before its end
                let mut notices = self.book.due();
                notices.extend(self.book.cycle(&name, fault.as_ref()));
                for notice in notices {
                    self.post(&notice);
                }
            }
            Sign::Follow(orders) => {
                let Orders { watches, targets, carrier } = *orders;
                self.book.follow(watches);
                let all: HashSet<String> = targets.iter().flat_map(|(_, list)| list.clone()).collect();
                self.outbox.retain(&all);
                (self.targets, self.carrier) = (targets, Some(carrier));
            }
        }
    }

    /// Puts a notice into the outbox, for each of its launcher's targets.
    fn post(&mut self, notice: &Notice) {
        let own = self.targets.iter().filter(|(name, _)| name.as_str() == notice.launcher);
        for to in own.flat_map(|(_, targets)| targets) {
            self.outbox.push(Parcel { to: to.clone(), notice: notice.clone() });
        }
        let Notice { launcher, state, code, .. } = notice;
        let (level, name, text) = match state {
            State::Failing => (
                Level::Error,
                "alert_raised",
                text!("launcher {launcher}: alert ({code})", "lanceur {launcher} : alerte ({code})"),
            ),
            State::Recovered => (
                Level::Notice,
                "alert_over",
                text!(
                    "launcher {launcher}: works again, end of the alert",
                    "lanceur {launcher} : rétabli, fin d'alerte"
                ),
            ),
        };
        self.events.emit(Event::new(level, name, text).of(&ServiceName::new(launcher)));
    }

    fn send(&mut self) {
        let Some(carrier) = self.carrier.clone() else { return };
        for Parcel { to, notice } in self.outbox.ready() {
            match value::alert(&to) {
                Ok(alert) => {
                    let work = carrier(alert, notice);
                    self.sending.spawn(async move { (to, work.await) });
                }
                // a file that somebody edited
                Err(_) => self.outbox.sent(&to),
            }
        }
    }

    fn done(&mut self, done: Result<(String, Result<(), Text>), JoinError>) {
        let (to, why) = match done {
            Ok((to, Ok(()))) => return self.outbox.sent(&to),
            Ok((to, Err(why))) => (to, why),
            // a fall inside a library; nobody knows whose it was, and all of them are tried again
            Err(_) => return self.outbox.lost(),
        };
        let Some(delay) = self.outbox.failed(&to) else { return };
        let (en, fr, seconds) = (&why.en, &why.fr, delay.as_secs() + 1);
        let text = text!(
            "alert: not delivered: {en}; trying again in {seconds} s",
            "alert : non remise : {fr} ; nouvel essai dans {seconds} s"
        );
        self.events.emit(Event::new(Level::Warning, "alert_not_delivered", text));
    }

    /// Keeps what is open, when it changed.
    async fn save(&mut self) {
        let open = Kept { incidents: self.book.open(), outbox: self.outbox.open() };
        if open == self.saved {
            return;
        }
        let path = self.path.clone();
        let writing = tokio::task::spawn_blocking(move || (write(&path, &open), open));
        let Ok((written, open)) = writing.await else { return };
        match written {
            Ok(()) => (self.saved, self.unsaved) = (open, false),
            Err(error) if !self.unsaved => {
                self.unsaved = true;
                self.events.emit(Event::new(Level::Warning, "alert_not_kept", not_kept(&self.path, &error)));
            }
            Err(_) => {}
        }
    }
}

/// What an earlier run left; a file that cannot be read is said and counts as empty.
fn read(path: &Path, events: &Events) -> Kept {
    let parsed = fs::read(path).and_then(|bytes| serde_json::from_slice(&bytes).map_err(io::Error::from));
    parsed.unwrap_or_else(|error| {
        if error.kind() != io::ErrorKind::NotFound {
            events.emit(Event::new(Level::Warning, "alert_not_kept", not_kept(path, &error)));
        }
        Kept::default()
    })
}

/// In one step: the old file or the new one.
fn write(path: &Path, kept: &Kept) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    make_state(folder)?;
    let draft = path.with_extension("new");
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&draft)?;
    file.write_all(&serde_json::to_vec(kept)?)?;
    file.sync_all()?;
    replace(&draft, path)?;
    sync_directory(folder)
}

fn not_kept(path: &Path, error: &io::Error) -> Text {
    let (path, Text { en, fr }) = (path.display(), Text::io(error));
    text!(
        "alert: {path}: {en}; after a restart an alert may be repeated, or its end not be told",
        "alert : {path} : {fr} ; après un redémarrage une alerte peut être répétée, ou sa fin ne pas être annoncée"
    )
}

/// How long the end of the service waits for what is being sent.
const LAST_POSTS: Duration = Duration::from_secs(3);
const FILE: &str = "alerts.json";
const BATCH: usize = 256;

#[cfg(test)]
mod tests;
