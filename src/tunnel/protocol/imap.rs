//! IMAP and STARTTLS (RFC 9051, 6.2.1), both sides.
//!
//! The client of a tunnel must not see the capabilities that were told in clear: a greeting without them makes it ask
//! for them, inside TLS. In server mode the backend's own capabilities are shown with what holds before TLS: STARTTLS
//! and no login. A backend or server that begins with PREAUTH cannot have STARTTLS any more.

use super::machine::{
    Machine, Turn, Who, ended, left, no_tls, not_spoken, not_spoken_behind, says, turned_away, words,
};
use crate::model::Code;
use crate::text;
use crate::text::Text;

/// Towards a server.
#[derive(Default)]
pub(super) struct Client {
    asked: bool,
}

impl Machine for Client {
    fn start(&mut self) -> Turn {
        Turn::line(Who::Remote)
    }

    fn read(&mut self, line: &[u8]) -> Turn {
        if self.asked { answered(line) } else { self.greeted(line) }
    }
}

impl Client {
    fn greeted(&mut self, line: &[u8]) -> Turn {
        let word = |word| says(line, 0, "*") && says(line, 1, word);
        if word("OK") {
            self.asked = true;
            let next = Turn::line(Who::Remote).saying(Who::Local, b"* OK Connected.\r\n");
            return next.saying(Who::Remote, b"stunnel STARTTLS\r\n");
        }
        if word("BYE") {
            return turned_away(line).saying(Who::Local, ended(line));
        }
        let refusal =
            if word("PREAUTH") { Turn::fail(Code::Tls, preauthenticated()) } else { not_spoken("IMAP", line, 993) };
        refusal.saying(Who::Local, NO_TLS)
    }
}

/// Other lines may come before the one that is waited for (RFC 9051, 7).
fn answered(line: &[u8]) -> Turn {
    match words(line).next() {
        Some(b"stunnel") if says(line, 1, "OK") => Turn::secure(Who::Remote),
        Some(b"*") if says(line, 1, "BYE") => turned_away(line).saying(Who::Local, ended(line)),
        Some(b"*") => Turn::line(Who::Remote),
        _ => no_tls("STARTTLS", line, 993).saying(Who::Local, NO_TLS),
    }
}

/// Towards a client.
#[derive(Default)]
pub(super) struct Server {
    greeted: bool,
    /// The tag of a CAPABILITY that the backend is answering.
    relayed: Option<Vec<u8>>,
}

impl Machine for Server {
    fn start(&mut self) -> Turn {
        Turn::line(Who::Remote)
    }

    fn read(&mut self, line: &[u8]) -> Turn {
        match self.relayed.take() {
            Some(tag) => self.capabilities(line, tag),
            None if self.greeted => self.command(line),
            None => self.greeting(line),
        }
    }
}

impl Server {
    fn greeting(&mut self, line: &[u8]) -> Turn {
        if says(line, 0, "*") && says(line, 1, "OK") {
            self.greeted = true;
            let greeting = [&without_capabilities(line), &b" (stunnel)\r\n"[..]].concat();
            return Turn::line(Who::Local).saying(Who::Local, greeting);
        }
        if says(line, 0, "*") && says(line, 1, "BYE") {
            return turned_away(line).saying(Who::Local, ended(line));
        }
        let refusal = if says(line, 0, "*") && says(line, 1, "PREAUTH") {
            Turn::fail(Code::Tls, preauthenticated_behind())
        } else {
            not_spoken_behind("IMAP", line)
        };
        refusal.saying(Who::Local, b"* BYE unexpected server response\r\n")
    }

