//! What a client offers in its `ClientHello`, for the sentence about one that is too old.
//!
//! Not a parser: rustls reads the message. The version is looked at here, because rustls does not show it.

use rustls::CipherSuite;

use crate::text;
use crate::text::Text;

/// What a client offers.
#[derive(Clone, Debug, Default)]
pub(super) struct Offer {
    /// `client_version` of its first message (RFC 5246, 7.4.1.2); 0x0303, TLS 1.2, also for TLS 1.3.
    version: Option<u16>,
    suites: Vec<CipherSuite>,
}

impl Offer {
    /// From the first bytes that it sent and the suites that rustls read.
    pub(super) fn new(start: &[u8], suites: &[CipherSuite]) -> Self {
        Self { version: version(start), suites: suites.to_vec() }
    }

    /// Why nothing can be agreed with `peer`, where that is because it is old.
    pub(super) fn complaint(&self, peer: &str) -> Option<Text> {
        if let Some(name) = self.version.and_then(old_version) {
            return Some(text!(
                "no common TLS version with {peer}: this client speaks {name} at most, and TLS 1.2 is the least here; \
                 update it, or put stunnel or HAProxy before that device alone (see docs/tls.md)",
                "aucune version de TLS en commun avec {peer} : ce client parle {name} au plus, et TLS 1.2 est le minimum \
                 ici ; mettez-le à jour, ou placez stunnel ou HAProxy devant ce seul appareil (voir docs/tls.fr.md)"
            ));
        }
        let old = [
            (is_static_rsa as fn(CipherSuite) -> bool, "RSA key exchange", "l'échange de clés RSA"),
            (|suite| is_cbc(suite) || is_static_rsa(suite), "RSA key exchange or CBC", "l'échange de clés RSA ou CBC"),
        ];
        let real: Vec<CipherSuite> = self.suites.iter().copied().filter(|suite| !is_signal(*suite)).collect();
        let (_, en, fr) = old.iter().find(|(is_old, ..)| !real.is_empty() && real.iter().all(|one| is_old(*one)))?;
        Some(text!(
            "no common cipher suite with {peer}: this client offers nothing but {en}, and ECDHE with AES-GCM or ChaCha20 \
             is the least here; update it (see docs/tls.md)",
            "aucune suite de chiffrement en commun avec {peer} : ce client ne propose que {fr}, et ECDHE avec AES-GCM ou \
             ChaCha20 est le minimum ici ; mettez-le à jour (voir docs/tls.fr.md)"
        ))
    }
}

/// In the first record: a handshake (22), its version and length, a `ClientHello` (1), its length, then the version. A
/// client of SSL 2 (RFC 5246, E.2) begins with a length, the type 1, the version.
fn version(start: &[u8]) -> Option<u16> {
    match start {
        [22, _, _, _, _, 1, _, _, _, high, low, ..] => Some(u16::from_be_bytes([*high, *low])),
        [first, _, 1, high, low, ..] if *first >= 0x80 => Some(u16::from_be_bytes([*high, *low])),
        _ => None,
    }
}

fn old_version(version: u16) -> Option<&'static str> {
    match version {
        0x0302 => Some("TLS 1.1"),
        0x0301 => Some("TLS 1.0"),
        0x0300 => Some("SSL 3"),
        0x0002 => Some("SSL 2"),
        _ => None,
    }
}

/// Suites whose key exchange is RSA itself: `TLS_RSA_WITH_…` (RFC 5246, 5288, 6655 …).
fn is_static_rsa(suite: CipherSuite) -> bool {
    suite.as_str().is_some_and(|name| name.starts_with("TLS_RSA_"))
}

/// Suites of block ciphers with a MAC beside: no AEAD.
fn is_cbc(suite: CipherSuite) -> bool {
    suite.as_str().is_some_and(|name| name.contains("_CBC_"))
}

/// No suites, but signs that stand among them: secure renegotiation (RFC 5746), fallback (RFC 7507), GREASE (RFC 8701).
fn is_signal(suite: CipherSuite) -> bool {
    let number = u16::from(suite);
    matches!(number, 0x00FF | 0x5600) || (number & 0x0F0F == 0x0A0A && number >> 8 == number & 0xFF)
}

/// So many of the first bytes are looked at.
pub(super) const START: usize = 11;

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(start: &[u8], suites: &[u16]) -> Option<String> {
        let suites: Vec<CipherSuite> = suites.iter().map(|number| CipherSuite::from(*number)).collect();
        Offer::new(start, &suites).complaint("192.0.2.1").map(|text| text.en.to_string())
    }

    #[test]
    fn old_versions_are_called_by_their_name() {
        for (version, name) in [(0_u8, "SSL 3"), (1, "TLS 1.0"), (2, "TLS 1.1")] {
            let start = [22, 3, 1, 1, 0, 1, 0, 0, 252, 3, version];
            let text = complaint(&start, &[0xC02F]).unwrap();
            assert!(
                text.contains(&format!("this client speaks {name} at most")) && text.contains("192.0.2.1"),
                "{text}"
            );
        }
        assert!(complaint(&[0x80, 46, 1, 0, 2, 0, 21, 0, 0, 0, 16], &[]).unwrap().contains("SSL 2"));
    }

    #[test]
    fn old_suites_are_told_and_new_ones_are_not() {
        let new = [22, 3, 1, 1, 0, 1, 0, 0, 252, 3, 3];
        assert!(complaint(&new, &[0x009C, 0x002F, 0x00FF]).unwrap().contains("RSA key exchange,"));
        assert!(complaint(&new, &[0xC013, 0x009C, 0x5600]).unwrap().contains("RSA key exchange or CBC"));
        assert_eq!(complaint(&new, &[0xC02F, 0x002F]), None);
        assert_eq!(complaint(&new, &[0x00FF]), None);
        assert_eq!(complaint(b"", &[]), None);
        assert_eq!(complaint(b"GET / HTTP/1.1", &[]), None);
    }
}
