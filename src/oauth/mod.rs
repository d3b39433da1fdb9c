//! Signing in with OAuth 2.0 (RFC 6749) to Microsoft and Google: tokens, where they come from and where they are kept.
//!
//! Not a source: a launcher asks [`Tokens`] for an access token and speaks its own protocol. Three things that know
//! little of each other: the conversations with the authorization server, the [`store`] of what a person signed in
//! with, and the [`tokens`] of a running program, which alone decide when one is renewed.

pub mod aadsts;
pub mod advice;
mod assertion;
mod device;
mod form;
pub mod google;
pub mod grants;
pub mod identity;
pub mod refusal;
pub mod scopes;
#[cfg(test)]
pub(crate) mod script;
mod seal;
pub mod store;
pub mod tokens;
mod wire;

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::model::Fault;
use crate::secret::Secret;

pub use grants::{Authority, DeviceCode, Grant};
pub use refusal::{Next, Refusal};
pub use store::Store;
pub use tokens::{SignIns, Tokens};

/// What an access token is for: a token of one resource is refused by the others, though one sign-in yields them all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Resource {
    /// Microsoft Graph.
    Graph,
    /// A mailbox by IMAP.
    Imap,
    /// A mailbox by POP3.
    Pop,
}

/// Which account signed in, as far as the authorization server says so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The name to show: mostly a mail address (`preferred_username`, `email`).
    pub username: Option<String>,
    /// The directory (`tid`).
    pub tenant: Option<String>,
    /// The account's own number in its directory, which stays when it is renamed (`oid`, `sub`).
    pub object: Option<String>,
}

/// What a person signed in with: what is kept, sealed, below `state`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedIn {
    /// The refresh token (RFC 6749, 1.5).
    pub refresh: Secret,
    /// Whose it is.
    pub identity: Identity,
    /// When that person signed in.
    pub since: SystemTime,
    /// When it was last used, so that a server that forgets what nobody uses does not forget it.
    pub renewed: SystemTime,
}

/// Why there is no access token, named by what the caller does next.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TokenError {
    /// Only a sign-in or the administrator helps; the sentence names the command.
    #[error("{0}")]
    SignIn(Fault),
    /// Network, throttling, a full disk: to be tried again.
    #[error("{fault}")]
    Later {
        /// What happened.
        fault: Fault,
        /// How long the server asks to stay away.
        retry_after: Option<Duration>,
    },
}

impl TokenError {
    /// What happened.
    pub fn fault(&self) -> &Fault {
        match self {
            Self::SignIn(fault) | Self::Later { fault, .. } => fault,
        }
    }
}
