//! Requests to Microsoft Graph: token, trust, patience, and what is tried again.
//!
//! Not what is asked: paths and their meaning are the other files'. Every request asks for immutable ids, carries an id of
//! its own that Microsoft finds in its logs, and goes through the [`Gate`]. The token goes to `graph_root` and nowhere
//! else: no redirect is followed, and a link is followed only where it leads there. An answer whose end cannot be told
//! from a cut (no `Content-Length`, no chunks) is none.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hyper::body::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderMap, HeaderValue, TRANSFER_ENCODING, WWW_AUTHENTICATE};
use reqwest::{Method, StatusCode, Url};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};
use zeroize::Zeroizing;

use super::gate::{Gate, Place};
use super::json::error_of;
use super::trouble::Refusal;
use crate::backoff::Backoff;
use crate::config::Launcher;
use crate::model::{Code, Fault};
use crate::net::web;
use crate::oauth::{Resource, TokenError, Tokens, store};
use crate::secret::Secret;
use crate::source::SourceError;
use crate::source::connect::Pace;
use crate::text;
use crate::text::Text;

/// Where access tokens come from.
#[async_trait]
pub(super) trait Bearer: Send + Sync {
    /// One that is good for at least a minute.
    async fn access(&self) -> Result<Secret, TokenError>;

    /// The server refused this one, with the claims (JSON) that another one must have.
    fn refused(&self, access: &Secret, claims: Option<String>);
}

#[async_trait]
impl Bearer for Tokens {
    async fn access(&self) -> Result<Secret, TokenError> {
        Tokens::access(self, Resource::Graph).await
    }

    fn refused(&self, access: &Secret, claims: Option<String>) {
        Tokens::refused(self, Resource::Graph, access, claims);
    }
}

/// How long what may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// A server that says nothing for so long is given up.
    pub(super) patience: Duration,
    /// The first pause before what failed is tried again, where the server names none.
    pub(super) first_retry: Duration,
    /// The longest pause that is waited for; beyond it the cycle ends.
    pub(super) longest_wait: Duration,
}

/// Graph, for one mailbox. Clones share everything.
#[derive(Clone)]
pub(super) struct Client(Arc<Inner>);

struct Inner {
    http: reqwest::Client,
    /// The command that signs in anew; `None` where the application does so itself.
    login: Option<String>,
    /// With the version.
    root: Url,
    host: String,
    /// `me`, or `users` and who.
    mailbox: Vec<String>,
    bearer: Arc<dyn Bearer>,
    gate: Arc<Gate>,
    times: Times,
}

/// What is asked.
#[derive(Clone, Debug)]
pub(super) struct Request {
    method: Method,
    url: Url,
    body: Option<Value>,
    page: Option<u16>,
    /// How often it is asked before it counts as refused.
    tries: u32,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Ended {
    /// It broke off, which may go better.
    Cut(Fault),
    /// There is nothing to be had now.
    Done(SourceError),
}

impl From<SourceError> for Ended {
    fn from(error: SourceError) -> Self {
        Self::Done(error)
    }
}

impl From<Ended> for SourceError {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Cut(fault) => SourceError::connection(fault),
            Ended::Done(error) => error,
        }
    }
}

impl Client {
    /// For the mailbox that `launcher` names; nothing is opened yet.
    ///
    /// # Errors
    /// Trust files, proxy or `graph_root` are of no use (code `config`).
    pub(super) fn new(launcher: &Launcher, bearer: Arc<dyn Bearer>, times: Times) -> Result<Self, Fault> {
        let name = &launcher.name;
        let unusable = || {
            let text = text!(
                "[{name}]: graph_root is no usable address",
                "[{name}] : graph_root n'est pas une adresse utilisable"
            );
            Fault::new(Code::Config, text)
        };
        let oauth = launcher.oauth.as_ref().ok_or_else(unusable)?;
        let root = Url::parse(&format!("{}/v1.0", oauth.graph_root)).map_err(|_| unusable())?;
        let host = root.host_str().ok_or_else(unusable)?.to_owned();
        let builder = web::builder(launcher, &oauth.graph_root)?.pool_max_idle_per_host(super::gate::PLACES);
        let http = builder.build().map_err(|error| web::fault(&host, &error))?;
        let own = oauth.credential.is_person();
        let login = own.then(|| store::login(name));
        let who = launcher.mailbox.clone().or_else(|| launcher.account.clone().filter(|_| !own));
        let mailbox = who.map_or_else(|| vec!["me".to_owned()], |who| vec!["users".to_owned(), who]);
        Ok(Self(Arc::new(Inner { http, login, root, host, mailbox, bearer, gate: Gate::of(oauth), times })))
    }

