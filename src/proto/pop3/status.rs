//! Status lines: `+OK`, `-ERR`, the response code in brackets (RFC 2449, 8; RFC 3206), the challenges of AUTH, and
//! what a greeting holds for APOP.

use std::fmt::Write as _;

use md5::{Digest as _, Md5};

use crate::secret::Secret;

/// A status line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// What it says.
    pub kind: Kind,
    /// The response code, in upper case: `IN-USE`, `LOGIN-DELAY`, `SYS/TEMP`, `SYS/PERM`, `AUTH`.
    pub code: Option<String>,
    /// The words after it.
    pub text: String,
}

/// What a status line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `+OK`.
    Ok,
    /// `-ERR`.
    Err,
    /// `+ `: a challenge of AUTH, or the server waits for more (RFC 5034, 4).
    Challenge,
}

impl Status {
    /// Reads a line without its line end; `None` for what no POP3 server says.
    pub fn parse(line: &[u8]) -> Option<Self> {
        let line = String::from_utf8_lossy(line);
        let (word, rest) = line.split_once([' ', '\t']).unwrap_or((&line, ""));
        let kind = match word.to_ascii_uppercase().as_str() {
            "+OK" => Kind::Ok,
            "-ERR" => Kind::Err,
            "+" => Kind::Challenge,
            _ => return None,
        };
        let rest = rest.trim();
        let (code, text) = match bracketed(rest) {
            Some((code, text)) if kind != Kind::Challenge => (Some(code.to_ascii_uppercase()), text),
            _ => (None, rest),
        };
        Some(Self { kind, code, text: text.chars().filter(|c| !c.is_control()).collect() })
    }

    /// `+OK`.
    pub fn is_ok(&self) -> bool {
        self.kind == Kind::Ok
    }

    /// Whether the response code is this one, or one below it (`SYS/TEMP` is one of `SYS`).
    pub fn has_code(&self, code: &str) -> bool {
        let own = self.code.as_deref().unwrap_or_default();
        own.strip_prefix(code).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// `[CODE]` in front.
fn bracketed(text: &str) -> Option<(&str, &str)> {
    let (code, rest) = text.strip_prefix('[')?.split_once(']')?;
    let is_code = !code.is_empty() && code.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-/._".contains(&byte));
    is_code.then_some((code, rest.trim_start()))
}

/// The timestamp of a greeting, with its angle brackets, where the server has APOP (RFC 1939, 7): `<…@…>`.
pub fn timestamp(greeting: &str) -> Option<&str> {
    let open = greeting.find('<')?;
    let close = open + greeting[open..].find('>')?;
    let stamp = &greeting[open..=close];
    // without a name behind the @ it is no `msg-id`, and a middle man may have chosen it (CVE-2007-1558)
    let (left, right) = stamp[1..stamp.len() - 1].split_once('@')?;
    let is_clean = stamp.bytes().all(|byte| byte.is_ascii_graphic());
    (is_clean && !left.is_empty() && !right.is_empty()).then_some(stamp)
}

/// What APOP answers to a timestamp: 32 hex digits.
pub fn apop(timestamp: &str, password: &Secret) -> String {
    let digest = Md5::new().chain_update(timestamp).chain_update(password.reveal()).finalize();
    digest.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Status {
        Status::parse(line.as_bytes()).unwrap()
    }

    #[test]
    fn codes_stand_in_front_and_are_not_mistaken_for_words() {
        let status = read("-ERR [SYS/TEMP] try later");
        assert_eq!(
            (status.kind, status.code.as_deref(), status.text.as_str()),
            (Kind::Err, Some("SYS/TEMP"), "try later")
        );
        assert!(status.has_code("SYS") && status.has_code("SYS/TEMP") && !status.has_code("SYS/PERM"));
        assert_eq!(read("-err [in-use]").code.as_deref(), Some("IN-USE"));
        assert_eq!(read("+OK [what is this]").code, None);
        assert_eq!(read("+OK"), Status { kind: Kind::Ok, code: None, text: String::new() });
        assert_eq!(read("+ [AUTH]").kind, Kind::Challenge);
        assert_eq!(
            [Status::parse(b""), Status::parse(b"* OK IMAP4rev1"), Status::parse(b"220 smtp")],
            [None, None, None]
        );
    }

    #[test]
    fn apop_answers_as_in_the_rfc() {
        let greeting = "POP3 server ready <1896.697170952@dbc.mtview.ca.us>";
        let stamp = timestamp(greeting).unwrap();
        assert_eq!(apop(stamp, &Secret::new("tanstaaf")), "c4c9334bac560ecc979e58001b3e22fb");
        assert_eq!(["<>", "<a>", "ready", "<a@>", "<a b@c>"].map(timestamp), [None; 5]);
    }
}
