//! Where a sign-in is kept: one sealed file below `state/tokens`.
//!
//! Not a cache: access tokens live in memory alone. Whoever writes holds the lock file beside it, and whoever renews holds
//! it from reading the old refresh token to writing the new one: so no two processes spend one token, and what `login`
//! writes is never replaced by the answer to something older. Launchers that sign in to one application with one
//! `account` share a file, so that one `login` serves them all.

use std::borrow::Cow;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::seal::{Broken, Keys, hand_over};
use super::{Identity, SignedIn};
use crate::config::Launcher;
use crate::delivery::stamp::Stamp;
use crate::delivery::{make_state, replace, sync_directory};
use crate::model::{Code, Fault, ServiceName};
use crate::secret::Secret;
use crate::text;
use crate::text::Text;

/// What `login` writes and [`Tokens`](super::Tokens) read.
#[derive(Clone, Debug)]
pub struct Store {
    launcher: ServiceName,
    state: PathBuf,
    name: String,
    /// The service manager's credentials, which may hold the key.
    credentials: Option<PathBuf>,
}

/// The lock of a store: nobody else writes as long as it is held.
#[derive(Debug)]
pub(super) struct Held<'a> {
    /// Whose lock it is.
    pub(super) store: &'a Store,
    /// Held for its lock, never read.
    _lock: File,
}

/// What stands in the file.
#[derive(Serialize, Deserialize)]
struct Record<'a> {
    #[serde(borrow)]
    refresh: Cow<'a, str>,
    identity: Identity,
    /// Milliseconds since 1970.
    since: u64,
    renewed: u64,
}

impl Store {
    /// The store of this launcher's sign-in; nothing is read or made yet.
    ///
    /// # Errors
    /// Nobody signs in for this launcher ([`Code::Config`]).
    pub fn open(state: &Path, launcher: &Launcher) -> Result<Self, Fault> {
        let Some(name) = name(launcher) else { return Err(nobody_signs_in(&launcher.name)) };
        let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
        Ok(Self { launcher: launcher.name.clone(), state: state.to_owned(), name, credentials })
    }

    /// Replaces what is kept, in one step that survives a crash. Waits while somebody renews it.
    ///
    /// # Errors
    /// The folder cannot be written ([`Code::Ledger`]).
    pub fn put(&self, signed_in: &SignedIn) -> Result<(), Fault> {
        self.lock_now()?.put(signed_in)
    }

    /// Whether a sign-in could be kept here, as far as that shows without one: asked before a person is sent to a browser.
    ///
    /// # Errors
    /// The folder cannot be written ([`Code::Ledger`]), or its key is of no use.
    pub fn prepare(&self) -> Result<(), Fault> {
        // who holds the lock meanwhile could write, too
        self.try_lock()?;
        Keys::load(&self.state, self.credentials.as_deref()).map(drop)
    }

