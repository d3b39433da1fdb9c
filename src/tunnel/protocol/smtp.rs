//! SMTP and STARTTLS (RFC 3207), both sides, and the login of `protocolUsername` inside TLS (RFC 4954).
//!
//! Lenient with replies: some servers end every line of a reply as if it were the last one, so what is left of the
//! answer to EHLO is passed over.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::machine::{
    Machine, Then, Turn, Who, ended, left, no_tls, not_spoken, not_spoken_behind, quoted_without, turned_away, words,
};
use crate::config::protocol::Authentication;
use crate::model::Code;
use crate::secret::Secret;
use crate::text;

/// Towards a server.
pub(super) struct Client {
    /// The name that we give.
    name: String,
    place: Place,
}

/// How far a talk with a server is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Greeting,
    Hello,
    Starttls,
}

impl Client {
    /// `name`: what EHLO says.
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), place: Place::Greeting }
    }

    fn greeting(&mut self, reply: Reply, line: &[u8]) -> Turn {
        let passed_on = match (reply.last, reply.code) {
            (false, _) => Turn::line(Who::Remote),
            (true, 220) => {
                self.place = Place::Hello;
                let hello = format!("EHLO {}\r\n", self.name);
                return Turn::line(Who::Remote).saying(Who::Local, ended(line)).saying(Who::Remote, hello);
            }
            (true, _) => turned_away(line),
        };
        passed_on.saying(Who::Local, ended(line))
    }

    fn hello(&mut self, reply: Reply, line: &[u8]) -> Turn {
        if reply.code != 250 {
            return no_tls("EHLO", line, 465).saying(Who::Local, NO_TLS);
        }
        if !reply.last {
            return Turn::line(Who::Remote);
        }
        self.place = Place::Starttls;
        Turn::line(Who::Remote).saying(Who::Remote, b"STARTTLS\r\n")
    }
}

impl Machine for Client {
    fn start(&mut self) -> Turn {
        Turn::line(Who::Remote)
    }

    fn read(&mut self, line: &[u8]) -> Turn {
        let Some(reply) = Reply::of(line) else {
            return not_spoken("SMTP", line, 465).saying(Who::Local, b"421 unexpected server response\r\n");
        };
        match self.place {
            Place::Greeting => self.greeting(reply, line),
            Place::Hello => self.hello(reply, line),
            Place::Starttls if reply.code == 250 => Turn::line(Who::Remote),
            Place::Starttls if reply.code != 220 => no_tls("STARTTLS", line, 465).saying(Who::Local, NO_TLS),
            Place::Starttls if reply.last => Turn::secure(Who::Remote),
            Place::Starttls => Turn::line(Who::Remote),
        }
    }
}

/// The login inside TLS.
pub(super) struct Login {
    name: String,
    username: String,
    password: Secret,
    authentication: Authentication,
    /// What is still to be answered to the server's questions, the last one first.
    answers: Vec<Zeroizing<String>>,
    greeted: bool,
}

impl Login {
    /// `name`: what EHLO says.
    pub(super) fn new(name: &str, username: &str, password: &Secret, authentication: Authentication) -> Self {
        let (name, username) = (name.to_owned(), username.to_owned());
        Self { name, username, password: password.clone(), authentication, answers: Vec::new(), greeted: false }
    }

    /// RFC 4616; draft-murchison-sasl-login.
    fn sign_in(&mut self) -> Turn {
        let (user, password) = (&self.username, self.password.reveal());
        match self.authentication {
            Authentication::Plain => {
                let message = Zeroizing::new(format!("\0{user}\0{password}"));
                let message = Zeroizing::new(STANDARD.encode(message.as_bytes()));
                let command = Zeroizing::new(format!("AUTH PLAIN {}\r\n", *message));
                // for a server that has no room for it in the command
                self.answers = vec![message];
                Turn::line(Who::Remote).saying(Who::Remote, command.as_bytes())
            }
            Authentication::Login => {
                self.answers = [password, user].map(|word| Zeroizing::new(STANDARD.encode(word))).into();
                Turn::line(Who::Remote).saying(Who::Remote, b"AUTH LOGIN\r\n")
            }
        }
    }

    fn no_login(&self, line: &[u8]) -> Turn {
        let password = self.password.reveal();
        let message =
            Zeroizing::new(STANDARD.encode(Zeroizing::new(format!("\0{}\0{password}", self.username)).as_bytes()));
        let word = Zeroizing::new(STANDARD.encode(password));
        let said = quoted_without(line, &[&message, &word, password]);
        Turn::fail(
            Code::Credentials,
            text!(
                "the server refuses the login of `protocolUsername`, it answers `{said}`: check name and password, and \
                 whether it wants the other `protocolAuthentication` (plain or login)",
                "le serveur refuse l'identification de `protocolUsername`, il répond « {said} » : vérifier le compte et le \
                 mot de passe, et s'il demande l'autre `protocolAuthentication` (plain ou login)"
            ),
        )
    }
}