    /// The server, for people.
    pub(super) fn host(&self) -> &str {
        &self.0.host
    }

    /// Whose mailbox this is, as the server is asked for it.
    pub(super) fn mailbox(&self) -> String {
        self.0.mailbox.last().cloned().unwrap_or_default()
    }

    /// A request for something below the mailbox. `query` holds nothing that anybody else wrote.
    pub(super) fn get(&self, path: &[&str], query: &str) -> Request {
        self.request(Method::GET, path, query, None)
    }

    /// The same, that changes something.
    pub(super) fn request(&self, method: Method, path: &[&str], query: &str, body: Option<Value>) -> Request {
        let mut url = self.0.root.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            // each one segment, whatever is in it: ids hold slashes
            segments.pop_if_empty().extend(&self.0.mailbox).extend(path);
        }
        url.set_query(Some(query).filter(|query| !query.is_empty()));
        Request { method, url, body, page: None, tries: TRIES }
    }

    /// A request for who signed in, whoever's mailbox this is.
    pub(super) fn who(&self) -> Request {
        let mut url = self.0.root.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("me");
        }
        url.set_query(Some("$select=mail,userPrincipalName"));
        Request { method: Method::GET, url, body: None, page: None, tries: TRIES }
    }

    /// A request for where a list goes on. A link that leads elsewhere is not followed: the token would go with it.
    pub(super) fn follow(&self, link: &str) -> Result<Request, SourceError> {
        let url = Url::parse(link).ok().filter(|url| url.origin() == self.0.root.origin());
        let Some(url) = url else {
            let host = &self.0.host;
            let elsewhere = Url::parse(link).ok().and_then(|url| url.host_str().map(ToOwned::to_owned));
            let elsewhere = elsewhere.unwrap_or_else(|| "?".to_owned());
            let text = text!(
                "{host} gives a link to another server ({elsewhere}); it is not followed, since the token would go there",
                "{host} donne un lien vers un autre serveur ({elsewhere}) ; il n'est pas suivi, car le jeton irait là-bas"
            );
            return Err(SourceError::connection(Fault::new(Code::Protocol, text)));
        };
        Ok(Request { method: Method::GET, url, body: None, page: None, tries: TRIES })
    }

    /// Asks, and reads the answer's JSON; a broken exchange is tried again.
    pub(super) async fn json<T: DeserializeOwned>(&self, request: &Request) -> Result<Result<T, Refusal>, SourceError> {
        let mut waits = self.waits();
        let mut tries = 1;
        loop {
            let fault = match self.json_once(request).await {
                Ok(answer) => return Ok(answer),
                Err(Ended::Done(error)) => return Err(error),
                Err(Ended::Cut(fault)) => fault,
            };
            if tries >= TRIES {
                return Err(SourceError::connection(fault));
            }
            tries += 1;
            sleep(waits.next_delay()).await;
        }
    }

    async fn json_once<T: DeserializeOwned>(&self, request: &Request) -> Result<Result<T, Refusal>, Ended> {
        let answer = match self.open(request).await? {
            Ok(answer) => answer,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let ids = answer.ids.clone();
        let value: Value = self.read_json(answer).await.map_err(Ended::Cut)?;
        // an error within a list that had begun comes with a good status
        if let Some((codes, message)) = error_of(&value) {
            let (host, what) = (self.0.host.clone(), request.shown());
            return Ok(Err(Refusal { host, what, status: 500, codes, message, ids, retry_after: None }));
        }
        serde_json::from_value(value).map(Ok).map_err(|error| Ended::Cut(self.not_understood(&error, &ids)))
    }

    /// Changes something; the answer's body is of no interest. What broke off is not tried again here: nobody knows whether
    /// it was done.
    pub(super) async fn change(&self, request: &Request) -> Result<Result<(), Refusal>, SourceError> {
        let mut answer = match self.open(request).await? {
            Ok(answer) => answer,
            Err(refusal) => return Ok(Err(refusal)),
        };
        // to its end, so that the connection is of use again
        while answer.chunk().await.map_err(SourceError::connection)?.is_some() {}
        Ok(Ok(()))
    }

    /// Asks until there is an answer that can be worked with; its body is still to be read.
    pub(super) async fn open(&self, request: &Request) -> Result<Result<Answer, Refusal>, Ended> {
        let (mut waits, mut tries, mut renewed) = (self.waits(), 1, false);
        loop {
            let access = self.0.bearer.access().await.map_err(SourceError::from)?;
            let answer = self.exchange(request, &access).await?;
            let status = answer.response.status();
            if status.is_success() {
                return answer.whole().map(Ok).map_err(Ended::Cut);
            }
            if status.is_redirection() {
                return Err(Ended::Done(self.redirected(&answer)));
            }
            let challenge = challenge(answer.response.headers());
            let refusal = self.read_refusal(request, answer, &access).await;
            if status == StatusCode::UNAUTHORIZED || challenge.insufficient {
                self.0.bearer.refused(&access, challenge.claims);
                if renewed {
                    return Err(Ended::Done(self.not_taken(&refusal)));
                }
                renewed = true;
                continue;
            }
            if let Some(pause) = refusal.retry_after {
                self.0.gate.close(&self.mailbox(), pause);
            }
            if !refusal.is_passing() || tries >= request.tries_of(&refusal) {
                let slow_down = refusal.is_throttling();
                return if slow_down { Err(Ended::Done(refusal.error())) } else { Ok(Err(refusal)) };
            }
            tries += 1;
            self.wait_after(&refusal, &mut waits).await;
        }
    }

    /// The pause that the server asked for is the gate's; without one it is ours, and the whole mailbox's where that is too
    /// busy.
    async fn wait_after(&self, refusal: &Refusal, waits: &mut Backoff) {
        let pause = waits.next_delay();
        // none at all, or a date that is over by our clock, is no pause
        if refusal.retry_after.is_some_and(|asked| !asked.is_zero()) {
            return;
        }
        if matches!(refusal.status, 429 | 503 | 509) {
            self.0.gate.close(&self.mailbox(), pause);
        } else {
            sleep(pause).await;
        }
    }

    async fn exchange(&self, request: &Request, access: &Secret) -> Result<Answer, Ended> {
        let Times { patience, longest_wait, .. } = self.0.times;
        let entered = self.0.gate.enter(&self.mailbox(), longest_wait).await;
        let place = entered.map_err(|left| self.closed(left))?;
        let id = guid();
        let mut sent = self.0.http.request(request.method.clone(), request.url.clone());
        sent = sent.header(AUTHORIZATION, bearer(access)).header("client-request-id", &id);
        sent = sent.header("Prefer", request.prefer()).header("Accept", "*/*");
        if let Some(body) = &request.body {
            sent = sent.json(body);
        }
        let response = match timeout(patience, sent.send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) if error.is_connect() => {
                return Err(Ended::Done(SourceError::connection(web::fault(&self.0.host, &error.without_url()))));
            }
            Ok(Err(error)) => return Err(Ended::Cut(web::fault(&self.0.host, &error.without_url()))),
            Err(_) => return Err(Ended::Cut(silent(&self.0.host, patience))),
        };
        let theirs = response.headers().get("request-id").and_then(|id| id.to_str().ok()).unwrap_or("-");
        let ids = format!("request-id {}, client-request-id {id}", plain(theirs));
        Ok(Answer { response, ids, host: self.0.host.clone(), patience, pace: Pace::default(), _place: place })
    }

    async fn read_json(&self, mut answer: Answer) -> Result<Value, Fault> {
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > LARGEST_JSON {
                return Err(self.endless(&answer.ids));
            }
        }
        serde_json::from_slice(&bytes).map_err(|error| self.not_understood(&error, &answer.ids))
    }

    /// What an answer that is no success says; of no use are pages of a proxy, and what was cut.
    async fn read_refusal(&self, request: &Request, mut answer: Answer, access: &Secret) -> Refusal {
        let retry_after = web::retry_after(answer.response.headers(), SystemTime::now());
        let mut bytes = Vec::new();
        while let Ok(Some(chunk)) = answer.chunk().await {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > LARGEST_REFUSAL {
                break;
            }
        }
        let value: Option<Value> = serde_json::from_slice(&bytes).ok();
        let told = value.as_ref().and_then(error_of);
        let (codes, message) = told.unwrap_or_else(|| (Vec::new(), page(&bytes)));
        // a server may repeat what it was sent
        let hide = |said: &str| plain(&said.replace(access.reveal(), "***"));
        let status = answer.response.status().as_u16();
        let codes = codes.iter().map(|code| hide(code)).collect();
        let (host, what, ids, message) = (self.0.host.clone(), request.shown(), answer.ids, hide(&message));
        Refusal { host, what, status, codes, message, ids, retry_after }
    }

    fn waits(&self) -> Backoff {
        let first = self.0.times.first_retry;
        Backoff::new(first, first.saturating_mul(LARGEST_STEP))
    }

    /// The mailbox is left alone for longer than a cycle waits.
    fn closed(&self, left: Duration) -> SourceError {
        let (host, seconds) = (&self.0.host, left.as_secs());
        let text = text!(
            "{host} asks to be left alone for {seconds} more seconds",
            "{host} demande à être laissé tranquille encore {seconds} secondes"
        );
        SourceError::Connection { fault: Fault::new(Code::Throttled, text), retry_after: Some(left) }
    }

    fn redirected(&self, answer: &Answer) -> SourceError {
        let (host, ids) = (&self.0.host, &answer.ids);
        let target = answer.response.headers().get("location").and_then(|to| to.to_str().ok());
        let target = target.and_then(|to| self.0.root.join(to).ok());
        let target = target.and_then(|url| url.host_str().map(ToOwned::to_owned)).unwrap_or_else(|| "?".to_owned());
        let text = text!(
            "{host} redirects to {target}; it is not followed, since the token would go there. Is this `graph_root` Microsoft \
             Graph, or a proxy's page of sign-in? ({ids})",
            "{host} renvoie vers {target} ; le renvoi n'est pas suivi, car le jeton irait là-bas. Ce `graph_root` est-il \
             Microsoft Graph, ou la page d'identification d'un proxy ? ({ids})"
        );
        SourceError::connection(Fault::new(Code::Protocol, text))
    }

    fn not_taken(&self, refusal: &Refusal) -> SourceError {
        let (host, said) = (&self.0.host, refusal.said());
        let Text { en, fr } = match &self.0.login {
            Some(login) => text!("sign in anew: `{login}`", "refaites la connexion : `{login}`"),
            None => text!("check `tenant` and `cloud`", "vérifiez `tenant` et `cloud`"),
        };
        let text = text!(
            "{host} refuses the access token, a fresh one too: {said}. If this lasts, {en}",
            "{host} refuse le jeton d'accès, même renouvelé : {said}. Si cela dure, {fr}"
        );
        SourceError::Credentials(Fault::new(Code::Credentials, text))
    }

    fn not_understood(&self, error: &serde_json::Error, ids: &str) -> Fault {
        let host = &self.0.host;
        let text = text!(
            "{host} answers something else than Microsoft Graph does ({error}; {ids}); a proxy in between?",
            "{host} répond autre chose que Microsoft Graph ({error} ; {ids}) ; un proxy intermédiaire ?"
        );
        Fault::new(Code::Protocol, text)
    }

    fn endless(&self, ids: &str) -> Fault {
        let host = &self.0.host;
        Fault::new(Code::Protocol, text!("{host} answers without an end ({ids})", "{host} répond sans fin ({ids})"))
    }
}

