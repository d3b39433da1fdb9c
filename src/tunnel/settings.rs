//! What the sessions of a tunnel go by: its options, its TLS, where it connects to.
//!
//! Made once for each configuration by [`prepare`], which reads every file and touches no port; sessions hold on to the
//! settings that they began with.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::protocol::Negotiation;
use crate::config::protocol::Kind;
use crate::config::tunnel::VirtualHost;
use crate::config::{self, Address, Check, Endpoint};
use crate::event::{Event, Events, Level};
use crate::model::{Code, Fault, ServiceName};
use crate::net::dial::{DialOptions, Dialler};
use crate::net::stream::Addr;
use crate::text;
use crate::text::Text;
use crate::tls::client::{ClientOptions, ClientTls};
use crate::tls::material;
use crate::tls::server::{ServerOptions, ServerTls};

/// A tunnel whose files are read and whose TLS is built; nothing is bound or dialled yet.
#[derive(Debug)]
pub struct Prepared(pub(super) Arc<Settings>);

/// What the sessions of a tunnel go by.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) tunnel: config::Tunnel,
    pub(super) tls: Mode,
    /// `connect`.
    pub(super) dialler: Dialler,
    /// `redirect`.
    pub(super) redirect: Option<Dialler>,
    /// `protocol`.
    pub(super) negotiation: Option<Negotiation>,
    /// When our own certificate ends, in seconds since 1970.
    pub(super) expiry: Option<i64>,
    /// The virtual hosts that take some of its connections, in the order of the file.
    pub(super) hosts: Vec<Arc<Settings>>,
    /// Where resumable sessions went to.
    pub(super) memory: Mutex<Memory>,
    /// What the probe said last, so that it is told once for each service and not for each connection.
    pub(super) probed: Mutex<Option<String>>,
}

/// Where sessions that may be resumed were connected to, so that they come back there (stunnel's "persistence"): each
/// under a number that travels in its ticket. The oldest are forgotten.
#[derive(Debug, Default)]
pub(super) struct Memory {
    last: u64,
    targets: BTreeMap<u64, Addr>,
}

impl Memory {
    /// A number that no session has.
    pub(super) fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    pub(super) fn remember(&mut self, number: u64, target: Addr, most: usize) {
        self.targets.insert(number, target);
        while self.targets.len() > most {
            self.targets.pop_first();
        }
    }

    pub(super) fn recall(&self, number: u64) -> Option<Addr> {
        self.targets.get(&number).cloned()
    }
}

#[derive(Debug)]
pub(super) enum Mode {
    Client(ClientTls),
    Server(ServerTls),
}

/// Reads the files of a tunnel and of its virtual hosts (`hosts`, in the order of the file), and builds their TLS.
/// Warnings go to `events`.
///
/// # Errors
/// A certificate, key or CA file is missing or of no use (code `config`), naming file and option.
pub fn prepare(tunnel: &config::Tunnel, hosts: &[&config::Tunnel], events: &Events) -> Result<Prepared, Fault> {
    let hosts = hosts.iter().map(|host| Ok(Arc::new(Settings::read(host, Vec::new(), events)?)));
    let hosts = hosts.collect::<Result<Vec<_>, Fault>>()?;
    Ok(Prepared(Arc::new(Settings::read(tunnel, hosts, events)?)))
}

