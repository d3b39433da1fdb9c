//! Refused logins: three tries an hour at most, however often the launcher is started (contract, section 2).
//!
//! Not a schedule: it stands around a source and answers in its place once there were too many. What was refused is kept
//! below `state`, for providers lock accounts whether it was the service, cron's `fetch` or a restart that knocked. Kept
//! with it is a digest of the credentials, slow to compute and salted, so that changed ones are tried at once.

use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::config::Launcher;
use crate::delivery::spool::Spool;
use crate::delivery::{make_state, replace};
use crate::event::{Event, Events, Level};
use crate::model::{Code, Digest, Disposition, Fault, ItemKey, ServiceName};
use crate::source::outlet::Outlet;
use crate::source::{Cursor, Discovery, Fingerprint, Item, Source, SourceError, Wake};
use crate::text;
use crate::text::Text;

/// A source that is not asked to log in any more once it was refused too often.
pub(super) struct Careful {
    source: Box<dyn Source>,
    attempts: Attempts,
    /// Somebody tries on purpose (`pertuis test`): tried whatever was refused before, and a refusal counts.
    on_purpose: bool,
    events: Events,
}

impl Careful {
    pub(super) fn new(
        source: Box<dyn Source>,
        launcher: &Launcher,
        state: &Path,
        events: &Events,
        on_purpose: bool,
    ) -> Self {
        Self { source, attempts: Attempts::of(launcher, state), on_purpose, events: events.clone() }
    }

    fn may_try(&self) -> Result<(), SourceError> {
        match self.attempts.exhausted(Timestamp::now()) {
            Some(fault) if !self.on_purpose => Err(SourceError::Credentials(fault)),
            _ => Ok(()),
        }
    }

    /// Takes note of a login: one that was refused, or one that `proves` that there is nothing to remember.
    fn note<T>(&self, result: Result<T, SourceError>, proves: bool) -> Result<T, SourceError> {
        let noted = match &result {
            Err(SourceError::Credentials(_)) => self.attempts.refused(Timestamp::now()),
            Ok(_) if proves => self.attempts.forget(),
            _ => Ok(()),
        };
        if let Err(error) = noted {
            let (path, Text { en, fr }) = (self.attempts.path.display(), Text::io(&error));
            let text = text!(
                "{path}: refused logins cannot be remembered: {en}",
                "{path} : impossible de retenir les connexions refusées : {fr}"
            );
            self.events.emit(Event::new(Level::Warning, "attempts_not_kept", text).about(&self.attempts.launcher));
        }
        result
    }
}

#[async_trait]
impl Source for Careful {
    async fn login(&mut self) -> Result<(), SourceError> {
        self.may_try()?;
        let result = self.source.login().await;
        // a source with no login of its own says yes to this, too
        self.note(result, false)
    }

    async fn count(&mut self) -> Result<u64, SourceError> {
        self.may_try()?;
        let result = self.source.count().await;
        self.note(result, true)
    }

    async fn discover(&mut self, cursor: Option<&Cursor>) -> Result<Discovery, SourceError> {
        self.may_try()?;
        let result = self.source.discover(cursor).await;
        self.note(result, true)
    }

    async fn identify(&mut self, batch: &[Item]) -> Result<Vec<(ItemKey, Fingerprint)>, SourceError> {
        let result = self.source.identify(batch).await;
        self.note(result, false)
    }

    async fn fetch(&mut self, batch: &[Item], spool: &Spool, out: Outlet) -> Result<(), SourceError> {
        let result = self.source.fetch(batch, spool, out).await;
        self.note(result, false)
    }

    async fn acknowledge(&mut self, batch: &[ItemKey], what: &Disposition) -> Result<Vec<ItemKey>, SourceError> {
        let result = self.source.acknowledge(batch, what).await;
        self.note(result, false)
    }

    async fn finish(&mut self) -> Result<(), SourceError> {
        let result = self.source.finish().await;
        self.note(result, false)
    }

    async fn wait(&mut self, upto: std::time::Duration) -> Wake {
        self.source.wait(upto).await
    }
}

/// The refused logins of a launcher.
struct Attempts {
    launcher: ServiceName,
    path: PathBuf,
    /// Server, account and password.
    credentials: Zeroizing<String>,
}

/// What stands in the file.
#[derive(Serialize, Deserialize)]
struct Record {
    salt: String,
    credentials: String,
    /// Seconds since 1970.
    refused: Vec<i64>,
}

impl Attempts {
    fn of(launcher: &Launcher, state: &Path) -> Self {
        let server = launcher.server.as_ref().map(ToString::to_string).unwrap_or_default();
        let account = launcher.account.as_deref().unwrap_or_default();
        let password = launcher.password.as_ref().map_or("", |password| password.reveal());
        let path = state.join("attempts").join(format!("{}.json", launcher.name.file_stem()));
        let credentials = Zeroizing::new(format!("{server}\0{account}\0{password}"));
        Self { launcher: launcher.name.clone(), path, credentials }
    }

