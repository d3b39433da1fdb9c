//! One POP3 connection: lines out, status lines and bodies in.
//!
//! Not a session: it knows neither login nor mailbox. Commands may be queued and sent together; replies come in their
//! order. Every wait for the server has an end.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};
use zeroize::Zeroizing;

use super::trouble::connection;
use crate::config::Launcher;
use crate::model::Code;
use crate::proto::pop3::replies::{Expect, Overlong, Replies, Step};
use crate::proto::pop3::status::Status;
use crate::source::SourceError;
use crate::source::connect::{Io, Pace, connect, secure};
use crate::text;

/// The connection.
pub(super) struct Wire {
    stream: Box<dyn Io>,
    /// As messages name the server: `host:port`.
    pub(super) host: String,
    patience: Duration,
    replies: Replies,
    /// Commands that wait to be sent; they may hold a secret.
    queued: Zeroizing<Vec<u8>>,
    input: Box<[u8; INPUT]>,
    /// What of `input` was received and not yet taken.
    start: usize,
    end: usize,
    /// How fast what was sent last is answered.
    pace: Pace,
    /// Until the greeting was understood, an unreadable line means that this is no POP3 server.
    greeted: bool,
    /// What no message may repeat, should the server do so.
    hidden: Vec<Zeroizing<String>>,
}

impl Wire {
    /// Connects to the server of `launcher`.
    pub(super) async fn open(launcher: &Launcher, patience: Duration) -> Result<Self, SourceError> {
        let stream = connect(launcher, patience).await?;
        let host = launcher.server.as_ref().map(ToString::to_string).unwrap_or_default();
        Ok(Self::over(stream, host, patience))
    }

    fn over(stream: Box<dyn Io>, host: String, patience: Duration) -> Self {
        Self {
            stream,
            host,
            patience,
            replies: Replies::default(),
            queued: Zeroizing::default(),
            input: Box::new([0; INPUT]),
            start: 0,
            end: 0,
            pace: Pace::default(),
            greeted: false,
            hidden: Vec::new(),
        }
    }

    /// Goes over to TLS once the server agreed to. What it sent behind its agreement came in clear, from whomever: it
    /// must not be taken for what comes inside TLS (CVE-2021-33515).
    pub(super) async fn start_tls(self, launcher: &Launcher) -> Result<Self, SourceError> {
        if self.start < self.end {
            let host = &self.host;
            let text = text!(
                "{host} sends more behind its agreement to TLS: somebody may stand in between; use tls = implicit",
                "{host} envoie autre chose derrière son accord pour TLS : quelqu'un s'est peut-être interposé ; utilisez \
                 tls = implicit"
            );
            return Err(connection(Code::Tls, text));
        }
        let stream = secure(launcher, self.stream, self.patience).await?;
        Ok(Self { greeted: true, ..Self::over(stream, self.host, self.patience) })
    }

    /// From now on no message repeats this.
    pub(super) fn hide(&mut self, secret: &str) {
        if secret.len() >= HIDDEN_LEAST {
            self.hidden.push(Zeroizing::new(secret.to_owned()));
        }
    }

    /// Queues a command, without line end.
    pub(super) fn queue(&mut self, line: &str, expect: Expect) {
        self.replies.expect(expect);
        self.queue_raw(line);
    }

    fn queue_raw(&mut self, line: &str) {
        self.queued.extend_from_slice(line.as_bytes());
        self.queued.extend_from_slice(b"\r\n");
    }

