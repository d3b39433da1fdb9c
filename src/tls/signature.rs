//! Signatures: those of the handshake, and those of certificates and revocation lists that webpki does not check itself.
//!
//! Not new cryptography: every signature is verified by an algorithm of the TLS provider, through webpki.

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::{CertificateError, DigitallySignedStruct, Error};
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use webpki::{EndEntityCert, RawPublicKeyEntity};
use x509_parser::asn1_rs::Any;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::verify::is_old_version;

/// What X.509 signs, a certificate or a revocation list, in its three parts (RFC 5280, 4.1.1 and 5.1.1).
#[derive(Clone, Copy, Debug)]
pub(super) struct Signed<'a> {
    body: &'a [u8],
    /// Content of the `AlgorithmIdentifier`, as webpki names algorithms.
    algorithm: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Signed<'a> {
    /// Takes it apart; `None` where it is none.
    pub(super) fn parse(der: &'a [u8]) -> Option<Self> {
        let (content, _) = element(SEQUENCE, der)?;
        let (_, after_body) = element(SEQUENCE, content)?;
        let body = content.get(..content.len().checked_sub(after_body.len())?)?;
        let (algorithm, after_algorithm) = element(SEQUENCE, after_body)?;
        // begins with the number of its unused bits
        let (bits, _) = element(BIT_STRING, after_algorithm)?;
        let (unused, signature) = bits.split_first()?;
        (*unused == 0).then_some(Self { body, algorithm, signature })
    }

    /// Whether the key of this `SubjectPublicKeyInfo` signed it, by an algorithm that is still trusted.
    pub(super) fn is_by(&self, key: &[u8], algorithms: &WebPkiSupportedAlgorithms) -> bool {
        let key = SubjectPublicKeyInfoDer::from(key);
        let Ok(key) = RawPublicKeyEntity::try_from(&key) else { return false };
        let named = algorithms.all.iter().filter(|known| known.signature_alg_id().as_ref() == self.algorithm);
        named.into_iter().any(|algorithm| key.verify_signature(*algorithm, self.body, self.signature).is_ok())
    }
}

/// The content of the first element, which has to be of this kind, and what follows it.
fn element(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (rest, element) = Any::from_der(der).ok().filter(|_| der.first() == Some(&tag))?;
    Some((element.data, rest))
}

/// rustls' check of a handshake; a version 1 certificate, which webpki does not parse, by its bare public key.
pub(super) fn tls12(
    message: &[u8],
    cert: &CertificateDer<'_>,
    dss: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    let Some(key) = key_of_old_version(cert) else {
        return rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms);
    };
    let bad = Error::InvalidCertificate(CertificateError::BadSignature);
    let key = RawPublicKeyEntity::try_from(&key).map_err(|_| bad.clone())?;
    let candidates = algorithms.mapping.iter().filter(|(scheme, _)| *scheme == dss.scheme).flat_map(|(_, all)| *all);
    let valid =
        candidates.into_iter().any(|algorithm| key.verify_signature(*algorithm, message, dss.signature()).is_ok());
    if valid { Ok(HandshakeSignatureValid::assertion()) } else { Err(bad) }
}

/// See [`tls12`].
pub(super) fn tls13(
    message: &[u8],
    cert: &CertificateDer<'_>,
    dss: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    match key_of_old_version(cert) {
        None => rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms),
        Some(key) => rustls::crypto::verify_tls13_signature_with_raw_key(message, &key, dss, algorithms),
    }
}

fn key_of_old_version(cert: &CertificateDer<'_>) -> Option<SubjectPublicKeyInfoDer<'static>> {
    EndEntityCert::try_from(cert).err()?;
    let (_, cert) = X509Certificate::from_der(cert).ok().filter(|(_, cert)| is_old_version(cert))?;
    Some(SubjectPublicKeyInfoDer::from(cert.public_key().raw.to_vec()))
}

/// A constructed SEQUENCE (X.690, 8.9).
const SEQUENCE: u8 = 0x30;
/// A primitive BIT STRING (X.690, 8.6).
const BIT_STRING: u8 = 0x03;
