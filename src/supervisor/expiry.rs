//! Certificates that end soon: told 30, 14 and 7 days ahead, then every day, also once they have ended.
//!
//! Pure judgement over a clock that is handed in: whoever asks often enough hears each thing once, whatever the clock did
//! in between. Own certificates are read from their files, which need not be what is in force; those of peers are what
//! the last handshake showed.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::config::{Config, Place, Remark};
use crate::event::{Event, Level};
use crate::model::ServiceName;
use crate::text;
use crate::text::Text;
use crate::tls::material;

/// A certificate of ours, and when it ends.
#[derive(Clone, Debug)]
pub struct Own {
    service: ServiceName,
    place: Place,
    path: PathBuf,
    /// Seconds since 1970.
    end: i64,
}

/// What was told already.
#[derive(Debug, Default)]
pub(super) struct Expiry {
    own: Vec<Own>,
    told: HashMap<(ServiceName, Option<PathBuf>), (i64, Stage)>,
}

/// How near the end is; each is told once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// More than thirty days.
    Far,
    /// At most so many.
    Within(u8),
    /// The last week and what follows, in days; negative ones are past.
    Day(i64),
}

/// The certificates that the sections of `config` show, of those that can be read.
pub fn own(config: &Config) -> Vec<Own> {
    let tunnels = config.tunnels.iter().chain(config.inetd.as_deref());
    let tunnels = tunnels.map(|tunnel| (&tunnel.name, &tunnel.places, tunnel.cert.as_ref()));
    let launchers = config.launchers.iter().filter(|launcher| launcher.enabled);
    let launchers = launchers.map(|launcher| (&launcher.name, &launcher.places, launcher.cert.as_ref()));
    let own = tunnels.chain(launchers).filter_map(|(service, places, cert)| {
        let path = cert?.clone();
        let end = end_of(&path)?;
        Some(Own { service: service.clone(), place: places.of("cert").clone(), path, end })
    });
    own.collect()
}

/// When the first certificate of a file ends, in seconds since 1970.
fn end_of(path: &Path) -> Option<i64> {
    material::certificates(path).ok()?.first().and_then(material::expiry)
}

/// What `check` says of them, each at its line.
pub fn remarks(own: &[Own], now: Timestamp) -> Vec<Remark> {
    let soon = own.iter().filter(|own| stage(own.end, now) != Stage::Far);
    soon.map(|own| Remark { place: own.place.clone(), text: own_text(own, now) }).collect()
}

/// What `test` says of a certificate that ends at `end`: the day, and how many days are left.
pub fn validity(end: i64, now: Timestamp) -> Text {
    let (day, days) = (day(end), days_left(end, now));
    if days < 0 {
        return text!("EXPIRED on {day}", "EXPIRÉ le {day}");
    }
    text!("valid until {day} ({days} days left)", "valable jusqu'au {day} (encore {days} jours)")
}

/// Whether it is time to say something of a certificate that ends at `end`.
pub fn is_soon(end: i64, now: Timestamp) -> bool {
    stage(end, now) != Stage::Far
}

impl Expiry {
    /// Goes over to the files of a configuration; what is near is told again.
    pub(super) fn follow(&mut self, own: Vec<Own>) {
        self.told.clear();
        self.own = own;
    }

    /// What is to be told now. `peers`: by service, when the certificate ends that was seen last.
    pub(super) fn due(&mut self, peers: &[(ServiceName, i64)], now: Timestamp) -> Vec<Event> {
        let Self { own, told } = self;
        let mut news = |service: &ServiceName, path: Option<&PathBuf>, end: i64| {
            let stage = stage(end, now);
            let before = told.insert((service.clone(), path.cloned()), (end, stage));
            stage != Stage::Far && before != Some((end, stage))
        };
        let mut events = Vec::new();
        for own in own.iter() {
            if news(&own.service, Some(&own.path), own.end) {
                events.push(event(&own.service, own.end, own_text(own, now), now));
            }
        }
        for (service, end) in peers {
            if news(service, None, *end) {
                events.push(event(service, *end, peer_text(service, *end, now), now));
            }
        }
        events
    }
}

fn event(service: &ServiceName, end: i64, text: Text, now: Timestamp) -> Event {
    let level = if days_left(end, now) < 0 { Level::Error } else { Level::Warning };
    Event::new(level, "certificate_expiry", text).of(service)
}

fn stage(end: i64, now: Timestamp) -> Stage {
    match days_left(end, now) {
        days @ ..=7 => Stage::Day(days),
        8..=14 => Stage::Within(14),
        15..=30 => Stage::Within(30),
        _ => Stage::Far,
    }
}

