//! The conversations with an authorization server: one request, one [`Grant`] or [`Refusal`].
//!
//! Not a store and not a loop: nothing is kept between two requests but the HTTP client, and who asks again, when, is the
//! caller's (`device`, `tokens`). Written by hand on reqwest: the crates for this throw away `error_codes`,
//! `suberror` and the rest, which are what an administrator has to be told.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use zeroize::Zeroizing;

use super::advice::{self, Words};
use super::form::{Form, encoded};
use super::google::{self, CodeRequest};
use super::refusal::{Next, Refusal};
use super::{Identity, Resource, assertion, identity, scopes, store, wire};
use crate::config::Launcher;
use crate::config::oauth::{Credential, OAuth, Provider};
use crate::model::{Code, Fault, ServiceName};
use crate::net::web;
use crate::secret::Secret;
use crate::text;
use crate::text::{Lang, Text};

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
    /// The server's own sentence about it, in the language that was asked for where it has it.
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
    name: ServiceName,
    account: Option<String>,
    oauth: Arc<OAuth>,
    /// What is asked of Graph, and what would do as well.
    graph: &'static [&'static str],
    client: reqwest::Client,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("name", &self.name).field("oauth", &self.oauth).finish_non_exhaustive()
    }
}

impl Authority {
    /// For a launcher that signs in with OAuth. Its trust and proxy hold for this server too.
    ///
    /// # Errors
    /// It does not sign in so, or its trust or proxy is of no use (code `config`).
    pub fn new(launcher: &Launcher) -> Result<Self, Fault> {
        let Some(oauth) = launcher.oauth.clone() else { return Err(no_sign_in(&launcher.name)) };
        // no connection is kept: it would be driven by the thread of the launcher that opened it, which may be busy or gone
        // when another one asks
        let builder = web::builder(launcher, &oauth.authority)?.pool_max_idle_per_host(0);
        let client = builder.build().map_err(|error| web::fault("-", &error))?;
        let (name, account, graph) = (launcher.name.clone(), launcher.account.clone(), scopes::graph(launcher));
        Ok(Self { name, account, oauth: Arc::new(oauth), graph, client })
    }

    /// Whether the files with which the program proves who it is are of use; nobody is asked.
    ///
    /// # Errors
    /// They are missing, or not what they should be (code `config`).
    pub fn check_files(&self) -> Result<(), Fault> {
        let now = SystemTime::now();
        match &self.oauth.credential {
            Credential::Person { .. } | Credential::Secret(_) => Ok(()),
            Credential::Certificate { cert, key } => {
                assertion::by_certificate((cert, key), &self.oauth.client_id, "", now).map(drop)
            }
            Credential::ServiceAccount(file) => assertion::by_service_account(file, "", "", "", now).map(drop),
        }
    }

