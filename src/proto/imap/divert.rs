//! The step machine in front of everything else: it cuts what the server sends into whole responses and diverts
//! message bodies, so that no response ever holds one.
//!
//! Not a parser: it knows lines, literals (RFC 3501, 4.3) and the few items of a FETCH response that are a whole
//! message. Where such an item announces a literal of n bytes, the n bytes come out as [`Step::Body`] and the
//! response says `{0}` instead; everything else is collected up to a limit. Input may be split anywhere.

/// What comes out of the machine.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// A message body of so many bytes begins; it belongs to the response that comes next.
    BodyStart(u64),
    /// Bytes of that body.
    Body(&'a [u8]),
    /// That body is whole.
    BodyEnd,
    /// A whole response with its line end, literals included, diverted bodies replaced by `{0}`.
    Response(Vec<u8>),
}

/// More than the machine holds: the connection is of no use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Overlong {
    /// A line without an end.
    #[error("a line of more than {LINE_LIMIT} bytes")]
    Line,
    /// A literal that is no message body; its size.
    #[error("a literal of {0} bytes where at most {LITERAL_LIMIT} were expected")]
    Literal(u64),
}

/// The machine. One for each connection, from the greeting on.
#[derive(Debug, Default)]
pub struct Divert {
    state: State,
    /// The response so far.
    text: Vec<u8>,
    /// Where its current line begins: after the last line end or literal.
    line: usize,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Line,
    /// Bytes of a collected literal still to come.
    Literal(u64),
    /// Bytes of a diverted body still to come.
    Body(u64),
}

impl Divert {
    /// Takes bytes from the front of `input` up to the next step; `None` once `input` is used up. No bytes are held
    /// back: a body comes out as it comes in.
    pub fn step<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Step<'a>>, Overlong> {
        loop {
            match self.state {
                State::Body(0) => {
                    self.state = State::Line;
                    return Ok(Some(Step::BodyEnd));
                }
                State::Body(left) => {
                    if input.is_empty() {
                        return Ok(None);
                    }
                    let bytes = take(input, left);
                    self.state = State::Body(left - bytes.len() as u64);
                    return Ok(Some(Step::Body(bytes)));
                }
                State::Literal(0) => {
                    self.line = self.text.len();
                    self.state = State::Line;
                }
                State::Literal(left) => {
                    if input.is_empty() {
                        return Ok(None);
                    }
                    let bytes = take(input, left);
                    self.text.extend_from_slice(bytes);
                    self.state = State::Literal(left - bytes.len() as u64);
                }
                State::Line => {
                    if input.is_empty() {
                        return Ok(None);
                    }
                    if let Some(step) = self.line(input)? {
                        return Ok(Some(step));
                    }
                }
            }
        }
    }

    /// Whether the machine stands between two responses: where a connection may end without loss.
    pub fn is_idle(&self) -> bool {
        matches!(self.state, State::Line) && self.text.is_empty()
    }

    /// Whether a body has begun and is not whole.
    pub fn in_body(&self) -> bool {
        matches!(self.state, State::Body(_))
    }

    /// Takes bytes up to a line end and decides what follows it.
    fn line<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Step<'a>>, Overlong> {
        if self.is_long_search() && input[0] == b' ' {
            return Ok(Some(self.cut_search()));
        }
        let most = self.room();
        let window = &input[..input.len().min(most)];
        let length = window.iter().position(|&byte| byte == b'\n').map_or(window.len(), |at| at + 1);
        self.text.extend_from_slice(take(input, length as u64));
        if self.text.last() == Some(&b'\n') {
            return self.end_of_line();
        }
        if self.text.len() - self.line >= LINE_LIMIT { Err(Overlong::Line) } else { Ok(None) }
    }

    fn end_of_line<'a>(&mut self) -> Result<Option<Step<'a>>, Overlong> {
        let Some(literal) = self.announced() else {
            self.line = 0;
            return Ok(Some(Step::Response(std::mem::take(&mut self.text))));
        };
        // a response may announce body after body
        if self.text.len() as u64 > LITERAL_LIMIT {
            return Err(Overlong::Line);
        }
        if literal.body {
            self.text.truncate(literal.at);
            self.text.extend_from_slice(b"{0}\r\n");
            self.line = self.text.len();
            self.state = State::Body(literal.size);
            return Ok(Some(Step::BodyStart(literal.size)));
        }
        if literal.size.saturating_add(self.text.len() as u64) > LITERAL_LIMIT {
            return Err(Overlong::Literal(literal.size));
        }
        self.state = State::Literal(literal.size);
        Ok(None)
    }

    /// The literal that the line just ended announces. Status responses have none: their text may end as it likes.
    fn announced(&self) -> Option<Literal> {
        if !has_literals(&self.text) {
            return None;
        }
        let line = trim_line_end(&self.text[self.line..]).trim_ascii_end();
        let open = line.iter().rposition(|&byte| byte == b'{')?;
        let digits = line[open + 1..].strip_suffix(b"}")?;
        let digits = digits.strip_suffix(b"+").unwrap_or(digits);
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let size = std::str::from_utf8(digits).ok()?.parse().unwrap_or(u64::MAX);
        // literal8 of RFC 3516
        let before = line[..open].strip_suffix(b"~").unwrap_or(&line[..open]);
        let body = is_fetch(&self.text) && ends_in_body_item(before);
        Some(Literal { at: self.line + before.len(), size, body })
    }

    fn is_search(&self) -> bool {
        self.line == 0 && self.text.get(..SEARCH.len()).is_some_and(|start| start.eq_ignore_ascii_case(SEARCH))
    }

    fn is_long_search(&self) -> bool {
        self.text.len() - self.line > SEARCH_PIECE && self.is_search()
    }

    /// How many bytes may be taken before the next decision; at least one.
    fn room(&self) -> usize {
        let length = self.text.len() - self.line;
        match length {
            _ if self.line == 0 && length < SEARCH.len() => SEARCH.len() - length,
            _ if !self.is_search() => LINE_LIMIT - length,
            ..=SEARCH_PIECE => SEARCH_PIECE + 1 - length,
            _ => 1,
        }
    }

    /// A SEARCH response grows with the mailbox: a long one is cut at a blank into several, which means the same.
    fn cut_search<'a>(&mut self) -> Step<'a> {
        self.text.extend_from_slice(b"\r\n");
        Step::Response(std::mem::replace(&mut self.text, SEARCH.to_vec()))
    }
}

