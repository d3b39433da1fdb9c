//! How a tunnel's TLS is tuned: cipher suites, key exchange groups, session cache, tickets.
//!
//! Values only. rustls offers nine suites, all of them strong; what stunnel's options say about suites can only order
//! and narrow them, and what would leave none is a mistake that names those there are. The cipher string of TLS 1.2 is
//! `cipher_string`'s business.

use std::time::Duration;

use zeroize::Zeroizing;

pub use super::cipher_string::{Auth, Cipher, Suite};
use super::section::{Options, Report};
use super::{cipher_string, tunnel, value};
use crate::text;
use crate::text::Text;

/// What is tuned. The default leaves suites and groups to rustls, and keeps sessions as stunnel does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `ciphersuites`: of TLS 1.3, best first; `None` for all.
    pub suites13: Option<Vec<Cipher>>,
    /// `ciphers`: of TLS 1.2, best first; `None` for all.
    pub suites12: Option<Vec<Suite>>,
    /// `curves`: best first; `None` for all.
    pub groups: Option<Vec<Group>>,
    /// `sessionCacheSize`: sessions kept in memory.
    pub cache_size: usize,
    /// `sessionCacheTimeout`: how long a server lets a session be resumed.
    pub cache_timeout: Duration,
    /// Whether a server's sessions travel in tickets; else (`options = NO_TICKET`) they stay in its cache.
    pub tickets: bool,
    /// `ticketKeySecret` and `ticketMacSecret`: tickets are valid in every process that has them.
    pub ticket_keys: Option<TicketKeys>,
}

/// A key exchange group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// X25519 (RFC 7748).
    X25519,
    /// NIST P-256.
    P256,
    /// NIST P-384.
    P384,
    /// X25519 with ML-KEM-768 (draft-ietf-tls-ecdhe-mlkem).
    X25519MlKem768,
    /// P-256 with ML-KEM-768 (draft-ietf-tls-ecdhe-mlkem).
    P256MlKem768,
}

/// The secrets that session tickets are sealed with.
#[derive(Clone, PartialEq, Eq)]
pub struct TicketKeys {
    /// `ticketKeySecret`, 16 or 32 bytes.
    pub key: Zeroizing<Vec<u8>>,
    /// `ticketMacSecret`, 16 or 32 bytes.
    pub mac: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TicketKeys(***)")
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            suites13: None,
            suites12: None,
            groups: None,
            cache_size: CACHE_SIZE,
            cache_timeout: CACHE_TIMEOUT,
            tickets: true,
            ticket_keys: None,
        }
    }
}

impl Settings {
    /// Reads a section.
    pub(super) fn build(options: &Options, client: bool, report: &mut Report) -> Self {
        let groups = options.get("curves", groups);
        if let Some((_, missing)) = groups.as_ref().filter(|(_, missing)| !missing.is_empty()) {
            report.warning(options.place_of("curves"), without_groups(missing));
        }
        Self {
            suites13: options.get("ciphersuites", ciphersuites),
            suites12: options.get("ciphers", cipher_string::parse),
            groups: groups.map(|(groups, _)| groups),
            cache_size: options.get("sessionCacheSize", cache_size).unwrap_or(CACHE_SIZE),
            cache_timeout: options.get("sessionCacheTimeout", value::duration).unwrap_or(CACHE_TIMEOUT),
            tickets: !tunnel::is_set(options, &["NO_TICKET"]),
            ticket_keys: ticket_keys(options, client, report),
        }
    }
}

/// `ciphersuites`: the names of TLS 1.3, divided by colons (`SSL_CTX_set_ciphersuites(3)`). Of several names those that
/// are unknown are passed over.
///
/// # Errors
/// None of them is known.
pub fn ciphersuites(value: &str) -> Result<Vec<Cipher>, Text> {
    let mut found = Vec::new();
    for name in value.split(':').map(str::trim) {
        let known = SUITES_13.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, cipher)| *cipher);
        found.extend(known.filter(|cipher| !found.contains(cipher)));
    }
    if found.is_empty() {
        let known = SUITES_13.map(|(name, _)| name).join(", ");
        return Err(text!(
            "{value:?} leaves no cipher suite of TLS 1.3: there are {known} (see docs/tls.md)",
            "{value:?} ne laisse aucune suite de TLS 1.3 : il y a {known} (voir docs/tls.fr.md)"
        ));
    }
    Ok(found)
}

