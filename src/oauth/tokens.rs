//! The access tokens of a running program: which are at hand, when one is renewed, and by whom.
//!
//! Not the conversation with the authorization server, which is asked through `Issuer`. One rule shapes it: a refresh
//! token that is new is stored before the access token that came with it is given to anybody, so that whatever happens
//! later, the newest one is not lost. A disk that is full therefore means no access token, and the new refresh token is
//! kept in memory until it can be stored. What cannot be helped is the end of the program between the answer and the
//! file: the next start uses the old token, which Microsoft and Google still take.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use tokio::time::Instant;

use super::scopes;
use super::store::{self, Held, Store};
use super::{Authority, Grant, Next, Refusal, Resource, SignedIn, TokenError};
use crate::config::Launcher;
use crate::delivery::stamp::Stamp;
use crate::event::Events;
use crate::model::{Code, Fault, ServiceName};
use crate::secret::Secret;
use crate::text;
use crate::text::Text;

/// The sign-ins that a process has at hand: launchers of one sign-in share its tokens as long as one of them has some.
#[derive(Clone, Debug, Default)]
pub struct SignIns(Arc<Mutex<Vec<Weak<Session>>>>);

/// The access tokens of one sign-in, for one launcher. Cheap to clone; all clones share one cache and one refresh.
#[derive(Clone)]
pub struct Tokens {
    launcher: ServiceName,
    /// What this launcher needs them for.
    resource: Resource,
    session: Arc<Session>,
    events: Events,
}

/// Who is asked for tokens.
#[async_trait]
trait Issuer: Send + Sync {
    async fn refresh(&self, token: &Secret, resource: Resource, claims: Option<&str>) -> Result<Grant, Refusal>;
    async fn for_itself(&self, resource: Resource, claims: Option<&str>) -> Result<Grant, Refusal>;
}

#[async_trait]
impl Issuer for Authority {
    async fn refresh(&self, token: &Secret, resource: Resource, claims: Option<&str>) -> Result<Grant, Refusal> {
        Self::refresh(self, token, resource, claims).await
    }

    async fn for_itself(&self, resource: Resource, claims: Option<&str>) -> Result<Grant, Refusal> {
        Self::for_itself(self, resource, claims).await
    }
}

/// What the launchers of one sign-in share.
struct Session {
    /// One of them: the others say the same about how to sign in.
    launcher: Launcher,
    state: PathBuf,
    issuer: Box<dyn Issuer>,
    /// `None`: the program signs in by itself, and nothing is kept.
    store: Option<Store>,
    cache: Mutex<Cache>,
    /// Held by who renews; within it what could not be stored.
    renewing: tokio::sync::Mutex<Option<Unsaved>>,
}

/// What is at hand. Never held across a wait.
#[derive(Default)]
struct Cache {
    access: BTreeMap<Resource, Access>,
    /// What a refused token must be replaced by (claims challenge).
    claims: BTreeMap<Resource, String>,
    /// The file when it was read last, and who had signed in.
    stamp: Option<Stamp>,
    since: Option<SystemTime>,
}

/// An access token with its two deadlines.
#[derive(Clone)]
struct Access {
    token: Secret,
    /// Time for another one.
    renew: Deadline,
    /// It has expired, or is about to.
    end: Deadline,
}

/// A moment on both clocks: the steady one stands still while a machine sleeps, the one on the wall can be set. What
/// either of them says is over, is over: set back, the wall's counts no longer.
#[derive(Clone, Copy)]
struct Deadline {
    steady: Instant,
    wall: SystemTime,
}

/// A refresh token that could not be stored, with what came with it.
struct Unsaved {
    signed_in: SignedIn,
    /// What was in the store when it came.
    instead_of: Secret,
    resource: Resource,
    access: Access,
}

impl SignIns {
    /// The tokens of this launcher.
    ///
    /// # Errors
    /// It does not sign in with OAuth, or what it says about that is of no use ([`Code::Config`]).
    pub fn tokens(&self, launcher: &Launcher, state: &Path, events: &Events) -> Result<Tokens, Fault> {
        self.by(launcher, state, events, || Ok(Box::new(Authority::new(launcher)?)))
    }

    fn by(
        &self,
        launcher: &Launcher,
        state: &Path,
        events: &Events,
        issuer: impl FnOnce() -> Result<Box<dyn Issuer>, Fault>,
    ) -> Result<Tokens, Fault> {
        let mut sessions = guard(&self.0);
        sessions.retain(|session| session.strong_count() > 0);
        let known = sessions.iter().filter_map(Weak::upgrade).find(|session| session.serves(launcher, state));
        let session = if let Some(session) = known {
            session
        } else {
            let session = Arc::new(Session::new(launcher, state, issuer()?)?);
            sessions.push(Arc::downgrade(&session));
            session
        };
        let (launcher, resource) = (launcher.name.clone(), scopes::resource(launcher));
        Ok(Tokens { launcher, resource, session, events: events.clone() })
    }
}