impl Request {
    /// The same, for pages of at most so many entries.
    pub(super) fn pages_of(mut self, entries: u16) -> Self {
        self.page = Some(entries);
        self
    }

    /// The same, for which there is another way where the server fails on what it is asked.
    pub(super) fn hardly_again(mut self) -> Self {
        self.tries = FEW_TRIES;
        self
    }

    /// A message that was deleted keeps its id in the trash: deleted again, it would leave that, too. So only what was
    /// certainly not carried out is asked for again.
    fn tries_of(&self, refusal: &Refusal) -> u32 {
        match refusal.status {
            _ if self.method == Method::DELETE && !refusal.is_throttling() => 1,
            500 => self.tries,
            _ => TRIES,
        }
    }

    fn prefer(&self) -> String {
        let page = self.page.map(|entries| format!(", odata.maxpagesize={entries}"));
        format!("IdType=\"ImmutableId\"{}", page.unwrap_or_default())
    }

    /// Method and path, for people: without the middle of long ids, and without the query.
    fn shown(&self) -> String {
        let segments = self.url.path_segments().into_iter().flatten();
        let short = |segment: &str| match segment.char_indices().nth(SEGMENT_SHOWN) {
            Some((at, _)) => format!("{}…", &segment[..at]),
            None => segment.to_owned(),
        };
        let path: Vec<String> = segments.map(short).collect();
        format!("{} /{}", self.method, path.join("/"))
    }
}