    fn command(&mut self, line: &[u8]) -> Turn {
        let tag = words(line).next().filter(|tag| is_tag(tag)).unwrap_or(b"*");
        let reply = |rest: &str| [tag, rest.as_bytes(), b"\r\n"].concat();
        let command = words(line).nth(1).unwrap_or_default().to_ascii_uppercase();
        match (tag, &*command) {
            (b"*", _) => Turn::line(Who::Local).saying(Who::Local, b"* BAD tag and command expected\r\n"),
            (_, b"STARTTLS") => Turn::secure(Who::Local).saying(Who::Local, reply(" OK Begin TLS negotiation now")),
            (_, b"CAPABILITY") => {
                self.relayed = Some(tag.to_vec());
                Turn::line(Who::Remote).saying(Who::Remote, reply(" CAPABILITY"))
            }
            (_, b"NOOP") => Turn::line(Who::Local).saying(Who::Local, reply(" OK NOOP completed")),
            (_, b"LOGOUT") => {
                let words = [&b"* BYE server terminating\r\n"[..], &reply(" OK LOGOUT completed")].concat();
                left().saying(Who::Remote, b"stunnel LOGOUT\r\n").saying(Who::Local, words)
            }
            // RFC 5530, 3
            _ => Turn::line(Who::Local).saying(Who::Local, reply(" NO [PRIVACYREQUIRED] STARTTLS first")),
        }
    }

    /// The backend's answer, until the line with the tag.
    fn capabilities(&mut self, line: &[u8], tag: Vec<u8>) -> Turn {
        let first = words(line).next().unwrap_or_default();
        if first == tag {
            return Turn::line(Who::Local).saying(Who::Local, ended(line));
        }
        if first != b"*" || says(line, 1, "BYE") {
            return not_spoken_behind("IMAP", line).saying(Who::Local, b"* BYE unexpected server response\r\n");
        }
        self.relayed = Some(tag);
        let shown = if says(line, 1, "CAPABILITY") { before_tls(line) } else { ended(line) };
        Turn::line(Who::Remote).saying(Who::Local, shown)
    }
}

/// What a server can do as long as there is no TLS (RFC 9051, 6.1.1).
fn before_tls(line: &[u8]) -> Vec<u8> {
    let mut shown = b"*".to_vec();
    for word in words(line).skip(1) {
        let upper = word.to_ascii_uppercase();
        let inside = upper.starts_with(b"AUTH=")
            || ["SASL-IR", "STARTTLS", "LOGINDISABLED"].iter().any(|w| upper == w.as_bytes());
        if !inside {
            shown.push(b' ');
            shown.extend_from_slice(word);
        }
    }
    shown.extend_from_slice(b" STARTTLS LOGINDISABLED\r\n");
    shown
}

/// A greeting without `[CAPABILITY …]`: it tells what holds inside TLS.
fn without_capabilities(line: &[u8]) -> Vec<u8> {
    let upper = line.to_ascii_uppercase();
    let begin = memchr::memmem::find(&upper, b"[CAPABILITY ");
    let Some((begin, length)) = begin.and_then(|at| memchr::memchr(b']', &line[at..]).map(|length| (at, length)))
    else {
        return line.to_vec();
    };
    let rest = &line[begin + length + 1..];
    [&line[..begin], rest.strip_prefix(b" ").unwrap_or(rest)].concat()
}

/// RFC 9051, 9; short enough to be sent back.
fn is_tag(word: &[u8]) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_graphic() && !br#"(){%*"\+"#.contains(byte);
    word.len() <= 64 && word.iter().all(allowed)
}

fn preauthenticated() -> Text {
    text!(
        "the server signs the client in by itself (PREAUTH), which rules STARTTLS out (RFC 9051, 7.1.4): use its TLS port \
         993 and leave out `protocol`",
        "le serveur connecte le client de lui-même (PREAUTH), ce qui exclut STARTTLS (RFC 9051, 7.1.4) : prendre son port \
         TLS 993 et enlever `protocol`"
    )
}

fn preauthenticated_behind() -> Text {
    text!(
        "the server of `connect` signs clients in by itself (PREAUTH), so that none may ask for STARTTLS: leave out \
         `protocol` and let clients begin with TLS",
        "le serveur de `connect` connecte les clients de lui-même (PREAUTH), aucun ne peut donc demander STARTTLS : enlever \
         `protocol`, les clients commenceront par TLS"
    )
}

/// stunnel's words.
const NO_TLS: &[u8] = b"* BYE stunnel: Server does not support TLS\r\n";
