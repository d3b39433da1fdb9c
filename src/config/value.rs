//! Values of options: one parser for each type, text in, typed value or one sentence out.
//!
//! Not a table: which option has which type stands in [`option`](super::option). Where stunnel has a sentence of its
//! own for a mistake, the English text holds it, because people search for it.

use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::time::Duration;

use base64::Engine as _;

use super::launcher::{Alert, Proxy, ProxyKind, Since};
use super::tunnel::{Setting, Side, SocketOption};
use super::{Address, Endpoint, ini};
use crate::event::Level;
use crate::model::{Digest, Disposition, EnvelopeKind};
use crate::secret::Secret;
use crate::text;
use crate::text::Text;

/// `yes` or `no`, as in stunnel; `oui` and `non` besides.
///
/// # Errors
/// Anything else.
pub fn yes_no(value: &str) -> Result<bool, Text> {
    match value.to_lowercase().as_str() {
        "yes" | "oui" => Ok(true),
        "no" | "non" => Ok(false),
        _ => Err(text!(
            "The argument needs to be either 'yes' or 'no', not {value:?} (a comment needs a line of its own)",
            "attendu « yes » ou « no » et non {value:?} (un commentaire va sur sa propre ligne)"
        )),
    }
}

/// A duration: `90s`, `5m`, `1h`, `30d`, `2h30m`; a bare number is seconds.
///
/// # Errors
/// Anything else, or more than 100 years.
pub fn duration(value: &str) -> Result<Duration, Text> {
    let wrong = || {
        text!(
            "{value:?} is no duration: expected 90s, 5m, 1h, 30d, 2h30m or a number of seconds",
            "{value:?} n'est pas une durée : attendu 90s, 5m, 1h, 30d, 2h30m ou un nombre de secondes"
        )
    };
    seconds(value).filter(|seconds| *seconds <= LONGEST).map(Duration::from_secs).ok_or_else(wrong)
}

/// The same, where a negative number stands for "never" (`TIMEOUTidle`).
///
/// # Errors
/// As [`duration`].
pub fn duration_or_never(value: &str) -> Result<Option<Duration>, Text> {
    match value.strip_prefix('-') {
        Some(rest) => duration(rest).map(|_| None),
        None => duration(value).map(Some),
    }
}

/// A size in bytes: `20K`, `150M`, `4G`, `1T`, powers of 1024; a bare number is bytes.
///
/// # Errors
/// Anything else, or zero.
pub fn size(value: &str) -> Result<u64, Text> {
    let wrong = || {
        text!(
            "{value:?} is no size: expected 20K, 150M, 4G or a number of bytes",
            "{value:?} n'est pas une taille : attendu 20K, 150M, 4G ou un nombre d'octets"
        )
    };
    let digits = value.trim_end_matches(|c: char| !c.is_ascii_digit());
    let shift = match value[digits.len()..].trim().to_ascii_uppercase().as_str() {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return Err(wrong()),
    };
    let number = if digits.bytes().all(|b| b.is_ascii_digit()) { digits.parse::<u64>().ok() } else { None };
    number.and_then(|n| n.checked_mul(1 << shift)).filter(|n| *n > 0).ok_or_else(wrong)
}

/// A whole number in decimal, as `strtol` takes it.
///
/// # Errors
/// Anything else.
pub fn number(value: &str) -> Result<i64, Text> {
    value.parse().map_err(|_| text!("{value:?} is no whole number", "{value:?} n'est pas un nombre entier"))
}

/// A whole number of at least one.
///
/// # Errors
/// Anything else.
pub fn at_least_one(value: &str) -> Result<usize, Text> {
    let wrong = || text!("{value:?} is no whole number from 1 on", "{value:?} n'est pas un nombre entier d'au moins 1");
    value.parse().ok().filter(|count| *count > 0).ok_or_else(wrong)
}

/// An address of a tunnel: `PORT`, `HOST:PORT` split at the last colon, `::1:993`, `[::1]:993`. A name of a service
/// (`pop3s`) stands for its port.
///
/// # Errors
/// No port, a port above 65535, an unknown name.
pub fn address(value: &str) -> Result<Address, Text> {
    let (host, port) = value.rsplit_once(':').map_or((None, value), |(host, port)| (Some(host), port));
    let host = host.map(without_brackets).transpose().map_err(|()| bad_brackets(value))?;
    let port = port_of(port)?;
    if let Some(host) = host.filter(|host| !may_be_host(host)) {
        return Err(text!(
            "{host:?} is no host name: expected PORT or HOST:PORT, as in pop.gmail.com:995",
            "{host:?} n'est pas un nom d'hôte : attendu PORT ou HÔTE:PORT, comme pop.gmail.com:995"
        ));
    }
    Ok(Address { host: host.filter(|host| !host.is_empty()).map(str::to_owned), port })
}

/// An address to connect to: as [`address`], and a port that somebody can listen on.
///
/// # Errors
/// As [`address`], or port 0.
pub fn target(value: &str) -> Result<Address, Text> {
    let address = address(value)?;
    if address.port == 0 { Err(no_port()) } else { Ok(address) }
}

/// What a tunnel accepts on: as [`address`], or the absolute path of a Unix socket.
///
/// # Errors
/// As [`address`]; a path that is longer than a socket's may be, or one on a system without such sockets.
pub fn endpoint(value: &str) -> Result<Endpoint, Text> {
    if value.starts_with('/') { unix_socket(value) } else { address(value).map(Endpoint::Tcp) }
}

/// What a tunnel connects to: as [`target`], or the absolute path of a Unix socket.
///
/// # Errors
/// As [`target`] and [`endpoint`].
pub fn destination(value: &str) -> Result<Endpoint, Text> {
    if value.starts_with('/') { unix_socket(value) } else { target(value).map(Endpoint::Tcp) }
}

fn unix_socket(value: &str) -> Result<Endpoint, Text> {
    if !cfg!(unix) {
        return Err(text!(
            "{value}: this system has no Unix sockets: expected PORT or HOST:PORT",
            "{value} : ce système n'a pas de sockets Unix : attendu PORT ou HÔTE:PORT"
        ));
    }
    if value.len() > LONGEST_SOCKET {
        return Err(text!(
            "{value}: the path of a Unix socket has at most {LONGEST_SOCKET} bytes",
            "{value} : le chemin d'une socket Unix a au plus {LONGEST_SOCKET} octets"
        ));
    }
    Ok(Endpoint::Unix(PathBuf::from(value)))
}

