//! When the next cycle is due, whatever happens to the clock on the wall meanwhile.
//!
//! Not the loop: a [`Due`] says how long is left, and waits. An interval is counted on the clock that nobody can set, and
//! is over all the same when the clock on the wall says so: the other one stands still while a machine sleeps. Cron times
//! are those on the wall: when it is set, what is left is counted again.

use std::time::Duration;

use jiff::Zoned;
use tokio::time::{Instant, sleep};

use crate::backoff::jitter;
use crate::config::schedule::Interval;
use crate::source::{Source, Wake};

/// A moment on both clocks.
#[derive(Clone, Debug)]
struct Moment {
    steady: Instant,
    wall: Zoned,
}

impl Moment {
    fn now() -> Self {
        Self { steady: Instant::now(), wall: Zoned::now() }
    }

    /// How much later this is on the wall; zero when the clock was set back.
    fn passed_since(&self, earlier: &Self) -> Duration {
        earlier.wall.duration_until(&self.wall).try_into().unwrap_or(Duration::ZERO)
    }
}

/// When the next cycle is due.
#[derive(Clone, Debug)]
pub(super) struct Due {
    from: Moment,
    /// At the earliest after so long.
    after: Duration,
    /// And then at the next time of this cron expression, a little later so that many launchers do not knock together.
    cron: Option<(Interval, Duration)>,
}

impl Due {
    /// So long from now.
    pub(super) fn after(delay: Duration) -> Self {
        Self { from: Moment::now(), after: delay, cron: None }
    }

    /// When `interval` says, but not sooner than `least` from now.
    pub(super) fn at(interval: &Interval, least: Duration) -> Self {
        match interval {
            Interval::Every(every) => Self::after((*every).max(least)),
            Interval::Cron(_) => Self { cron: Some((interval.clone(), jitter(SPREAD))), ..Self::after(least) },
        }
    }

    /// The first cycle: soon where the interval is a duration, at its time where it is a cron expression.
    pub(super) fn first(interval: &Interval) -> Self {
        match interval {
            Interval::Every(every) => Self::after(jitter(SPREAD.min(*every))),
            Interval::Cron(_) => Self::at(interval, Duration::ZERO),
        }
    }

    /// How long is left; zero when it is due.
    fn left(&self, now: &Moment) -> Duration {
        let steady = now.steady.saturating_duration_since(self.from.steady);
        let passed = now.passed_since(&self.from);
        let slept = passed > steady + SLEPT;
        let rest = self.after.saturating_sub(if slept { passed } else { steady });
        let Some((interval, spread)) = &self.cron else { return rest };
        // set back behind the beginning: that day begins anew
        let from = if now.wall < self.from.wall { &now.wall } else { &self.from.wall };
        let earliest = from.checked_add(self.after).unwrap_or_else(|_| from.clone());
        let target = earliest.checked_add(interval.wait(&earliest) + *spread).unwrap_or(earliest);
        now.wall.duration_until(&target).try_into().unwrap_or(Duration::ZERO)
    }