/// An answer whose body is to be read.
pub(super) struct Answer {
    response: reqwest::Response,
    ids: String,
    host: String,
    patience: Duration,
    pace: Pace,
    _place: Place,
}

impl Answer {
    /// The next piece of the body; `None` at its end, which is the one that the server meant.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, Fault> {
        let since = Instant::now();
        let (host, ids) = (&self.host, &self.ids);
        match timeout(self.patience, self.response.chunk()).await {
            Ok(Ok(Some(bytes))) if self.pace.is_too_slow(since, bytes.len(), self.patience) => {
                let text = text!(
                    "{host} answers a few bytes at a time, too slowly to be waited for ({ids})",
                    "{host} répond par quelques octets à la fois, trop lentement pour être attendu ({ids})"
                );
                Err(Fault::new(Code::Connect, text))
            }
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(error)) => Err(web::fault(host, &error.without_url())),
            Err(_) => Err(silent(host, self.patience)),
        }
    }

    /// The answer, if its end will be known (RFC 9112, 6.3): else a connection that is cut looks like one that ends.
    fn whole(self) -> Result<Self, Fault> {
        let headers = self.response.headers();
        let chunked = headers.get(TRANSFER_ENCODING).and_then(|value| value.to_str().ok());
        let chunked = chunked.is_some_and(|value| value.trim().to_ascii_lowercase().ends_with("chunked"));
        let empty = self.response.status() == StatusCode::NO_CONTENT;
        if empty || chunked || headers.contains_key(CONTENT_LENGTH) {
            return Ok(self);
        }
        let (host, ids) = (&self.host, &self.ids);
        let text = text!(
            "{host} answers without saying how long the answer is ({ids}), so that a cut one would not be noticed; an old \
             proxy in between does that",
            "{host} répond sans dire la longueur de sa réponse ({ids}), si bien qu'une coupure passerait inaperçue ; c'est le \
             fait d'un vieux proxy intermédiaire"
        );
        Err(Fault::new(Code::Protocol, text))
    }
}

