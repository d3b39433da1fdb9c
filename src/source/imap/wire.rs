//! One IMAP connection: lines out, whole responses in, bodies into the spool.
//!
//! Not a session: it knows neither login nor folders. Several commands may be under way; who sent them sorts out the
//! tags. Spool files are written with plain blocking calls, since a launcher runs on a thread of its own.

use std::io::Write;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use zeroize::Zeroizing;

use crate::config::Launcher;
use crate::delivery::spool::{Spool, SpoolWriter};
use crate::event::{Event, Events, Level};
use crate::model::{Code, ItemKey, ServiceName};
use crate::proto::imap::divert::{Divert, Overlong, Step};
use crate::proto::imap::response::{Kind, Response, Status};
use crate::source::SourceError;
use crate::source::connect::Link;
use crate::source::trouble::{connection, spool_fault};
use crate::text;

/// The connection.
pub(super) struct Wire {
    pub(super) link: Link,
    events: Events,
    service: ServiceName,
    divert: Divert,
    last_tag: u32,
    /// Largest body that is kept, bytes.
    largest: u64,
    /// Bytes of responses to the command under way.
    passed: u64,
    /// Why the server said good-bye.
    bye: Option<String>,
    /// Replies that could not be read so far.
    unreadable: u32,
}

/// A response, and the body that was diverted from it.
pub(super) struct Incoming {
    pub(super) response: Response,
    pub(super) body: Option<SpoolWriter>,
    /// Bytes of a body that was too large to be kept.
    pub(super) too_large: Option<u64>,
}

/// Everything up to the end of a command.
pub(super) struct Reply {
    /// The tagged response.
    pub(super) status: Status,
    /// Untagged status responses.
    pub(super) remarks: Vec<Status>,
    /// Untagged data.
    pub(super) data: Vec<Response>,
}

impl Wire {
    /// Connects to the server of `launcher`.
    pub(super) async fn open(launcher: &Launcher, events: &Events, patience: Duration) -> Result<Self, SourceError> {
        Ok(Self {
            link: Link::open(launcher, patience).await?,
            events: events.clone(),
            service: launcher.name.clone(),
            divert: Divert::default(),
            last_tag: 0,
            largest: launcher.max_size,
            passed: 0,
            bye: None,
            unreadable: 0,
        })
    }

    /// As messages name the server: `host:port`.
    pub(super) fn host(&self) -> &str {
        &self.link.host
    }

    /// Tells something about this connection.
    pub(super) fn tell(&self, level: Level, name: &'static str, text: crate::text::Text) {
        self.events.emit(Event::new(level, name, text).about(&self.service));
    }

    /// Sends a command and returns its tag. `line` is without line end; it may hold a secret and is told to nobody.
    pub(super) async fn send(&mut self, line: &str) -> Result<String, SourceError> {
        self.last_tag += 1;
        let tag = format!("P{:04}", self.last_tag);
        self.progress();
        self.send_raw(&format!("{tag} {line}")).await?;
        Ok(tag)
    }

    /// The command under way gets on: the server may take its time again, and say as much again.
    pub(super) fn progress(&mut self) {
        self.link.progress();
        self.passed = 0;
    }

    /// Sends a line that belongs to a command under way.
    pub(super) async fn send_raw(&mut self, line: &str) -> Result<(), SourceError> {
        let bytes = Zeroizing::new(format!("{line}\r\n"));
        self.link.write(bytes.as_bytes()).await
    }

    /// Sends a command and reads up to its end. The reply may be a refusal: the caller looks at its status.
    pub(super) async fn command(&mut self, line: &str) -> Result<Reply, SourceError> {
        let tag = self.send(line).await?;
        self.reply(&tag).await
    }

    /// A command whose later lines the server asks for with `+`; `next` makes them of what it says there. They are
    /// secrets.
    pub(super) async fn dialogue(
        &mut self,
        first: &str,
        mut next: impl FnMut(&str) -> Option<Zeroizing<String>>,
    ) -> Result<Reply, SourceError> {
        let tag = self.send(first).await?;
        let (mut remarks, mut data, mut asked) = (Vec::new(), Vec::new(), 0);
        loop {
            match self.next(None).await?.response {
                Response::Status(status) if status.tag.as_ref() == Some(&tag) => {
                    return Ok(Reply { status, remarks, data });
                }
                Response::Status(status) => remarks.push(status),
                Response::Continue(said) => {
                    asked += 1;
                    if asked > ASKED_LIMIT {
                        return Err(self.endless());
                    }
                    if let Some(line) = next(&said) {
                        self.link.hide(&line);
                        self.send_raw(&line).await?;
                    }
                }
                other => data.push(other),
            }
        }
    }

    /// Reads up to the end of the command `tag`.
    pub(super) async fn reply(&mut self, tag: &str) -> Result<Reply, SourceError> {
        let (mut remarks, mut data) = (Vec::new(), Vec::new());
        loop {
            match self.next(None).await?.response {
                Response::Status(status) if status.tag.as_deref() == Some(tag) => {
                    return Ok(Reply { status, remarks, data });
                }
                Response::Status(status) => remarks.push(status),
                Response::Continue(_) => {}
                other => data.push(other),
            }
        }
    }

    /// Begins TLS on this connection.
    pub(super) async fn start_tls(&mut self, launcher: &Launcher) -> Result<(), SourceError> {
        self.link.start_tls(launcher, !self.divert.is_idle()).await
    }

    /// The next response, for which the server may take until `end`; `None` then.
    pub(super) async fn next_before(&mut self, end: Instant) -> Result<Option<Response>, SourceError> {
        let patience = std::mem::replace(&mut self.link.patience, FOR_EVER);
        let result = timeout_at(end, self.next(None)).await;
        self.link.patience = patience;
        self.link.progress();
        result.map_or(Ok(None), |incoming| incoming.map(|incoming| Some(incoming.response)))
    }

