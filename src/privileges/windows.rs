//! Windows: nothing is given up, so whoever asks for it is refused.

use std::path::{Path, PathBuf};

use super::Refused;
use crate::config::Global;
use crate::text;

/// Windows has other ways: a service runs as the account that it is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Privileges(());

impl Privileges {
    /// Refuses what asks for them.
    ///
    /// # Errors
    /// Each of `chroot`, `setuid` and `setgid` that is written.
    pub fn look_up(global: &Global) -> Result<Self, Vec<Refused>> {
        let owner = &global.owner;
        let asked =
            [("chroot", global.chroot.is_some()), ("setuid", owner.user.is_some()), ("setgid", owner.group.is_some())];
        let refused: Vec<Refused> =
            asked.into_iter().filter(|(_, is)| *is).map(|(option, _)| not_here(option)).collect();
        if refused.is_empty() { Ok(Self(())) } else { Err(refused) }
    }

    /// Always.
    pub fn is_none(&self) -> bool {
        true
    }

    /// Never.
    pub fn changes_user(&self) -> bool {
        false
    }

    /// Never.
    pub fn names_somebody(&self) -> bool {
        false
    }

    /// None.
    pub fn root(&self) -> Option<&Path> {
        None
    }

    /// Nothing is asked for.
    ///
    /// # Errors
    /// Never.
    pub fn check_rights(&self) -> Result<(), Refused> {
        Ok(())
    }

    /// Nothing is given up.
    ///
    /// # Errors
    /// Never.
    pub fn give_up(&self) -> Result<(), Refused> {
        Ok(())
    }

    /// The same path.
    pub fn outside(&self, path: &Path) -> PathBuf {
        path.to_owned()
    }

    /// Nothing to do.
    pub fn chown(&self, _path: &Path) -> Option<String> {
        None
    }
}

fn not_here(option: &'static str) -> Refused {
    let text = text!(
        "{option}: not on Windows; give the service an account of its own instead",
        "{option} : pas sous Windows ; donner plutôt au service un compte à lui"
    );
    (option, text)
}
