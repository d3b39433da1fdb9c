//! Verification of certificates for the whole of [`Trust`]: chain, names and pinned keys, each on its own.
//!
//! Not rustls' `WebPkiServerVerifier`: that one always checks the name, and refuses what stunnel's users really have
//! (a self-signed `CA:TRUE` server certificate, X.509 version 1, a common name only). Here the chain is webpki's
//! business, names are [`super::names`]', and three rules are added:
//!
//! * a leaf that stands itself in `CAfile` or `CApath`, byte for byte, and is in its time, needs no chain;
//! * a pinned key needs no chain; named by `pin` it needs no dates either, since that is what one pins a forgotten
//!   device for, while the key of a listed certificate (`verifyPeer`) needs a leaf that is in its time;
//! * an intermediate in `CAfile` is an anchor (OpenSSL would ask for the root besides).
//!
//! The signatures of the handshake are verified whatever [`Check`] says.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage, RawPublicKeyEntity};
use x509_parser::prelude::{FromDer as _, X509Certificate, X509Version};

use super::material::{self, Authorities};
use super::names::{self, Wanted};
use super::refusal::{Reason, Refusal};
use crate::config::{Check, Trust};
use crate::model::{Code, Digest, Fault};
use crate::text;
use crate::text::Text;

/// Whose certificate is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A server's, by its client.
    Server,
    /// A client's, by its server.
    Client,
}

/// A [`Trust`] with its files read: judges certificates.
#[derive(Debug)]
pub struct Policy {
    check: Check,
    peer: Peer,
    roots: Roots,
    /// Certificates of `CAfile` and `CApath`: a leaf that is one of them is trusted itself.
    listed: Vec<CertificateDer<'static>>,
    /// Digests of the public keys of `listed`, where keys are pinned.
    listed_keys: Vec<Digest>,
    pins: Vec<Digest>,
    wanted: Wanted,
    algorithms: WebPkiSupportedAlgorithms,
}

#[derive(Debug)]
enum Roots {
    /// No chain is checked.
    None,
    /// Those of the system.
    System(rustls_platform_verifier::Verifier),
    /// Those of `CAfile` and `CApath`.
    Given(Vec<TrustAnchor<'static>>),
}

/// What verification says, or would have said.
pub type Verdict = Result<(), Refusal>;

impl Policy {
    /// Reads what `trust` names. Warnings come back beside the policy.
    ///
    /// # Errors
    /// A file is missing or holds nothing of use, the system has no roots, or there is nothing to verify against
    /// (code `config`).
    pub fn new(trust: &Trust, peer: Peer, provider: &Arc<CryptoProvider>) -> Result<(Self, Vec<Text>), Fault> {
        let Authorities { certificates, mut warnings } = match trust.check {
            Check::Off => Authorities::default(),
            _ => material::authorities(trust.ca_file.as_deref(), trust.ca_path.as_deref())?,
        };
        let roots = match trust.check {
            Check::Off | Check::Pinned => Roots::None,
            Check::Chain | Check::ChainAndPinned => Roots::of(&certificates, peer, provider, &mut warnings)?,
        };
        let pinned = matches!(trust.check, Check::Pinned | Check::ChainAndPinned);
        let listed_keys: Vec<Digest> =
            if pinned { certificates.iter().filter_map(key_of).collect() } else { Vec::new() };
        if pinned && listed_keys.is_empty() && trust.pins.is_empty() {
            return Err(nothing_pinned());
        }
        if pinned && listed_keys.len() > BUNDLE {
            warnings.push(bundle_pinned(listed_keys.len()));
        }
        let policy = Self {
            check: trust.check,
            peer,
            roots,
            listed: certificates,
            listed_keys,
            pins: trust.pins.clone(),
            wanted: Wanted::of(trust),
            algorithms: provider.signature_verification_algorithms,
        };
        Ok((policy, warnings))
    }

    /// Judges a certificate; `expected` is the name dialled or sent.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        expected: Option<&ServerName<'_>>,
        now: UnixTime,
    ) -> Verdict {
        if self.check == Check::Off {
            return Ok(());
        }
        let cert = match X509Certificate::from_der(leaf) {
            Ok((_, cert)) => cert,
            Err(error) => {
                return Err(Refusal { reason: Reason::Broken(error.to_string()), subject: "?".to_owned(), pin: None });
            }
        };
        let pin = Digest::of(cert.public_key().raw);
        self.examine(leaf, &cert, chain, expected, now, pin).map_err(|reason| Refusal {
            reason,
            subject: cert.subject().to_string(),
            // what is pinned already needs no hint to pin it
            pin: (!self.pins.contains(&pin)).then_some(pin),
        })
    }

