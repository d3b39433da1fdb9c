//! Revocation lists (`CRLfile`, `CRLpath`), judged as OpenSSL does with `X509_V_FLAG_CRL_CHECK`, which stunnel sets.
//!
//! The peer's own certificate alone is looked up, not those above it. Once lists are asked for, a certificate whose
//! issuer has no current list is refused: silence is no proof. Not webpki's lists: those know no lists of version 1,
//! which `openssl ca -gencrl` writes unless told otherwise. Lists are read when a tunnel is prepared and at a reload;
//! OpenSSL would look into a `CRLpath` at each handshake.

use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls_pki_types::CertificateRevocationListDer;
use rustls_pki_types::pem::PemObject as _;
use x509_parser::extensions::{DistributionPointName, GeneralName, IssuingDistributionPoint};
use x509_parser::prelude::{
    CertificateRevocationList, FromDer as _, ParsedExtension, RevokedCertificate, X509Certificate,
};

use super::files;
use super::oneline::one_line;
use super::refusal::Reason;
use super::signature::Signed;
use super::verify::date;
use crate::config::Trust;
use crate::model::{Digest, Fault};
use crate::text;
use crate::text::Text;

/// All lists that a tunnel goes by.
#[derive(Debug, Default)]
pub(super) struct Lists(Vec<List>);

/// One list.
struct List {
    der: Vec<u8>,
    /// Its issuer's name in DER.
    issuer: Vec<u8>,
    from: i64,
    until: Option<i64>,
    /// Serial numbers without leading zeros.
    revoked: HashSet<Vec<u8>>,
    scope: Scope,
    /// Keys whose signature was looked for already, by digest, and whether it was theirs: a list may be long.
    proven: Mutex<Vec<(Digest, bool)>>,
}

/// What a list speaks of (RFC 5280, 5.2.5).
enum Scope {
    /// Every certificate of its issuer.
    All,
    /// Certificates that name one of these distribution points.
    Points(Vec<String>),
    /// CA certificates or attribute certificates alone: none that is looked up here.
    Others,
}

impl Lists {
    /// Reads what `trust` names; `None` where it names nothing. With lists at all, those named `HASH.rN` in `CApath`
    /// count too, as in OpenSSL.
    ///
    /// # Errors
    /// A file or directory cannot be read, a file holds no list or one that cannot be used (code `config`).
    pub(super) fn read(trust: &Trust, warnings: &mut Vec<Text>) -> Result<Option<Self>, Fault> {
        if trust.crl_file.is_none() && trust.crl_path.is_none() {
            return Ok(None);
        }
        let mut lists = Self::default();
        if let Some(file) = &trust.crl_file {
            lists.add(file)?;
        }
        if let Some(directory) = &trust.crl_path {
            lists.add_directory(directory, warnings)?;
        }
        let beside = trust.ca_path.as_deref().map(files::of_directory).transpose()?.unwrap_or_default();
        for path in beside.iter().filter(|path| files::is_hash_name(path, "r")) {
            lists.add_if_it_is_one(path, warnings);
        }
        if lists.0.is_empty() {
            warnings.push(none_at_all());
        }
        Ok(Some(lists))
    }

