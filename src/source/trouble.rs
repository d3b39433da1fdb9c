//! What goes wrong between us and a mail server, in words: one sentence for both protocols.
//!
//! Not the reading of replies: which of these a reply is, each protocol says in a `trouble` of its own.

use std::io;
use std::time::Duration;

use super::SourceError;
use crate::config::Launcher;
use crate::config::launcher::Kind;
use crate::config::oauth::Provider;
use crate::model::{Code, Fault};
use crate::proto::sasl::SaslError;
use crate::secret::Secret;
use crate::text;
use crate::text::Text;

/// The connection broke, or says what no server may say.
pub(super) fn connection(code: Code, text: Text) -> SourceError {
    SourceError::connection(Fault::new(code, text))
}

/// The server wants to be left alone for a while.
pub(super) fn slow_down(host: &str, said: &str, retry_after: Duration) -> SourceError {
    let text = text!("{host} asks to slow down: {said}", "{host} demande de ralentir : {said}");
    SourceError::Connection { fault: Fault::new(Code::Throttled, text), retry_after: Some(retry_after) }
}

/// A part of the server is away.
pub(super) fn away(host: &str, said: &str) -> SourceError {
    let text = text!(
        "{host} cannot serve this mailbox for the moment: {said}",
        "{host} ne peut pas servir cette boîte pour le moment : {said}"
    );
    connection(Code::Connect, text)
}

/// The greeting is a refusal.
pub(super) fn turned_away(host: &str, said: &str) -> SourceError {
    connection(Code::Connect, text!("{host} turns us away: {said}", "{host} refuse la connexion : {said}"))
}

/// A command that was refused although nothing in the configuration can be the reason.
pub(super) fn refused(host: &str, step: &str, said: &str) -> SourceError {
    connection(Code::Protocol, text!("{host} refuses {step}: {said}", "{host} refuse {step} : {said}"))
}

/// A server without TLS gets no password; `asked` is the command, `port` the one that has TLS from the first byte.
pub(super) fn no_tls(host: &str, asked: &str, said: &str, port: u16) -> SourceError {
    let text = text!(
        "{host} has no {asked} ({said}): no password was sent in clear; use tls = implicit (port {port}) if the server has it",
        "{host} n'a pas {asked} ({said}) : aucun mot de passe n'a été envoyé en clair ; utilisez tls = implicit (port {port}) \
         si le serveur le propose"
    );
    connection(Code::Tls, text)
}

/// Account or password are wrong; or, where only a digest of the password was sent (`hashed`), the server keeps none.
pub(super) fn login_refused(host: &str, protocol: &str, account: &str, said: &str, hashed: bool) -> SourceError {
    let (en, fr) = if hashed {
        (
            "; `auth = plain` or `auth = login` where the server cannot check it otherwise",
            " ; `auth = plain` ou `auth = login` si le serveur ne sait pas le vérifier autrement",
        )
    } else {
        ("", "")
    };
    let text = text!(
        "{host} refuses the login of {account}: {said}; check account and password, and that {protocol} is allowed for this \
         mailbox (Gmail, Orange and others want an application password){en}",
        "{host} refuse l'identification de {account} : {said} ; vérifiez le compte, le mot de passe et que {protocol} est \
         permis pour cette boîte (Gmail, Orange et d'autres exigent un mot de passe d'application){fr}"
    );
    SourceError::Credentials(Fault::new(Code::Credentials, text))
}

/// The sign-in worked and its token is refused; `reason` is what the server said of it besides.
pub(super) fn token_refused(launcher: &Launcher, said: &str, reason: Option<String>, token: &Secret) -> SourceError {
    let host = launcher.server.as_ref().map(ToString::to_string).unwrap_or_default();
    let account = launcher.account.as_deref().unwrap_or_default();
    let said = [said.to_owned()].into_iter().chain(reason).collect::<Vec<_>>().join(" ");
    let (check, size) = (token_advice(launcher), token.reveal().len());
    let (en, fr) = (&check.en, &check.fr);
    let (large_en, large_fr) = if size > LARGE_TOKEN { (LARGE.0, LARGE.1) } else { ("", "") };
    let text = text!(
        "{host} refuses the sign-in of {account}, whose token of {size} characters was just granted: {said}; {en}{large_en}",
        "{host} refuse la connexion de {account}, dont le jeton de {size} caractères vient d'être accordé : {said} ; \
         {fr}{large_fr}"
    );
    SourceError::Credentials(Fault::new(Code::Credentials, text))
}

