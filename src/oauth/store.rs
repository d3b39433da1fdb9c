//! Where a sign-in is kept: one sealed file below `state/tokens`.
//!
//! Not a cache: access tokens live in memory alone.

use std::path::Path;

use super::SignedIn;
use crate::config::Launcher;
use crate::config::value::not_yet;
use crate::model::{Code, Fault};

/// What `login` writes and [`Tokens`](super::Tokens) read.
#[derive(Clone, Debug)]
pub struct Store(());

impl Store {
    /// The store of this launcher's sign-in; launchers of one account share it.
    pub fn open(_state: &Path, _launcher: &Launcher) -> Result<Self, Fault> {
        Err(Fault::new(Code::Config, not_yet("login")))
    }

    /// Replaces what is kept, in one step that survives a crash.
    pub fn put(&self, _signed_in: &SignedIn) -> Result<(), Fault> {
        Err(Fault::new(Code::Config, not_yet("login")))
    }

    /// What is kept; `None`: nobody signed in.
    pub fn get(&self) -> Result<Option<SignedIn>, Fault> {
        Ok(None)
    }

    /// Removes what is kept; answers whether there was something.
    pub fn forget(&self) -> Result<bool, Fault> {
        Ok(false)
    }
}