    /// Whether `cert`, whose issuer has the key `issuer` (a `SubjectPublicKeyInfo`, or `None` where no certificate of
    /// that issuer is at hand), is on no list.
    ///
    /// # Errors
    /// It is, or its issuer has no current list that its key signed.
    pub(super) fn check(
        &self,
        cert: &X509Certificate<'_>,
        issuer: Option<&[u8]>,
        now: i64,
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> Result<(), Reason> {
        let theirs: Vec<&List> =
            self.0.iter().filter(|list| list.issuer == cert.issuer().as_raw() && list.covers(cert)).collect();
        let issuer_name = || one_line(cert.issuer());
        if theirs.is_empty() {
            return Err(Reason::NoRevocationList { issuer: issuer_name() });
        }
        let signed = theirs.into_iter().filter(|list| issuer.is_some_and(|key| list.is_by(key, algorithms)));
        // of several the newest of those that hold now
        let best = signed.max_by_key(|list| (list.is_current(now), list.from));
        let Some(list) = best else { return Err(Reason::ForeignRevocationList { issuer: issuer_name() }) };
        if now < list.from {
            return Err(Reason::FutureRevocationList { from: date(list.from) });
        }
        if let Some(until) = list.until.filter(|until| *until < now) {
            return Err(Reason::OldRevocationList { on: date(until) });
        }
        if list.revoked.contains(significant(cert.raw_serial())) { Err(Reason::Revoked) } else { Ok(()) }
    }

    fn add(&mut self, file: &Path) -> Result<(), Fault> {
        let bytes = files::read(file)?;
        let found: Result<Vec<_>, _> = if files::is_der(&bytes) {
            Ok(vec![bytes.clone()])
        } else {
            CertificateRevocationListDer::pem_slice_iter(&bytes).map(|list| list.map(|list| list.to_vec())).collect()
        };
        let lists = found.map_err(|error| unusable(file, &error.to_string()))?;
        if lists.is_empty() {
            return Err(no_list(file));
        }
        for der in lists {
            self.0.push(List::parse(der).map_err(|why| unusable(file, &why))?);
        }
        Ok(())
    }

    fn add_directory(&mut self, directory: &Path, warnings: &mut Vec<Text>) -> Result<(), Fault> {
        let all = files::of_directory(directory)?;
        let hashed: Vec<&PathBuf> = all.iter().filter(|path| files::is_hash_name(path, "r")).collect();
        let before = self.0.len();
        for path in if hashed.is_empty() { all.iter().collect() } else { hashed.clone() } {
            self.add_if_it_is_one(path, warnings);
        }
        if hashed.is_empty() && self.0.len() > before {
            let name = directory.display();
            warnings.push(text!(
                "{name} has no files named HASH.rN: every revocation list in it counts (OpenSSL would see none)",
                "{name} n'a pas de fichiers nommés HASH.rN : toute liste de révocation y est prise en compte (OpenSSL \
                 n'en verrait aucune)"
            ));
        }
        Ok(())
    }

    /// A directory holds other things too; a list that cannot be used is told.
    fn add_if_it_is_one(&mut self, path: &Path, warnings: &mut Vec<Text>) {
        let is_list = |bytes: &Vec<u8>| files::is_der(bytes) || memchr::memmem::find(bytes, b"X509 CRL").is_some();
        if files::read(path).is_ok_and(|bytes| is_list(&bytes))
            && let Err(fault) = self.add(path)
        {
            warnings.push(fault.text);
        }
    }
}

impl List {
    fn parse(der: Vec<u8>) -> Result<Self, String> {
        let (_, list) = CertificateRevocationList::from_der(&der).map_err(|error| format!("{error}"))?;
        let entries = list.iter_revoked_certificates();
        if entries.flat_map(RevokedCertificate::extensions).any(|extension| extension.critical && !is_known(extension))
        {
            return Err(INDIRECT.to_owned());
        }
        let scope = scope_of(&list)?;
        let revoked = list.iter_revoked_certificates().map(|entry| significant(entry.raw_serial()).to_vec()).collect();
        let issuer = list.issuer().as_raw().to_vec();
        let (from, until) = (list.last_update().timestamp(), list.next_update().map(|time| time.timestamp()));
        Ok(Self { issuer, from, until, revoked, scope, proven: Mutex::default(), der })
    }

    fn is_current(&self, now: i64) -> bool {
        self.from <= now && self.until.is_none_or(|until| now <= until)
    }

    fn covers(&self, cert: &X509Certificate<'_>) -> bool {
        match &self.scope {
            Scope::All => true,
            Scope::Others => false,
            Scope::Points(points) => points_of(cert).iter().any(|point| points.contains(point)),
        }
    }

    fn is_by(&self, key: &[u8], algorithms: &WebPkiSupportedAlgorithms) -> bool {
        let digest = Digest::of(key);
        let known = |proven: &[(Digest, bool)]| proven.iter().find(|(key, _)| *key == digest).map(|(_, by)| *by);
        let mut proven = self.proven.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = known(&proven) {
            return answer;
        }
        let answer = Signed::parse(&self.der).is_some_and(|signed| signed.is_by(key, algorithms));
        // an issuer has one key, or two while it changes: more of them are somebody's attempts
        if proven.len() < KEYS_REMEMBERED {
            proven.push((digest, answer));
        }
        answer
    }
}

impl fmt::Debug for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("List").field("from", &self.from).field("revoked", &self.revoked.len()).finish_non_exhaustive()
    }
}

fn scope_of(list: &CertificateRevocationList<'_>) -> Result<Scope, String> {
    if list.extensions().iter().any(|extension| extension.critical && !is_known(extension)) {
        return Err(INDIRECT.to_owned());
    }
    let point = list.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::IssuingDistributionPoint(point) => Some(point),
        _ => None,
    });
    point.map_or(Ok(Scope::All), scope_of_point)
}

fn scope_of_point(point: &IssuingDistributionPoint<'_>) -> Result<Scope, String> {
    if point.indirect_crl || point.only_some_reasons.is_some() {
        return Err(INDIRECT.to_owned());
    }
    if point.only_contains_ca_certs || point.only_contains_attribute_certs {
        return Ok(Scope::Others);
    }
    Ok(point.distribution_point.as_ref().map_or(Scope::All, |name| Scope::Points(names_of(name))))
}

/// Of the critical extensions those that are understood; a delta list's is not (RFC 5280, 5.2.4).
fn is_known(extension: &x509_parser::prelude::X509Extension<'_>) -> bool {
    matches!(
        extension.parsed_extension(),
        ParsedExtension::CRLNumber(_)
            | ParsedExtension::ReasonCode(_)
            | ParsedExtension::InvalidityDate(_)
            | ParsedExtension::AuthorityKeyIdentifier(_)
            | ParsedExtension::IssuingDistributionPoint(_)
    )
}

