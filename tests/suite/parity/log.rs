//! The lines of a log that scripts and watchdogs look for, made comparable.
//!
//! Not the whole log: what else a program says is its own business.

use std::collections::BTreeMap;

/// The telling lines, grouped by connection (their order between connections is chance), without times, with
/// `names` in place of addresses.
pub(super) fn telling(log: &str, names: &[(String, String)]) -> String {
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in log.lines() {
        let Some((id, text)) = parts(line) else { continue };
        if TELLING.iter().any(|words| text.contains(words)) {
            let id = if id == "ui" || id.bytes().all(|byte| byte.is_ascii_digit()) { id } else { "a name".to_owned() };
            let (lines, line) = (groups.entry(id).or_default(), normal(&text, names));
            // OpenSSL asks about one certificate up to three times, and stunnel answers each time
            if !(line.contains("CERT") || line.contains("Certificate ")) || lines.last() != Some(&line) {
                lines.push(line);
            }
        }
    }
    groups
        .iter()
        .flat_map(|(id, lines)| lines.iter().map(move |line| format!("[{id}] {line}")))
        .collect::<Vec<_>>()
        .join("\n")
}

/// `(id, "LOGn: text")` of a line in stunnel's format; what is printed before a log exists is `[!] text`.
pub(super) fn parts(line: &str) -> Option<(String, String)> {
    let start = line.find("LOG")?;
    let (head, text) = line[start..].split_once("]: ")?;
    let (level, id) = head.split_once('[')?;
    // a daemon of stunnel 5.68 calls its main thread by another name
    let id = if id == "main" { "ui" } else { id };
    Some((id.to_owned(), format!("{level}: {text}")))
}

/// Without what differs from run to run: addresses, descriptors.
pub(super) fn normal(text: &str, names: &[(String, String)]) -> String {
    let mut text = text.to_owned();
    for (word, name) in names {
        text = text.replace(word.as_str(), name);
    }
    if let Some(start) = text.find("(FD=") {
        let end = text[start..].find(") ").map_or(text.len(), |end| start + end + 2);
        text.replace_range(start..end, "");
    }
    // where in stunnel's code a time ran out
    for place in ["transfer: s_poll_wait: ", "ssl_start: s_poll_wait: "] {
        text = text.replace(place, "");
    }
    without_ports(&text)
}

/// `{at}:51444` becomes `{at}:N`.
fn without_ports(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(found) = rest.find("}:") {
        let (before, after) = rest.split_at(found + 2);
        let digits = after.len() - after.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        out += before;
        out += if digits > 0 { "N" } else { "" };
        rest = &after[digits..];
    }
    out + rest
}

/// What makes a line one that scripts look for (and what a reader of the log follows a connection by).
const TELLING: &[&str] = &[
    "bound to",
    "Accepting new connections",
    "accepted connection from",
    "s_connect: connected",
    "connected remote server from",
    "Connection closed",
    "LOG5: Connection reset",
    "TLS accepted: ",
    "TLS connected: ",
    "Redirecting connection",
    "TIMEOUTidle exceeded",
    "TIMEOUTclose exceeded",
    "TIMEOUTconnect exceeded",
    "TIMEOUTbusy exceeded",
    "Configuration failed",
    "Failed to reload",
    "Binding service",
    "needs authentication",
    "Log file reopened",
    "Terminated",
    "terminating",
    "Active connection",
    "active connection(s)",
    "No more addresses to connect",
    "Certificate accepted at depth=0",
    "Rejected by CERT",
    "Peer certificate",
    "SNI: sending servername",
    "without subject checks",
    "Switched to service",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_connection_stay_together_and_lose_what_is_chance() {
        let names = [("127.0.0.1:20001".to_owned(), "{front}".to_owned()), ("127.0.0.1".to_owned(), "{at}".to_owned())];
        let log = "2026.11.26 11:00:52 LOG6[ui]: Service [c] (FD=9) bound to 127.0.0.1:20001\n\
                   2026.11.26 11:00:53 LOG5[1]: Connection closed: 1 byte(s) sent to TLS, 0 byte(s) sent to socket\n\
                   2026.11.26 11:00:53 LOG5[0]: Service [c] accepted connection from 127.0.0.1:44770\n\
                   2026.11.26 11:00:53 LOG7[0]: of no interest\n";
        assert_eq!(
            telling(log, &names),
            "[0] LOG5: Service [c] accepted connection from {at}:N\n\
             [1] LOG5: Connection closed: 1 byte(s) sent to TLS, 0 byte(s) sent to socket\n\
             [ui] LOG6: Service [c] bound to {front}"
        );
    }
}