impl Tokens {
    /// The tokens of this launcher, shared with nobody: for a command that has one launcher.
    ///
    /// # Errors
    /// As [`SignIns::tokens`].
    pub fn of(launcher: &Launcher, state: &Path, events: &Events) -> Result<Self, Fault> {
        SignIns::default().tokens(launcher, state, events)
    }

    /// An access token that is good for at least a minute (for half its life, where that is shorter).
    ///
    /// # Errors
    /// See [`TokenError`].
    pub async fn access(&self, resource: Resource) -> Result<Secret, TokenError> {
        if let Some(token) = self.session.at_hand(resource) {
            return Ok(token);
        }
        match self.renew(resource).await {
            // it was to be renewed in good time, and there is some left
            Err(TokenError::Later { fault, retry_after }) => {
                self.session.left_over(resource).ok_or(TokenError::Later { fault, retry_after })
            }
            result => result,
        }
    }

    /// The server refused this one (401): the next [`access`](Self::access) asks for another, with the `claims` of the
    /// challenge (decoded JSON), if any. A token that was replaced meanwhile is of no interest any more.
    pub fn refused(&self, resource: Resource, access: &Secret, claims: Option<String>) {
        let mut cache = guard(&self.session.cache);
        if cache.access.get(&resource).is_some_and(|known| known.token == *access) {
            cache.access.remove(&resource);
            cache.claims.extend(claims.map(|claims| (resource, claims)));
        }
    }

    /// Renews a sign-in that nobody has used for a day: providers forget what is not used for long, and that it was
    /// revoked is better known today than on the day a document is missed. Stores what could not be stored before.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub async fn keep_alive(&self) -> Result<(), TokenError> {
        let Some(store) = &self.session.store else { return Ok(()) };
        let unsaved = self.session.renewing.lock().await.is_some();
        let is_idle = |signed_in: &SignedIn| {
            // from the future: the clock was wrong, then or now
            SystemTime::now().duration_since(signed_in.renewed).map_or(true, |age| age >= IDLE)
        };
        if unsaved || store.get().map_err(sorted)?.is_some_and(|signed_in| is_idle(&signed_in)) {
            self.renew(self.resource).await?;
        }
        Ok(())
    }

    /// Returns when no renewal is under way: who ends before that may lose the answer, and with it a new refresh token.
    pub async fn settled(&self) {
        drop(self.session.renewing.lock().await);
    }

    /// When the person signed in whose tokens these are; `None` where that is nobody.
    pub fn since(&self) -> Option<SystemTime> {
        self.session.store.as_ref()?.since()
    }

    /// Whether a person signs in, once, with `pertuis login`.
    pub fn is_of_person(&self) -> bool {
        self.session.store.is_some()
    }

    /// A task of its own: who asked may go away in the middle, what the server answers is stored all the same.
    async fn renew(&self, resource: Resource) -> Result<Secret, TokenError> {
        let tokens = self.clone();
        let renewing = tokio::spawn(async move { tokens.session.renew(resource, &tokens).await });
        renewing.await.unwrap_or_else(|_| {
            let text = text!("the renewal of the sign-in was cut short", "renouvellement de la connexion interrompu");
            Err(later(Fault::new(Code::Connect, text)))
        })
    }

    /// What a refusal means for this launcher; said in the log, where Microsoft's numbers belong.
    fn refusal(&self, refusal: &Refusal) -> TokenError {
        self.events.emit(refusal.event(&self.launcher));
        match refusal.next {
            Next::SignIn => TokenError::SignIn(self.with_command(&refusal.fault)),
            Next::Later(retry_after) => TokenError::Later { fault: refusal.fault.clone(), retry_after },
            // no answer to this question
            Next::Wait | Next::SlowDown => later(refusal.fault.clone()),
        }
    }

    /// The same with the one command that helps, where a sign-in does.
    fn with_command(&self, fault: &Fault) -> Fault {
        let (Text { en, fr }, login) = (&fault.text, store::login(&self.launcher));
        if !self.is_of_person() || fault.code != Code::Credentials || en.contains(&login) {
            return fault.clone();
        }
        Fault::new(
            fault.code,
            text!("{en}; then sign in again: `{login}`", "{fr} ; puis refaire la connexion : `{login}`"),
        )
    }

    fn nobody_signed_in(&self) -> TokenError {
        let login = store::login(&self.launcher);
        let text =
            text!("nobody has signed in yet: run `{login}`", "personne ne s'est encore connecté : lancer `{login}`");
        TokenError::SignIn(Fault::new(Code::Credentials, text))
    }
}