/// `curves`: OpenSSL's names of groups, divided by colons (`SSL_CTX_set1_groups_list(3)`), and beside them those that
/// OpenSSL has and rustls has not.
///
/// # Errors
/// A name that OpenSSL does not have either, or nothing is left.
pub fn groups(value: &str) -> Result<(Vec<Group>, Vec<String>), Text> {
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for name in value.split(':').map(|name| name.trim().trim_start_matches(['?', '*'])) {
        match GROUPS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            Some((_, group)) if group.is_there() && !found.contains(group) => found.push(*group),
            Some((_, group)) if group.is_there() => {}
            Some(_) => missing.push(name.to_owned()),
            None if OTHER_GROUPS.iter().any(|known| known.eq_ignore_ascii_case(name)) => missing.push(name.to_owned()),
            None => {
                return Err(text!(
                    "Invalid groups list in 'curves': there is no group {name:?}",
                    "liste de groupes invalide : aucun ne s'appelle {name:?}"
                ));
            }
        }
    }
    if found.is_empty() {
        let known = there();
        return Err(text!(
            "{value:?} leaves no key exchange group: there are {known} (see docs/tls.md)",
            "{value:?} ne laisse aucun groupe d'échange de clés : il y a {known} (voir docs/tls.fr.md)"
        ));
    }
    Ok((found, missing))
}

/// `sessionCacheSize`; 0, no limit in OpenSSL, is the largest here, as is everything above it.
///
/// # Errors
/// No whole number.
pub fn cache_size(value: &str) -> Result<usize, Text> {
    let size = usize::try_from(value::number(value)?).unwrap_or(0);
    Ok(if size == 0 { MOST_SESSIONS } else { size.min(MOST_SESSIONS) })
}

/// `ticketKeySecret`, `ticketMacSecret`: 16 or 32 bytes in hexadecimal, with or without colons. Never says the value.
///
/// # Errors
/// Anything else.
pub fn ticket_secret(value: &str) -> Result<Zeroizing<Vec<u8>>, Text> {
    let digits: Zeroizing<Vec<u8>> = Zeroizing::new(value.bytes().filter(|byte| *byte != b':').collect());
    let nibble = |digit: u8| char::from(digit).to_digit(16).and_then(|nibble| u8::try_from(nibble).ok());
    let bytes = digits.chunks(2).map(|pair| match pair {
        [high, low] => Some(nibble(*high)? << 4 | nibble(*low)?),
        _ => None,
    });
    let bytes: Option<Zeroizing<Vec<u8>>> = bytes.collect::<Option<Vec<u8>>>().map(Zeroizing::new);
    bytes.filter(|bytes| [16, 32].contains(&bytes.len())).ok_or_else(|| {
        text!(
            "expected 16 or 32 bytes in hexadecimal, as `openssl rand -hex 32` prints them",
            "attendu 16 ou 32 octets en hexadécimal, comme `openssl rand -hex 32` en affiche"
        )
    })
}

fn ticket_keys(options: &Options, client: bool, report: &mut Report) -> Option<TicketKeys> {
    let names = ["ticketKeySecret", "ticketMacSecret"];
    let own = names.into_iter().find(|name| options.last(name).is_some_and(|entry| !entry.inherited));
    if client {
        if let Some(name) = own {
            let text = text!("{name} is ignored in the client mode", "{name} est sans effet en mode client");
            report.warning(options.place_of(name), text);
        }
        return None;
    }
    let [key, mac] = names.map(|name| options.get(name, ticket_secret));
    match (key, mac) {
        (Some(key), Some(mac)) => Some(TicketKeys { key, mac }),
        (Some(_), None) if !options.has(names[1]) => alone(names[0], names[1], options, report),
        (None, Some(_)) if !options.has(names[0]) => alone(names[1], names[0], options, report),
        _ => None,
    }
}

fn alone(given: &str, missing: &str, options: &Options, report: &mut Report) -> Option<TicketKeys> {
    let text = text!("{given}: {missing} is missing beside it", "{given} : il manque {missing} à côté");
    report.mistake(options.place_of(given), text);
    None
}

impl Group {
    /// Whether the TLS provider that is built in has it.
    fn is_there(self) -> bool {
        cfg!(feature = "aws-lc") || matches!(self, Self::X25519 | Self::P256 | Self::P384)
    }
}

