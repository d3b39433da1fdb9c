//! LDAP and `StartTLS` (RFC 4511, 4.14), towards a server.
//!
//! The few forms of BER that the one request and its answer take, by hand; an answer is read by its own length, which is
//! bounded.

use super::machine::{LONGEST, Machine, Turn, Who, quoted};
use crate::model::Code;
use crate::text;

/// Towards a server.
#[derive(Default)]
pub(super) struct Client {
    place: Place,
}

/// What is read next.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    /// Tag and length of the message.
    #[default]
    Head,
    /// The length, in so many bytes.
    Length,
    Body,
}

impl Machine for Client {
    fn start(&mut self) -> Turn {
        Turn::bytes(Who::Remote, 2).saying(Who::Remote, REQUEST)
    }

    fn read(&mut self, input: &[u8]) -> Turn {
        match (self.place, input) {
            (Place::Head, [SEQUENCE, length @ 1..=0x7f]) => self.body(usize::from(*length)),
            (Place::Head, [SEQUENCE, count @ 0x81..=0x84]) => {
                self.place = Place::Length;
                Turn::bytes(Who::Remote, usize::from(count & 0x7f))
            }
            (Place::Length, bytes) => self.body(bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte))),
            (Place::Body, body) => judged(body),
            (Place::Head, _) => not_ldap(),
        }
    }
}

impl Client {
    fn body(&mut self, length: usize) -> Turn {
        if length == 0 || length > LONGEST {
            return not_ldap();
        }
        self.place = Place::Body;
        Turn::bytes(Who::Remote, length)
    }
}

fn judged(body: &[u8]) -> Turn {
    match response(body) {
        None => not_ldap(),
        Some((0, _)) => Turn::secure(Who::Remote),
        Some((code, diagnostic)) => refused(code, diagnostic),
    }
}

/// Result code and diagnostic message of an `ExtendedResponse` (RFC 4511, 4.12), also of a notice of disconnection.
fn response(body: &[u8]) -> Option<(u8, &[u8])> {
    let (INTEGER, _number, rest) = value(body)? else { return None };
    let (EXTENDED_RESPONSE, response, _controls) = value(rest)? else { return None };
    let (ENUMERATED, &[code], rest) = value(response)? else { return None };
    let (OCTETS, _matched, rest) = value(rest)? else { return None };
    let (OCTETS, diagnostic, _) = value(rest)? else { return None };
    Some((code, diagnostic))
}

/// The first value of some: its tag, its content, what follows it.
fn value(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = bytes.split_first_chunk()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

fn refused(code: u8, diagnostic: &[u8]) -> Turn {
    let said = quoted(diagnostic);
    Turn::fail(
        Code::Tls,
        text!(
            "the server refuses StartTLS with result {code} `{said}` (RFC 4511, appendix A): it may have no certificate; use \
             its TLS port 636 and leave out `protocol`",
            "le serveur refuse StartTLS, résultat {code} « {said} » (RFC 4511, annexe A) : il n'a peut-être pas de \
             certificat ; prendre son port TLS 636 et enlever `protocol`"
        ),
    )
}

fn not_ldap() -> Turn {
    Turn::fail(
        Code::Protocol,
        text!(
            "the server does not answer StartTLS as LDAP does: check host and port (if 636 is its TLS port, leave out \
             `protocol`)",
            "le serveur ne répond pas à StartTLS comme en LDAP : vérifier l'hôte et le port (si c'est son port TLS 636, \
             enlever `protocol`)"
        ),
    )
}

/// Message 1: an `ExtendedRequest` with the name 1.3.6.1.4.1.1466.20037 (RFC 4511, 4.14.1).
const REQUEST: &[u8] = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";
/// Tags.
const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const ENUMERATED: u8 = 0x0a;
const SEQUENCE: u8 = 0x30;
const EXTENDED_RESPONSE: u8 = 0x78;