/// `setEnv = NAME=VALUE`.
///
/// # Errors
/// No `=`, no name.
pub fn environment(value: &str) -> Result<(String, String), Text> {
    match value.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_owned(), value.trim().to_owned())),
        _ => Err(text!("{value:?}: expected NAME=VALUE", "{value:?} : attendu NOM=VALEUR")),
    }
}

/// `retry`: how long to wait before a program is started again; yes is a second, a number milliseconds.
///
/// # Errors
/// Anything else.
pub fn retry(value: &str) -> Result<Option<Duration>, Text> {
    if let Ok(milliseconds) = value.parse::<u32>() {
        return Ok(Some(Duration::from_millis(milliseconds.into())));
    }
    Ok(yes_no(value)?.then_some(Duration::from_secs(1)))
}

/// The server of a launcher: `host[:port]`. An IPv6 address with a port needs its brackets.
///
/// # Errors
/// No host, a port above 65535, an unknown name.
pub fn server(value: &str) -> Result<(String, Option<u16>), Text> {
    let bare = value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(value);
    if Ipv6Addr::from_str(bare).is_ok() {
        return Ok((bare.to_owned(), None));
    }
    let (host, port) = match value.rsplit_once(':') {
        // a URL has no port where its colon is
        Some((host, port)) if !port.starts_with("//") => (host, Some(port_to(port)?)),
        _ => (value, None),
    };
    let host = without_brackets(host).map_err(|()| bad_brackets(value))?;
    if host.is_empty() || !may_be_host(host) {
        return Err(text!(
            "{value:?} is no server: expected host or host:port, without https://",
            "{value:?} n'est pas un serveur : attendu hôte ou hôte:port, sans https://"
        ));
    }
    Ok((host.to_owned(), port))
}

/// `debug`: a level by number or by name, with a facility in front where `global` says so.
///
/// # Errors
/// An unknown level or facility.
pub fn debug(value: &str, global: bool) -> Result<(Option<u8>, Level), Text> {
    let (facility, level) = value.split_once('.').map_or((None, value), |(facility, level)| (Some(facility), level));
    if facility.is_some() && !global {
        return Err(text!(
            "a facility is only valid before the first section",
            "une catégorie de syslog ne vaut qu'avant la première section"
        ));
    }
    let facility = facility.map(facility_number).transpose()?;
    let word = level.to_lowercase();
    let alias = match word.as_str() {
        "emergency" | "panic" => "emerg",
        "critical" => "crit",
        "error" => "err",
        "warn" => "warning",
        "information" => "info",
        other => other,
    };
    let found = Level::ALL.into_iter().find(|l| l.as_str() == alias || l.number().to_string() == alias);
    let level = found.ok_or_else(|| {
        text!(
            "Illegal debug level {value:?}: expected 0 to 7, or emerg, alert, crit, err, warning, notice, info, debug",
            "niveau inconnu {value:?} : attendu 0 à 7, ou emerg, alert, crit, err, warning, notice, info, debug"
        )
    })?;
    Ok((facility, level))
}

/// `socket = a|l|r:NAME=VALUE`. `Ok(Err(warning))`: an option of stunnel that is accepted without effect.
///
/// # Errors
/// Another form, a name that no system has, a value that does not fit.
pub fn socket(value: &str) -> Result<Result<SocketOption, Text>, Text> {
    let parts = value.split_once(':').and_then(|(side, rest)| Some((side, rest.split_once('=')?)));
    let Some((side, (name, value))) = parts else {
        return Err(text!(
            "Illegal socket option {value:?}: expected a|l|r:OPTION=VALUE, as in l:TCP_NODELAY=1",
            "option de socket incorrecte {value:?} : attendu a|l|r:OPTION=VALEUR, comme l:TCP_NODELAY=1"
        ));
    };
    let side = match side.trim() {
        "a" => Side::Accept,
        "l" => Side::Local,
        "r" => Side::Remote,
        other => {
            return Err(text!(
                "Illegal socket option: {other:?} is no socket: expected a (accept), l (local) or r (remote)",
                "option de socket incorrecte : {other:?} n'est pas une socket : attendu a (accept), l (locale) ou \
                 r (distante)"
            ));
        }
    };
    let (name, value) = (name.trim(), value.trim());
    Ok(match setting(name, value)? {
        Some(setting) => Ok(SocketOption { side, setting }),
        None => Err(text!("{name} is left at the system's value", "{name} reste à la valeur du système")),
    })
}

/// Protocol versions of stunnel's vocabulary, by age: 0 `SSLv3`, 1 `TLSv1`, 2 `TLSv1.1`, 3 `TLSv1.2`, 4 `TLSv1.3`; `None` is
/// `all`.
///
/// # Errors
/// Anything else.
pub fn tls_version(value: &str) -> Result<Option<u8>, Text> {
    match value.to_ascii_lowercase().as_str() {
        "all" => Ok(None),
        "sslv3" => Ok(Some(0)),
        "tlsv1" | "tlsv1.0" => Ok(Some(1)),
        "tlsv1.1" => Ok(Some(2)),
        "tlsv1.2" => Ok(Some(3)),
        "tlsv1.3" => Ok(Some(4)),
        _ => Err(text!(
            "Invalid protocol version {value:?}: expected all, TLSv1.2 or TLSv1.3",
            "version de protocole inconnue {value:?} : attendu all, TLSv1.2 ou TLSv1.3"
        )),
    }
}

/// `options = [-]NAME`: whether it is set, and the name in upper case without `SSL_OP_`.
///
/// # Errors
/// A name that OpenSSL does not have.
pub fn tls_option(value: &str) -> Result<(bool, String), Text> {
    let (set, name) = value.strip_prefix('-').map_or((true, value), |rest| (false, rest));
    let upper = name.trim().to_ascii_uppercase();
    let name = upper.strip_prefix("SSL_OP_").unwrap_or(&upper);
    if OPENSSL_OPTIONS.contains(&name) {
        return Ok((set, name.to_owned()));
    }
    Err(text!("Illegal TLS option {value:?}: OpenSSL has none of this name", "option TLS inconnue : {value:?}"))
}

