//! What was asked, when, and what was answered: for the rules that only many requests together can break.

use std::time::{Duration, Instant};

use super::http::{Answer, Asked};

/// Requests that were sent before an answer could arrive are not yet disobedient.
const UNDER_WAY: Duration = Duration::from_millis(100);

/// A request and what became of it.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) asked: Asked,
    pub(crate) at: Instant,
    /// Requests of the same service in flight, this one included, when it came.
    pub(crate) in_flight: usize,
    pub(crate) status: u16,
    /// When the last byte of the answer was written.
    pub(crate) ended: Option<Instant>,
    /// How long the answer asks to stay away.
    pub(crate) retry_after: Option<Duration>,
    login: bool,
}

impl Record {
    /// Whether it went to a token endpoint.
    pub(crate) fn is_login(&self) -> bool {
        self.login
    }

    /// Method and target, as in a log.
    pub(crate) fn line(&self) -> String {
        format!("{} {} {}", self.status, self.asked.method, self.asked.target)
    }
}

/// All requests, in the order in which they came.
#[derive(Default)]
pub(crate) struct Records {
    list: Vec<Record>,
    /// What came before this one is forgotten.
    since: usize,
    /// In flight: to Graph, to the token endpoints.
    open: [usize; 2],
}

impl Records {
    pub(crate) fn all(&self) -> &[Record] {
        &self.list[self.since..]
    }

    pub(crate) fn graph(&self) -> impl Iterator<Item = &Record> {
        self.all().iter().filter(|record| !record.login)
    }

    pub(crate) fn login(&self) -> impl Iterator<Item = &Record> {
        self.all().iter().filter(|record| record.login)
    }

    /// How many requests to Graph have this method and `part` in their target.
    pub(crate) fn count(&self, method: &str, part: &str) -> usize {
        self.graph().filter(|record| record.asked.method == method && record.asked.target.contains(part)).count()
    }

    /// How many tokens were asked for with this grant.
    pub(crate) fn grants(&self, grant: &str) -> usize {
        let asked = |record: &&Record| {
            record.asked.form().iter().any(|(name, value)| name == "grant_type" && value.ends_with(grant))
        };
        self.login().filter(asked).count()
    }

    /// Forgets what came before.
    pub(crate) fn clear(&mut self) {
        self.since = self.list.len();
    }

    /// The most requests to Graph that were in flight at one time.
    pub(crate) fn most_in_flight(&self) -> usize {
        self.graph().map(|record| record.in_flight).max().unwrap_or(0)
    }

    /// How many requests to Graph are in flight now.
    pub(crate) fn in_flight(&self) -> usize {
        self.open[0]
    }

    /// Requests that came while an answer of the same service asked to stay away: the same request at once, others as
    /// soon as the answer could be known.
    pub(crate) fn too_early(&self) -> Vec<String> {
        let mut early = Vec::new();
        for told in self.all() {
            let (Some(ended), Some(wait)) = (told.ended, told.retry_after) else { continue };
            let later = self.all().iter().filter(|next| next.login == told.login && next.at > ended);
            early.extend(later.filter(|next| next.at < ended + wait).filter_map(|next| {
                let same = next.asked.target == told.asked.target && next.asked.method == told.asked.method;
                (same || next.at > ended + UNDER_WAY)
                    .then(|| format!("{} after {:?} of {wait:?}: {}", next.line(), next.at - ended, told.line()))
            }));
        }
        early
    }

    /// Requests to Graph that do not ask for immutable ids.
    pub(crate) fn without_immutable_ids(&self) -> Vec<String> {
        let asks = |record: &&Record| !record.asked.list("prefer").iter().any(|prefer| is_immutable(prefer));
        self.graph().filter(asks).map(Record::line).collect()
    }

    pub(super) fn begin(&mut self, asked: &Asked) -> usize {
        let login = asked.target.contains("/oauth2/");
        self.open[usize::from(login)] += 1;
        let in_flight = self.open[usize::from(login)];
        let asked = asked.clone();
        let (at, status, ended, retry_after) = (Instant::now(), 0, None, None);
        self.list.push(Record { asked, at, in_flight, status, ended, retry_after, login });
        self.list.len() - 1
    }

    pub(super) fn is_login(&self, number: usize) -> bool {
        self.list[number].login
    }

    pub(super) fn decided(&mut self, number: usize, answer: &Answer) {
        let wait = answer.header("Retry-After").and_then(|text| text.parse().ok()).map(Duration::from_secs_f64);
        (self.list[number].status, self.list[number].retry_after) = (answer.status, wait);
    }

    pub(super) fn end(&mut self, number: usize) {
        let record = &mut self.list[number];
        record.ended = Some(Instant::now());
        self.open[usize::from(record.login)] -= 1;
    }
}

/// Whether a preference asks for immutable ids; the quotes are optional at the real one.
pub(super) fn is_immutable(prefer: &str) -> bool {
    prefer.replace('"', "").eq_ignore_ascii_case("IdType=ImmutableId")
}
