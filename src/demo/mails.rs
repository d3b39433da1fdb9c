//! The mails and dropped files of the demonstration, and what must become of them.
//!
//! Not a mail library: five messages as French offices send them, written the way mail programs write them (RFC 2047
//! and RFC 2231 names, Latin-1, a signature's image), with contents that are the same at every run.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::model::Digest;

/// A document that must arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expected {
    /// Its name in the delivery directory.
    pub(super) name: &'static str,
    /// Its content.
    pub(super) digest: Digest,
}

/// A message and the documents in it.
#[derive(Debug)]
pub(super) struct Mail {
    /// For people.
    pub(super) subject: &'static str,
    /// RFC 5322.
    pub(super) bytes: Vec<u8>,
    /// What is delivered of it, in order.
    pub(super) documents: Vec<Expected>,
}

/// A file that somebody drops.
#[derive(Debug)]
pub(super) struct Drop {
    /// Its name, here and when it is delivered.
    pub(super) name: &'static str,
    /// Its content.
    pub(super) bytes: Vec<u8>,
}

/// The five mails.
pub(super) fn mails() -> Vec<Mail> {
    let bill = [
        // RFC 2231, 4: charset and percent signs
        Part::new(PDF, "attachment; filename*=UTF-8''Facture%20%C3%A9t%C3%A9%202026.pdf", 1, 61_000)
            .arrives("Facture été 2026.pdf"),
        Part::new("image/png", "inline; filename=\"signature.png\"", 2, 4_000),
    ];
    let annexes = [
        Part::new(PDF, "attachment; filename=\"annexe.pdf\"", 3, 25_000).arrives("annexe.pdf"),
        Part::new(PDF, "attachment; filename=\"annexe.pdf\"", 4, 26_000).arrives("annexe (2).pdf"),
        Part::new(OTHER, "attachment; filename=\"Thumbs.db\"", 5, 9_000),
    ];
    // not what RFC 2047, 5 (3) allows, but what many programs send
    let encoded_word = "attachment; filename=\"=?iso-8859-1?Q?Relev=E9_d'heures_f=E9vrier.xlsx?=\"";
    let hours = [Part::new(OTHER, encoded_word, 6, 14_000).arrives("Relevé d'heures février.xlsx")];
    // RFC 2231, 3: in pieces
    let pieces = "attachment;\r\n filename*0*=UTF-8''Plan%20cadastral%20%E2%80%93;\r\n filename*1*=%20section%20AB.pdf";
    let plan = [Part::new(PDF, pieces, 7, 5_000_000).arrives("Plan cadastral – section AB.pdf")];
    vec![
        mail(1, "Facture d'été", &bill),
        mail(2, "Délibérations du conseil municipal", &annexes),
        mail(3, "Relevé d'heures de février", &hours),
        mail(4, "Réunion de jeudi", &[]),
        mail(5, "Plan cadastral", &plan),
    ]
}

/// The two dropped files.
pub(super) fn drops() -> Vec<Drop> {
    vec![
        Drop { name: "Courrier reçu 0042.pdf", bytes: document(8, 180_000) },
        Drop { name: "scan_20260301.tif", bytes: document(9, 320_000) },
    ]
}

struct Part {
    media_type: &'static str,
    disposition: &'static str,
    arrives: Option<&'static str>,
    bytes: Vec<u8>,
}

impl Part {
    /// A part that is left out, unless it [`arrives`](Part::arrives).
    fn new(media_type: &'static str, disposition: &'static str, seed: u32, size: usize) -> Self {
        Self { media_type, disposition, arrives: None, bytes: document(seed, size) }
    }

    fn arrives(self, name: &'static str) -> Self {
        Self { arrives: Some(name), ..self }
    }
}

fn mail(number: u32, subject: &'static str, parts: &[Part]) -> Mail {
    let encoded = STANDARD.encode(subject);
    let mut text = format!(
        "Return-Path: <secretariat@mairie.example>\r\nFrom: =?UTF-8?Q?Mairie_de_Saint-C=C3=B4me?= \
         <secretariat@mairie.example>\r\nTo: ged@mairie.example\r\nSubject: =?UTF-8?B?{encoded}?=\r\nDate: Mon, {number} \
         Mar 2026 09:0{number}:00 +0100\r\nMessage-ID: <demo-{number}@mairie.example>\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=\"=_demo\"\r\n\r\n--=_demo\r\nContent-Type: text/plain; \
         charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nBonjour,=20\r\n\r\nci-joint : \
         rien d'autre =E0 signaler.\r\n",
    );
    for part in parts {
        let _ = write!(
            text,
            "--=_demo\r\nContent-Type: {}\r\nContent-Disposition: {}\r\nContent-Transfer-Encoding: base64\r\n\r\n",
            part.media_type, part.disposition
        );
        push_base64(&mut text, &part.bytes);
    }
    text.push_str("--=_demo--\r\n");
    let expected = |part: &Part| Some(Expected { name: part.arrives?, digest: Digest::of(&part.bytes) });
    Mail { subject, bytes: text.into_bytes(), documents: parts.iter().filter_map(expected).collect() }
}

/// Lines of 76 characters (RFC 2045, 6.8).
fn push_base64(text: &mut String, bytes: &[u8]) {
    for line in bytes.chunks(57) {
        STANDARD.encode_string(line, text);
        text.push_str("\r\n");
    }
}

/// `size` bytes that look like nothing, the same for the same `seed` (xorshift32).
fn document(seed: u32, size: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    };
    std::iter::repeat_with(next).take(size).collect()
}

const PDF: &str = "application/pdf";
const OTHER: &str = "application/octet-stream";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mails_hold_what_they_promise() {
        let mails = mails();
        assert_eq!(mails.len(), 5);
        assert!(mails.iter().any(|mail| mail.documents.is_empty()));
        assert!(mails.iter().any(|mail| mail.bytes.len() > 5_000_000));
        for mail in &mails {
            let text = std::str::from_utf8(&mail.bytes).unwrap();
            assert!(text.is_ascii() && text.lines().all(|line| line.len() < 998), "{}", mail.subject);
        }
        let mut digests: Vec<_> =
            mails.iter().flat_map(|mail| &mail.documents).map(|document| document.digest).collect();
        digests.dedup();
        assert_eq!(digests.len(), 5);
    }
}