impl Session {
    fn new(launcher: &Launcher, state: &Path, issuer: Box<dyn Issuer>) -> Result<Self, Fault> {
        let is_person = launcher.oauth.as_ref().is_some_and(|oauth| oauth.credential.is_person());
        let store = is_person.then(|| Store::open(state, launcher)).transpose()?;
        let (launcher, state) = (launcher.clone(), state.to_owned());
        let (cache, renewing) = (Mutex::default(), tokio::sync::Mutex::default());
        Ok(Self { launcher, state, issuer, store, cache, renewing })
    }

    /// Whether these are the tokens of `launcher` too: it signs in to the same, as the same, by the same way.
    fn serves(&self, launcher: &Launcher, state: &Path) -> bool {
        let way = |launcher: &Launcher| {
            let Launcher { oauth, account, proxy, trust, .. } = launcher.clone();
            (oauth, account, proxy, trust)
        };
        let store = Store::open(state, launcher).ok();
        let same_store = match (&self.store, &store) {
            (Some(one), Some(other)) => one.is_that_of(other),
            (None, None) => self.state == state,
            _ => false,
        };
        same_store && way(&self.launcher) == way(launcher)
    }

    /// A token that need not be renewed, unless somebody wrote to the store: another process, or `login`.
    fn at_hand(&self, resource: Resource) -> Option<Secret> {
        let cache = guard(&self.cache);
        if self.store.as_ref().and_then(Store::stamp) != cache.stamp {
            return None;
        }
        cache.access.get(&resource).filter(|access| !access.renew.is_over()).map(|access| access.token.clone())
    }

    /// A token that is to be renewed, and good all the same.
    fn left_over(&self, resource: Resource) -> Option<Secret> {
        let cache = guard(&self.cache);
        cache.access.get(&resource).filter(|access| !access.end.is_over()).map(|access| access.token.clone())
    }

    /// Asks for a token, unless somebody else did while we waited for our turn.
    async fn renew(&self, resource: Resource, tokens: &Tokens) -> Result<Secret, TokenError> {
        let mut unsaved = self.renewing.lock().await;
        let Some(store) = &self.store else { return self.for_itself(resource, tokens).await };
        let held = store.lock().await.map_err(sorted)?;
        let signed_in = self.current(&held, &mut unsaved)?.ok_or_else(|| tokens.nobody_signed_in())?;
        if let Some(token) = self.at_hand(resource) {
            return Ok(token);
        }
        let (grant, access) = self.ask(Some(&signed_in.refresh), resource, tokens).await?;
        let SignedIn { refresh: instead_of, identity, since, .. } = signed_in;
        let refresh = grant.refresh.unwrap_or_else(|| instead_of.clone());
        let identity = grant.identity.unwrap_or(identity);
        let signed_in = SignedIn { refresh, identity, since, renewed: SystemTime::now() };
        self.settle(&held, Unsaved { signed_in, instead_of, resource, access }, &mut unsaved)
    }

    /// The same for a program that signs in by itself: nothing is kept.
    async fn for_itself(&self, resource: Resource, tokens: &Tokens) -> Result<Secret, TokenError> {
        if let Some(token) = self.at_hand(resource) {
            return Ok(token);
        }
        let (_, access) = self.ask(None, resource, tokens).await?;
        Ok(self.take(resource, access))
    }

    /// A refresh token is bad when it was refused twice: Microsoft is known to refuse a good one now and then, and to send
    /// a person to a browser for that is worse than one more question.
    async fn refresh(&self, token: &Secret, resource: Resource, claims: Option<&str>) -> Result<Grant, Refusal> {
        match self.issuer.refresh(token, resource, claims).await {
            Err(refusal) if refusal.error == "invalid_grant" => {
                tokio::time::sleep(SECOND_QUESTION).await;
                self.issuer.refresh(token, resource, claims).await
            }
            answer => answer,
        }
    }

    async fn ask(
        &self,
        refresh: Option<&Secret>,
        resource: Resource,
        tokens: &Tokens,
    ) -> Result<(Grant, Access), TokenError> {
        let claims = guard(&self.cache).claims.get(&resource).cloned();
        // before the question: the answer may take its time
        let asked = Deadline::now();
        let answer = match refresh {
            Some(refresh) => self.refresh(refresh, resource, claims.as_deref()).await,
            None => self.issuer.for_itself(resource, claims.as_deref()).await,
        };
        let grant = answer.map_err(|refusal| tokens.refusal(&refusal))?;
        let access = Access::of(&grant, asked);
        Ok((grant, access))
    }

