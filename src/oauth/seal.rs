//! Sealing of what is kept on disk: AES-256-GCM (NIST SP 800-38D) under a key of this `state`.
//!
//! Not a vault: who may read the key and the files reads the tokens. What it does: a copied file, a backup without the
//! key, a file put in the place of another one are worth nothing. The key is the credential `pertuis-key` of the service
//! manager where there is one, else `tokens.key` in `state`, made at the first use. The first one seals, any of them
//! opens: `pertuis login` in a shell, which has no credential, seals with the file, and the service opens that.
//!
//! The cryptography is that of the TLS provider that is built in anyway (aws-lc-rs, or ring, which has the same
//! interface): one implementation to trust and to update, where those of `RustCrypto` would be a second one.

#[cfg(unix)]
use std::fs;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

#[cfg(feature = "aws-lc")]
use aws_lc_rs as crypto;
#[cfg(all(feature = "ring", not(feature = "aws-lc")))]
use ring as crypto;

use base64::Engine as _;
use crypto::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use crypto::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

use crate::delivery::{make_state, sync_directory};
use crate::model::{Code, Digest, Fault};
#[cfg(windows)] // under the key of the machine
use crate::secret::dpapi::{protect, unprotect};
use crate::text;
use crate::text::Text;

/// The keys of a `state`.
pub(super) struct Keys {
    /// Where the one of our own stands.
    path: PathBuf,
    /// The first one seals.
    known: Vec<Key>,
}

/// Why something cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// Cut short, changed, put in the place of another file, or none of ours.
    Damaged,
    /// Sealed with a key that is not there.
    OtherKey,
}

/// A key, with the number by which files name it.
struct Key {
    id: [u8; ID],
    cipher: LessSafeKey,
}

impl Keys {
    /// The keys that are there; none is made. `credentials` is the service manager's folder (`$CREDENTIALS_DIRECTORY`,
    /// systemd.exec(5)).
    pub(super) fn load(state: &Path, credentials: Option<&Path>) -> Result<Self, Fault> {
        let path = state.join(FILE);
        let mut known = Vec::new();
        if let Some(credential) = credentials.map(|folder| folder.join(CREDENTIAL)).filter(|path| path.exists()) {
            known.push(Key::of_credential(&credential)?);
        }
        known.extend(Key::of_file(&path)?);
        Ok(Self { path, known })
    }

    /// Seals `plain` for the file `name` alone. Makes the key where there is none.
    pub(super) fn seal(&mut self, name: &str, mut plain: Zeroizing<Vec<u8>>) -> Result<Vec<u8>, Fault> {
        if self.known.is_empty() {
            create(&self.path).map_err(|error| unusable(&self.path, &error))?;
            self.known.extend(Key::of_file(&self.path)?);
        }
        let key = self.known.first().ok_or_else(|| unusable(&self.path, &io::ErrorKind::NotFound.into()))?;
        let nonce: [u8; NONCE_LEN] = random().map_err(|error| unusable(&self.path, &error))?;
        let aad = Aad::from(associated(key.id, name));
        let tag = key.cipher.seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), aad, &mut plain);
        // refused only for more bytes than fit in memory
        let tag = tag.map_err(|_| unusable(&self.path, &io::ErrorKind::FileTooLarge.into()))?;
        Ok([MAGIC, &key.id, &nonce, &plain, tag.as_ref()].concat())
    }

    /// Opens what was sealed for the file `name`.
    pub(super) fn unseal(&self, name: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Broken> {
        let rest = sealed.strip_prefix(MAGIC).ok_or(Broken::Damaged)?;
        let (id, rest) = rest.split_first_chunk::<ID>().ok_or(Broken::Damaged)?;
        let (nonce, rest) = rest.split_first_chunk::<NONCE_LEN>().ok_or(Broken::Damaged)?;
        let key = self.known.iter().find(|key| key.id == *id).ok_or(Broken::OtherKey)?;
        let mut bytes = Zeroizing::new(rest.to_vec());
        let aad = Aad::from(associated(*id, name));
        let opened = key.cipher.open_in_place(Nonce::assume_unique_for_key(*nonce), aad, &mut bytes);
        let length = opened.map_err(|_| Broken::Damaged)?.len();
        bytes.truncate(length);
        Ok(bytes)
    }
}

