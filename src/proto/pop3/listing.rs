//! What CAPA, LIST and UIDL answer, line by line.

/// What a server can do (RFC 2449, 5), as far as it matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// The server answered CAPA; an old one does not, and then nothing is known of what it can do.
    pub known: bool,
    /// Commands may be sent without waiting.
    pub pipelining: bool,
    /// STLS (RFC 2595, 4).
    pub stls: bool,
    /// TOP.
    pub top: bool,
    /// UIDL.
    pub uidl: bool,
    /// USER and PASS.
    pub user: bool,
    /// The mechanisms of AUTH (RFC 5034).
    pub sasl: Vec<String>,
    /// Seconds to stay away between two logins.
    pub login_delay: Option<u64>,
}

impl Capabilities {
    /// Takes one line of the answer.
    pub fn learn(&mut self, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        let mut words = line.split_whitespace();
        match words.next().unwrap_or_default().to_ascii_uppercase().as_str() {
            "PIPELINING" => self.pipelining = true,
            "STLS" => self.stls = true,
            "TOP" => self.top = true,
            "UIDL" => self.uidl = true,
            "USER" => self.user = true,
            "SASL" => self.sasl = words.map(str::to_owned).collect(),
            "LOGIN-DELAY" => self.login_delay = words.next().and_then(|word| word.parse().ok()),
            _ => {}
        }
    }
}

/// A line of LIST: number and bytes (RFC 1939, 5); what stands behind is no concern of ours.
pub fn size(line: &[u8]) -> Option<(u32, u64)> {
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.split_ascii_whitespace();
    Some((number(words.next()?)?, words.next()?.parse().ok()?))
}

/// A line of UIDL: number and unique-id (RFC 1939, 7). The id is as it was sent, for some servers allow themselves
/// more than the 70 printable bytes of the RFC; `None` inside for one that cannot tell messages apart: empty, or
/// longer than [`UIDL_LIMIT`].
pub fn unique_id(line: &[u8]) -> Option<(u32, Option<String>)> {
    let line = String::from_utf8_lossy(line);
    let (first, rest) = line.trim_start().split_once([' ', '\t']).unwrap_or((line.trim(), ""));
    let id = rest.trim();
    let usable = !id.is_empty() && id.len() <= UIDL_LIMIT && !id.contains(char::is_control);
    Some((number(first)?, usable.then(|| id.to_owned())))
}

fn number(word: &str) -> Option<u32> {
    word.parse().ok().filter(|&number| number > 0)
}

/// Longest unique-id that is believed, bytes.
pub const UIDL_LIMIT: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_listings_are_read_forgivingly() {
        assert_eq!(size(b"12 5230"), Some((12, 5230)));
        assert_eq!(size(b" 12  5230 octets"), Some((12, 5230)));
        assert_eq!([size(b"0 5"), size(b"x 5"), size(b"12"), size(b"1 -5")], [None; 4]);
        assert_eq!(unique_id(b"3 whqtswO00WBw418f9t5JxYwZ"), Some((3, Some("whqtswO00WBw418f9t5JxYwZ".into()))));
        assert_eq!(unique_id(b"3 two words"), Some((3, Some("two words".into()))));
        assert_eq!([unique_id(b"3"), unique_id(b"3 ")], [Some((3, None)), Some((3, None))]);
        assert_eq!(unique_id(&[b"3 ", &[b'x'; UIDL_LIMIT + 1][..]].concat()), Some((3, None)));
        assert_eq!(unique_id(b"garbage"), None);
    }

    #[test]
    fn capabilities_are_learnt_whatever_their_case() {
        let mut capabilities = Capabilities::default();
        for line in ["Top", "uidl", "SASL PLAIN SCRAM-SHA-256", "LOGIN-DELAY 120 USER", "EXPIRE 60", "PIPELINING"] {
            capabilities.learn(line.as_bytes());
        }
        assert!(capabilities.top && capabilities.uidl && capabilities.pipelining && !capabilities.user);
        assert_eq!((capabilities.sasl.len(), capabilities.login_delay), (2, Some(120)));
    }
}