    /// The next response that can be read. A body goes to `spool`, and nowhere without one.
    pub(super) async fn next(&mut self, spool: Option<&Spool>) -> Result<Incoming, SourceError> {
        let (mut body, mut large, mut size) = (None, None, 0);
        loop {
            if self.passed > PASSED_LIMIT {
                return Err(self.endless());
            }
            match self.link.take(|input| self.divert.step(input)) {
                Err(overlong) => return Err(self.overlong(overlong)),
                Ok(Some(Step::BodyStart(bytes))) if bytes > LARGEST => return Err(self.endless()),
                Ok(Some(Step::BodyStart(bytes))) => {
                    size += bytes.min(BODY_COST);
                    let keep = bytes <= self.largest;
                    large = (!keep).then_some(bytes);
                    body = spool.filter(|_| keep).map(|spool| start_body(spool, bytes));
                }
                Ok(Some(Step::Body(bytes))) => {
                    if let Some(writer) = &mut body {
                        writer.write_all(bytes).map_err(|error| spool_fault(&error))?;
                    }
                }
                Ok(Some(Step::BodyEnd)) => {}
                Ok(Some(Step::Response(text))) => {
                    let response = Response::parse(&text);
                    self.passed += cost(response.as_ref(), &text) + std::mem::take(&mut size);
                    match response {
                        Some(mut response) => {
                            self.note_status(&mut response);
                            return Ok(Incoming { response, body, too_large: large });
                        }
                        None if !self.link.greeted => return Err(self.not_imap()),
                        None => {
                            self.unreadable(&text);
                            // nobody knows whose it was, certainly not that of the next response
                            (body, large) = (None, None);
                        }
                    }
                }
                Ok(None) => self.fill().await?,
            }
        }
    }

    async fn fill(&mut self) -> Result<(), SourceError> {
        if self.link.fill().await? { Ok(()) } else { Err(self.closed()) }
    }

    /// Nothing that a server says holds a secret of ours from here on.
    fn note_status(&mut self, response: &mut Response) {
        let Response::Status(status) = response else { return };
        status.text = self.link.without_secrets(&status.text);
        if let Some((_, rest)) = &mut status.code {
            *rest = self.link.without_secrets(rest);
        }
        if status.kind == Kind::Bye {
            self.bye = Some(status.text.clone());
        }
    }

    /// A reply that cannot be read costs this reply alone.
    fn unreadable(&mut self, text: &[u8]) {
        self.unreadable += 1;
        if self.unreadable > UNREADABLE_TOLD {
            return;
        }
        let host = self.host();
        let came = self.link.quoted(text);
        let text = text!(
            "{host} sent a reply that cannot be read and was passed over: {came}",
            "{host} a envoyé une réponse illisible, qui a été ignorée : {came}"
        );
        self.tell(Level::Warning, "imap_reply_unreadable", text);
    }

    fn overlong(&self, overlong: Overlong) -> SourceError {
        let host = self.host();
        let text = text!(
            "{host} sends {overlong}: this is no IMAP server, or a broken one",
            "{host} envoie trop d'un bloc ({overlong}) : ce n'est pas un serveur IMAP, ou il est en panne"
        );
        connection(Code::Protocol, text)
    }

    /// What answers here speaks something else.
    pub(super) fn not_imap(&self) -> SourceError {
        let host = self.host();
        let text = text!(
            "{host} does not greet as an IMAP server does; check server and port (993 with TLS, 143 without)",
            "{host} ne se présente pas comme un serveur IMAP ; vérifiez le serveur et le port (993 avec TLS, 143 sans)"
        );
        connection(Code::Protocol, text)
    }

    fn endless(&self) -> SourceError {
        let host = self.host();
        let text = text!(
            "{host} answers without an end: this is no IMAP server, or a broken one",
            "{host} répond sans fin : ce n'est pas un serveur IMAP, ou il est en panne"
        );
        connection(Code::Protocol, text)
    }

    fn closed(&self) -> SourceError {
        let host = self.host();
        if let Some(bye) = &self.bye {
            let status = Status { tag: None, kind: Kind::Bye, code: None, text: bye.clone() };
            return super::trouble::passing(host, &status).unwrap_or_else(|| {
                connection(Code::Connect, text!("{host} said good-bye: {bye}", "{host} a mis fin à la session : {bye}"))
            });
        }
        self.link.closed(self.divert.in_body())
    }
}

/// What a response counts towards [`PASSED_LIMIT`]: the numbers of a SEARCH are held in less than they are written in.
fn cost(response: Option<&Response>, text: &[u8]) -> u64 {
    let length = text.len() as u64;
    if matches!(response, Some(Response::Search(_))) { length / 4 } else { length }
}

/// Starts a body whose message is not known yet: one at a time, so one name does.
fn start_body(spool: &Spool, size: u64) -> SpoolWriter {
    spool.create_for(&ItemKey::new(INCOMING), size)
}

/// Unreadable replies that are told for each connection.
const UNREADABLE_TOLD: u32 = 20;
/// Most that a server says to one command, or between two messages that were asked for, bytes: ten million UIDs, or
/// some hundred thousand folders.
const PASSED_LIMIT: u64 = 32 << 20;
/// What a body counts at most towards that, bytes: one that is asked for may well be larger.
const BODY_COST: u64 = 64 << 10;
/// No mail is larger, bytes.
const LARGEST: u64 = 64 << 30;
/// Lines that a login or a literal may take; no mechanism needs as many.
const ASKED_LIMIT: u32 = 8;
/// The limit is set elsewhere.
const FOR_EVER: Duration = Duration::from_hours(24 * 365);
const INCOMING: &str = "incoming";