impl Key {
    fn new(bytes: &[u8; LENGTH]) -> Option<Self> {
        let cipher = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, bytes).ok()?);
        // of 256 random bits a digest tells nothing
        let digest = Digest::of(&Zeroizing::new([b"pertuis key number", &bytes[..]].concat())).0;
        let mut id = [0; ID];
        id.copy_from_slice(&digest[..ID]);
        Some(Self { id, cipher })
    }

    /// The key in our own file; `None` where there is none yet.
    fn of_file(path: &Path) -> Result<Option<Self>, Fault> {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unusable(path, &error)),
        };
        only_ours(path, &file)?;
        let bytes = read(&mut file).and_then(|bytes| unprotect(&bytes)).map_err(|error| unusable(path, &error))?;
        match <&[u8; LENGTH]>::try_from(&bytes[..]).ok().and_then(Self::new) {
            Some(key) => Ok(Some(key)),
            None => Err(no_key(path)),
        }
    }

    /// The key that the service manager hands over: 32 bytes, or the same in base64.
    fn of_credential(path: &Path) -> Result<Self, Fault> {
        let bytes = File::open(path).and_then(|mut file| read(&mut file)).map_err(|error| unusable(path, &error))?;
        let decoded = base64::engine::general_purpose::STANDARD.decode(bytes.trim_ascii()).map(Zeroizing::new);
        let bytes = decoded.ok().filter(|decoded| decoded.len() == LENGTH).unwrap_or(bytes);
        <&[u8; LENGTH]>::try_from(&bytes[..]).ok().and_then(Self::new).ok_or_else(|| no_credential(path))
    }
}

/// What a sealed file is bound to: this format, its key, its own name.
fn associated(id: [u8; ID], name: &str) -> Vec<u8> {
    [MAGIC, &id, name.as_bytes()].concat()
}

/// Makes a key in one step: of two who make it at once, one does, and both read the same.
fn create(path: &Path) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    make_state(folder)?;
    // for its owner alone from the beginning
    let mut draft = tempfile::NamedTempFile::new_in(folder)?;
    hand_over(draft.as_file(), folder)?;
    draft.write_all(&Zeroizing::new(protect(&*Zeroizing::new(random::<LENGTH>()?))?))?;
    draft.as_file().sync_all()?;
    match draft.persist_noclobber(path) {
        Ok(_) => sync_directory(folder),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error.error),
    }
}

/// What root makes in the service's folder (`sudo pertuis login`) is the service's, or it could not read it.
pub(super) fn hand_over(file: &File, state: &Path) -> io::Result<()> {
    #[cfg(unix)]
    if rustix::process::geteuid().is_root() {
        use std::os::unix::fs::MetadataExt as _;
        let owner = fs::metadata(state)?;
        return std::os::unix::fs::fchown(file, Some(owner.uid()), Some(owner.gid()));
    }
    let _ = (file, state);
    Ok(())
}

/// A key that others may read is a key that others may have read.
#[cfg(unix)]
fn only_ours(path: &Path, file: &File) -> Result<(), Fault> {
    use std::os::unix::fs::MetadataExt as _;
    let mode = file.metadata().map_err(|error| unusable(path, &error))?.mode() & 0o777;
    if mode.trailing_zeros() >= 6 {
        return Ok(());
    }
    let path = path.display();
    let text = text!(
        "{path}: the key of the tokens is open to other users (mode {mode:03o}); run `chmod 600 {path}`, and sign in \
         again if somebody may have read it",
        "{path} : la clé des jetons est accessible à d'autres utilisateurs (droits {mode:03o}) ; lancer \
         `chmod 600 {path}`, et refaire la connexion si quelqu'un a pu la lire"
    );
    Err(Fault::new(Code::Credentials, text))
}

#[cfg(not(unix))]
#[allow(clippy::unnecessary_wraps)] // the shape of the other one
fn only_ours(_path: &Path, _file: &File) -> Result<(), Fault> {
    Ok(())
}

