//! Connecting to a host by name: every address in turn, a time limit for each, and an error that says which.
//!
//! Not a pool: each call makes a connection. A [`Dialler`] remembers resolved addresses for a minute and forgets
//! them as soon as a connection to them fails, since stunnel's habit of resolving once for ever is what its users
//! suffer from when a provider's addresses change.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Instant;

use super::options;
use super::stream::{Addr, Stream};
use crate::config::tunnel::{Failover, Side, SocketOption};
use crate::config::{Address, Endpoint};
use crate::model::{Code, Fault};
use crate::text;
use crate::text::Text;

/// Resolves `address` and connects to the first of its addresses that answers within `timeout_each`.
///
/// # Errors
/// Code `resolve` when there is no such name, `connect` when nothing answered; host, addresses and reasons are named.
pub async fn dial(address: &Address, timeout_each: Duration) -> Result<TcpStream, Fault> {
    let targets = resolve(address).await?;
    let mut failures = Vec::new();
    for target in targets {
        match attempt(target, timeout_each, &[]).await {
            Ok(stream) => return Ok(stream),
            Err(reason) => failures.push((Addr::Ip(target), reason)),
        }
    }
    Err(nothing_answered(address, &failures))
}

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
    /// `socket`; those of [`Side::Remote`] count.
    pub options: Vec<SocketOption>,
    /// `local`: source address of the connection, a name or an address.
    pub local: Option<String>,
    /// `transparent = source`: the connection comes from the client's own address.
    pub transparent_source: bool,
}

/// One or more addresses that stand in for each other (`connect` lines, `failover`).
#[derive(Debug)]
pub struct Dialler {
    endpoints: Vec<Endpoint>,
    failover: Failover,
    /// `delay = yes`: nothing is remembered.
    remember: bool,
    timeout_each: Duration,
    options: Vec<SocketOption>,
    known: Mutex<Vec<Option<Known>>>,
    turn: AtomicUsize,
}

#[derive(Clone, Debug)]
struct Known {
    targets: Vec<Addr>,
    since: Instant,
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
}

/// The place of an address in the list, and one of the addresses it resolved to.
type Candidate = (usize, Addr);

impl Dialler {
    /// For these addresses; nothing is resolved yet.
    pub fn new(dial: DialOptions) -> Self {
        let DialOptions { endpoints, failover, delay, timeout_each, options, .. } = dial;
        let known = Mutex::new(vec![None; endpoints.len()]);
        // stunnel starts its round at random, so that many clients spread over the servers from the first moment
        let start = crate::backoff::jitter(Duration::from_secs(1)).as_millis();
        let turn = AtomicUsize::new(usize::try_from(start).unwrap_or(0));
        Self { endpoints, failover, remember: !delay, timeout_each, options, known, turn }
    }

    /// Connects to the first address that answers. When all that were remembered fail, names are resolved again
    /// and what is new is tried too.
    ///
    /// `from`: the client's address, for `transparent = source` and nothing else.
    ///
    /// # Errors
    /// As [`dial`].
    pub async fn dial(&self, from: Option<SocketAddr>) -> Result<Dialled, Fault> {
        self.dial_preferring(from, None).await
    }

    /// The same, this target first if it is among them: where a resumed session was before (stunnel's persistence).
    ///
    /// # Errors
    /// As [`dial`].
    pub async fn dial_preferring(&self, _from: Option<SocketAddr>, _first: Option<&Addr>) -> Result<Dialled, Fault> {
        let mut failures = Vec::new();
        let mut fault = None;
        let mut tried = Vec::new();
        // prio: one address after another, so that a later name is not even resolved while the first one answers
        let rounds = match self.failover {
            Failover::Prio => (0..self.endpoints.len()).map(|index| vec![index]).collect(),
            Failover::RoundRobin => vec![(0..self.endpoints.len()).collect::<Vec<_>>()],
        };
        for round in rounds {
            for fresh in [false, true] {
                let (candidates, remembered) = self.candidates(&round, fresh, &mut fault).await;
                for (index, target) in candidates {
                    if tried.contains(&target) {
                        continue;
                    }
                    tried.push(target.clone());
                    match self.attempt(&target).await {
                        Ok(stream) => {
                            let host = self.endpoints[index].tcp().map_or("localhost", host_of).to_owned();
                            return Ok(Dialled { stream, host, target });
                        }
                        Err(reason) => failures.push((target, reason)),
                    }
                }
                self.forget(&round);
                if !remembered {
                    break;
                }
            }
        }
        Err(self.fault(fault, &failures))
    }