fn silent(host: &str, patience: Duration) -> Fault {
    let seconds = patience.as_secs();
    let text =
        text!("{host} has not answered for {seconds} seconds", "{host} n'a pas répondu depuis {seconds} secondes");
    Fault::new(Code::Connect, text)
}

fn bearer(access: &Secret) -> HeaderValue {
    let text = Zeroizing::new(format!("Bearer {}", access.reveal()));
    // a token with a line end in it is none: the server will say so
    let mut value = HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("Bearer"));
    value.set_sensitive(true);
    value
}

/// What `WWW-Authenticate` asks for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Challenge {
    /// The claims that a token must have, decoded.
    claims: Option<String>,
    /// `error="insufficient_claims"`: continuous access evaluation, also with a 403.
    insufficient: bool,
}

fn challenge(headers: &HeaderMap) -> Challenge {
    let mut found = Challenge::default();
    for value in headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok()) {
        found.insufficient |= value.contains("insufficient_claims");
        let Some((_, rest)) = value.split_once("claims=\"") else { continue };
        let encoded = rest.split('"').next().unwrap_or_default();
        found.claims = [STANDARD, URL_SAFE].iter().find_map(|alphabet| decode(encoded, alphabet)).or(found.claims);
    }
    found
}

/// Base64 with padding or without.
fn decode(encoded: &str, alphabet: &base64::alphabet::Alphabet) -> Option<String> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let bytes = GeneralPurpose::new(alphabet, config).decode(encoded).ok()?;
    String::from_utf8(bytes).ok().filter(|text| text.starts_with('{'))
}

/// The beginning of an answer that is no JSON.
fn page(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(PAGE_SHOWN)]).trim().to_owned();
    if text.starts_with('<') { "(HTML)".to_owned() } else { text }
}

/// One line, whatever a server says.
fn plain(said: &str) -> String {
    said.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SAID_LIMIT).collect()
}

/// A fresh UUID (RFC 9562, 5.4); it is a mark, not a secret.
fn guid() -> String {
    let random = || RandomState::new().hash_one(0_u8);
    // version 4, variant 10
    let high = random() & !0xf000 | 0x4000;
    let low = random() & !(0b11 << 62) | 0b10 << 62;
    let digits = format!("{high:016x}{low:016x}");
    let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
    parts.join("-")
}

/// How often something is asked before it counts as refused.
const TRIES: u32 = 4;
const FEW_TRIES: u32 = 2;
/// The largest pause of ours, in first ones.
const LARGEST_STEP: u32 = 16;
/// Bytes of JSON in one answer: pages are a tenth of a megabyte, the text of a message may be long.
const LARGEST_JSON: usize = 16 << 20;
const LARGEST_REFUSAL: usize = 64 << 10;
/// Characters of what a server says, of a segment of a path, of a page.
const SAID_LIMIT: usize = 300;
const SEGMENT_SHOWN: usize = 24;
const PAGE_SHOWN: usize = 200;