/// `pin`: SHA-256 of a public key, in hex (colons allowed) or base64, with or without `sha256:` or `sha256//`.
///
/// # Errors
/// Anything else.
pub fn pin(value: &str) -> Result<Digest, Text> {
    let lower = value.to_ascii_lowercase();
    let skip = ["sha256//", "sha256:", "sha256/"].into_iter().find(|p| lower.starts_with(p)).map_or(0, str::len);
    let bare = value.get(skip..).unwrap_or_default().trim();
    if let Some(digest) = Digest::from_hex(&bare.replace(':', "")) {
        return Ok(digest);
    }
    let bytes = base64::engine::general_purpose::STANDARD.decode(bare).ok();
    bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()).map(Digest).ok_or_else(|| {
        text!(
            "{value:?} is no pin: expected the SHA-256 of a public key, 64 hex digits or 44 characters of base64",
            "{value:?} n'est pas un `pin` : attendu le SHA-256 d'une clé publique, 64 chiffres hexadécimaux ou 44 \
             caractères base64"
        )
    })
}

/// `since`: `YYYY-MM-DD`, or a duration back from now.
///
/// # Errors
/// Neither.
pub fn since(value: &str) -> Result<Since, Text> {
    if let Ok(back) = duration(value) {
        return Ok(Since::Back(back));
    }
    let digits = value.bytes().enumerate().all(|(i, b)| if i == 4 || i == 7 { b == b'-' } else { b.is_ascii_digit() });
    let date = if value.len() == 10 && digits { jiff::civil::Date::from_str(value).ok() } else { None };
    date.map(Since::Date).ok_or_else(|| {
        text!(
            "{value:?}: expected a date YYYY-MM-DD or a duration such as 30d",
            "{value:?} : attendu une date AAAA-MM-JJ ou une durée telle que 30d"
        )
    })
}

/// `after` and `after_empty`.
///
/// # Errors
/// An unknown word, `move` without a folder, `category` (not in this version).
pub fn after(value: &str) -> Result<Disposition, Text> {
    let (word, rest) = value.split_once(char::is_whitespace).map_or((value, ""), |(word, rest)| (word, rest.trim()));
    match (ini::fold(word).as_str(), rest) {
        ("leave" | "laisser", "") => Ok(Disposition::Leave),
        ("seen" | "lu", "") => Ok(Disposition::Seen),
        ("flag" | "marquer", "") => Ok(Disposition::Flag),
        ("delete" | "supprimer", "") => Ok(Disposition::Delete),
        ("move" | "deplacer", "") => {
            Err(text!("`move` needs the folder: move FOLDER", "`move` demande le dossier : move DOSSIER"))
        }
        ("category" | "categorie", "") => {
            Err(text!("`category` needs its name: category NAME", "`category` demande son nom : category NOM"))
        }
        ("category" | "categorie", name) => Ok(Disposition::Category(name.to_owned())),
        ("move" | "deplacer", folder) => Ok(Disposition::Move(folder.to_owned())),
        _ => Err(text!(
            "{value:?}: expected leave, seen, flag, category NAME (o365), move FOLDER or delete",
            "{value:?} : attendu leave, seen, flag, category NOM (o365), move DOSSIER ou delete"
        )),
    }
}

/// `envelope`: a kind by the word of the index, or by EzGED's.
///
/// # Errors
/// Any other word.
pub fn envelope(value: &str) -> Result<EnvelopeKind, Text> {
    let word = value.trim().replace(['-', ' '], "_");
    if let Some(kind) = EnvelopeKind::parse(&word) {
        return Ok(kind);
    }
    let words = EZGED_KINDS.into_iter().chain(EnvelopeKind::ALL.map(EnvelopeKind::as_str));
    let known = words.clone().collect::<Vec<_>>().join(", ");
    let near = |known: &&str| strsim::osa_distance(known, &word.to_ascii_lowercase()) <= 1 + known.len() / 5;
    Err(match words.clone().find(near).filter(|_| word.len() <= 40) {
        Some(near) => text!(
            "{value:?} is no kind of envelope, did you mean {near:?}? Expected one of {known}",
            "{value:?} n'est pas un type d'enveloppe ; vouliez-vous dire {near:?} ? Attendu l'un de {known}"
        ),
        None => text!(
            "{value:?} is no kind of envelope: expected one of {known}; several: one line for each",
            "{value:?} n'est pas un type d'enveloppe : attendu l'un de {known} ; plusieurs : une ligne pour chacun"
        ),
    })
}

/// `alias`: `NAME = KIND`.
///
/// # Errors
/// No `=`, nothing before it, no kind after it.
pub fn alias(value: &str) -> Result<(String, EnvelopeKind), Text> {
    let split = value.rsplit_once('=').map(|(name, kind)| (name.trim(), kind.trim()));
    let Some((name, kind)) = split.filter(|(name, _)| !name.is_empty()) else {
        return Err(text!(
            "{value:?}: expected NAME = KIND, as in `alias = facture_fournisseur = chorus_fact`",
            "{value:?} : attendu NOM = TYPE, comme dans `alias = facture_fournisseur = chorus_fact`"
        ));
    };
    Ok((name.to_owned(), envelope(kind)?))
}

/// The name of a file, without a folder.
///
/// # Errors
/// An empty one, a path.
pub fn file_name(value: &str) -> Result<String, Text> {
    if value.contains(['/', '\\']) || matches!(value, "." | "..") {
        return Err(text!(
            "{value:?}: expected the name of a file, without a folder",
            "{value:?} : attendu le nom d'un fichier, sans dossier"
        ));
    }
    some(value)
}

/// `alert`: `mailto:ADDRESS`, or an `https` address; plain `http` only towards loopback.
///
/// # Errors
/// Anything else.
pub fn alert(value: &str) -> Result<Alert, Text> {
    if begins(value, "mailto:") {
        let address = value["mailto:".len()..].trim();
        let complete = address.split_once('@').is_some_and(|(name, host)| !name.is_empty() && may_be_host(host));
        if complete && !address.contains(char::is_whitespace) {
            return Ok(Alert::Mail(address.to_owned()));
        }
    } else if is_web(value)? {
        return Ok(Alert::Web(value.to_owned()));
    }
    Err(text!(
        "expected mailto:ADDRESS or https://… (plain http only towards this machine)",
        "attendu mailto:ADRESSE ou https://… (http en clair seulement vers cette machine)"
    ))
}