    /// What to try, and whether any of it was remembered rather than resolved just now.
    async fn candidates(&self, round: &[usize], fresh: bool, fault: &mut Option<Fault>) -> (Vec<Candidate>, bool) {
        let (mut list, mut remembered) = (Vec::new(), false);
        for &index in round {
            if let Some(targets) = self.remembered(index).filter(|_| !fresh) {
                remembered = true;
                list.extend(targets.into_iter().map(|target| (index, target)));
                continue;
            }
            match self.resolve(index).await {
                Ok(targets) => {
                    self.lock()[index] = Some(Known { targets: targets.clone(), since: Instant::now() });
                    list.extend(targets.into_iter().map(|target| (index, target)));
                }
                Err(error) => *fault = Some(error),
            }
        }
        if self.failover == Failover::RoundRobin && !list.is_empty() && !fresh {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) % list.len();
            list.rotate_left(turn);
        }
        (list, remembered)
    }

    fn remembered(&self, index: usize) -> Option<Vec<Addr>> {
        let known = self.lock();
        let known = known[index].as_ref().filter(|known| self.remember && known.since.elapsed() < REMEMBERED)?;
        Some(known.targets.clone())
    }

    fn forget(&self, round: &[usize]) {
        let mut known = self.lock();
        for &index in round {
            known[index] = None;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Option<Known>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn resolve(&self, index: usize) -> Result<Vec<Addr>, Fault> {
        match &self.endpoints[index] {
            Endpoint::Tcp(address) => Ok(resolve(address).await?.into_iter().map(Addr::Ip).collect()),
            Endpoint::Unix(path) => Ok(vec![Addr::Unix(Some(path.clone()))]),
        }
    }

    async fn attempt(&self, target: &Addr) -> Result<Stream, Text> {
        match target {
            Addr::Ip(target) => attempt(*target, self.timeout_each, &self.options).await.map(Stream::Tcp),
            Addr::Unix(path) => connect_unix(path.as_deref().unwrap_or(Path::new(""))).await,
        }
    }

    fn fault(&self, unresolved: Option<Fault>, failures: &[(Addr, Text)]) -> Fault {
        match (unresolved, &self.endpoints[..]) {
            (Some(fault), _) if failures.is_empty() => fault,
            (_, [Endpoint::Tcp(address)]) => nothing_answered(address, failures),
            (_, several) => {
                let names = several.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                unreachable(&names, failures)
            }
        }
    }
}

/// Where the client wanted to go before the firewall redirected its connection to us (`SO_ORIGINAL_DST` of Linux's
/// connection tracking, `IP6T_SO_ORIGINAL_DST`). A connection that was not translated (TPROXY) keeps that address as its
/// own end, which is then the answer.
///
/// # Errors
/// A Unix socket, a system without it, and a connection that was made to our own listener rather than redirected.
pub fn original_destination(stream: &Stream) -> io::Result<SocketAddr> {
    let at = stream.local_addr()?;
    at.ip().ok_or_else(|| io::ErrorKind::Unsupported.into())
}

/// The host that is dialled for `address`: `localhost` where none is written, as in stunnel.
pub fn host_of(address: &Address) -> &str {
    address.host.as_deref().unwrap_or("localhost")
}

/// The addresses of `address`, at least one.
///
/// # Errors
/// Code `resolve`: there is no such name, or nobody who knows it.
pub async fn resolve(address: &Address) -> Result<Vec<SocketAddr>, Fault> {
    let host = host_of(address);
    let found = tokio::net::lookup_host((host, address.port)).await;
    let reason = match found {
        Ok(list) => {
            let mut targets: Vec<SocketAddr> = Vec::new();
            for target in list {
                if !targets.contains(&target) {
                    targets.push(target);
                }
            }
            if !targets.is_empty() {
                return Ok(targets);
            }
            text!("no address", "aucune adresse")
        }
        Err(error) => unknown_name(&error),
    };
    let Text { en, fr } = reason;
    Err(Fault::new(
        Code::Resolve,
        text!(
            "cannot resolve the host name {host}: {en}; check its spelling and this machine's DNS",
            "impossible de résoudre le nom d'hôte {host} : {fr} ; vérifiez son orthographe et le DNS de cette machine"
        ),
    ))
}

/// What the resolver said, which is English only (`gai_strerror(3)`).
fn unknown_name(error: &std::io::Error) -> Text {
    let en = error.to_string();
    let fr = if en.contains("not known") || en.contains("No address") {
        "ce nom est inconnu"
    } else if en.contains("Temporary failure") {
        "aucun serveur DNS ne répond"
    } else {
        return Text::same(en);
    };
    Text { en: en.into(), fr: fr.into() }
}

async fn attempt(target: SocketAddr, limit: Duration, settings: &[SocketOption]) -> Result<TcpStream, Text> {
    let socket = if target.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let socket = socket.map_err(|error| Text::io(&error))?;
    // buffer sizes take part in the handshake's window scale: before the connection
    let _ = options::apply(&SockRef::from(&socket), options::Family::of(target), Side::Remote, settings);
    match tokio::time::timeout(limit, socket.connect(target)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(reason(&error)),
        Err(_) => {
            let seconds = limit.as_secs_f32();
            Err(text!("no answer within {seconds} s", "pas de réponse en {seconds} s"))
        }
    }
}

#[cfg(unix)]
async fn connect_unix(path: &Path) -> Result<Stream, Text> {
    tokio::net::UnixStream::connect(path).await.map(Stream::Unix).map_err(|error| reason(&error))
}

#[cfg(not(unix))]
async fn connect_unix(_path: &Path) -> Result<Stream, Text> {
    Err(text!("this system has no Unix sockets", "ce système n'a pas de sockets Unix"))
}

fn reason(error: &io::Error) -> Text {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => text!(
            "connection refused (nothing listens there, or a firewall says no)",
            "connexion refusée (rien n'y écoute, ou un pare-feu s'y oppose)"
        ),
        _ => Text::io(error),
    }
}

