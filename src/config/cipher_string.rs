//! OpenSSL's cipher strings (ciphers(1)), evaluated over the six suites of TLS 1.2 that rustls has.
//!
//! Not OpenSSL's whole language: a word that speaks of what rustls does not have (RSA key exchange, CBC, PSK …) is
//! true of none of the six and so changes nothing, which is also what OpenSSL makes of a word it does not know. The
//! order that comes out is OpenSSL's.

use crate::text;
use crate::text::Text;

/// A cipher suite of TLS 1.2 with ephemeral key exchange (RFC 5289, 7905).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suite {
    /// The key of the server's certificate.
    pub auth: Auth,
    /// What the records are encrypted with.
    pub cipher: Cipher,
}

/// The key of the server's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// An elliptic curve.
    Ecdsa,
    /// RSA.
    Rsa,
}

/// What records are encrypted with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cipher {
    /// AES-256-GCM.
    Aes256Gcm,
    /// `ChaCha20-Poly1305`.
    ChaCha20Poly1305,
    /// AES-128-GCM.
    Aes128Gcm,
}

/// The suites that `value` leaves, best first.
///
/// # Errors
/// It leaves none, or asks for pre-shared keys alone.
pub(super) fn parse(value: &str) -> Result<Vec<Suite>, Text> {
    if only_pre_shared(value) {
        return Err(text!(
            "pre-shared keys (PSK) are not supported: use certificates (see docs/tls.md)",
            "les clés pré-partagées (PSK) ne sont pas prises en charge : utiliser des certificats (voir docs/tls.fr.md)"
        ));
    }
    let found = evaluate(value);
    if found.is_empty() {
        let known = ORDER.map(Suite::name).join(", ");
        return Err(text!(
            "{value:?} leaves no cipher suite of TLS 1.2: there are {known} (see docs/tls.md)",
            "{value:?} ne laisse aucune suite de TLS 1.2 : il y a {known} (voir docs/tls.fr.md)"
        ));
    }
    Ok(found)
}

impl Suite {
    /// OpenSSL's name.
    pub fn name(self) -> &'static str {
        match (self.auth, self.cipher) {
            (Auth::Ecdsa, Cipher::Aes256Gcm) => "ECDHE-ECDSA-AES256-GCM-SHA384",
            (Auth::Rsa, Cipher::Aes256Gcm) => "ECDHE-RSA-AES256-GCM-SHA384",
            (Auth::Ecdsa, Cipher::ChaCha20Poly1305) => "ECDHE-ECDSA-CHACHA20-POLY1305",
            (Auth::Rsa, Cipher::ChaCha20Poly1305) => "ECDHE-RSA-CHACHA20-POLY1305",
            (Auth::Ecdsa, Cipher::Aes128Gcm) => "ECDHE-ECDSA-AES128-GCM-SHA256",
            (Auth::Rsa, Cipher::Aes128Gcm) => "ECDHE-RSA-AES128-GCM-SHA256",
        }
    }

    /// Whether one word of a cipher string, of those that `+` joins, speaks of this suite.
    fn is_called(self, word: &str) -> bool {
        let (aes, ecdsa) = (self.cipher != Cipher::ChaCha20Poly1305, self.auth == Auth::Ecdsa);
        match word.to_ascii_uppercase().as_str() {
            "ALL" | "HIGH" | "DEFAULT" | "TLSV1.2" | "ECDHE" | "EECDH" | "KECDHE" | "KEECDH" | "ECDH" => true,
            "ECDSA" | "AECDSA" => ecdsa,
            "ARSA" => !ecdsa,
            "AES" | "AESGCM" | "FIPS" => aes,
            "AES128" => self.cipher == Cipher::Aes128Gcm,
            "AES256" => self.cipher == Cipher::Aes256Gcm,
            "CHACHA20" => !aes,
            other => other == self.name(),
        }
    }
}

/// A suite in the list, and whether it is chosen so far.
type Listed = (Suite, bool);