/// The base address of a service: `https://host[:port][/path]`; plain `http` only towards loopback. Without its final
/// slash.
///
/// # Errors
/// Anything else.
pub fn base_url(value: &str) -> Result<String, Text> {
    if is_web(value)? && !value.contains(|c: char| c.is_whitespace() || matches!(c, '?' | '#' | '@')) {
        return Ok(value.trim_end_matches('/').to_owned());
    }
    Err(text!(
        "{value:?}: expected https://host or https://host/path (plain http only towards this machine)",
        "{value:?} : attendu https://hôte ou https://hôte/chemin (http en clair seulement vers cette machine)"
    ))
}

/// A directory of Microsoft Entra: its GUID, a domain, or one of the words that stand for several.
///
/// # Errors
/// Anything that cannot be one segment of an address.
pub fn tenant(value: &str) -> Result<String, Text> {
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
    {
        return Ok(value.to_owned());
    }
    Err(text!(
        "{value:?}: expected the GUID of the directory, a domain as example.onmicrosoft.com, or organizations, common, \
         consumers",
        "{value:?} : attendu le GUID de l'annuaire, un domaine comme example.onmicrosoft.com, ou organizations, common, \
         consumers"
    ))
}

fn begins(value: &str, scheme: &str) -> bool {
    value.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
}

/// Whether this is an `https` address, or an `http` one towards loopback; a host that can be none is an error.
fn is_web(value: &str) -> Result<bool, Text> {
    if !begins(value, "https://") && !begins(value, "http://") {
        return Ok(false);
    }
    let rest = &value[value.find("//").map_or(0, |at| at + 2)..];
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = host.rsplit('@').next().unwrap_or_default();
    let name = server(host)?.0;
    Ok(begins(value, "https://") || is_loopback(&name))
}

/// `proxy`: `http://[user:secret@]host:port` or `socks5://[user:secret@]host:port`.
///
/// # Errors
/// Anything else; the sentence holds no secret.
pub fn proxy(value: &str) -> Result<Proxy, Text> {
    let wrong = || {
        text!(
            "expected http://[user:password@]host:port or socks5://[user:password@]host:port",
            "attendu http://[compte:secret@]hôte:port ou socks5://[compte:secret@]hôte:port"
        )
    };
    let (scheme, rest) = value.split_once("://").ok_or_else(wrong)?;
    let kind = match scheme.to_ascii_lowercase().as_str() {
        "http" => ProxyKind::Http,
        "socks5" | "socks5h" => ProxyKind::Socks5,
        _ => return Err(wrong()),
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (login, host) = rest.rsplit_once('@').map_or((None, rest), |(login, host)| (Some(login), host));
    let (host, port) = server(host).map_err(|_| wrong())?;
    let login = login.map(|login| {
        let (user, secret) = login.split_once(':').unwrap_or((login, ""));
        (percent_decoded(user), Secret::new(percent_decoded(secret)))
    });
    Ok(Proxy { kind, address: Address { host: Some(host), port: port.ok_or_else(wrong)? }, login })
}

/// RFC 3986, 2.1; what is no escape stays.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let hex = |at: usize| after.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        if let (b'%', Some(high), Some(low)) = (first, hex(0), hex(1)) {
            bytes.push(u8::try_from(high * 16 + low).unwrap_or_default());
            rest = &after[2..];
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Whether a name or an address is this machine's own.
pub fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// An IP address (`checkIP`).
///
/// # Errors
/// Anything else.
pub fn ip(value: &str) -> Result<IpAddr, Text> {
    value.parse().map_err(|_| text!("{value:?} is no IP address", "{value:?} n'est pas une adresse IP"))
}

/// A path, made absolute: relative ones start at the working directory, as in stunnel.
///
/// # Errors
/// An empty one.
pub fn path(value: &str) -> Result<PathBuf, Text> {
    if value.is_empty() {
        return Err(empty());
    }
    if value == "~" || value.starts_with("~/") {
        return Err(text!(
            "{value}: `~` is not expanded, write the whole path",
            "{value} : `~` n'est pas développé, écrire le chemin entier"
        ));
    }
    std::path::absolute(value).map_err(|error| text!("{value}: {error}", "{value} : {error}"))
}

/// A text that is not empty.
///
/// # Errors
/// An empty one.
pub fn some(value: &str) -> Result<String, Text> {
    if value.is_empty() { Err(empty()) } else { Ok(value.to_owned()) }
}

/// A secret: the text itself, `text:…`, `file:PATH`, `env:NAME`, `credential:NAME` (systemd), `dpapi:BASE64`.
///
/// # Errors
/// A file or variable that is not there or empty; never says the content.
pub fn secret(value: &str) -> Result<Secret, Text> {
    let secret = match value.split_once(':') {
        Some(("text", text)) => text.to_owned(),
        Some(("file", file)) => secret_file(Path::new(file.trim()))?,
        Some(("env", name)) => secret_env(name.trim())?,
        Some(("credential", name)) => secret_credential(name.trim())?,
        Some(("dpapi", encoded)) => secret_dpapi(encoded.trim())?,
        _ => value.to_owned(),
    };
    if secret.is_empty() {
        return Err(text!("the secret is empty", "le secret est vide"));
    }
    Ok(Secret::new(secret))
}

/// The sentence for what is known but not built.
pub fn not_yet(what: &str) -> Text {
    text!("{what}: not in this version", "{what} : pas dans cette version")
}

/// The sentence for a value that is missing.
fn empty() -> Text {
    text!("a value is missing after `=`", "il manque une valeur après « = »")
}

fn seconds(value: &str) -> Option<u64> {
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        return value.parse().ok();
    }
    let (mut rest, mut total) = (value.trim(), 0_u64);
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest.get(..digits)?.parse().ok()?;
        let unit = rest.get(digits..)?.trim_start();
        let factor = match unit.chars().next()?.to_ascii_lowercase() {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' | 'j' => 86_400,
            _ => return None,
        };
        total = total.checked_add(number.checked_mul(factor)?)?;
        rest = unit[1..].trim_start();
    }
    (!value.trim().is_empty()).then_some(total)
}

