//! When a launcher's trouble is worth an alert: one for each incident, one when it is over.
//!
//! Pure: times come in, notices go out; nothing is sent or written here. An incident begins with the first cycle that
//! fails and ends with the first that succeeds; it is alerted once it has lasted `alert_after`, whatever becomes of its
//! code meanwhile. A launcher of which nothing at all is heard for longer than it may wait between two cycles, and
//! `alert_after` besides, is frozen: a share that hangs holds up its thread, and no cycle ends there.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{Timestamp, Zoned};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::config::schedule::Interval;
use crate::model::{Code, Fault, ServiceName};
use crate::text;
use crate::text::Text;

/// What the book watches of a launcher.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    /// `alert_after`.
    pub(super) after: Duration,
    /// `interval`.
    pub(super) interval: Interval,
}

/// What is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Notice {
    pub(super) launcher: String,
    pub(super) state: State,
    /// A code of the contract, or `frozen`.
    pub(super) code: String,
    pub(super) message: Sentence,
    /// The beginning of the incident.
    pub(super) since: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    Failing,
    Recovered,
}

/// A [`Text`] that can be kept in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sentence {
    pub(super) en: String,
    pub(super) fr: String,
}

impl From<&Text> for Sentence {
    fn from(text: &Text) -> Self {
        Self { en: text.en.to_string(), fr: text.fr.to_string() }
    }
}

/// An open incident, as it is kept across restarts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Incident {
    pub(super) launcher: String,
    pub(super) since: Timestamp,
    pub(super) code: String,
    pub(super) message: Sentence,
    pub(super) alerted: bool,
}

/// All launchers that alert somebody.
#[derive(Debug, Default)]
pub(super) struct Book {
    entries: BTreeMap<ServiceName, Entry>,
    /// Incidents of before the restart, until their launchers are known.
    kept: Vec<Incident>,
}

#[derive(Debug)]
struct Entry {
    watch: Watch,
    /// When something was heard last.
    heard: Instant,
    /// How long silence is ordinary from then on.
    patience: Duration,
    incident: Option<(Incident, Instant)>,
}

impl Book {
    /// A book that goes on with the open incidents of an earlier run.
    pub(super) fn with(kept: Vec<Incident>) -> Self {
        Self { entries: BTreeMap::new(), kept }
    }

    /// Follows a configuration. What is no longer in it is no longer watched, and has no all-clear.
    pub(super) fn follow(&mut self, watches: Vec<(ServiceName, Watch)>) {
        let mut old = std::mem::take(&mut self.entries);
        for (name, watch) in watches {
            let entry = match old.remove(&name) {
                Some(entry) => Entry { watch, ..entry },
                None => self.enter(&name, watch),
            };
            self.entries.insert(name, entry);
        }
        self.kept.clear();
    }

    fn enter(&mut self, name: &ServiceName, watch: Watch) -> Entry {
        let kept = self.kept.iter().position(|incident| incident.launcher == name.as_str());
        let incident = kept.map(|index| self.kept.swap_remove(index)).map(|incident| {
            let lasted = Timestamp::now().duration_since(incident.since);
            let lasted = Duration::try_from(lasted).unwrap_or_default();
            let due = Instant::now() + watch.after.saturating_sub(lasted).min(FOREVER);
            (incident, due)
        });
        let patience = watch.interval.wait(&Zoned::now());
        Entry { watch, heard: Instant::now(), patience, incident }
    }

    /// The launcher did something, whatever it was.
    pub(super) fn alive(&mut self, name: &ServiceName) {
        if let Some(entry) = self.entries.get_mut(name) {
            entry.heard = Instant::now();
        }
    }