struct Literal {
    /// Where its announcement begins in the text.
    at: usize,
    size: u64,
    body: bool,
}

fn take<'a>(input: &mut &'a [u8], most: u64) -> &'a [u8] {
    let length = usize::try_from(most).unwrap_or(usize::MAX).min(input.len());
    let (bytes, rest) = input.split_at(length);
    *input = rest;
    bytes
}

fn trim_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Untagged data: `* `, and not one of the status words of RFC 3501, 7.1.
fn has_literals(text: &[u8]) -> bool {
    let Some(rest) = text.strip_prefix(b"* ") else { return false };
    let word = rest.split(|&byte| byte == b' ' || byte == b'\r').next().unwrap_or_default();
    ![&b"OK"[..], b"NO", b"BAD", b"BYE", b"PREAUTH"].iter().any(|status| word.eq_ignore_ascii_case(status))
}

/// `* NUMBER FETCH`.
fn is_fetch(text: &[u8]) -> bool {
    let mut words = text.split(|&byte| byte == b' ');
    words.next() == Some(b"*")
        && words.next().is_some_and(|word| !word.is_empty() && word.iter().all(u8::is_ascii_digit))
        && words.next().is_some_and(|word| word.eq_ignore_ascii_case(b"FETCH"))
}

/// Whether the last item name is a whole message: `BODY[]`, also with an origin (`BODY[]<0>`), `BINARY[]`, `RFC822`; or
/// all of it but its header, `BODY[TEXT]`.
fn ends_in_body_item(text: &[u8]) -> bool {
    let text = text.trim_ascii_end();
    let start = text.iter().rposition(|&byte| byte == b' ' || byte == b'(').map_or(0, |at| at + 1);
    let item = &text[start..];
    let item = match item.iter().position(|&byte| byte == b'<') {
        Some(at) if item.ends_with(b">") => &item[..at],
        _ => item,
    };
    [&b"BODY[]"[..], b"BINARY[]", b"RFC822", b"BODY[TEXT]"].iter().any(|name| item.eq_ignore_ascii_case(name))
}

