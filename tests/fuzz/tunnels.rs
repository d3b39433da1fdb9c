//! What must hold for any talk around the TLS handshake of a tunnel.

use std::net::{IpAddr, SocketAddr};

use pertuis::config::Endpoint;
use pertuis::config::protocol::{Authentication, Kind, Protocol};
use pertuis::config::value;
use pertuis::model::Fault;
use pertuis::secret::Secret;
use pertuis::tunnel::protocol::{Ending, Rehearsal, rehearse};

/// A negotiation (first line: the protocol's word, then `client` or `server`, then `tls` for what is said inside it; any
/// other line chooses one too) with what a client and, behind a line `===`, a server sends: what is read and said is
/// bounded, what follows is left alone, no secret is in a sentence, and SOCKS leads to no address of this machine.
pub(crate) fn tunnel_protocol(bytes: &[u8]) {
    let split = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (first, rest) = bytes.split_at(split);
    let rest = rest.get(1..).unwrap_or_default();
    let between = b"\n===\n";
    let (local, remote) = match rest.windows(between.len()).position(|window| window == between) {
        // the client's last line is whole
        Some(at) => (&rest[..=at], &rest[at + between.len()..]),
        None => (rest, rest),
    };
    let words: Vec<String> = String::from_utf8_lossy(first).split_whitespace().map(str::to_owned).collect();
    let sum = first.iter().fold(0_usize, |sum, byte| sum + usize::from(*byte));
    let word = |word: &str| words.iter().any(|said| said == word);
    let kind = KINDS.into_iter().find(|kind| word(kind.as_str())).unwrap_or(KINDS[sum % KINDS.len()]);
    let protocol = protocol(kind, word("login"));
    let (client, tls) = (word("client"), word("tls"));
    let played = rehearse(&protocol, client, tls, (local, remote), look_up);
    stays_within(&played, local, remote);
    if let Ending::Failed(fault) = &played.ending {
        keeps_the_password(bytes, fault);
    }
    if let (Ending::Target(to), Kind::Socks) = (&played.ending, kind) {
        to.iter().for_each(leads_elsewhere);
    }
    // what lay behind made no difference, unless it was refused for being there
    let (taken_local, taken_remote) = played.taken;
    let again = rehearse(&protocol, client, tls, (&local[..taken_local], &remote[..taken_remote]), look_up);
    assert_eq!(again.taken, played.taken);
    if matches!(played.ending, Ending::Failed(_)) && !matches!(again.ending, Ending::Failed(_)) {
        assert!(again.said.starts_with(&played.said), "more was said before something was refused");
    } else {
        assert_eq!(again.said, played.said);
        let kind_of = std::mem::discriminant::<Ending>;
        assert_eq!(kind_of(&again.ending), kind_of(&played.ending), "{:?} became {:?}", played.ending, again.ending);
    }
}

fn stays_within(played: &Rehearsal, local: &[u8], remote: &[u8]) {
    let (from_local, from_remote) = played.taken;
    assert!(from_local <= local.len() && from_remote <= remote.len());
    assert!(from_local + from_remote <= MOST, "{:?} read", played.taken);
    let said: usize = played.said.iter().map(|(_, words)| words.len()).sum();
    assert!(said <= 128 * (from_local + from_remote) + 4096, "{said} said for {:?}", played.taken);
}

/// What a peer may have sent itself is no leak.
fn keeps_the_password(bytes: &[u8], fault: &Fault) {
    super::one_line(&fault.text);
    for secret in
        [PASSWORD, "bm90LWluLWEtc2VudGVuY2U=", "AGpvZQBub3QtaW4tYS1zZW50ZW5jZQ==", "am9lOm5vdC1pbi1hLXNlbnRlbmNl"]
    {
        if !bytes.windows(secret.len()).any(|window| window == secret.as_bytes()) {
            assert!(!fault.text.en.contains(secret) && !fault.text.fr.contains(secret), "{fault}");
        }
    }
}

fn leads_elsewhere(to: &Endpoint) {
    let host = to.tcp().and_then(|address| address.host.as_deref()).expect("a host");
    let ip: IpAddr = host.parse().expect("an address");
    let ip = ip.to_canonical();
    assert!(!ip.is_loopback() && !ip.is_unspecified(), "{to}");
}

fn protocol(kind: Kind, login: bool) -> Protocol {
    let host = matches!(kind, Kind::Connect | Kind::Socks).then(|| "far.test:993".to_owned());
    let destination = host.as_deref().and_then(|host| value::target(host).ok());
    Protocol {
        kind,
        host,
        destination,
        username: Some("joe".to_owned()),
        password: Some(Secret::new(PASSWORD)),
        authentication: if login { Authentication::Login } else { Authentication::Plain },
        headers: vec!["X-One: 1".to_owned()],
    }
}

/// An address is itself; half of all names are unknown.
fn look_up(host: &str, port: u16) -> Vec<SocketAddr> {
    match host.parse() {
        Ok(ip) => vec![SocketAddr::new(ip, port)],
        Err(_) if host.len().is_multiple_of(2) => {
            vec![SocketAddr::from(([127, 0, 0, 1], port)), SocketAddr::from(([192, 0, 2, 1], port))]
        }
        Err(_) => Vec::new(),
    }
}

const PASSWORD: &str = "not-in-a-sentence";
/// As in `machine.rs`.
const MOST: usize = 64 * 1024;
const KINDS: [Kind; 10] = [
    Kind::Connect,
    Kind::Imap,
    Kind::Ldap,
    Kind::Nntp,
    Kind::Pgsql,
    Kind::Pop3,
    Kind::Proxy,
    Kind::ProxyV2,
    Kind::Smtp,
    Kind::Socks,
];
