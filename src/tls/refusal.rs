//! Why a certificate was refused, in words that say what to do.
//!
//! The reason travels inside rustls' own error ([`Refusal::into_rustls`]) and is found again in what the handshake
//! returns ([`Refusal::find`]), because rustls' texts ("invalid peer certificate: `UnknownIssuer`") tell an
//! administrator neither whose certificate it was nor how to go on.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::{CertificateError, OtherError};

use crate::model::Digest;
use crate::text;
use crate::text::Text;

/// A certificate that was refused.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// The subject of the certificate.
    pub subject: String,
    /// SHA-256 of its public key, as `pin` takes it; `None` where the certificate could not be read.
    pub pin: Option<Digest>,
}

/// Why a certificate was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Its time is over; the date is UTC.
    Expired {
        /// Until when it was valid.
        on: String,
    },
    /// Its time has not begun; the date is UTC.
    NotYetValid {
        /// From when it is valid.
        from: String,
    },
    /// A certificate between it and the root is out of its time.
    ChainOutOfDate,
    /// The trusted authority that its chain ends at is out of its own time.
    RootOutOfDate,
    /// It is for somebody else.
    OtherName {
        /// Whom we meant.
        wanted: String,
        /// Whom it names.
        names: Vec<String>,
    },
    /// No trusted authority signed it.
    UnknownIssuer {
        /// The issuer that is missing.
        issuer: String,
    },
    /// A trusted authority bears the issuer's name, but another key signed.
    OtherIssuerKey {
        /// The name that both bear.
        issuer: String,
    },
    /// It signed itself, and is not listed among the trusted ones.
    SelfSigned,
    /// X.509 version 1, which nothing can be checked on, and not listed itself.
    OldVersion,
    /// A CA certificate used as a server's or client's own, and not listed itself.
    Authority,
    /// Its public key is none of the pinned ones.
    OtherKey,
    /// Made for another purpose (extended key usage).
    OtherPurpose,
    /// It is revoked.
    Revoked,
    /// Revocation lists are asked for, and its issuer has none among them.
    NoRevocationList {
        /// The issuer.
        issuer: String,
    },
    /// A list bears its issuer's name, but the issuer's key did not sign it, or that key is not known.
    ForeignRevocationList {
        /// The issuer.
        issuer: String,
    },
    /// Its issuer's list is out of date; the date is UTC.
    OldRevocationList {
        /// Until when the list held.
        on: String,
    },
    /// Its issuer's list does not hold yet; the date is UTC.
    FutureRevocationList {
        /// From when the list holds.
        from: String,
    },
    /// A certificate between it and the root may not sign others.
    NoAuthority,
    /// Its key is a pinned one, but it names somebody else than the certificate of that key.
    OtherSubject,
    /// None was shown.
    NoCertificate,
    /// Not a certificate that can be read, or a rule of the chain is broken; what the library says.
    Broken(String),
}

impl Refusal {
    /// The sentence for the administrator; `peer` is the host (or the client's address) whose certificate it is.
    pub fn text(&self, peer: &str) -> Text {
        let reason = self.reason.text();
        let subject = &self.subject;
        let (en, fr) = (&reason.en, &reason.fr);
        let hint = self.pin.map_or_else(|| Text::same(""), pin_hint);
        let (hint_en, hint_fr) = (&hint.en, &hint.fr);
        text!(
            "certificate of {peer} ({subject}) refused: {en}{hint_en}",
            "certificat de {peer} ({subject}) refusé : {fr}{hint_fr}"
        )
    }

    /// For rustls: within `Refusal::watch` the error that makes it send OpenSSL's alert, while the refusal itself waits
    /// there; elsewhere the refusal, wrapped so that rustls carries it to the caller of the handshake.
    pub fn into_rustls(self) -> rustls::Error {
        let alert = self.reason.alert();
        let kept = LATEST.try_with(|latest| *latest.borrow_mut() = Some(self.clone()));
        let error = if kept.is_ok() { alert } else { CertificateError::Other(OtherError(Arc::new(self))) };
        rustls::Error::InvalidCertificate(error)
    }

    /// Lets a handshake run; the refusal by which it failed comes back beside its outcome.
    pub(super) async fn watch<T>(handshake: impl Future<Output = T>) -> (T, Option<Self>) {
        let watched = async {
            let outcome = handshake.await;
            (outcome, LATEST.with(RefCell::take))
        };
        LATEST.scope(RefCell::new(None), watched).await
    }

    /// Found again in the error of a handshake that nobody watched.
    pub fn find(error: &io::Error) -> Option<&Self> {
        match error.get_ref()?.downcast_ref::<rustls::Error>()? {
            rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(inner))) => inner.downcast_ref(),
            _ => None,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text("the peer").en)
    }
}