/// What is known to be the reason where a token that was granted is refused.
fn token_advice(launcher: &Launcher) -> Text {
    let protocol = if launcher.kind == Kind::Pop3 { "POP" } else { "IMAP" };
    match launcher.oauth.as_ref().map(|oauth| (oauth.provider, oauth.credential.is_person())) {
        Some((Provider::Google, person)) => {
            let (en, fr) = if person { ("", "") } else { (DELEGATION.0, DELEGATION.1) };
            text!(
                "check that account is the one that signed in, and that {protocol} is enabled in the settings of Gmail and by its \
                 administrator{en}",
                "vérifiez que le compte est bien celui qui s'est connecté, et que {protocol} est activé dans les réglages de Gmail \
                 et par son administrateur{fr}"
            )
        }
        Some((Provider::Microsoft, false)) => text!(
            "check account (the mailbox's address) and its licence, that {protocol} is enabled for it (Set-CASMailbox) and in the \
             tenant, and what the application has been given: {protocol}.AccessAsApp with consent, New-ServicePrincipal with the \
             object id of the enterprise application, Add-MailboxPermission; after many refusals Exchange goes on refusing for \
             a while",
            "vérifiez le compte (l'adresse de la boîte) et sa licence, que {protocol} y est activé (Set-CASMailbox) et dans le \
             locataire, et ce que l'application a reçu : {protocol}.AccessAsApp avec consentement, New-ServicePrincipal avec \
             l'id d'objet de l'application d'entreprise, Add-MailboxPermission ; après de nombreux refus, Exchange continue de \
             refuser un moment"
        ),
        _ => text!(
            "check account (the mailbox's address; a shared one must be open to whoever signed in) and its licence, that \
             {protocol} is enabled for it (Set-CASMailbox) and in the tenant, and that {protocol}.AccessAsUser.All was consented \
             to; after many refusals Exchange goes on refusing for a while",
            "vérifiez le compte (l'adresse de la boîte ; une boîte partagée doit être ouverte à qui s'est connecté) et sa licence, \
             que {protocol} y est activé (Set-CASMailbox) et dans le locataire, et que {protocol}.AccessAsUser.All a été \
             consenti ; après de nombreux refus, Exchange continue de refuser un moment"
        ),
    }
}

/// The exchange ended on our side: the server refuses, or says what the mechanism does not allow.
pub(super) fn no_agreement(host: &str, account: &str, error: &SaslError) -> SourceError {
    let Text { en, fr } = error.text();
    let text = text!("{host}: no login of {account}: {en}", "{host} : pas d'identification de {account} : {fr}");
    match error {
        SaslError::Refused(_) => SourceError::Credentials(Fault::new(Code::Credentials, text)),
        _ => connection(Code::Protocol, text),
    }
}

/// The way in that was asked for is none of the server's.
pub(super) fn not_offered(host: &str, asked: &str, offered: &[&str]) -> SourceError {
    let list = offered.join(", ");
    let text = text!(
        "{host} does not offer {asked} (it has: {list}); correct `auth`, or leave it out",
        "{host} ne propose pas {asked} (il a : {list}) ; corrigez `auth`, ou retirez-le"
    );
    SourceError::Mailbox(Fault::new(Code::Config, text))
}

/// The configuration promises a password for this login.
pub(super) fn no_password(launcher: &Launcher) -> SourceError {
    let name = &launcher.name;
    let text = text!("[{name}]: password = is missing", "[{name}] : il manque password =");
    SourceError::Credentials(Fault::new(Code::Credentials, text))
}

/// No nonce, no login.
pub(super) fn no_randomness() -> SourceError {
    let text = text!("the system gives no random numbers", "le système ne fournit pas de nombres aléatoires");
    SourceError::Mailbox(Fault::new(Code::Config, text))
}

/// The spool is full or not writable: no fault of the server, and none of the message.
pub(super) fn spool_fault(error: &io::Error) -> SourceError {
    let text = text!(
        "the spool below the state directory cannot be written: {error}",
        "impossible d'écrire dans le tampon (spool) du dossier d'état : {error}"
    );
    SourceError::Mailbox(Fault::new(Code::Deliver, text))
}

/// Keys of another account (the section was given a new one): nothing here can be changed for them.
pub(super) fn other_account(count: usize) -> Text {
    text!(
        "{count} messages belong to another account than the one configured now; they are left as they are",
        "{count} messages appartiennent à un autre compte que celui configuré ; ils restent tels quels"
    )
}

/// Some of Exchange's servers take no longer ones, characters.
const LARGE_TOKEN: usize = 4096;
const LARGE: (&str, &str) = (
    "; a token of this length is known to be refused: fewer groups in its claims, or launcher = o365",
    " ; un jeton de cette longueur est parfois refusé : moins de groupes dans ses attributs, ou lanceur = o365",
);
const DELEGATION: (&str, &str) = (
    ", and that the service account has domain-wide delegation for https://mail.google.com/",
    ", et que le compte de service a la délégation au niveau du domaine pour https://mail.google.com/",
);
