//! Before a reload: can the addresses be bound that this process does not hold yet?
//!
//! Each is bound for a moment and let go again, so that a port that is taken, or one below 1024 after root was given up,
//! is a mistake of the new file and not the end of the old one. Not a promise: between this and the real thing somebody
//! else may come, and then the tunnel tries again as at the start; so it does with a name that takes too long to look up.

use std::time::Duration;

use crate::config::tunnel::Side;
use crate::config::{Endpoint, Remark, Tunnel};
use crate::net::listen::{self, BindError};
use crate::net::stream::Addr;
use crate::text;
use crate::text::Text;

/// What cannot be bound of what `sections` ask for. `old` is what runs, `bound` what it holds; `fallen`: the process
/// was root and is no longer.
pub(super) async fn rehearse(old: &[&Tunnel], bound: &[Addr], sections: &[&Tunnel], fallen: bool) -> Vec<Remark> {
    let mut remarks = Vec::new();
    let end = tokio::time::Instant::now() + LIMIT;
    for section in sections {
        let options: Vec<_> = section.socket.iter().filter(|option| option.side == Side::Accept).cloned().collect();
        for endpoint in section.accept.iter().filter(|endpoint| is_new(endpoint, old, bound)) {
            let attempt = listen::bind(endpoint, &options, &section.owner);
            if let Ok(Err(error)) = tokio::time::timeout_at(end, attempt).await {
                let text = refused(section, endpoint, &error, fallen);
                remarks.push(Remark { place: section.places.of("accept").clone(), text });
            }
        }
    }
    remarks
}

/// Whether binding it for a moment tells something: not what we listen on, nor a port of which we hold another address,
/// nor a path, which would be unlinked.
fn is_new(endpoint: &Endpoint, old: &[&Tunnel], bound: &[Addr]) -> bool {
    let Endpoint::Tcp(address) = endpoint else { return false };
    let ours = bound.iter().any(|addr| matches!(addr, Addr::Ip(addr) if addr.port() == address.port));
    address.port != 0 && !ours && !old.iter().any(|section| section.accept.contains(endpoint))
}

fn refused(section: &Tunnel, endpoint: &Endpoint, error: &BindError, fallen: bool) -> Text {
    let (name, address) = (&section.name, &error.address);
    let Text { en, fr } = error.reason();
    if fallen && error.error.kind() == std::io::ErrorKind::PermissionDenied {
        let port = endpoint.tcp().map_or(0, |address| address.port);
        return text!(
            "Binding service [{name}] to {address}: {en}; port {port} is root's, and this process gave root up (setuid): \
             restart the service instead of reloading it",
            "Service [{name}] : écoute sur {address} impossible : {fr} ; le port {port} est à root, que ce processus n'est \
             plus (setuid) : redémarrer le service au lieu de le recharger"
        );
    }
    text!("Binding service [{name}] to {address}: {en}", "Service [{name}] : écoute sur {address} impossible : {fr}")
}

/// How long all of it may take: the service hears no signal meanwhile.
const LIMIT: Duration = Duration::from_secs(2);
