//! The targets of a tunnel: several addresses that stand in for each other, in the order of `failover`.
//!
//! As in stunnel all addresses of all `connect` lines are one list, and nothing is remembered about a target that did
//! not answer: `prio` begins with the first each time, `rr` with the next one.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::attempt::{self, Source, Way};
use super::{host_of, none_answered, resolve};
use crate::config::Endpoint;
use crate::config::tunnel::{Failover, SocketOption};
use crate::model::{Code, Fault};
use crate::net::stream::{Addr, Stream};
use crate::text;
use crate::text::Text;

/// Where and how a [`Dialler`] connects.
#[derive(Clone, Debug)]
pub struct DialOptions {
    /// `connect`, in the order of the file.
    pub endpoints: Vec<Endpoint>,
    /// `failover`.
    pub failover: Failover,
    /// `delay`: names are resolved for each connection, and the order is that of `prio`.
    pub delay: bool,
    /// `TIMEOUTconnect`: the limit for one attempt.
    pub timeout_each: Duration,
    /// `socket`; those of [`Side::Remote`](crate::config::tunnel::Side::Remote) count.
    pub options: Vec<SocketOption>,
    /// `local`: source address of the connection, a name or an address.
    pub local: Option<String>,
    /// `transparent = source`: the connection comes from the client's own address; comes before `local`.
    pub transparent_source: bool,
}

/// One or more addresses that stand in for each other (`connect` lines, `failover`).
#[derive(Debug)]
pub struct Dialler {
    options: DialOptions,
    known: Mutex<Vec<Option<Known>>>,
    turn: AtomicUsize,
}

/// What a name resolved to. It is kept when it is old: while no name server answers it is all there is, and inside a jail
/// there never is one.
#[derive(Clone, Debug)]
struct Known {
    targets: Vec<Addr>,
    /// `None`: to be asked for again.
    since: Option<Instant>,
}

/// A connection that a [`Dialler`] made.
#[derive(Debug)]
pub struct Dialled {
    /// The connection.
    pub stream: Stream,
    /// The host as the configuration writes it: what the certificate must name.
    pub host: String,
    /// The address that answered.
    pub target: Addr,
    /// Those before it that did not, and why.
    pub failed: Vec<(Addr, Text)>,
}

/// The place of an address in the list, and one of the addresses it resolved to.
type Candidate = (usize, Addr);

/// What one call of [`Dialler::dial`] has done so far.
#[derive(Default)]
struct Progress {
    failed: Vec<(Addr, Text)>,
    unresolved: Option<Fault>,
}

impl Dialler {
    /// For these addresses; nothing is resolved yet.
    pub fn new(mut options: DialOptions) -> Self {
        if options.delay {
            // stunnel(8), `delay`
            options.failover = Failover::Prio;
        }
        let known = Mutex::new(vec![None; options.endpoints.len()]);
        // stunnel starts its round at random, so that many clients spread over the servers from the first moment
        let start = crate::backoff::jitter(Duration::from_secs(1)).as_millis();
        let turn = AtomicUsize::new(usize::try_from(start).unwrap_or(0));
        Self { options, known, turn }
    }

    /// Resolves every name now, where that can be done: before the process enters a jail without a resolver.
    pub async fn resolve_all(&self) {
        let every: Vec<usize> = (0..self.options.endpoints.len()).collect();
        // who cannot be found now is asked for at the first connection, which says so
        self.candidates(&every, true, &mut Progress::default()).await;
    }

    /// Takes over what `other` knows of the same endpoints: a reload must not depend on a name server.
    pub fn learn_from(&self, other: &Self) {
        let theirs = other.lock().clone();
        let mut ours = self.lock();
        for (endpoint, known) in other.options.endpoints.iter().zip(theirs) {
            for (place, _) in self.options.endpoints.iter().enumerate().filter(|(_, own)| *own == endpoint) {
                ours[place].clone_from(&known);
            }
        }
    }

    /// Connects to the first address that answers. When all that were remembered fail, names are resolved again
    /// and what is new is tried too. `from`: the client's address, for `transparent = source` and nothing else; a client
    /// without one (Unix socket) is dialled for from our own.
    ///
    /// # Errors
    /// As [`dial`](super::dial); `local` that cannot be resolved.
    pub async fn dial(&self, from: Option<SocketAddr>) -> Result<Dialled, Fault> {
        self.dial_preferring(from, None).await
    }

    /// The same, this target first if it is among them: where a resumed session was before (stunnel's persistence).
    ///
    /// # Errors
    /// As [`dial`](super::dial).
    pub async fn dial_preferring(&self, from: Option<SocketAddr>, first: Option<&Addr>) -> Result<Dialled, Fault> {
        let way =
            Way { limit: self.options.timeout_each, options: &self.options.options, source: self.source(from).await? };
        let mut progress = Progress::default();
        for round in self.rounds(first.is_some()) {
            for fresh in [false, true] {
                let (candidates, remembered) = self.candidates(&round, fresh, &mut progress).await;
                let candidates = preferring(candidates, first);
                if let Some((index, target, stream)) = first_that_answers(candidates, &way, &mut progress).await {
                    let host = self.options.endpoints[index].tcp().map_or("localhost", host_of).to_owned();
                    return Ok(Dialled { stream, host, target, failed: progress.failed });
                }
                self.forget(&round);
                if !remembered {
                    break;
                }
            }
        }
        Err(match progress.unresolved {
            Some(fault) if progress.failed.is_empty() => fault,
            _ => none_answered(&self.options.endpoints, &progress.failed),
        })
    }

