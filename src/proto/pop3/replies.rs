//! The step machine in front of everything else: it cuts what the server sends into status lines and the bodies of
//! multi-line replies, and takes the dots off that the server put before lines (RFC 1939, 3).
//!
//! Not a parser: it is told, in the order in which commands are sent, which of them are answered with a body, and so
//! commands may be sent without waiting (PIPELINING, RFC 2449, 6.6). A body comes out as it comes in, lines of any
//! length; nothing of it is held. Input may be split anywhere.
//!
//! A line ends with CRLF, and a bare LF is a byte like any other: a message may well hold LF, dot, CRLF, and must not
//! end there. Only for a server whose status line ends with a bare LF do the lines of the body end so too.

use std::collections::VecDeque;

/// What comes out of the machine.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// A status line without its line end; a body follows where one was expected and the line says `+OK`.
    Status(Vec<u8>),
    /// Bytes of the body.
    Body(&'a [u8]),
    /// The body is whole.
    BodyEnd,
}

/// What a command is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// A status line.
    Line,
    /// A status line and, after `+OK`, a body up to a line with nothing but a dot.
    Body,
}

/// A status line without an end: the connection is of no use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a status line of more than {LINE_LIMIT} bytes")]
pub struct Overlong;

/// The machine. One for each connection, from the greeting on; a new one once TLS is on.
#[derive(Debug, Default)]
pub struct Replies {
    expected: VecDeque<Expect>,
    state: State,
    /// The status line so far.
    line: Vec<u8>,
    /// Lines of this body end with a bare LF.
    bare: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Status,
    /// At the beginning of a line.
    Start,
    /// After the dot at the beginning of a line, which is held back.
    Dot,
    /// After the dot and CR, held back both.
    DotCr,
    /// Within a line.
    Text,
    /// Within a line, after CR.
    Cr,
}

impl Replies {
    /// The next command is answered so. What nobody announced (the greeting) is a line.
    pub fn expect(&mut self, what: Expect) {
        self.expected.push_back(what);
    }

    /// Takes bytes from the front of `input` up to the next step; `None` once `input` is used up.
    pub fn step<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Step<'a>>, Overlong> {
        if self.state == State::Status { self.status(input) } else { Ok(self.body(input)) }
    }

    /// Whether a body has begun and is not whole.
    pub fn in_body(&self) -> bool {
        self.state != State::Status
    }

    fn status<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Step<'a>>, Overlong> {
        let end = memchr::memchr(b'\n', input);
        let (bytes, rest) = input.split_at(end.map_or(input.len(), |at| at + 1));
        if self.line.len() + bytes.len() > LINE_LIMIT {
            return Err(Overlong);
        }
        self.line.extend_from_slice(bytes);
        *input = rest;
        if end.is_none() {
            return Ok(None);
        }
        let mut line = std::mem::take(&mut self.line);
        line.pop();
        self.bare = line.last() != Some(&b'\r');
        if !self.bare {
            line.pop();
        }
        let expected = self.expected.pop_front();
        if expected == Some(Expect::Body) && is_ok(&line) {
            self.state = State::Start;
        }
        Ok(Some(Step::Status(line)))
    }

    fn body<'a>(&mut self, input: &mut &'a [u8]) -> Option<Step<'a>> {
        let bytes = *input;
        let mut from = 0; // what is held back was consumed before
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            match (self.state, byte) {
                (State::Start, b'.') => {
                    self.state = State::Dot;
                    *input = &bytes[at + 1..];
                    if at > from {
                        return Some(Step::Body(&bytes[from..at]));
                    }
                    from = at + 1;
                }
                (State::Dot, b'\r') => {
                    self.state = State::DotCr;
                    from = at + 1;
                }
                (State::DotCr, b'\n') => return Some(self.end(input, &bytes[at + 1..])),
                (State::Dot, b'\n') if self.bare => return Some(self.end(input, &bytes[at + 1..])),
                (State::DotCr, _) => {
                    // the CR that was held back belongs to the message
                    self.state = State::Cr;
                    *input = &bytes[at..];
                    return Some(Step::Body(b"\r"));
                }
                (_, b'\r') => self.state = State::Cr,
                (State::Cr, b'\n') => self.state = State::Start,
                (_, b'\n') if self.bare => self.state = State::Start,
                _ => {
                    self.state = State::Text;
                    // on to the end of the line in one go
                    let rest = &bytes[at + 1..];
                    at += 1 + memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
                    continue;
                }
            }
            at += 1;
        }
        *input = &[];
        (from < bytes.len()).then(|| Step::Body(&bytes[from..]))
    }

    fn end<'a>(&mut self, input: &mut &'a [u8], rest: &'a [u8]) -> Step<'a> {
        self.state = State::Status;
        *input = rest;
        Step::BodyEnd
    }
}

/// Whether a status line is `+OK`.
fn is_ok(line: &[u8]) -> bool {
    line.get(..3).is_some_and(|word| word.eq_ignore_ascii_case(b"+OK"))
}