/// Longest line that is held, bytes.
pub const LINE_LIMIT: usize = 1 << 20;
/// Largest literal that is held, and largest response that may announce one, bytes.
pub const LITERAL_LIMIT: u64 = 4 << 20;
/// A SEARCH response is cut beyond this, bytes.
const SEARCH_PIECE: usize = 8 << 10;
const SEARCH: &[u8] = b"* SEARCH";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Responses and bodies, whatever the pieces in which they come.
    fn run(pieces: &[&[u8]]) -> Result<(Vec<String>, Vec<Vec<u8>>), Overlong> {
        let (mut machine, mut responses, mut bodies) = (Divert::default(), Vec::new(), Vec::<Vec<u8>>::new());
        let mut open = None;
        for piece in pieces {
            let mut input = *piece;
            while let Some(step) = machine.step(&mut input)? {
                match step {
                    Step::BodyStart(size) => {
                        assert_eq!(open, None);
                        open = Some(size);
                        bodies.push(Vec::new());
                    }
                    Step::Body(bytes) => bodies.last_mut().unwrap().extend_from_slice(bytes),
                    Step::BodyEnd => assert_eq!(open.take(), Some(bodies.last().unwrap().len() as u64)),
                    Step::Response(text) => responses.push(String::from_utf8_lossy(&text).into_owned()),
                }
            }
            assert!(input.is_empty());
        }
        Ok((responses, bodies))
    }

    const TALK: &[u8] = b"* OK [CAPABILITY IMAP4rev1] ready {3}\r\n\
        * 3 EXISTS\r\n\
        * LIST () \"/\" {5}\r\nA\r\nBC\r\n\
        * 1 FETCH (UID 7 BODY[] {11}\r\nab\r\n{4}\r\nBO FLAGS (\\Seen))\r\n\
        * 2 fetch (body[]<0> ~{3}\r\nxyz UID 8)\r\n\
        * 3 FETCH (RFC822 {0}\r\n UID 9)\r\n\
        * 3 FETCH (UID 9 BODY[HEADER] {8}\r\nBODY[] {)\r\n\
        * SEARCH 1 2 3\r\n\
        A1 OK done {9}\r\n";

    #[test]
    fn bodies_are_diverted_and_the_rest_comes_whole() {
        let (responses, bodies) = run(&[TALK]).unwrap();
        assert_eq!(bodies, [&b"ab\r\n{4}\r\nBO"[..], b"xyz", b""]);
        assert_eq!(
            responses,
            [
                "* OK [CAPABILITY IMAP4rev1] ready {3}\r\n",
                "* 3 EXISTS\r\n",
                "* LIST () \"/\" {5}\r\nA\r\nBC\r\n",
                "* 1 FETCH (UID 7 BODY[] {0}\r\n FLAGS (\\Seen))\r\n",
                "* 2 fetch (body[]<0> {0}\r\n UID 8)\r\n",
                "* 3 FETCH (RFC822 {0}\r\n UID 9)\r\n",
                "* 3 FETCH (UID 9 BODY[HEADER] {8}\r\nBODY[] {)\r\n",
                "* SEARCH 1 2 3\r\n",
                "A1 OK done {9}\r\n",
            ]
        );
    }

    #[test]
    fn a_long_search_response_comes_in_pieces() {
        let numbers: Vec<String> = (743_000_000..743_005_000_u32).map(|uid| uid.to_string()).collect();
        let line = format!("* SEARCH {}\r\n", numbers.join(" "));
        let (responses, _) = run(&line.as_bytes().chunks(1000).collect::<Vec<_>>()).unwrap();
        assert!(responses.len() > 5 && responses.iter().all(|text| text.len() < SEARCH_PIECE + 32));
        let read: Vec<&str> =
            responses.iter().flat_map(|text| text.trim().trim_start_matches("* SEARCH").split_whitespace()).collect();
        assert_eq!(read, numbers);
    }

    #[test]
    fn what_is_too_long_is_refused() {
        let endless = vec![b'x'; LINE_LIMIT + 10];
        assert_eq!(run(&[&endless]).unwrap_err(), Overlong::Line);
        let literal = b"* LIST () \"/\" {99999999999999999999999}\r\n";
        assert_eq!(run(&[literal]).unwrap_err(), Overlong::Literal(u64::MAX));
    }

    #[test]
    fn a_response_of_bodies_without_an_end_is_refused() {
        let mut machine = Divert::default();
        let mut first: &[u8] = b"* 1 FETCH (UID 1";
        machine.step(&mut first).unwrap();
        let endless = (0..1_000_000).find_map(|_| {
            let mut input: &[u8] = b" BODY[] {1}\r\nx";
            while !input.is_empty() {
                if let Err(overlong) = machine.step(&mut input) {
                    return Some(overlong);
                }
            }
            None
        });
        assert_eq!(endless, Some(Overlong::Line));
        assert!(machine.text.len() as u64 <= LITERAL_LIMIT + 100);
    }

    #[test]
    fn a_body_of_any_size_is_never_held() {
        let mut machine = Divert::default();
        let mut head: &[u8] = b"* 1 FETCH (UID 1 BODY[] {5000000000}\r\n";
        assert_eq!(machine.step(&mut head).unwrap(), Some(Step::BodyStart(5_000_000_000)));
        let block = vec![0; 1 << 20];
        for _ in 0..100 {
            let mut input = &block[..];
            assert_eq!(machine.step(&mut input).unwrap(), Some(Step::Body(&block[..])));
        }
        assert!(machine.in_body() && machine.text.capacity() < 1000);
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_result(mut cuts in prop::collection::vec(0..TALK.len(), 0..40)) {
            cuts.extend([0, TALK.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &TALK[pair[0]..pair[1]]).collect();
            prop_assert_eq!(run(&pieces), run(&[TALK]));
        }

        #[test]
        fn any_bytes_split_anywhere_give_the_same_result(
            words in prop::collection::vec(prop::sample::select(WORDS.to_vec()), 0..60),
            cuts in prop::collection::vec(0..600_usize, 0..20),
        ) {
            let bytes: Vec<u8> = words.concat();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            let (split, whole) = (run_open(&pieces), run_open(&[&bytes]));
            prop_assert_eq!(split, whole);
        }

        #[test]
        fn searches_split_anywhere_give_the_same_numbers(
            count in 0..6000_u32, size in 1..5000_usize,
        ) {
            let line = (1..=count).fold("* SEARCH".to_owned(), |line, n| format!("{line} {n}")) + "\r\nA1 OK\r\n";
            let whole = run(&[line.as_bytes()]).unwrap();
            prop_assert_eq!(run(&line.as_bytes().chunks(size).collect::<Vec<_>>()).unwrap(), whole);
        }
    }

    const WORDS: [&[u8]; 16] = [
        b"* ",
        b"1 ",
        b"FETCH (",
        b"BODY[] ",
        b"{3}\r\n",
        b"{0}\r\n",
        b"\r\n",
        b"abc",
        b")",
        b"\n",
        b"RFC822 ",
        b"{12}\r\n",
        b"* SEARCH ",
        b"* 1 FETCH (BODY[] {4}\r\n",
        b"A1 OK ",
        b"\r",
    ];

    type Outcome = Result<(Vec<Vec<u8>>, Vec<u8>), Overlong>;

    /// As `run`, for input that may end anywhere.
    fn run_open(pieces: &[&[u8]]) -> Outcome {
        let (mut machine, mut responses, mut bodies) = (Divert::default(), Vec::new(), Vec::new());
        for piece in pieces {
            let mut input = *piece;
            while let Some(step) = machine.step(&mut input)? {
                match step {
                    Step::BodyStart(size) => bodies.extend_from_slice(format!("<{size}>").as_bytes()),
                    Step::Body(bytes) => bodies.extend_from_slice(bytes),
                    Step::BodyEnd => bodies.push(b'!'),
                    Step::Response(text) => responses.push(text),
                }
            }
        }
        Ok((responses, bodies))
    }
}
