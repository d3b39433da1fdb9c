//! The way of a tunnel's session, step by step: its files, where it listens, and every target, not the first alone.

use std::io;

use jiff::Timestamp;
use tokio_rustls::client::TlsStream;

use super::{Teller, limited};
use crate::config::tunnel::Side;
use crate::config::{Address, Check, Config, Endpoint, Tunnel};
use crate::event::Events;
use crate::model::{Code, Fault, ServiceName};
use crate::net::ahead::ReadAhead;
use crate::net::dial::{host_of, resolve};
use crate::net::listen::{self, BindError};
use crate::net::stream::Stream;
use crate::supervisor::expiry;
use crate::text;
use crate::text::Text;
use crate::tls::material;
use crate::tunnel;
use crate::tunnel::walk::{Walk, program_fault};

/// Walks it.
pub(super) async fn walk(
    section: &Tunnel,
    config: &Config,
    events: &Events,
    teller: &mut Teller<'_>,
) -> io::Result<()> {
    let name = &section.name;
    let prepared = match tunnel::prepare(section, &[], events) {
        Ok(prepared) => Walk::new(prepared),
        Err(fault) => return teller.step(name, text!("files", "fichiers"), Err(fault)).map(drop),
    };
    if let Some(end) = prepared.own_expiry() {
        teller.step(name, text!("certificate", "certificat"), own_certificate(end))?;
    }
    for endpoint in &section.accept {
        let listening = listens(section, endpoint, config).await;
        teller.step(name, text!("accept", "accept"), listening)?;
    }
    if let Some(exec) = &section.exec {
        let shown = Text::same(exec.program.display().to_string());
        let found = program_fault(&exec.program).map_or(Ok(shown), |text| Err(Fault::new(Code::Config, text)));
        teller.step(name, text!("program", "programme"), found)?;
    }
    for endpoint in section.connect.iter().chain(&section.redirect) {
        let plain = !section.client || section.redirect.contains(endpoint);
        for one in named(name, endpoint, teller).await? {
            target(&prepared, section, &one, plain, teller).await?;
        }
    }
    Ok(())
}

fn own_certificate(end: i64) -> Result<Text, Fault> {
    let now = Timestamp::now();
    let Text { en, fr } = expiry::validity(end, now);
    if end < now.as_second() {
        return Err(Fault::new(Code::Config, text!("{en}: renew `cert`", "{fr} : renouveler `cert`")));
    }
    if expiry::is_soon(end, now) {
        return Ok(text!("{en}: renew it soon", "{fr} : à renouveler bientôt"));
    }
    Ok(Text { en, fr })
}

/// An address of a target, and the name that its certificate must hold.
struct Named {
    endpoint: Endpoint,
    host: String,
}

/// The addresses of a target, after the step that looks its name up.
async fn named(name: &ServiceName, endpoint: &Endpoint, teller: &mut Teller<'_>) -> io::Result<Vec<Named>> {
    let Endpoint::Tcp(address) = endpoint else {
        return Ok(vec![Named { endpoint: endpoint.clone(), host: endpoint.to_string() }]);
    };
    let host = host_of(address).to_owned();
    let found = limited(resolve(address)).await;
    let addresses = found.as_ref().map_or(Vec::new(), Clone::clone);
    let list = found.map(|list| list.iter().map(|address| address.ip().to_string()).collect::<Vec<_>>().join(", "));
    teller.step(name, text!("name", "nom"), list.map(|list| Text::same(format!("{host} = {list}"))))?;
    let each = addresses.into_iter().map(|at| Named {
        endpoint: Endpoint::Tcp(Address { host: Some(at.ip().to_string()), port: at.port() }),
        host: host.clone(),
    });
    Ok(each.collect())
}

