//! Programs that take the place of an end of a tunnel.
//!
//! Standard input and output are one end of a socket pair, as stunnel has it; pipes would not do: a program sees our end
//! of data as soon as our half of the pair is shut down, and goes on writing. Standard error stays ours. A program is not
//! killed with its connection: it sees the end of its input and decides itself (stunnel 5.68 does the same, and scripts
//! that work on what they have read rely on it). It is waited for all the same, so that none stays a zombie.

// nothing is started there, so nothing is told
#![cfg_attr(not(unix), allow(dead_code))]

use std::io;
use std::net::SocketAddr;

use rustls_pki_types::CertificateDer;
#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::session::Teller;
use crate::config::tunnel::Exec;
#[cfg(unix)]
use crate::event::Level;
use crate::net::stream::Stream;
use crate::text;
use crate::text::Text;
use crate::tls::oneline::one_line;

/// What a program is told about the client, in its environment.
#[derive(Debug, Default)]
pub(super) struct Caller {
    /// `REMOTE_HOST`, `REMOTE_PORT`.
    pub(super) peer: Option<SocketAddr>,
    /// `SSL_CLIENT_DN`, `SSL_CLIENT_I_DN`.
    pub(super) names: Option<(String, String)>,
}

impl Caller {
    /// A client at `peer` with this certificate.
    pub(super) fn new(peer: Option<SocketAddr>, certificate: Option<&CertificateDer<'_>>) -> Self {
        let names = certificate.and_then(|leaf| {
            let (_, leaf) = X509Certificate::from_der(leaf).ok()?;
            Some((one_line(leaf.subject()), one_line(leaf.issuer())))
        });
        Self { peer, names }
    }

    fn variables(&self) -> Vec<(&'static str, String)> {
        let peer = self.peer.into_iter().flat_map(|peer| {
            [("REMOTE_HOST", peer.ip().to_canonical().to_string()), ("REMOTE_PORT", peer.port().to_string())]
        });
        let names = self
            .names
            .iter()
            .flat_map(|(subject, issuer)| [("SSL_CLIENT_DN", subject.clone()), ("SSL_CLIENT_I_DN", issuer.clone())]);
        peer.chain(names).filter(|(_, value)| !value.contains('\0')).collect()
    }
}

/// Starts `exec`; our end of its standard input and output.
///
/// # Errors
/// It cannot be started.
#[cfg(unix)]
pub(super) fn start(exec: &Exec, caller: &Caller, teller: &Teller) -> io::Result<Stream> {
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;
    use std::os::unix::process::CommandExt as _;
    use std::process::{Command, Stdio};

    use crate::net::activation;

    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let ours = Stream::Unix(tokio::net::UnixStream::from_std(ours)?);
    let theirs = OwnedFd::from(theirs);
    let mut command = Command::new(&exec.program);
    let (name, rest) = exec.arguments.split_first().map_or((None, &[][..]), |(name, rest)| (Some(name), rest));
    if let Some(name) = name {
        command.arg0(name);
    }
    command.args(rest);
    // what the service manager means for us alone: a program could end its watch over us, or read our credentials
    for variable in activation::VARIABLES {
        command.env_remove(variable);
    }
    // who sets a variable by hand means it
    command.envs(caller.variables()).envs(exec.environment.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::from(theirs.try_clone()?)).stdout(Stdio::from(theirs));
    // before it starts: its end must not be missed
    let ends = signal(SignalKind::child())?;
    let child = command.spawn()?;
    // it holds the program's end of the pair, and we would never see that one closed
    drop(command);
    let pid = child.id();
    teller.tell(Level::Info, "program_started", || {
        text!("Local mode child started (PID={pid})", "Programme lancé (PID={pid})")
    });
    tokio::spawn(wait_for(child, ends, teller.clone()));
    Ok(ours)
}

/// Starts nothing: a section with `exec` is a mistake of the configuration here.
///
/// # Errors
/// Always.
#[cfg(not(unix))]
pub(super) fn start(_exec: &Exec, _caller: &Caller, _teller: &Teller) -> io::Result<Stream> {
    Err(io::ErrorKind::Unsupported.into())
}

/// What is wrong with a program that does not even start.
pub(super) fn cannot_start(exec: &Exec, error: &io::Error) -> Text {
    let path = exec.program.display();
    let Text { en, fr } = Text::io(error);
    text!("exec: cannot start {path}: {en}", "exec : impossible de lancer {path} : {fr}")
}

/// No task of the tunnel: a program that outlives its connection holds up nobody. Nor does it cost a descriptor, as
/// tokio's own `Child` does: a thousand programs that ignore the end of their input would take all there are.
#[cfg(unix)]
async fn wait_for(mut child: std::process::Child, mut ends: Signal, teller: Teller) {
    use std::os::unix::process::ExitStatusExt as _;

    let pid = child.id();
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if ends.recv().await.is_some() => {}
            _ => return,
        }
    };
    teller.tell(Level::Info, "program_ended", || match (status.code(), status.signal()) {
        (Some(code), _) => {
            text!("Child process {pid} finished with code {code}", "Programme {pid} terminé, code {code}")
        }
        (None, signal) => {
            let signal = signal.unwrap_or_default();
            text!("Child process {pid} terminated on signal {signal}", "Programme {pid} terminé par le signal {signal}")
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_learns_who_the_client_is() {
        let names = Some(("CN=me".to_owned(), "CN=ca\0".to_owned()));
        let caller = Caller { peer: Some("[::ffff:192.0.2.1]:77".parse().unwrap()), names };
        let expected = [("REMOTE_HOST", "192.0.2.1"), ("REMOTE_PORT", "77"), ("SSL_CLIENT_DN", "CN=me")];
        assert_eq!(caller.variables(), expected.map(|(name, value)| (name, value.to_owned())));
        assert!(Caller::default().variables().is_empty());
    }
}