    /// An access token for `resource` from a refresh token (RFC 6749, 6); `claims` (JSON) as the resource asked for them.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn refresh(&self, token: &Secret, resource: Resource, claims: Option<&str>) -> Result<Grant, Refusal> {
        let mut first = None;
        for scope in scopes::of_renewal(&self.oauth, resource, self.graph) {
            let form = Form::default().with("grant_type", "refresh_token").with("client_id", &self.oauth.client_id);
            let form = self.authenticated(form)?.with_secret("refresh_token", token).with("scope", &scope);
            match self.tokens(form.with_some("claims", claims)).await {
                Err(refusal) if refusal.is_of_scope() => first = first.or(Some(refusal)),
                ended => return ended,
            }
        }
        Err(first.unwrap_or_else(|| self.unreadable()))
    }

    /// An access token for the program itself (RFC 6749, 4.4), or for the account that a service account acts for
    /// (RFC 7523, 2.1).
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn for_itself(&self, resource: Resource, claims: Option<&str>) -> Result<Grant, Refusal> {
        let scope = scopes::of_the_program(&self.oauth, resource);
        let form = match &self.oauth.credential {
            Credential::Person { .. } => return Err(Refusal::of(nobody(&self.name))),
            Credential::ServiceAccount(file) => {
                let Some(account) = &self.account else { return Err(Refusal::of(no_account(&self.name))) };
                let audience = google::token_url(&self.oauth);
                let assertion = assertion::by_service_account(file, account, &scope, &audience, SystemTime::now());
                let form = Form::default().with("grant_type", JWT_BEARER);
                form.with_secret("assertion", &assertion.map_err(Refusal::of)?)
            }
            Credential::Secret(_) | Credential::Certificate { .. } => {
                self.one_directory()?;
                let form = Form::default().with("grant_type", "client_credentials");
                self.authenticated(form.with("client_id", &self.oauth.client_id))?.with("scope", &scope)
            }
        };
        self.tokens(form.with_some("claims", claims)).await
    }

    /// Asks for a code that a person types in a browser (RFC 8628, 3.1), for these permissions of one resource.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn device_code(&self, permissions: &[String], lang: Lang) -> Result<DeviceCode, Refusal> {
        let market = if lang == Lang::Fr { "?mkt=fr-FR" } else { "" };
        let url = format!("{}{market}", self.microsoft("devicecode"));
        let form = Form::default()
            .with("client_id", &self.oauth.client_id)
            .with("scope", &scopes::of_sign_in(permissions, self.oauth.provider));
        let answer = wire::post(&self.client, &url, form, &self.words()).await?;
        let code: CodeAnswer = serde_json::from_value(answer).map_err(|_| self.unreadable())?;
        code.checked().ok_or_else(|| self.unreadable())
    }

    /// Asks once whether the person has typed it (RFC 8628, 3.4).
    ///
    /// # Errors
    /// See [`Refusal`]; [`Next::Wait`]: not yet.
    pub async fn poll(&self, code: &DeviceCode) -> Result<Grant, Refusal> {
        let form = Form::default().with("grant_type", DEVICE_CODE).with("client_id", &self.oauth.client_id);
        self.tokens(self.authenticated(form)?.with_secret("device_code", &code.device_code)).await
    }

    /// The page on which a person signs in at Google, whose answer goes to `redirect`.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn page(&self, permissions: &[String], redirect: &str) -> Result<CodeRequest, Fault> {
        let scope = scopes::of_sign_in(permissions, self.oauth.provider);
        CodeRequest::new(&self.oauth, &scope, self.account.as_deref(), redirect)
    }

    /// Redeems the code that the page gave (RFC 6749, 4.1.3; RFC 7636, 4.5).
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn code(&self, request: &CodeRequest, code: &Secret) -> Result<Grant, Refusal> {
        let form = Form::default().with("grant_type", "authorization_code").with("client_id", &self.oauth.client_id);
        let form = self
            .authenticated(form)?
            .with_secret("code", code)
            .with("redirect_uri", &request.redirect)
            .with_secret("code_verifier", &request.verifier);
        self.tokens(form).await
    }

    /// What the page said instead of giving a code.
    pub fn declined(&self, error: &str) -> Refusal {
        let answer = serde_json::json!({ "error": error });
        Refusal::said(&answer, &self.words(), &[]).unwrap_or_else(|| self.unreadable())
    }

    /// Nobody signed in with a code in time.
    pub(super) fn expired(&self) -> Refusal {
        self.declined("expired_token")
    }

    async fn tokens(&self, form: Form) -> Result<Grant, Refusal> {
        let url = match self.oauth.provider {
            Provider::Microsoft => self.microsoft("token"),
            Provider::Google => google::token_url(&self.oauth),
        };
        let answer = wire::post(&self.client, &url, form, &self.words()).await?;
        serde_json::from_value::<TokenAnswer>(answer).map(Grant::from).map_err(|_| self.unreadable())
    }

    /// `{authority}/{tenant}/oauth2/v2.0/…`: the same tenant in every request of a conversation.
    fn microsoft(&self, endpoint: &str) -> String {
        let OAuth { authority, tenant, .. } = self.oauth.as_ref();
        format!("{authority}/{}/oauth2/v2.0/{endpoint}", encoded(tenant))
    }

    /// Adds what proves that we are the application (RFC 6749, 2.3.1; RFC 7523, 2.2); public clients have nothing.
    fn authenticated(&self, form: Form) -> Result<Form, Refusal> {
        match &self.oauth.credential {
            Credential::Person { secret: None } | Credential::ServiceAccount(_) => Ok(form),
            Credential::Person { secret: Some(secret) } | Credential::Secret(secret) => {
                Ok(form.with_secret("client_secret", secret))
            }
            Credential::Certificate { cert, key } => {
                let audience = self.microsoft("token");
                let now = SystemTime::now();
                let signed = assertion::by_certificate((cert, key), &self.oauth.client_id, &audience, now);
                let form = form.with("client_assertion_type", CLIENT_ASSERTION);
                Ok(form.with_secret("client_assertion", &signed.map_err(Refusal::of)?))
            }
        }
    }

    /// An application is known in one directory; these words stand for whichever a person is of.
    fn one_directory(&self) -> Result<(), Refusal> {
        let tenant = &self.oauth.tenant;
        if !["common", "organizations", "consumers"].iter().any(|word| word.eq_ignore_ascii_case(tenant)) {
            return Ok(());
        }
        let text = text!(
            "tenant = {tenant}: an application that works for itself has one directory: put its ID into `tenant`",
            "tenant = {tenant} : une application qui travaille pour elle-même a un seul annuaire : mettre son ID dans `tenant`"
        );
        Err(Refusal::of(Fault::new(Code::Config, text)))
    }

    /// What goes into the advice of a refusal.
    fn words(&self) -> Words {
        let OAuth { authority, tenant, client_id, .. } = self.oauth.as_ref();
        Words {
            provider: advice::name(self.oauth.provider),
            person: self.oauth.credential.is_person(),
            login: format!("`{}`", store::login(&self.name)),
            consent: format!("{authority}/{}/adminconsent?client_id={}", encoded(tenant), encoded(client_id)),
            tenant: tenant.clone(),
            client: client_id.clone(),
        }
    }

    fn unreadable(&self) -> Refusal {
        let provider = advice::name(self.oauth.provider);
        let text = text!(
            "{provider} answers with something else than a grant: check `authority`, and whether a proxy answers in its place",
            "{provider} répond autre chose qu'un jeton : vérifier `authority`, et si un proxy répond à sa place"
        );
        let fault = Fault::new(Code::Protocol, text);
        Refusal { fault, next: Next::Later(None), error: String::new(), aadsts: None, trace: Box::default() }
    }
}