    /// What is kept; `None`: nobody signed in.
    ///
    /// # Errors
    /// It cannot be read ([`Code::Ledger`]), is damaged or was sealed with a key that is not there
    /// ([`Code::Credentials`]).
    pub fn get(&self) -> Result<Option<SignedIn>, Fault> {
        let mut sealed = Vec::new();
        let read = File::open(self.path()).and_then(|file| file.take(LARGEST).read_to_end(&mut sealed));
        match read {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.failed(&error)),
        }
        let keys = Keys::load(&self.state, self.credentials.as_deref())?;
        let plain = keys.unseal(&self.name, &sealed).map_err(|broken| self.broken(broken))?;
        let record: Record<'_> = serde_json::from_slice(&plain).map_err(|_| self.broken(Broken::Damaged))?;
        Ok(Some(record.into()))
    }

    /// Removes what is kept; answers whether there was something. Waits while somebody renews it.
    ///
    /// # Errors
    /// The folder cannot be written ([`Code::Ledger`]).
    pub fn forget(&self) -> Result<bool, Fault> {
        // not `exists`: what may not be looked at is not nothing
        if !self.path().try_exists().map_err(|error| self.failed(&error))? {
            return Ok(false);
        }
        let _held = self.lock_now()?;
        match fs::remove_file(self.path()).and_then(|()| sync_directory(&self.folder())) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// When the person signed in of whom something is kept; `None` where that is nobody, or cannot be read.
    pub fn since(&self) -> Option<SystemTime> {
        self.get().ok().flatten().map(|signed_in| signed_in.since)
    }

    /// Whether this is the file of the same sign-in.
    pub fn is_that_of(&self, other: &Self) -> bool {
        (&self.state, &self.name) == (&other.state, &other.name)
    }

    /// What the file looks like from outside; `None` where there is none.
    pub(super) fn stamp(&self) -> Option<Stamp> {
        Stamp::of(&self.path()).ok()
    }

    /// The lock, however long somebody else renews: a request to a server that hangs may take its time.
    pub(super) async fn lock(&self) -> Result<Held<'_>, Fault> {
        let began = tokio::time::Instant::now();
        loop {
            match self.try_lock()? {
                Some(held) => return Ok(held),
                None if began.elapsed() > PATIENCE => return Err(self.held_up()),
                None => tokio::time::sleep(LOOK_AGAIN).await,
            }
        }
    }

    /// The same for who has nothing else to do meanwhile.
    fn lock_now(&self) -> Result<Held<'_>, Fault> {
        let began = Instant::now();
        loop {
            match self.try_lock()? {
                Some(held) => return Ok(held),
                None if began.elapsed() > PATIENCE => return Err(self.held_up()),
                None => std::thread::sleep(LOOK_AGAIN),
            }
        }
    }

    fn try_lock(&self) -> Result<Option<Held<'_>>, Fault> {
        let path = self.path().with_extension("lock");
        let file = self.make_folder().and_then(|()| {
            match private(OpenOptions::new().write(true).create_new(true)).open(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    private(OpenOptions::new().write(true)).open(&path)
                }
                made => made.and_then(|file| hand_over(&file, &self.state).map(|()| file)),
            }
        });
        let file = file.map_err(|error| self.failed(&error))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Held { store: self, _lock: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(self.failed(&error)),
        }
    }

    fn make_folder(&self) -> io::Result<()> {
        let folder = self.folder();
        if folder.is_dir() {
            return Ok(());
        }
        make_state(&folder)?;
        // Windows opens no folders, and has no owner to hand over to
        if cfg!(unix) { hand_over(&private(OpenOptions::new().read(true)).open(&folder)?, &self.state) } else { Ok(()) }
    }

    fn folder(&self) -> PathBuf {
        self.state.join(FOLDER)
    }

    fn path(&self) -> PathBuf {
        self.folder().join(&self.name)
    }

    fn failed(&self, error: &io::Error) -> Fault {
        let (path, Text { en, fr }) = (self.path().display().to_string(), Text::io(error));
        let (who, qui) = match error.kind() {
            io::ErrorKind::PermissionDenied => (
                "; a command is run as the service's user, or with sudo",
                " ; une commande se lance avec l'utilisateur du service, ou avec sudo",
            ),
            _ => ("", ""),
        };
        let text = text!(
            "{path}: what is kept of the sign-in cannot be read or written: {en}; `state` must be a folder that the \
             service's user may write to, with room left{who}",
            "{path} : impossible de lire ou d'écrire ce qui est conservé de la connexion : {fr} ; `state` doit être un \
             dossier où l'utilisateur du service peut écrire, avec de la place libre{qui}"
        );
        Fault::new(Code::Ledger, text)
    }

    fn broken(&self, broken: Broken) -> Fault {
        let (path, login) = (self.path().display().to_string(), login(&self.launcher));
        let text = match broken {
            Broken::Damaged => text!(
                "{path}: what is kept of the sign-in is damaged; sign in again: `{login}`",
                "{path} : ce qui est conservé de la connexion est endommagé ; refaire la connexion : `{login}`"
            ),
            Broken::OtherKey => text!(
                "{path}: what is kept of the sign-in was sealed with another key (`tokens.key` was lost or replaced, or it \
                 is the service's credential pertuis-key, which only the service has); sign in again: `{login}`",
                "{path} : ce qui est conservé de la connexion est scellé avec une autre clé (`tokens.key` perdue ou \
                 remplacée, ou c'est la clé pertuis-key remise par le gestionnaire de services, que seul le service \
                 détient) ; refaire la connexion : `{login}`"
            ),
        };
        Fault::new(Code::Credentials, text)
    }

    fn held_up(&self) -> Fault {
        let (path, seconds) = (self.path().display().to_string(), PATIENCE.as_secs());
        let text = text!(
            "{path}: another pertuis has been renewing this sign-in for {seconds} s; is one stopped or frozen?",
            "{path} : un autre pertuis renouvelle cette connexion depuis {seconds} s ; y en a-t-il un d'arrêté ou de figé ?"
        );
        Fault::new(Code::Ledger, text)
    }
}

