//! What is trusted: `CAfile`, `CApath`, `CAstore`.
//!
//! Not the verification (`verify.rs`). Of a folder the files named `HASH.N` count, as for OpenSSL; where there is none,
//! every file does, with a warning: an empty trust would be the other choice, and nobody meant that.

use std::path::{Path, PathBuf};

use rustls_pki_types::CertificateDer;

use super::{files, material};
use crate::config::{Store, Trust};
use crate::model::Fault;
use crate::text;
use crate::text::Text;

/// What `CAfile`, `CApath` and `CAstore` hold.
#[derive(Clone, Debug, Default)]
pub(super) struct Authorities {
    /// Every certificate, in the order in which it was read.
    pub(super) certificates: Vec<CertificateDer<'static>>,
    /// How many of them, from the first on, are of `CAfile`: those that a server tells its clients of.
    pub(super) of_file: usize,
    /// What is odd about the files but stops nothing.
    pub(super) warnings: Vec<Text>,
}

impl Authorities {
    /// Reads what `trust` names; the system's store is not read here.
    ///
    /// # Errors
    /// A file or directory cannot be read, or holds no certificate (code `config`).
    pub(super) fn read(trust: &Trust) -> Result<Self, Fault> {
        let mut found = Self::default();
        if let Some(file) = &trust.ca_file {
            found.certificates.extend(material::certificates(file)?);
        }
        found.of_file = found.certificates.len();
        if let Some(directory) = &trust.ca_path {
            found.add_directory(directory)?;
        }
        match &trust.ca_store {
            Some(Store::File(path)) if path.is_dir() => found.add_directory(path)?,
            Some(Store::File(path)) => found.certificates.extend(material::certificates(path)?),
            Some(Store::System) | None => {}
        }
        Ok(found)
    }

    fn add_directory(&mut self, directory: &Path) -> Result<(), Fault> {
        let name = directory.display();
        let all = files::of_directory(directory)?;
        let hashed: Vec<&PathBuf> = all.iter().filter(|path| files::is_hash_name(path, "")).collect();
        let chosen: Vec<&PathBuf> = if hashed.is_empty() { all.iter().collect() } else { hashed };
        let before = self.certificates.len();
        for path in &chosen {
            // a directory holds keys, READMEs and links to nowhere too: what has no certificate is passed over
            self.certificates.extend(material::certificates(path).unwrap_or_default());
        }
        if self.certificates.len() == before {
            return Err(files::config(text!(
                "{name} holds no certificate in PEM format; put the CA's .pem file there",
                "{name} ne contient aucun certificat au format PEM ; déposez-y le fichier .pem de l'autorité"
            )));
        }
        if !all.iter().any(|path| files::is_hash_name(path, "")) {
            self.warnings.push(text!(
                "{name} has no files named HASH.N: every PEM file in it is trusted (OpenSSL would see none)",
                "{name} n'a pas de fichiers nommés HASH.N : tout fichier PEM y est pris en compte \
                 (OpenSSL n'en verrait aucun)"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::ca::TestCa;
    use super::*;

    fn of(ca_path: &Path) -> Authorities {
        Authorities::read(&Trust { ca_path: Some(ca_path.to_owned()), ..Trust::default() }).unwrap()
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
        let plain = of(&path);
        assert_eq!((plain.certificates.len(), plain.warnings.len()), (1, 1));
        fs::copy(&ca.good("a").cert, path.join("0a1b2c3d.0")).unwrap();
        fs::copy(&ca.cert, path.join("0a1b2c3d.pem")).unwrap();
        let hashed = of(&path);
        assert_eq!((hashed.certificates.len(), hashed.warnings.len()), (1, 0));
        let store = Some(Store::File(path));
        assert_eq!(Authorities::read(&Trust { ca_store: store, ..Trust::default() }).unwrap().certificates.len(), 1);
    }
}
