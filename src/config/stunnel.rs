//! Every option of stunnel, and what becomes of it here: a page for those who bring a file along.
//!
//! Not a second table of options: what is said of each is its row's, only the list of names is stunnel's own (stunnel(8)
//! of 5.75 and the options of 5.68 that are gone there), so that none can be forgotten, and a few words on where an option
//! that acts does not do quite the same.

use std::fmt::Write as _;

use super::manual::{fate, meaning};
use super::option::{self, Level, Row, Status, Words};
use crate::text::Lang;

/// The table, in Markdown.
pub fn markdown(lang: Lang) -> String {
    let mut out = String::new();
    let parts = [
        (Level::Global, GLOBAL, "Global options", "Options globales"),
        (Level::Tunnel, SERVICE, "Options of services", "Options des services"),
    ];
    for (level, names, en, fr) in parts {
        let (title, head) = match lang {
            Lang::En => (en, "| option | what it does | pertuis |"),
            Lang::Fr => (fr, "| option | ce qu'elle fait | pertuis |"),
        };
        let _ = writeln!(out, "### {title}\n\n{head}\n| --- | --- | --- |");
        for name in names {
            let cells = match find(name, level) {
                Some(row) => [format!("`{name}`"), meaning(row, lang), judged(name, row, lang)],
                // no option of a section, but a line that the reader of files takes itself
                None => [format!("`{name}`"), INCLUDE.get(lang).to_owned(), differently(LEFT_OUT.get(lang), lang)],
            };
            let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
            let _ = writeln!(out, "| {} |", cells.join(" | "));
        }
        out.push('\n');
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

fn find(name: &str, level: Level) -> Option<&'static Row> {
    option::find(name, |row| row.is_for(level)).filter(|row| row.is_for(level))
}

/// What becomes of it; for one that acts, how it differs.
fn judged(name: &str, row: &Row, lang: Lang) -> String {
    let differs =
        DIFFERS.iter().find(|(option, _)| option.eq_ignore_ascii_case(name)).map(|(_, words)| words.get(lang));
    match (row.status, differs) {
        (Status::Acts, Some(words)) => differently(words, lang),
        _ => fate(row, lang),
    }
}

fn differently(words: &str, lang: Lang) -> String {
    match lang {
        Lang::En => format!("acts differently: {words}"),
        Lang::Fr => format!("agit autrement : {words}"),
    }
}

const fn words(en: &'static str, fr: &'static str) -> Words {
    Words { en, fr }
}

/// Where an option that acts does not do quite what it does in stunnel.
#[rustfmt::skip]
const DIFFERS: &[(&str, Words)] = &[
    ("foreground", words("`yes` unless defaults = stunnel",
        "`yes` sauf avec defaults = stunnel")),
    ("syslog", words("`no` unless defaults = stunnel",
        "`no` sauf avec defaults = stunnel")),
    ("output", words("SIGUSR1 never empties the file, also with log = overwrite",
        "SIGUSR1 ne vide jamais le fichier, même avec log = overwrite")),
    ("setuid", words("without setgid the process leaves root's group too",
        "sans setgid, le processus quitte aussi le groupe de root")),
    ("chroot", words("not together with launchers",
        "pas avec des lanceurs")),
    ("fips", words("`yes` is refused",
        "`yes` est refusé")),
    ("verify", words("client mode without defaults = stunnel: 2 checks the name too, and 1 is 0",
        "mode client sans defaults = stunnel : 2 vérifie aussi le nom, et 1 vaut 0")),
    ("verifyChain", words("on for clients, with the name; `no` switches it off with a warning (defaults = stunnel: as stunnel)",
        "active pour les clients, avec le nom ; `no` la désactive avec un avertissement (defaults = stunnel : comme stunnel)")),
    ("CAfile", words("without it clients use the system's authorities; an intermediate authority in it is trusted as a root is",
        "sans elle, les clients prennent les autorités du système ; une autorité intermédiaire y vaut une racine")),
    ("sslVersion", words("TLS 1.2 and 1.3 alone; older ones are raised, with a warning",
        "TLS 1.2 et 1.3 seulement ; les anciennes sont relevées, avec un avertissement")),
    ("sslVersionMax", words("TLS 1.2 and 1.3 alone; older ones are raised, with a warning",
        "TLS 1.2 et 1.3 seulement ; les anciennes sont relevées, avec un avertissement")),
    ("sslVersionMin", words("never below TLS 1.2",
        "jamais sous TLS 1.2")),
    ("options", words("NO_TLSv1_2, NO_TLSv1_3 and NO_TICKET act; the other names are accepted and change nothing",
        "NO_TLSv1_2, NO_TLSv1_3 et NO_TICKET agissent ; les autres noms sont acceptés et ne changent rien")),
    ("ciphers", words("orders and narrows what there is: ECDHE with AES-GCM or ChaCha20; no CBC, no RSA key exchange",
        "ordonne et restreint ce qu'il y a : ECDHE avec AES-GCM ou ChaCha20 ; ni CBC, ni échange de clés RSA")),
    ("curves", words("X25519, P-256, P-384 and a hybrid with ML-KEM; X448 and P-521 are left out",
        "X25519, P-256, P-384 et un hybride avec ML-KEM ; X448 et P-521 sont laissées de côté")),
    ("ticketKeySecret", words("tickets are not exchangeable with those of a real stunnel",
        "tickets non échangeables avec ceux d'un vrai stunnel")),
    ("ticketMacSecret", words("tickets are not exchangeable with those of a real stunnel",
        "tickets non échangeables avec ceux d'un vrai stunnel")),
    ("OCSPaia", words("accepted, `yes` with a warning: revocation is checked with CRLfile and CRLpath alone",
        "acceptée, `yes` avec un avertissement : la révocation n'est vérifiée que par CRLfile et CRLpath")),
    ("OCSPnonce", words("accepted, `yes` with a warning: no OCSP responder is asked",
        "acceptée, `yes` avec un avertissement : aucun répondeur OCSP n'est interrogé")),
    ("OCSPrequire", words("accepted, with a warning: no OCSP responder is asked",
        "acceptée, avec un avertissement : aucun répondeur OCSP n'est interrogé")),
    ("pty", words("`yes` is refused",
        "`yes` est refusé")),
    ("libwrap", words("`yes` is refused",
        "`yes` est refusé")),
    ("protocol", words("proxy-v2 besides; cifs, capwin and capwinctrl are refused; `[::1]:993` may be written with brackets everywhere",
        "proxy-v2 en plus ; cifs, capwin et capwinctrl sont refusés ; `[::1]:993` peut s'écrire avec crochets partout")),
    ("protocolAuthentication", words("NTLM is refused",
        "NTLM est refusé")),
    ("socket", words("SO_KEEPALIVE is on unless it is switched off; other names of stunnel are accepted with a warning",
        "SO_KEEPALIVE est active sauf si on la coupe ; les autres noms de stunnel sont acceptés avec un avertissement")),
    ("logId", words("`thread` and `process` are as sequential",
        "`thread` et `process` valent sequential")),
    ("delay", words("names are looked up again after a failure also without it",
        "les noms sont de toute façon résolus à nouveau après un échec")),
    ("retry", words("`yes` is a second, a number is milliseconds, as in 5.75",
        "`yes` vaut une seconde, un nombre compte des millisecondes, comme dans 5.75")),
];

const INCLUDE: Words = words(
    "folder whose files are read in its place, in the order of their names",
    "dossier dont les fichiers sont lus à sa place, dans l'ordre de leurs noms",
);

const LEFT_OUT: Words = words(
    "files ending in ~, .bak, .swp, .dpkg-* and dot files are left out, with a warning",
    "les fichiers en ~, .bak, .swp, .dpkg-* et ceux qui commencent par un point sont laissés de côté, avec un avertissement",
);

/// stunnel's global options.
#[rustfmt::skip]
const GLOBAL: &[&str] = &[
    "chroot", "compression", "debug", "EGD", "engine", "engineCtrl", "engineDefault", "fips", "foreground",
    "iconActive", "iconError", "iconIdle", "include", "log", "output", "pid", "provider", "providerParameter",
    "RNDbytes", "RNDfile", "RNDoverwrite", "service", "setEnv", "setgid", "setuid", "syslog", "taskbar",
];

/// Those of services.
#[rustfmt::skip]
const SERVICE: &[&str] = &[
    "accept", "CAengine", "CAfile", "CApath", "CAstore", "cert", "checkEmail", "checkHost", "checkIP", "ciphers",
    "ciphersuites", "client", "config", "connect", "CRLfile", "CRLpath", "curve", "curves", "debug", "delay",
    "engineId", "engineNum", "exec", "execArgs", "failover", "ident", "key", "libwrap", "local", "logId", "ocsp",
    "OCSPaia", "OCSPflag", "OCSPnonce", "OCSPrequire", "options", "protocol", "protocolAuthentication",
    "protocolDomain", "protocolHeader", "protocolHost", "protocolPassword", "protocolUsername", "PSKidentity",
    "PSKsecrets", "pty", "redirect", "renegotiation", "requireCert", "reset", "retry", "securityLevel", "service",
    "session", "sessionCacheSize", "sessionCacheTimeout", "sessiond", "sessionResume", "setgid", "setuid", "sni",
    "socket", "sslVersion", "sslVersionMax", "sslVersionMin", "stack", "ticketKeySecret", "ticketMacSecret",
    "TIMEOUTbusy", "TIMEOUTclose", "TIMEOUTconnect", "TIMEOUTidle", "TIMEOUTocsp", "transparent", "verify",
    "verifyChain", "verifyPeer",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_of_stunnel_is_known_and_stands_in_the_table_in_both_languages() {
        for lang in [Lang::En, Lang::Fr] {
            let table = markdown(lang);
            for (level, names) in [(Level::Global, GLOBAL), (Level::Tunnel, SERVICE)] {
                for name in names {
                    assert!(find(name, level).is_some() || *name == "include", "{name}");
                    assert!(table.contains(&format!("\n| `{name}` | ")), "{name}");
                }
            }
            let rows = table.lines().filter(|line| line.starts_with("| `"));
            assert_eq!(rows.clone().count(), GLOBAL.len() + SERVICE.len());
            assert!(rows.into_iter().all(|row| row.replace("\\|", "").matches('|').count() == 4));
        }
        // 97 options and three second names; debug, service, setuid and setgid stand in both lists
        assert_eq!(GLOBAL.len() + SERVICE.len() - 4, 100);
    }

    #[test]
    fn what_differs_is_an_option_that_acts() {
        for (name, _) in DIFFERS {
            let row = [Level::Global, Level::Tunnel].into_iter().find_map(|level| find(name, level));
            assert!(row.is_some_and(|row| matches!(row.status, Status::Acts)), "{name}");
        }
    }

    /// What the installed stunnel itself lists.
    #[test]
    fn the_list_is_that_of_the_installed_stunnel() {
        let Ok(output) = std::process::Command::new("stunnel4").arg("-help").output() else {
            eprintln!("skipped: there is no stunnel4 here");
            return;
        };
        let text = String::from_utf8_lossy(&output.stderr);
        let listed: Vec<&str> = text.lines().filter_map(|line| line.split_once("= ").map(|(name, _)| name)).collect();
        let listed = listed.into_iter().filter(|name| !name.starts_with(' ')).map(str::trim);
        let missing: Vec<&str> =
            listed.filter(|name| !GLOBAL.iter().chain(SERVICE).any(|known| known.eq_ignore_ascii_case(name))).collect();
        assert_eq!(missing, Vec::<&str>::new());
        assert!(text.contains("verifyPeer"), "{text}");
    }
}