impl Settings {
    fn read(tunnel: &config::Tunnel, hosts: Vec<Arc<Self>>, events: &Events) -> Result<Self, Fault> {
        let warn = |option: &str, text: Text| {
            let place = tunnel.places.of(option);
            let (en, fr) = (text.en, text.fr);
            let text = text!("{place}: {en}", "{place}: {fr}");
            events.emit(Event::new(Level::Warning, "tunnel_warning", text).of(&tunnel.name));
        };
        let tls = if tunnel.client { Mode::Client(client_tls(tunnel)?) } else { Mode::Server(server_tls(tunnel)?) };
        let warnings = match &tls {
            Mode::Client(tls) => tls.warnings(),
            Mode::Server(tls) => tls.warnings(),
        };
        for text in warnings {
            warn(option_of(tunnel, text), text.clone());
        }
        if let Some(text) = weakness(tunnel) {
            events.emit(Event::new(Level::Warning, "tunnel_warning", text).of(&tunnel.name));
        }
        let plain = tunnel.accept.iter().filter(|_| tunnel.client).filter_map(Endpoint::tcp);
        for address in plain.filter(|address| !is_local(address)) {
            warn("accept", open_to_all(tunnel, address));
        }
        let to = |endpoints: &[Endpoint]| Dialler::new(dial_options(tunnel, endpoints));
        Ok(Self {
            tls,
            dialler: to(&tunnel.connect),
            redirect: Some(to(&tunnel.redirect)).filter(|_| !tunnel.redirect.is_empty()),
            negotiation: tunnel.protocol.as_ref().map(|protocol| Negotiation::new(protocol, tunnel.client)),
            expiry: own_expiry(tunnel),
            hosts,
            memory: Mutex::default(),
            probed: Mutex::new(None),
            tunnel: tunnel.clone(),
        })
    }

    /// Those of the file, those of virtual hosts too.
    pub(super) fn diallers(&self) -> Vec<&Dialler> {
        let own = std::iter::once(&self.dialler).chain(&self.redirect);
        own.chain(self.hosts.iter().flat_map(|host| host.diallers())).collect()
    }

    /// What `before` knows of names.
    pub(super) fn learn_from(&self, before: &Self) {
        for ours in self.diallers() {
            before.diallers().into_iter().for_each(|theirs| ours.learn_from(theirs));
        }
    }

    /// Connects to what no line of the file says: what a client asks for.
    pub(super) fn dialler_of(&self, endpoints: &[Endpoint]) -> Dialler {
        Dialler::new(dial_options(&self.tunnel, endpoints))
    }

    /// Whether a program takes the place of `accept`.
    pub(super) fn starts_by_itself(&self) -> bool {
        let config::Tunnel { accept, connect, exec, .. } = &self.tunnel;
        exec.is_some() && accept.is_empty() && !connect.is_empty()
    }

    /// Whether sessions need to know where the firewall redirected them from.
    pub(super) fn wants_destination(&self) -> bool {
        let socks = self.tunnel.protocol.as_ref().is_some_and(|protocol| protocol.kind == Kind::Socks);
        (self.tunnel.client && socks)
            || self.tunnel.transparent.destination
            || self.hosts.iter().any(|host| host.wants_destination())
    }
}

impl Prepared {
    /// The section's name.
    pub fn name(&self) -> &ServiceName {
        &self.0.tunnel.name
    }
}

/// Whether `name`, as a client sent it, is one of `host`: the pattern itself, or `*` with a suffix; case does not count
/// (stunnel 5.75, sni.c). One name of ASCII, as RFC 6066, 3 has it.
pub(super) fn is_named(host: &VirtualHost, name: &str) -> bool {
    match host.pattern.strip_prefix('*') {
        Some(suffix) => {
            let at = name.len().checked_sub(suffix.len());
            at.and_then(|at| name.get(at..)).is_some_and(|end| end.eq_ignore_ascii_case(suffix))
        }
        None => host.pattern.eq_ignore_ascii_case(name),
    }
}

fn dial_options(tunnel: &config::Tunnel, endpoints: &[Endpoint]) -> DialOptions {
    DialOptions {
        endpoints: endpoints.to_vec(),
        failover: tunnel.failover,
        delay: tunnel.delay,
        timeout_each: tunnel.timeout_connect,
        options: tunnel.socket.clone(),
        local: tunnel.local.clone(),
        transparent_source: tunnel.transparent.source,
    }
}

fn client_tls(tunnel: &config::Tunnel) -> Result<ClientTls, Fault> {
    ClientTls::build(&ClientOptions {
        trust: &tunnel.trust,
        cert: tunnel.cert.as_deref(),
        key: tunnel.key.as_deref(),
        sni: &tunnel.sni,
        versions: tunnel.versions,
        resume: tunnel.resume,
        settings: &tunnel.tls,
    })
}