    fn examine(
        &self,
        leaf: &CertificateDer<'_>,
        cert: &X509Certificate<'_>,
        chain: &[CertificateDer<'_>],
        expected: Option<&ServerName<'_>>,
        now: UnixTime,
        key: Digest,
    ) -> Result<(), Reason> {
        if matches!(self.check, Check::Chain | Check::ChainAndPinned) {
            in_its_time(cert, now)?;
            if !self.listed.iter().any(|listed| listed == leaf) {
                self.chain(leaf, cert, chain, expected, now)?;
            }
        }
        if matches!(self.check, Check::Pinned | Check::ChainAndPinned) {
            self.pinned(cert, key, now)?;
        }
        self.wanted.check(cert, expected).map_err(|wanted| Reason::OtherName { wanted, names: names::names_of(cert) })
    }

    fn pinned(&self, cert: &X509Certificate<'_>, key: Digest, now: UnixTime) -> Result<(), Reason> {
        if self.pins.contains(&key) {
            return Ok(());
        }
        if self.listed_keys.contains(&key) { in_its_time(cert, now) } else { Err(Reason::OtherKey) }
    }

    fn chain(
        &self,
        leaf: &CertificateDer<'_>,
        cert: &X509Certificate<'_>,
        chain: &[CertificateDer<'_>],
        expected: Option<&ServerName<'_>>,
        now: UnixTime,
    ) -> Result<(), Reason> {
        match &self.roots {
            Roots::None => Ok(()),
            Roots::Given(anchors) => {
                let usage = if self.peer == Peer::Server { KeyUsage::server_auth() } else { KeyUsage::client_auth() };
                let outcome = EndEntityCert::try_from(leaf).and_then(|end| {
                    end.verify_for_usage(self.algorithms.all, anchors, chain, now, usage, None, None).map(drop)
                });
                outcome.map_err(|error| reason_of(&error, cert, chain))
            }
            Roots::System(verifier) => {
                // it insists on a name, so it gets one that the certificate bears; ours is checked afterwards
                let own = names::own_name(cert);
                let Some(name) = own.as_ref().or(expected) else {
                    return Err(Reason::OtherName { wanted: String::new(), names: names::names_of(cert) });
                };
                match verifier.verify_server_cert(leaf, chain, name, &[], now) {
                    Ok(_) => Ok(()),
                    Err(error) => system_reason(&error, cert, chain),
                }
            }
        }
    }

    /// The subjects of the anchors, for the list that a server sends with its request for a certificate
    /// (RFC 8446, 4.2.4).
    fn hints(&self) -> Vec<DistinguishedName> {
        match &self.roots {
            Roots::Given(anchors) => {
                anchors.iter().map(|anchor| DistinguishedName::in_sequence(anchor.subject.as_ref())).collect()
            }
            _ => Vec::new(),
        }
    }
}

impl Roots {
    fn of(
        certificates: &[CertificateDer<'static>],
        peer: Peer,
        provider: &Arc<CryptoProvider>,
        warnings: &mut Vec<Text>,
    ) -> Result<Self, Fault> {
        if certificates.is_empty() && peer == Peer::Client {
            return Err(no_client_authority());
        }
        if certificates.is_empty() {
            return rustls_platform_verifier::Verifier::new(provider.clone()).map(Self::System).map_err(|_| no_roots());
        }
        let anchors: Vec<_> = certificates
            .iter()
            .filter_map(|der| webpki::anchor_from_trusted_cert(der).ok().map(|anchor| anchor.to_owned()))
            .collect();
        let lost = certificates.len() - anchors.len();
        if lost > 0 {
            warnings.push(text!(
                "{lost} certificate(s) of CAfile or CApath cannot serve as a CA and count only as themselves",
                "{lost} certificat(s) de CAfile ou CApath ne peuvent servir d'autorité et ne valent que pour eux-mêmes"
            ));
        }
        Ok(Self::Given(anchors))
    }
}

/// The verifier of servers' certificates.
#[derive(Debug)]
pub(crate) struct ServerVerifier {
    policy: Policy,
    probe: Option<Probe>,
}

/// Judges without refusing, and remembers what it would have said.
#[derive(Debug)]
struct Probe {
    policy: Policy,
    verdict: Mutex<Option<Verdict>>,
}

impl ServerVerifier {
    /// With `trust.probe` nothing is refused, but verification as pertuis' own defaults ask for is tried.
    ///
    /// # Errors
    /// As [`Policy::new`]; a probe that cannot be set up is a warning.
    pub(crate) fn new(trust: &Trust, provider: &Arc<CryptoProvider>) -> Result<(Self, Vec<Text>), Fault> {
        let (policy, mut warnings) = Policy::new(trust, Peer::Server, provider)?;
        let probe = if trust.probe {
            let asked = Trust { check: Check::Chain, dialled_name: true, probe: false, ..trust.clone() };
            Policy::new(&asked, Peer::Server, provider).map(|(policy, _)| policy).map_err(|fault| fault.text)
        } else {
            return Ok((Self { policy, probe: None }, warnings));
        };
        let probe = probe.map_err(|why| warnings.push(why)).ok();
        let probe = probe.map(|policy| Probe { policy, verdict: Mutex::new(None) });
        Ok((Self { policy, probe }, warnings))
    }

    /// What the probe said about the latest full handshake, once for each.
    pub(crate) fn take_verdict(&self) -> Option<Verdict> {
        self.probe.as_ref()?.verdict.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(probe) = &self.probe {
            let verdict = probe.policy.judge(end_entity, intermediates, Some(server_name), now);
            *probe.verdict.lock().unwrap_or_else(PoisonError::into_inner) = Some(verdict);
        }
        self.policy.judge(end_entity, intermediates, Some(server_name), now).map_err(Refusal::into_rustls)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        tls12_signature(message, cert, dss, &self.policy.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        tls13_signature(message, cert, dss, &self.policy.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.policy.algorithms.supported_schemes()
    }
}

/// The verifier of clients' certificates.
#[derive(Debug)]
pub(crate) struct ClientVerifier {
    policy: Policy,
    hints: Vec<DistinguishedName>,
    require: bool,
}

impl ClientVerifier {
    /// `None` when clients are not asked for a certificate.
    ///
    /// # Errors
    /// As [`Policy::new`].
    pub(crate) fn new(trust: &Trust, provider: &Arc<CryptoProvider>) -> Result<(Option<Self>, Vec<Text>), Fault> {
        if trust.check == Check::Off && !trust.require {
            return Ok((None, Vec::new()));
        }
        let (policy, warnings) = Policy::new(trust, Peer::Client, provider)?;
        let hints = policy.hints();
        Ok((Some(Self { policy, hints, require: trust.require }), warnings))
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.require
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.policy.judge(end_entity, intermediates, None, now).map_err(Refusal::into_rustls)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        tls12_signature(message, cert, dss, &self.policy.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        tls13_signature(message, cert, dss, &self.policy.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.policy.algorithms.supported_schemes()
    }
}

/// rustls' check; a version 1 certificate, which webpki does not parse, by its bare public key.
fn tls12_signature(
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

/// See [`tls12_signature`].
fn tls13_signature(
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

fn key_of(cert: &CertificateDer<'static>) -> Option<Digest> {
    X509Certificate::from_der(cert).ok().map(|(_, cert)| Digest::of(cert.public_key().raw))
}

fn in_its_time(cert: &X509Certificate<'_>, now: UnixTime) -> Result<(), Reason> {
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let (from, until) = (cert.validity().not_before.timestamp(), cert.validity().not_after.timestamp());
    if now < from {
        return Err(Reason::NotYetValid { from: date(from) });
    }
    if now > until { Err(Reason::Expired { on: date(until) }) } else { Ok(()) }
}

fn date(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds)
        .map_or_else(|_| seconds.to_string(), |time| time.strftime("%Y-%m-%d %H:%M UTC").to_string())
}

/// Version 1 or 2, which webpki refuses to read.
fn is_old_version(cert: &X509Certificate<'_>) -> bool {
    cert.version() != X509Version::V3
}

fn is_self_signed(cert: &X509Certificate<'_>) -> bool {
    cert.subject().as_raw() == cert.issuer().as_raw()
}

/// The leaf's dates were checked before, so a date that is wrong here is of the chain.
fn reason_of(error: &webpki::Error, cert: &X509Certificate<'_>, chain: &[CertificateDer<'_>]) -> Reason {
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

fn system_reason(error: &Error, cert: &X509Certificate<'_>, chain: &[CertificateDer<'_>]) -> Result<(), Reason> {
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
    issuer.to_string()
}

fn nothing_pinned() -> Fault {
    Fault::new(
        Code::Config,
        text!(
            "a pinned key is asked for, but none is given: add `pin = …`, or put the peer's certificate in `CAfile`",
            "une clé épinglée est demandée, mais aucune n'est donnée : ajoutez `pin = …`, ou mettez le certificat du \
             correspondant dans `CAfile`"
        ),
    )
}

fn bundle_pinned(count: usize) -> Text {
    text!(
        "{count} certificates in CAfile or CApath look like a bundle of public roots; a pinned key must be the peer's \
         own, not its CA's",
        "{count} certificats dans CAfile ou CApath ressemblent à un lot de racines publiques ; une clé épinglée doit \
         être celle du correspondant, pas de son autorité"
    )
}

fn no_client_authority() -> Fault {
    Fault::new(
        Code::Config,
        text!(
            "clients are to be verified, but against nothing: put their CA's certificate in `CAfile` or `CApath`",
            "les clients doivent être vérifiés, mais par rapport à rien : mettez le certificat de leur autorité dans \
             `CAfile` ou `CApath`"
        ),
    )
}

fn no_roots() -> Fault {
    Fault::new(
        Code::Config,
        text!(
            "this system has no root certificates, so no server can be verified: install the package ca-certificates, \
             or name a file of roots in `CAfile` (SSL_CERT_FILE and SSL_CERT_DIR count too)",
            "ce système n'a pas de certificats racines, aucun serveur ne peut donc être vérifié : installez le paquet \
             ca-certificates, ou indiquez un fichier de racines dans `CAfile` (SSL_CERT_FILE et SSL_CERT_DIR comptent \
             aussi)"
        ),
    )
}

/// More certificates than this in `CAfile` are not somebody's pinned peers.
const BUNDLE: usize = 50;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::ca::{Pair, TestCa, host_params};
    use super::super::provider;
    use super::*;

    /// A CA, and one that nobody trusts.
    struct World {
        _dir: tempfile::TempDir,
        ca: TestCa,
        stranger: TestCa,
    }

    impl World {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let (ca, stranger) = (TestCa::new(dir.path()), TestCa::new(dir.path()));
            Self { _dir: dir, ca, stranger }
        }

        fn chain(&self) -> Trust {
            Trust { ca_file: Some(self.ca.cert.clone()), ..trust(Check::Chain) }
        }
    }

    fn trust(check: Check) -> Trust {
        Trust { check, dialled_name: check == Check::Chain, ..Trust::default() }
    }

    fn listing(check: Check, file: &Path) -> Trust {
        Trust { ca_file: Some(file.to_owned()), ..trust(check) }
    }

    fn judge(trust: &Trust, pair: &Pair, host: &str) -> Result<(), Reason> {
        let (policy, _) = Policy::new(trust, Peer::Server, &provider()).unwrap();
        let certs = material::certificates(&pair.cert).unwrap();
        let name = ServerName::try_from(host.to_owned()).unwrap();
        policy.judge(&certs[0], &certs[1..], Some(&name), UnixTime::now()).map_err(|refusal| refusal.reason)
    }

    fn pin_of(pair: &Pair) -> Digest {
        key_of(&material::certificates(&pair.cert).unwrap()[0]).unwrap()
    }

    fn other_name(wanted: &str, name: &str) -> Result<(), Reason> {
        Err(Reason::OtherName { wanted: wanted.to_owned(), names: vec![name.to_owned()] })
    }

    #[test]
    fn a_chain_to_the_ca_with_the_dialled_name_is_accepted() {
        let world = World::new();
        for (cert, dialled) in [
            ("mail.example.test", "mail.example.test"),
            ("*.example.test", "mail.example.test"),
            ("127.0.0.1", "127.0.0.1"),
            ("::1", "::1"),
        ] {
            assert_eq!(judge(&world.chain(), &world.ca.good(cert), dialled), Ok(()), "{cert} {dialled}");
        }
        assert_eq!(judge(&world.chain(), &world.ca.common_name_only("a.test"), "a.test"), Ok(()));
    }

    #[test]
    fn each_refusal_says_which_it_is() {
        let world = World::new();
        let (ca, trust) = (&world.ca, world.chain());
        assert_eq!(
            judge(&trust, &ca.expired("a.test"), "a.test"),
            Err(Reason::Expired { on: "2021-01-01 00:00 UTC".into() })
        );
        assert_eq!(
            judge(&trust, &ca.future("a.test"), "a.test"),
            Err(Reason::NotYetValid { from: "2090-01-01 00:00 UTC".into() })
        );
        assert_eq!(judge(&trust, &ca.good("b.test"), "a.test"), other_name("a.test", "b.test"));
        assert_eq!(judge(&trust, &ca.common_name_only("b.test"), "a.test"), other_name("a.test", "b.test"));
        assert_eq!(judge(&trust, &ca.good("127.0.0.1"), "127.0.0.2"), other_name("127.0.0.2", "127.0.0.1"));
        // a name of an IP address does not do where an address is dialled
        assert_eq!(judge(&trust, &ca.common_name_only("127.0.0.1"), "127.0.0.1"), other_name("127.0.0.1", "127.0.0.1"));
        assert_eq!(judge(&trust, &ca.self_signed("a.test"), "a.test"), Err(Reason::SelfSigned));
        assert_eq!(judge(&trust, &ca.version_1("a.test"), "a.test"), Err(Reason::OldVersion));
        assert_eq!(judge(&trust, &ca.authority("a.test"), "a.test"), Err(Reason::Authority));
        let issuer = format!("CN={}", world.stranger.name);
        assert_eq!(judge(&trust, &world.stranger.good("a.test"), "a.test"), Err(Reason::UnknownIssuer { issuer }));
        let issuer = format!("CN={}", ca.name);
        assert_eq!(judge(&trust, &ca.impostor().good("a.test"), "a.test"), Err(Reason::OtherIssuerKey { issuer }));
    }

    #[test]
    fn an_unknown_ca_is_named() {
        let world = World::new();
        let known = listing(Check::Chain, &world.ca.good("somebody.test").cert);
        let expected = Err(Reason::UnknownIssuer { issuer: format!("CN={}", world.ca.name) });
        assert_eq!(judge(&known, &world.ca.good("a.test"), "a.test"), expected);
    }

    #[test]
    fn a_leaf_listed_itself_needs_no_chain_but_its_name_and_time() {
        let world = World::new();
        let ca = &world.ca;
        for pair in [ca.self_signed("a.test"), ca.version_1("a.test"), ca.good("a.test"), ca.authority("a.test")] {
            let listed = listing(Check::Chain, &pair.cert);
            assert_eq!(judge(&listed, &pair, "a.test"), Ok(()));
            assert_eq!(judge(&listed, &pair, "b.test"), other_name("b.test", "a.test"));
        }
        let expired = ca.expired("a.test");
        assert!(matches!(
            judge(&listing(Check::Chain, &expired.cert), &expired, "a.test"),
            Err(Reason::Expired { .. })
        ));
    }

    #[test]
    fn the_three_lists_are_alternatives() {
        let world = World::new();
        let pairs = [world.ca.good("a.test"), world.ca.good("10.0.0.1"), world.ca.good("Bob@example.test")];
        let any = Trust {
            check_host: vec!["z.test".into(), ".test".into()],
            check_email: vec!["Bob@EXAMPLE.test".into()],
            check_ip: vec!["10.0.0.1".parse().unwrap()],
            ..world.chain()
        };
        for pair in &pairs {
            assert_eq!(judge(&any, pair, "dialled.does.not.count"), Ok(()));
        }
        let case = Trust { check_email: vec!["bob@example.test".into()], ..world.chain() };
        assert_eq!(judge(&case, &pairs[2], "a.test"), other_name("bob@example.test", "Bob@example.test"));
        let none = Trust { check_host: vec!["z.test".into()], ..world.chain() };
        assert_eq!(judge(&none, &pairs[0], "a.test"), other_name("z.test", "a.test"));
    }

    #[test]
    fn stunnels_verify_chain_alone_checks_no_name() {
        let world = World::new();
        let bare = Trust { dialled_name: false, ..world.chain() };
        assert_eq!(judge(&bare, &world.ca.good("a.test"), "b.test"), Ok(()));
    }

    #[test]
    fn verify_peer_goes_by_the_key_and_survives_a_renewal() {
        let world = World::new();
        let old = world.ca.good("a.test");
        let peer = listing(Check::Pinned, &old.cert);
        assert_eq!(judge(&peer, &old, "whatever.test"), Ok(()));
        assert_eq!(judge(&peer, &world.ca.renewed(&old, "a.test"), "a.test"), Ok(()));
        assert_eq!(judge(&peer, &world.stranger.renewed(&old, "a.test"), "a.test"), Ok(()));
        assert_eq!(judge(&peer, &world.ca.good("a.test"), "a.test"), Err(Reason::OtherKey));
        let expired = world.ca.expired("a.test");
        assert!(matches!(
            judge(&listing(Check::Pinned, &expired.cert), &expired, "a.test"),
            Err(Reason::Expired { .. })
        ));
    }

    #[test]
    fn a_pin_is_enough_even_for_what_can_be_checked_no_more() {
        let world = World::new();
        let ca = &world.ca;
        for pair in [ca.expired("a.test"), ca.self_signed("a.test"), ca.version_1("a.test")] {
            let pinned = Trust { pins: vec![Digest([0; 32]), pin_of(&pair)], ..trust(Check::Pinned) };
            assert_eq!(judge(&pinned, &pair, "b.test"), Ok(()));
        }
        let wrong = Trust { pins: vec![Digest([0; 32])], ..trust(Check::Pinned) };
        assert_eq!(judge(&wrong, &ca.good("a.test"), "a.test"), Err(Reason::OtherKey));
    }

    #[test]
    fn chain_and_pin_ask_for_both() {
        let world = World::new();
        let good = world.ca.good("a.test");
        let both = |pair: &Pair| Trust { check: Check::ChainAndPinned, pins: vec![pin_of(pair)], ..world.chain() };
        assert_eq!(judge(&both(&good), &good, "a.test"), Ok(()));
        assert_eq!(judge(&both(&good), &world.ca.good("a.test"), "a.test"), Err(Reason::OtherKey));
        let expired = world.ca.expired("a.test");
        assert!(matches!(judge(&both(&expired), &expired, "a.test"), Err(Reason::Expired { .. })));
    }

    #[test]
    fn another_purpose_is_refused() {
        let world = World::new();
        let mut params = host_params("a.test");
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        let client = world.ca.issue(&params);
        assert_eq!(judge(&world.chain(), &client, "a.test"), Err(Reason::OtherPurpose));
        let (policy, _) = Policy::new(&Trust { require: true, ..world.chain() }, Peer::Client, &provider()).unwrap();
        let certs = material::certificates(&client.cert).unwrap();
        assert!(policy.judge(&certs[0], &[], None, UnixTime::now()).is_ok());
    }

    #[test]
    fn what_cannot_verify_is_a_mistake_of_the_configuration() {
        let world = World::new();
        assert!(Policy::new(&trust(Check::Pinned), Peer::Server, &provider()).is_err());
        assert!(Policy::new(&trust(Check::Chain), Peer::Client, &provider()).is_err());
        let missing = listing(Check::Chain, Path::new("/nowhere/ca.pem"));
        let fault = Policy::new(&missing, Peer::Server, &provider()).unwrap_err();
        assert!(fault.code == Code::Config && fault.text.en.contains("/nowhere/ca.pem"), "{fault}");
        assert_eq!(judge(&trust(Check::Off), &world.stranger.expired("b.test"), "a.test"), Ok(()));
    }

    #[test]
    fn a_refusal_shows_the_pin_that_would_accept_it() {
        let world = World::new();
        let pair = world.ca.expired("a.test");
        let (policy, _) = Policy::new(&world.chain(), Peer::Server, &provider()).unwrap();
        let certs = material::certificates(&pair.cert).unwrap();
        let refusal = policy.judge(&certs[0], &[], None, UnixTime::now()).unwrap_err();
        let text = refusal.text("a.test");
        let pin = format!("pin = {}", pin_of(&pair));
        assert!(text.en.contains("expired") && text.en.ends_with(&pin), "{}", text.en);
        assert!(text.fr.contains("expiré") && text.fr.ends_with(&pin), "{}", text.fr);
    }
}