/// Connection, protocol, TLS, and what is said inside.
async fn target(walk: &Walk, section: &Tunnel, named: &Named, plain: bool, teller: &mut Teller<'_>) -> io::Result<()> {
    let (name, host) = (&section.name, named.host.as_str());
    let mut stream = match limited(walk.connect(&named.endpoint)).await {
        Ok(dialled) => {
            teller.step(name, text!("connection", "connexion"), Ok(Text::same(dialled.target.to_string())))?;
            dialled.stream
        }
        Err(fault) => return teller.step(name, text!("connection", "connexion"), Err(fault)).map(drop),
    };
    if plain {
        return Ok(());
    }
    let spoken = section.protocol.as_ref().map_or("", |protocol| protocol.kind.as_str());
    if walk.has_protocol() {
        let said = limited(walk.negotiate(&mut stream, host)).await;
        if !teller.step(name, text!("protocol", "protocole"), said.map(|()| Text::same(spoken)))? {
            return Ok(());
        }
    }
    let mut stream = match limited(walk.secure(stream, host)).await {
        Ok(stream) => {
            teller.step(name, text!("TLS", "TLS"), Ok(certificate(section, &stream)))?;
            stream
        }
        Err(fault) => return teller.step(name, text!("TLS", "TLS"), Err(fault)).map(drop),
    };
    if section.protocol.as_ref().is_some_and(|protocol| protocol.username.is_some()) {
        let said = limited(walk.negotiate_inside(&mut stream, host)).await;
        teller.step(name, text!("login", "identification"), said.map(|()| Text::same(spoken)))?;
    }
    Ok(())
}

/// What the handshake showed: how the certificate was judged, the version, and how long it is valid.
fn certificate(section: &Tunnel, stream: &TlsStream<ReadAhead<Stream>>) -> Text {
    let trust = &section.trust;
    let Text { en: chain, fr: chaine } = match trust.check {
        Check::Off => text!("certificate NOT verified", "certificat NON vérifié"),
        Check::Chain if has_name(trust) => text!("chain and name verified", "chaîne et nom vérifiés"),
        Check::Chain => text!("chain verified, name NOT verified", "chaîne vérifiée, nom NON vérifié"),
        Check::Pinned => text!("key pinned", "clé épinglée"),
        Check::ChainAndPinned => text!("chain verified, key pinned", "chaîne vérifiée, clé épinglée"),
    };
    let state = stream.get_ref().1;
    let version = match state.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_3) => "TLS 1.3",
        _ => "TLS 1.2",
    };
    let leaf = state.peer_certificates().and_then(<[_]>::first);
    let Some(end) = leaf.and_then(material::expiry) else {
        return text!("{version}, {chain}", "{version}, {chaine}");
    };
    let Text { en, fr } = expiry::validity(end, Timestamp::now());
    text!("{version}, {chain}, {en}", "{version}, {chaine}, {fr}")
}

fn has_name(trust: &crate::config::Trust) -> bool {
    trust.dialled_name || !trust.check_host.is_empty() || !trust.check_email.is_empty() || !trust.check_ip.is_empty()
}

/// Whether the address is free, or ours: then the service holds it.
async fn listens(section: &Tunnel, endpoint: &Endpoint, config: &Config) -> Result<Text, Fault> {
    let Endpoint::Tcp(address) = endpoint else {
        // binding it for a moment would take it away from whoever listens there
        return Ok(text!("{endpoint} (a Unix socket, not tried)", "{endpoint} (socket Unix, non essayée)"));
    };
    let options: Vec<_> = section.socket.iter().filter(|option| option.side == Side::Accept).cloned().collect();
    match listen::bind(endpoint, &options, &section.owner).await {
        Ok(_) => {
            Ok(text!("{address} is free: the service is not running", "{address} est libre : le service ne tourne pas"))
        }
        Err(error) if error.holder.as_deref().is_some_and(|holder| is_ours(holder, config)) => {
            let holder = error.holder.unwrap_or_default();
            Ok(text!("{address}, listened on by {holder}", "{address}, écouté par {holder}"))
        }
        Err(error) if error.error.kind() == io::ErrorKind::PermissionDenied => {
            let port = address.port;
            Ok(text!(
                "{address}: port {port} is root's, not tried",
                "{address} : le port {port} est à root, non essayé"
            ))
        }
        Err(error) => Err(taken(&error)),
    }
}

fn taken(error: &BindError) -> Fault {
    let address = &error.address;
    let Text { en, fr } = error.reason();
    let text = text!(
        "{address}: {en}; stop who holds it, or choose another port",
        "{address} : {fr} ; arrêter qui l'occupe, ou choisir un autre port"
    );
    Fault::new(Code::Connect, text)
}

/// Whether the holder of a port (`pid 12 (name)`) is this program, or the process whose number the pid file holds.
fn is_ours(holder: &str, config: &Config) -> bool {
    let me = std::env::current_exe().ok().and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
    let named = me.is_some_and(|name| holder.contains(&format!("({name}")));
    let pid = config.global.pid.as_deref().and_then(|path| std::fs::read_to_string(path).ok());
    named || pid.is_some_and(|pid| holder.starts_with(&format!("pid {} ", pid.trim())))
}
