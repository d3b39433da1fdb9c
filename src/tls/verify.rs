//! Verification of certificates for the whole of [`Trust`]: chain, names, pinned keys, revocation, each on its own.
//!
//! Not rustls' `WebPkiServerVerifier`: that one always checks the name, and refuses what stunnel's users really have
//! (a self-signed `CA:TRUE` server certificate, X.509 version 1, a common name only). Here the chain is webpki's
//! business, names are [`super::names`]', and these rules are added:
//!
//! * a leaf that stands itself in `CAfile` or `CApath`, byte for byte, and is in its time, needs no chain;
//! * a pinned key needs no chain; named by `pin` it needs no dates either, since that is what one pins a forgotten
//!   device for, while the key of a listed certificate (`verifyPeer`) needs the subject of that certificate and a leaf
//!   that is in its time;
//! * an intermediate in `CAfile` is an anchor (OpenSSL would ask for the root besides);
//! * what OpenSSL looks at and webpki does not counts too: dates of the anchor, key usage, who may be a CA.

use std::cell::RefCell;
use std::sync::Arc;

use rustls::DistinguishedName;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls_pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};
use x509_parser::prelude::{FromDer as _, X509Certificate, X509Version};

use super::authorities::Authorities;
use super::names::{self, Wanted};
use super::oneline::one_line;
use super::reasons::{reason_of, system_reason};
use super::refusal::{Reason, Refusal};
use super::revocation::Lists;
use super::signature::Signed;
use crate::config::{Check, Store, Trust};
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
    /// How many of them are of `CAfile`.
    of_file: usize,
    /// Subjects and keys of `listed`, where keys are pinned.
    listed_keys: Vec<(String, Digest)>,
    pins: Vec<Digest>,
    wanted: Wanted,
    revoked: Option<Lists>,
    old_leaves: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

#[derive(Debug)]
enum Roots {
    /// No chain is checked.
    None,
    /// Those of the system.
    System(rustls_platform_verifier::Verifier),
    /// Those of `CAfile` and `CApath`.
    Given(Anchors),
}

/// Certificates that chains may end at.
#[derive(Debug, Default)]
struct Anchors {
    anchors: Vec<TrustAnchor<'static>>,
    /// From and until when each is valid, in seconds since 1970; webpki does not look.
    valid: Vec<(i64, i64)>,
}

/// What verification says, or would have said.
pub type Verdict = Result<(), Refusal>;

/// A certificate that is judged, in both forms, with what came beside it.
struct Shown<'a> {
    der: &'a CertificateDer<'a>,
    cert: &'a X509Certificate<'a>,
    chain: &'a [CertificateDer<'a>],
    expected: Option<&'a ServerName<'a>>,
    now: UnixTime,
}

impl Policy {
    /// Reads what `trust` names. Warnings come back beside the policy.
    ///
    /// # Errors
    /// A file is missing or holds nothing of use, the system has no roots, or there is nothing to verify against
    /// (code `config`).
    pub fn new(trust: &Trust, peer: Peer, provider: &Arc<CryptoProvider>) -> Result<(Self, Vec<Text>), Fault> {
        let off = trust.check == Check::Off;
        let Authorities { certificates, of_file, mut warnings } =
            if off { Authorities::default() } else { Authorities::read(trust)? };
        let roots = match trust.check {
            Check::Off | Check::Pinned => Roots::None,
            Check::Chain | Check::ChainAndPinned => Roots::of(&certificates, trust, peer, provider, &mut warnings)?,
        };
        let pinned = matches!(trust.check, Check::Pinned | Check::ChainAndPinned);
        let listed_keys: Vec<(String, Digest)> =
            if pinned { certificates.iter().filter_map(subject_and_key).collect() } else { Vec::new() };
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
            of_file,
            listed_keys,
            pins: trust.pins.clone(),
            wanted: Wanted::of(trust),
            revoked: if off { None } else { Lists::read(trust, &mut warnings)? },
            old_leaves: trust.old_leaves,
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
        let shown = Shown { der: leaf, cert: &cert, chain, expected, now };
        self.examine(&shown, pin).map_err(|reason| Refusal {
            reason,
            subject: one_line(cert.subject()),
            // what is pinned already needs no hint to pin it
            pin: (!self.pins.contains(&pin)).then_some(pin),
        })
    }

    /// What signatures of the handshake may be made with.
    pub(super) fn algorithms(&self) -> &WebPkiSupportedAlgorithms {
        &self.algorithms
    }

