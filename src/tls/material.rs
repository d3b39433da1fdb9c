//! Certificates and keys from files, in PEM or DER.
//!
//! Not a store: files are read when a tunnel or a launcher is prepared, and again at a reload. Every error names the
//! file and the remedy, since a wrong file here is the most common reason why a tunnel does not start. A file may
//! hold anything else besides, in any order (stunnel users keep chain and key in one). PKCS #12 is not read: its
//! password has no place in a service, and its old ciphers would be a second cryptography; the error says how to
//! convert it.

#[cfg(unix)]
use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer as _, SubjectPublicKeyInfo, X509Certificate};

use super::files;
use crate::model::Fault;
use crate::text;
use crate::text::Text;

/// The certificates of a file, leaf first as they stand; at least one.
///
/// # Errors
/// The file cannot be read, holds no certificate, or holds a broken one (code `config`).
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let bytes = files::read(path)?;
    if files::is_der(&bytes) {
        let whole = matches!(X509Certificate::from_der(&bytes), Ok((rest, _)) if rest.is_empty());
        return if whole { Ok(vec![CertificateDer::from(bytes)]) } else { Err(no_binary_certificate(path)) };
    }
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let name = path.display();
    match found {
        Ok(list) if !list.is_empty() => Ok(list),
        Ok(_) => Err(no_certificate(path)),
        Err(error) => Err(files::config(text!(
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

/// Whom a certificate is for (`CN=localhost`); `?` when it cannot be read.
pub fn subject(certificate: &CertificateDer<'_>) -> String {
    X509Certificate::from_der(certificate).map_or_else(|_| "?".to_owned(), |(_, parsed)| parsed.subject().to_string())
}

/// The first private key of a file (PKCS #8, PKCS #1 or SEC 1), not encrypted.
///
/// # Errors
/// The file cannot be read or holds no usable key (code `config`).
pub fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, Fault> {
    let bytes = files::read(path)?;
    if files::is_der(&bytes) {
        return PrivateKeyDer::try_from(bytes).map_err(|_| no_binary_certificate(path));
    }
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
        files::config(text!(
            "{name}: this private key cannot be used ({error}); RSA from 2048 bits on, ECDSA and Ed25519 keys can (see \
             docs/tls.md)",
            "{name} : cette clé privée est inutilisable ({error}) ; les clés RSA dès 2048 bits, ECDSA et Ed25519 \
             conviennent (voir docs/tls.fr.md)"
        ))
    })?;
    let certified = CertifiedKey::new(chain, signer);
    match certified.cert.iter().position(|one| belongs_together(&certified, one)) {
        Some(0) => {}
        // OpenSSL takes the first for its own, and so does not start either
        Some(place) => return Err(not_first(cert, key, place + 1)),
        None => return Err(other_key(cert, key)),
    }
    Ok(Arc::new(certified))
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

fn other_key(cert: &Path, key: &Path) -> Fault {
    let (cert, key) = (cert.display(), key.display());
    files::config(text!(
        "{key}: this private key does not belong to the first certificate of {cert} (Private key does not match the \
         certificate); name the matching pair in `cert` and `key`",
        "{key} : cette clé privée n'est pas celle du premier certificat de {cert} ; indiquez la bonne paire dans `cert` \
         et `key`"
    ))
}

fn not_first(cert: &Path, key: &Path, place: usize) -> Fault {
    let (cert, key) = (cert.display(), key.display());
    files::config(text!(
        "{key}: this private key belongs to certificate number {place} of {cert}, but does not belong to the first one; \
         put that certificate first, then those that issued it, in this order",
        "{key} : cette clé privée est celle du certificat numéro {place} de {cert}, pas celle du premier ; mettez ce \
         certificat en tête, puis ceux qui l'ont émis, dans cet ordre"
    ))
}

fn no_binary_certificate(path: &Path) -> Fault {
    let name = path.display();
    files::config(text!(
        "{name} is binary, but neither a certificate nor a key in DER; a PKCS #12 file (.p12, .pfx) is converted by: \
         openssl pkcs12 -in {name} -nodes -out {name}.pem (with -legacy for an old one), then chmod 600 {name}.pem",
        "{name} est binaire, mais ni un certificat ni une clé en DER ; un fichier PKCS #12 (.p12, .pfx) se convertit \
         ainsi : openssl pkcs12 -in {name} -nodes -out {name}.pem (avec -legacy pour un ancien), puis chmod 600 {name}.pem"
    ))
}

fn no_certificate(path: &Path) -> Fault {
    let name = path.display();
    files::config(text!(
        "{name} holds no certificate: expected a block that starts with -----BEGIN CERTIFICATE-----",
        "{name} ne contient aucun certificat : un bloc commençant par -----BEGIN CERTIFICATE----- est attendu"
    ))
}

fn no_key(path: &Path, bytes: &[u8], error: &rustls_pki_types::pem::Error) -> Fault {
    let name = path.display();
    let head = String::from_utf8_lossy(bytes);
    if head.contains("BEGIN ENCRYPTED PRIVATE KEY") || head.contains("Proc-Type: 4,ENCRYPTED") {
        return files::config(text!(
            "{name}: the private key is protected by a pass phrase, which a service cannot type; \
             write it without one: openssl pkey -in {name} -out key.pem, then chmod 600 key.pem",
            "{name} : la clé privée est protégée par une phrase secrète, qu'un service ne peut pas saisir ; \
             écrivez-la sans elle : openssl pkey -in {name} -out key.pem, puis chmod 600 key.pem"
        ));
    }
    files::config(text!(
        "{name} holds no usable private key ({error}); name the file that has the \
         -----BEGIN PRIVATE KEY----- block in `key`",
        "{name} ne contient pas de clé privée utilisable ({error}) ; indiquez dans `key` le fichier qui porte \
         le bloc -----BEGIN PRIVATE KEY-----"
    ))
}

/// Compares the key bits alone: the algorithm's parameters are written in more than one way. A key whose public
/// half is not known is given the benefit of the doubt.
fn belongs_together(certified: &CertifiedKey, leaf: &CertificateDer<'_>) -> bool {
    let Some(ours) = certified.key.public_key() else { return true };
    let (Ok((_, ours)), Ok((_, leaf))) = (SubjectPublicKeyInfo::from_der(&ours), X509Certificate::from_der(leaf))
    else {
        return false;
    };
    ours.subject_public_key.data == leaf.public_key().subject_public_key.data
}

#[cfg(test)]
mod tests {
    use std::fs;

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
        let pfx = dir.path().join("x.p12");
        fs::write(&pfx, [0x30, 0x82, 1, 0, 2, 1, 3]).unwrap();
        assert!(certificates(&pfx).unwrap_err().text.en.contains("openssl pkcs12 -in"));
        assert!(private_key(&pfx).unwrap_err().text.en.contains("openssl pkcs12 -in"));
        assert!(certificates(&dir.path().join("none")).unwrap_err().text.en.contains("cannot read"));
        let locked = dir.path().join("locked.pem");
        fs::write(&locked, "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n")
            .unwrap();
        assert!(private_key(&locked).unwrap_err().text.en.contains("pass phrase"));
        assert!(private_key(&ca.cert).unwrap_err().text.en.contains("no usable private key"));
    }

    #[test]
    fn der_and_one_file_for_all_in_any_order_do_as_well() {
        let dir = tempfile::tempdir().unwrap();
        let ca = TestCa::new(dir.path());
        let pair = ca.good("localhost");
        let (cert, key) = (fs::read_to_string(&pair.cert).unwrap(), fs::read_to_string(&pair.key).unwrap());
        let root = fs::read_to_string(&ca.cert).unwrap();
        let der = (dir.path().join("c.der"), dir.path().join("k.der"));
        fs::write(&der.0, certificates(&pair.cert).unwrap()[0].as_ref()).unwrap();
        fs::write(&der.1, private_key(&pair.key).unwrap().secret_der()).unwrap();
        assert!(certified_key(&provider(), &der.0, &der.1).is_ok());
        let all = dir.path().join("all.pem");
        for text in [format!("{key}{cert}{root}"), format!("{cert}{key}{root}"), format!("notes\n{cert}{root}\n{key}")]
        {
            fs::write(&all, text).unwrap();
            assert_eq!(certified_key(&provider(), &all, &all).unwrap().cert.len(), 2);
        }
        // as for OpenSSL the first one is our own
        fs::write(&all, format!("{root}{cert}{key}")).unwrap();
        let fault = certified_key(&provider(), &all, &all).unwrap_err();
        assert!(fault.text.en.contains("certificate number 2") && fault.text.fr.contains("numéro 2"), "{fault}");
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
