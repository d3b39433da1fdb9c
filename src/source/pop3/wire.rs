//! One POP3 connection: lines out, status lines and bodies in.
//!
//! Not a session: it knows neither login nor mailbox. Commands may be queued and sent together; replies come in their
//! order.

use std::time::Duration;

use zeroize::Zeroizing;

use crate::config::Launcher;
use crate::model::Code;
use crate::proto::pop3::replies::{Expect, Overlong, Replies, Step};
use crate::proto::pop3::status::Status;
use crate::source::SourceError;
use crate::source::connect::Link;
use crate::source::trouble::connection;
use crate::text;

/// The connection.
pub(super) struct Wire {
    pub(super) link: Link,
    replies: Replies,
    /// Commands that wait to be sent; they may hold a secret.
    queued: Zeroizing<Vec<u8>>,
}

impl Wire {
    /// Connects to the server of `launcher`.
    pub(super) async fn open(launcher: &Launcher, patience: Duration) -> Result<Self, SourceError> {
        let link = Link::open(launcher, patience).await?;
        Ok(Self { link, replies: Replies::default(), queued: Zeroizing::default() })
    }

    /// As messages name the server: `host:port`.
    pub(super) fn host(&self) -> &str {
        &self.link.host
    }

    /// Begins TLS on this connection.
    pub(super) async fn start_tls(&mut self, launcher: &Launcher) -> Result<(), SourceError> {
        self.link.start_tls(launcher, false).await
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
        self.link.progress();
        self.link.write(&bytes).await
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
            match self.link.take(|input| self.replies.step(input)) {
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
            match self.link.take(|input| self.replies.step(input)) {
                Ok(Some(Step::Body(bytes))) if !sink(bytes) => return Err(self.endless()),
                Ok(Some(Step::Body(_))) => {}
                Ok(Some(Step::BodyEnd | Step::Status(_))) => return Ok(()),
                Ok(None) => self.fill().await?,
                Err(overlong) => return Err(self.overlong(overlong)),
            }
        }
    }

    async fn fill(&mut self) -> Result<(), SourceError> {
        if self.link.fill().await? { Ok(()) } else { Err(self.link.closed(self.replies.in_body())) }
    }

    fn read(&mut self, line: &[u8]) -> Result<Status, SourceError> {
        let Some(mut status) = Status::parse(line) else { return Err(self.not_pop3(line)) };
        self.link.greeted = true;
        status.text = self.link.without_secrets(&status.text);
        Ok(status)
    }

    /// What answers here speaks something else, or has lost the thread.
    fn not_pop3(&self, line: &[u8]) -> SourceError {
        let host = self.host();
        if !self.link.greeted {
            let text = text!(
                "{host} does not greet as a POP3 server does; check server and port (995 with TLS, 110 without)",
                "{host} ne se présente pas comme un serveur POP3 ; vérifiez le serveur et le port (995 avec TLS, 110 sans)"
            );
            return connection(Code::Protocol, text);
        }
        let said = self.link.quoted(line);
        let text = text!(
            "{host} sent a reply that is neither +OK nor -ERR: {said}",
            "{host} a envoyé une réponse qui n'est ni +OK ni -ERR : {said}"
        );
        connection(Code::Protocol, text)
    }

    fn overlong(&self, overlong: Overlong) -> SourceError {
        let host = self.host();
        let text = text!(
            "{host} sends {overlong}: this is no POP3 server, or a broken one",
            "{host} envoie une ligne d'état sans fin : ce n'est pas un serveur POP3, ou il est en panne"
        );
        connection(Code::Protocol, text)
    }

    fn endless(&self) -> SourceError {
        let host = self.host();
        let text = text!(
            "{host} sends much more than it announced; the connection was given up",
            "{host} envoie bien plus qu'annoncé ; la connexion a été abandonnée"
        );
        connection(Code::Protocol, text)
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
