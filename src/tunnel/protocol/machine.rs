//! What every negotiation is made of: a [`Machine`] that is given lines or bytes and says what is to be sent, and a
//! [`Talk`] that cuts what arrives into the pieces a machine asks for.
//!
//! No I/O and no clock. Who plays a talk gives it single bytes of the side it names in [`Talk::next`]: nothing is ever
//! read that belongs to what follows. Everything is bounded: a line, a message, and what is read in a whole talk.

use std::fmt;
use std::net::SocketAddr;

use zeroize::Zeroizing;

use super::Target;
use crate::config::Address;
use crate::model::{Code, Fault};
use crate::text;
use crate::text::{Text, shown};

/// One of the two sides of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Who connected to us.
    Local,
    /// Whom we connected to.
    Remote,
}

/// A negotiation, as decisions.
pub(super) trait Machine: Send {
    /// The first thing to do.
    fn start(&mut self) -> Turn;

    /// What was asked for has been read: a line without its end, or so many bytes.
    fn read(&mut self, input: &[u8]) -> Turn;

    /// A name has been looked up; empty: there is no such name. Only machines that ask for it are told.
    fn resolved(&mut self, _addresses: &[SocketAddr]) -> Turn {
        self.start()
    }
}

/// What is to be done: say something, then the next thing.
pub(super) struct Turn {
    /// What is said, in this order. Wiped: it may hold a password.
    pub(super) say: Vec<(Who, Zeroizing<Vec<u8>>)>,
    pub(super) next: Next,
}

/// What follows what is said.
#[derive(Debug)]
pub(super) enum Next {
    /// A line is read from this side.
    Line(Who),
    /// So many bytes are read from this side, at least one and at most [`LONGEST`].
    Bytes(Who, usize),
    /// A name is looked up.
    Resolve(Address),
    /// The negotiation is over. Where a side is named, it must have sent nothing that was not asked for.
    Done { quiet: Option<Who>, then: Then },
    /// It failed. The sentence says nothing of who it is with; that is told by who plays the talk.
    Fail(Fault),
}

/// What a negotiation came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// What the session does next anyway.
    Follow,
    /// TLS at once; these bytes belong to its handshake.
    Direct(Vec<u8>),
    /// To this target.
    Go(Target),
    /// The end: all is said.
    End,
}

impl Turn {
    fn of(next: Next) -> Self {
        Self { say: Vec::new(), next }
    }

    /// Reads a line.
    pub(super) fn line(from: Who) -> Self {
        Self::of(Next::Line(from))
    }

    /// Reads so many bytes.
    pub(super) fn bytes(from: Who, count: usize) -> Self {
        Self::of(Next::Bytes(from, count))
    }

    /// Looks up a name.
    pub(super) fn resolve(address: Address) -> Self {
        Self::of(Next::Resolve(address))
    }

    /// TLS follows: this side must have sent nothing more.
    pub(super) fn secure(quiet: Who) -> Self {
        Self::of(Next::Done { quiet: Some(quiet), then: Then::Follow })
    }

    /// The end of a talk inside TLS, or of one that nobody could disturb.
    pub(super) fn done(then: Then) -> Self {
        Self::of(Next::Done { quiet: None, then })
    }

    /// Fails.
    pub(super) fn fail(code: Code, text: Text) -> Self {
        Self::of(Next::Fail(Fault::new(code, text)))
    }

    /// Before that, says this too.
    pub(super) fn saying(mut self, to: Who, words: impl Into<Vec<u8>>) -> Self {
        self.say.push((to, Zeroizing::new(words.into())));
        self
    }
}

/// What is said may be a password.
impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sizes: Vec<(Who, usize)> = self.say.iter().map(|(to, words)| (*to, words.len())).collect();
        f.debug_struct("Turn").field("say", &sizes).field("next", &self.next).finish()
    }
}

/// A machine at work.
pub(super) struct Talk {
    machine: Box<dyn Machine>,
    next: Next,
    piece: Zeroizing<Vec<u8>>,
    read: usize,
}

/// What is to be said to whom.
pub(super) type Said = Vec<(Who, Zeroizing<Vec<u8>>)>;

impl Talk {
    /// Starts it; what is to be said first.
    pub(super) fn start(mut machine: Box<dyn Machine>) -> (Self, Said) {
        let turn = machine.start();
        let talk = Self { machine, next: turn.next, piece: Zeroizing::new(Vec::new()), read: 0 };
        talk.check();
        (talk, turn.say)
    }

    /// What it waits for.
    pub(super) fn next(&self) -> &Next {
        &self.next
    }

    /// The last thing, when nothing is waited for any more.
    pub(super) fn into_next(self) -> Next {
        self.next
    }

    /// Takes one byte of the side it waits for; what is to be said now, if a piece is complete.
    pub(super) fn feed(&mut self, byte: u8) -> Option<Said> {
        self.piece.push(byte);
        self.read += 1;
        let complete = match self.next {
            Next::Line(_) => byte == b'\n',
            Next::Bytes(_, count) => self.piece.len() == count,
            // nothing is waited for
            _ => return None,
        };
        if !complete && (self.piece.len() >= LONGEST || self.read >= MOST) {
            self.next = Next::Fail(too_long());
            return Some(Vec::new());
        }
        if !complete {
            return None;
        }
        let piece = std::mem::take(&mut self.piece);
        let line = matches!(self.next, Next::Line(_));
        let turn = self.machine.read(if line { without_end(&piece) } else { &piece });
        Some(self.take(turn))
    }

