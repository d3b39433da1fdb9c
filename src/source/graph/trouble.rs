//! What Graph refuses, in words: which error it is, and what to do about it.
//!
//! Not whether it is tried again while a request is under way: that is the client's. Codes decide, never sentences
//! (Microsoft Graph, "Error responses"), but for the two that are told apart by nothing else.

use std::time::Duration;

use crate::model::{Code, Fault};
use crate::source::SourceError;
use crate::text;
use crate::text::Text;

/// An answer that is none of success.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) host: String,
    /// Method and path.
    pub(super) what: String,
    pub(super) status: u16,
    /// From the outside in.
    pub(super) codes: Vec<String>,
    pub(super) message: String,
    /// `request-id` and `client-request-id`, by which Microsoft finds the request again.
    pub(super) ids: String,
    pub(super) retry_after: Option<Duration>,
}

impl Refusal {
    /// Whether one of its codes is this one, whatever its case.
    pub(super) fn is(&self, code: &str) -> bool {
        self.codes.iter().any(|one| one.eq_ignore_ascii_case(code))
    }

    fn is_one_of(&self, codes: &[&str]) -> bool {
        codes.iter().any(|code| self.is(code))
    }

    /// What was asked for is not there (any more). A text that can be no id at all is none that is there.
    pub(super) fn is_gone(&self) -> bool {
        matches!(self.status, 400 | 404) && self.is_one_of(&GONE)
    }

    /// A message is not there any more. An id that the server calls malformed is none of those that it gave: the message
    /// may well be there.
    pub(super) fn has_left(&self) -> bool {
        self.is_gone() && !self.is_one_of(&["ErrorInvalidIdMalformed", "ErrorInvalidId"])
    }

    /// There is no such mailbox, or none that Graph may read.
    pub(super) fn is_no_mailbox(&self) -> bool {
        self.is_one_of(&NO_MAILBOX)
    }

    /// The link of an earlier round means nothing any more.
    pub(super) fn is_stale(&self) -> bool {
        self.status == 410 || self.is_one_of(&["SyncStateNotFound", "resyncRequired", "SyncStateInvalid"])
    }

    /// It will never be anything else for this item (S/MIME without keys, damaged content).
    pub(super) fn is_for_ever(&self) -> bool {
        self.is_one_of(&["ErrorMimeContentConversionFailed", "ErrorContentConversionFailed"])
    }

    /// It may be otherwise in a moment.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self.status, 408 | 429 | 500 | 502 | 503 | 504 | 509) && !self.is_for_ever()
    }

    /// The server asks to slow down.
    pub(super) fn is_throttling(&self) -> bool {
        matches!(self.status, 429 | 509) || (self.status == 503 && self.retry_after.is_some())
    }

    /// What the server said, with the marks by which it can be found in its log.
    pub(super) fn said(&self) -> String {
        let (status, code) = (self.status, self.codes.first().map_or("", String::as_str));
        let mut said = format!("HTTP {status} {code}").trim().to_owned();
        if !self.message.is_empty() {
            said = format!("{said}: {}", self.message);
        }
        format!("{said} ({}; {})", self.what, self.ids)
    }

    /// What it means where nothing is to blame but the mailbox, the sign-in or the service.
    pub(super) fn error(&self) -> SourceError {
        let (host, said) = (&self.host, self.said());
        if self.is_throttling() {
            let text = text!("{host} asks to slow down: {said}", "{host} demande de ralentir : {said}");
            let fault = Fault::new(Code::Throttled, text);
            return SourceError::Connection { fault, retry_after: self.retry_after };
        }
        if self.is_passing() {
            let text = text!(
                "{host} cannot serve this mailbox for the moment: {said}",
                "{host} ne peut pas servir cette boîte pour le moment : {said}"
            );
            let fault = Fault::new(Code::Connect, text);
            return SourceError::Connection { fault, retry_after: self.retry_after };
        }
        if let Some((code, Text { en, fr })) = self.advice() {
            let text = text!("{host}: {en}: {said}", "{host} : {fr} : {said}");
            return SourceError::Mailbox(Fault::new(code, text));
        }
        let text = text!("{host} refuses: {said}", "{host} refuse : {said}");
        SourceError::connection(Fault::new(Code::Protocol, text))
    }

    /// What an administrator can do about it.
    fn advice(&self) -> Option<(Code, Text)> {
        let lower = self.message.to_lowercase();
        let found = match self.status {
            400 if lower.contains("/me request") => (Code::Config, name_a_mailbox()),
            403 if lower.contains("odata is disabled") => (Code::Folder, out_of_policy()),
            403 if self.is_no_mailbox() => (Code::Folder, no_rest()),
            403 => (Code::Folder, not_allowed()),
            _ if self.is_one_of(&["MailboxNotEnabledForRESTAPI", "ResourceNotFound"]) => (Code::Folder, no_rest()),
            _ if self.is_no_mailbox() => (Code::Folder, no_such_user()),
            _ if self.is_gone() => (Code::Folder, not_there()),
            _ => return None,
        };
        Some(found)
    }
}

fn not_allowed() -> Text {
    text!(
        "the sign-in is good, but it may not do this in this mailbox. The application needs Mail.ReadWrite (Mail.Read where \
         `after = leave`), with the suffix .Shared and a right to the mailbox for somebody else's one, and the consent of an \
         administrator; `docs/microsoft365.md` shows the clicks, then `pertuis login` again",
        "la connexion est bonne, mais elle n'a pas ce droit sur cette boîte. L'application a besoin de Mail.ReadWrite (Mail.Read \
         si `apres = leave`), avec le suffixe .Shared et un droit sur la boîte pour celle d'autrui, et de l'accord d'un \
         administrateur ; `docs/microsoft365.fr.md` montre les clics, puis refaire `pertuis login`"
    )
}

