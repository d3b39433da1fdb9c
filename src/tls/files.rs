//! Files that certificates, keys and lists come from: reading them, and the folders that `c_rehash` makes.

use std::fs;
use std::path::{Path, PathBuf};

use crate::model::{Code, Fault};
use crate::text;
use crate::text::Text;

/// The bytes of a file, without the mark that Windows' Notepad puts in front, behind which the first BEGIN line would go
/// unseen.
///
/// # Errors
/// It cannot be read (code `config`).
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Fault> {
    let bytes = fs::read(path).map_err(|error| {
        let name = path.display();
        let Text { en, fr } = Text::io(&error);
        config(text!(
            "cannot read {name}: {en}; check the path and who may read it",
            "impossible de lire {name} : {fr} ; vérifiez le chemin et les droits de lecture"
        ))
    })?;
    Ok(bytes.strip_prefix(b"\xEF\xBB\xBF").map(<[u8]>::to_vec).unwrap_or(bytes))
}

/// The files of a directory, by name.
///
/// # Errors
/// It cannot be read (code `config`).
pub(super) fn of_directory(directory: &Path) -> Result<Vec<PathBuf>, Fault> {
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

/// Names of `c_rehash` (`openssl-rehash(1)`): eight hex digits, a dot, `letter` (`r` for revocation lists), a number. What
/// the digits are does not count: OpenSSL before 1.0 computed them in another way.
pub(super) fn is_hash_name(path: &Path, letter: &str) -> bool {
    let Some((hash, rest)) = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.split_once('.'))
    else {
        return false;
    };
    let number = rest.strip_prefix(letter).unwrap_or_default();
    hash.len() == 8
        && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
        && !number.is_empty()
        && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether it is binary: every certificate, key, list and PKCS #12 file in DER is a SEQUENCE (X.690, 8.9).
pub(super) fn is_der(bytes: &[u8]) -> bool {
    bytes.first() == Some(&0x30)
}

/// A mistake of the configuration.
pub(super) fn config(text: Text) -> Fault {
    Fault::new(Code::Config, text)
}
