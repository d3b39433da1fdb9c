//! Responses of a server, read leniently (RFC 3501, 7).
//!
//! Not a validator: any order of items, items nobody asked for, blanks too many, unknown codes are all read, because
//! a mailbox must not stop for them. What is not even a response is `None`.

/// A response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// `TAG OK …`, `* BYE …`.
    Status(Status),
    /// `+ …`: the server waits for more of the command.
    Continue(String),
    /// `* SEARCH 1 2 3`.
    Search(Vec<u32>),
    /// Any other untagged data.
    Data {
        /// The number in front (`* 3 FETCH`).
        number: Option<u32>,
        /// The word, in upper case.
        name: String,
        /// What follows it.
        values: Vec<Value>,
    },
}

/// A status response (RFC 3501, 7.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The tag of the command that ended; `None` for untagged ones.
    pub tag: Option<String>,
    /// How it ended.
    pub kind: Kind,
    /// The word of the response code in upper case (`UIDVALIDITY`), and what follows it.
    pub code: Option<(String, String)>,
    /// The text for people, without control characters.
    pub text: String,
}

/// The words of RFC 3501, 7.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Done.
    Ok,
    /// Refused.
    No,
    /// Not understood.
    Bad,
    /// The server is about to close.
    Bye,
    /// Logged in from the start.
    Preauth,
}

/// A value in a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// The atom NIL.
    Nil,
    /// An atom, quoted string or literal.
    Text(Vec<u8>),
    /// A parenthesised list.
    List(Vec<Value>),
}

impl Value {
    /// The text, where it is one; what is not UTF-8 is replaced.
    pub fn text(&self) -> Option<String> {
        match self {
            Self::Text(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            _ => None,
        }
    }
}

impl Response {
    /// Reads one whole response.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut reader = Reader { rest: trim_end(text) };
        let first = reader.word();
        reader.skip_blanks();
        match first {
            b"+" => Some(Self::Continue(printable(reader.rest))),
            b"*" => parse_untagged(&mut reader),
            tag if !tag.is_empty() => parse_status(Some(printable(tag)), &mut reader).map(Self::Status),
            _ => None,
        }
    }

    /// The items of a FETCH response by name.
    pub fn fetch(&self) -> Option<Fetch<'_>> {
        match self {
            Self::Data { number: Some(_), name, values } if name == "FETCH" => match values.first()? {
                Value::List(items) => Some(Fetch { items }),
                _ => None,
            },
            _ => None,
        }
    }
}

impl Status {
    /// What follows the response code `name`, where the response has that code.
    pub fn code(&self, name: &str) -> Option<&str> {
        self.code.as_ref().filter(|(word, _)| word == name).map(|(_, rest)| rest.as_str())
    }
}

/// The values in any piece of IMAP text, whole literals included: a client's command has the same grammar.
pub fn values(text: &[u8]) -> Option<Vec<Value>> {
    Reader { rest: trim_end(text) }.values(0, None)
}

/// The items of a FETCH response.
#[derive(Clone, Copy, Debug)]
pub struct Fetch<'a> {
    items: &'a [Value],
}

impl<'a> Fetch<'a> {
    /// The value of the item `name`, in whatever order the server wrote them; an origin (`<0>`) is ignored.
    pub fn get(self, name: &str) -> Option<&'a Value> {
        self.items.chunks_exact(2).find_map(|pair| {
            let item = pair[0].text()?;
            let item = item.split('<').next().unwrap_or_default();
            item.eq_ignore_ascii_case(name).then_some(&pair[1])
        })
    }

    /// A number.
    pub fn number(self, name: &str) -> Option<u64> {
        self.get(name)?.text()?.parse().ok()
    }

    /// The UID.
    pub fn uid(self) -> Option<u32> {
        self.get("UID")?.text()?.parse().ok().filter(|&uid| uid != 0)
    }
}

fn parse_untagged(reader: &mut Reader<'_>) -> Option<Response> {
    let before = reader.rest;
    let word = reader.word();
    let number = std::str::from_utf8(word).ok().and_then(|digits| digits.parse().ok());
    let name = if number.is_some() {
        reader.skip_blanks();
        reader.word()
    } else {
        word
    };
    if number.is_none() && kind(name).is_some() {
        return parse_status(None, &mut Reader { rest: before }).map(Response::Status);
    }
    let name = printable(name).to_ascii_uppercase();
    match name.as_str() {
        "" => None,
        "SEARCH" => Some(Response::Search(numbers(reader.rest))),
        _ => Some(Response::Data { number, name, values: reader.values(0, None)? }),
    }
}

