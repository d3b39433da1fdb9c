//! The connection below a mail protocol: name, TCP, TLS, and the [`Link`] over which lines go and answers come.
//!
//! Not the protocol: what the bytes mean, and what is said in clear before STARTTLS or STLS, is the source's. Every wait
//! for the server has an end, in the same words for IMAP and POP3.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout};
use zeroize::Zeroizing;

use super::SourceError;
use super::trouble::connection;
use crate::config::launcher::{Kind, Launcher, Tls};
use crate::model::{Code, Fault};
use crate::net::dial::host_of;
use crate::net::proxy::reach;
use crate::text;
use crate::tls::client::ClientTls;

/// Any connection.
trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// The connection as a mail protocol holds it: bytes out, bytes in, and the words for how it ends.
pub(super) struct Link {
    stream: Box<dyn Io>,
    /// As messages name the server: `host:port`.
    pub(super) host: String,
    /// How long the server may be silent.
    pub(super) patience: Duration,
    input: Box<[u8; INPUT]>,
    /// What of `input` was received and not yet taken.
    start: usize,
    end: usize,
    /// How fast what was sent last is answered.
    pace: Pace,
    /// Until the greeting was understood, this may be no server of the protocol.
    pub(super) greeted: bool,
    /// What no message may repeat, should the server do so.
    hidden: Vec<Zeroizing<String>>,
}

impl Link {
    /// Connects to the server of `launcher`.
    pub(super) async fn open(launcher: &Launcher, patience: Duration) -> Result<Self, SourceError> {
        Ok(Self {
            stream: connect(launcher, patience).await?,
            host: launcher.server.as_ref().map(ToString::to_string).unwrap_or_default(),
            patience,
            input: Box::new([0; INPUT]),
            start: 0,
            end: 0,
            pace: Pace::default(),
            greeted: false,
            hidden: Vec::new(),
        })
    }

    /// The server may take its time again.
    pub(super) fn progress(&mut self) {
        self.pace = Pace::default();
    }

