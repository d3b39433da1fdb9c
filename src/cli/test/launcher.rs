//! The way of a launcher's cycle, step by step.
//!
//! Not a cycle: nothing is fetched, changed at the source or delivered, and no lock is taken, so that it works beside the
//! service. Name, connection and TLS are tried on a connection of their own, so that each has its line; login and folder
//! are the source's own.

use std::io;
use std::time::Duration;

use jiff::Timestamp;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{PATIENCE, Teller, limited};
use crate::config::launcher::{Kind, Tls};
use crate::config::{Address, Check, Launcher};
use crate::launcher::{self, Env};
use crate::model::{Code, Disposition, Fault};
use crate::net::dial::{host_of, resolve};
use crate::net::proxy;
use crate::source::Source;
use crate::supervisor::{self, expiry};
use crate::text;
use crate::text::Text;
use crate::tls::client::ClientTls;
use crate::tls::material;

/// With nothing to change the source opens its mailbox read-only, and with nothing to wait for it closes it.
fn as_read_only(launcher: &Launcher) -> Launcher {
    let mut launcher = launcher.clone();
    (launcher.after, launcher.after_empty, launcher.idle) = (Disposition::Leave, Disposition::Leave, false);
    launcher
}

/// Walks it.
pub(super) async fn walk(launcher: &Launcher, env: &Env, teller: &mut Teller<'_>) -> io::Result<()> {
    Walk { launcher: as_read_only(launcher), teller }.all(env).await
}

/// The walk of one launcher.
struct Walk<'a, 'b> {
    launcher: Launcher,
    teller: &'a mut Teller<'b>,
}

impl Walk<'_, '_> {
    async fn all(&mut self, env: &Env) -> io::Result<()> {
        let reached = match self.launcher.server.clone() {
            Some(server) => self.connection(&server).await?,
            None => true,
        };
        if reached {
            self.mailbox(env).await?;
        }
        let staging = launcher::prove_staging(&self.launcher, &env.state);
        let written = |dir: std::path::PathBuf| {
            let dir = dir.display();
            text!("written to {dir}", "écriture dans {dir}")
        };
        self.step(text!("staging", "préparation"), staging.map(written))?;
        let deliver = match supervisor::outside::deliver(&self.launcher) {
            Some(remark) => Err(Fault::new(Code::Deliver, remark.text)),
            None => Ok(Text::same(self.launcher.deliver.display().to_string())),
        };
        self.step(text!("delivery", "livraison"), deliver).map(drop)
    }

    /// Name, connection, TLS; whether all of them went well.
    async fn connection(&mut self, server: &Address) -> io::Result<bool> {
        let launcher = self.launcher.clone();
        // the server's own name is the proxy's to resolve
        let first = launcher.proxy.as_ref().map_or(server, |proxy| &proxy.address);
        let addresses = limited(resolve(first)).await.map(|list| {
            let list: Vec<_> = list.iter().map(|address| address.ip().to_string()).collect();
            Text::same(format!("{} = {}", host_of(first), list.join(", ")))
        });
        if !self.step(text!("name", "nom"), addresses)? {
            return Ok(false);
        }
        let reached = proxy::reach(launcher.proxy.as_ref(), server, PATIENCE).await;
        let (stream, reached) = split(reached, |stream| connected(stream, &launcher, server));
        if !self.step(text!("connection", "connexion"), reached)? {
            return Ok(false);
        }
        let Some(stream) = stream.filter(|_| launcher.tls != Tls::None) else {
            return self.step(text!("TLS", "TLS"), Ok(text!("none (tls = none)", "aucun (tls = none)")));
        };
        let secured = limited(secure(&launcher, stream, host_of(server))).await;
        self.step(text!("TLS", "TLS"), secured)
    }