    /// Sends what is queued.
    pub(super) async fn flush(&mut self) -> Result<(), SourceError> {
        let bytes = std::mem::take(&mut self.queued);
        self.pace = Pace::default();
        let write = async {
            self.stream.write_all(&bytes).await?;
            self.stream.flush().await
        };
        match timeout(self.patience, write).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.broken(&error)),
            Err(_) => Err(self.silent()),
        }
    }

    /// Sends a command that is answered with a status line, and reads that.
    pub(super) async fn command(&mut self, line: &str) -> Result<Status, SourceError> {
        self.queue(line, Expect::Line);
        self.flush().await?;
        self.status().await
    }

    /// Sends a command that is answered with a list, and hands out its lines; one too long for a list is left out.
    pub(super) async fn list(&mut self, line: &str, mut each: impl FnMut(&[u8]) + Send) -> Result<Status, SourceError> {
        self.queue(line, Expect::Body);
        self.flush().await?;
        let status = self.status().await?;
        if status.is_ok() {
            let mut lines = Lines::default();
            let mut all = 0;
            self.body(|bytes| {
                all += bytes.len();
                lines.take(bytes, &mut each);
                all <= LIST_LIMIT
            })
            .await?;
        }
        Ok(status)
    }

    /// The next status line.
    pub(super) async fn status(&mut self) -> Result<Status, SourceError> {
        loop {
            let mut input = &self.input[self.start..self.end];
            let step = self.replies.step(&mut input);
            self.start = self.end - input.len();
            match step {
                Ok(Some(Step::Status(line))) => return self.read(&line),
                Ok(Some(_)) => {} // of a body that nobody wanted
                Ok(None) => self.fill().await?,
                Err(overlong) => return Err(self.overlong(overlong)),
            }
        }
    }

    /// Hands the body behind a status line to `sink`, which may say that it is too much.
    pub(super) async fn body(&mut self, mut sink: impl FnMut(&[u8]) -> bool + Send) -> Result<(), SourceError> {
        loop {
            let mut input = &self.input[self.start..self.end];
            let step = self.replies.step(&mut input);
            self.start = self.end - input.len();
            match step {
                Ok(Some(Step::Body(bytes))) if !sink(bytes) => return Err(self.endless()),
                Ok(Some(Step::Body(_))) => {}
                Ok(Some(Step::BodyEnd | Step::Status(_))) => return Ok(()),
                Ok(None) => self.fill().await?,
                Err(overlong) => return Err(self.overlong(overlong)),
            }
        }
    }

    async fn fill(&mut self) -> Result<(), SourceError> {
        let since = Instant::now();
        match timeout(self.patience, self.stream.read(&mut self.input[..])).await {
            Ok(Ok(0)) => Err(self.closed()),
            Ok(Ok(length)) if self.pace.is_too_slow(since, length, self.patience) => Err(self.slow()),
            Ok(Ok(length)) => {
                (self.start, self.end) = (0, length);
                Ok(())
            }
            Ok(Err(error)) => Err(self.broken(&error)),
            Err(_) => Err(self.silent()),
        }
    }

    fn read(&mut self, line: &[u8]) -> Result<Status, SourceError> {
        let Some(mut status) = Status::parse(line) else { return Err(self.not_pop3(line)) };
        self.greeted = true;
        for secret in &self.hidden {
            status.text = status.text.replace(secret.as_str(), "***");
        }
        Ok(status)
    }

    /// What answers here speaks something else, or has lost the thread.
    fn not_pop3(&self, line: &[u8]) -> SourceError {
        let host = &self.host;
        if !self.greeted {
            let text = text!(
                "{host} does not greet as a POP3 server does; check server and port (995 with TLS, 110 without)",
                "{host} ne se présente pas comme un serveur POP3 ; vérifiez le serveur et le port (995 avec TLS, 110 sans)"
            );
            return connection(Code::Protocol, text);
        }
        let mut said: String =
            String::from_utf8_lossy(line).chars().take(TOLD_LIMIT).flat_map(char::escape_debug).collect();
        for secret in &self.hidden {
            said = said.replace(secret.as_str(), "***");
        }
        let text = text!(
            "{host} sent a reply that is neither +OK nor -ERR: {said}",
            "{host} a envoyé une réponse qui n'est ni +OK ni -ERR : {said}"
        );
        connection(Code::Protocol, text)
    }

    fn overlong(&self, overlong: Overlong) -> SourceError {
        let host = &self.host;
        let text = text!(
            "{host} sends {overlong}: this is no POP3 server, or a broken one",
            "{host} envoie une ligne d'état sans fin : ce n'est pas un serveur POP3, ou il est en panne"
        );
        connection(Code::Protocol, text)
    }

    fn endless(&self) -> SourceError {
        let host = &self.host;
        let text = text!(
            "{host} sends much more than it announced; the connection was given up",
            "{host} envoie bien plus qu'annoncé ; la connexion a été abandonnée"
        );
        connection(Code::Protocol, text)
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

    fn closed(&self) -> SourceError {
        let host = &self.host;
        let text = if self.replies.in_body() {
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

/// Cuts the body of a list into its lines.
#[derive(Default)]
struct Lines {
    line: Vec<u8>,
}

impl Lines {
    fn take(&mut self, mut bytes: &[u8], each: &mut impl FnMut(&[u8])) {
        while let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
            self.hold(&bytes[..end]);
            bytes = &bytes[end + 1..];
            let line = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
            if self.line.len() <= LIST_LINE_LIMIT {
                each(line);
            }
            self.line.clear();
        }
        self.hold(bytes);
    }

    fn hold(&mut self, bytes: &[u8]) {
        let room = (LIST_LINE_LIMIT + 1).saturating_sub(self.line.len());
        self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

/// Bytes read at a time.
const INPUT: usize = 16 << 10;
/// Characters of an unreadable reply that are told.
const TOLD_LIMIT: usize = 200;
/// Shorter secrets are not looked for: they are in every other sentence.
const HIDDEN_LEAST: usize = 4;
/// Longest line of a list, bytes.
const LIST_LINE_LIMIT: usize = 2048;
/// Most that a list may hold, bytes: a million messages.
const LIST_LIMIT: usize = 100 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_list_come_whole_and_too_long_ones_not_at_all() {
        let long = "x".repeat(5000);
        let text = format!("1 a\r\n2 {long}\r\n3 b\n\r\n4 c\r\n");
        for size in [1, 7, 10_000] {
            let (mut lines, mut seen) = (Lines::default(), Vec::new());
            for piece in text.as_bytes().chunks(size) {
                lines.take(piece, &mut |line: &[u8]| seen.push(String::from_utf8_lossy(line).into_owned()));
            }
            assert_eq!(seen, ["1 a", "3 b", "", "4 c"]);
            assert!(lines.line.capacity() < 3 * LIST_LINE_LIMIT);
        }
    }
}
