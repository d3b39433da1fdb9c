//! The lock of a launcher: one cycle at a time for each launcher of a `state`, whatever process runs it.
//!
//! Not a lock of the ledger, which several processes may read and write. The system drops it when its process
//! ends, however that happens, so a stale lock cannot exist.

use std::fs::{self, File, TryLockError};
use std::path::Path;

use crate::model::{Code, Fault, ServiceName};
use crate::text;
use crate::text::Text;

/// Held while a cycle runs; dropping it releases the lock.
#[derive(Debug)]
pub struct Lock(#[allow(dead_code)] File); // held for its lock, never read

impl Lock {
    /// Takes the lock of `launcher` below `state`, or answers [`Code::Busy`] at once.
    pub fn take(state: &Path, launcher: &ServiceName) -> Result<Self, Fault> {
        let dir = state.join("locks");
        let path = dir.join(format!("{}.lock", launcher.file_stem()));
        let failed = |error: std::io::Error| {
            let path = path.display();
            let Text { en, fr } = Text::io(&error);
            Fault::new(
                Code::Ledger,
                text!(
                    "{path}: the lock cannot be made: {en}; `state` must be a folder that this user may write to",
                    "{path} : impossible de poser le verrou : {fr} ; `state` doit être un dossier où cet utilisateur peut écrire"
                ),
            )
        };
        super::make_state(state).and_then(|()| fs::create_dir_all(&dir)).map_err(failed)?;
        let file = File::create(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::Error(error)) => Err(failed(error)),
            Err(TryLockError::WouldBlock) => Err(Fault::new(
                Code::Busy,
                text!(
                    "launcher {launcher}: a cycle is running already; wait for its end, or stop the service",
                    "lanceur {launcher} : un cycle est déjà en cours ; attendez sa fin, ou arrêtez le service"
                ),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn the_state_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("new/state");
        Lock::take(&state, &ServiceName::new("a")).unwrap();
        assert_eq!(fs::metadata(&state).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn one_cycle_at_a_time_for_each_launcher() {
        let state = tempfile::tempdir().unwrap();
        let (one, other) = (ServiceName::new("a"), ServiceName::new("b"));
        let held = Lock::take(state.path(), &one).unwrap();
        assert_eq!(Lock::take(state.path(), &one).unwrap_err().code, Code::Busy);
        Lock::take(state.path(), &other).unwrap();
        drop(held);
        Lock::take(state.path(), &one).unwrap();
    }
}
