//! Why an address could not be bound, in words that say what to do.
//!
//! English begins as stunnel's log line does (`Address already in use (98)`), which scripts look for.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use super::BindError;
use crate::config::Address;
use crate::text;
use crate::text::Text;

impl BindError {
    /// What the system says, who holds the address, and the remedy.
    pub fn reason(&self) -> Text {
        let said = said(&self.error);
        let (en, fr) = match &self.holder {
            Some(holder) => (format!(", held by {holder}"), format!(", occupé par {holder}")),
            None => (String::new(), String::new()),
        };
        let remedy = self.remedy();
        let (remedy_en, remedy_fr) = match &remedy {
            Some(remedy) => (format!("; {}", remedy.en), format!(" ; {}", remedy.fr)),
            None => (String::new(), String::new()),
        };
        let (said_en, said_fr) = (said.en, said.fr);
        text!("{said_en}{en}{remedy_en}", "{said_fr}{fr}{remedy_fr}")
    }

    fn remedy(&self) -> Option<Text> {
        if Text::within(&self.error).is_some() {
            return None;
        }
        match self.address.parse::<SocketAddr>() {
            Ok(target) => of_port(self.error.kind(), target),
            Err(_) => of_file(self.error.kind(), Path::new(&self.address)),
        }
    }
}

/// An address of a name that was left out because others of it were bound.
pub(super) fn left_out(error: &BindError) -> Text {
    let (address, reason) = (&error.address, error.reason());
    let (en, fr) = (reason.en, reason.fr);
    text!(
        "Binding to {address}: {en}; the other addresses serve",
        "Écoute sur {address} : {fr} ; les autres adresses servent"
    )
}

/// `::` that could be had for IPv6 alone.
pub(super) fn only_ipv6(target: SocketAddr) -> Text {
    let port = target.port();
    text!(
        "{target} serves IPv6 alone: port {port} of IPv4 is taken already; `socket = a:IPV6_V6ONLY=yes` if that is meant",
        "{target} ne sert qu'IPv6 : le port {port} d'IPv4 est déjà pris ; `socket = a:IPV6_V6ONLY=yes` si c'est voulu"
    )
}

/// A name that the resolver does not know (stunnel: `Error resolving "h": …`).
pub(super) fn unresolved(address: &Address, host: &str, error: &io::Error) -> BindError {
    let text = text!(
        "Error resolving {host:?}: {error}; `accept` takes a name or an address of this machine",
        "impossible de résoudre {host:?} : {error} ; `accept` attend un nom ou une adresse de cette machine"
    );
    BindError { address: address.to_string(), error: text.into_io(io::ErrorKind::NotFound), holder: None }
}

/// A name without addresses.
pub(super) fn no_address(address: &Address, host: &str) -> BindError {
    let text = text!("Error resolving {host:?}: it has no address", "le nom {host:?} n'a pas d'adresse");
    BindError { address: address.to_string(), error: text.into_io(io::ErrorKind::NotFound), holder: None }
}

/// The system's words with the number as stunnel writes it.
fn said(error: &io::Error) -> Text {
    let plain = Text::io(error);
    let Some(code) = error.raw_os_error() else { return plain };
    let suffix = format!(" (os error {code})");
    let short = |words: &str| words.strip_suffix(&suffix).unwrap_or(words).to_owned();
    let (en, fr) = (short(&plain.en), short(&plain.fr));
    text!("{en} ({code})", "{fr} ({code})")
}

fn of_port(kind: io::ErrorKind, target: SocketAddr) -> Option<Text> {
    let port = target.port();
    Some(match kind {
        io::ErrorKind::PermissionDenied if port < FIRST_FREE_PORT => text!(
            "ports below {FIRST_FREE_PORT} are root's: start as root with `setuid`, or give the unit \
             AmbientCapabilities=CAP_NET_BIND_SERVICE",
            "les ports sous {FIRST_FREE_PORT} sont réservés à root : démarrer en root avec `setuid`, ou donner à l'unité \
             AmbientCapabilities=CAP_NET_BIND_SERVICE"
        ),
        io::ErrorKind::AddrNotAvailable => text!(
            "no interface of this machine has this address: correct `accept`, or, for one that comes later, \
             `socket = a:IP_FREEBIND=yes`",
            "aucune interface de cette machine n'a cette adresse : corriger `accept` ou, si elle vient plus tard, \
             `socket = a:IP_FREEBIND=yes`"
        ),
        io::ErrorKind::AddrInUse => text!(
            "stop what listens there (`ss -ltnp sport = :{port}` shows it) or choose another port",
            "arrêter ce qui y écoute (`ss -ltnp sport = :{port}` le montre) ou choisir un autre port"
        ),
        _ => return None,
    })
}

fn of_file(kind: io::ErrorKind, path: &Path) -> Option<Text> {
    let directory = path.parent().unwrap_or(Path::new("/")).display();
    Some(match kind {
        io::ErrorKind::NotFound => text!(
            "there is no directory {directory}: create it (RuntimeDirectory= of the unit does so below /run)",
            "le répertoire {directory} n'existe pas : le créer (RuntimeDirectory= de l'unité le fait sous /run)"
        ),
        io::ErrorKind::PermissionDenied => text!(
            "the service must be allowed to write to {directory}",
            "le service doit pouvoir écrire dans {directory}"
        ),
        io::ErrorKind::AddrInUse => text!(
            "stop what listens there, or choose another path",
            "arrêter ce qui y écoute, ou choisir un autre chemin"
        ),
        _ => return None,
    })
}

/// `net.ipv4.ip_unprivileged_port_start` of ip(7), as it is where nobody changed it.
const FIRST_FREE_PORT: u16 = 1024;
