//! A throw-away certificate authority for tests: every kind of certificate that a tunnel meets, as PEM files.
//!
//! Not part of the program, and nothing of it is committed: keys are made for each test in its own folder and vanish
//! with it. Also included by the unit tests of `src/tls`, so it stands on rcgen and the standard library alone.

#![allow(dead_code)] // each test target uses a part

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber, SigningKey as _, date_time_ymd,
};

/// A CA in a folder.
pub(crate) struct TestCa {
    /// Its own certificate, PEM.
    pub(crate) cert: PathBuf,
    /// Its common name.
    pub(crate) name: String,
    dir: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    made: AtomicUsize,
}

/// A certificate with its key, each a PEM file.
pub(crate) struct Pair {
    /// The certificate.
    pub(crate) cert: PathBuf,
    /// Its key.
    pub(crate) key: PathBuf,
}

impl TestCa {
    /// Makes a new CA with a name of its own, its files in `dir`.
    pub(crate) fn new(dir: &Path) -> Self {
        let number = fresh();
        Self::make(dir, number, &format!("pertuis test CA {number}"))
    }

    /// Another CA that bears this one's name: only signatures tell them apart.
    pub(crate) fn impostor(&self) -> Self {
        Self::make(&self.dir, fresh(), &self.name)
    }

    /// The CA that [`TestCa::new`] made in another process; its new files go to `dir`.
    pub(crate) fn load(dir: &Path, cert: &Path) -> Self {
        let read = |extension| std::fs::read_to_string(cert.with_extension(extension)).unwrap();
        let (key, name) = (KeyPair::from_pem(&read("key")).unwrap(), read("name"));
        let issuer = Issuer::new(ca_params(&name), key);
        Self { cert: cert.to_owned(), name, dir: dir.to_owned(), issuer, made: AtomicUsize::new(0) }
    }

    fn make(dir: &Path, number: usize, name: &str) -> Self {
        let (key, params) = (KeyPair::generate().unwrap(), ca_params(name));
        let cert = dir.join(format!("ca-{number}.pem"));
        std::fs::write(&cert, params.self_signed(&key).unwrap().pem()).unwrap();
        std::fs::write(cert.with_extension("key"), key.serialize_pem()).unwrap();
        std::fs::write(cert.with_extension("name"), name).unwrap();
        let issuer = Issuer::new(params, key);
        Self { cert, name: name.to_owned(), dir: dir.to_owned(), issuer, made: AtomicUsize::new(0) }
    }

    /// A valid certificate for a host name or an IP address.
    pub(crate) fn good(&self, host: &str) -> Pair {
        self.issue(&host_params(host))
    }

    /// One whose time ended in 2021.
    pub(crate) fn expired(&self, host: &str) -> Pair {
        let mut params = host_params(host);
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
        self.issue(&params)
    }

    /// One whose time begins in 2090.
    pub(crate) fn future(&self, host: &str) -> Pair {
        let mut params = host_params(host);
        params.not_before = date_time_ymd(2090, 1, 1);
        params.not_after = date_time_ymd(2091, 1, 1);
        self.issue(&params)
    }

    /// One that names its host only in the common name.
    pub(crate) fn common_name_only(&self, host: &str) -> Pair {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = common_name(host);
        self.issue(&params)
    }

    /// One that this CA signed although it is a CA's own (`CA:TRUE`).
    pub(crate) fn authority(&self, host: &str) -> Pair {
        let mut params = host_params(host);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        self.issue(&params)
    }

