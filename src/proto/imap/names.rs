//! Folder names: modified UTF-7 (RFC 3501, 5.1.3), and finding the folder that a user means.
//!
//! Not the folder list itself: who has one asks [`find`]. A user writes a name as mail programs show it
//! (`INBOX/Factures reçues`), or as the server writes it (`INBOX.Factures re&AOc-ues`); both are understood.

/// `name` in modified UTF-7.
pub fn encode(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut shifted: Vec<u16> = Vec::new();
    for c in name.chars() {
        if !(' '..='~').contains(&c) {
            shifted.extend_from_slice(c.encode_utf16(&mut [0; 2]));
            continue;
        }
        flush(&mut shifted, &mut out);
        out.push(c);
        if c == '&' {
            out.push('-');
        }
    }
    flush(&mut shifted, &mut out);
    out
}

/// The name that `text` stands for; `None` where it is not modified UTF-7.
pub fn decode(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        let (shifted, after) = rest[at + 1..].split_once('-')?;
        if shifted.is_empty() {
            out.push('&');
        } else {
            out.push_str(&unshift(shifted)?);
        }
        rest = after;
    }
    out.push_str(rest);
    out.chars().all(|c| c != '\0').then_some(out)
}

/// The Unicode name of a folder as the server writes it: modified UTF-7, else (UTF8=ACCEPT, old servers) as it is.
/// INBOX in any case is `INBOX` (RFC 3501, 5.1).
pub fn show(server_name: &str) -> String {
    if server_name.eq_ignore_ascii_case("INBOX") {
        return "INBOX".to_owned();
    }
    decode(server_name).unwrap_or_else(|| server_name.to_owned())
}

/// How the server writes the folder that a user wrote as `name`, without asking for the list of folders: encoded
/// unless it is modified UTF-7 already, `/` replaced by the server's `separator`.
pub fn server_name(name: &str, separator: Option<char>) -> String {
    let name = name.trim_matches('/');
    if name.eq_ignore_ascii_case("INBOX") {
        return "INBOX".to_owned();
    }
    let name = match separator {
        Some(separator) if separator != '/' && !name.contains(separator) => name.replace('/', &separator.to_string()),
        _ => name.to_owned(),
    };
    let name = inbox_upper(&name, separator);
    if is_encoded(&name) { name } else { encode(&name) }
}

/// Which folder of `list` (names as the server writes them) a user means by `name`, where exactly one fits: letter for
/// letter, else with any of `/ . \` for the separator, else also below `INBOX` or the `prefix` of the user's own
/// folders, each first with case and then without.
pub fn find(name: &str, list: &[String], prefix: &str) -> Option<usize> {
    let wanted = [fold(name), fold(&show(name))];
    let exact: Vec<String> = list.iter().map(|folder| fold(&show(folder))).collect();
    let prefix = fold(&show(prefix));
    let below: Vec<String> = exact.iter().map(|folder| strip(folder, &prefix).to_owned()).collect();
    let lower = |names: &[String]| names.iter().map(|name| name.to_lowercase()).collect::<Vec<_>>();
    let rounds = [
        (wanted.to_vec(), exact.clone()),
        (lower(&wanted), lower(&exact)),
        (wanted.to_vec(), below.clone()),
        (lower(&wanted), lower(&below)),
    ];
    rounds.iter().find_map(|(wanted, folders)| {
        let hits = folders.iter().enumerate().filter(|(_, folder)| !folder.is_empty() && wanted.contains(folder));
        let mut hits = hits.map(|(at, _)| at);
        let hit = hits.next()?;
        hits.next().is_none().then_some(hit)
    })
}

/// `name` (as the server writes it) below the `prefix` of the user's own folders (RFC 2342, 5), unless it is there
/// already or is INBOX.
pub fn below(prefix: &str, name: &str) -> String {
    let there = name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    if there || name.eq_ignore_ascii_case("INBOX") { name.to_owned() } else { format!("{prefix}{name}") }
}