fn parse_status(tag: Option<String>, reader: &mut Reader<'_>) -> Option<Status> {
    let kind = kind(reader.word())?;
    reader.skip_blanks();
    let mut code = None;
    if let Some(inside) = reader.rest.strip_prefix(b"[")
        && let Some(end) = inside.iter().position(|&byte| byte == b']')
    {
        let text = printable(&inside[..end]);
        let (word, rest) = text.split_once(' ').unwrap_or((&text, ""));
        code = Some((word.to_ascii_uppercase(), rest.trim().to_owned()));
        reader.rest = &inside[end + 1..];
        reader.skip_blanks();
    }
    Some(Status { tag, kind, code, text: printable(reader.rest) })
}

fn kind(word: &[u8]) -> Option<Kind> {
    Some(match word.to_ascii_uppercase().as_slice() {
        b"OK" => Kind::Ok,
        b"NO" => Kind::No,
        b"BAD" => Kind::Bad,
        b"BYE" => Kind::Bye,
        b"PREAUTH" => Kind::Preauth,
        _ => return None,
    })
}

/// The numbers of a SEARCH response. What is none is passed over, and what follows it still counts: a number that
/// is left out here is a message that nobody reads.
fn numbers(text: &[u8]) -> Vec<u32> {
    text.split(u8::is_ascii_whitespace)
        .filter_map(|word| std::str::from_utf8(word).ok()?.parse().ok())
        .filter(|&number| number != 0)
        .collect()
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_ascii_start();
    }

    fn word(&mut self) -> &'a [u8] {
        let end = self.rest.iter().position(|&byte| byte == b' ').unwrap_or(self.rest.len());
        self.cut(end)
    }

    fn cut(&mut self, end: usize) -> &'a [u8] {
        let (cut, rest) = self.rest.split_at(end);
        self.rest = rest;
        cut
    }

    /// Values up to `end`, or up to the end of the response.
    fn values(&mut self, depth: usize, end: Option<u8>) -> Option<Vec<Value>> {
        let mut values = Vec::new();
        loop {
            self.skip_blanks();
            let Some(&first) = self.rest.first() else { return end.is_none().then_some(values) };
            if Some(first) == end {
                self.cut(1);
                return Some(values);
            }
            values.push(self.value(first, depth)?);
        }
    }

    fn value(&mut self, first: u8, depth: usize) -> Option<Value> {
        match first {
            b'(' if depth < DEPTH_LIMIT => {
                self.cut(1);
                self.values(depth + 1, Some(b')')).map(Value::List)
            }
            b'(' | b')' => None,
            b'"' => self.quoted(),
            b'{' => self.literal(0),
            b'~' if self.rest.get(1) == Some(&b'{') => self.literal(1),
            _ => Some(self.atom()),
        }
    }

    fn quoted(&mut self) -> Option<Value> {
        self.cut(1);
        let mut text = Vec::new();
        loop {
            let (&byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            match byte {
                b'"' => return Some(Value::Text(text)),
                b'\\' => {
                    let (&escaped, rest) = self.rest.split_first()?;
                    self.rest = rest;
                    text.push(escaped);
                }
                _ => text.push(byte),
            }
        }
    }

    fn literal(&mut self, skip: usize) -> Option<Value> {
        let close = self.rest.iter().position(|&byte| byte == b'}')?;
        let digits = std::str::from_utf8(self.rest.get(skip + 1..close)?).ok()?;
        let size: usize = digits.trim_end_matches('+').parse().ok()?;
        let line_end = self.rest.iter().position(|&byte| byte == b'\n')?;
        self.cut(line_end + 1);
        if size > self.rest.len() {
            return None;
        }
        Some(Value::Text(self.cut(size).to_vec()))
    }

    /// An atom; what stands in its brackets belongs to it (`BODY[HEADER.FIELDS (FROM)]`).
    fn atom(&mut self) -> Value {
        let mut brackets = 0_u32;
        let end = self.rest.iter().position(|&byte| {
            match byte {
                b'[' => brackets += 1,
                b']' => brackets = brackets.saturating_sub(1),
                _ => {}
            }
            byte == b'\r' || byte == b'\n' || (brackets == 0 && (byte == b' ' || byte == b'(' || byte == b')'))
        });
        // an atom of no length would be read for ever
        let atom = self.cut(end.unwrap_or(self.rest.len()).max(1));
        if atom.eq_ignore_ascii_case(b"NIL") { Value::Nil } else { Value::Text(atom.to_vec()) }
    }
}