/// The rules one after the other, as OpenSSL applies them to its list.
fn evaluate(value: &str) -> Vec<Suite> {
    if let Some(suites) = suite_b(value) {
        return suites;
    }
    let mut list: Vec<Listed> = ORDER.map(|suite| (suite, false)).to_vec();
    for word in words(value) {
        let (rule, names) = match word.as_bytes().first() {
            Some(b'!' | b'-' | b'+' | b'@') => word.split_at(1),
            _ => ("", word),
        };
        let meant = |suite: &Suite| names.split('+').all(|name| suite.is_called(name));
        match rule {
            "!" => list.retain(|(suite, _)| !meant(suite)),
            "-" => {
                let (out, rest) = list.into_iter().partition(|(suite, chosen)| *chosen && meant(suite));
                list = moved(out, false).chain(rest).collect();
            }
            "+" => {
                let (last, rest): (_, Vec<Listed>) =
                    list.into_iter().partition(|(suite, chosen)| *chosen && meant(suite));
                list = rest.into_iter().chain(moved(last, true)).collect();
            }
            "@" if names.eq_ignore_ascii_case("STRENGTH") => {
                list.sort_by_key(|(suite, _)| suite.cipher == Cipher::Aes128Gcm);
            }
            "@" => {} // SECLEVEL: nothing weak is there to be let in or kept out
            _ => {
                let (new, rest): (_, Vec<Listed>) =
                    list.into_iter().partition(|(suite, chosen)| !*chosen && meant(suite));
                list = rest.into_iter().chain(moved(new, true)).collect();
            }
        }
    }
    list.into_iter().filter(|(_, chosen)| *chosen).map(|(suite, _)| suite).collect()
}

fn moved(list: Vec<Listed>, chosen: bool) -> impl Iterator<Item = Listed> {
    list.into_iter().map(move |(suite, _)| (suite, chosen))
}

/// The words: divided by `:`, `,`, `;` or a blank; an `@` begins one too.
fn words(value: &str) -> impl Iterator<Item = &str> {
    value.split([':', ',', ' ', ';']).flat_map(|part| {
        let (front, command) = part.find('@').map_or((part, ""), |at| part.split_at(at));
        [front, command].into_iter().filter(|word| !word.is_empty())
    })
}

/// RFC 6460, which stands alone in a string.
fn suite_b(value: &str) -> Option<Vec<Suite>> {
    let of = |cipher| Suite { auth: Auth::Ecdsa, cipher };
    match value.trim().to_ascii_uppercase().as_str() {
        "SUITEB128" => Some(vec![of(Cipher::Aes128Gcm), of(Cipher::Aes256Gcm)]),
        "SUITEB128ONLY" => Some(vec![of(Cipher::Aes128Gcm)]),
        "SUITEB192" => Some(vec![of(Cipher::Aes256Gcm)]),
        system if system.starts_with("PROFILE=") => Some(ORDER.to_vec()),
        _ => None,
    }
}

fn only_pre_shared(value: &str) -> bool {
    let asked: Vec<&str> = words(value).filter(|word| !word.starts_with(['!', '-', '+', '@'])).collect();
    !asked.is_empty() && asked.iter().all(|word| word.to_ascii_uppercase().contains("PSK"))
}