    /// A cycle ended: the all-clear, when there is one to give.
    pub(super) fn cycle(&mut self, name: &ServiceName, fault: Option<&Fault>) -> Option<Notice> {
        let entry = self.entries.get_mut(name)?;
        entry.heard = Instant::now();
        entry.patience = entry.watch.interval.wait(&Zoned::now());
        match fault {
            None => {
                let (incident, _) = entry.incident.take()?;
                incident.alerted.then(|| notice(&incident, State::Recovered))
            }
            // another process runs a cycle: neither good nor bad
            Some(fault) if fault.code == Code::Busy => None,
            Some(fault) => {
                entry.failed(name, fault);
                None
            }
        }
    }

    /// The incidents that have lasted long enough by now.
    pub(super) fn due(&mut self) -> Vec<Notice> {
        let now = Instant::now();
        self.entries.iter_mut().filter_map(|(name, entry)| entry.due(name, now)).collect()
    }

    /// When [`Book::due`] may have something next.
    pub(super) fn next(&self) -> Option<Instant> {
        self.entries.values().filter_map(Entry::deadline).min()
    }

    /// What must survive a restart.
    pub(super) fn open(&self) -> Vec<Incident> {
        let open = self.entries.values().filter_map(|entry| entry.incident.as_ref());
        open.map(|(incident, _)| incident.clone()).chain(self.kept.iter().cloned()).collect()
    }
}

impl Entry {
    fn failed(&mut self, name: &ServiceName, fault: &Fault) {
        let (code, message) = (fault.code.as_str().to_owned(), Sentence::from(&fault.text));
        match &mut self.incident {
            // what is said stays what it was: one incident, one alert
            Some((incident, _)) if incident.alerted => {}
            Some((incident, _)) => (incident.code, incident.message) = (code, message),
            none => {
                let (launcher, since) = (name.to_string(), Timestamp::now());
                let due = Instant::now() + self.watch.after.min(FOREVER);
                *none = Some((Incident { launcher, since, code, message, alerted: false }, due));
            }
        }
    }

    fn due(&mut self, name: &ServiceName, now: Instant) -> Option<Notice> {
        if self.deadline().is_none_or(|deadline| deadline > now) {
            return None;
        }
        let (incident, _) = self.incident.get_or_insert_with(|| {
            let silent = now.duration_since(self.heard);
            let since = Timestamp::now().checked_sub(silent).unwrap_or(Timestamp::UNIX_EPOCH);
            let message = Sentence::from(&frozen(silent));
            let launcher = name.to_string();
            (Incident { launcher, since, code: FROZEN.to_owned(), message, alerted: false }, now)
        });
        incident.alerted = true;
        Some(notice(incident, State::Failing))
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.incident {
            Some((incident, due)) => (!incident.alerted).then_some(*due),
            None => self.heard.checked_add((self.patience + self.watch.after).saturating_add(MARGIN)),
        }
    }
}

fn notice(incident: &Incident, state: State) -> Notice {
    let Incident { launcher, since, code, message, .. } = incident.clone();
    Notice { launcher, state, code, message, since }
}

fn frozen(silent: Duration) -> Text {
    let minutes = silent.as_secs().div_ceil(60);
    text!(
        "nothing was heard of this launcher for {minutes} min and no cycle ends: a network share may hang; check the \
         folders of this launcher, and restart the service if they answer",
        "aucun signe de ce lanceur depuis {minutes} min, aucun relevé ne se termine : un partage réseau est peut-être \
         bloqué ; vérifier les dossiers de ce lanceur, et redémarrer le service s'ils répondent"
    )
}