/// Whether `name` is a use (`\Sent`, RFC 6154) and not a name.
pub fn is_use(name: &str) -> bool {
    name.strip_prefix('\\').is_some_and(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphabetic()))
}

/// Whether `name` is the root of all folders.
pub fn is_root(name: &str) -> bool {
    name == "/"
}

/// What a folder of this name is mostly for, as an attribute of RFC 6154 in lower case: people know one account's folders
/// by the names of another language.
pub fn usual_use(name: &str) -> Option<&'static str> {
    let folded = fold(name).to_lowercase();
    let last = folded.rsplit('/').next().unwrap_or_default();
    USES.iter().find(|(_, names)| names.contains(&last)).map(|(usual, _)| *usual)
}

/// `text` as a quoted string (RFC 3501, 4.3).
pub fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn flush(shifted: &mut Vec<u16>, out: &mut String) {
    if shifted.is_empty() {
        return;
    }
    let bytes: Vec<u8> = shifted.iter().flat_map(|unit| unit.to_be_bytes()).collect();
    out.push('&');
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0, |word, &byte| (word << 8) | u32::from(byte)) << (8 * (3 - chunk.len()));
        for digit in 0..=chunk.len() {
            out.push(char::from(DIGITS[(word >> (18 - 6 * digit)) as usize & 63]));
        }
    }
    out.push('-');
    shifted.clear();
}

fn unshift(text: &str) -> Option<String> {
    let (mut units, mut bits, mut held) = (Vec::new(), 0_u32, 0_u32);
    for byte in text.bytes() {
        let digit = DIGITS.iter().position(|&digit| digit == byte)?;
        bits = (bits << 6) | u32::try_from(digit).ok()?;
        held += 6;
        if held >= 16 {
            held -= 16;
            units.push(u16::try_from((bits >> held) & 0xffff).ok()?);
        }
        bits &= (1 << held) - 1;
    }
    // what is left over must be padding: fewer than six bits, all zero
    if held >= 6 || bits != 0 || units.is_empty() {
        return None;
    }
    String::from_utf16(&units).ok()
}

/// Modified UTF-7 that means something else than it says, written as this program would write it.
fn is_encoded(name: &str) -> bool {
    name.contains('&') && decode(name).is_some_and(|decoded| encode(&decoded) == name)
}

fn inbox_upper(name: &str, separator: Option<char>) -> String {
    let Some(separator) = separator else { return name.to_owned() };
    match name.split_once(separator) {
        Some((first, rest)) if first.eq_ignore_ascii_case("INBOX") => format!("INBOX{separator}{rest}"),
        _ => name.to_owned(),
    }
}

fn fold(name: &str) -> String {
    name.trim_matches(['/', '.', '\\']).replace(['.', '\\'], "/")
}

/// What follows `INBOX/` or the prefix, both folded; empty where neither stands in front.
fn strip<'a>(folder: &'a str, prefix: &str) -> &'a str {
    let after = |prefix: &str| {
        let start = folder.get(..prefix.len()).filter(|start| start.eq_ignore_ascii_case(prefix));
        start.and_then(|_| folder[prefix.len()..].strip_prefix('/'))
    };
    after("INBOX").or_else(|| after(prefix).filter(|_| !prefix.is_empty())).unwrap_or_default()
}