fn trim_end(text: &[u8]) -> &[u8] {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    text.strip_suffix(b"\r").unwrap_or(text)
}

fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Lists in lists: more is refused rather than followed.
const DEPTH_LIMIT: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn status(text: &str) -> Status {
        match Response::parse(text.as_bytes()) {
            Some(Response::Status(status)) => status,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn status_responses_are_read_with_code_and_text() {
        let greeting = status("* OK [CAPABILITY IMAP4rev1  AUTH=PLAIN] Dovecot ready.\r\n");
        assert_eq!(greeting.code("CAPABILITY"), Some("IMAP4rev1  AUTH=PLAIN"));
        assert_eq!((greeting.kind, greeting.text.as_str()), (Kind::Ok, "Dovecot ready."));
        let refused = status("A12 no [authenticationfailed] non\r\n");
        assert_eq!((refused.tag.as_deref(), refused.kind), (Some("A12"), Kind::No));
        assert_eq!(refused.code("AUTHENTICATIONFAILED"), Some(""));
        assert_eq!(status("A1 OK\r\n").text, "");
        assert_eq!(status("* BYE [odd Fermé\r\n").text, "[odd Fermé");
    }

    #[test]
    fn fetch_items_are_found_in_any_order_among_others() {
        let text = b"* 12 FETCH ( FLAGS (\\Seen  $x )  X-GM-LABELS (\"a\" NIL) BODY[HEADER.FIELDS (SUBJECT \
            FROM)] {3}\r\na)b BODY[]<0> {0}\r\n UID 7 RFC822.SIZE 42 INTERNALDATE \" 1-Feb-2026 10:00:00 +0100\" )\r\n";
        let response = Response::parse(text).unwrap();
        let fetch = response.fetch().unwrap();
        assert_eq!((fetch.uid(), fetch.number("rfc822.size")), (Some(7), Some(42)));
        assert_eq!(fetch.get("BODY[]"), Some(&Value::Text(Vec::new())));
        assert_eq!(fetch.get("BODY[HEADER.FIELDS (SUBJECT FROM)]").unwrap().text().as_deref(), Some("a)b"));
        assert_eq!(fetch.get("INTERNALDATE").unwrap().text().as_deref(), Some(" 1-Feb-2026 10:00:00 +0100"));
        assert_eq!(fetch.get("ENVELOPE"), None);
    }

    #[test]
    fn lists_and_searches_are_read() {
        let list = Response::parse(b"* LIST (\\HasNoChildren) \"\\\\\" [Gmail]/Envoy&AOk-s\r\n").unwrap();
        let Response::Data { name, values, .. } = list else { panic!() };
        assert_eq!((name.as_str(), values.len()), ("LIST", 3));
        assert_eq!(values[1].text().as_deref(), Some("\\"));
        assert_eq!(values[2].text().as_deref(), Some("[Gmail]/Envoy&AOk-s"));
        assert_eq!(Response::parse(b"* SEARCH 3 1  4294967295 \r\n"), Some(Response::Search(vec![3, 1, u32::MAX])));
        assert_eq!(Response::parse(b"* SEARCH 2 x 5 (MODSEQ 9)\r\n"), Some(Response::Search(vec![2, 5])));
        assert_eq!(Response::parse(b"* SEARCH\r\n"), Some(Response::Search(Vec::new())));
    }

    #[test]
    fn what_is_no_response_is_none() {
        for text in [&b"\r\n"[..], b"* \r\n", b"A1 MAYBE\r\n", b"* 1 FETCH (UID 1\r\n", b"* 1 FETCH UID 1)\r\n"] {
            assert_eq!(Response::parse(text), None);
        }
        let deep = format!("* 1 FETCH {}\r\n", "(".repeat(100_000));
        assert_eq!(Response::parse(deep.as_bytes()), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(words in prop::collection::vec(prop::sample::select(WORDS.to_vec()), 0..40)) {
            let _ = Response::parse(&words.concat());
        }
    }

    const WORDS: [&[u8]; 16] = [
        b"* ",
        b"1 ",
        b"FETCH ",
        b"(",
        b")",
        b"\"",
        b"\\",
        b"{3}\r\n",
        b"abc",
        b"BODY[",
        b"]",
        b"~{1}\r\n",
        b"NIL ",
        b"\r\n",
        b"\0",
        b"OK [",
    ];
}