    /// Why nothing is tried now.
    fn exhausted(&self, now: Timestamp) -> Option<Fault> {
        let record = self.read(now)?;
        let count = record.refused.len();
        let first = record.refused.get(count.checked_sub(MOST)?)?;
        let next = Timestamp::from_second(*first).ok()?.checked_add(HOUR).ok()?;
        let next = next.to_zoned(jiff::tz::TimeZone::system()).strftime("%H:%M").to_string();
        let account = self.credentials.split('\0').nth(1).unwrap_or_default();
        let text = text!(
            "the login of {account} was refused {count} times within the hour, so that the server is left alone lest it \
             lock the account; next try at {next}, or at once when the password is changed",
            "l'identification de {account} a été refusée {count} fois en une heure : le serveur est laissé tranquille, de \
             peur qu'il ne bloque le compte ; prochain essai à {next}, ou dès que le mot de passe est changé"
        );
        Some(Fault::new(Code::Credentials, text))
    }

    fn refused(&self, now: Timestamp) -> io::Result<()> {
        let mut record = self.read(now).unwrap_or_else(|| {
            let salt = salt();
            Record { credentials: self.digest(&salt), salt, refused: Vec::new() }
        });
        record.refused.push(now.as_second());
        self.write(&record)
    }

    fn forget(&self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// What was refused of these credentials within the last hour. A time that is yet to come says that the clock was
    /// set, and nothing else.
    fn read(&self, now: Timestamp) -> Option<Record> {
        // what cannot be read is as good as gone: the service itself never knocks more often than it may
        let mut record: Record = serde_json::from_slice(&fs::read(&self.path).ok()?).ok()?;
        record.refused.retain(|second| (0..HOUR.as_secs()).contains(&(now.as_second() - second)));
        (!record.refused.is_empty() && record.credentials == self.digest(&record.salt)).then_some(record)
    }

    fn write(&self, record: &Record) -> io::Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        make_state(folder)?;
        let next = self.path.with_extension("next");
        let mut options = File::options();
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.write(true).create(true).truncate(true).open(&next)?;
        file.write_all(&serde_json::to_vec(record)?)?;
        file.sync_all()?;
        replace(&next, &self.path)
    }

    fn digest(&self, salt: &str) -> String {
        let digest = pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(self.credentials.as_bytes(), salt.as_bytes(), ROUNDS);
        Digest(digest).to_string()
    }
}

/// Different for each file: the standard library draws the keys of its hashes at random.
fn salt() -> String {
    let part = || RandomState::new().hash_one(0_u8);
    format!("{:016x}{:016x}", part(), part())
}

/// Tries within an hour.
const MOST: usize = 3;
const HOUR: SignedDuration = SignedDuration::from_hours(1);
/// Milliseconds for us, years for who would try all passwords.
const ROUNDS: u32 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn launcher(password: &str) -> Launcher {
        let text = "[factures]\nlauncher = imap\nserver = imap.example.test\naccount = a\npassword = p\ndeliver = /x\n";
        let config =
            crate::config::load_bytes(Path::new("t.ini"), text.as_bytes(), &crate::config::Overrides::default());
        Launcher { password: Some(Secret::new(password)), ..config.unwrap().launchers.remove(0) }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    #[test]
    fn three_refusals_are_enough_for_an_hour() {
        let state = tempfile::tempdir().unwrap();
        for second in [0, 600, 700] {
            // each time another process
            let attempts = Attempts::of(&launcher("hunter2"), state.path());
            assert!(attempts.exhausted(at(second)).is_none(), "{second}");
            attempts.refused(at(second)).unwrap();
        }
        let attempts = Attempts::of(&launcher("hunter2"), state.path());
        let fault = attempts.exhausted(at(701)).unwrap();
        assert_eq!(fault.code, Code::Credentials);
        assert!(fault.text.en.contains("refused 3 times") && fault.text.fr.contains("prochain essai à"), "{fault}");
        assert!(attempts.exhausted(at(3599)).is_some());
        assert!(attempts.exhausted(at(3601)).is_none());
        // the clock was set back by a year
        assert!(attempts.exhausted(at(-31_000_000)).is_none());
    }

    #[test]
    fn a_changed_password_is_tried_at_once_and_success_forgets() {
        let state = tempfile::tempdir().unwrap();
        let attempts = Attempts::of(&launcher("hunter2"), state.path());
        (0..3).for_each(|second| attempts.refused(at(second)).unwrap());
        let changed = Attempts::of(&launcher("hunter3"), state.path());
        assert!(changed.exhausted(at(4)).is_none());
        changed.refused(at(5)).unwrap();
        assert!(changed.exhausted(at(6)).is_none(), "the old password's refusals do not count");
        changed.forget().unwrap();
        changed.forget().unwrap();
        assert!(attempts.exhausted(at(7)).is_none());
    }

    #[test]
    fn the_file_is_the_owners_alone_and_holds_no_secret() {
        let state = tempfile::tempdir().unwrap();
        let attempts = Attempts::of(&launcher("hunter2"), state.path());
        attempts.refused(at(0)).unwrap();
        let text = fs::read_to_string(&attempts.path).unwrap();
        assert!(!text.contains("hunter2") && !text.contains(&Digest::of(b"hunter2").to_string()), "{text}");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&attempts.path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        fs::write(&attempts.path, "{half").unwrap();
        assert!(attempts.exhausted(at(1)).is_none());
        attempts.refused(at(1)).unwrap();
    }
}