#[cfg(not(windows))]
#[allow(clippy::unnecessary_wraps)] // the shape of the other one
fn protect(key: &[u8]) -> io::Result<Vec<u8>> {
    Ok(key.to_vec())
}

#[cfg(not(windows))]
#[allow(clippy::unnecessary_wraps)] // the shape of the other one
fn unprotect(protected: &[u8]) -> io::Result<Zeroizing<Vec<u8>>> {
    Ok(Zeroizing::new(protected.to_vec()))
}

fn read(file: &mut File) -> io::Result<Zeroizing<Vec<u8>>> {
    // room for all of it: a vector that grows leaves copies behind
    let mut bytes = Zeroizing::new(Vec::with_capacity(LARGEST));
    file.take(LARGEST as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| io::Error::other("the system gives no randomness"))?;
    Ok(bytes)
}

fn unusable(path: &Path, error: &io::Error) -> Fault {
    let (path, Text { en, fr }) = (path.display(), Text::io(error));
    let text = text!(
        "{path}: the key of the tokens cannot be used: {en}; `state` must be a folder that the service's user may write \
         to, with room left",
        "{path} : la clé des jetons est inutilisable : {fr} ; `state` doit être un dossier où l'utilisateur du service \
         peut écrire, avec de la place libre"
    );
    Fault::new(Code::Ledger, text)
}

fn no_key(path: &Path) -> Fault {
    let path = path.display();
    let text = text!(
        "{path}: this is not the key of the tokens ({LENGTH} bytes); bring it back from a backup, or remove it and sign in \
         again with `pertuis login`",
        "{path} : ce n'est pas la clé des jetons ({LENGTH} octets) ; la reprendre d'une sauvegarde, ou la supprimer et \
         refaire la connexion avec `pertuis login`"
    );
    Fault::new(Code::Credentials, text)
}

fn no_credential(path: &Path) -> Fault {
    let path = path.display();
    let text = text!(
        "{path}: expected a key of {LENGTH} bytes, or the same in base64; `head -c {LENGTH} /dev/urandom` makes one",
        "{path} : attendu une clé de {LENGTH} octets, ou la même en base64 ; `head -c {LENGTH} /dev/urandom` en fait une"
    );
    Fault::new(Code::Config, text)
}