/// What no resolver could take for a host: `== 127.0.0.1`, `https://host`, `host:995` with a second port behind it.
fn may_be_host(host: &str) -> bool {
    let address = host.split_once('%').map_or(host, |(address, _)| address);
    // RFC 1123, 2.1: no label is empty, none begins with a hyphen; the dot at the end is the root's
    let labels = host.strip_suffix('.').unwrap_or(host);
    if !host.is_empty() && labels.split('.').any(|label| label.is_empty() || label.starts_with('-')) {
        return false;
    }
    !host.contains(|c: char| c.is_whitespace() || matches!(c, '=' | '/' | '"' | ','))
        && (!host.contains(':') || Ipv6Addr::from_str(address).is_ok())
}

fn without_brackets(host: &str) -> Result<&str, ()> {
    match (host.strip_prefix('['), host.contains([']', '['])) {
        (Some(rest), _) => rest.strip_suffix(']').filter(|inner| Ipv6Addr::from_str(inner).is_ok()).ok_or(()),
        (None, true) => Err(()),
        (None, false) => Ok(host),
    }
}

fn bad_brackets(value: &str) -> Text {
    text!(
        "{value:?}: brackets are for IPv6 addresses, as in [::1]:993",
        "{value:?} : les crochets sont pour les adresses IPv6, comme [::1]:993"
    )
}

fn port_of(port: &str) -> Result<u16, Text> {
    let port = port.trim();
    if port.is_empty() {
        return Err(text!("the port is missing", "il manque le port"));
    }
    if port.bytes().all(|b| b.is_ascii_digit()) {
        return port
            .parse()
            .map_err(|_| text!("port {port}: expected at most 65535", "port {port} : attendu 65535 au plus"));
    }
    let lower = port.to_ascii_lowercase();
    SERVICES.iter().find(|(name, _)| *name == lower).map(|(_, port)| *port).ok_or_else(|| {
        text!(
            "Unknown TCP service {port:?}: expected a port number or a name such as pop3s",
            "service TCP inconnu : {port:?} ; attendu un numéro de port ou un nom tel que pop3s"
        )
    })
}

/// The port of a server.
fn port_to(port: &str) -> Result<u16, Text> {
    port_of(port).and_then(|port| if port == 0 { Err(no_port()) } else { Ok(port) })
}

fn no_port() -> Text {
    text!(
        "port 0: nobody can be reached there; expected 1 to 65535",
        "port 0 : personne n'y répond ; attendu 1 à 65535"
    )
}

fn facility_number(name: &str) -> Result<u8, Text> {
    let lower = name.to_lowercase();
    FACILITIES
        .iter()
        .find(|(known, _)| *known == lower)
        .map(|(_, number)| *number)
        .ok_or_else(|| text!("Illegal syslog facility {name:?}", "catégorie de syslog inconnue : {name:?}"))
}

/// `None`: known to systems, without effect here.
fn setting(name: &str, value: &str) -> Result<Option<Setting>, Text> {
    let seconds = |v| count(name, v).map(|n| Duration::from_secs(u64::from(n)));
    Ok(Some(match name {
        "TCP_NODELAY" => Setting::NoDelay(flag(name, value)?),
        "SO_KEEPALIVE" => Setting::KeepAlive(flag(name, value)?),
        "SO_REUSEADDR" => Setting::ReuseAddr(flag(name, value)?),
        "TCP_KEEPIDLE" => Setting::KeepIdle(seconds(value)?),
        "TCP_KEEPINTVL" => Setting::KeepInterval(seconds(value)?),
        "TCP_KEEPCNT" => Setting::KeepCount(count(name, value)?),
        "SO_RCVBUF" => Setting::ReceiveBuffer(count(name, value)? as usize),
        "SO_SNDBUF" => Setting::SendBuffer(count(name, value)? as usize),
        "SO_LINGER" => {
            let (on, time) = value.split_once(':').unwrap_or((value, ""));
            let time = if time.is_empty() { Duration::ZERO } else { seconds(time)? };
            Setting::Linger(flag(name, on)?.then_some(time))
        }
        "SO_BINDTODEVICE" => Setting::Device(interface(value)?),
        "IP_TOS" => Setting::TypeOfService(up_to(name, value, 0, 255)?),
        "IP_TTL" => Setting::TimeToLive(up_to(name, value, 1, 255)?),
        "IP_FREEBIND" => Setting::FreeBind(flag(name, value)?),
        "IPV6_V6ONLY" => Setting::OnlyIpv6(flag(name, value)?),
        "TCP_MAXSEG" => Setting::MaxSegment(up_to(name, value, 1, 65535)?),
        name if OTHER_SOCKET_OPTIONS.contains(&name) => return Ok(None),
        name => {
            let upper = name.to_uppercase();
            return Err(text!(
                "Illegal socket option {name:?}: names are in upper case, as in TCP_NODELAY (did you mean {upper}?)",
                "option de socket inconnue : {name:?} ; les noms sont en majuscules, comme TCP_NODELAY (vouliez-vous dire {upper} ?)"
            ));
        }
    }))
}

fn flag(name: &str, value: &str) -> Result<bool, Text> {
    match value {
        "1" => Ok(true),
        "0" => Ok(false),
        other => yes_no(other).map_err(|_| bad_setting(name, value, "yes, no, 1 or 0", "yes, no, 1 ou 0")),
    }
}

fn count(name: &str, value: &str) -> Result<u32, Text> {
    let number = value.parse().ok().filter(|n| i32::try_from(*n).is_ok());
    number.ok_or_else(|| bad_setting(name, value, "a whole number", "un nombre entier"))
}

fn up_to(name: &str, value: &str, least: u32, most: u32) -> Result<u32, Text> {
    let number = value.parse().ok().filter(|n| (least..=most).contains(n));
    number.ok_or_else(|| bad_setting(name, value, &format!("{least} to {most}"), &format!("{least} à {most}")))
}

/// The name of an interface, empty for any; `IFNAMSIZ` of netdevice(7) leaves 15 bytes.
fn interface(value: &str) -> Result<String, Text> {
    if value.len() > 15 || value.contains('/') || value.contains(char::is_whitespace) {
        let (en, fr) = ("an interface such as eth0", "une interface telle que eth0");
        return Err(bad_setting("SO_BINDTODEVICE", value, en, fr));
    }
    Ok(value.to_owned())
}

