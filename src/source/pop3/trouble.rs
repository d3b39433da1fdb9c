//! What can go wrong in an exchange, in words: which error a reply of the server is, and what to do about it.

use std::time::Duration;

use crate::model::{Code, Fault};
use crate::proto::pop3::status::{Kind, Status};
use crate::source::SourceError;
use crate::source::trouble::{self, connection};
use crate::text;

/// What a refusal means, where it means the same whatever the command was: `None` for a plain one. `delay` is how
/// long the server wants between two logins, where it said so.
pub(super) fn passing(host: &str, status: &Status, delay: Option<Duration>) -> Option<SourceError> {
    let said = words(status);
    let lower = status.text.to_lowercase();
    let has = |list: &[&str]| status.code.is_none() && list.iter().any(|words| lower.contains(words));
    if status.has_code("LOGIN-DELAY") || has(&SLOW_DOWN) {
        return Some(trouble::slow_down(host, &said, delay.unwrap_or(SLOW_DOWN_FOR)));
    }
    if status.has_code("SYS/PERM") {
        let text = text!(
            "{host} cannot serve this mailbox until its administrator repairs it: {said}",
            "{host} ne peut pas servir cette boîte tant que son administrateur ne l'a pas réparée : {said}"
        );
        return Some(SourceError::Mailbox(Fault::new(Code::Folder, text)));
    }
    if status.has_code("IN-USE") || has(&IN_USE) {
        let text = text!(
            "{host}: another program has this mailbox open (POP3 admits one at a time): {said}",
            "{host} : un autre programme a ouvert cette boîte (POP3 n'en admet qu'un à la fois) : {said}"
        );
        return Some(connection(Code::Connect, text));
    }
    if status.has_code("SYS") || has(&LATER) {
        return Some(trouble::away(host, &said));
    }
    None
}

/// A command that was refused although nothing in the configuration can be the reason.
pub(super) fn refused(host: &str, step: &str, status: &Status) -> SourceError {
    passing(host, status, None).unwrap_or_else(|| trouble::refused(host, step, &words(status)))
}

/// What the server said, as it said it.
pub(super) fn words(status: &Status) -> String {
    let kind = match status.kind {
        Kind::Ok => "+OK",
        Kind::Err => "-ERR",
        Kind::Challenge => "+",
    };
    let code = status.code.as_ref().map(|code| format!(" [{code}]")).unwrap_or_default();
    format!("{kind}{code} {}", status.text).trim().chars().take(SAID_LIMIT).collect()
}

/// What servers without response codes say to too many logins (GMX, Gmail, Dovecot).
const SLOW_DOWN: [&str; 5] = ["too many", "maximum number of connections", "throttle", "too often", "login delay"];
/// And to a second session (qpopper, Cyrus, Courier, UW).
const IN_USE: [&str; 5] = ["in use", "lock busy", "mailbox locked", "maildrop already locked", "another pop"];
/// And when a part of them is away.
const LATER: [&str; 4] = ["temporar", "try again", "try later", "server busy"];
const SLOW_DOWN_FOR: Duration = Duration::from_mins(5);
/// A server's sentence is not repeated beyond this, characters.
const SAID_LIMIT: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Option<SourceError> {
        passing("h", &Status::parse(line.as_bytes()).unwrap(), Some(Duration::from_mins(2)))
    }

    #[test]
    fn passing_trouble_is_told_from_a_refusal() {
        let code = |line| of(line).map(|error| error.fault().code);
        for line in [
            "-ERR [IN-USE] no",
            "-ERR [SYS/TEMP] no",
            "-ERR [SYS] no",
            "-ERR maildrop already locked",
            "-ERR try again",
        ] {
            assert_eq!(code(line), Some(Code::Connect), "{line}");
        }
        for line in
            ["-ERR [AUTH] too many words", "-ERR [AUTH] in use", "-ERR invalid password", "-ERR account is locked"]
        {
            assert_eq!(code(line), None, "{line}");
        }
        assert!(matches!(of("-ERR [SYS/PERM] no"), Some(SourceError::Mailbox(_))));
        let after = Some(Duration::from_mins(2));
        let slow = of("-ERR [LOGIN-DELAY] 2 minutes");
        assert!(matches!(slow, Some(SourceError::Connection { retry_after, .. }) if retry_after == after));
    }
}