fn there() -> String {
    let mut seen = Vec::new();
    let first = |(_, group): &&(&str, Group)| {
        let new = group.is_there() && !seen.contains(group);
        seen.push(*group);
        new
    };
    GROUPS.iter().filter(first).map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

fn without_groups(missing: &[String]) -> Text {
    let (missing, known) = (missing.join(", "), there());
    text!(
        "curves: {missing} cannot be offered, there are {known} (see docs/tls.md)",
        "curves : {missing} ne peut être proposé, il y a {known} (voir docs/tls.fr.md)"
    )
}

/// stunnel's default.
const CACHE_SIZE: usize = 1000;
/// stunnel's default: 300 seconds.
const CACHE_TIMEOUT: Duration = Duration::from_mins(5);
/// OpenSSL's own default where nothing is said; rustls reserves room for as many at once.
const MOST_SESSIONS: usize = 20 * 1024;

/// RFC 8446, B.4; OpenSSL's names are the same.
const SUITES_13: [(&str, Cipher); 3] = [
    ("TLS_AES_256_GCM_SHA384", Cipher::Aes256Gcm),
    ("TLS_AES_128_GCM_SHA256", Cipher::Aes128Gcm),
    ("TLS_CHACHA20_POLY1305_SHA256", Cipher::ChaCha20Poly1305),
];

/// OpenSSL's names and aliases; of each the first is the one that is shown.
const GROUPS: [(&str, Group); 10] = [
    ("X25519MLKEM768", Group::X25519MlKem768),
    ("X25519", Group::X25519),
    ("P-256", Group::P256),
    ("prime256v1", Group::P256),
    ("secp256r1", Group::P256),
    ("P-384", Group::P384),
    ("secp384r1", Group::P384),
    ("SecP256r1MLKEM768", Group::P256MlKem768),
    ("ecdh_x25519", Group::X25519),
    ("P256", Group::P256),
];

/// Groups of OpenSSL that rustls does not have, for TLS 1.2 or 1.3.
const OTHER_GROUPS: [&str; 26] = [
    "P-521",
    "secp521r1",
    "X448",
    "ecdh_x448",
    "P-224",
    "secp224r1",
    "P-192",
    "prime192v1",
    "secp192r1",
    "secp256k1",
    "secp224k1",
    "secp192k1",
    "brainpoolP256r1",
    "brainpoolP384r1",
    "brainpoolP512r1",
    "brainpoolP256r1tls13",
    "brainpoolP384r1tls13",
    "brainpoolP512r1tls13",
    "ffdhe2048",
    "ffdhe3072",
    "ffdhe4096",
    "ffdhe6144",
    "ffdhe8192",
    "SecP384r1MLKEM1024",
    "MLKEM768",
    "MLKEM1024",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_of_tls_13_keep_their_order_and_unknown_names_are_passed_over() {
        use Cipher::{Aes128Gcm, Aes256Gcm, ChaCha20Poly1305};
        for (value, expected) in [
            ("TLS_AES_128_GCM_SHA256", vec![Aes128Gcm]),
            ("TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384", vec![ChaCha20Poly1305, Aes256Gcm]),
            ("TLS_AES_128_CCM_SHA256:TLS_AES_128_GCM_SHA256:TLS_AES_128_GCM_SHA256", vec![Aes128Gcm]),
        ] {
            assert_eq!(ciphersuites(value).unwrap(), expected, "{value}");
        }
        for none in ["", "TLS_AES_128_CCM_SHA256", "HIGH"] {
            assert!(ciphersuites(none).unwrap_err().en.contains("TLS_AES_256_GCM_SHA384"), "{none}");
        }
    }

    #[test]
    fn groups_have_openssls_names_and_aliases() {
        let (found, missing) = groups("X448:secp384r1:P-521:prime256v1:x25519:secp256r1").unwrap();
        assert_eq!(found, [Group::P384, Group::P256, Group::X25519]);
        assert_eq!(missing, ["X448", "P-521"]);
        assert!(groups("P-521:X448").unwrap_err().en.contains("P-384"));
        assert!(groups("foo").unwrap_err().en.contains("Invalid groups list in 'curves'"));
        assert_eq!(groups("X25519MLKEM768").is_ok(), cfg!(feature = "aws-lc"));
    }

    #[test]
    fn ticket_secrets_are_hexadecimal_of_two_lengths_and_never_shown() {
        let hex = "00112233445566778899aabbccddeeff";
        assert_eq!(ticket_secret(hex).unwrap()[..3], [0, 0x11, 0x22]);
        let colons = "AA:".repeat(31) + "BB";
        assert_eq!(*ticket_secret(&colons).unwrap(), [[0xAA; 31].as_slice(), &[0xBB]].concat());
        for bad in ["", "00", "zz112233445566778899aabbccddeeff", &hex[1..], &hex.repeat(3)] {
            let text = ticket_secret(bad).unwrap_err();
            assert!(bad.is_empty() || !text.en.contains(bad), "{bad}");
        }
        let keys = TicketKeys { key: ticket_secret(hex).unwrap(), mac: ticket_secret(hex).unwrap() };
        assert_eq!(format!("{keys:?}"), "TicketKeys(***)");
    }

    #[test]
    fn a_cache_without_limit_has_one() {
        assert_eq!(["0", "10", "99999999", "-3"].map(|size| cache_size(size).unwrap()), [20480, 10, 20480, 20480]);
    }
}