/// Names of Gmail, Outlook, Thunderbird and Dovecot, in English and French.
const USES: [(&str, &[&str]); 7] = [
    ("\\all", &["all mail", "tous les messages"]),
    ("\\archive", &["archive", "archives"]),
    ("\\drafts", &["drafts", "draft", "brouillons"]),
    ("\\flagged", &["starred", "suivis"]),
    ("\\junk", &["junk", "junk e-mail", "junk email", "spam", "indésirables", "courrier indésirable"]),
    (
        "\\sent",
        &["sent", "sent mail", "sent items", "sent messages", "envoyés", "messages envoyés", "éléments envoyés"],
    ),
    ("\\trash", &["trash", "bin", "deleted items", "deleted messages", "corbeille", "éléments supprimés"]),
];
/// Base64 with `,` for `/` and without padding (RFC 3501, 5.1.3).
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_of_the_rfc_and_of_french_mailboxes_are_written_right() {
        for (name, text) in [
            ("~peter/mail/台北/日本語", "~peter/mail/&U,BTFw-/&ZeVnLIqe-"),
            ("Envoyés", "Envoy&AOk-s"),
            ("Éléments supprimés", "&AMk-l&AOk-ments supprim&AOk-s"),
            ("R&D", "R&-D"),
            ("☺!", "&Jjo-!"),
            ("𝄞", "&2DTdHg-"),
        ] {
            assert_eq!(encode(name), text);
            assert_eq!(decode(text).as_deref(), Some(name));
        }
    }

    #[test]
    fn what_is_not_modified_utf7_is_not_decoded() {
        for text in ["R&D", "a&AOk", "&A-", "&AAA*-", "&2DQ-"] {
            assert_eq!(decode(text), None, "{text}");
        }
    }

    #[test]
    fn a_name_is_written_as_the_server_wants_it() {
        assert_eq!(server_name("inbox", Some('.')), "INBOX");
        assert_eq!(server_name("inbox/Reçus", Some('.')), "INBOX.Re&AOc-us");
        assert_eq!(server_name("INBOX.Re&AOc-us", Some('.')), "INBOX.Re&AOc-us");
        assert_eq!(server_name("R&D", Some('/')), "R&-D");
        assert_eq!(server_name("a/b", None), "a/b");
        assert_eq!(server_name("/a/b/", Some('/')), "a/b");
    }

    #[test]
    fn the_folder_that_is_meant_is_found() {
        let list: Vec<String> =
            ["INBOX", "INBOX.Re&AOc-us", "INBOX.factures", "INBOX.Factures", "Archives.2025"].map(str::to_owned).into();
        let found = |name| find(name, &list, "").map(|at| list[at].as_str());
        assert_eq!(found("Reçus"), Some("INBOX.Re&AOc-us"));
        assert_eq!(found("reçus"), Some("INBOX.Re&AOc-us"));
        assert_eq!(found("INBOX/Reçus"), Some("INBOX.Re&AOc-us"));
        assert_eq!(found("inbox.re&AOc-us"), Some("INBOX.Re&AOc-us"));
        assert_eq!(found("Factures"), Some("INBOX.Factures"));
        assert_eq!(found("FACTURES"), None, "two fit");
        assert_eq!(found("archives\\2025"), Some("Archives.2025"));
        assert_eq!(found("Inexistant"), None);
        let mine: Vec<String> = ["Mail/Factures", "Mail/R&AOk-&AOk-"].map(str::to_owned).into();
        assert_eq!(find("Factures", &mine, "Mail/"), Some(0));
        assert_eq!(find("réé", &mine, "Mail/"), Some(1));
        assert_eq!(find("Factures", &mine, ""), None);
    }

    #[test]
    fn uses_are_told_from_names_and_known_by_their_usual_names() {
        assert!(is_use("\\Sent") && !is_use("\\") && !is_use("Sent") && !is_use("\\a\\b"));
        assert_eq!(usual_use("[Gmail]/Tous les messages"), Some("\\all"));
        assert_eq!(usual_use("INBOX.Corbeille"), Some("\\trash"));
        assert_eq!(usual_use("Factures"), None);
        assert_eq!(below("INBOX.", "Archives"), "INBOX.Archives");
        assert_eq!(below("INBOX.", "inbox.Archives"), "inbox.Archives");
        assert_eq!(below("INBOX.", "INBOX"), "INBOX");
    }

    proptest! {
        #[test]
        fn every_name_survives_the_round_trip(name in "\\PC{0,40}") {
            let text = encode(&name);
            prop_assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            prop_assert_eq!(decode(&text), Some(name));
        }

        #[test]
        fn decoding_takes_any_text(text in "[&a-zA-Z+,\\-é]{0,30}") {
            let _ = decode(&text);
        }
    }
}
