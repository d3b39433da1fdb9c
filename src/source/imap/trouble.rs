//! What can go wrong in an exchange, in words: which error a reply of the server is, and what to do about it.

use std::time::Duration;

use crate::model::Code;
use crate::proto::imap::response::{Kind, Status};
use crate::source::{SourceError, trouble};
use crate::text;

/// What a refused command means, where it means the same whatever the command was: `None` for a plain refusal.
pub(super) fn passing(host: &str, status: &Status) -> Option<SourceError> {
    let said = &status.text;
    let lower = said.to_lowercase();
    let code = status.code.as_ref().map_or("", |(word, _)| word.as_str());
    // "too many failed logins" is a refusal all the same: who goes on knocking locks the account
    if REFUSALS.contains(&code) {
        return None;
    }
    if code == "LIMIT" || code == "THROTTLED" || SLOW_DOWN.iter().any(|words| lower.contains(words)) {
        return Some(trouble::slow_down(host, said, SLOW_DOWN_FOR));
    }
    if lower.contains("authenticated but not connected") {
        return Some(not_connected(host, said));
    }
    // RFC 5530, 3
    if ["UNAVAILABLE", "INUSE", "SERVERBUG"].contains(&code) {
        return Some(trouble::away(host, said));
    }
    None
}

/// Exchange takes the login and not the mailbox: a back end is away, or the login is not one for this mailbox.
fn not_connected(host: &str, said: &str) -> SourceError {
    let text = text!(
        "{host} admits the login, but not to the mailbox: {said}; if this lasts, the mailbox has another address or no licence, \
         IMAP is disabled for it, or the application lacks the permission (IMAP.AccessAsUser.All; where it signs in itself \
         Add-MailboxPermission)",
        "{host} accepte l'identification, mais pas l'accès à la boîte : {said} ; si cela dure, la boîte a une autre adresse ou \
         pas de licence, IMAP y est désactivé, ou l'application n'a pas l'autorisation (IMAP.AccessAsUser.All ; si elle se \
         connecte elle-même, Add-MailboxPermission)"
    );
    trouble::connection(Code::Connect, text)
}

/// A command that was refused although nothing in the configuration can be the reason.
pub(super) fn refused(host: &str, step: &str, status: &Status) -> SourceError {
    passing(host, status).unwrap_or_else(|| trouble::refused(host, step, &words(status)))
}

/// What the server said, as it said it.
pub(super) fn words(status: &Status) -> String {
    let kind = match status.kind {
        Kind::Ok => "OK",
        Kind::No => "NO",
        Kind::Bad => "BAD",
        Kind::Bye => "BYE",
        Kind::Preauth => "PREAUTH",
    };
    let code = status.code.as_ref().map(|(word, rest)| format!(" [{}]", format!("{word} {rest}").trim()));
    format!("{kind}{} {}", code.unwrap_or_default(), status.text).trim().chars().take(SAID_LIMIT).collect()
}

/// Gmail ("Too many simultaneous connections", "… exceeded command or bandwidth limits"), Dovecot ("Maximum number of connections from
/// user+IP exceeded"), Exchange ("Request is throttled. Suggested Backoff Time: …").
const SLOW_DOWN: [&str; 4] = ["too many", "maximum number of connections", "throttle", "bandwidth limits"];
const SLOW_DOWN_FOR: Duration = Duration::from_mins(5);
/// RFC 5530, 3: what no waiting helps against.
const REFUSALS: [&str; 3] = ["AUTHENTICATIONFAILED", "AUTHORIZATIONFAILED", "EXPIRED"];
/// A server's sentence is not repeated beyond this, characters.
const SAID_LIMIT: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::imap::response::Response;

    fn code(text: &str) -> Option<Code> {
        let Some(Response::Status(status)) = Response::parse(text.as_bytes()) else { panic!() };
        passing("h", &status).map(|error| error.fault().code)
    }

    #[test]
    fn passing_trouble_is_told_from_a_refusal() {
        assert_eq!(code("A1 NO [UNAVAILABLE] Temporary authentication failure.\r\n"), Some(Code::Connect));
        assert_eq!(code("A1 BAD User is authenticated but not connected.\r\n"), Some(Code::Connect));
        assert_eq!(code("A1 NO [ALERT] Too many simultaneous connections. (Failure)\r\n"), Some(Code::Throttled));
        assert_eq!(code("A1 NO [AUTHENTICATIONFAILED] Authentication failed.\r\n"), None);
        assert_eq!(code("A1 NO [AUTHENTICATIONFAILED] Too many failed logins.\r\n"), None);
    }
}
