//! When a launcher runs: an interval, or a cron expression of five fields.
//!
//! Not a timer: it says how long to wait from a given moment. Cron times are those of the system's clock on the wall, as
//! in crontab(5).

use std::fmt;
use std::time::Duration;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::Zoned;

use super::value;
use crate::text;
use crate::text::Text;

/// `interval`.
#[derive(Clone, Debug)]
pub enum Interval {
    /// So long after the end of a cycle.
    Every(Duration),
    /// At these times.
    Cron(Box<Cron>),
}

impl Interval {
    /// Reads a duration, or minute, hour, day of the month, month and day of the week.
    ///
    /// # Errors
    /// Neither, zero, a date that never comes.
    pub fn parse(text: &str) -> Result<Self, Text> {
        if text.split_whitespace().count() == FIELDS {
            return Self::cron(text);
        }
        match value::duration(text) {
            Ok(Duration::ZERO) => {
                Err(text!("an interval is at least one second", "un intervalle vaut au moins une seconde"))
            }
            Ok(every) => Ok(Self::Every(every)),
            Err(_) => Err(text!(
                "{text:?}: expected a duration (90s, 5m, 1h) or the five fields of cron (*/10 8-18 * * 1-5)",
                "{text:?} : attendu une durée (90s, 5m, 1h) ou les cinq champs de cron (*/10 8-18 * * 1-5)"
            )),
        }
    }

    fn cron(text: &str) -> Result<Self, Text> {
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let parsed = parser.parse(text).ok().filter(|_| steps_fit(text));
        let cron = parsed.ok_or_else(|| {
            text!(
                "{text:?} is no cron expression: expected minute (0-59) hour (0-23) day (1-31) month (1-12) weekday \
                 (0-7 or sun-sat), each a number, 1,2,3, 1-5, */2 or *",
                "{text:?} n'est pas une expression cron : attendu minute (0-59) heure (0-23) jour (1-31) mois (1-12) \
                 jour de la semaine (0-7 ou sun-sat), chacun un nombre, 1,2,3, 1-5, */2 ou *"
            )
        })?;
        if cron.find_next_occurrence(&Zoned::now(), false).is_err() {
            return Err(text!("{text:?}: this date never comes", "{text:?} : cette date n'arrive jamais"));
        }
        Ok(Self::Cron(Box::new(cron)))
    }

    /// How long to wait from `now` on.
    pub fn wait(&self, now: &Zoned) -> Duration {
        match self {
            Self::Every(every) => *every,
            Self::Cron(cron) => match cron.find_next_occurrence(now, false) {
                Ok(next) => now.duration_until(&next).try_into().unwrap_or(Duration::ZERO),
                Err(_) => FALLBACK,
            },
        }
    }

    /// How long three intervals back from `now` are: for cron, to the third planned time before it.
    pub fn three(&self, now: &Zoned) -> Duration {
        match self {
            Self::Every(every) => every.saturating_mul(3),
            Self::Cron(cron) => {
                let mut time = now.clone();
                for _ in 0..3 {
                    let Ok(before) = cron.find_previous_occurrence(&time, false) else { break };
                    time = before;
                }
                time.duration_until(now).try_into().unwrap_or(Duration::ZERO)
            }
        }
    }
}

/// Whether each step lies within its field: `*/90` minutes would mean once an hour.
fn steps_fit(text: &str) -> bool {
    let fits = |(field, most): (&str, &u32)| {
        let mut steps = field.split(',').filter_map(|part| part.split_once('/'));
        steps.all(|(_, step)| step.parse::<u32>().is_ok_and(|step| step <= *most))
    };
    text.split_whitespace().zip(&MOST).all(fits)
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Every(every) => write!(f, "{}s", every.as_secs()),
            Self::Cron(cron) => f.write_str(cron.as_str()),
        }
    }
}

impl PartialEq for Interval {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Every(one), Self::Every(other)) => one == other,
            (Self::Cron(one), Self::Cron(other)) => one.as_str() == other.as_str(),
            _ => false,
        }
    }
}

/// Of a cron expression.
const FIELDS: usize = 5;
/// How many minutes, hours, days, months, weekdays there are.
const MOST: [u32; FIELDS] = [60, 24, 31, 12, 7];
/// Should a clock be so wrong that no next time is found.
const FALLBACK: Duration = Duration::from_hours(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Zoned {
        text.parse().unwrap()
    }

    #[test]
    fn durations_and_cron_say_how_long_to_wait() {
        let now = at("2026-11-26T10:07:30+01:00[Europe/Paris]");
        assert_eq!(Interval::parse("90").unwrap().wait(&now), Duration::from_secs(90));
        assert_eq!(Interval::parse("*/10 8-18 * * 1-5").unwrap().wait(&now), Duration::from_secs(150));
        let friday = at("2026-11-27T19:00:00+01:00[Europe/Paris]");
        let wait = Interval::parse("0 8 * * 1-5").unwrap().wait(&friday);
        assert_eq!(wait, Duration::from_hours(61));
    }

    #[test]
    fn three_intervals_of_cron_reach_over_the_weekend() {
        let monday = at("2026-11-30T08:05:00+01:00[Europe/Paris]");
        assert_eq!(Interval::parse("60").unwrap().three(&monday), Duration::from_mins(3));
        let friday = at("2026-11-27T18:30:00+01:00[Europe/Paris]");
        let back = Interval::parse("*/30 8-18 * * 1-5").unwrap().three(&monday);
        assert_eq!(back, monday.duration_since(&at("2026-11-27T18:00:00+01:00[Europe/Paris]")).unsigned_abs());
        assert!(back > monday.duration_since(&friday).unsigned_abs());
    }

    #[test]
    fn what_is_neither_is_refused() {
        for text in ["0", "often", "* * * *", "61 * * * *", "0 0 30 2 *", "@daily", "0 * * * * *", "*/90 * * * *"] {
            assert!(Interval::parse(text).is_err(), "{text}");
        }
        // in its reader's language, not in the parser's
        let french = Interval::parse("0 8 * * lundi").unwrap_err().fr;
        assert!(french.contains("jour de la semaine (0-7") && !french.contains("Pattern"), "{french}");
        for text in ["*/60 * * * *", "0 8-18/2 * * 1-5", "0 */24 1,15 * *"] {
            assert!(Interval::parse(text).is_ok(), "{text}");
        }
        assert_eq!(Interval::parse("5 4 * * *").unwrap(), Interval::parse("5 4 * * *").unwrap());
    }
}
