//! The conversations with an authorization server: one request, one [`Grant`] or [`Refusal`].
//!
//! Not a store and not a loop: nothing is kept between two requests but the HTTP client, and who asks again, when, is the
//! caller's ([`super::device`], [`super::tokens`]). Written by hand on reqwest: the crates for this throw away `error_codes`,
//! `suberror` and the rest, which are what an administrator has to be told.

use std::time::Duration;

use super::refusal::Refusal;
use super::{Identity, Resource};
use crate::config::Launcher;
use crate::config::oauth::OAuth;
use crate::model::{Fault, ServiceName};
use crate::secret::Secret;
use crate::text::Lang;

/// What an authorization server grants.
#[derive(Clone, Debug)]
pub struct Grant {
    /// The access token: good for one resource, opaque.
    pub access: Secret,
    /// The refresh token, where there is a new one; else the old one stays good.
    pub refresh: Option<Secret>,
    /// How long the access token lasts.
    pub expires_in: Duration,
    /// What was granted, as the server spells it; `None` where it is what was asked for.
    pub scope: Option<String>,
    /// Who signed in, where the server says so.
    pub identity: Option<Identity>,
    /// Every name by which the server knows that account.
    pub names: Vec<String>,
}

/// A code that a person types in a browser (RFC 8628, 3.2).
#[derive(Clone, Debug)]
pub struct DeviceCode {
    /// What to type.
    pub user_code: String,
    /// Where, as the server says it.
    pub verification_uri: String,
    /// The same with the code in it; Microsoft sends none.
    pub verification_uri_complete: Option<String>,
    /// The server's own sentence about it.
    pub message: Option<String>,
    /// How long the code is good.
    pub expires_in: Duration,
    /// How long to wait between two questions.
    pub interval: Duration,
    /// Ours; the person never sees it.
    pub device_code: Secret,
}

/// An authorization server, for one launcher. Cheap to clone.
#[derive(Clone)]
pub struct Authority {
    launcher: ServiceName,
    account: Option<String>,
    oauth: OAuth,
    client: reqwest::Client,
}

impl Authority {
    /// For a launcher that signs in with OAuth.
    ///
    /// # Errors
    /// It does not, or its trust or proxy is of no use (code `config`).
    pub fn new(launcher: &Launcher) -> Result<Self, Fault> {
        let _ = launcher;
        Err(skeleton())
    }

    /// An access token for `resource` from a refresh token (RFC 6749, 6); `claims` as the resource asked for them.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn refresh(&self, token: &Secret, resource: Resource, claims: Option<&str>) -> Result<Grant, Refusal> {
        let _ = (token, resource, claims);
        Err(Refusal::of(skeleton()))
    }

    /// An access token for the program itself (RFC 6749, 4.4), or for the account that a service account acts for.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn for_itself(&self, resource: Resource, claims: Option<&str>) -> Result<Grant, Refusal> {
        let _ = (resource, claims);
        Err(Refusal::of(skeleton()))
    }

    /// Asks for a code that a person types in a browser (RFC 8628, 3.1).
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn device_code(&self, scopes: &[String], lang: Lang) -> Result<DeviceCode, Refusal> {
        let _ = (scopes, lang);
        Err(Refusal::of(skeleton()))
    }

    /// Asks once whether the person has typed it (RFC 8628, 3.4).
    ///
    /// # Errors
    /// See [`Refusal`]; [`Next::Wait`](super::refusal::Next::Wait): not yet.
    pub async fn poll(&self, code: &DeviceCode) -> Result<Grant, Refusal> {
        let _ = code;
        Err(Refusal::of(skeleton()))
    }
}

fn skeleton() -> Fault {
    Fault::new(crate::model::Code::Config, crate::text!("not in this version", "pas dans cette version"))
}