impl Machine for Login {
    fn start(&mut self) -> Turn {
        Turn::line(Who::Remote).saying(Who::Remote, format!("EHLO {}\r\n", self.name))
    }

    fn read(&mut self, line: &[u8]) -> Turn {
        let reply = Reply::of(line);
        match reply {
            None => not_spoken("SMTP", line, 465),
            Some(Reply { code: 250, last: true }) if !self.greeted => {
                self.greeted = true;
                self.sign_in()
            }
            Some(Reply { code: 250, .. }) => Turn::line(Who::Remote),
            Some(Reply { last: true, .. }) if !self.greeted => turned_away(line),
            Some(Reply { code: 235, last: true }) => Turn::done(Then::Follow),
            Some(Reply { code: 334, .. }) => match self.answers.pop() {
                Some(answer) => {
                    let answer = Zeroizing::new(format!("{}\r\n", *answer));
                    Turn::line(Who::Remote).saying(Who::Remote, answer.as_bytes())
                }
                None => self.no_login(line),
            },
            Some(Reply { last: false, .. }) => Turn::line(Who::Remote),
            Some(_) => self.no_login(line),
        }
    }
}

/// Towards a client.
#[derive(Default)]
pub(super) struct Server {
    /// The backend's name, from its greeting.
    domain: Vec<u8>,
    greeted: bool,
}

impl Machine for Server {
    fn start(&mut self) -> Turn {
        Turn::line(Who::Remote)
    }

    fn read(&mut self, line: &[u8]) -> Turn {
        if self.greeted { self.command(line) } else { self.greeting(line) }
    }
}

impl Server {
    /// The backend's greeting, with stunnel's mark behind its name.
    fn greeting(&mut self, line: &[u8]) -> Turn {
        let Some(reply) = Reply::of(line) else {
            return not_spoken_behind("SMTP", line).saying(Who::Local, b"421 unexpected server response\r\n");
        };
        if reply.code != 220 {
            let next = if reply.last { turned_away(line) } else { Turn::line(Who::Remote) };
            return next.saying(Who::Local, ended(line));
        }
        let mut shown = ended(line);
        if self.domain.is_empty() {
            let text = line.get(4..).unwrap_or_default();
            self.domain = words(text).next().filter(|name| name.len() <= LONGEST_NAME).unwrap_or(b"localhost").to_vec();
            let rest: Vec<&[u8]> = words(text).skip(1).collect();
            let mark = if reply.last { &b"220 "[..] } else { b"220-" };
            shown = ended(&[mark, &self.domain, b" stunnel for ", &rest.join(&b' ')].concat());
        }
        self.greeted = reply.last;
        Turn::line(if reply.last { Who::Local } else { Who::Remote }).saying(Who::Local, shown)
    }

    fn command(&self, line: &[u8]) -> Turn {
        let command = words(line).next().unwrap_or_default().to_ascii_uppercase();
        let own = |before: &[u8], after: &[u8]| [before, &self.domain, after].concat();
        let reply = match &*command {
            b"STARTTLS" => return Turn::secure(Who::Local).saying(Who::Local, b"220 Go ahead\r\n"),
            b"QUIT" => return left().saying(Who::Local, own(b"221 ", b"\r\n")),
            b"EHLO" => own(b"250-", b"\r\n250 STARTTLS\r\n"),
            b"HELO" => own(b"250 ", b"\r\n"),
            b"NOOP" | b"RSET" => b"250 OK\r\n".to_vec(),
            // RFC 3207, 4
            _ => b"530 Must issue a STARTTLS command first\r\n".to_vec(),
        };
        Turn::line(Who::Local).saying(Who::Local, reply)
    }
}

/// A line of a reply (RFC 5321, 4.2).
#[derive(Clone, Copy)]
struct Reply {
    code: u16,
    /// No other line of it follows.
    last: bool,
}

impl Reply {
    fn of(line: &[u8]) -> Option<Self> {
        let line = line.trim_ascii_start();
        let digits = line.get(..3).filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
        let code = std::str::from_utf8(digits).ok()?.parse().ok()?;
        match line.get(3) {
            None => Some(Self { code, last: true }),
            Some(b'-') => Some(Self { code, last: false }),
            Some(byte) if byte.is_ascii_whitespace() => Some(Self { code, last: true }),
            Some(_) => None,
        }
    }
}

/// The longest name that DNS has; it is repeated in replies.
const LONGEST_NAME: usize = 255;
/// RFC 5321, 3.8: the connection is about to end.
const NO_TLS: &[u8] = b"421 Server does not support TLS\r\n";