impl Held<'_> {
    /// Replaces what is kept.
    pub(super) fn put(&self, signed_in: &SignedIn) -> Result<(), Fault> {
        let store = self.store;
        let mut plain = Zeroizing::new(Vec::with_capacity(2 * signed_in.refresh.reveal().len() + 1024));
        // refused only where a map has keys that are no text
        serde_json::to_writer(&mut *plain, &Record::from(signed_in)).map_err(|error| store.failed(&error.into()))?;
        let sealed = Keys::load(&store.state, store.credentials.as_deref())?.seal(&store.name, plain)?;
        self.write(&sealed).map_err(|error| store.failed(&error))
    }

    fn write(&self, sealed: &[u8]) -> io::Result<()> {
        let path = self.store.path();
        // one name will do: nobody else writes now, and what stands there was left by a crash
        let draft = path.with_extension("new");
        let _ = fs::remove_file(&draft);
        let mut file = private(OpenOptions::new().write(true).create_new(true)).open(&draft)?;
        hand_over(&file, &self.store.state)?;
        file.write_all(sealed)?;
        file.sync_all()?;
        replace(&draft, &path)?;
        sync_directory(&self.store.folder())
    }
}

impl<'a> From<&'a SignedIn> for Record<'a> {
    fn from(signed_in: &'a SignedIn) -> Self {
        let SignedIn { refresh, identity, since, renewed } = signed_in;
        let (refresh, identity) = (Cow::Borrowed(refresh.reveal()), identity.clone());
        Self { refresh, identity, since: milliseconds(*since), renewed: milliseconds(*renewed) }
    }
}

impl From<Record<'_>> for SignedIn {
    fn from(record: Record<'_>) -> Self {
        let time = |milliseconds| UNIX_EPOCH.checked_add(Duration::from_millis(milliseconds)).unwrap_or(UNIX_EPOCH);
        let Record { refresh, identity, since, renewed } = record;
        Self { refresh: Secret::new(refresh), identity, since: time(since), renewed: time(renewed) }
    }
}

/// The command that signs `launcher` in, as it is typed.
pub fn login(launcher: &ServiceName) -> String {
    let name = launcher.as_str();
    if name.chars().all(|c| c.is_alphanumeric() || "-_.@+:/".contains(c)) {
        format!("pertuis login {name}")
    } else if name.contains(['"', '$', '`', '\\', '!']) {
        // what means something between double quotes
        format!("pertuis login '{}'", name.replace('\'', r"'\''"))
    } else {
        format!("pertuis login \"{name}\"")
    }
}

