//! What is known about everything that runs: one table, fed by events, read by `/metrics`, `/readyz` and systemd.
//!
//! Not a log and no history: the latest of each thing, and counters. Launchers are known by the events that end their
//! cycles, tunnels by their meters. Who is no longer in the file is no longer in the table.

mod metrics;
mod pages;

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{Timestamp, Zoned};
use prometheus_client::metrics::histogram::Histogram;
use tokio::time::Instant;

pub use pages::Pages;

use crate::config::schedule::Interval;
use crate::config::{Config, Launcher};
use crate::event::{Cycle, Event};
use crate::model::{Code, ServiceName};
use crate::text;
use crate::text::{Lang, Text};
use crate::tunnel::Meter;

/// The table. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Status(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    refused: bool,
    lang: Lang,
    tunnels: BTreeMap<ServiceName, Tunnel>,
    launchers: BTreeMap<ServiceName, Record>,
}

#[derive(Debug, Default)]
struct Tunnel {
    meter: Arc<Meter>,
    /// Why a port could not be bound.
    trouble: Option<Text>,
}

/// A launcher.
#[derive(Debug)]
struct Record {
    interval: Interval,
    items: BTreeMap<&'static str, u64>,
    files: BTreeMap<&'static str, u64>,
    failures: BTreeMap<&'static str, u64>,
    cycles: Histogram,
    success: Option<Success>,
    /// Why the latest cycle failed.
    trouble: Option<Text>,
}

#[derive(Clone, Copy, Debug)]
struct Success {
    at: Instant,
    time: Timestamp,
    took: Duration,
}

impl Status {
    /// Follows a configuration: what is new begins with 0, what is gone is forgotten, the rest goes on.
    pub fn follow(&self, config: &Config) {
        let mut table = self.lock();
        table.refused = false;
        table.lang = config.global.lang;
        let tunnels: HashSet<_> = config.tunnels.iter().map(|tunnel| &tunnel.name).collect();
        table.tunnels.retain(|name, _| tunnels.contains(name));
        for name in tunnels {
            table.tunnels.entry(name.clone()).or_default().trouble = None;
        }
        let launchers: HashSet<_> = enabled(config).map(|launcher| &launcher.name).collect();
        table.launchers.retain(|name, _| launchers.contains(name));
        for launcher in enabled(config) {
            let record = table.launchers.entry(launcher.name.clone());
            record.or_insert_with(|| Record::new(&launcher.interval)).interval = launcher.interval.clone();
        }
    }

    /// A new configuration was refused, the old one is in force.
    pub fn refused(&self) {
        self.lock().refused = true;
    }

    /// The counters of a tunnel.
    pub fn meter(&self, tunnel: &ServiceName) -> Arc<Meter> {
        self.lock().tunnels.entry(tunnel.clone()).or_default().meter.clone()
    }

    /// Takes from an event what the table is about.
    pub fn note(&self, event: &Event) {
        let Some(name) = &event.service else { return };
        if let Some(cycle) = &event.cycle {
            if let Some(record) = self.lock().launchers.get_mut(name) {
                record.note(cycle);
            }
        } else if event.name == "tunnel_bind_failed"
            && let Some(tunnel) = self.lock().tunnels.get_mut(name)
        {
            tunnel.trouble = Some(event.text.clone());
        }
    }

    /// Whether an address of a tunnel of this name could not be bound.
    pub fn could_not_bind(&self, tunnel: &ServiceName) -> bool {
        self.lock().tunnels.get(tunnel).is_some_and(|tunnel| tunnel.trouble.is_some())
    }

    /// When the certificates end that were seen last at the other ends of tunnels, in seconds since 1970.
    pub fn peer_expiries(&self) -> Vec<(ServiceName, i64)> {
        let table = self.lock();
        let seen = table.tunnels.iter().filter_map(|(name, tunnel)| Some((name.clone(), tunnel.meter.peer_expiry()?)));
        seen.collect()
    }

    /// Who is not ready, and why: a tunnel that does not listen, a launcher whose latest success is more than three
    /// intervals old (and the time that a cycle takes), or that had none since the start.
    pub fn unready(&self) -> Vec<(ServiceName, Text)> {
        let table = self.lock();
        let now = Zoned::now();
        let tunnels = table.tunnels.iter().filter(|(_, tunnel)| !tunnel.meter.is_listening()).map(|(name, tunnel)| {
            let words = text!("does not listen", "n'est pas à l'écoute");
            (name.clone(), tunnel.trouble.clone().unwrap_or(words))
        });
        let launchers = table.launchers.iter().filter_map(|(name, record)| Some((name.clone(), record.unready(&now)?)));
        tunnels.chain(launchers).collect()
    }

    /// One line about everything, for the service manager.
    pub fn summary(&self) -> String {
        let unready = self.unready();
        let table = self.lock();
        let (tunnels, launchers) = (table.tunnels.len(), table.launchers.len());
        let open: i64 = table.tunnels.values().map(|tunnel| tunnel.meter.open.get()).sum();
        let names: Vec<_> = unready.iter().map(|(name, _)| name.as_str()).collect();
        let (en, fr) = match names.join(", ") {
            names if names.is_empty() => (String::new(), String::new()),
            names => (format!("; not ready: {names}"), format!(" ; pas prêts : {names}")),
        };
        let text = text!(
            "{tunnels} tunnels, {open} connections, {launchers} launchers{en}",
            "{tunnels} tunnels, {open} connexions, {launchers} lanceurs{fr}"
        );
        text.get(table.lang).to_owned()
    }