/// The name and the version of the format.
const MAGIC: &[u8] = b"pertuis\x01";
/// Bytes of a key.
const LENGTH: usize = 32;
/// Bytes of its number.
const ID: usize = 8;
/// Bytes of a file that holds a key, protected or not.
const LARGEST: usize = 4096;
/// In `state`.
const FILE: &str = "tokens.key";
/// Among the service manager's credentials.
const CREDENTIAL: &str = "pertuis-key";

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn plain(text: &str) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(text.as_bytes().to_vec())
    }

    fn load(state: &Path) -> Keys {
        Keys::load(state, None).unwrap()
    }

    #[test]
    fn what_is_sealed_opens_under_its_own_name_alone() {
        let state = tempfile::tempdir().unwrap();
        let sealed = load(state.path()).seal("a", plain("refresh")).unwrap();
        assert!(!sealed.windows(7).any(|part| part == b"refresh"));
        let keys = load(state.path());
        assert_eq!(keys.unseal("a", &sealed).unwrap()[..], *b"refresh");
        assert_eq!(keys.unseal("b", &sealed).unwrap_err(), Broken::Damaged);
        let again = load(state.path()).seal("a", plain("refresh")).unwrap();
        assert_ne!(sealed, again, "a nonce was used twice");
    }

    #[test]
    fn nothing_is_made_before_it_is_needed() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let sealed = load(&state).unseal("a", &[MAGIC, &[0; 60]].concat());
        assert_eq!((sealed.unwrap_err(), state.exists()), (Broken::OtherKey, false));
    }

    #[test]
    fn a_key_that_went_is_told_apart_from_damage() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let sealed = load(one.path()).seal("a", plain("x")).unwrap();
        load(other.path()).seal("a", plain("x")).unwrap();
        assert_eq!(load(other.path()).unseal("a", &sealed).unwrap_err(), Broken::OtherKey);
    }

    #[test]
    fn of_many_who_make_the_first_key_all_have_the_same() {
        for _ in 0..20 {
            let dir = tempfile::tempdir().unwrap();
            let state = &dir.path().join("state");
            let start = &std::sync::Barrier::new(8);
            let sealed: Vec<Vec<u8>> = std::thread::scope(|scope| {
                let work = || {
                    // each found no key
                    let mut keys = load(state);
                    start.wait();
                    keys.seal("a", plain("x")).unwrap()
                };
                let threads: Vec<_> = (0..8).map(|_| scope.spawn(work)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            let keys = load(state);
            assert!(sealed.iter().all(|sealed| keys.unseal("a", sealed).is_ok()));
            assert_eq!(fs::read_dir(state).unwrap().count(), 1, "a draft was left");
        }
    }

    #[cfg(unix)]
    #[test]
    fn the_key_is_its_owners_alone_and_one_that_is_open_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let state = tempfile::tempdir().unwrap();
        load(state.path()).seal("a", plain("x")).unwrap();
        let path = state.path().join(FILE);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        for mode in [0o640, 0o604, 0o660, 0o777] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let fault = Keys::load(state.path(), None).err().unwrap();
            assert!(fault.text.en.contains("chmod 600") && fault.text.fr.contains("chmod 600"), "{mode:o}: {fault}");
        }
    }

    #[test]
    fn a_file_that_is_no_key_is_said() {
        let state = tempfile::tempdir().unwrap();
        load(state.path()).seal("a", plain("x")).unwrap();
        let path = state.path().join(FILE);
        for content in [&b""[..], &[1; 31], &[1; 33], &[1; 2 * LARGEST]] {
            fs::write(&path, content).unwrap();
            let fault = Keys::load(state.path(), None).err().unwrap();
            assert!(fault.text.en.contains("pertuis login"), "{}: {fault}", content.len());
        }
    }

    #[test]
    fn the_service_managers_key_seals_and_the_files_still_opens() {
        let (state, credentials) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        // `login` in a shell
        let by_file = load(state.path()).seal("a", plain("x")).unwrap();
        let path = credentials.path().join(CREDENTIAL);
        let both = || Keys::load(state.path(), Some(credentials.path()));
        assert_eq!(both().unwrap().known.len(), 1);
        let encoded = base64::engine::general_purpose::STANDARD.encode([7; LENGTH]) + "\n";
        for content in [&[7; LENGTH], encoded.as_bytes()] {
            fs::write(&path, content).unwrap();
            let by_credential = both().unwrap().seal("a", plain("y")).unwrap();
            assert_eq!(both().unwrap().unseal("a", &by_file).unwrap()[..], *b"x");
            assert_eq!(both().unwrap().unseal("a", &by_credential).unwrap()[..], *b"y");
            assert_eq!(load(state.path()).unseal("a", &by_credential).unwrap_err(), Broken::OtherKey);
        }
        fs::write(&path, "short").unwrap();
        assert!(both().err().unwrap().text.en.contains("/dev/urandom"));
    }

    proptest::proptest! {
        #[test]
        fn no_change_to_a_sealed_file_goes_unnoticed(at in 0_usize..1000, bit in 0_u8..8, cut in 0_usize..1000) {
            let key = Key::new(&[7; LENGTH]).unwrap();
            let mut keys = Keys { path: PathBuf::new(), known: vec![key] };
            let sealed = keys.seal("a", plain("a refresh token")).unwrap();
            let mut changed = sealed.clone();
            let at = at % sealed.len();
            changed[at] ^= 1 << bit;
            proptest::prop_assert!(keys.unseal("a", &changed).is_err());
            proptest::prop_assert!(keys.unseal("a", &sealed[..cut % sealed.len()]).is_err());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let keys = Keys { path: PathBuf::new(), known: vec![Key::new(&[7; LENGTH]).unwrap()] };
            let sealed = [MAGIC, &keys.known[0].id, &bytes].concat();
            proptest::prop_assert!(keys.unseal("a", &bytes).is_err() && keys.unseal("a", &sealed).is_err());
        }
    }
}