    /// Which lines are resolved together. For prio one after another, so that a later name is not even asked for while
    /// the first one answers.
    fn rounds(&self, searching: bool) -> Vec<Vec<usize>> {
        let all = 0..self.options.endpoints.len();
        match self.options.failover {
            Failover::Prio if !searching => all.map(|index| vec![index]).collect(),
            _ => vec![all.collect()],
        }
    }

    async fn source(&self, from: Option<SocketAddr>) -> Result<Source, Fault> {
        if let Some(from) = from.filter(|_| self.options.transparent_source) {
            // of a client of IPv4 on a socket of IPv6
            return Ok(Source::Client(SocketAddr::new(from.ip().to_canonical(), from.port())));
        }
        let Some(name) = &self.options.local else { return Ok(Source::Any) };
        match tokio::net::lookup_host((name.as_str(), 0)).await {
            Ok(addresses) => Ok(Source::Local { name: name.clone(), addresses: addresses.collect() }),
            Err(error) => Err(no_local(name, &error)),
        }
    }

    /// What to try, and whether any of it was remembered rather than resolved just now.
    async fn candidates(&self, round: &[usize], fresh: bool, progress: &mut Progress) -> (Vec<Candidate>, bool) {
        let (mut list, mut remembered) = (Vec::new(), false);
        for &index in round {
            if let Some(targets) = self.remembered(index).filter(|_| !fresh) {
                remembered = true;
                list.extend(targets.into_iter().map(|target| (index, target)));
                continue;
            }
            match self.resolve(index).await {
                Ok(targets) => {
                    self.lock()[index] = Some(Known { targets: targets.clone(), since: Some(Instant::now()) });
                    list.extend(targets.into_iter().map(|target| (index, target)));
                }
                Err(error) => {
                    progress.unresolved = Some(error);
                    list.extend(self.known_before(index).into_iter().map(|target| (index, target)));
                }
            }
        }
        if self.options.failover == Failover::RoundRobin && !list.is_empty() && !fresh {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) % list.len();
            list.rotate_left(turn);
        }
        (list, remembered)
    }

    fn remembered(&self, index: usize) -> Option<Vec<Addr>> {
        let known = self.lock();
        let recent = |since: Instant| since.elapsed() < REMEMBERED;
        let fresh = |known: &&Known| !self.options.delay && known.since.is_some_and(recent);
        Some(known[index].as_ref().filter(fresh)?.targets.clone())
    }

    /// What a name resolved to before nobody knew it; good for another while, so that not each connection waits for a
    /// name server that does not answer.
    fn known_before(&self, index: usize) -> Vec<Addr> {
        let mut known = self.lock();
        let Some(known) = known[index].as_mut().filter(|_| !self.options.delay) else { return Vec::new() };
        known.since = Some(Instant::now());
        known.targets.clone()
    }

    pub(super) fn forget(&self, round: &[usize]) {
        let mut known = self.lock();
        for &index in round {
            if let Some(known) = &mut known[index] {
                known.since = None;
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Option<Known>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn resolve(&self, index: usize) -> Result<Vec<Addr>, Fault> {
        match &self.options.endpoints[index] {
            Endpoint::Tcp(address) => Ok(resolve(address).await?.into_iter().map(Addr::Ip).collect()),
            Endpoint::Unix(path) => Ok(vec![Addr::Unix(Some(path.clone()))]),
        }
    }
}

/// The preferred one first, the others in their order.
fn preferring(mut list: Vec<Candidate>, first: Option<&Addr>) -> Vec<Candidate> {
    let place = first.and_then(|first| list.iter().position(|(_, target)| target == first));
    if let Some(place) = place {
        list[..=place].rotate_right(1);
    }
    list
}

async fn first_that_answers(
    candidates: Vec<Candidate>,
    way: &Way<'_>,
    progress: &mut Progress,
) -> Option<(usize, Addr, Stream)> {
    for (index, target) in candidates {
        // two lines may lead to one address, and a name resolved again to what was tried
        if progress.failed.iter().any(|(tried, _)| *tried == target) {
            continue;
        }
        let ended = match &target {
            Addr::Ip(target) => attempt::tcp(*target, way).await.map(Stream::Tcp),
            Addr::Unix(path) => attempt::unix(path.as_deref().unwrap_or(Path::new("")), way.limit).await,
        };
        match ended {
            Ok(stream) => return Some((index, target, stream)),
            Err(reason) => progress.failed.push((target, reason)),
        }
    }
    None
}

fn no_local(name: &str, error: &std::io::Error) -> Fault {
    Fault::new(
        Code::Resolve,
        text!(
            "cannot resolve local = {name}: {error}; it must be a name or an address of this machine, without a port",
            "impossible de résoudre local = {name} : {error} ; ce doit être un nom ou une adresse de cette machine, sans \
             port"
        ),
    )
}

/// How long resolved addresses are remembered: short beside any DNS record's life, long beside a burst of
/// connections.
const REMEMBERED: Duration = Duration::from_mins(1);

#[cfg(test)]
impl Dialler {
    /// As if the name of a line had pointed elsewhere a moment ago.
    pub(super) fn remember(&self, index: usize, targets: Vec<Addr>) {
        self.lock()[index] = Some(Known { targets, since: Some(Instant::now()) });
    }
}