    /// The subjects of the anchors in `CAfile`, for the list that a server sends with its request for a certificate
    /// (RFC 8446, 4.2.4); none where they would not fit into it.
    pub(super) fn hints(&self) -> Vec<DistinguishedName> {
        let Roots::Given(_) = self.roots else { return Vec::new() };
        let of_file = self.listed.iter().take(self.of_file);
        let subjects = of_file.filter_map(|der| webpki::anchor_from_trusted_cert(der).ok().map(|one| one.to_owned()));
        let hints: Vec<_> = subjects.map(|one| DistinguishedName::in_sequence(one.subject.as_ref())).collect();
        let bytes: usize = hints.iter().map(|name| name.as_ref().len() + 2).sum();
        if bytes > LONGEST_HINTS { Vec::new() } else { hints }
    }

    fn examine(&self, shown: &Shown<'_>, key: Digest) -> Result<(), Reason> {
        if matches!(self.check, Check::Chain | Check::ChainAndPinned) {
            in_its_time(shown)?;
            if self.lists(shown) {
                self.alone(shown)?;
            } else {
                self.chain(shown)?;
            }
        }
        if matches!(self.check, Check::Pinned | Check::ChainAndPinned) {
            self.pinned(shown, key)?;
        }
        if self.check == Check::Pinned {
            self.not_revoked(shown, self.key_of_issuer(shown).as_deref())?;
        }
        let wanted = self.wanted.check(shown.cert, shown.expected);
        wanted.map_err(|wanted| Reason::OtherName { wanted, names: names::names_of(shown.cert) })
    }

    fn lists(&self, shown: &Shown<'_>) -> bool {
        self.listed.iter().any(|listed| listed == shown.der)
    }

    /// A listed leaf, which needs nobody's signature.
    fn alone(&self, shown: &Shown<'_>) -> Result<(), Reason> {
        if !suits(shown.cert, self.peer) {
            return Err(Reason::OtherPurpose);
        }
        self.not_revoked(shown, self.key_of_issuer(shown).as_deref())
    }

    fn pinned(&self, shown: &Shown<'_>, key: Digest) -> Result<(), Reason> {
        if self.pins.contains(&key) {
            return Ok(());
        }
        if !self.listed_keys.iter().any(|(_, listed)| *listed == key) {
            return Err(Reason::OtherKey);
        }
        let subject = names::canonical(shown.cert.subject());
        if !self.listed_keys.iter().any(|(name, listed)| *listed == key && *name == subject) {
            return Err(Reason::OtherSubject);
        }
        in_its_time(shown)?;
        if !suits(shown.cert, self.peer) {
            return Err(Reason::OtherPurpose);
        }
        // without an issuer above it, a renewed one is vouched for by nobody: OpenSSL wants this very certificate
        if is_self_signed(shown.cert) && !self.lists(shown) { Err(Reason::SelfSigned) } else { Ok(()) }
    }

    fn chain(&self, shown: &Shown<'_>) -> Result<(), Reason> {
        match &self.roots {
            Roots::None => Ok(()),
            Roots::Given(_) if self.old_leaves && is_old_leaf(shown.cert) => self.old_leaf(shown),
            Roots::Given(anchors) => self.given_chain(anchors, shown),
            Roots::System(verifier) => {
                // it insists on a name, so it gets one that the certificate bears; ours is checked afterwards
                let own = names::own_name(shown.cert);
                let Some(name) = own.as_ref().or(shown.expected) else {
                    let names = names::names_of(shown.cert);
                    return Err(Reason::OtherName { wanted: String::new(), names });
                };
                if let Err(error) = verifier.verify_server_cert(shown.der, shown.chain, name, &[], shown.now) {
                    system_reason(&error, shown.cert, shown.chain)?;
                }
                self.not_revoked(shown, self.key_of_issuer(shown).as_deref())
            }
        }
    }

