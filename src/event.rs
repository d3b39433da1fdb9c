//! What the engines tell: one [`Event`] for each thing worth knowing, sent up to whoever listens.
//!
//! Not a logger: engines only [`emit`](Events::emit); the sink (the log of `run`, the lines of `demo`, a test's
//! list) decides what becomes of it. Levels are syslog's eight (RFC 5424, 6.2.1), because stunnel's `debug` option
//! counts in them. No `tracing`: it has five levels, wants a global subscriber, and would also carry what
//! libraries trace, passwords included.

use std::sync::Arc;
use std::time::Duration;

use crate::model::{Fault, ServiceName};
use crate::text;
use crate::text::Text;

/// Severity, as in syslog: 0 is the most severe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// 0.
    Emergency,
    /// 1.
    Alert,
    /// 2.
    Critical,
    /// 3.
    Error,
    /// 4.
    Warning,
    /// 5: stunnel's default.
    Notice,
    /// 6.
    Info,
    /// 7.
    Debug,
}

impl Level {
    /// All of them, by number.
    pub const ALL: [Self; 8] = [
        Self::Emergency,
        Self::Alert,
        Self::Critical,
        Self::Error,
        Self::Warning,
        Self::Notice,
        Self::Info,
        Self::Debug,
    ];

    /// The number of syslog.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The lower-case word of syslog (`emerg`, `alert`, `crit`, `err`, `warning`, `notice`, `info`, `debug`).
    pub fn as_str(self) -> &'static str {
        ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"][usize::from(self.number())]
    }
}

/// One thing worth telling.
#[derive(Clone, Debug)]
pub struct Event {
    /// How severe.
    pub level: Level,
    /// A stable name in `snake_case`, for JSON logs and for tests: `tunnel_listening`, `item_delivered`.
    pub name: &'static str,
    /// The section it concerns.
    pub service: Option<ServiceName>,
    /// The connection of a tunnel it concerns.
    pub connection: Option<u64>,
    /// The sentence.
    pub text: Text,
    /// What a launcher's cycle came to, where this event ends one.
    pub cycle: Option<Box<Cycle>>,
}

/// What a cycle came to, for those who count, watch and alert.
#[derive(Clone, Debug)]
pub struct Cycle {
    /// Items by the words of `fetch --json`.
    pub items: Vec<(&'static str, u64)>,
    /// Files by the same.
    pub files: Vec<(&'static str, u64)>,
    /// Why it ended early.
    pub fault: Option<Fault>,
    /// How long it took.
    pub took: Duration,
}

impl Event {
    /// An event that concerns the whole program.
    pub fn new(level: Level, name: &'static str, text: Text) -> Self {
        Self { level, name, service: None, connection: None, text, cycle: None }
    }

    /// The same event, of a section.
    #[must_use]
    pub fn of(mut self, service: &ServiceName) -> Self {
        self.service = Some(service.clone());
        self
    }

    /// The same event, of a section that its sentence does not name: in a log beside the lines of others it must.
    #[must_use]
    pub fn about(mut self, service: &ServiceName) -> Self {
        let Text { en, fr } = self.text;
        self.text = text!("{service}: {en}", "{service} : {fr}");
        self.of(service)
    }

    /// The same event, at the end of a cycle.
    #[must_use]
    pub fn ending(mut self, cycle: Cycle) -> Self {
        self.cycle = Some(Box::new(cycle));
        self
    }

    /// The same event, of a connection.
    #[must_use]
    pub fn on(mut self, connection: u64) -> Self {
        self.connection = Some(connection);
        self
    }
}

/// The way up: cheap to clone, handed to every engine.
#[derive(Clone)]
pub struct Events {
    sink: Arc<dyn Fn(Event) + Send + Sync>,
    watcher: Option<Arc<Watcher>>,
    wanted: Option<Arc<Wanted>>,
}

/// Told how far a launcher's cycle has come: items done, and how many there are.
type Watcher = dyn Fn(&ServiceName, u64, u64) + Send + Sync;

/// Whether events of this level of a section are of use to anybody.
type Wanted = dyn Fn(Level, &ServiceName) -> bool + Send + Sync;

impl Events {
    /// Sends every event to `sink`, which must not block for long.
    pub fn to(sink: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Self { sink: Arc::new(sink), watcher: None, wanted: None }
    }

    /// The same, with somebody who watches how far cycles have come. That is no event: nobody logs or counts it.
    #[must_use]
    pub fn watched(self, watcher: impl Fn(&ServiceName, u64, u64) + Send + Sync + 'static) -> Self {
        Self { watcher: Some(Arc::new(watcher)), ..self }
    }

    /// The same, where `wanted` says of which levels of a section events are of use; without it all are.
    #[must_use]
    pub fn wanting(self, wanted: impl Fn(Level, &ServiceName) -> bool + Send + Sync + 'static) -> Self {
        Self { wanted: Some(Arc::new(wanted)), ..self }
    }

    /// Tells nobody.
    pub fn nowhere() -> Self {
        Self::to(drop)
    }

    /// Whether an event of this level of a section need be made: there may be one for each of a hundred thousand mails.
    pub fn wants(&self, level: Level, service: &ServiceName) -> bool {
        self.wanted.as_ref().is_none_or(|wanted| wanted(level, service))
    }

    /// Tells `event`.
    pub fn emit(&self, event: Event) {
        (self.sink)(event);
    }

    /// Tells who watches that `done` of `total` new items of a cycle are done.
    pub fn progress(&self, launcher: &ServiceName, done: u64, total: u64) {
        if let Some(watcher) = &self.watcher {
            watcher(launcher, done, total);
        }
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Events")
    }
}
