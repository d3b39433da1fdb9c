//! A login with an access token instead of a password (RFC 6750, 7628).
//!
//! Not the getting of tokens (`oauth`) and not the lines of the login: which token a connection logs in with, and what is
//! tried once a server refuses it. A token may be revoked before its time, and the server is the first to know: so one
//! more is asked for, and one more connection made, but never a third.

use async_trait::async_trait;

use super::SourceError;
use super::trouble::no_password;
use crate::config::Launcher;
use crate::model::{Code, Fault};
use crate::oauth::{Resource, TokenError, Tokens};
use crate::secret::Secret;
use crate::text;

/// Who has access tokens.
#[async_trait]
pub trait Bearer: Send + Sync {
    /// A token for this resource that is still good for a while.
    async fn access(&self, resource: Resource) -> Result<Secret, TokenError>;

    /// A server refused this one: the next is another.
    fn refused(&self, resource: Resource, token: &Secret);
}

#[async_trait]
impl Bearer for Tokens {
    async fn access(&self, resource: Resource) -> Result<Secret, TokenError> {
        Self::access(self, resource).await
    }

    fn refused(&self, resource: Resource, token: &Secret) {
        Self::refused(self, resource, token, None);
    }
}

/// What a connection logs in with first: the password of `launcher`, or a token where it signs in so.
pub(super) async fn first(
    launcher: &Launcher,
    bearer: Option<&dyn Bearer>,
    resource: Resource,
) -> Result<Secret, SourceError> {
    match bearer.filter(|_| launcher.auth.is_oauth()) {
        Some(bearer) => Ok(bearer.access(resource).await?),
        None if launcher.auth.is_oauth() => Err(no_tokens(launcher)),
        None => launcher.password.clone().ok_or_else(|| no_password(launcher)),
    }
}

/// What it logs in with once more, where another token may help against `error`; `token` is the one that did not.
pub(super) async fn another(
    bearer: Option<&dyn Bearer>,
    resource: Resource,
    token: &Secret,
    error: SourceError,
) -> Result<Secret, SourceError> {
    match (bearer, error) {
        (Some(bearer), SourceError::Credentials(_)) => {
            bearer.refused(resource, token);
            Ok(bearer.access(resource).await?)
        }
        (_, error) => Err(error),
    }
}

/// Whoever makes the source gives it tokens where the configuration asks for them.
fn no_tokens(launcher: &Launcher) -> SourceError {
    let name = &launcher.name;
    let text = text!("[{name}]: no sign-in at hand", "[{name}] : pas de connexion OAuth disponible");
    SourceError::Mailbox(Fault::new(Code::Config, text))
}
