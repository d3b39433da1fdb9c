//! Entra's endpoints: device codes and tokens, and every way in which they are refused.
//!
//! The texts of the errors are Microsoft's where they are known; programs must go by `error`, so they matter to people
//! only. What is issued stands in `tokens.rs`.

use std::collections::HashMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::http::{Answer, Asked, decoded};
use super::json::{guid, object};
use super::tokens::{Issued, Resource, Scopes};
use super::{DAEMON, DOMAIN, MARIE, PUBLIC, SECRET, TENANT, World, jwt, written};

/// The directory and its settings.
pub(crate) struct Entra {
    pub(crate) apps: Vec<App>,
    pub(crate) people: Vec<Person>,
    pub(crate) rotation: Rotation,
    /// Why no refresh token is taken any more.
    pub(crate) kill: Option<Kill>,
    /// So many refreshes fail for no reason (AADSTS50089), and the next one succeeds.
    pub(crate) transient: usize,
    /// Answers of the token endpoint in place of its own: one each.
    pub(crate) busy: Vec<Busy>,
    /// Seconds of an access token.
    pub(crate) expires_in: u64,
    /// `expires_in` is a text.
    pub(crate) expires_in_as_text: bool,
    /// Makes access tokens so much longer.
    pub(crate) token_pad: usize,
    /// Seconds between two polls, as told.
    pub(crate) interval: u64,
    /// Seconds of a device code.
    pub(crate) code_ttl: u64,
    /// Who polls too early is told so.
    pub(crate) slow_down: bool,
    /// No `suberror` is sent.
    pub(crate) no_suberror: bool,
    /// Done once the answer to a refresh is on its way.
    pub(crate) on_refresh: Option<Box<dyn FnOnce() + Send>>,
    pub(crate) issued: Issued,
    pub(super) codes: Vec<DeviceCode>,
}

/// An app registration.
pub(crate) struct App {
    pub(crate) id: &'static str,
    /// "Allow public client flows".
    pub(crate) public: bool,
    pub(crate) multi_tenant: bool,
    /// With the second after which each is over.
    pub(crate) secrets: Vec<(String, u64)>,
    /// DER.
    pub(crate) certificates: Vec<Vec<u8>>,
    /// Delegated permissions that were consented to, and the app's own.
    pub(crate) consents: Vec<&'static str>,
    pub(crate) roles: Vec<&'static str>,
    /// Exchange's policy: the only mailboxes that it may open by itself.
    pub(crate) only: Option<Vec<&'static str>>,
}

/// Somebody who signs in.
pub(crate) struct Person {
    pub(crate) upn: &'static str,
    pub(crate) oid: &'static str,
    /// Why no token is issued after the sign-in.
    pub(crate) barred: Option<Barred>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rotation {
    /// Each refresh gives a new token, and the old one stays good: Microsoft.
    KeepOld,
    /// Each refresh gives a new token; who uses an old one loses all: oidc-provider.
    RevokeOld,
    /// A refresh gives no new token: Google.
    NoNew,
}

/// Why a refresh token is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kill {
    Inactive,
    Revoked,
    SignInFrequency,
    Disabled,
}

/// Why a person who signed in gets nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Barred {
    Consent,
    /// With the word that stands in `error`.
    ConditionalAccess(&'static str),
    Mfa,
}

/// A token endpoint that has no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Busy {
    /// 429 with this `Retry-After`.
    Throttled(&'static str),
    /// 503 and a page.
    Page,
}

pub(super) struct DeviceCode {
    handle: String,
    pub(crate) user_code: String,
    client: String,
    tenant: String,
    scopes: Scopes,
    until: u64,
    /// When it may be polled again, and the seconds between two polls.
    polls: (Option<u64>, u64),
    state: CodeState,
}

enum CodeState {
    Pending,
    Declined,
    Approved(String),
    Used,
}

