//! POP3 and STLS (RFC 2595, 4), both sides.
//!
//! The greeting goes on as it is: its timestamp belongs to an APOP inside TLS.

use super::machine::{
    Machine, Turn, Who, ended, left, no_tls, not_spoken, not_spoken_behind, says, turned_away, words,
};

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
        if self.asked {
            return if says(line, 0, "+OK") {
                Turn::secure(Who::Remote)
            } else {
                no_tls("STLS", line, 995).saying(Who::Local, b"-ERR Server does not support TLS\r\n")
            };
        }
        self.asked = true;
        if says(line, 0, "+OK") {
            return Turn::line(Who::Remote).saying(Who::Local, ended(line)).saying(Who::Remote, b"STLS\r\n");
        }
        if says(line, 0, "-ERR") {
            return turned_away(line).saying(Who::Local, ended(line));
        }
        not_spoken("POP3", line, 995).saying(Who::Local, NO_POP3)
    }
}

/// Towards a client.
#[derive(Default)]
pub(super) struct Server {
    greeted: bool,
}

impl Machine for Server {
    fn start(&mut self) -> Turn {
        Turn::line(Who::Remote)
    }

    fn read(&mut self, line: &[u8]) -> Turn {
        if !self.greeted {
            self.greeted = true;
            if says(line, 0, "+OK") {
                return Turn::line(Who::Local).saying(Who::Local, ended(&[line, b" + stunnel"].concat()));
            }
            if says(line, 0, "-ERR") {
                return turned_away(line).saying(Who::Local, ended(line));
            }
            return not_spoken_behind("POP3", line).saying(Who::Local, NO_POP3);
        }
        let command = words(line).next().unwrap_or_default().to_ascii_uppercase();
        let reply: &[u8] = match &*command {
            b"STLS" => {
                return Turn::secure(Who::Local).saying(Who::Local, b"+OK Stunnel starts TLS negotiation\r\n");
            }
            b"QUIT" => return left().saying(Who::Local, b"+OK\r\n"),
            b"CAPA" => b"+OK Stunnel capability list follows\r\nSTLS\r\n.\r\n",
            b"NOOP" => b"+OK\r\n",
            _ => b"-ERR STLS first\r\n",
        };
        Turn::line(Who::Local).saying(Who::Local, reply)
    }
}

/// The server says something else.
const NO_POP3: &[u8] = b"-ERR unexpected server response\r\n";