/// RFC 6749, 5.1.
#[derive(Deserialize)]
struct TokenAnswer {
    access_token: String,
    refresh_token: Option<String>,
    #[serde(default, deserialize_with = "seconds")]
    expires_in: Option<u64>,
    scope: Option<String>,
    id_token: Option<String>,
}

impl From<TokenAnswer> for Grant {
    fn from(answer: TokenAnswer) -> Self {
        let TokenAnswer { access_token, refresh_token, expires_in, scope, id_token } = answer;
        let id_token = id_token.map(Zeroizing::new);
        let account = id_token.as_ref().and_then(|token| identity::of_token(token));
        let (identity, names) = account.map_or((None, Vec::new()), |(identity, names)| (Some(identity), names));
        Self {
            access: Secret::new(access_token),
            refresh: refresh_token.filter(|token| !token.is_empty()).map(Secret::new),
            expires_in: Duration::from_secs(expires_in.unwrap_or(EXPIRES_IN).min(LONGEST_TOKEN)),
            scope,
            identity,
            names,
        }
    }
}

/// RFC 8628, 3.2.
#[derive(Deserialize)]
struct CodeAnswer {
    device_code: String,
    user_code: String,
    verification_uri: Option<String>,
    // what servers before the standard call it
    verification_url: Option<String>,
    verification_uri_complete: Option<String>,
    message: Option<String>,
    #[serde(default, deserialize_with = "seconds")]
    expires_in: Option<u64>,
    #[serde(default, deserialize_with = "seconds")]
    interval: Option<u64>,
}

impl CodeAnswer {
    /// What may be shown to a person; `None` where a part that is needed is empty.
    fn checked(self) -> Option<DeviceCode> {
        let shown = |text: String| -> Option<String> {
            let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST_SHOWN).collect();
            Some(text.split_whitespace().collect::<Vec<_>>().join(" ")).filter(|text| !text.is_empty())
        };
        Some(DeviceCode {
            user_code: shown(self.user_code)?,
            verification_uri: self.verification_uri.or(self.verification_url).and_then(shown)?,
            verification_uri_complete: self.verification_uri_complete.and_then(shown),
            message: self.message.and_then(shown),
            expires_in: Duration::from_secs(self.expires_in.unwrap_or(CODE_EXPIRES_IN).min(LONGEST_CODE)),
            interval: Duration::from_secs(self.interval.unwrap_or(INTERVAL).clamp(1, LONGEST_INTERVAL)),
            device_code: Secret::new(self.device_code),
        })
    }
}

/// Seconds as a number, or in quotation marks as some servers write them.
fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let value = Option::<Value>::deserialize(deserializer)?;
    Ok(match value {
        Some(Value::Number(number)) => number.as_u64().or_else(|| whole(number.as_f64()?)),
        Some(Value::String(text)) => text.trim().parse().ok(),
        _ => None,
    })
}

fn whole(seconds: f64) -> Option<u64> {
    Duration::try_from_secs_f64(seconds).ok().map(|duration| duration.as_secs())
}

fn no_sign_in(name: &ServiceName) -> Fault {
    let text = text!(
        "{name} signs in without OAuth: it needs no `pertuis login`",
        "{name} se connecte sans OAuth : il n'a pas besoin de `pertuis login`"
    );
    Fault::new(Code::Config, text)
}

/// Asked for a token of the program's own, where a person signs in.
fn nobody(name: &ServiceName) -> Fault {
    let command = store::login(name);
    Fault::new(Code::Credentials, text!("nobody signed in: `{command}`", "personne ne s'est connecté : `{command}`"))
}

fn no_account(name: &ServiceName) -> Fault {
    let Text { en, fr } = text!(
        "a service account acts for a user: name the mailbox with `account =`",
        "un compte de service agit pour un utilisateur : nommer la boîte par `compte =`"
    );
    Fault::new(Code::Config, text!("{name}: {en}", "{name} : {fr}"))
}

/// RFC 8628, 3.4.
const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// RFC 7523, 2.1 and 2.2.
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const CLIENT_ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// Of an access token, where the server does not say it.
const EXPIRES_IN: u64 = 3600;
/// No access token lasts longer (28 hours are Microsoft's most); a larger number must not bring a clock to overflow.
const LONGEST_TOKEN: u64 = 30 * 24 * 3600;
/// Of a code (Microsoft's), where the server does not say it.
const CODE_EXPIRES_IN: u64 = 900;
/// RFC 8628, 3.2.
const INTERVAL: u64 = 5;
/// No server can mean more.
const LONGEST_INTERVAL: u64 = 300;
const LONGEST_CODE: u64 = 24 * 3600;
const LONGEST_SHOWN: usize = 1000;

#[cfg(test)]
mod tests;