impl Entra {
    pub(super) fn new() -> Self {
        let app = |id| App {
            id,
            public: false,
            multi_tenant: true,
            secrets: Vec::new(),
            certificates: Vec::new(),
            consents: Vec::new(),
            roles: Vec::new(),
            only: None,
        };
        let consents = vec![
            "Mail.ReadWrite",
            "Mail.Read",
            "Mail.ReadWrite.Shared",
            "Mail.Read.Shared",
            "User.Read",
            "IMAP.AccessAsUser.All",
            "POP.AccessAsUser.All",
        ];
        let secrets = vec![(SECRET.to_owned(), u64::MAX)];
        let roles = vec!["Mail.ReadWrite", "IMAP.AccessAsApp", "POP.AccessAsApp"];
        let people = vec![
            Person { upn: MARIE, oid: "bb8775a4-4d8c-42cf-a1d4-4d58c2bb668f", barred: None },
            Person { upn: "paul@contoso.example", oid: "68ca8ec0-11f8-456b-a785-70d9936650d5", barred: None },
        ];
        Self {
            apps: vec![App { public: true, consents, ..app(PUBLIC) }, App { secrets, roles, ..app(DAEMON) }],
            people,
            rotation: Rotation::KeepOld,
            kill: None,
            transient: 0,
            busy: Vec::new(),
            expires_in: 3599,
            expires_in_as_text: false,
            token_pad: 0,
            interval: 5,
            code_ttl: 900,
            slow_down: false,
            no_suberror: false,
            on_refresh: None,
            issued: Issued::default(),
            codes: Vec::new(),
        }
    }

    pub(crate) fn app(&mut self, id: &str) -> &mut App {
        self.apps.iter_mut().find(|app| app.id == id).unwrap()
    }

    pub(crate) fn person(&mut self, upn: &str) -> &mut Person {
        self.people.iter_mut().find(|person| person.upn == upn).unwrap()
    }

    /// The user code of the latest device code, once there are `count`.
    pub(crate) fn user_code(&self, count: usize) -> Option<String> {
        self.codes.last().filter(|_| self.codes.len() >= count).map(|code| code.user_code.clone())
    }

    /// How many device codes there were.
    pub(crate) fn codes(&self) -> usize {
        self.codes.len()
    }

    /// A person enters the code and signs in.
    pub(crate) fn approve(&mut self, user_code: &str, upn: &str) {
        self.enter(user_code, CodeState::Approved(upn.to_owned()));
    }

    /// A person enters the code and refuses.
    pub(crate) fn decline(&mut self, user_code: &str) {
        self.enter(user_code, CodeState::Declined);
    }

    fn enter(&mut self, user_code: &str, state: CodeState) {
        let code = self.codes.iter_mut().find(|code| code.user_code == user_code).unwrap();
        assert!(matches!(code.state, CodeState::Pending), "a code is entered once");
        code.state = state;
    }

    /// Everything that must appear nowhere in clear: tokens, device codes, the secrets of clients.
    pub(crate) fn secrets(&self) -> Vec<String> {
        let codes = self.codes.iter().map(|code| code.handle.clone());
        let own = self.apps.iter().flat_map(|app| app.secrets.iter().map(|(secret, _)| secret.clone()));
        codes.chain(own).chain(self.issued.all()).collect()
    }
}

/// A refusal on its way.
type Refused = Answer;