/// Whole days; -1 from the first second after the end.
fn days_left(end: i64, now: Timestamp) -> i64 {
    end.saturating_sub(now.as_second()).div_euclid(DAY)
}

fn day(end: i64) -> String {
    Timestamp::from_second(end).map_or_else(|_| "?".to_owned(), |end| end.strftime("%Y-%m-%d").to_string())
}

fn own_text(own: &Own, now: Timestamp) -> Text {
    let Own { service, path, end, .. } = own;
    let (path, day, days) = (path.display(), day(*end), days_left(*end, now));
    if days < 0 {
        return text!(
            "Service [{service}]: its certificate {path} expired on {day}: renew it, peers refuse it",
            "Service [{service}] : son certificat {path} a expiré le {day} : le renouveler, il est refusé"
        );
    }
    text!(
        "Service [{service}]: its certificate {path} expires in {days} day(s), on {day}: renew it",
        "Service [{service}] : son certificat {path} expire dans {days} jour(s), le {day} : le renouveler"
    )
}

fn peer_text(service: &ServiceName, end: i64, now: Timestamp) -> Text {
    let (day, days) = (day(end), days_left(end, now));
    if days < 0 {
        return text!(
            "Service [{service}]: the certificate of its peer expired on {day}: whoever runs that must renew it",
            "Service [{service}] : le certificat de son correspondant a expiré le {day} : celui qui le gère doit le \
             renouveler"
        );
    }
    text!(
        "Service [{service}]: the certificate of its peer expires in {days} day(s), on {day}: whoever runs that must \
         renew it",
        "Service [{service}] : le certificat de son correspondant expire dans {days} jour(s), le {day} : celui qui le \
         gère doit le renouveler"
    )
}

/// Seconds.
const DAY: i64 = 24 * 60 * 60;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(days: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + days * DAY).unwrap()
    }

    fn expiry() -> Expiry {
        let place = Place { file: std::sync::Arc::from(Path::new("x.ini")), line: 3 };
        let own = Own { service: ServiceName::new("web"), place, path: "/c.pem".into(), end: at(100).as_second() };
        Expiry { own: vec![own], told: HashMap::new() }
    }

    #[test]
    fn the_end_of_a_certificate_is_told_at_each_threshold_once_and_daily_in_the_last_week() {
        let mut expiry = expiry();
        let mut told = Vec::new();
        for hour in 0..110 * 24 {
            let now = at(0) + jiff::SignedDuration::from_hours(hour);
            let count = expiry.due(&[], now).len();
            assert!(count < 2);
            told.extend((count == 1).then_some(100 - hour / 24));
        }
        // hours are whole days here, so the day itself counts as left until its first second is over
        let expected: Vec<i64> = [31, 15].into_iter().chain((-9..=8).rev()).collect();
        let near = |list: &[i64]| list.iter().map(|day| day.min(&30) / 16).collect::<Vec<_>>();
        assert_eq!(told.len(), expected.len(), "{told:?}");
        assert_eq!(near(&told), near(&expected), "{told:?}");
    }

    #[test]
    fn a_clock_that_jumps_skips_and_repeats_nothing_that_matters() {
        let mut expiry = expiry();
        assert!(expiry.due(&[], at(0)).is_empty());
        let text = expiry.due(&[], at(90)).remove(0).text;
        assert!(text.en.contains("expires in 10 day(s)") && text.en.contains("/c.pem"), "{text}");
        assert!(expiry.due(&[], at(90)).is_empty());
        assert!(expiry.due(&[], at(0)).is_empty());
        assert_eq!(expiry.due(&[], at(120)).remove(0).level, Level::Error);
    }

    #[test]
    fn a_peers_certificate_is_told_of_and_a_renewed_one_no_longer() {
        let (mut expiry, peer) = (Expiry::default(), ServiceName::new("mail"));
        let seen = |days: i64| [(peer.clone(), at(days).as_second())];
        assert_eq!(expiry.due(&seen(20), at(0)).len(), 1);
        assert!(expiry.due(&seen(20), at(1)).is_empty());
        assert!(expiry.due(&seen(90), at(1)).is_empty());
        // another server behind the same name
        assert_eq!(expiry.due(&seen(20), at(1)).len(), 1);
    }

    #[test]
    fn what_is_near_is_told_again_after_a_reload() {
        let mut expiry = expiry();
        assert_eq!(expiry.due(&[], at(95)).len(), 1);
        let own = expiry.own.clone();
        expiry.follow(own);
        assert_eq!(expiry.due(&[], at(95)).len(), 1);
        assert_eq!(remarks(&expiry.own, at(95)).len(), 1);
        assert!(remarks(&expiry.own, at(0)).is_empty());
    }
}