    /// What is kept now, with what could not be stored before: unless `login` has written or forgotten meanwhile, which
    /// counts for more. Tokens of an earlier sign-in are dropped.
    fn current(&self, held: &Held<'_>, unsaved: &mut Option<Unsaved>) -> Result<Option<SignedIn>, TokenError> {
        let mut kept = held.store.get();
        if let Some(waiting) = unsaved.take() {
            let replaces =
                |kept: &Option<SignedIn>| kept.as_ref().is_some_and(|kept| kept.refresh == waiting.instead_of);
            // what cannot be read any more is replaced, too
            if kept.as_ref().map_or(true, replaces) {
                kept = Ok(Some(waiting.signed_in.clone()));
                self.settle(held, waiting, unsaved)?;
            }
        }
        let kept = kept.map_err(sorted)?;
        let since = kept.as_ref().map(|signed_in| signed_in.since);
        let mut cache = guard(&self.cache);
        if cache.since != since {
            *cache = Cache { since, ..Cache::default() };
        }
        cache.stamp = held.store.stamp();
        Ok(kept)
    }

    /// Stores a refresh token; only then what came with it is at hand.
    fn settle(&self, held: &Held<'_>, new: Unsaved, unsaved: &mut Option<Unsaved>) -> Result<Secret, TokenError> {
        match held.put(&new.signed_in) {
            // the old one is in the store, and still the one to use: only a date is lost
            Err(_) if new.signed_in.refresh == new.instead_of => {}
            Err(fault) => {
                *unsaved = Some(new);
                return Err(later(not_kept(&fault)));
            }
            Ok(()) => guard(&self.cache).stamp = held.store.stamp(),
        }
        Ok(self.take(new.resource, new.access))
    }

    /// Has a token at hand from now on.
    fn take(&self, resource: Resource, access: Access) -> Secret {
        let token = access.token.clone();
        let mut cache = guard(&self.cache);
        cache.claims.remove(&resource);
        cache.access.insert(resource, access);
        token
    }
}

impl Access {
    fn of(grant: &Grant, asked: Deadline) -> Self {
        let life = grant.expires_in.min(LONGEST);
        let half = life / 2;
        let ahead = (life / 10).min(AHEAD).max(LEAST).min(half);
        let until = |ahead| asked.later(life.saturating_sub(ahead));
        let (renew, end) = (until(ahead), until(LEAST.min(half)));
        Self { token: grant.access.clone(), renew, end }
    }
}

impl Deadline {
    fn now() -> Self {
        Self { steady: Instant::now(), wall: SystemTime::now() }
    }

    fn later(self, by: Duration) -> Self {
        Self { steady: self.steady + by, wall: self.wall.checked_add(by).unwrap_or(self.wall) }
    }

    fn is_over(self) -> bool {
        Instant::now() >= self.steady || SystemTime::now() >= self.wall
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokens({}, {:?})", self.launcher, self.resource)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Session")
    }
}

/// Trouble with the disk passes; what is on it and of no use does not.
fn sorted(fault: Fault) -> TokenError {
    if fault.code == Code::Ledger { later(fault) } else { TokenError::SignIn(fault) }
}

fn later(fault: Fault) -> TokenError {
    TokenError::Later { fault, retry_after: None }
}

fn not_kept(fault: &Fault) -> Fault {
    let Text { en, fr } = &fault.text;
    let text = text!(
        "a new refresh token came and cannot be stored; it is kept in memory and stored as soon as that works, so do not \
         stop the service before: {en}",
        "un nouveau jeton de renouvellement est arrivé et ne peut pas être enregistré ; il est gardé en mémoire et sera \
         enregistré dès que possible, ne pas arrêter le service avant : {fr}"
    );
    Fault::new(fault.code, text)
}

/// A fall elsewhere leaves what is guarded whole: it is only ever replaced.
fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Before a refresh token that was refused is tried once more.
const SECOND_QUESTION: Duration = Duration::from_secs(2);
/// How long before its end a token is replaced: a tenth of its life, at most this,
const AHEAD: Duration = Duration::from_mins(5);
/// and at least this, which is also how long a token is good that is given to anybody.
const LEAST: Duration = Duration::from_mins(1);
/// No token lasts longer (Microsoft: 28 hours), and a clock must not overflow.
const LONGEST: Duration = Duration::from_hours(30 * 24);
/// When a refresh token counts as idle.
const IDLE: Duration = Duration::from_hours(24);

#[cfg(test)]
#[path = "tokens_tests.rs"]
mod tests;
