//! The connection below IMAP: name, TCP, TLS.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use super::trouble::refused_address;
use crate::config::launcher::{Launcher, Tls};
use crate::model::{Code, Fault};
use crate::source::SourceError;
use crate::text;

/// Any connection.
pub(super) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// Opens the connection that `launcher` asks for.
pub(super) async fn open(launcher: &Launcher, patience: Duration) -> Result<Box<dyn Io>, SourceError> {
    let Some(address) = &launcher.server else { return Err(refused_address(launcher)) };
    let host = address.host.as_deref().unwrap_or("localhost");
    let stream = tokio::time::timeout(patience, tokio::net::TcpStream::connect((host, address.port)))
        .await
        .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
        .map_err(|error| {
            let text = text!("{address}: cannot connect: {error}", "{address} : connexion impossible : {error}");
            SourceError::connection(Fault::new(Code::Connect, text))
        })?;
    match launcher.tls {
        Tls::None => Ok(Box::new(stream)),
        Tls::Implicit => {
            let text = text!("{address}: no TLS here yet", "{address} : pas encore de TLS ici");
            Err(SourceError::connection(Fault::new(Code::Tls, text)))
        }
    }
}