    fn lang(&self) -> Lang {
        self.lock().lang
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // each change is one step: who fell while holding it left a whole table
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn enabled(config: &Config) -> impl Iterator<Item = &Launcher> {
    config.launchers.iter().filter(|launcher| launcher.enabled)
}

impl Record {
    fn new(interval: &Interval) -> Self {
        let zero = |words: &[&'static str]| words.iter().map(|word| (*word, 0)).collect();
        Self {
            interval: interval.clone(),
            items: zero(&ITEMS),
            files: zero(&FILES),
            failures: Code::ALL.iter().map(|code| (code.as_str(), 0)).collect(),
            cycles: Histogram::new(SECONDS),
            success: None,
            trouble: None,
        }
    }

    fn note(&mut self, cycle: &Cycle) {
        for (word, count) in &cycle.items {
            *self.items.entry(word).or_default() += count;
        }
        for (word, count) in &cycle.files {
            *self.files.entry(word).or_default() += count;
        }
        self.cycles.observe(cycle.took.as_secs_f64());
        self.trouble = cycle.fault.as_ref().map(|fault| fault.text.clone());
        match &cycle.fault {
            Some(fault) => *self.failures.entry(fault.code.as_str()).or_default() += 1,
            None => self.success = Some(Success { at: Instant::now(), time: Timestamp::now(), took: cycle.took }),
        }
    }

    fn unready(&self, now: &Zoned) -> Option<Text> {
        let latest = self.success.map(|success| (success.at.elapsed(), success.took));
        if latest.is_some_and(|(age, took)| age <= self.interval.three(now) + took) {
            return None;
        }
        Some(match (&self.trouble, latest) {
            (Some(trouble), _) => trouble.clone(),
            (None, None) => text!("no cycle has succeeded yet", "aucun relevé n'a encore réussi"),
            (None, Some((age, _))) => {
                let seconds = age.as_secs();
                text!("the latest success was {seconds} s ago", "le dernier succès date de {seconds} s")
            }
        })
    }
}

/// The words of `fetch --json`.
const ITEMS: [&str; 7] = ["found", "delivered", "already", "empty", "rejected", "quarantined", "failed"];
const FILES: [&str; 3] = ["delivered", "filtered", "quarantined"];
/// From a look at an idle mailbox to a first fetch that takes the night.
const SECONDS: [f64; 10] = [0.05, 0.25, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Overrides, load_bytes};
    use crate::event::Level;
    use crate::model::Fault;

    pub(super) fn config(sections: &str) -> Config {
        load_bytes(Path::new("x.ini"), sections.as_bytes(), &Overrides::default()).unwrap()
    }

    pub(super) fn cycle(name: &str, fault: Option<Code>) -> Event {
        let fault = fault.map(|code| Fault::new(code, Text::same("broken")));
        let cycle = Cycle {
            items: vec![("found", 3), ("delivered", 2), ("already", 1)],
            files: vec![("delivered", 4)],
            fault,
            took: Duration::from_secs(2),
        };
        Event::new(Level::Info, "cycle_done", Text::same("")).of(&ServiceName::new(name)).ending(cycle)
    }

    const TWO: &str = "[a]\nlauncher = directory\nsource = /in\ndeliver = /out\ninterval = 60\n\
                       [b]\nlauncher = directory\nsource = /in2\ndeliver = /out\ninterval = 60\n";

    fn unready(status: &Status) -> Vec<String> {
        status.unready().into_iter().map(|(name, text)| format!("{name}: {text}")).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_launcher_is_ready_from_its_first_success_until_three_intervals_after_its_last() {
        let status = Status::default();
        status.follow(&config(TWO));
        assert_eq!(unready(&status), ["a: no cycle has succeeded yet", "b: no cycle has succeeded yet"]);
        status.note(&cycle("a", None));
        status.note(&cycle("b", Some(Code::Folder)));
        assert_eq!(unready(&status), ["b: broken"]);
        // a failure does not count before the time is over
        status.note(&cycle("a", Some(Code::Connect)));
        status.note(&cycle("b", None));
        tokio::time::advance(Duration::from_secs(182)).await;
        assert!(unready(&status).is_empty());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(unready(&status), ["a: broken", "b: the latest success was 183 s ago"]);
    }

    #[tokio::test]
    async fn what_is_gone_is_forgotten_and_what_stays_goes_on_counting() {
        let status = Status::default();
        status.follow(&config(TWO));
        status.note(&cycle("a", None));
        let (first, _) = TWO.split_once("[b]").unwrap();
        status.refused();
        status.follow(&config(first));
        status.note(&cycle("a", None));
        status.note(&cycle("b", None));
        let text = status.metrics();
        assert!(text.contains("pertuis_launcher_items_total{outcome=\"delivered\",launcher=\"a\"} 4\n"), "{text}");
        assert!(!text.contains("launcher=\"b\"") && text.contains("pertuis_config_ok 1\n"), "{text}");
    }
}
