//! Plays a [`Talk`] on sockets: one byte at a time, and nothing may lie behind the last one.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};

use super::Failed;
use super::machine::{Machine, Next, Said, Talk, Then, Who};
use crate::config::Address;
use crate::model::{Code, Fault};
use crate::text;
use crate::text::Text;

/// What is read and written, in clear or inside TLS.
pub(super) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Io for S {}

/// The two sides of a session, where they are there already.
pub(super) struct Ends<'a> {
    pub(super) local: Option<&'a mut dyn Io>,
    pub(super) remote: Option<&'a mut dyn Io>,
}

/// Whom sentences are about.
#[derive(Clone, Copy)]
pub(super) struct About<'a> {
    /// The server that is dialled, or the client that came.
    pub(super) name: &'a str,
    /// The word behind `protocol =`.
    pub(super) protocol: &'a str,
    /// The tunnel's `client`.
    pub(super) client: bool,
}

/// Plays it to its end.
pub(super) async fn play(machine: Box<dyn Machine>, mut ends: Ends<'_>, about: About<'_>) -> Result<Then, Failed> {
    let (mut talk, mut said) = Talk::start(machine);
    loop {
        if let Next::Done { quiet: Some(who), .. } = talk.next()
            && ends.has_more(*who).await
        {
            return Err(about.failed(unasked(about.client), false));
        }
        let told = said.iter().any(|(to, _)| *to == Who::Local) && matches!(talk.next(), Next::Fail(_));
        let sent = ends.say(&said).await;
        match talk.next() {
            Next::Done { .. } | Next::Fail(_) => return about.judge(talk.into_next(), sent, told),
            _ => sent.map_err(|(who, error)| about.broke(who, &error))?,
        }
        said = match talk.next() {
            Next::Resolve(address) => {
                let found = addresses(address).await;
                talk.resolved(&found)
            }
            Next::Line(who) | Next::Bytes(who, _) => {
                let who = *who;
                loop {
                    let byte = ends.read(who).await.map_err(|error| about.broke(who, &error))?;
                    if let Some(said) = talk.feed(byte) {
                        break said;
                    }
                }
            }
            Next::Done { .. } | Next::Fail(_) => Vec::new(),
        };
    }
}

/// What a client says before it is greeted: the first byte of its TLS handshake, if it comes within stunnel's 200 ms.
///
/// # Errors
/// The client is gone.
pub(super) async fn early(local: &mut dyn Io, about: About<'_>) -> Result<Option<u8>, Failed> {
    match tokio::time::timeout(SILENCE, local.read_u8()).await {
        Err(_) => Ok(None),
        Ok(Ok(byte)) => Ok(Some(byte)),
        Ok(Err(error)) => Err(about.broke(Who::Local, &error)),
    }
}

/// Sends an answer that no machine waits for.
///
/// # Errors
/// The client is gone.
pub(super) async fn tell(local: &mut dyn Io, words: &[u8], about: About<'_>) -> Result<(), Failed> {
    let sent = async {
        local.write_all(words).await?;
        local.flush().await
    };
    sent.await.map_err(|error| about.broke(Who::Local, &error))
}

impl Ends<'_> {
    fn side(&mut self, who: Who) -> io::Result<&mut dyn Io> {
        match (who, &mut self.local, &mut self.remote) {
            (Who::Local, Some(local), _) => Ok(&mut **local),
            (Who::Remote, _, Some(remote)) => Ok(&mut **remote),
            _ => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    async fn read(&mut self, who: Who) -> io::Result<u8> {
        self.side(who)?.read_u8().await
    }

    async fn say(&mut self, said: &Said) -> Result<(), (Who, io::Error)> {
        for (to, words) in said {
            let sent = async {
                let side = self.side(*to)?;
                side.write_all(words).await?;
                side.flush().await
            };
            sent.await.map_err(|error| (*to, error))?;
        }
        Ok(())
    }

    /// Whether this side has sent something that nobody asked for. What arrives later breaks the handshake by itself.
    async fn has_more(&mut self, who: Who) -> bool {
        let Ok(side) = self.side(who) else { return false };
        let mut byte = [0];
        let look = poll_fn(|cx| {
            let mut seen = ReadBuf::new(&mut byte);
            let read = Pin::new(&mut *side).poll_read(cx, &mut seen);
            Poll::Ready(matches!(read, Poll::Ready(Ok(()))) && !seen.filled().is_empty())
        });
        // the scheduler's budget would say "nothing there"
        tokio::task::unconstrained(look).await
    }
}

impl About<'_> {
    /// What a talk came to, and whether its last words could be sent.
    fn judge(&self, end: Next, sent: Result<(), (Who, io::Error)>, told: bool) -> Result<Then, Failed> {
        match end {
            Next::Done { then, .. } => sent.map(|()| then).map_err(|(who, error)| self.broke(who, &error)),
            Next::Fail(fault) => Err(self.failed(fault, told && sent.is_ok())),
            // never asked for
            Next::Line(_) | Next::Bytes(..) | Next::Resolve(_) => Ok(Then::End),
        }
    }

    pub(super) fn failed(&self, fault: Fault, told: bool) -> Failed {
        let Fault { code, text: Text { en, fr } } = fault;
        let (name, protocol) = (self.name, self.protocol);
        let text = text!("{name}, protocol = {protocol}: {en}", "{name}, protocol = {protocol} : {fr}");
        Failed { fault: Fault::new(code, text), told }
    }

    fn broke(&self, who: Who, error: &io::Error) -> Failed {
        let (en, fr) = match (who, self.client) {
            (Who::Local, _) => ("client", "client"),
            (Who::Remote, true) => ("server", "serveur"),
            (Who::Remote, false) => ("server behind `connect`", "serveur de `connect`"),
        };
        let text = if error.kind() == io::ErrorKind::UnexpectedEof {
            text!(
                "the {en} closed the connection in the middle of the negotiation: does it speak this protocol on this port?",
                "le {fr} a fermé la connexion au milieu de la négociation : parle-t-il ce protocole sur ce port ?"
            )
        } else {
            let Text { en: why, fr: raison } = Text::io(error);
            text!("the connection to the {en} broke: {why}", "la connexion avec le {fr} s'est rompue : {raison}")
        };
        self.failed(Fault::new(Code::Connect, text), false)
    }
}

/// Something came in clear behind the words that precede TLS.
pub(super) fn unasked(client: bool) -> Fault {
    let (en, fr) = if client { ("server", "serveur") } else { ("client", "client") };
    Fault::new(
        Code::Tls,
        text!(
            "the {en} sent more in clear behind the words that precede TLS: refused, somebody on the way may have slipped it \
             in (as in CVE-2011-0411); if it comes back, use a port with TLS from the first byte",
            "le {fr} a envoyé autre chose en clair derrière ce qui précède TLS : refusé, quelqu'un sur le chemin a pu \
             l'insérer (comme dans CVE-2011-0411) ; si cela revient, prendre un port avec TLS dès le premier octet"
        ),
    )
}

/// Empty: there is no such name.
async fn addresses(address: &Address) -> Vec<std::net::SocketAddr> {
    let host = address.host.as_deref().unwrap_or("localhost");
    tokio::net::lookup_host((host, address.port))
        .await
        .map(|found| found.take(MOST_ADDRESSES).collect())
        .unwrap_or_default()
}

/// How long a client that speaks first has for it (stunnel 5.75, protocol.c).
const SILENCE: Duration = Duration::from_millis(200);
/// As many as are worth an attempt.
const MOST_ADDRESSES: usize = 16;

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