    /// Takes what a look-up found.
    pub(super) fn resolved(&mut self, addresses: &[SocketAddr]) -> Said {
        let turn = self.machine.resolved(addresses);
        self.take(turn)
    }

    fn take(&mut self, turn: Turn) -> Said {
        self.next = turn.next;
        if self.read >= MOST && !matches!(self.next, Next::Done { .. } | Next::Fail(_)) {
            self.next = Next::Fail(too_long());
            return Vec::new();
        }
        self.check();
        turn.say
    }

    /// No machine asks for more than fits.
    fn check(&self) {
        debug_assert!(!matches!(self.next, Next::Bytes(_, count) if count == 0 || count > LONGEST));
    }
}

/// A line without `\r\n` or `\n`.
fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The words of a line, whatever blanks are between them.
pub(super) fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

/// Whether a line has this word at this place, whatever its case.
pub(super) fn says(line: &[u8], place: usize, word: &str) -> bool {
    words(line).nth(place).is_some_and(|found| found.eq_ignore_ascii_case(word.as_bytes()))
}

/// A line with its end again.
pub(super) fn ended(line: &[u8]) -> Vec<u8> {
    [line, b"\r\n"].concat()
}

/// What a peer said, fit for a sentence.
pub(super) fn quoted(line: &[u8]) -> String {
    shown(&String::from_utf8_lossy(line), SHOWN)
}

/// The same of somebody who knows these secrets and may repeat them.
pub(super) fn quoted_without(line: &[u8], secrets: &[&str]) -> String {
    let hidden = |said: String, secret: &&str| if secret.is_empty() { said } else { said.replace(*secret, "***") };
    let said = secrets.iter().fold(String::from_utf8_lossy(line).into_owned(), hidden);
    shown(&said, SHOWN)
}

/// The server has no TLS to offer where it was asked for. `port` is the one on which it speaks TLS from the first byte.
pub(super) fn no_tls(command: &str, line: &[u8], port: u16) -> Turn {
    let said = quoted(line);
    Turn::fail(
        Code::Tls,
        text!(
            "the server refuses {command}, it answers `{said}`: it offers no TLS on this port, use its TLS port {port} and \
             leave out `protocol`",
            "le serveur refuse {command}, il répond « {said} » : il n'offre pas TLS sur ce port, prendre son port TLS \
             {port} et enlever `protocol`"
        ),
    )
}

/// The server greets with something else than its protocol.
pub(super) fn not_spoken(protocol: &str, line: &[u8], port: u16) -> Turn {
    let said = quoted(line);
    Turn::fail(
        Code::Protocol,
        text!(
            "the server does not greet as {protocol} does, it says `{said}`: check host and port (if {port} is its TLS \
             port, leave out `protocol`)",
            "le serveur ne salue pas comme en {protocol}, il dit « {said} » : vérifier l'hôte et le port (si c'est son \
             port TLS {port}, enlever `protocol`)"
        ),
    )
}

/// The same of the server of `connect`, in server mode.
pub(super) fn not_spoken_behind(protocol: &str, line: &[u8]) -> Turn {
    let said = quoted(line);
    Turn::fail(
        Code::Protocol,
        text!(
            "the server of `connect` does not greet as {protocol} does, it says `{said}`: `connect` must be its port without \
             TLS",
            "le serveur de `connect` ne salue pas comme en {protocol}, il dit « {said} » : `connect` doit être son port sans \
             TLS"
        ),
    )
}

/// The server speaks the protocol and wants nothing of us.
pub(super) fn turned_away(line: &[u8]) -> Turn {
    let said = quoted(line);
    Turn::fail(
        Code::Connect,
        text!(
            "the server turns the connection away: `{said}`; it may be busy or not allow this address, ask who runs it",
            "le serveur renvoie la connexion : « {said} » ; il est peut-être surchargé ou refuse cette adresse, voir avec \
             qui l'exploite"
        ),
    )
}

/// The client went away, or would not have TLS.
pub(super) fn left() -> Turn {
    Turn::fail(
        Code::Tls,
        text!(
            "the client left without asking for TLS: set its software to STARTTLS, or to TLS from the first byte",
            "le client est parti sans demander TLS : régler son logiciel sur STARTTLS, ou sur TLS dès le premier octet"
        ),
    )
}

fn too_long() -> Fault {
    Fault::new(
        Code::Protocol,
        text!(
            "more was sent than this protocol ever needs before TLS; is it the right port?",
            "bien plus a été envoyé que ce protocole n'en demande avant TLS ; est-ce le bon port ?"
        ),
    )
}

/// The longest line or message that is taken: HTTP and capabilities have long lines, none such a long one.
pub(super) const LONGEST: usize = 8 * 1024;
/// The most that is read in one talk, both sides together.
pub(super) const MOST: usize = 64 * 1024;
/// How much of what a peer said stands in a sentence.
const SHOWN: usize = 200;