fn bad_setting(name: &str, value: &str, en: &str, fr: &str) -> Text {
    text!(
        "Illegal socket option {name}={value}: expected {en}",
        "option de socket incorrecte {name}={value} : attendu {fr}"
    )
}

fn secret_file(path: &Path) -> Result<String, Text> {
    use std::io::Read as _;
    let mut content = Vec::new();
    let shown = path.display();
    let read = std::fs::File::open(path).and_then(|file| file.take(LARGEST_SECRET).read_to_end(&mut content));
    read.map_err(|error| {
        let Text { en, fr } = Text::io(&error);
        text!("the secret's file {shown} cannot be read: {en}", "le fichier du secret {shown} est illisible : {fr}")
    })?;
    let text = String::from_utf8(content).map_err(|_| {
        text!("the secret's file {shown} is not UTF-8 text", "le fichier du secret {shown} n'est pas du texte UTF-8")
    })?;
    Ok(text.trim_start_matches('\u{FEFF}').trim_end_matches(['\r', '\n']).to_owned())
}

fn secret_env(name: &str) -> Result<String, Text> {
    std::env::var(name).map_err(|_| {
        text!("the environment variable {name:?} is not set", "la variable d'environnement {name:?} n'est pas définie")
    })
}

/// systemd's `LoadCredential=`: a file in `$CREDENTIALS_DIRECTORY` (systemd.exec(5)).
fn secret_credential(name: &str) -> Result<String, Text> {
    if name.is_empty() || name.contains(['/', '\\']) || name.starts_with('.') {
        return Err(text!("credential {name:?}: expected a plain name", "credential {name:?} : attendu un nom simple"));
    }
    let directory = std::env::var_os("CREDENTIALS_DIRECTORY").ok_or_else(|| {
        text!(
            "credential:{name} works below systemd only, with LoadCredential={name}:FILE in the unit",
            "credential:{name} ne vaut que sous systemd, avec LoadCredential={name}:FICHIER dans l'unité"
        )
    })?;
    secret_file(&Path::new(&directory).join(name))
}

/// What Windows protected (DPAPI), for this machine or for the user of this process.
#[cfg(windows)]
fn secret_dpapi(encoded: &str) -> Result<String, Text> {
    let bytes = base64::engine::general_purpose::STANDARD.decode(encoded);
    let bytes = bytes.map_err(|_| text!("dpapi: expected base64", "dpapi: attendu du base64"))?;
    let plain = crate::secret::dpapi::unprotect(&bytes).map_err(|error| {
        let Text { en, fr } = Text::io(&error);
        text!(
            "dpapi: Windows cannot read it: {en}; it must have been made on this machine",
            "dpapi: Windows ne peut pas le lire : {fr} ; il doit avoir été fait sur cette machine"
        )
    })?;
    let text = std::str::from_utf8(&plain);
    text.map(ToOwned::to_owned).map_err(|_| text!("dpapi: is not UTF-8 text", "dpapi: n'est pas du texte UTF-8"))
}

#[cfg(not(windows))]
fn secret_dpapi(_encoded: &str) -> Result<String, Text> {
    Err(text!(
        "dpapi: works on Windows only; use file:PATH, env:NAME or credential:NAME",
        "dpapi: ne vaut que sous Windows ; utiliser file:CHEMIN, env:NOM ou credential:NOM"
    ))
}

/// The words of EzGED's forms, before those of the index.
const EZGED_KINDS: [&str; 2] = ["acte_nature", "chorus_fact"];
/// 100 years in seconds: more would overflow clocks.
const LONGEST: u64 = 100 * 366 * 86_400;
/// Bytes of a secret's file.
const LARGEST_SECRET: u64 = 64 << 10;

/// IANA service names that mail tunnels use (RFC 6335 registry).
const SERVICES: [(&str, u16); 24] = [
    ("ftp", 21),
    ("ssh", 22),
    ("telnet", 23),
    ("smtp", 25),
    ("http", 80),
    ("pop3", 110),
    ("pop-3", 110),
    ("nntp", 119),
    ("imap", 143),
    ("imap2", 143),
    ("ldap", 389),
    ("https", 443),
    ("smtps", 465),
    ("ssmtp", 465),
    ("submissions", 465),
    ("syslog-tls", 6514),
    ("nntps", 563),
    ("submission", 587),
    ("ldaps", 636),
    ("ftps", 990),
    ("telnets", 992),
    ("imaps", 993),
    ("pop3s", 995),
    ("postgresql", 5432),
];

/// RFC 5424, 6.2.1.
const FACILITIES: [(&str, u8); 21] = [
    ("kern", 0),
    ("user", 1),
    ("mail", 2),
    ("daemon", 3),
    ("auth", 4),
    ("security", 4),
    ("syslog", 5),
    ("lpr", 6),
    ("news", 7),
    ("uucp", 8),
    ("cron", 9),
    ("authpriv", 10),
    ("ftp", 11),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];

/// `sun_path` of unix(7) without its closing zero.
const LONGEST_SOCKET: usize = 107;

/// Socket options that stunnel knows and that only tune.
const OTHER_SOCKET_OPTIONS: [&str; 15] = [
    "SO_DEBUG",
    "SO_DONTROUTE",
    "SO_OOBINLINE",
    "SO_RCVLOWAT",
    "SO_SNDLOWAT",
    "SO_RCVTIMEO",
    "SO_SNDTIMEO",
    "SO_USELOOPBACK",
    "SO_EXCLUSIVEADDRUSE",
    "SO_BSDCOMPAT",
    "SO_PRIORITY",
    "SO_REUSEPORT",
    "TCP_CORK",
    "TCP_QUICKACK",
    "IP_BIND_ADDRESS_NO_PORT",
];