fn out_of_policy() -> Text {
    text!(
        "this application is kept to some mailboxes, and this one is not among them. Add it to the group of the policy, and \
         try `Test-ServicePrincipalAuthorization` (RBAC for Applications) or `Test-ApplicationAccessPolicy` in Exchange \
         Online PowerShell; a change takes up to two hours",
        "cette application est limitée à certaines boîtes, dont celle-ci ne fait pas partie. L'ajouter au groupe de la stratégie \
         et vérifier par `Test-ServicePrincipalAuthorization` (RBAC pour applications) ou `Test-ApplicationAccessPolicy` dans \
         Exchange Online PowerShell ; un changement prend jusqu'à deux heures"
    )
}

fn no_rest() -> Text {
    text!(
        "this account has no mailbox in Exchange Online: no licence, a mailbox on a server of one's own, or another address \
         than the one meant",
        "ce compte n'a pas de boîte dans Exchange Online : pas de licence, boîte sur un serveur local, ou autre adresse que \
         celle voulue"
    )
}

fn no_such_user() -> Text {
    text!(
        "there is no such mailbox in this directory; check `mailbox` (or `account`): the sign-in name of the user, not one of \
         the other addresses",
        "pas de telle boîte dans cet annuaire ; vérifiez `boite` (ou `compte`) : le nom de connexion de l'utilisateur, et non \
         une de ses autres adresses"
    )
}

fn not_there() -> Text {
    text!("it is no longer there", "il n'est plus là")
}

fn name_a_mailbox() -> Text {
    text!(
        "the application itself signs in and has no mailbox of its own: name one with `mailbox =`",
        "c'est l'application qui se connecte, et elle n'a pas de boîte : nommez-en une par `boite =`"
    )
}

const GONE: [&str; 6] = [
    "ErrorItemNotFound",
    "ErrorInvalidIdMalformed",
    "ErrorInvalidId",
    "ErrorInvalidMailboxItemId",
    "ErrorFolderNotFound",
    "ErrorParentFolderNotFound",
];
const NO_MAILBOX: [&str; 6] = [
    "MailboxNotEnabledForRESTAPI",
    "ResourceNotFound",
    "Request_ResourceNotFound",
    "ErrorInvalidUser",
    "ErrorNonExistentMailbox",
    "MailboxNotHostedInExchangeOnline",
];

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn refusal(status: u16, code: &str, message: &str) -> Refusal {
        Refusal {
            host: "graph.test".to_owned(),
            what: "GET /me".to_owned(),
            status,
            codes: vec![code.to_owned()],
            message: message.to_owned(),
            ids: "request-id 1".to_owned(),
            retry_after: None,
        }
    }

    #[test]
    fn each_refusal_says_what_it_is_and_what_to_do() {
        let cases = [
            (
                403,
                "ErrorAccessDenied",
                "Access is denied. Check credentials and try again.",
                Code::Folder,
                "Mail.ReadWrite",
            ),
            (403, "ErrorAccessDenied", "Access to OData is disabled.", Code::Folder, "Test-ApplicationAccessPolicy"),
            (404, "MailboxNotEnabledForRESTAPI", "REST API is not yet supported.", Code::Folder, "licence"),
            (404, "ResourceNotFound", "Resource could not be discovered.", Code::Folder, "licence"),
            (404, "errorinvaliduser", "The requested user 'x' is invalid.", Code::Folder, "directory"),
            (404, "ErrorNonExistentMailbox", "", Code::Folder, "directory"),
            (
                400,
                "BadRequest",
                "/me request is only valid with delegated authentication flow.",
                Code::Config,
                "mailbox =",
            ),
            (429, "TooManyRequests", "Please retry again later.", Code::Throttled, "slow down"),
            (504, "UnknownError", "", Code::Connect, "for the moment"),
            (400, "InefficientFilter", "too complex", Code::Protocol, "refuses"),
        ];
        for (status, code, message, expected, words) in cases {
            let error = refusal(status, code, message).error();
            let Fault { code: found, text: Text { en, fr } } = error.fault();
            assert_eq!(*found, expected, "{code}: {en}");
            assert!(en.contains(words) && en.contains("request-id 1") && en.contains(code), "{en}");
            assert!(en != fr && fr.contains("request-id 1"), "{fr}");
            let kept = matches!(error, SourceError::Mailbox(_));
            assert_eq!(kept, matches!(expected, Code::Folder | Code::Config), "{code}");
        }
    }

    #[test]
    fn codes_decide_what_is_gone_stale_or_for_ever() {
        assert!(
            refusal(404, "ErrorItemNotFound", "").is_gone() && refusal(400, "ErrorInvalidIdMalformed", "").is_gone()
        );
        assert!(
            refusal(404, "ErrorItemNotFound", "").has_left() && !refusal(400, "ErrorInvalidIdMalformed", "").has_left()
        );
        assert!(!refusal(404, "ErrorInvalidUser", "").is_gone() && !refusal(404, "", "").is_gone());
        assert!(refusal(410, "", "").is_stale() && refusal(400, "syncStateNotFound", "").is_stale());
        let for_ever = refusal(500, "ErrorMimeContentConversionFailed", "");
        assert!(for_ever.is_for_ever() && !for_ever.is_passing());
        assert!(refusal(500, "InternalServerError", "").is_passing() && !refusal(403, "", "").is_passing());
    }
}