/// Answers a request to the token endpoints.
pub(super) fn answer(world: &mut World, asked: &Asked) -> Answer {
    let path = asked.path();
    let segments: Vec<&str> = path.iter().map(String::as_str).collect();
    let outcome = match segments.as_slice() {
        [tenant, "oauth2", "v2.0", "devicecode"] => device_code(world, asked, tenant),
        [tenant, "oauth2", "v2.0", "token"] => token(world, asked, tenant),
        _ => return Answer::new(404, "text/html", "<html><body>404</body></html>"),
    };
    let answer = outcome.unwrap_or_else(|refused| refused);
    answer
        .with("Cache-Control", "no-store, no-cache")
        .with("Pragma", "no-cache")
        .with("x-ms-request-id", guid())
        .with("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
}

const MEDIA_TYPE: &str = "application/json; charset=utf-8";

fn device_code(world: &mut World, asked: &Asked, tenant: &str) -> Result<Answer, Refused> {
    let (form, client) = opening(world, asked, tenant)?;
    let scopes = scopes(world, &form)?;
    let french = asked.query().iter().any(|(name, value)| name == "mkt" && value.starts_with("fr"));
    let (user_code, code) = (user_code(), format!("D{}", opaque(180)));
    let page = "https://microsoft.com/devicelogin";
    let message = if french {
        format!(
            "Pour vous connecter, utilisez un navigateur web pour ouvrir la page {page} et entrez le code {user_code} pour vous authentifier."
        )
    } else {
        format!("To sign in, use a web browser to open the page {page} and enter the code {user_code} to authenticate.")
    };
    let entra = &mut world.entra;
    let body = object(&[
        ("user_code", json!(user_code)),
        ("device_code", json!(code)),
        ("verification_uri", json!(page)),
        ("expires_in", json!(entra.code_ttl)),
        ("interval", json!(entra.interval)),
        ("message", json!(message)),
    ]);
    let until = world.clock.seconds() + entra.code_ttl;
    let (tenant, polls) = (tenant.to_owned(), (None, entra.interval));
    let state = CodeState::Pending;
    entra.codes.push(DeviceCode { handle: code, user_code, client, tenant, scopes, until, polls, state });
    Ok(Answer::new(200, MEDIA_TYPE, body))
}

type Fields = HashMap<String, String>;

/// What both endpoints look at first: the method, the tenant, the client. Answers the form and the client.
fn opening(world: &World, asked: &Asked, tenant: &str) -> Result<(Fields, String), Refused> {
    if asked.method != "POST" {
        let text = format!("The endpoint only accepts POST requests. Received a {} request.", asked.method);
        return Err(refuse(world, 400, "invalid_request", Some(900_561), &text, &[]));
    }
    let form: Fields = asked.form().into_iter().collect();
    let Some(client) = form.get("client_id").cloned() else { return Err(missing(world, "client_id")) };
    let aliases = ["common", "organizations", "consumers", TENANT, DOMAIN];
    if !aliases.contains(&tenant) {
        let text = format!(
            "Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are \
                            signing into the correct cloud."
        );
        return Err(refuse(world, 400, "invalid_request", Some(90002), &text, &[]));
    }
    let Some(app) = world.entra.apps.iter().find(|app| app.id == client) else {
        let text = format!(
            "Application with identifier '{client}' was not found in the directory '{tenant}'. This can \
                            happen if the application has not been installed by the administrator of the tenant."
        );
        return Err(refuse(world, 400, "unauthorized_client", Some(700_016), &text, &[]));
    };
    if !app.multi_tenant && tenant == "common" {
        let text = format!(
            "Application '{client}'(pertuis) is not configured as a multi-tenant application. Usage of \
                            the /common endpoint is not supported for such apps created after '10/15/2018'."
        );
        return Err(refuse(world, 400, "invalid_request", Some(50194), &text, &[]));
    }
    Ok((form, client))
}

fn missing(world: &World, name: &str) -> Refused {
    let text = format!("The request body must contain the following parameter: '{name}'.");
    refuse(world, 400, "invalid_request", Some(900_144), &text, &[])
}

fn scopes(world: &World, form: &Fields) -> Result<Scopes, Refused> {
    let Some(text) = form.get("scope") else { return Err(missing(world, "scope")) };
    Scopes::parse(text, &world.root).map_err(|(code, text)| refuse(world, 400, "invalid_scope", Some(code), &text, &[]))
}

fn token(world: &mut World, asked: &Asked, tenant: &str) -> Result<Answer, Refused> {
    match world.entra.busy.pop() {
        Some(Busy::Throttled(wait)) => {
            let text = "Throttled. Please retry later.";
            let refused = refuse(world, 429, "temporarily_unavailable", Some(90033), text, &[]);
            return Err(refused.with("Retry-After", wait));
        }
        Some(Busy::Page) => return Err(Answer::new(503, "text/html", "<html>Service Unavailable</html>")),
        None => {}
    }
    let (form, client) = opening(world, asked, tenant)?;
    match form.get("grant_type").map(String::as_str) {
        Some("urn:ietf:params:oauth:grant-type:device_code") => by_device_code(world, &form, &client, tenant),
        Some("refresh_token") => by_refresh_token(world, &form, &client),
        Some("client_credentials") => by_itself(world, asked, &form, &client, tenant),
        Some(other) => {
            let text = format!("The app requested an unsupported grant type '{other}'.");
            Err(refuse(world, 400, "unsupported_grant_type", Some(70003), &text, &[]))
        }
        None => Err(missing(world, "grant_type")),
    }
}

fn by_device_code(world: &mut World, form: &Fields, client: &str, tenant: &str) -> Result<Answer, Refused> {
    let Some(asked) = form.get("device_code") else { return Err(missing(world, "device_code")) };
    let (now, slow_down) = (world.clock.seconds(), world.entra.slow_down);
    let found = world
        .entra
        .codes
        .iter()
        .position(|code| code.handle == *asked && code.client == client && code.tenant == tenant);
    let Some(at) = found else {
        let text = "The provided value for the input parameter 'device_code' is not valid.";
        return Err(refuse(world, 400, "bad_verification_code", Some(70018), text, &[]));
    };
    let code = &mut world.entra.codes[at];
    let early = code.polls.0.is_some_and(|next| now < next);
    code.polls.1 += if early && slow_down { 5 } else { 0 };
    code.polls.0 = Some(now + code.polls.1);
    if early && slow_down {
        let body = object(&[("error", json!("slow_down")), ("error_description", json!("Too many requests."))]);
        return Err(Answer::new(400, MEDIA_TYPE, body));
    }
    let until = code.until;
    let upn = match &code.state {
        CodeState::Used => {
            let text = "OAuth2 Authorization code was already redeemed, please retry with a new valid code.";
            return Err(refuse(world, 400, "invalid_grant", Some(54005), text, &[]));
        }
        _ if now >= until => {
            let text =
                "The provided value for the input parameter 'device_code' is not valid. This device code has expired.";
            return Err(refuse(world, 400, "expired_token", Some(70020), text, &[]));
        }
        CodeState::Pending => {
            let text = "OAuth 2.0 device flow error. Authorization is pending. Continue polling.";
            return Err(refuse(world, 400, "authorization_pending", Some(70016), text, &[]));
        }
        CodeState::Declined => {
            let text = "The user declined to authenticate.";
            return Err(refuse(world, 400, "authorization_declined", Some(70018), text, &[]));
        }
        CodeState::Approved(upn) => upn.clone(),
    };
    let scopes = code.scopes.clone();
    public_only(world, form, client)?;
    allowed(world, client, &upn, &scopes)?;
    world.entra.codes[at].state = CodeState::Used;
    let body = super::tokens::delegated(world, client, &upn, &scopes, form.get("claims"), None);
    Ok(Answer::new(200, MEDIA_TYPE, body))
}

/// A client without a secret has to be registered as one, and one that is sends none.
fn public_only(world: &World, form: &Fields, client: &str) -> Result<(), Refused> {
    let app = world.entra.apps.iter().find(|app| app.id == client).unwrap();
    if app.public && form.contains_key("client_secret") {
        let text = "Client is public so neither 'client_assertion' nor 'client_secret' should be presented.";
        return Err(refuse(world, 401, "invalid_client", Some(700_025), text, &[]));
    }
    if !app.public && !form.contains_key("client_secret") {
        let text = "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.";
        return Err(refuse(world, 401, "invalid_client", Some(7_000_218), text, &[]));
    }
    Ok(())
}

/// Whether the person may have these scopes for the client.
fn allowed(world: &World, client: &str, upn: &str, scopes: &Scopes) -> Result<(), Refused> {
    let app = world.entra.apps.iter().find(|app| app.id == client).unwrap();
    let barred = world.entra.people.iter().find(|person| person.upn == upn).unwrap().barred;
    let lacks =
        scopes.permissions.iter().any(|wanted| wanted != ".default" && !app.consents.contains(&wanted.as_str()));
    match barred {
        Some(Barred::ConditionalAccess(error)) => {
            let text = "Access has been blocked by Conditional Access policies. The access policy does not allow token issuance.";
            let claims =
                format!("{{\"access_token\":{{\"capolids\":{{\"essential\":true,\"values\":[\"{}\"]}}}}}}", guid());
            let extra = [("suberror", "message_only"), ("claims", &claims)];
            Err(refuse(world, 400, error, Some(53003), text, &extra))
        }
        Some(Barred::Mfa) => {
            let text = "Due to a configuration change made by your administrator, or because you moved to a new location, \
                        you must use multi-factor authentication to access '00000003-0000-0000-c000-000000000000'.";
            Err(refuse(world, 400, "invalid_grant", Some(50076), text, &[("suberror", "basic_action")]))
        }
        Some(Barred::Consent) => Err(no_consent(world, client)),
        None if lacks => Err(no_consent(world, client)),
        None => Ok(()),
    }
}

fn no_consent(world: &World, client: &str) -> Refused {
    let text = format!(
        "The user or administrator has not consented to use the application with ID '{client}' named \
                        'pertuis'. Send an interactive authorization request for this user and resource."
    );
    refuse(world, 400, "invalid_grant", Some(65001), &text, &[("suberror", "consent_required")])
}

fn by_refresh_token(world: &mut World, form: &Fields, client: &str) -> Result<Answer, Refused> {
    let Some(token) = form.get("refresh_token") else { return Err(missing(world, "refresh_token")) };
    public_only(world, form, client)?;
    if world.entra.transient > 0 {
        world.entra.transient -= 1;
        let text = "Flow token expired - Authentication failed. Have the user try signing-in again.";
        return Err(refuse(world, 400, "invalid_grant", Some(50089), text, &[]));
    }
    if let Some(kill) = world.entra.kill {
        return Err(killed(world, kill));
    }
    let Some((family, upn, granted)) = super::tokens::redeem(world, token, client) else {
        let revoked = world.entra.issued.knows(token);
        let kill = if revoked { Kill::Revoked } else { return Err(malformed(world)) };
        return Err(killed(world, kill));
    };
    if super::tokens::is_stale(world, token) {
        return Err(killed(world, Kill::Inactive));
    }
    let scopes = if form.contains_key("scope") { scopes(world, form)?.with_refresh(&granted) } else { granted };
    allowed(world, client, &upn, &scopes)?;
    super::tokens::used(world, token);
    let body = super::tokens::delegated(world, client, &upn, &scopes, form.get("claims"), Some(family));
    let mut answer = Answer::new(200, MEDIA_TYPE, body);
    answer.held = world.entra.on_refresh.take().map(|deed| Box::new(super::OnDrop(Some(deed))) as Box<_>);
    Ok(answer)
}

fn malformed(world: &World) -> Refused {
    let text = "The provided value for the input parameter 'refresh_token' or 'assertion' is not valid.";
    refuse(world, 400, "invalid_grant", Some(9_002_313), text, &[])
}

fn killed(world: &World, kill: Kill) -> Refused {
    let born = written(world.clock.now() - Duration::from_hours(90 * 24), "%Y-%m-%dT%H:%M:%S.2732417Z");
    let (code, text, suberror) = match kill {
        Kill::Inactive => {
            let text = format!(
                "The refresh token has expired due to inactivity. The token was issued on {born} and was \
                                inactive for 90.00:00:00."
            );
            (700_082, text, Some("bad_token"))
        }
        Kill::Revoked => {
            let text = format!(
                "The provided grant has expired due to it being revoked, a fresh auth token is needed. \
                                The user might have changed or reset their password. The grant was issued on '{born}'."
            );
            (50173, text, Some("bad_token"))
        }
        Kill::SignInFrequency => {
            let text = format!(
                "The refresh token has expired or is invalid due to sign-in frequency checks by \
                                conditional access. The token was issued on {born} and the maximum allowed lifetime for \
                                this request is 86400."
            );
            (70043, text, Some("token_expired"))
        }
        Kill::Disabled => (50057, "The user account is disabled.".to_owned(), None),
    };
    let extra: Vec<_> =
        suberror.filter(|_| !world.entra.no_suberror).map(|word| ("suberror", word)).into_iter().collect();
    refuse(world, 400, "invalid_grant", Some(code), &text, &extra)
}

fn by_itself(world: &mut World, asked: &Asked, form: &Fields, client: &str, tenant: &str) -> Result<Answer, Refused> {
    if ["common", "consumers", "organizations"].contains(&tenant) {
        let text = format!(
            "The client credentials flow is not supported on the /{tenant} endpoint: a tenant-specific \
                            endpoint is needed."
        );
        return Err(refuse(world, 400, "invalid_request", Some(9_001_023), &text, &[]));
    }
    let scopes = scopes(world, form)?;
    if scopes.permissions != [".default"] {
        let text = "The provided value for the input parameter 'scope' is not valid. Client credential flows must have a \
                    scope value with /.default suffixed to the resource identifier (application ID URI).";
        return Err(refuse(world, 400, "invalid_scope", Some(70011), text, &[]));
    }
    authenticated(world, asked, form, client, tenant)?;
    let body = super::tokens::own(world, client, scopes.resource.unwrap_or(Resource::Graph), form.get("claims"));
    Ok(Answer::new(200, MEDIA_TYPE, body))
}

fn authenticated(world: &World, asked: &Asked, form: &Fields, client: &str, tenant: &str) -> Result<(), Refused> {
    let invalid = |code, text: &str| refuse(world, 401, "invalid_client", Some(code), text, &[]);
    let (now, app) = (world.clock.seconds(), world.entra.apps.iter().find(|app| app.id == client).unwrap());
    if let Some(assertion) = form.get("client_assertion") {
        let wanted = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
        if form.get("client_assertion_type").map(String::as_str) != Some(wanted) {
            return Err(missing(world, "client_assertion_type"));
        }
        let claims = jwt::verified(assertion, &app.certificates)
            .map_err(|why| invalid(700_027, &format!("The certificate used to sign the client assertion: {why}.")))?;
        let audience = format!("{}/{tenant}/oauth2/v2.0/token", world.root);
        if claims["aud"] != audience || claims["iss"] != client || claims["sub"] != client || claims["jti"].is_null() {
            return Err(invalid(700_027, &format!("Client assertion failed: aud, iss, sub or jti: {claims}.")));
        }
        let (from, until) = (claims["nbf"].as_u64().unwrap_or(0), claims["exp"].as_u64().unwrap_or(0));
        if from > now + 300 || until <= now || until > now + 86400 {
            return Err(invalid(700_024, "Client assertion is not within its valid time range."));
        }
        return Ok(());
    }
    let Some(secret) = form.get("client_secret").cloned().or_else(|| basic_secret(asked)) else {
        let text = "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.";
        return Err(invalid(7_000_218, text));
    };
    if app.public && app.secrets.is_empty() {
        let text = "Client is public so neither 'client_assertion' nor 'client_secret' should be presented.";
        return Err(invalid(700_025, text));
    }
    match app.secrets.iter().find(|(own, _)| *own == secret) {
        Some((_, until)) if *until <= now => {
            let text = format!("The provided client secret keys for app '{client}' are expired.");
            Err(invalid(7_000_222, &text))
        }
        Some(_) => Ok(()),
        None => {
            let text = "Invalid client secret provided. Ensure the secret being sent in the request is the client secret \
                        value, not the client secret ID.";
            Err(invalid(7_000_215, text))
        }
    }
}

/// The secret of `Authorization: Basic` (RFC 6749, 2.3.1: form-encoded before it is base64).
fn basic_secret(asked: &Asked) -> Option<String> {
    let value = asked.header("authorization")?.strip_prefix("Basic ")?;
    let pair = String::from_utf8(STANDARD.decode(value).ok()?).ok()?;
    Some(decoded(pair.split_once(':')?.1, true))
}

/// The envelope of every refusal, its keys in Microsoft's order.
fn refuse(world: &World, status: u16, error: &str, code: Option<u32>, text: &str, extra: &[(&str, &str)]) -> Refused {
    let (trace, correlation) = (guid(), guid());
    let time = world.clock.written("%Y-%m-%d %H:%M:%SZ");
    let code = code.unwrap_or(0);
    let description =
        format!("AADSTS{code}: {text}\r\nTrace ID: {trace}\r\nCorrelation ID: {correlation}\r\nTimestamp: {time}");
    let mut fields = vec![
        ("error", json!(error)),
        ("error_description", json!(description)),
        ("error_codes", json!([code])),
        ("timestamp", json!(time)),
        ("trace_id", json!(trace)),
        ("correlation_id", json!(correlation)),
        ("error_uri", json!(format!("https://login.microsoftonline.com/error?code={code}"))),
    ];
    fields.extend(extra.iter().map(|(name, value)| (*name, Value::from(*value))));
    Answer::new(status, MEDIA_TYPE, object(&fields))
}

/// Nine letters and digits that cannot be mistaken for one another.
fn user_code() -> String {
    const LETTERS: &[u8] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
    opaque(9).bytes().map(|byte| char::from(LETTERS[usize::from(byte) % LETTERS.len()])).collect()
}

/// An opaque text of so many characters, another one each time.
pub(super) fn opaque(length: usize) -> String {
    let mut text = String::new();
    while text.len() < length {
        text += &pertuis::tls::nonce().unwrap().replace(['+', '/', '='], "x");
    }
    text.truncate(length);
    text
}