/// The name of the file; `None` where nobody signs in.
fn name(launcher: &Launcher) -> Option<String> {
    let oauth = launcher.oauth.as_ref().filter(|oauth| oauth.credential.is_person())?;
    let Some(account) = &launcher.account else { return Some(launcher.name.file_stem()) };
    let (authority, tenant, client_id) = (&oauth.authority, &oauth.tenant, &oauth.client_id);
    let whole = format!("{}\0{authority}\0{tenant}\0{client_id}", account.to_lowercase());
    Some(ServiceName::new(&whole).file_stem())
}

fn nobody_signs_in(launcher: &ServiceName) -> Fault {
    let text = text!(
        "[{launcher}]: nobody signs in for this launcher: `login` is for launcher = o365 and auth = xoauth2 without a \
         secret, a certificate or a service account",
        "[{launcher}] : personne ne se connecte pour ce lanceur : `login` concerne lanceur = o365 et auth = xoauth2 sans \
         secret, certificat ni compte de service"
    );
    Fault::new(Code::Config, text)
}

/// For the owner alone; never through a link: `sudo pertuis login` writes in a folder that is another user's.
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600).custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
    }
    options
}

/// A clock before 1970 is as good as none.
fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Below `state`.
const FOLDER: &str = "tokens";
/// Bytes; no provider has tokens that large.
const LARGEST: u64 = 256 * 1024;
/// Longer than any request to a server that answers at all.
const PATIENCE: Duration = Duration::from_mins(3);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    fn launcher(name: &str, more: &str) -> Launcher {
        let text = format!(
            "[{name}]\nlauncher = o365\nclient_id = 00000000-0000-0000-0000-000000000001\ndeliver = /x\n{more}"
        );
        let config =
            crate::config::load_bytes(Path::new("t.ini"), text.as_bytes(), &crate::config::Overrides::default());
        config.unwrap().launchers.remove(0)
    }

    fn store(state: &Path, name: &str, more: &str) -> Store {
        Store { credentials: None, ..Store::open(state, &launcher(name, more)).unwrap() }
    }

    fn signed_in(refresh: &str) -> SignedIn {
        let time = |second| UNIX_EPOCH + Duration::from_secs(second);
        let identity = Identity { username: Some("a@example.org".to_owned()), tenant: None, object: None };
        SignedIn { refresh: Secret::new(refresh), identity, since: time(1_800_000_000), renewed: time(1_800_000_001) }
    }

    #[test]
    fn what_is_put_is_got_until_it_is_forgotten() {
        let state = tempfile::tempdir().unwrap();
        let store = store(state.path(), "a", "");
        assert_eq!((store.get().unwrap(), store.since()), (None, None));
        assert!(!store.forget().unwrap());
        assert_eq!(fs::read_dir(state.path()).unwrap().count(), 0, "nothing was to be made yet");
        for refresh in ["first", "with \"quotes\" \\ and é", "third"] {
            store.put(&signed_in(refresh)).unwrap();
            assert_eq!(store.get().unwrap(), Some(signed_in(refresh)));
        }
        assert_eq!(store.since(), Some(signed_in("").since));
        assert!(store.forget().unwrap() && !store.forget().unwrap());
        assert_eq!(store.get().unwrap(), None);
    }

    #[test]
    fn what_cannot_be_looked_at_is_not_taken_for_nothing() {
        let state = tempfile::tempdir().unwrap();
        let store = store(state.path(), "a", "");
        store.prepare().unwrap();
        fs::remove_dir_all(store.folder()).unwrap();
        fs::write(store.folder(), "in the place of a folder").unwrap();
        assert_eq!(store.forget().unwrap_err().code, Code::Ledger);
        assert_eq!(store.prepare().unwrap_err().code, Code::Ledger);
        let denied = store.failed(&io::ErrorKind::PermissionDenied.into()).text;
        assert!(denied.en.contains("sudo") && denied.fr.contains("sudo"), "{denied:?}");
    }

    #[test]
    fn nothing_of_it_stands_in_clear_anywhere() {
        let state = tempfile::tempdir().unwrap();
        let store = store(state.path(), "a", "");
        store.put(&signed_in("0.AXoARefreshToken")).unwrap();
        let mut seen = 0;
        for folder in [state.path().to_owned(), store.folder()] {
            for entry in fs::read_dir(folder).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file()) {
                let bytes = fs::read(entry.path()).unwrap();
                assert!(!bytes.windows(8).any(|part| b"0.AXoARefreshToken example.org".windows(8).any(|b| b == part)));
                seen += 1;
            }
        }
        assert_eq!(seen, 3, "key, sign-in, lock");
        assert!(!format!("{:?} {store:?}", store.get()).contains("AXo"));
    }

    #[cfg(unix)]
    #[test]
    fn everything_is_the_owners_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let state = tempfile::tempdir().unwrap();
        let store = store(state.path(), "a", "");
        store.put(&signed_in("x")).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&store.folder()), 0o700);
        for entry in fs::read_dir(store.folder()).unwrap() {
            assert_eq!(mode(&entry.unwrap().path()), 0o600);
        }
    }

    #[cfg(unix)]
    #[test]
    fn what_root_makes_in_the_services_folder_is_the_services() {
        use std::os::unix::fs::MetadataExt as _;
        let state = tempfile::tempdir().unwrap();
        if !rustix::process::geteuid().is_root() {
            return; // nobody else may give files away
        }
        std::os::unix::fs::chown(state.path(), Some(4711), Some(4712)).unwrap();
        let store = store(state.path(), "a", "");
        store.put(&signed_in("x")).unwrap();
        let mut seen = 0;
        for folder in [state.path().to_owned(), store.folder()] {
            for entry in fs::read_dir(folder).unwrap() {
                let metadata = entry.unwrap().metadata().unwrap();
                assert_eq!((metadata.uid(), metadata.gid()), (4711, 4712));
                seen += 1;
            }
        }
        assert_eq!(seen, 4, "key, folder, sign-in, lock");
    }

    #[cfg(unix)]
    #[test]
    fn nothing_is_written_through_a_link() {
        let state = tempfile::tempdir().unwrap();
        let target = state.path().join("target");
        let store = store(state.path(), "a", "");
        for extension in ["lock", "new", ""] {
            store.put(&signed_in("x")).unwrap();
            fs::write(&target, "precious").unwrap();
            let link = store.path().with_extension(extension);
            let _ = fs::remove_file(&link);
            std::os::unix::fs::symlink(&target, &link).unwrap();
            // a link in the place of a lock is refused, in the place of a draft or the file replaced
            assert_eq!(store.put(&signed_in("y")).is_err(), extension == "lock");
            assert_eq!(fs::read(&target).unwrap(), b"precious");
            let _ = fs::remove_file(&link);
        }
    }

    #[test]
    fn launchers_of_one_account_share_a_sign_in_and_others_do_not() {
        let name = |name: &str, more: &str| super::name(&launcher(name, more)).unwrap();
        let account = "account = Factures@example.org\n";
        assert_eq!(name("a", account), name("b", "account = factures@example.org\n"));
        let others = [
            "account = other@example.org\n".to_owned(),
            format!("{account}tenant = example.org\n"),
            format!("{account}authority = https://login.example.org\n"),
            format!("{account}cloud = bleu\n"),
        ];
        for other in &others {
            assert_ne!(name("a", account), name("a", other), "{other}");
        }
        assert_ne!(name("a", ""), name("b", ""));
        assert!(!name("a/../b", account).contains(['/', '.']) && !name("a/../b", "").contains(['/', '.']));
    }

    #[test]
    fn the_command_can_be_pasted_whatever_the_name() {
        let cases = [
            ("factures", "factures"),
            ("réception-2", "réception-2"),
            ("mes factures", "\"mes factures\""),
            ("l'accueil", "\"l'accueil\""),
            ("a&b;c", "\"a&b;c\""),
            ("prix $", "'prix $'"),
            ("l'\"autre\"", r#"'l'\''"autre"'"#),
        ];
        for (name, written) in cases {
            assert_eq!(login(&ServiceName::new(name)), format!("pertuis login {written}"));
        }
    }

    #[test]
    fn a_program_that_signs_in_by_itself_has_no_store() {
        let text = "tenant = example.org\nclient_secret = s3cret\nmailbox = m@example.org\n";
        let fault = Store::open(Path::new("/x"), &launcher("a", text)).unwrap_err();
        assert_eq!(fault.code, Code::Config);
    }

    #[test]
    fn a_file_that_is_of_no_use_names_the_command_in_both_languages() {
        let state = tempfile::tempdir().unwrap();
        let (one, other) = (store(state.path(), "mes factures", ""), store(state.path(), "b", ""));
        one.put(&signed_in("x")).unwrap();
        let good = fs::read(one.path()).unwrap();
        let mut changed = good.clone();
        *changed.last_mut().unwrap() ^= 1;
        let names = |fault: &Fault, login: &str| fault.text.en.contains(login) && fault.text.fr.contains(login);
        for bytes in [&b""[..], b"{}", &good[..good.len() / 2], &changed, &vec![0; 300_000]] {
            fs::write(one.path(), bytes).unwrap();
            let fault = one.get().unwrap_err();
            assert!(fault.code == Code::Credentials && names(&fault, "`pertuis login \"mes factures\"`"), "{fault}");
        }
        // in the place of another one
        fs::write(other.path(), &good).unwrap();
        assert!(names(&other.get().unwrap_err(), "`pertuis login b`"));
        // the key was lost, and another one made
        fs::write(one.path(), &good).unwrap();
        fs::remove_file(state.path().join("tokens.key")).unwrap();
        assert!(one.get().unwrap_err().text.en.contains("another key"));
        other.put(&signed_in("y")).unwrap();
        assert!(one.get().unwrap_err().text.fr.contains("autre clé"));
        one.put(&signed_in("z")).unwrap();
        assert_eq!(one.get().unwrap(), Some(signed_in("z")));
    }

    #[test]
    fn what_a_crash_left_behind_changes_nothing() {
        let state = tempfile::tempdir().unwrap();
        let store = store(state.path(), "a", "");
        store.put(&signed_in("old")).unwrap();
        // ended in the middle of the next one
        fs::write(store.path().with_extension("new"), "half").unwrap();
        assert_eq!(store.get().unwrap(), Some(signed_in("old")));
        store.put(&signed_in("new")).unwrap();
        assert_eq!(store.get().unwrap(), Some(signed_in("new")));
        assert!(!store.path().with_extension("new").exists());
    }

    #[tokio::test]
    async fn who_renews_keeps_who_writes_waiting() {
        let state = tempfile::tempdir().unwrap();
        let store = store(state.path(), "a", "");
        let held = store.lock().await.unwrap();
        assert!(store.try_lock().unwrap().is_none());
        let writer = store.clone();
        let writing = std::thread::spawn(move || writer.put(&signed_in("login")));
        held.put(&signed_in("renewed")).unwrap();
        assert!(!writing.is_finished());
        assert_eq!(store.get().unwrap(), Some(signed_in("renewed")));
        drop(held);
        writing.join().unwrap().unwrap();
        assert_eq!(store.get().unwrap(), Some(signed_in("login")));
    }

    proptest::proptest! {
        #[test]
        fn no_file_makes_it_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
            let state = tempfile::tempdir().unwrap();
            let store = store(state.path(), "a", "");
            fs::create_dir(store.folder()).unwrap();
            fs::write(store.path(), &bytes).unwrap();
            proptest::prop_assert_eq!(store.get().unwrap_err().code, Code::Credentials);
        }
    }
}
