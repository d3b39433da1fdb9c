//! What the engines tell: one [`Event`] for each thing worth knowing, sent up to whoever listens.
//!
//! Not a logger: engines only [`emit`](Events::emit); the sink (the log of `run`, the lines of `demo`, a test's
//! list) decides what becomes of it. Levels are syslog's eight (RFC 5424, 6.2.1), because stunnel's `debug` option
//! counts in them. No `tracing`: it has five levels, wants a global subscriber, and would also carry what
//! libraries trace, passwords included.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

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
    pub connection: Option<ConnectionId>,
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

    /// The same event, of a connection: a number, or what [`ConnectionId`] else may be.
    #[must_use]
    pub fn on(mut self, connection: impl Into<ConnectionId>) -> Self {
        self.connection = Some(connection.into());
        self
    }
}

/// What stands between the brackets of a log line (`LOG5[ID]: …`): which connection it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectionId {
    /// `logId = sequential`: the number of the connection, from 0; a number in JSON.
    Number(u64),
    /// `logId = unique`, or a program that was started again (`0_1`): a string in JSON.
    Name(Arc<str>),
}

impl ConnectionId {
    /// A name that no other connection has, on whatever machine: 128 bits in the 22 characters of base64 (RFC 4648, 5).
    /// Good for telling lines apart, no secret.
    pub fn unique() -> Self {
        // each state has keys of its own, which begin with the system's randomness
        let half = || RandomState::new().hash_one(SystemTime::now()).to_be_bytes();
        let bytes = [half(), half()].concat();
        Self::Name(URL_SAFE_NO_PAD.encode(bytes).into())
    }

    /// The same one at its next turn, as stunnel writes it for `retry`: `0_1`, `0_2`.
    #[must_use]
    pub fn turn(&self, turn: u64) -> Self {
        Self::Name(format!("{self}_{turn}").into())
    }
}

impl From<u64> for ConnectionId {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<&ConnectionId> for ConnectionId {
    fn from(id: &ConnectionId) -> Self {
        id.clone()
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
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

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Events")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unique_name_is_short_printable_and_never_returns() {
        let names: std::collections::HashSet<String> = (0..1000).map(|_| ConnectionId::unique().to_string()).collect();
        assert_eq!(names.len(), 1000);
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        assert!(names.iter().all(|name| name.len() == 22 && name.chars().all(plain)));
    }

    #[test]
    fn a_turn_of_a_program_is_told_by_its_number() {
        assert_eq!(ConnectionId::from(0).turn(1).to_string(), "0_1");
    }
}
