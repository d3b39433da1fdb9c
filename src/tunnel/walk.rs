//! The way of a session to its server, one step at a time, for `pertuis test`.
//!
//! Not a session: nobody's data passes, each step has its own answer, and each target gets its turn, not the first that
//! answers alone. What is played is exactly what sessions play, on sockets made by the same dialler.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::client::TlsStream;

use super::Prepared;
use super::settings::{Mode, Settings};
use crate::config::Endpoint;
use crate::model::{Code, Fault};
use crate::net::ahead::ReadAhead;
use crate::net::dial::Dialled;
use crate::net::stream::Stream;
use crate::text;
use crate::text::Text;

/// A tunnel that is walked through.
#[derive(Debug)]
pub struct Walk(Arc<Settings>);

impl Walk {
    /// Of this tunnel.
    pub fn new(prepared: Prepared) -> Self {
        Self(prepared.0)
    }

    /// When its own certificate ends, in seconds since 1970.
    pub fn own_expiry(&self) -> Option<i64> {
        self.0.expiry
    }

    /// Whether something is said before or inside TLS.
    pub fn has_protocol(&self) -> bool {
        self.0.negotiation.is_some()
    }

    /// Connects to this one.
    ///
    /// # Errors
    /// As a session's.
    pub async fn connect(&self, endpoint: &Endpoint) -> Result<Dialled, Fault> {
        self.0.dialler_of(std::slice::from_ref(endpoint)).dial(None).await
    }

    /// Client mode: what is said before TLS. A client that takes what it is told and says nothing is played too.
    ///
    /// # Errors
    /// The server has no TLS to offer, or refuses.
    pub async fn negotiate(&self, remote: &mut Stream, host: &str) -> Result<(), Fault> {
        let Some(negotiation) = &self.0.negotiation else { return Ok(()) };
        let (mut local, _client) = tokio::io::duplex(ROOM);
        Ok(negotiation.before_tls(&mut local, remote, host).await?)
    }

    /// Client mode: the handshake, with the certificate judged as a session does.
    ///
    /// # Errors
    /// As a session's.
    pub async fn secure(&self, remote: Stream, host: &str) -> Result<TlsStream<ReadAhead<Stream>>, Fault> {
        let Mode::Client(tls) = &self.0.tls else {
            let text = text!("a server has no handshake to begin", "un serveur n'a pas de négociation à commencer");
            return Err(Fault::new(Code::Config, text));
        };
        let name = self.0.negotiation.as_ref().and_then(|negotiation| negotiation.tls_host()).unwrap_or(host);
        tls.connect(ReadAhead::new(remote), name).await
    }

    /// Client mode: what is said inside TLS (the login of smtp).
    ///
    /// # Errors
    /// The server refuses.
    pub async fn negotiate_inside(&self, remote: &mut TlsStream<ReadAhead<Stream>>, host: &str) -> Result<(), Fault> {
        match &self.0.negotiation {
            Some(negotiation) => Ok(negotiation.inside_tls(remote, None, host).await?),
            None => Ok(()),
        }
    }
}

/// What is wrong with the program of `exec`, as far as can be seen without starting it.
pub fn program_fault(program: &Path) -> Option<Text> {
    let shown = program.display();
    match program.metadata() {
        Ok(about) if is_executable(&about) => None,
        Ok(_) => Some(text!("exec: {shown} is no program that may be run", "exec : {shown} n'est pas exécutable")),
        Err(error) => {
            let Text { en, fr } = Text::io(&error);
            Some(text!("exec: {shown}: {en}", "exec : {shown} : {fr}"))
        }
    }
}

#[cfg(unix)]
fn is_executable(about: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    about.is_file() && about.permissions().mode() & 0o111 != 0
}

#[cfg(not(unix))]
fn is_executable(about: &std::fs::Metadata) -> bool {
    about.is_file()
}

/// More than a greeting.
const ROOM: usize = 64 * 1024;
