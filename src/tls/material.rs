//! Certificates and keys from PEM files.
//!
//! Not a store: files are read when a tunnel or a launcher is prepared, and again at a reload. Every error names the
//! file and the remedy, since a wrong file here is the most common reason why a tunnel does not start. A file may
//! hold anything else besides (stunnel users keep chain and key in one).

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer as _, SubjectPublicKeyInfo, X509Certificate};

use crate::model::{Code, Fault};
use crate::text;
use crate::text::Text;

/// What `CAfile` and `CApath` hold.
#[derive(Clone, Debug, Default)]
pub struct Authorities {
    /// Every certificate, in the order in which it was read.
    pub certificates: Vec<CertificateDer<'static>>,
    /// What is odd about the files but stops nothing.
    pub warnings: Vec<Text>,
}

/// The certificates of a PEM file, leaf first as they stand; at least one.
///
/// # Errors
/// The file cannot be read, holds no certificate, or holds a broken one (code `config`).
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let bytes = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let name = path.display();
    match found {
        Ok(list) if !list.is_empty() => Ok(list),
        Ok(_) => Err(no_certificate(path, &bytes)),
        Err(error) => Err(config(text!(
            "{name} is a broken PEM file ({error}); export the certificate again",
            "{name} est un fichier PEM abîmé ({error}) ; exportez de nouveau le certificat"
        ))),
    }
}

/// When a certificate ends, in seconds since 1970; `None` when it cannot be read.
pub fn expiry(certificate: &CertificateDer<'_>) -> Option<i64> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    Some(parsed.validity().not_after.timestamp())
}

/// The first private key of a PEM file (PKCS #8, PKCS #1 or SEC 1), not encrypted.
///
/// # Errors
/// The file cannot be read or holds no usable key (code `config`).
pub fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, Fault> {
    let bytes = read(path)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| no_key(path, &bytes, &error))
}

/// A chain with its key, checked to belong together. Version 1 certificates pass.
///
/// # Errors
/// As [`certificates`] and [`private_key`]; the key does not belong to the first certificate (code `config`).
pub fn certified_key(provider: &CryptoProvider, cert: &Path, key: &Path) -> Result<Arc<CertifiedKey>, Fault> {
    let chain = certificates(cert)?;
    let name = key.display();
    let signer = provider.key_provider.load_private_key(private_key(key)?).map_err(|error| {
        config(text!(
            "{name}: this private key cannot be used ({error}); RSA, ECDSA and Ed25519 keys can",
            "{name} : cette clé privée est inutilisable ({error}) ; les clés RSA, ECDSA et Ed25519 conviennent"
        ))
    })?;
    let certified = CertifiedKey::new(chain, signer);
    if !belongs_together(&certified) {
        let cert = cert.display();
        return Err(config(text!(
            "{name}: this private key does not belong to the first certificate of {cert}; \
             name the matching pair in `cert` and `key`, the server's own certificate first",
            "{name} : cette clé privée n'est pas celle du premier certificat de {cert} ; \
             indiquez la bonne paire dans `cert` et `key`, le certificat du serveur en premier"
        )));
    }
    Ok(Arc::new(certified))
}

/// What `CAfile` and `CApath` hold together.
///
/// Of a directory the files named `HASH.N` count, as for OpenSSL (`c_rehash`); where there is none, every PEM file
/// does.
///
/// # Errors
/// A file or directory cannot be read, or holds no certificate (code `config`).
pub fn authorities(file: Option<&Path>, directory: Option<&Path>) -> Result<Authorities, Fault> {
    let mut found = Authorities::default();
    if let Some(file) = file {
        found.certificates.extend(certificates(file)?);
    }
    if let Some(directory) = directory {
        add_directory(&mut found, directory)?;
    }
    Ok(found)
}

/// The warning for a key that every user of the machine can read; `None` where that is not so or not known.
#[cfg(unix)]
pub fn exposed_key(path: &Path) -> Option<Text> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = fs::metadata(path).ok()?.permissions().mode();
    let name = path.display();
    (mode & 0o007 != 0).then(|| {
        text!(
            "Insecure file permissions on {name}: every user of this machine can use this key; chmod 640 {name}",
            "Droits trop larges sur {name} : tout utilisateur de cette machine peut se servir de cette clé ; \
             chmod 640 {name}"
        )
    })
}