fn server_tls(tunnel: &config::Tunnel) -> Result<ServerTls, Fault> {
    let Some(cert) = tunnel.cert.as_deref() else { return Err(no_certificate(tunnel)) };
    ServerTls::build(&ServerOptions {
        trust: &tunnel.trust,
        cert,
        key: tunnel.key.as_deref(),
        versions: tunnel.versions,
        resume: tunnel.resume,
        settings: &tunnel.tls,
        redirect: !tunnel.redirect.is_empty(),
    })
}

fn own_expiry(tunnel: &config::Tunnel) -> Option<i64> {
    let chain = material::certificates(tunnel.cert.as_deref()?).ok()?;
    chain.first().and_then(material::expiry)
}

/// The option whose file a warning names.
fn option_of(tunnel: &config::Tunnel, text: &Text) -> &'static str {
    let named = |path: &Path| text.en.contains(&*path.to_string_lossy());
    tunnel.files().find(|(_, path)| named(path)).map_or("CAfile", |(option, _)| option)
}

fn is_local(address: &Address) -> bool {
    match &address.host {
        None => false,
        Some(host) => host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()),
    }
}

fn no_certificate(tunnel: &config::Tunnel) -> Fault {
    let name = &tunnel.name;
    Fault::new(
        Code::Config,
        text!(
            "Service [{name}]: TLS server needs a certificate: add `cert` (and `key`), or `client = yes`",
            "Service [{name}] : un serveur TLS a besoin d'un certificat : ajoutez `cert` (et `key`), ou `client = yes`"
        ),
    )
}

/// What stunnel warns of at each start, in its words, where a section follows its rules: `old_leaves` is one of them. Where
/// the line is and what to do about it, the configuration's own warnings say.
fn weakness(tunnel: &config::Tunnel) -> Option<Text> {
    let config::Tunnel { name, trust, client, .. } = tunnel;
    if !client || !trust.old_leaves {
        return None;
    }
    let named = !(trust.check_host.is_empty() && trust.check_email.is_empty() && trust.check_ip.is_empty());
    match trust.check {
        Check::Off => Some(text!(
            "Service [{name}] needs authentication to prevent MITM attacks",
            "Service [{name}] : sans vérification du serveur, un intermédiaire peut tout lire et tout modifier"
        )),
        Check::Chain if !named => Some(text!(
            "Service [{name}] uses \"verifyChain\" without subject checks",
            "Service [{name}] : verifyChain sans vérification du nom"
        )),
        _ => None,
    }
}

fn open_to_all(tunnel: &config::Tunnel, address: &Address) -> Text {
    let name = &tunnel.name;
    let port = address.port;
    text!(
        "Service [{name}] takes plain text on {address} from the whole network; accept = 127.0.0.1:{port} keeps it to \
         this machine",
        "Service [{name}] reçoit en clair sur {address} depuis tout le réseau ; accept = 127.0.0.1:{port} le limite à \
         cette machine"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_virtual_hosts_are_stunnels() {
        let named = |pattern: &str, name: &str| {
            is_named(&VirtualHost { of: ServiceName::new("s"), pattern: pattern.to_owned() }, name)
        };
        for (pattern, name) in [("a.test", "A.TEST"), ("*.b.test", "x.B.test"), ("*.b.test", "x.y.b.test"), ("*", "z")]
        {
            assert!(named(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in
            [("a.test", "b.a.test"), ("*.b.test", "b.test"), ("*.b.test", "é"), ("a*", "ab"), ("*é", "a")]
        {
            assert!(!named(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn only_the_latest_sessions_are_remembered() {
        let mut memory = Memory::default();
        for port in 0..5 {
            let number = memory.number();
            memory.remember(number, Addr::Ip(([127, 0, 0, 1], port).into()), 2);
        }
        let known: Vec<u64> = (1..=5).filter(|number| memory.recall(*number).is_some()).collect();
        assert_eq!(known, [4, 5]);
    }
}