fn points_of(cert: &X509Certificate<'_>) -> Vec<String> {
    let points = cert.extensions().iter().filter_map(|extension| match extension.parsed_extension() {
        ParsedExtension::CRLDistributionPoints(points) => Some(points.iter()),
        _ => None,
    });
    points.flatten().filter_map(|point| point.distribution_point.as_ref()).flat_map(names_of).collect()
}

fn names_of(name: &DistributionPointName<'_>) -> Vec<String> {
    match name {
        DistributionPointName::FullName(names) => names.iter().map(GeneralName::to_string).collect(),
        DistributionPointName::NameRelativeToCRLIssuer(_) => Vec::new(),
    }
}

/// A serial number without leading zeros: some software writes one too many.
fn significant(serial: &[u8]) -> &[u8] {
    let zeros = serial.iter().take_while(|byte| **byte == 0).count();
    &serial[zeros..]
}

fn unusable(file: &Path, why: &str) -> Fault {
    let name = file.display();
    files::config(text!(
        "{name}: this revocation list cannot be used ({why}); fetch it again from its CA, whole and in PEM",
        "{name} : cette liste de révocation est inutilisable ({why}) ; récupérez-la auprès de son autorité, entière et \
         en PEM"
    ))
}

fn no_list(file: &Path) -> Fault {
    let name = file.display();
    files::config(text!(
        "{name} holds no revocation list: expected a block that starts with -----BEGIN X509 CRL-----",
        "{name} ne contient aucune liste de révocation : un bloc commençant par -----BEGIN X509 CRL----- est attendu"
    ))
}

fn none_at_all() -> Text {
    text!(
        "CRLpath holds no revocation list: every certificate is refused until one is there and the configuration is \
         read again",
        "CRLpath ne contient aucune liste de révocation : tout certificat est refusé tant qu'il n'y en a pas et que la \
         configuration n'est pas relue"
    )
}

/// Why a list with an unknown critical extension cannot be used.
const INDIRECT: &str = "indirect, partial or delta list";
/// Keys whose signature of a list is remembered.
const KEYS_REMEMBERED: usize = 16;

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use proptest::prelude::*;

    use super::super::ca::TestCa;
    use super::*;

    /// A list and its issuer's key.
    fn made() -> &'static (Vec<u8>, Vec<u8>) {
        static MADE: OnceLock<(Vec<u8>, Vec<u8>)> = OnceLock::new();
        MADE.get_or_init(|| {
            let dir = tempfile::tempdir().unwrap();
            let ca = TestCa::new(dir.path());
            let path = ca.list(&[&ca.good("a.test")], 2024, 2090);
            let issuer = super::super::material::certificates(&ca.cert).unwrap().remove(0);
            let key = X509Certificate::from_der(&issuer).unwrap().1.public_key().raw.to_vec();
            (CertificateRevocationListDer::from_pem_file(path).unwrap().to_vec(), key)
        })
    }

    #[test]
    fn what_holds_no_list_is_told_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let (ca, mut warnings) = (TestCa::new(dir.path()), Vec::new());
        let of = |file: &Path| Trust { crl_file: Some(file.to_owned()), ..Trust::default() };
        let fault = Lists::read(&of(&ca.cert), &mut warnings).unwrap_err();
        assert!(fault.text.en.contains("BEGIN X509 CRL") && fault.text.en.contains(&ca.cert.display().to_string()));
        let der = dir.path().join("list.crl");
        std::fs::write(&der, &made().0).unwrap();
        assert_eq!(Lists::read(&of(&der), &mut warnings).unwrap().unwrap().0.len(), 1);
        std::fs::write(&der, &made().0[..100]).unwrap();
        assert!(Lists::read(&of(&der), &mut warnings).unwrap_err().text.en.contains("cannot be used"));
        assert!(warnings.is_empty());
        let folder = Trust { crl_path: Some(dir.path().to_owned()), ..Trust::default() };
        assert!(Lists::read(&folder, &mut warnings).unwrap().unwrap().0.is_empty());
        assert_eq!(warnings.len(), 2, "{warnings:?}");
    }

    #[test]
    fn serial_numbers_are_the_same_with_a_zero_too_many() {
        assert_eq!(significant(&[0, 0, 1, 0]), [1, 0]);
        assert_eq!(significant(&[0]), Vec::<u8>::new());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Signed::parse(&bytes);
            let _ = List::parse(bytes);
        }

        #[test]
        fn a_list_that_was_changed_on_its_way_is_never_its_issuers(at in any::<prop::sample::Index>(), bit in 0..8_u8) {
            let (list, key) = made();
            let algorithms = super::super::provider().signature_verification_algorithms;
            prop_assert!(Signed::parse(list).unwrap().is_by(key, &algorithms));
            let mut bytes = list.clone();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(!Signed::parse(&bytes).is_some_and(|signed| signed.is_by(key, &algorithms)));
            let _ = List::parse(bytes);
        }
    }
}