impl std::error::Error for Refusal {}

tokio::task_local! {
    /// The refusal of the handshake that is running in this task.
    static LATEST: RefCell<Option<Refusal>>;
}

impl Reason {
    /// The error for which rustls sends the alert that OpenSSL sends with stunnel (observed with 5.68); where OpenSSL says
    /// `internal_error`, for a name, `bad_certificate`.
    fn alert(&self) -> CertificateError {
        match self {
            Self::Expired { .. } | Self::ChainOutOfDate | Self::RootOutOfDate | Self::OldRevocationList { .. } => {
                CertificateError::Expired
            }
            Self::Revoked => CertificateError::Revoked,
            Self::UnknownIssuer { .. }
            | Self::SelfSigned
            | Self::OldVersion
            | Self::Authority
            | Self::NoAuthority
            | Self::NoRevocationList { .. } => CertificateError::UnknownIssuer,
            Self::OtherIssuerKey { .. } | Self::ForeignRevocationList { .. } => CertificateError::BadSignature,
            Self::OtherPurpose => CertificateError::InvalidPurpose,
            _ => CertificateError::BadEncoding,
        }
    }

    /// What is wrong and what to do.
    pub fn text(&self) -> Text {
        match self {
            Self::Expired { on } => text!(
                "it expired on {on}; its owner must renew it (or the clock of this machine is wrong)",
                "il a expiré le {on} ; son propriétaire doit le renouveler (ou l'horloge de cette machine est fausse)"
            ),
            Self::NotYetValid { from } => text!(
                "it is not valid before {from}; check the clock of this machine",
                "il n'est valable qu'à partir du {from} ; vérifiez l'horloge de cette machine"
            ),
            Self::ChainOutOfDate => text!(
                "a certificate between it and its root has expired or is not valid yet; the server must send a current chain",
                "un certificat entre lui et sa racine a expiré ou n'est pas encore valable ; le serveur doit envoyer une chaîne à jour"
            ),
            Self::OtherName { wanted, names } => other_name(wanted, names),
            Self::UnknownIssuer { issuer } => text!(
                "unknown CA: no trusted authority is \"{issuer}\"; put that CA's certificate in `CAfile` \
                 (or in the system's roots)",
                "autorité inconnue : aucune autorité de confiance ne s'appelle « {issuer} » ; mettez le certificat de \
                 cette autorité dans `CAfile` (ou dans les racines du système)"
            ),
            Self::OtherIssuerKey { issuer } => text!(
                "unknown CA: a trusted authority is called \"{issuer}\", but another key signed; that CA was probably \
                 made anew: put its current certificate in `CAfile` (or in the system's roots)",
                "autorité inconnue : une autorité de confiance s'appelle « {issuer} », mais c'est une autre clé qui a \
                 signé ; cette autorité a sans doute été recréée : mettez son certificat actuel dans `CAfile` (ou dans \
                 les racines du système)"
            ),
            Self::NoRevocationList { .. }
            | Self::ForeignRevocationList { .. }
            | Self::OldRevocationList { .. }
            | Self::FutureRevocationList { .. } => self.without_list(),
            _ => self.plain(),
        }
    }

    fn without_list(&self) -> Text {
        match self {
            Self::NoRevocationList { issuer } => text!(
                "unable to get certificate CRL: revocation lists are demanded, and there is none of \"{issuer}\"; add that \
                 CA's list to `CRLfile` or `CRLpath`, then reload",
                "pas de liste de révocation : elles sont exigées, et il n'y en a pas de « {issuer} » ; ajoutez la liste de \
                 cette autorité à `CRLfile` ou `CRLpath`, puis rechargez"
            ),
            Self::ForeignRevocationList { issuer } => text!(
                "CRL signature failure: the revocation list of \"{issuer}\" is not signed by a key that is known as \
                 theirs; fetch the current list, and put the certificate of that CA in `CAfile`",
                "signature de la liste de révocation : celle de « {issuer} » n'est pas signée d'une clé connue comme la \
                 sienne ; récupérez la liste à jour, et mettez le certificat de cette autorité dans `CAfile`"
            ),
            Self::OldRevocationList { on } => text!(
                "CRL has expired: the revocation list of its issuer ended on {on}; fetch the current one, then reload",
                "la liste de révocation de son émetteur a expiré le {on} ; récupérez la liste à jour, puis rechargez"
            ),
            Self::FutureRevocationList { from } => text!(
                "CRL is not yet valid: the revocation list of its issuer begins on {from}; check the clock of this machine",
                "la liste de révocation de son émetteur ne vaut qu'à partir du {from} ; vérifiez l'horloge de cette machine"
            ),
            other => Text::same(format!("{other:?}")),
        }
    }