    /// A revocation list of this CA with the certificates of `pairs` on it, valid from `from` to `until` (years), PEM.
    pub(crate) fn list(&self, pairs: &[&Pair], from: i32, until: i32) -> PathBuf {
        let revoked = pairs.iter().map(|pair| RevokedCertParams {
            serial_number: SerialNumber::from(serial_of(&std::fs::read_to_string(&pair.cert).unwrap())),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(from, 1, 1),
            next_update: date_time_ymd(until, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let path = self.dir.join(format!("list-{}.pem", fresh()));
        std::fs::write(&path, params.signed_by(&self.issuer).unwrap().pem().unwrap()).unwrap();
        path
    }

    /// A valid one for these parameters.
    pub(crate) fn issue(&self, params: &CertificateParams) -> Pair {
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        self.write(&cert.pem(), &key)
    }

    /// A new certificate for the key of `pair`, as a renewal makes it.
    pub(crate) fn renewed(&self, pair: &Pair, host: &str) -> Pair {
        let key = KeyPair::from_pem(&std::fs::read_to_string(&pair.key).unwrap()).unwrap();
        let cert = host_params(host).signed_by(&key, &self.issuer).unwrap();
        self.write(&cert.pem(), &key)
    }

    /// A self-signed `CA:TRUE` certificate, as `openssl req -x509` makes it.
    pub(crate) fn self_signed(&self, host: &str) -> Pair {
        let key = KeyPair::generate().unwrap();
        let mut params = host_params(host);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let cert = params.self_signed(&key).unwrap();
        self.write(&cert.pem(), &key)
    }

    /// A self-signed certificate of X.509 version 1: only a common name, no extensions.
    pub(crate) fn version_1(&self, host: &str) -> Pair {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = common_name(host);
        let modern = params.self_signed(&key).unwrap();
        let der = downgrade(modern.der(), &key);
        let body = base64_lines(&der);
        self.write(&format!("-----BEGIN CERTIFICATE-----\n{body}-----END CERTIFICATE-----\n"), &key)
    }

    fn write(&self, cert: &str, key: &KeyPair) -> Pair {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let stem = self.cert.file_stem().unwrap().to_str().unwrap();
        let pair = Pair {
            cert: self.dir.join(format!("{stem}-{number}.crt.pem")),
            key: self.dir.join(format!("{stem}-{number}.key.pem")),
        };
        std::fs::write(&pair.cert, cert).unwrap();
        std::fs::write(&pair.key, key.serialize_pem()).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::set_permissions(&pair.key, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        pair
    }
}

fn ca_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = common_name(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// Parameters for a host name (wildcards too), an IP address or, with an `@`, a mail address.
pub(crate) fn host_params(host: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = common_name(host);
    params.subject_alt_names = vec![match host.parse::<IpAddr>() {
        Ok(address) => SanType::IpAddress(address),
        Err(_) if host.contains('@') => SanType::Rfc822Name(host.try_into().unwrap()),
        Err(_) => SanType::DnsName(host.try_into().unwrap()),
    }];
    params
}

fn common_name(name: &str) -> DistinguishedName {
    let mut dn = DistinguishedName::new();
    dn.push(DnType::CommonName, name);
    dn
}

fn fresh() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The serial number of a certificate in PEM.
fn serial_of(pem: &str) -> Vec<u8> {
    use base64::Engine as _;
    let lines: String = pem.lines().skip(1).take_while(|line| !line.starts_with('-')).collect();
    let der = base64::engine::general_purpose::STANDARD.decode(lines).unwrap();
    let body = elements(elements(elements(&der)[0].1)[0].1);
    body.iter().find(|(whole, _)| whole[0] == 0x02).unwrap().1.to_vec()
}

/// Takes `[0] version` and `[3] extensions` (RFC 5280, 4.1) out of a certificate and signs the rest again.
fn downgrade(der: &[u8], key: &KeyPair) -> Vec<u8> {
    let certificate = elements(elements(der)[0].1);
    let kept: Vec<u8> = elements(certificate[0].1)
        .into_iter()
        .filter(|(whole, _)| whole[0] != 0xA0 && whole[0] != 0xA3)
        .flat_map(|(whole, _)| whole.to_vec())
        .collect();
    let body = encode(0x30, &kept);
    let mut signature = vec![0];
    signature.extend(key.sign(&body).unwrap());
    let parts = [body, certificate[1].0.to_vec(), encode(0x03, &signature)].concat();
    encode(0x30, &parts)
}

/// The DER elements of `bytes`, each as (whole, content).
fn elements(mut bytes: &[u8]) -> Vec<(&[u8], &[u8])> {
    let mut found = Vec::new();
    while bytes.len() > 1 {
        let (header, length) = match bytes[1] {
            short if short < 0x80 => (2, usize::from(short)),
            long => {
                let count = usize::from(long & 0x7F);
                (2 + count, bytes[2..2 + count].iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
            }
        };
        let (whole, rest) = bytes.split_at(header + length);
        found.push((whole, &whole[header..]));
        bytes = rest;
    }
    found
}

fn encode(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut out = match u8::try_from(length) {
        Ok(short) if short < 0x80 => vec![tag, short],
        _ => vec![tag, 0x82, u8::try_from(length >> 8).unwrap(), u8::try_from(length & 0xFF).unwrap()],
    };
    out.extend(content);
    out
}

fn base64_lines(bytes: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(bytes);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    lines.join("\n") + "\n"
}