/// Names of `SSL_CTX_set_options(3)` as stunnel lists them.
pub(super) const OPENSSL_OPTIONS: [&str; 56] = [
    "ALL",
    "ALLOW_CLIENT_RENEGOTIATION",
    "ALLOW_NO_DHE_KEX",
    "ALLOW_UNSAFE_LEGACY_RENEGOTIATION",
    "CIPHER_SERVER_PREFERENCE",
    "CISCO_ANYCONNECT",
    "CLEANSE_PLAINTEXT",
    "COOKIE_EXCHANGE",
    "CRYPTOPRO_TLSEXT_BUG",
    "DISABLE_TLSEXT_CA_NAMES",
    "DONT_INSERT_EMPTY_FRAGMENTS",
    "ENABLE_KTLS",
    "ENABLE_MIDDLEBOX_COMPAT",
    "EPHEMERAL_RSA",
    "IGNORE_UNEXPECTED_EOF",
    "LEGACY_SERVER_CONNECT",
    "MICROSOFT_BIG_SSLV3_BUFFER",
    "MICROSOFT_SESS_ID_BUG",
    "MSIE_SSLV2_RSA_PADDING",
    "NETSCAPE_CA_DN_BUG",
    "NETSCAPE_CHALLENGE_BUG",
    "NETSCAPE_DEMO_CIPHER_CHANGE_BUG",
    "NETSCAPE_REUSE_CIPHER_CHANGE_BUG",
    "NO_ANTI_REPLAY",
    "NO_COMPRESSION",
    "NO_DTLSV1",
    "NO_DTLSV1_2",
    "NO_ENCRYPT_THEN_MAC",
    "NO_EXTENDED_MASTER_SECRET",
    "NO_QUERY_MTU",
    "NO_RENEGOTIATION",
    "NO_RX_CERTIFICATE_COMPRESSION",
    "NO_SESSION_RESUMPTION_ON_RENEGOTIATION",
    "NO_SSLV2",
    "NO_SSLV3",
    "NO_TICKET",
    "NO_TLSV1",
    "NO_TLSV1.1",
    "NO_TLSV1.2",
    "NO_TLSV1.3",
    "NO_TLSV1_1",
    "NO_TLSV1_2",
    "NO_TLSV1_3",
    "NO_TX_CERTIFICATE_COMPRESSION",
    "PKCS1_CHECK_1",
    "PKCS1_CHECK_2",
    "PRIORITIZE_CHACHA",
    "SAFARI_ECDHE_ECDSA_BUG",
    "SINGLE_DH_USE",
    "SINGLE_ECDH_USE",
    "SSLEAY_080_CLIENT_DH_BUG",
    "SSLREF2_REUSE_CERT_TYPE_BUG",
    "TLSEXT_PADDING",
    "TLS_BLOCK_PADDING_BUG",
    "TLS_D5_BUG",
    "TLS_ROLLBACK_BUG",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_and_bare_numbers_are_seconds() {
        for (text, seconds) in [
            ("90s", 90),
            ("5m", 300),
            ("1h", 3600),
            ("30d", 2_592_000),
            ("30j", 2_592_000),
            ("2h30m", 9000),
            ("2h 30m", 9000),
            ("7", 7),
            ("0", 0),
        ] {
            assert_eq!(duration(text).unwrap(), Duration::from_secs(seconds), "{text}");
        }
        for text in ["", "5x", "m", "-5", "5 5", "1.5h", "9999999999999999999999", "99999999999d", "é", "5é"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert_eq!(duration_or_never("-1").unwrap(), None);
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        assert_eq!(size("20K").unwrap(), 20 << 10);
        assert_eq!(size("150M").unwrap(), 150 << 20);
        assert_eq!(size("4 g").unwrap(), 4 << 30);
        for text in ["", "0", "K", "4X", "-4M", "1é", "99999999999T", "4KB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn addresses_split_at_the_last_colon() {
        let at = |host: &str, port| Address { host: Some(host.to_owned()), port };
        assert_eq!(address("995").unwrap(), Address { host: None, port: 995 });
        assert_eq!(address("pop3s").unwrap(), Address { host: None, port: 995 });
        assert_eq!(address("pop.gmail.com:995").unwrap(), at("pop.gmail.com", 995));
        assert_eq!(address("::1:993").unwrap(), at("::1", 993));
        assert_eq!(address("[::1]:imaps").unwrap(), at("::1", 993));
        assert_eq!(address(":::1636").unwrap(), at("::", 1636));
        assert_eq!(address("fe80::1%eth0:1").unwrap(), at("fe80::1%eth0", 1));
        for text in [
            "",
            "99999",
            "h:65536",
            "h:",
            "notaservice",
            "[::1]",
            "[x]:1",
            "x]:1",
            "/run/x.sock",
            "= h:1",
            "https://h:1",
            "h:1:2",
            "h i:1",
        ] {
            assert!(address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn servers_may_leave_the_port_out() {
        for text in ["host:0", "host..x", "-x", "a.-b:1", ".", ".x:1", "x..:1"] {
            assert!(server(text).is_err() && target(&format!("{text}:1")).is_err(), "{text}");
        }
        assert!(server("imap.gmail.com.:993").is_ok() && server("127.0.0.1:1").is_ok() && server("::1").is_ok());
        assert!(target("x:0").is_err() && address("x:0").is_ok() && target("995").is_ok());
        assert_eq!(server("imap.gmail.com").unwrap(), ("imap.gmail.com".to_owned(), None));
        assert_eq!(server("h:993").unwrap(), ("h".to_owned(), Some(993)));
        assert_eq!(server("::1").unwrap(), ("::1".to_owned(), None));
        assert_eq!(server("[::1]:143").unwrap(), ("::1".to_owned(), Some(143)));
        for text in ["", ":993", "https://x", "a b", "h:x", "h:993:1", "h/x:993", "= h"] {
            assert!(server(text).is_err(), "{text}");
        }
        assert!(server("https://imap.example.org").unwrap_err().en.contains("without https://"));
    }

    #[test]
    fn debug_takes_numbers_names_and_a_facility() {
        assert_eq!(debug("7", false).unwrap(), (None, Level::Debug));
        assert_eq!(debug("Local3.Warning", true).unwrap(), (Some(19), Level::Warning));
        assert!(debug("local3.info", false).is_err());
        assert!(debug("loud", true).is_err() && debug("9", true).is_err() && debug("bogus.info", true).is_err());
    }

    #[test]
    fn socket_options_act_warn_or_fail() {
        let nodelay = SocketOption { side: Side::Local, setting: Setting::NoDelay(true) };
        assert_eq!(socket("l:TCP_NODELAY=1").unwrap().unwrap(), nodelay);
        let linger = SocketOption { side: Side::Remote, setting: Setting::Linger(Some(Duration::from_secs(5))) };
        assert_eq!(socket("r:SO_LINGER=1:5").unwrap().unwrap(), linger);
        assert!(socket("l:SO_OOBINLINE=yes").unwrap().is_err());
    }

    #[test]
    fn socket_options_are_read_as_stunnel_reads_them() {
        let seconds = |n| Some(Duration::from_secs(n));
        let good = [
            ("TCP_NODELAY=YES", Setting::NoDelay(true)),
            ("SO_LINGER=1:60", Setting::Linger(seconds(60))),
            ("SO_LINGER=1", Setting::Linger(seconds(0))),
            ("SO_LINGER=1:", Setting::Linger(seconds(0))),
            ("SO_LINGER=0:0", Setting::Linger(None)),
            ("SO_BINDTODEVICE=lo", Setting::Device("lo".into())),
            ("SO_BINDTODEVICE=", Setting::Device(String::new())),
            ("IP_TOS=16", Setting::TypeOfService(16)),
            ("IP_TTL=64", Setting::TimeToLive(64)),
            ("IP_FREEBIND=no", Setting::FreeBind(false)),
            ("IPV6_V6ONLY=1", Setting::OnlyIpv6(true)),
            ("TCP_MAXSEG=1400", Setting::MaxSegment(1400)),
        ];
        for (text, setting) in good {
            assert_eq!(socket(&format!("a:{text}")).unwrap().unwrap(), SocketOption { side: Side::Accept, setting });
        }
        let bad = [
            "l:tcp_nodelay=1",
            "x:TCP_NODELAY=1",
            "A:TCP_NODELAY=1",
            "TCP_NODELAY=1",
            "l:TCP_NODELAY",
            "l:TCP_NODELAY=",
            "l:TCP_NODELAY=2",
            "l:TCP_NODELAY=true",
            "l:TCP_KEEPCNT=-1",
            "a:SO_LINGER=1:x",
            "a:SO_RCVBUF=5k",
            "a:SO_RCVBUF=0x10",
            "a:IP_TTL=0",
            "a:IP_TTL=999",
            "a:IP_TOS=300",
            "a:SO_BINDTODEVICE=waytoolonginterfacename",
            "a:SO_BINDTODEVICE=../x",
        ];
        for text in bad {
            let told = socket(text).unwrap_err();
            assert!(told.en.starts_with("Illegal socket option"), "{text}: {told}");
        }
    }

    #[test]
    fn pins_are_hex_or_base64() {
        let digest = Digest::of(b"key");
        let hex = digest.to_string();
        let colons: Vec<&str> = (0..32).map(|i| &hex[2 * i..2 * i + 2]).collect();
        let base64 = base64::engine::general_purpose::STANDARD.encode(digest.0);
        for text in [
            hex.clone(),
            hex.to_uppercase(),
            colons.join(":"),
            format!("sha256:{hex}"),
            format!("sha256//{base64}"),
            base64,
        ] {
            assert_eq!(pin(&text).unwrap(), digest, "{text}");
        }
        assert!(pin("").is_err() && pin("sha256:").is_err() && pin("abc").is_err());
    }

    #[test]
    fn since_is_a_date_or_a_duration() {
        assert_eq!(since("2024-02-29").unwrap(), Since::Date(jiff::civil::date(2024, 2, 29)));
        assert_eq!(since("30d").unwrap(), Since::Back(Duration::from_hours(720)));
        for text in ["2023-02-29", "29/02/2024", "2024-02-29T10:00", "hier", "2024-é-9"] {
            assert!(since(text).is_err(), "{text}");
        }
    }

    #[test]
    fn after_has_french_twins() {
        assert_eq!(after("déplacer INBOX/Traités").unwrap(), Disposition::Move("INBOX/Traités".to_owned()));
        assert_eq!(after("move Done").unwrap(), Disposition::Move("Done".to_owned()));
        assert_eq!(after("Supprimer").unwrap(), Disposition::Delete);
        assert!(after("move").is_err() && after("delete now").is_err() && after("").is_err());
        assert_eq!(after("Catégorie GED importé").unwrap(), Disposition::Category("GED importé".to_owned()));
        assert!(after("category").unwrap_err().en.contains("category NAME"));
    }

    #[test]
    fn secrets_come_from_where_they_say() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("s");
        std::fs::write(&file, "pässword\r\n").unwrap();
        assert_eq!(secret(&format!("file:{}", file.display())).unwrap().reveal(), "pässword");
        assert_eq!(secret("a:b c").unwrap().reveal(), "a:b c");
        assert_eq!(secret("text:file:x").unwrap().reveal(), "file:x");
        let root = env!("CARGO_MANIFEST_DIR");
        assert_eq!(secret("env:CARGO_MANIFEST_DIR").unwrap().reveal(), root);
        assert!(secret("env:PERTUIS_TEST_NO_SUCH_VARIABLE").unwrap_err().en.contains("NO_SUCH_VARIABLE"));
        for text in ["", "text:", "file:/nonexistent", "credential:../x", "dpapi:AAAA"] {
            assert!(secret(text).is_err(), "{text}");
        }
    }

    #[test]
    fn yes_and_no_are_the_only_booleans() {
        assert!(yes_no("YES").unwrap() && yes_no("oui").unwrap() && !yes_no("No").unwrap() && !yes_no("non").unwrap());
        for text in ["", "true", "1", "on", "yes ; c", "\"yes\""] {
            assert!(yes_no(text).is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_value_makes_a_parser_panic(value in "\\PC{0,40}") {
            let _ = (duration(&value), size(&value), address(&value), server(&value), debug(&value, true));
            let _ = (socket(&value), tls_version(&value), tls_option(&value), pin(&value), since(&value), after(&value));
            let _ = (proxy(&value), alert(&value), number(&value), ip(&value), yes_no(&value), path(&value));
        }

        #[test]
        fn written_addresses_read_back(port in 1_u16.., host in proptest::option::of("[a-z][a-z0-9]{0,9}([.][a-z0-9]{1,9}){0,2}")) {
            let address_ = Address { host, port };
            proptest::prop_assert_eq!(address(&address_.to_string()).unwrap(), address_);
        }
    }
}