/// The warning for a key that every user of the machine can read; `None` where that is not so or not known.
#[cfg(not(unix))]
pub fn exposed_key(_path: &Path) -> Option<Text> {
    None
}

fn read(path: &Path) -> Result<Vec<u8>, Fault> {
    let bytes = fs::read(path).map_err(|error| {
        let name = path.display();
        let Text { en, fr } = Text::io(&error);
        config(text!(
            "cannot read {name}: {en}; check the path and who may read it",
            "impossible de lire {name} : {fr} ; vérifiez le chemin et les droits de lecture"
        ))
    })?;
    // Windows' Notepad puts a mark in front, behind which the first BEGIN line would go unseen
    Ok(bytes.strip_prefix(b"\xEF\xBB\xBF").map(<[u8]>::to_vec).unwrap_or(bytes))
}

fn add_directory(found: &mut Authorities, directory: &Path) -> Result<(), Fault> {
    let name = directory.display();
    let files = files_of(directory)?;
    let hashed: Vec<&PathBuf> = files.iter().filter(|path| is_hash_name(path)).collect();
    let chosen: Vec<&PathBuf> = if hashed.is_empty() { files.iter().collect() } else { hashed };
    let before = found.certificates.len();
    for path in &chosen {
        // a directory holds keys, READMEs and links to nowhere too: what has no certificate is passed over
        found.certificates.extend(certificates(path).unwrap_or_default());
    }
    if found.certificates.len() == before {
        return Err(config(text!(
            "{name} holds no certificate in PEM format; put the CA's .pem file there",
            "{name} ne contient aucun certificat au format PEM ; déposez-y le fichier .pem de l'autorité"
        )));
    }
    if !files.iter().any(|path| is_hash_name(path)) {
        found.warnings.push(text!(
            "{name} has no files named HASH.N: every PEM file in it is trusted (OpenSSL would see none)",
            "{name} n'a pas de fichiers nommés HASH.N : tout fichier PEM y est pris en compte \
             (OpenSSL n'en verrait aucun)"
        ));
    }
    Ok(())
}

fn files_of(directory: &Path) -> Result<Vec<PathBuf>, Fault> {
    let name = directory.display();
    let entries = fs::read_dir(directory).map_err(|error| {
        let Text { en, fr } = Text::io(&error);
        config(text!(
            "cannot read the directory {name}: {en}; check the path and who may read it",
            "impossible de lire le répertoire {name} : {fr} ; vérifiez le chemin et les droits de lecture"
        ))
    })?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    files.sort();
    Ok(files)
}

/// `c_rehash` names: eight hex digits, a dot, a number.
fn is_hash_name(path: &Path) -> bool {
    let Some((hash, number)) = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.split_once('.'))
    else {
        return false;
    };
    hash.len() == 8
        && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
        && !number.is_empty()
        && number.bytes().all(|byte| byte.is_ascii_digit())
}

fn no_certificate(path: &Path, bytes: &[u8]) -> Fault {
    let name = path.display();
    if bytes.first() == Some(&DER_SEQUENCE) {
        return config(text!(
            "{name} is binary (DER or PKCS #12), expected PEM text; convert it: \
             openssl x509 -inform der -in {name} -out {name}.pem, or openssl pkcs12 -nodes -in {name} -out {name}.pem",
            "{name} est binaire (DER ou PKCS #12), un texte PEM est attendu ; convertissez-le : \
             openssl x509 -inform der -in {name} -out {name}.pem, ou openssl pkcs12 -nodes -in {name} -out {name}.pem"
        ));
    }
    config(text!(
        "{name} holds no certificate: expected a block that starts with -----BEGIN CERTIFICATE-----",
        "{name} ne contient aucun certificat : un bloc commençant par -----BEGIN CERTIFICATE----- est attendu"
    ))
}

