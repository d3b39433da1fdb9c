//! NNTP and STARTTLS (RFC 4642, 2), towards a server.

use super::machine::{Machine, Turn, Who, ended, no_tls, not_spoken, says, turned_away, words};

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
            return if says(line, 0, "382") {
                Turn::secure(Who::Remote)
            } else {
                no_tls("STARTTLS", line, 563).saying(Who::Local, b"400 Server does not support TLS\r\n")
            };
        }
        self.asked = true;
        match words(line).next() {
            Some(b"200" | b"201") => {
                Turn::line(Who::Remote).saying(Who::Local, ended(line)).saying(Who::Remote, b"STARTTLS\r\n")
            }
            // RFC 3977, 5.1.1
            Some(b"400" | b"502") => turned_away(line).saying(Who::Local, ended(line)),
            _ => not_spoken("NNTP", line, 563).saying(Who::Local, b"400 unexpected server response\r\n"),
        }
    }
}