/// Longest status line, bytes (RFC 2449, 4 allows 512).
pub const LINE_LIMIT: usize = 8 << 10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Talk = (Vec<String>, Vec<Vec<u8>>, bool);

    /// Status lines and bodies of replies that all may have bodies, whatever the pieces in which they come; and
    /// whether the last body is whole.
    fn run(pieces: &[&[u8]]) -> Result<Talk, Overlong> {
        let (mut machine, mut lines, mut bodies) = (Replies::default(), Vec::new(), Vec::<Vec<u8>>::new());
        (0..100).for_each(|_| machine.expect(Expect::Body));
        for piece in pieces {
            let mut input = *piece;
            while let Some(step) = machine.step(&mut input)? {
                match step {
                    Step::Status(line) => {
                        lines.push(String::from_utf8_lossy(&line).into_owned());
                        if machine.in_body() {
                            bodies.push(Vec::new());
                        }
                    }
                    Step::Body(bytes) => {
                        assert!(!bytes.is_empty());
                        bodies.last_mut().unwrap().extend_from_slice(bytes);
                    }
                    Step::BodyEnd => assert!(!machine.in_body()),
                }
            }
            assert!(input.is_empty());
        }
        Ok((lines, bodies, !machine.in_body()))
    }

    const TALK: &[u8] = b"+OK follows\r\nSubject: x\r\n\r\n..\r\n...\r\n.\r.\r\n..a\n.\r\n\r\r\n.\n.\r\n.\r\n\
        -ERR no such message\r\n+ok\r\n.\r\n+OK bare\r\n.\n.\r\nend\n\r\n.\r\n+OK\na\r\n..b\n.\n+OK last\r\n";

    #[test]
    fn dots_are_taken_off_and_only_crlf_ends_a_line() {
        let (lines, bodies, whole) = run(&[TALK]).unwrap();
        assert_eq!(lines, ["+OK follows", "-ERR no such message", "+ok", "+OK bare", "+OK", "+OK last"]);
        let expected: [&[u8]; 5] = [
            b"Subject: x\r\n\r\n.\r\n..\r\n\r.\r\n.a\n.\r\n\r\r\n\n.\r\n",
            b"",
            b"\n.\r\nend\n\r\n",
            b"a\r\n.b\n",
            b"",
        ];
        assert_eq!(bodies, expected);
        assert!(!whole, "the last body has not come");
    }

    #[test]
    fn a_status_line_without_an_end_is_refused_and_a_body_line_without_an_end_is_not_held() {
        assert_eq!(run(&[&vec![b'x'; LINE_LIMIT + 1]]), Err(Overlong));
        let mut machine = Replies::default();
        machine.expect(Expect::Body);
        let mut input: &[u8] = b"+OK\r\n";
        machine.step(&mut input).unwrap();
        let block = vec![b'.'; 1 << 20];
        for n in 0..100 {
            let mut input = &block[usize::from(n == 0)..];
            let expected = input;
            let first = machine.step(&mut input).unwrap();
            assert!(first == Some(Step::Body(expected)) || n == 0, "{n}");
        }
        assert!(machine.line.capacity() < 1000 && machine.in_body());
    }

    #[test]
    fn what_nobody_asked_for_is_a_line() {
        let mut machine = Replies::default();
        let mut input: &[u8] = b"+OK POP3 ready <1.2@x>\r\n";
        assert_eq!(machine.step(&mut input).unwrap(), Some(Step::Status(b"+OK POP3 ready <1.2@x>".to_vec())));
        assert!(!machine.in_body());
    }

    /// A message as a server sends it.
    fn stuff(message: &[u8]) -> Vec<u8> {
        let mut sent = b"+OK\r\n".to_vec();
        let mut start = true;
        for (at, &byte) in message.iter().enumerate() {
            if start && byte == b'.' {
                sent.push(b'.');
            }
            sent.push(byte);
            start = byte == b'\n' && at > 0 && message[at - 1] == b'\r';
        }
        sent.extend_from_slice(if start { b".\r\n" } else { b"\r\n.\r\n" });
        sent
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_result(mut cuts in prop::collection::vec(0..TALK.len(), 0..60)) {
            cuts.extend([0, TALK.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &TALK[pair[0]..pair[1]]).collect();
            prop_assert_eq!(run(&pieces), run(&[TALK]));
        }

        #[test]
        fn what_a_server_stuffs_comes_out_as_it_was(
            words in prop::collection::vec(prop::sample::select(vec![&b"."[..], b"\r", b"\n", b"\r\n", b"a", b"\r\n."]), 0..80),
            cuts in prop::collection::vec(0..200_usize, 0..20),
        ) {
            let message = words.concat();
            let sent = stuff(&message);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(sent.len())).collect();
            cuts.extend([0, sent.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &sent[pair[0]..pair[1]]).collect();
            let (_, bodies, whole) = run(&pieces).unwrap();
            let mut expected = message.clone();
            if !(message.is_empty() || message.ends_with(b"\r\n")) {
                expected.extend_from_slice(b"\r\n");
            }
            // an empty message may come as no line or as an empty one
            prop_assert!(whole);
            prop_assert!(bodies[0] == expected || message.is_empty());
        }
    }
}
