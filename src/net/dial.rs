//! Connecting to a host by name: every address in turn, a time limit for each, and an error that says which.
//!
//! Not a pool: each call makes a connection. A [`Dialler`] remembers resolved addresses for a minute and forgets
//! them as soon as a connection to them fails, since stunnel's habit of resolving once for ever is what its users
//! suffer from when a provider's addresses change.

mod attempt;
mod dialler;
mod original;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpStream;

use super::stream::Addr;
use crate::config::{Address, Endpoint};
use crate::model::{Code, Fault};
use crate::text;
use crate::text::Text;
use attempt::Way;
pub use dialler::{DialOptions, Dialled, Dialler};
pub use original::original_destination;

/// Resolves `address` and connects to the first of its addresses that answers within `timeout_each`.
///
/// # Errors
/// Code `resolve` when there is no such name, `connect` when nothing answered; host, addresses and reasons are named.
pub async fn dial(address: &Address, timeout_each: Duration) -> Result<TcpStream, Fault> {
    let targets = resolve(address).await?;
    let mut failures = Vec::new();
    for target in targets {
        match attempt::tcp(target, &Way::plain(timeout_each)).await {
            Ok(stream) => return Ok(stream),
            Err(reason) => failures.push((Addr::Ip(target), reason)),
        }
    }
    Err(nothing_answered(address, &failures))
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
        // RFC 6761, 6.3: it means this machine, also inside a jail where nobody says so
        Err(_) if host.eq_ignore_ascii_case("localhost") => {
            let both = [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()];
            return Ok(both.map(|ip| SocketAddr::new(ip, address.port)).to_vec());
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

/// What to say when none of `several` could be connected to.
fn none_answered(several: &[Endpoint], failures: &[(Addr, Text)]) -> Fault {
    match several {
        [Endpoint::Tcp(address)] => nothing_answered(address, failures),
        [Endpoint::Unix(path)] => {
            let (en, fr) = (listed(failures, |text| &text.en), listed(failures, |text| &text.fr));
            let path = path.display();
            Fault::new(
                Code::Connect,
                text!(
                    "cannot connect to {path}: {en}; check that the service behind it runs and that its socket is for us",
                    "connexion à {path} impossible : {fr} ; vérifiez que le service derrière fonctionne et que sa socket \
                     nous est ouverte"
                ),
            )
        }
        several => {
            let names = several.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            unreachable(&names, failures)
        }
    }
}

fn nothing_answered(address: &Address, failures: &[(Addr, Text)]) -> Fault {
    let host = host_of(address);
    let port = address.port;
    let name = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    unreachable(&name, failures)
}

fn unreachable(name: &str, failures: &[(Addr, Text)]) -> Fault {
    let (en, fr) = (listed(failures, |text| &text.en), listed(failures, |text| &text.fr));
    Fault::new(
        Code::Connect,
        text!(
            "cannot connect to {name}: {en}; check host, port and firewall",
            "connexion à {name} impossible : {fr} ; vérifiez l'hôte, le port et le pare-feu"
        ),
    )
}

fn listed(failures: &[(Addr, Text)], pick: fn(&Text) -> &str) -> String {
    failures.iter().map(|(target, reason)| format!("{target} {}", pick(reason))).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests;