fn nothing_answered(address: &Address, failures: &[(Addr, Text)]) -> Fault {
    let host = host_of(address);
    let port = address.port;
    let name = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    unreachable(&name, failures)
}

fn unreachable(name: &str, failures: &[(Addr, Text)]) -> Fault {
    let list = |pick: fn(&Text) -> &str| {
        failures.iter().map(|(target, reason)| format!("{target} {}", pick(reason))).collect::<Vec<_>>().join("; ")
    };
    let (en, fr) = (list(|text| &text.en), list(|text| &text.fr));
    Fault::new(
        Code::Connect,
        text!(
            "cannot connect to {name}: {en}; check host, port and firewall",
            "connexion à {name} impossible : {fr} ; vérifiez l'hôte, le port et le pare-feu"
        ),
    )
}

/// How long resolved addresses are remembered: short beside any DNS record's life, long beside a burst of
/// connections.
const REMEMBERED: Duration = Duration::from_mins(1);

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    fn at(host: &str, port: u16) -> Address {
        Address { host: Some(host.to_owned()), port }
    }

    async fn closed_port() -> u16 {
        TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
    }

    fn dialler(addresses: Vec<Address>, failover: Failover) -> Dialler {
        Dialler::new(DialOptions {
            endpoints: addresses.into_iter().map(Endpoint::Tcp).collect(),
            failover,
            delay: false,
            timeout_each: Duration::from_secs(5),
            options: Vec::new(),
            local: None,
            transparent_source: false,
        })
    }

    #[tokio::test]
    async fn a_refused_connection_names_host_and_address() {
        let port = closed_port().await;
        let fault = dial(&at("127.0.0.1", port), Duration::from_secs(5)).await.unwrap_err();
        assert_eq!(fault.code, Code::Connect);
        assert!(fault.text.en.contains(&format!("127.0.0.1:{port}")) && fault.text.en.contains("refused"), "{fault}");
    }

    #[tokio::test]
    async fn a_name_that_does_not_exist_is_a_resolve_fault() {
        let fault = dial(&at("no-such-host.invalid", 1), Duration::from_secs(5)).await.unwrap_err();
        assert_eq!(fault.code, Code::Resolve);
        assert!(fault.text.en.contains("no-such-host.invalid"), "{fault}");
    }

    #[tokio::test]
    async fn prio_takes_the_first_that_answers_and_round_robin_takes_turns() {
        let (one, two) =
            (TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap());
        let ports = [one.local_addr().unwrap().port(), two.local_addr().unwrap().port()];
        let dead = closed_port().await;
        let prio =
            dialler(vec![at("127.0.0.1", dead), at("127.0.0.1", ports[0]), at("127.0.0.1", ports[1])], Failover::Prio);
        for _ in 0..3 {
            assert_eq!(prio.dial(None).await.unwrap().target.ip().unwrap().port(), ports[0]);
        }
        let turns = dialler(ports.iter().map(|port| at("127.0.0.1", *port)).collect(), Failover::RoundRobin);
        let first = turns.dial(None).await.unwrap().target.ip().unwrap().port();
        let second = turns.dial(None).await.unwrap().target.ip().unwrap().port();
        assert_ne!(first, second);
        assert_eq!(turns.dial(None).await.unwrap().target.ip().unwrap().port(), first);
    }

    #[tokio::test]
    async fn an_address_that_fails_is_resolved_again() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dialler = dialler(vec![at("127.0.0.1", listener.local_addr().unwrap().port())], Failover::Prio);
        // as if the name had pointed elsewhere a moment ago
        let stale = vec![Addr::Ip(([127, 0, 0, 1], closed_port().await).into())];
        dialler.lock()[0] = Some(Known { targets: stale, since: Instant::now() });
        assert_eq!(dialler.dial(None).await.unwrap().target, Addr::Ip(listener.local_addr().unwrap()));
    }
}
