//! What webpki, and the system, say about a chain, in our own words.

use rustls::{CertificateError, Error, OtherError};
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::oneline::one_line;
use super::refusal::Reason;
use super::verify::{is_old_version, is_self_signed};

/// The leaf's dates were checked before, so a date that is wrong here is of the chain.
pub(super) fn reason_of(error: &webpki::Error, cert: &X509Certificate<'_>, chain: &[CertificateDer<'_>]) -> Reason {
    use webpki::Error as E;
    match error {
        _ if is_old_version(cert) => Reason::OldVersion,
        E::CaUsedAsEndEntity | E::UnknownIssuer if is_self_signed(cert) => Reason::SelfSigned,
        E::CaUsedAsEndEntity => Reason::Authority,
        E::UnknownIssuer => Reason::UnknownIssuer { issuer: missing_issuer(cert, chain) },
        E::InvalidSignatureForPublicKey => Reason::OtherIssuerKey { issuer: missing_issuer(cert, chain) },
        E::CertExpired { .. } | E::CertNotValidYet { .. } => Reason::ChainOutOfDate,
        E::RequiredEkuNotFoundContext(_) => Reason::OtherPurpose,
        other => Reason::Broken(other.to_string()),
    }
}

/// What the system's verification says.
pub(super) fn system_reason(
    error: &Error,
    cert: &X509Certificate<'_>,
    chain: &[CertificateDer<'_>],
) -> Result<(), Reason> {
    use CertificateError as C;
    let Error::InvalidCertificate(error) = error else { return Err(Reason::Broken(error.to_string())) };
    Err(match error {
        _ if is_old_version(cert) => Reason::OldVersion,
        // only a certificate without any alternative name gets here; with webpki the name is the last thing that is
        // checked, with CryptoAPI it may hide another reason
        C::NotValidForName | C::NotValidForNameContext { .. } if cfg!(not(windows)) => return Ok(()),
        C::UnknownIssuer if is_self_signed(cert) => Reason::SelfSigned,
        C::UnknownIssuer => Reason::UnknownIssuer { issuer: missing_issuer(cert, chain) },
        C::BadSignature => Reason::OtherIssuerKey { issuer: missing_issuer(cert, chain) },
        C::Expired | C::ExpiredContext { .. } | C::NotValidYet | C::NotValidYetContext { .. } => Reason::ChainOutOfDate,
        C::Other(OtherError(inner)) => match inner.downcast_ref::<webpki::Error>() {
            Some(error) => reason_of(error, cert, chain),
            None => Reason::Broken(inner.to_string()),
        },
        other => Reason::Broken(format!("{other:?}")),
    })
}

/// Follows the issuers through what the peer sent, to the first one that nobody has sent.
fn missing_issuer(cert: &X509Certificate<'_>, chain: &[CertificateDer<'_>]) -> String {
    let sent: Vec<X509Certificate<'_>> =
        chain.iter().filter_map(|der| X509Certificate::from_der(der).ok().map(|(_, cert)| cert)).collect();
    let mut issuer = cert.issuer();
    // at most once through each: a chain that goes round in a circle ends too
    for _ in 0..sent.len() {
        match sent.iter().find(|next| next.subject().as_raw() == issuer.as_raw() && !is_self_signed(next)) {
            Some(next) => issuer = next.issuer(),
            None => break,
        }
    }
    one_line(issuer)
}