    /// Sends `bytes`.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), SourceError> {
        let write = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        match timeout(self.patience, write).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.broken(&error)),
            Err(_) => Err(self.silent()),
        }
    }

    /// Lets `step` take what it wants of what came.
    pub(super) fn take<'a, T>(&'a mut self, step: impl FnOnce(&mut &'a [u8]) -> T) -> T {
        let mut input = &self.input[self.start..self.end];
        let taken = step(&mut input);
        self.start = self.end - input.len();
        taken
    }

    /// Waits for more, once all was taken; `false` where the server has closed the connection.
    pub(super) async fn fill(&mut self) -> Result<bool, SourceError> {
        let since = Instant::now();
        match timeout(self.patience, self.stream.read(&mut self.input[..])).await {
            Ok(Ok(0)) => Ok(false),
            Ok(Ok(length)) if self.pace.is_too_slow(since, length, self.patience) => Err(self.slow()),
            Ok(Ok(length)) => {
                (self.start, self.end) = (0, length);
                Ok(true)
            }
            Ok(Err(error)) => Err(self.broken(&error)),
            Err(_) => Err(self.silent()),
        }
    }

    /// Goes over to TLS once the server agreed to. What it sent behind its agreement came in clear, from whomever: it must
    /// not be taken for what comes inside TLS (CVE-2021-33515). `mid_reply`: the agreement was more than one line.
    pub(super) async fn start_tls(&mut self, launcher: &Launcher, mid_reply: bool) -> Result<(), SourceError> {
        if self.start < self.end || mid_reply {
            return Err(self.injected());
        }
        let stream = std::mem::replace(&mut self.stream, Box::new(tokio::io::empty()));
        self.stream = secure(launcher, stream, self.patience).await?;
        Ok(())
    }

    /// `text` is a secret that the server may repeat in what it says; a short one would be found in any sentence.
    pub(super) fn hide(&mut self, text: &str) {
        if text.len() >= SECRET_LEAST {
            self.hidden.push(Zeroizing::new(text.to_owned()));
        }
    }

    /// What the server said, without secrets of ours.
    pub(super) fn without_secrets(&self, said: &str) -> String {
        self.hidden.iter().fold(said.to_owned(), |said, secret| {
            if said.contains(secret.as_str()) { said.replace(secret.as_str(), "***") } else { said }
        })
    }

    /// The beginning of a reply that makes no sense, as it may be told.
    pub(super) fn quoted(&self, reply: &[u8]) -> String {
        let said = self.without_secrets(&String::from_utf8_lossy(reply));
        said.chars().take(TOLD_LIMIT).flat_map(char::escape_debug).collect()
    }

    fn injected(&self) -> SourceError {
        let host = &self.host;
        let text = text!(
            "{host} sent text behind its agreement to TLS: somebody may stand in between; use tls = implicit",
            "{host} a envoyé du texte après avoir accepté TLS : quelqu'un s'est peut-être interposé ; utilisez tls = implicit"
        );
        connection(Code::Tls, text)
    }

    fn broken(&self, error: &io::Error) -> SourceError {
        let host = &self.host;
        connection(Code::Connect, text!("{host}: the connection broke: {error}", "{host} : connexion rompue : {error}"))
    }

    fn silent(&self) -> SourceError {
        let (host, seconds) = (&self.host, self.patience.as_secs());
        if !self.greeted {
            let text = text!(
                "{host} has not said a word for {seconds} seconds: it may speak another protocol on this port, or TLS where `tls` says otherwise; trying again later",
                "{host} n'a pas dit un mot depuis {seconds} secondes : il parle peut-être un autre protocole sur ce port, ou TLS alors que `tls` dit le contraire ; nouvel essai plus tard"
            );
            return connection(Code::Connect, text);
        }
        let text = text!(
            "{host} has not answered for {seconds} seconds; trying again later",
            "{host} n'a pas répondu depuis {seconds} secondes ; nouvel essai plus tard"
        );
        connection(Code::Connect, text)
    }

    fn slow(&self) -> SourceError {
        let host = &self.host;
        let text = text!(
            "{host} answers a few bytes at a time, too slowly to be waited for; trying again later",
            "{host} répond par quelques octets à la fois, trop lentement pour être attendu ; nouvel essai plus tard"
        );
        connection(Code::Connect, text)
    }

    /// The end of the connection, `in_body` of a message or not.
    pub(super) fn closed(&self, in_body: bool) -> SourceError {
        let host = &self.host;
        let text = if in_body {
            text!(
                "{host} closed the connection within a message, which was dropped and will be fetched again",
                "{host} a fermé la connexion au milieu d'un message, qui a été écarté et sera relu"
            )
        } else {
            text!("{host} closed the connection", "{host} a fermé la connexion")
        };
        connection(Code::Connect, text)
    }
}

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
async fn connect(launcher: &Launcher, patience: Duration) -> Result<Box<dyn Io>, SourceError> {
    let Some(address) = &launcher.server else { return Err(no_server(launcher)) };
    let stream = reach(launcher.proxy.as_ref(), address, patience).await.map_err(SourceError::connection)?;
    // a peer that died while we wait for news is noticed; without the option the next command notices it
    let _ = SockRef::from(&stream)
        .set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE_INTERVAL));
    if launcher.tls == Tls::Implicit { secure(launcher, stream, patience).await } else { Ok(Box::new(stream)) }
}

/// TLS over `stream`, which goes to `launcher`'s server.
async fn secure<S: Io + 'static>(
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

/// Bytes read at a time.
const INPUT: usize = 16 << 10;
/// Characters of an unreadable reply that are told.
const TOLD_LIMIT: usize = 200;
const SECRET_LEAST: usize = 4;
/// So much must come in [`DRIBBLE`] times the patience (half an hour): some 300 bytes a second.
const ENOUGH: usize = 512 << 10;
const DRIBBLE: u32 = 30;
/// Silence after which the system asks whether the peer is still there, and how often.
const KEEPALIVE: Duration = Duration::from_mins(2);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
