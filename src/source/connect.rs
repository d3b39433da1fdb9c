//! The connection below a mail protocol: name, TCP, TLS.
//!
//! Not the protocol: what is said in clear before STARTTLS or STLS, and what must not follow it, is the source's.

use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout};

use super::SourceError;
use crate::config::launcher::{Kind, Launcher, Tls};
use crate::model::{Code, Fault};
use crate::net::dial::host_of;
use crate::net::proxy::reach;
use crate::text;
use crate::tls::client::ClientTls;

/// Any connection.
pub(super) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// How fast a server answers: one that sends a byte now and then is as good as silent, but never silent for long.
#[derive(Debug, Default)]
pub(super) struct Pace {
    waited: Duration,
    received: usize,
}

impl Pace {
    /// After a read that began at `since` and brought `received` bytes: whether the server, which may be silent for
    /// `patience`, is too slow to be waited for.
    pub(super) fn is_too_slow(&mut self, since: Instant, received: usize, patience: Duration) -> bool {
        self.waited += since.elapsed();
        self.received += received;
        if self.received >= ENOUGH {
            *self = Self::default();
        }
        self.waited > patience.saturating_mul(DRIBBLE)
    }
}

/// Opens the connection that `launcher` asks for, with TLS where it begins with the first byte; each address, and the
/// handshake, may take `patience`.
pub(super) async fn connect(launcher: &Launcher, patience: Duration) -> Result<Box<dyn Io>, SourceError> {
    let Some(address) = &launcher.server else { return Err(no_server(launcher)) };
    let stream = reach(launcher.proxy.as_ref(), address, patience).await.map_err(SourceError::connection)?;
    // a peer that died while we wait for news is noticed; without the option the next command notices it
    let _ = SockRef::from(&stream)
        .set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE_INTERVAL));
    if launcher.tls == Tls::Implicit { secure(launcher, stream, patience).await } else { Ok(Box::new(stream)) }
}

/// TLS over `stream`, which goes to `launcher`'s server.
pub(super) async fn secure<S: Io + 'static>(
    launcher: &Launcher,
    stream: S,
    patience: Duration,
) -> Result<Box<dyn Io>, SourceError> {
    let Some(address) = &launcher.server else { return Err(no_server(launcher)) };
    // built for each connection: what was changed in CAfile counts from the next cycle on
    let tls = ClientTls::for_launcher(launcher).map_err(SourceError::Mailbox)?;
    let Ok(connected) = timeout(patience, tls.connect(stream, host_of(address))).await else {
        let (seconds, port) = (patience.as_secs(), if launcher.kind == Kind::Pop3 { 995 } else { 993 });
        let text = text!(
            "{address}: the TLS handshake did not end within {seconds} seconds; is this a TLS port ({port})?",
            "{address} : la négociation TLS n'a pas abouti en {seconds} secondes ; est-ce bien un port TLS ({port}) ?"
        );
        return Err(SourceError::connection(Fault::new(Code::Tls, text)));
    };
    Ok(Box::new(connected.map_err(SourceError::connection)?))
}

/// The configuration promises a server for this kind of launcher; without one there is nothing to connect to.
fn no_server(launcher: &Launcher) -> SourceError {
    let name = &launcher.name;
    let text = text!("[{name}]: server = is missing", "[{name}] : il manque server =");
    SourceError::Mailbox(Fault::new(Code::Config, text))
}

/// So much must come in [`DRIBBLE`] times the patience (half an hour): some 300 bytes a second.
const ENOUGH: usize = 512 << 10;
const DRIBBLE: u32 = 30;
/// Silence after which the system asks whether the peer is still there, and how often.
const KEEPALIVE: Duration = Duration::from_mins(2);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
