//! The access tokens of a running program.
//!
//! Not the conversation with the authorization server: it is asked for, and what it grants is kept.

use std::path::Path;

use super::{Resource, TokenError};
use crate::config::Launcher;
use crate::config::value::not_yet;
use crate::event::Events;
use crate::model::{Code, Fault};
use crate::secret::Secret;

/// The access tokens of one sign-in. Cheap to clone; all clones of a process share one cache and one refresh.
#[derive(Clone, Debug)]
pub struct Tokens(());

impl Tokens {
    /// The tokens of this launcher.
    pub fn of(_launcher: &Launcher, _state: &Path, _events: &Events) -> Result<Self, Fault> {
        Err(Fault::new(Code::Config, not_yet("OAuth")))
    }

    /// An access token that is good for at least a minute.
    pub async fn access(&self, _resource: Resource) -> Result<Secret, TokenError> {
        Err(TokenError::SignIn(Fault::new(Code::Config, not_yet("OAuth"))))
    }

    /// The server refused this one (401): the next [`access`](Self::access) asks for another, with the `claims` of the
    /// challenge (decoded JSON), if any.
    pub fn refused(&self, _resource: Resource, _access: &Secret, _claims: Option<String>) {}
}