    /// Returns when it is due, or when `source` has news (but never sooner than a few seconds after the last cycle).
    pub(super) async fn wait(&self, mut source: Option<&mut (dyn Source + 'static)>) {
        loop {
            let left = self.left(&Moment::now());
            if left.is_zero() {
                return;
            }
            let wake = tokio::select! {
                biased;
                wake = rest(source.as_deref_mut(), left) => wake,
                () = self.overtaken(left) => continue,
            };
            if wake == Wake::News {
                return tokio::time::sleep_until(self.from.steady + BREATH).await;
            }
            // a source that comes back too early is not asked again and again
            source = None;
        }
    }

    /// Returns when less or more is left than there should be after `left`: somebody set the clock, or the machine
    /// slept.
    async fn overtaken(&self, left: Duration) {
        let began = Instant::now();
        loop {
            sleep(LOOK).await;
            let expected = left.saturating_sub(began.elapsed());
            if self.left(&Moment::now()).abs_diff(expected) > TOLERANCE {
                return;
            }
        }
    }
}

async fn rest(source: Option<&mut (dyn Source + 'static)>, left: Duration) -> Wake {
    if let Some(source) = source {
        return source.wait(left).await;
    }
    sleep(left).await;
    Wake::Deadline
}

/// Launchers that start together, or have one time, do not knock together.
const SPREAD: Duration = Duration::from_secs(4);
/// A mailbox in which something happens all the time is looked at every so often.
const BREATH: Duration = Duration::from_secs(5);
/// How often the clock on the wall is looked at.
const LOOK: Duration = Duration::from_mins(1);
/// A clock that is kept in step wanders by less.
const TOLERANCE: Duration = Duration::from_secs(5);
/// So much more on the wall than on the steady clock is sleep, or a clock set forward.
const SLEPT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::spool::Spool;
    use crate::model::{Disposition, ItemKey};
    use crate::source::outlet::Outlet;
    use crate::source::{Cursor, Discovery, Fingerprint, Item, SourceError};

    fn due(interval: &str, least: u64, wall: &str) -> Due {
        let mut due = Due::at(&Interval::parse(interval).unwrap(), Duration::from_secs(least));
        due.from.wall = wall.parse().unwrap();
        if let Some((_, spread)) = &mut due.cron {
            *spread = Duration::ZERO;
        }
        due
    }

    /// Seconds left when so many have passed and the wall says this.
    fn left(due: &Due, steady: u64, wall: &str) -> u64 {
        due.left(&Moment { steady: due.from.steady + Duration::from_secs(steady), wall: wall.parse().unwrap() })
            .as_secs()
    }

    /// A source that comes back at once.
    struct Hasty(Wake);

    #[async_trait::async_trait]
    impl Source for Hasty {
        async fn discover(&mut self, _: Option<&Cursor>) -> Result<Discovery, SourceError> {
            Ok(Discovery { items: Vec::new(), cursor: None, start: None, present: None, copies: 0, standing: false })
        }

        async fn identify(&mut self, _: &[Item]) -> Result<Vec<(ItemKey, Fingerprint)>, SourceError> {
            Ok(Vec::new())
        }

        async fn fetch(&mut self, _: &[Item], _: &Spool, _: Outlet) -> Result<(), SourceError> {
            Ok(())
        }

        async fn acknowledge(&mut self, _: &[ItemKey], _: &Disposition) -> Result<Vec<ItemKey>, SourceError> {
            Ok(Vec::new())
        }

        async fn finish(&mut self) -> Result<(), SourceError> {
            Ok(())
        }

        async fn wait(&mut self, _: Duration) -> Wake {
            self.0
        }
    }

    #[tokio::test(start_paused = true)]
    async fn news_are_looked_at_soon_but_never_without_a_breath() {
        for (wake, seconds) in [(Wake::News, 5), (Wake::Deadline, 300)] {
            let (due, began) = (Due::after(Duration::from_mins(5)), Instant::now());
            due.wait(Some(&mut Hasty(wake))).await;
            assert_eq!(began.elapsed().as_secs(), seconds, "{wake:?}");
        }
        let began = Instant::now();
        Due::after(Duration::from_mins(5)).wait(None).await;
        assert_eq!(began.elapsed().as_secs(), 300);
    }

    const TEN: &str = "2026-11-26T10:00:00+01:00[Europe/Paris]";

    #[tokio::test]
    async fn an_interval_goes_by_the_steady_clock() {
        let due = due("5m", 0, TEN);
        assert_eq!(left(&due, 60, "2026-11-26T10:01:00+01:00[Europe/Paris]"), 240);
        // the clock was set back by a year
        assert_eq!(left(&due, 60, "2025-11-26T10:01:00+01:00[Europe/Paris]"), 240);
        assert_eq!(left(&due, 300, "2025-11-26T10:05:00+01:00[Europe/Paris]"), 0);
        // kept in step
        assert_eq!(left(&due, 60, "2026-11-26T10:01:20+01:00[Europe/Paris]"), 240);
    }

    #[tokio::test]
    async fn a_machine_that_slept_does_not_sleep_on() {
        let due = due("1h", 0, TEN);
        assert_eq!(left(&due, 60, "2026-11-26T10:31:00+01:00[Europe/Paris]"), 29 * 60);
        assert_eq!(left(&due, 60, "2026-11-27T08:00:00+01:00[Europe/Paris]"), 0);
    }

    #[tokio::test]
    async fn cron_goes_by_the_clock_on_the_wall() {
        let due = due("30 10 * * *", 0, TEN);
        assert_eq!(left(&due, 60, "2026-11-26T10:01:00+01:00[Europe/Paris]"), 29 * 60);
        // set forward beyond the time: now
        assert_eq!(left(&due, 60, "2026-11-26T11:00:00+01:00[Europe/Paris]"), 0);
        // set back: the time comes later
        assert_eq!(left(&due, 1800, "2026-11-26T09:30:00+01:00[Europe/Paris]"), 3600);
        // set back behind where we began, by a day
        assert_eq!(left(&due, 60, "2026-11-25T10:00:00+01:00[Europe/Paris]"), 30 * 60);
    }

    #[tokio::test]
    async fn a_cycle_that_outlasts_its_time_leaves_that_time_out() {
        // began at 10:00, ended at 10:07
        let due = due("*/5 * * * *", 0, "2026-11-26T10:07:00+01:00[Europe/Paris]");
        assert_eq!(left(&due, 0, "2026-11-26T10:07:00+01:00[Europe/Paris]"), 180);
        let late = super::tests::due("*/5 * * * *", 1200, TEN);
        assert_eq!(left(&late, 0, TEN), 25 * 60);
        assert_eq!(left(&super::tests::due("5m", 1200, TEN), 0, TEN), 1200);
    }

    #[tokio::test]
    async fn a_day_has_twenty_three_hours_once_a_year() {
        let due = due("0 8 * * *", 0, "2026-03-28T08:00:01+01:00[Europe/Paris]");
        assert_eq!(left(&due, 0, "2026-03-28T08:00:01+01:00[Europe/Paris]"), 23 * 3600 - 1);
    }
}
