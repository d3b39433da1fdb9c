//! Notices on their way: one lane for each target, in order, tried again until it works.
//!
//! Not a courier: it says what is to be sent when. A lane holds few notices whatever happens: an alert that never went
//! out is taken back together with its all-clear when the next one comes.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::book::{Notice, State};
use crate::backoff::Backoff;

/// Everything that is to be sent.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    lanes: BTreeMap<String, Lane>,
}

/// A notice and where it goes: an `alert` as it is written in the ini.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Parcel {
    pub(super) to: String,
    pub(super) notice: Notice,
}

#[derive(Debug)]
struct Lane {
    waiting: VecDeque<Notice>,
    /// The first one is being sent.
    sending: bool,
    at: Instant,
    backoff: Backoff,
}

impl Outbox {
    /// Takes a parcel.
    pub(super) fn push(&mut self, Parcel { to, notice }: Parcel) {
        let lane = self.lanes.entry(to).or_insert_with(Lane::new);
        if notice.state == State::Failing {
            lane.take_back(&notice.launcher);
        }
        lane.waiting.push_back(notice);
    }

    /// Forgets all targets but these.
    pub(super) fn retain(&mut self, targets: &HashSet<String>) {
        self.lanes.retain(|to, _| targets.contains(to));
    }

    /// What is to be sent now; each target is then busy until [`Outbox::sent`] or [`Outbox::failed`].
    pub(super) fn ready(&mut self) -> Vec<Parcel> {
        let now = Instant::now();
        let ready = self.lanes.iter_mut().filter(|(_, lane)| !lane.sending && lane.at <= now);
        ready
            .filter_map(|(to, lane)| {
                let notice = lane.waiting.front()?.clone();
                lane.sending = true;
                Some(Parcel { to: to.clone(), notice })
            })
            .collect()
    }

    /// It arrived.
    pub(super) fn sent(&mut self, to: &str) {
        if let Some(lane) = self.lanes.get_mut(to) {
            lane.sending = false;
            lane.waiting.pop_front();
            lane.backoff.reset();
        }
    }

    /// It did not; the answer is when it is tried again.
    pub(super) fn failed(&mut self, to: &str) -> Option<Duration> {
        let lane = self.lanes.get_mut(to)?;
        lane.sending = false;
        let delay = lane.backoff.next_delay();
        lane.at = Instant::now() + delay;
        Some(delay)
    }

    /// What was being sent may not have arrived: all of it is tried again.
    pub(super) fn lost(&mut self) {
        let busy: Vec<String> = self.lanes.iter().filter(|(_, lane)| lane.sending).map(|(to, _)| to.clone()).collect();
        for to in busy {
            self.failed(&to);
        }
    }

    /// When [`Outbox::ready`] has something next.
    pub(super) fn next(&self) -> Option<Instant> {
        let idle = self.lanes.values().filter(|lane| !lane.sending && !lane.waiting.is_empty());
        idle.map(|lane| lane.at).min()
    }

    /// What must survive a restart.
    pub(super) fn open(&self) -> Vec<Parcel> {
        let parcels = |(to, lane): (&String, &Lane)| {
            lane.waiting.iter().map(|notice| Parcel { to: to.clone(), notice: notice.clone() }).collect::<Vec<_>>()
        };
        self.lanes.iter().flat_map(parcels).collect()
    }
}

impl Lane {
    fn new() -> Self {
        let backoff = Backoff::new(FIRST_DELAY, LARGEST_DELAY);
        Self { waiting: VecDeque::new(), sending: false, at: Instant::now(), backoff }
    }

    /// Removes an alert of `launcher` that nobody saw, with its all-clear.
    fn take_back(&mut self, launcher: &str) {
        let first = usize::from(self.sending);
        let find = |state, from: usize| {
            let mut rest = self.waiting.iter().enumerate().skip(from);
            rest.find(|(_, notice)| notice.launcher == launcher && notice.state == state).map(|(index, _)| index)
        };
        let Some(failing) = find(State::Failing, first) else { return };
        let Some(recovered) = find(State::Recovered, failing) else { return };
        self.waiting.remove(recovered);
        self.waiting.remove(failing);
    }
}

const FIRST_DELAY: Duration = Duration::from_secs(2);
const LARGEST_DELAY: Duration = Duration::from_mins(15);

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::super::book::Sentence;
    use super::*;

    fn parcel(to: &str, launcher: &str, state: State) -> Parcel {
        let message = Sentence { en: "x".to_owned(), fr: "x".to_owned() };
        let launcher = launcher.to_owned();
        let notice = Notice { launcher, state, code: "tls".to_owned(), message, since: Timestamp::UNIX_EPOCH };
        Parcel { to: to.to_owned(), notice }
    }

    #[tokio::test(start_paused = true)]
    async fn a_target_gets_its_notices_in_order_and_a_dead_one_holds_up_nobody() {
        let mut outbox = Outbox::default();
        outbox.push(parcel("a", "l", State::Failing));
        outbox.push(parcel("a", "l", State::Recovered));
        outbox.push(parcel("b", "l", State::Failing));
        let ready = outbox.ready();
        assert_eq!(ready, [parcel("a", "l", State::Failing), parcel("b", "l", State::Failing)]);
        assert!(outbox.ready().is_empty());
        outbox.sent("b");
        let delay = outbox.failed("a").unwrap();
        assert!(outbox.ready().is_empty());
        tokio::time::advance(delay).await;
        assert_eq!(outbox.ready(), [parcel("a", "l", State::Failing)]);
        outbox.sent("a");
        assert_eq!(outbox.ready(), [parcel("a", "l", State::Recovered)]);
        outbox.sent("a");
        assert!(outbox.open().is_empty() && outbox.next().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_flapping_launcher_does_not_fill_a_dead_targets_lane() {
        let mut outbox = Outbox::default();
        outbox.push(parcel("a", "other", State::Failing));
        for _ in 0..100 {
            outbox.push(parcel("a", "l", State::Failing));
            let _ = outbox.ready();
            outbox.push(parcel("a", "l", State::Recovered));
        }
        assert_eq!(outbox.open().len(), 3);
        // what is under way stays
        assert_eq!(outbox.open()[0].notice.launcher, "other");
    }
}