fn no_key(path: &Path, bytes: &[u8], error: &rustls_pki_types::pem::Error) -> Fault {
    let name = path.display();
    let head = String::from_utf8_lossy(bytes);
    if head.contains("BEGIN ENCRYPTED PRIVATE KEY") || head.contains("Proc-Type: 4,ENCRYPTED") {
        return config(text!(
            "{name}: the private key is protected by a pass phrase, which a service cannot type; \
             write it without one: openssl pkey -in {name} -out key.pem, then chmod 600 key.pem",
            "{name} : la clé privée est protégée par une phrase secrète, qu'un service ne peut pas saisir ; \
             écrivez-la sans elle : openssl pkey -in {name} -out key.pem, puis chmod 600 key.pem"
        ));
    }
    config(text!(
        "{name} holds no usable private key ({error}); name the file that has the \
         -----BEGIN PRIVATE KEY----- block in `key`",
        "{name} ne contient pas de clé privée utilisable ({error}) ; indiquez dans `key` le fichier qui porte \
         le bloc -----BEGIN PRIVATE KEY-----"
    ))
}

/// Compares the key bits alone: the algorithm's parameters are written in more than one way. A key whose public
/// half is not known is given the benefit of the doubt.
fn belongs_together(certified: &CertifiedKey) -> bool {
    let (Some(ours), Some(leaf)) = (certified.key.public_key(), certified.cert.first()) else {
        return true;
    };
    let (Ok((_, ours)), Ok((_, leaf))) = (SubjectPublicKeyInfo::from_der(&ours), X509Certificate::from_der(leaf))
    else {
        return false;
    };
    ours.subject_public_key.data == leaf.public_key().subject_public_key.data
}

fn config(text: Text) -> Fault {
    Fault::new(Code::Config, text)
}

/// First byte of every DER certificate and PKCS #12 file (X.690, 8.9).
const DER_SEQUENCE: u8 = 0x30;

#[cfg(test)]
mod tests {
    use super::super::ca::TestCa;
    use super::super::provider;
    use super::*;

    #[test]
    fn a_key_of_another_certificate_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let ca = TestCa::new(dir.path());
        let (one, two) = (ca.good("localhost"), ca.good("localhost"));
        assert!(certified_key(&provider(), &one.cert, &one.key).is_ok());
        let fault = certified_key(&provider(), &one.cert, &two.key).unwrap_err();
        assert!(fault.text.en.contains("does not belong"), "{fault}");
        assert!(fault.text.en.contains(&two.key.display().to_string()), "{fault}");
    }

    #[test]
    fn wrong_files_say_what_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let ca = TestCa::new(dir.path());
        let der = dir.path().join("x.der");
        fs::write(&der, certificates(&ca.cert).unwrap()[0].as_ref()).unwrap();
        assert!(certificates(&der).unwrap_err().text.en.contains("openssl x509 -inform der"));
        assert!(certificates(&dir.path().join("none")).unwrap_err().text.en.contains("cannot read"));
        let locked = dir.path().join("locked.pem");
        fs::write(&locked, "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n")
            .unwrap();
        assert!(private_key(&locked).unwrap_err().text.en.contains("pass phrase"));
        assert!(private_key(&ca.cert).unwrap_err().text.en.contains("no usable private key"));
    }

    #[test]
    fn hashed_names_count_alone_and_a_mark_in_front_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let ca = TestCa::new(dir.path());
        let path = dir.path().join("capath");
        fs::create_dir(&path).unwrap();
        let mut marked = b"\xEF\xBB\xBF".to_vec();
        marked.extend(fs::read(&ca.cert).unwrap());
        fs::write(path.join("any.pem"), marked).unwrap();
        let plain = authorities(None, Some(&path)).unwrap();
        assert_eq!((plain.certificates.len(), plain.warnings.len()), (1, 1));
        fs::copy(&ca.good("a").cert, path.join("0a1b2c3d.0")).unwrap();
        fs::copy(&ca.cert, path.join("0a1b2c3d.pem")).unwrap();
        let hashed = authorities(None, Some(&path)).unwrap();
        assert_eq!((hashed.certificates.len(), hashed.warnings.len()), (1, 0));
    }

    #[cfg(unix)]
    #[test]
    fn a_key_that_everybody_reads_is_told() {
        use std::os::unix::fs::PermissionsExt as _;
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o644)).unwrap();
        assert!(exposed_key(file.path()).is_some());
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o640)).unwrap();
        assert!(exposed_key(file.path()).is_none());
    }
}