    fn given_chain(&self, anchors: &Anchors, shown: &Shown<'_>) -> Result<(), Reason> {
        let usage = if self.peer == Peer::Server { KeyUsage::server_auth() } else { KeyUsage::client_auth() };
        let refused = RefCell::new(None);
        let judge_path = |path: &VerifiedPath<'_>| {
            self.path(path, anchors, shown).map_err(|reason| {
                *refused.borrow_mut() = Some(reason);
                webpki::Error::UnknownIssuer // another path may do
            })
        };
        let outcome = EndEntityCert::try_from(shown.der).and_then(|end| {
            let (algorithms, anchors) = (self.algorithms.all, &anchors.anchors);
            end.verify_for_usage(algorithms, anchors, shown.chain, shown.now, usage, None, Some(&judge_path)).map(drop)
        });
        outcome.map_err(|error| refused.take().unwrap_or_else(|| reason_of(&error, shown.cert, shown.chain)))
    }

    /// What OpenSSL demands of a path that webpki has found.
    fn path(&self, path: &VerifiedPath<'_>, anchors: &Anchors, shown: &Shown<'_>) -> Result<(), Reason> {
        if !suits(shown.cert, self.peer) {
            return Err(Reason::OtherPurpose);
        }
        for between in path.intermediate_certificates() {
            let may_sign = X509Certificate::from_der(&between.der()).is_ok_and(|(_, cert)| is_authority(&cert));
            if !may_sign {
                return Err(Reason::NoAuthority);
            }
        }
        let (end, now) = (path.anchor(), seconds(shown.now));
        let same = |one: &TrustAnchor<'_>| {
            one.subject == end.subject && one.subject_public_key_info == end.subject_public_key_info
        };
        let mut all = anchors.anchors.iter().zip(&anchors.valid);
        if !all.any(|(one, (from, until))| same(one) && (*from..=*until).contains(&now)) {
            return Err(Reason::RootOutOfDate);
        }
        self.not_revoked(shown, Some(&path.issuer_spki()))
    }

    /// What webpki reads as nobody's own certificate, signed by a listed authority itself. That is how self-made
    /// authorities issued for years: `openssl x509 -req` without extensions writes version 1.
    fn old_leaf(&self, shown: &Shown<'_>) -> Result<(), Reason> {
        if is_self_signed(shown.cert) {
            return Err(Reason::SelfSigned); // and not listed, or it would not be here
        }
        let plain = if is_old_version(shown.cert) { Reason::OldVersion } else { Reason::Authority };
        let Some(signed) = Signed::parse(shown.der) else { return Err(plain) };
        let now = seconds(shown.now);
        for der in &self.listed {
            let Ok((_, issuer)) = X509Certificate::from_der(der) else { continue };
            let names_it = issuer.subject().as_raw() == shown.cert.issuer().as_raw() && is_authority(&issuer);
            let plain_authority = issuer.name_constraints().is_ok_and(|limits| limits.is_none());
            let key = issuer.public_key().raw;
            if !names_it || !plain_authority || !signed.is_by(key, &self.algorithms) {
                continue;
            }
            if !(issuer.validity().not_before.timestamp()..=issuer.validity().not_after.timestamp()).contains(&now) {
                return Err(Reason::RootOutOfDate);
            }
            let suits = suits(shown.cert, self.peer) && !shown.cert.extensions().iter().any(is_unknown);
            return if suits { self.not_revoked(shown, Some(key)) } else { Err(Reason::OtherPurpose) };
        }
        Err(plain)
    }

    fn not_revoked(&self, shown: &Shown<'_>, issuer: Option<&[u8]>) -> Result<(), Reason> {
        let Some(lists) = &self.revoked else { return Ok(()) };
        lists.check(shown.cert, issuer, seconds(shown.now), &self.algorithms)
    }

    /// The key of the certificate that issued a leaf which no chain was looked for: a listed one, else one that came
    /// with the leaf. It has to have signed the leaf.
    fn key_of_issuer(&self, shown: &Shown<'_>) -> Option<Vec<u8>> {
        let signed = Signed::parse(shown.der).filter(|_| self.revoked.is_some())?;
        self.listed.iter().map(AsRef::as_ref).chain(shown.chain.iter().map(AsRef::as_ref)).find_map(|der: &[u8]| {
            let (_, issuer) = X509Certificate::from_der(der).ok()?;
            let key = issuer.public_key().raw;
            let is_it = issuer.subject().as_raw() == shown.cert.issuer().as_raw();
            (is_it && signed.is_by(key, &self.algorithms)).then(|| key.to_vec())
        })
    }
}