/// OpenSSL's own order.
const ORDER: [Suite; 6] = [
    Suite { auth: Auth::Ecdsa, cipher: Cipher::Aes256Gcm },
    Suite { auth: Auth::Rsa, cipher: Cipher::Aes256Gcm },
    Suite { auth: Auth::Ecdsa, cipher: Cipher::ChaCha20Poly1305 },
    Suite { auth: Auth::Rsa, cipher: Cipher::ChaCha20Poly1305 },
    Suite { auth: Auth::Ecdsa, cipher: Cipher::Aes128Gcm },
    Suite { auth: Auth::Rsa, cipher: Cipher::Aes128Gcm },
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What `openssl ciphers -s -tls1_2` (3.0) leaves of the six, in its order: E and R for the key, then the cipher.
    const OPENSSL: [(&str, &str); 27] = [
        ("HIGH", "E256 R256 EC RC E128 R128"),
        ("ALL", "E256 R256 EC RC E128 R128"),
        ("DEFAULT", "E256 R256 EC RC E128 R128"),
        ("HIGH:!aNULL:!SSLv2:!DH:!kDHEPSK", "E256 R256 EC RC E128 R128"),
        ("AES128:AES256", "E128 R128 E256 R256"),
        ("CHACHA20:HIGH", "EC RC E256 R256 E128 R128"),
        ("HIGH:+AES128", "E256 R256 EC RC E128 R128"),
        ("HIGH:+CHACHA20:@STRENGTH", "E256 R256 EC RC E128 R128"),
        ("ECDHE+AESGCM:ECDHE+CHACHA20", "E256 R256 E128 R128 EC RC"),
        ("EECDH+AES128:EECDH", "E128 R128 E256 R256 EC RC"),
        ("HIGH:-AES128:AES128", "E256 R256 EC RC E128 R128"),
        ("aECDSA", "E256 EC E128"),
        ("SUITEB128", "E128 E256"),
        ("RSA", ""),
        ("kRSA:AES", "E256 R256 E128 R128"),
        ("AEAD", ""),
        ("TLSv1.2", "E256 R256 EC RC E128 R128"),
        ("FIPS", "E256 R256 E128 R128"),
        ("HIGH@SECLEVEL=1", "E256 R256 EC RC E128 R128"),
        ("HIGH:@SECLEVEL=0", "E256 R256 EC RC E128 R128"),
        ("AES", "E256 R256 E128 R128"),
        ("ECDH", "E256 R256 EC RC E128 R128"),
        ("ALL:-CHACHA20:!aECDSA:CHACHA20", "R256 R128 RC"),
        ("CHACHA20 AES256,AES128", "EC RC E256 R256 E128 R128"),
        ("HIGH:-HIGH:AES256", "E256 R256"),
        ("ALL:-AES256:-AES128:ALL", "EC RC E128 R128 E256 R256"),
        ("ECDHE-RSA-AES128-GCM-SHA256:NONSENSE:ECDHE-RSA-AES256-SHA", "R128"),
    ];

    #[test]
    fn a_string_leaves_what_openssl_leaves_of_the_same_suites() {
        for (value, expected) in OPENSSL {
            let short = |suite: Suite| {
                let auth = if suite.auth == Auth::Ecdsa { "E" } else { "R" };
                let cipher = match suite.cipher {
                    Cipher::Aes256Gcm => "256",
                    Cipher::ChaCha20Poly1305 => "C",
                    Cipher::Aes128Gcm => "128",
                };
                format!("{auth}{cipher}")
            };
            let found: Vec<String> = evaluate(value).into_iter().map(short).collect();
            assert_eq!(found.join(" "), expected, "{value}");
        }
    }

    #[test]
    fn what_leaves_nothing_says_what_there_is() {
        for none in ["", "AES256-SHA", "RSA", "HIGH:!ECDHE", "3DES:RC4", "DHE-RSA-AES256-GCM-SHA384"] {
            assert!(parse(none).unwrap_err().en.contains("ECDHE-RSA-AES256-GCM-SHA384"), "{none}");
        }
        for psk in ["PSK", "PSK:!aNULL", "ECDHE-PSK-CHACHA20-POLY1305"] {
            assert!(parse(psk).unwrap_err().en.contains("PSK"), "{psk}");
        }
    }

    proptest! {
        #[test]
        fn any_string_names_each_suite_at_most_once(words in prop::collection::vec(WORDS, 0..12), noise in ".{0,20}") {
            let found = evaluate(&format!("{}{noise}", words.concat()));
            prop_assert!(found.len() <= ORDER.len());
            for suite in ORDER {
                prop_assert!(found.iter().filter(|one| **one == suite).count() <= 1);
            }
        }
    }

    const WORDS: &str = "[!+@-]?(ALL|HIGH|ECDHE|aRSA|AES128|AES|CHACHA20|STRENGTH)(\\+aECDSA)?[:, ;]";
}