    /// Login and folder.
    async fn mailbox(&mut self, env: &Env) -> io::Result<()> {
        let mut source = launcher::source_to_test(&self.launcher, env);
        if !self.launcher.kind.is_dropped() {
            let login = limited(async { source.login().await.map_err(|error| error.fault().clone()) }).await;
            let account = Text::same(self.launcher.account.clone().unwrap_or_default());
            if !self.step(text!("login", "identification"), login.map(|()| account))? {
                return Ok(());
            }
        }
        let count = limited(async { source.count().await.map_err(|error| error.fault().clone()) }).await;
        let (folder, kind) = (self.launcher.source.clone(), self.launcher.kind);
        let found = |count: u64| match kind {
            Kind::Directory => text!("{folder}: {count} file(s)", "{folder} : {count} fichier(s)"),
            Kind::Adullact => text!("{folder}: {count} envelope(s)", "{folder} : {count} enveloppe(s)"),
            _ => text!("{folder}: {count} message(s)", "{folder} : {count} message(s)"),
        };
        self.step(text!("folder", "dossier"), count.map(found))?;
        close(source).await;
        Ok(())
    }

    fn step(&mut self, step: Text, result: Result<Text, Fault>) -> io::Result<bool> {
        self.teller.step(&self.launcher.name, step, result)
    }
}

/// The value, and what is said of it.
fn split<T>(result: Result<T, Fault>, say: impl Fn(&T) -> Text) -> (Option<T>, Result<Text, Fault>) {
    match result {
        Ok(value) => {
            let said = say(&value);
            (Some(value), Ok(said))
        }
        Err(fault) => (None, Err(fault)),
    }
}

fn connected(stream: &TcpStream, launcher: &Launcher, server: &Address) -> Text {
    let peer = stream.peer_addr().map(|peer| peer.to_string()).unwrap_or_default();
    match launcher.proxy.as_ref().map(proxy::shown) {
        Some(proxy) => text!("{server} through {proxy}", "{server} par {proxy}"),
        None => Text::same(peer),
    }
}

/// The handshake, after STARTTLS or STLS where that is asked for.
async fn secure(launcher: &Launcher, mut stream: TcpStream, host: &str) -> Result<Text, Fault> {
    if launcher.tls == Tls::StartTls {
        let (command, tag) = if launcher.kind == Kind::Pop3 { ("STLS\r\n", "") } else { ("a STARTTLS\r\n", "a ") };
        upgrade(&mut stream, command, tag).await.map_err(|text| {
            let Text { en, fr } = text;
            Fault::new(Code::Tls, text!("{host}: no STARTTLS: {en}", "{host} : pas de STARTTLS : {fr}"))
        })?;
    }
    let stream = ClientTls::for_launcher(launcher)?.connect(stream, host).await?;
    let chain = match launcher.trust.check {
        Check::Off => text!("certificate NOT verified", "certificat NON vérifié"),
        Check::Chain => text!("chain and name verified", "chaîne et nom vérifiés"),
        Check::Pinned | Check::ChainAndPinned => text!("key pinned", "clé épinglée"),
    };
    let connection = stream.get_ref().1;
    let leaf = connection.peer_certificates().and_then(<[_]>::first);
    let Some(end) = leaf.and_then(material::expiry) else { return Ok(chain) };
    let (Text { en, fr }, valid) = (chain, expiry::validity(end, Timestamp::now()));
    let (valid, valable) = (valid.en, valid.fr);
    Ok(text!("{en}, {valid}", "{fr}, {valable}"))
}

/// Reads the greeting and asks for TLS; the answer is the line that begins with `tag`.
async fn upgrade(stream: &mut TcpStream, command: &str, tag: &str) -> Result<(), Text> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    let mut next = async |stream: &mut BufReader<&mut TcpStream>| {
        line.clear();
        let read = stream.take(LONGEST_LINE).read_line(&mut line).await.map_err(|error| Text::io(&error))?;
        if read == 0 {
            return Err(text!("the connection was closed", "la connexion a été fermée"));
        }
        Ok(line.trim().to_owned())
    };
    next(&mut stream).await?;
    stream.write_all(command.as_bytes()).await.map_err(|error| Text::io(&error))?;
    loop {
        let answer = next(&mut stream).await?;
        if let Some(said) = answer.strip_prefix(tag) {
            let agreed = ["OK", "+OK"].iter().any(|word| said.to_ascii_uppercase().starts_with(word));
            return if agreed { Ok(()) } else { Err(Text::same(said)) };
        }
    }
}

/// In good order, but nobody waits for it.
async fn close(mut source: Box<dyn Source>) {
    let _ = timeout(GOODBYE, source.finish()).await;
}

const GOODBYE: Duration = Duration::from_secs(2);
/// More than any server says in one line.
const LONGEST_LINE: u64 = 8192;