impl Roots {
    fn of(
        certificates: &[CertificateDer<'static>],
        trust: &Trust,
        peer: Peer,
        provider: &Arc<CryptoProvider>,
        warnings: &mut Vec<Text>,
    ) -> Result<Self, Fault> {
        let system = trust.ca_store == Some(Store::System) && peer == Peer::Server;
        if certificates.is_empty() && peer == Peer::Client {
            return Err(no_client_authority());
        }
        if certificates.is_empty() || system {
            return system_roots(certificates, provider).map(Self::System);
        }
        let mut anchors = Anchors::default();
        let mut lost = 0;
        for der in certificates {
            let Ok((_, cert)) = X509Certificate::from_der(der) else { continue };
            match webpki::anchor_from_trusted_cert(der).ok().filter(|_| is_authority(&cert)) {
                Some(anchor) => {
                    anchors.anchors.push(anchor.to_owned());
                    anchors.valid.push((cert.validity().not_before.timestamp(), cert.validity().not_after.timestamp()));
                }
                // what signed itself was listed as itself
                None => lost += usize::from(!is_self_signed(&cert)),
            }
        }
        if lost > 0 {
            warnings.push(text!(
                "{lost} certificate(s) of CAfile or CApath cannot serve as a CA and count only as themselves",
                "{lost} certificat(s) de CAfile ou CApath ne peuvent servir d'autorité et ne valent que pour eux-mêmes"
            ));
        }
        Ok(Self::Given(anchors))
    }
}

fn system_roots(
    more: &[CertificateDer<'static>],
    provider: &Arc<CryptoProvider>,
) -> Result<rustls_platform_verifier::Verifier, Fault> {
    use rustls_platform_verifier::Verifier;
    // on Windows the second constructor does something else even when there is nothing more
    let verifier = match more {
        [] => Verifier::new(provider.clone()),
        _ => Verifier::new_with_extra_roots(more.iter().cloned(), provider.clone()),
    };
    verifier.map_err(|_| no_roots())
}

fn subject_and_key(cert: &CertificateDer<'static>) -> Option<(String, Digest)> {
    let (_, cert) = X509Certificate::from_der(cert).ok()?;
    Some((names::canonical(cert.subject()), Digest::of(cert.public_key().raw)))
}

fn in_its_time(shown: &Shown<'_>) -> Result<(), Reason> {
    let validity = shown.cert.validity();
    let (now, from, until) = (seconds(shown.now), validity.not_before.timestamp(), validity.not_after.timestamp());
    if now < from {
        return Err(Reason::NotYetValid { from: date(from) });
    }
    if now > until { Err(Reason::Expired { on: date(until) }) } else { Ok(()) }
}

fn seconds(now: UnixTime) -> i64 {
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}

pub(super) fn date(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds)
        .map_or_else(|_| seconds.to_string(), |time| time.strftime("%Y-%m-%d %H:%M UTC").to_string())
}

/// Version 1 or 2, which webpki refuses to read.
pub(super) fn is_old_version(cert: &X509Certificate<'_>) -> bool {
    cert.version() != X509Version::V3
}

pub(super) fn is_self_signed(cert: &X509Certificate<'_>) -> bool {
    cert.subject().as_raw() == cert.issuer().as_raw()
}

fn is_old_leaf(cert: &X509Certificate<'_>) -> bool {
    is_old_version(cert) || cert.basic_constraints().is_ok_and(|found| found.is_some_and(|one| one.value.ca))
}

/// Whether it may sign certificates (RFC 5280, 4.2.1.3 and 4.2.1.9); a root of version 1 may.
fn is_authority(cert: &X509Certificate<'_>) -> bool {
    if is_old_version(cert) {
        return is_self_signed(cert);
    }
    let (Ok(constraints), Ok(usage)) = (cert.basic_constraints(), cert.key_usage()) else { return false };
    let may_sign = usage.as_ref().is_none_or(|usage| usage.value.key_cert_sign());
    match constraints {
        Some(constraints) => constraints.value.ca && may_sign,
        None => usage.is_some() && may_sign,
    }
}

/// Whether it is meant for this end of TLS, where it says what it is meant for (RFC 5280, 4.2.1.3 and 4.2.1.12).
fn suits(cert: &X509Certificate<'_>, peer: Peer) -> bool {
    let (Ok(usage), Ok(purpose)) = (cert.key_usage(), cert.extended_key_usage()) else { return false };
    let usage = usage.is_none_or(|usage| {
        let usage = usage.value;
        usage.digital_signature() || usage.key_agreement() || (peer == Peer::Server && usage.key_encipherment())
    });
    let purpose = purpose.is_none_or(|purpose| {
        let purpose = purpose.value;
        // OpenSSL does not take "any" for one of them
        if peer == Peer::Server { purpose.server_auth } else { purpose.client_auth }
    });
    usage && purpose
}

/// A critical extension that nobody here understands (RFC 5280, 4.2).
fn is_unknown(extension: &x509_parser::prelude::X509Extension<'_>) -> bool {
    extension.critical && extension.parsed_extension().unsupported()
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
/// Room for the names of CAs in a request for a certificate (RFC 8446, 4.2.4), with some left for other extensions.
const LONGEST_HINTS: usize = 60_000;

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