    fn plain(&self) -> Text {
        match self {
            Self::SelfSigned => text!(
                "it is self-signed and not among the trusted certificates; put this very certificate in `CAfile`",
                "il est autosigné et ne figure pas parmi les certificats de confiance ; \
                 mettez ce certificat même dans `CAfile`"
            ),
            Self::OldVersion => text!(
                "it is an X.509 version 1 certificate, of which only itself can be trusted; put it in `CAfile`, \
                 better have it made anew",
                "c'est un certificat X.509 version 1, auquel on ne peut se fier que nommément ; mettez-le dans \
                 `CAfile`, mieux : faites-le refaire"
            ),
            Self::Authority => text!(
                "it is a CA's certificate used as a server's or client's own (CA:TRUE); put this very certificate in `CAfile`",
                "c'est un certificat d'autorité employé comme certificat de serveur ou de client (CA:TRUE) ; \
                 mettez ce certificat même dans `CAfile`"
            ),
            Self::OtherKey => text!(
                "its public key is none of the pinned ones; make sure that the key was really changed before you \
                 pin the new one",
                "sa clé publique n'est aucune de celles qui sont épinglées ; assurez-vous que la clé a vraiment été \
                 changée avant d'épingler la nouvelle"
            ),
            Self::RootOutOfDate => text!(
                "the trusted authority that issued it has expired itself, or is not valid yet; put that CA's current \
                 certificate in `CAfile`",
                "l'autorité de confiance qui l'a émis a elle-même expiré, ou n'est pas encore valable ; mettez son certificat \
                 actuel dans `CAfile`"
            ),
            Self::Revoked => text!(
                "certificate revoked: its issuer has withdrawn it; its owner must have a new one made",
                "certificat révoqué : son émetteur l'a retiré ; son propriétaire doit en obtenir un nouveau"
            ),
            Self::NoAuthority => text!(
                "invalid CA certificate: one between it and its root may not sign others; the CA must issue that one anew",
                "certificat d'autorité invalide : l'un de ceux entre lui et sa racine n'a pas le droit d'en signer d'autres ; \
                 l'autorité doit le réémettre"
            ),
            Self::OtherSubject => text!(
                "its public key is a pinned one, but it names somebody else than the certificate of that key in `CAfile`; \
                 put the new certificate there, or trust the key alone with `pin`",
                "sa clé publique est épinglée, mais il nomme quelqu'un d'autre que le certificat de cette clé dans `CAfile` ; \
                 mettez-y le nouveau certificat, ou fiez-vous à la seule clé par `pin`"
            ),
            Self::NoCertificate => text!(
                "peer did not return a certificate, which this service requires; give it a `cert` and `key`",
                "aucun n'a été présenté, et ce service en exige un ; donnez-lui `cert` et `key`"
            ),
            Self::OtherPurpose => text!(
                "it was made for another purpose (extended key usage); its owner must have one made for TLS",
                "il a été émis pour un autre usage (extended key usage) ; son propriétaire doit en obtenir un pour TLS"
            ),
            Self::Broken(why) => text!(
                "it cannot be checked ({why}); its owner must have it made anew",
                "il ne peut pas être vérifié ({why}) ; son propriétaire doit le faire refaire"
            ),
            other => Text::same(format!("{other:?}")),
        }
    }
}

fn other_name(wanted: &str, names: &[String]) -> Text {
    if names.is_empty() {
        return text!(
            "other host: it names no host at all, expected {wanted}; its owner must have one made with this name",
            "autre hôte : il ne nomme aucun hôte, {wanted} attendu ; son propriétaire doit en obtenir un à ce nom"
        );
    }
    let more = names.len().saturating_sub(NAMES_SHOWN);
    let shown = names[..names.len().min(NAMES_SHOWN)].join(", ");
    let dots = if more > 0 { format!(" … +{more}") } else { String::new() };
    text!(
        "other host: it is for {shown}{dots}, not for {wanted}; connect to one of its names, or say which one is \
         meant with `checkHost`",
        "autre hôte : il est établi pour {shown}{dots}, pas pour {wanted} ; connectez-vous à l'un de ses noms, ou \
         indiquez lequel est voulu avec `checkHost`"
    )
}

fn pin_hint(pin: Digest) -> Text {
    text!(
        ". To trust this very key, once you have checked that it is theirs: pin = {pin}",
        ". Pour faire confiance à cette clé précise, après avoir vérifié que c'est la leur : pin = {pin}"
    )
}

/// A public certificate may hold a hundred names; a sentence holds a few.
const NAMES_SHOWN: usize = 5;
