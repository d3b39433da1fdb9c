//! The connection below IMAP: name, TCP, TLS.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::trouble::{connection, refused_address};
use crate::config::launcher::{Launcher, Tls};
use crate::model::Code;
use crate::net::dial::host_of;
use crate::net::proxy::reach;
use crate::source::SourceError;
use crate::text;
use crate::tls::client::ClientTls;

/// Any connection.
pub(super) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// Opens the connection that `launcher` asks for; each address, and the handshake, may take `patience`.
pub(super) async fn open(launcher: &Launcher, patience: Duration) -> Result<Box<dyn Io>, SourceError> {
    let Some(address) = &launcher.server else { return Err(refused_address(launcher)) };
    let stream = reach(launcher.proxy.as_ref(), address, patience).await.map_err(SourceError::connection)?;
    if launcher.tls == Tls::None {
        return Ok(Box::new(stream));
    }
    // built for each connection: what was changed in CAfile counts from the next cycle on
    let tls = ClientTls::for_launcher(launcher).map_err(SourceError::Mailbox)?;
    let Ok(connected) = timeout(patience, tls.connect(stream, host_of(address))).await else {
        let seconds = patience.as_secs();
        let text = text!(
            "{address}: the TLS handshake did not end within {seconds} seconds; is this a TLS port (993)?",
            "{address} : la négociation TLS n'a pas abouti en {seconds} secondes ; est-ce bien un port TLS (993) ?"
        );
        return Err(connection(Code::Tls, text));
    };
    Ok(Box::new(connected.map_err(SourceError::connection)?))
}