/// The code of a launcher that does nothing.
const FROZEN: &str = "frozen";
/// Beyond the ordinary wait: a server that says nothing is given up after a minute, and a start is spread.
const MARGIN: Duration = Duration::from_secs(90);
/// `alert_after = 1000000000d` must not overflow a clock.
const FOREVER: Duration = Duration::from_hours(24 * 365);

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    const AFTER: Duration = Duration::from_mins(15);

    fn name() -> ServiceName {
        ServiceName::new("factures")
    }

    fn watch() -> Vec<(ServiceName, Watch)> {
        vec![(name(), Watch { after: AFTER, interval: Interval::Every(Duration::from_mins(5)) })]
    }

    fn book() -> Book {
        let mut book = Book::default();
        book.follow(watch());
        book
    }

    fn fault(code: Code) -> Fault {
        Fault::new(code, Text::same(code.as_str()))
    }

    #[tokio::test(start_paused = true)]
    async fn an_incident_gives_one_alert_and_one_all_clear_whatever_its_code_does() {
        let mut book = book();
        assert_eq!(book.cycle(&name(), Some(&fault(Code::Connect))), None);
        assert!(book.due().is_empty());
        advance(AFTER / 2).await;
        book.cycle(&name(), Some(&fault(Code::Credentials)));
        assert!(book.due().is_empty());
        // due by the clock, also when no further cycle ends
        advance(AFTER / 2).await;
        let told = book.due();
        assert_eq!((told.len(), told[0].state, told[0].code.as_str()), (1, State::Failing, "credentials"));
        for code in [Code::Folder, Code::Deliver, Code::Credentials] {
            book.cycle(&name(), Some(&fault(code)));
            advance(AFTER * 10).await;
            assert!(book.due().is_empty() && book.next().is_none());
        }
        let clear = book.cycle(&name(), None).unwrap();
        assert_eq!((clear.state, clear.since, clear.code), (State::Recovered, told[0].since, told[0].code.clone()));
        assert_eq!(book.cycle(&name(), None), None);
        assert!(book.open().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_over_in_time_is_told_to_nobody() {
        let mut book = book();
        for _ in 0..3 {
            book.cycle(&name(), Some(&fault(Code::Connect)));
            advance(AFTER.mul_f32(0.9)).await;
            assert!(book.due().is_empty());
            assert_eq!(book.cycle(&name(), None), None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_launcher_of_which_nothing_is_heard_is_frozen_and_one_that_works_is_not() {
        let mut book = book();
        // a first fetch that takes the night
        for _ in 0..50 {
            advance(AFTER).await;
            book.alive(&name());
            assert!(book.due().is_empty());
        }
        advance(Duration::from_mins(20)).await;
        assert!(book.due().is_empty());
        advance(MARGIN).await;
        let told = book.due();
        assert_eq!((told.len(), told[0].code.as_str()), (1, "frozen"));
        book.alive(&name());
        advance(AFTER * 10).await;
        assert!(book.due().is_empty());
        assert_eq!(book.cycle(&name(), None).unwrap().state, State::Recovered);
    }

    #[tokio::test(start_paused = true)]
    async fn a_cycle_elsewhere_is_neither_trouble_nor_its_end() {
        let mut book = book();
        book.cycle(&name(), Some(&fault(Code::Busy)));
        advance(AFTER + Duration::from_secs(1)).await;
        assert!(book.due().is_empty());
        book.cycle(&name(), Some(&fault(Code::Tls)));
        book.cycle(&name(), Some(&fault(Code::Busy)));
        advance(AFTER).await;
        assert_eq!(book.due().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_restart_neither_repeats_an_alert_nor_forgets_its_end() {
        let mut first = book();
        first.cycle(&name(), Some(&fault(Code::Folder)));
        advance(AFTER).await;
        assert_eq!(first.due().len(), 1);
        let mut second = Book::with(first.open());
        assert_eq!(second.open(), first.open());
        second.follow(watch());
        second.cycle(&name(), Some(&fault(Code::Folder)));
        advance(AFTER * 2).await;
        assert!(second.due().is_empty());
        assert_eq!(second.cycle(&name(), None).unwrap().state, State::Recovered);
    }

    #[tokio::test(start_paused = true)]
    async fn a_section_that_is_gone_is_watched_no_more_and_one_that_changed_goes_on() {
        let mut book = book();
        book.cycle(&name(), Some(&fault(Code::Folder)));
        book.follow(watch());
        assert_eq!(book.open().len(), 1);
        book.follow(Vec::new());
        advance(AFTER * 3).await;
        assert!(book.due().is_empty() && book.open().is_empty() && book.next().is_none());
    }
}
