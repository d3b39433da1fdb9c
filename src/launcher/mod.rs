//! Launchers: cycles that take documents from a source to the delivery directory.
//!
//! Not the source and not the supervisor: a launcher owns the loop (when to run, when to back off) and the
//! [`cycle`](cycle()) owns the guarantee. A launcher runs on a thread of its own with a runtime of its own, so that
//! blocking calls (SQLite, files) hold up nobody else.

mod attempts;
mod cycle;
mod decode;
mod due;
mod envelope;
mod index;
mod judge;
mod metadata;
mod naming;
mod proof;
mod ready;
mod related;
mod rename;
mod report;
#[cfg(test)]
mod run_tests;
mod sign_in;
mod stage;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

pub use cycle::{Next, Outcome, adopt, cycle, staging_root};
pub use decode::{Decoded, decode};
pub use judge::{Judgement, Verdict, judge};
pub use proof::prove_staging;
pub use rename::rename;
pub use report::{Files, Items, Report};

use self::attempts::Careful;
use self::due::Due;
use self::sign_in::{News, SignIn};
use crate::backoff::Backoff;
use crate::config::Launcher;
use crate::config::launcher::Kind;
use crate::config::schedule::Interval;
use crate::event::{Cycle, Event, Events, Level};
use crate::model::{Code, Disposition, Fault};
use crate::oauth::{SignIns, Tokens};
use crate::source::adullact::Adullact;
use crate::source::directory::Directory;
use crate::source::graph::Graph;
use crate::source::imap::Imap;
use crate::source::pop3::Pop3;
use crate::source::{Source, Unusable};
use crate::text;

/// What a launcher needs of its surroundings.
#[derive(Clone, Debug)]
pub struct Env {
    /// The folder of ledger, spool, locks and quarantine.
    pub state: PathBuf,
    /// Where to tell what happens.
    pub events: Events,
    /// The sign-ins at hand, shared by the launchers of a process.
    pub sign_ins: SignIns,
}

impl Env {
    /// Surroundings of which nothing is shared with others.
    pub fn new(state: PathBuf, events: Events) -> Self {
        Self { state, events, sign_ins: SignIns::default() }
    }

    /// The access tokens of a launcher that signs in with OAuth.
    ///
    /// # Errors
    /// See [`SignIns::tokens`].
    pub fn tokens(&self, launcher: &Launcher) -> Result<Tokens, Fault> {
        self.sign_ins.tokens(launcher, &self.state, &self.events)
    }
}

/// The source of a launcher; a fault is one of its certificates. Refused logins are counted, and after too many of them
/// it does not log in for a while.
pub fn source(launcher: &Launcher, env: &Env) -> Box<dyn Source> {
    careful(launcher, env, false)
}

/// The same for a try on purpose: it logs in whatever was refused before.
pub fn source_to_test(launcher: &Launcher, env: &Env) -> Box<dyn Source> {
    careful(launcher, env, true)
}

fn careful(launcher: &Launcher, env: &Env, on_purpose: bool) -> Box<dyn Source> {
    let source = bare(launcher, env);
    if launcher.password.is_none() {
        return source;
    }
    Box::new(Careful::new(source, launcher, &env.state, &env.events, on_purpose))
}

/// A new kind of launcher is one line here.
fn bare(launcher: &Launcher, env: &Env) -> Box<dyn Source> {
    match launcher.kind {
        Kind::Directory => Box::new(Directory::new(launcher, env.events.clone())),
        Kind::Adullact => Box::new(Adullact::new(launcher, env.events.clone())),
        Kind::Imap => {
            let imap = Imap::new(launcher.clone(), env.events.clone());
            if !launcher.auth.is_oauth() {
                return Box::new(imap);
            }
            signed_in(launcher, env, |tokens| Box::new(imap.with_tokens(tokens)))
        }
        Kind::Pop3 => {
            let pop3 = Pop3::new(launcher.clone(), env.events.clone());
            if !launcher.auth.is_oauth() {
                return Box::new(pop3);
            }
            signed_in(launcher, env, |tokens| Box::new(pop3.with_tokens(tokens)))
        }
        Kind::O365 => {
            signed_in(launcher, env, |tokens| Box::new(Graph::new(launcher.clone(), tokens, env.events.clone())))
        }
    }
}

/// A source that signs in; where the tokens cannot be had at all, one that says so.
fn signed_in(launcher: &Launcher, env: &Env, make: impl FnOnce(Tokens) -> Box<dyn Source>) -> Box<dyn Source> {
    env.tokens(launcher).map_or_else(|fault| Box::new(Unusable(fault)) as Box<dyn Source>, make)
}

/// One cycle with a source of its own: `fetch`.
pub async fn once(launcher: &Launcher, env: &Env, dry_run: bool, stop: &CancellationToken) -> Outcome {
    let mut launcher = launcher.clone();
    launcher.idle = false; // nobody waits afterwards
    if dry_run {
        // a source that has nothing to change opens its mailbox read-only
        (launcher.after, launcher.after_empty) = (Disposition::Leave, Disposition::Leave);
    }
    let launcher = &launcher;
    let began = Instant::now();
    let outcome = cycle(launcher, env, source(launcher, env).as_mut(), dry_run, stop).await;
    tell(launcher, env, &outcome, began.elapsed());
    outcome
}

/// Runs cycles until `stop`: the first one soon (with a cron expression at its time), then whenever one is due, or when
/// the source has news; after a broken connection sooner, with a growing delay, and after a refused login three times an
/// hour at most, or as soon as somebody has signed in anew. The next one is only thought of when one has ended: they never
/// pile up.
pub async fn run(launcher: Arc<Launcher>, env: Env, stop: CancellationToken) {
    rounds(&launcher, &env, &stop, || source(&launcher, &env)).await;
}

async fn rounds(launcher: &Launcher, env: &Env, stop: &CancellationToken, source: impl Fn() -> Box<dyn Source>) {
    let mut backoff = Backoff::new(FIRST_RETRY, largest_retry(&launcher.interval));
    let mut kept: Option<Box<dyn Source>> = None;
    let mut due = Due::first(&launcher.interval);
    let (mut sign_in, mut refused) = (SignIn::of(launcher, env), false);
    loop {
        let waiting = kept.as_deref_mut().filter(|_| launcher.idle);
        let news = tokio::select! {
            biased;
            () = stop.cancelled() => return sign_in.settle().await,
            () = due.wait(waiting) => None,
            news = sign_in.news(refused) => Some(news),
        };
        let began = Instant::now();
        let before = kept.take();
        let outcome = if let Some(News::Lost(fault)) = news {
            Outcome { report: Report::new(&launcher.name).failed(fault), next: Next::Credentials }
        } else {
            sign_in.note(launcher, env);
            let mut source = before.unwrap_or_else(&source);
            let outcome = cycle(launcher, env, source.as_mut(), false, stop).await;
            kept = (outcome.report.error.is_none()).then_some(source);
            outcome
        };
        // one that was stopped before it saw anything says nothing about the launcher, and ends no alert
        if !(stop.is_cancelled() && outcome.saw_nothing()) {
            tell(launcher, env, &outcome, began.elapsed());
        }
        refused = outcome.next == Next::Credentials;
        due = next_due(&launcher.interval, outcome.next, &mut backoff);
    }
}

fn next_due(interval: &Interval, next: Next, backoff: &mut Backoff) -> Due {
    match next {
        Next::Interval => {
            backoff.reset();
            Due::at(interval, Duration::ZERO)
        }
        Next::Backoff(asked) => Due::after(backoff.next_delay().max(asked.unwrap_or_default().min(LONGEST_ASKED))),
        Next::Credentials => Due::at(interval, CREDENTIALS),
    }
}

/// A server that does not answer is asked again at least as often as one that does, and every five minutes where that is
/// rarer.
fn largest_retry(interval: &Interval) -> Duration {
    match interval {
        Interval::Every(every) => LARGEST_RETRY.max(*every),
        Interval::Cron(_) => LARGEST_RETRY,
    }
}

/// One line for each cycle: what it did and how long that took, or why it could not.
fn tell(launcher: &Launcher, env: &Env, outcome: &Outcome, took: Duration) {
    let report = &outcome.report;
    let Report { name, items, files, error } = report;
    let Items { found, delivered, already, empty, rejected, quarantined, failed } = items;
    let (count, seconds) = (files.delivered, took.as_secs_f64());
    let event = match error {
        Some(fault) => {
            let level = if fault.code == Code::Busy { Level::Notice } else { Level::Error };
            let (code, en, fr) = (fault.code, &fault.text.en, &fault.text.fr);
            Event::new(level, "cycle_failed", text!("launcher {name}: {code}: {en}", "lanceur {name} : {code} : {fr}"))
        }
        None => Event::new(
            if delivered + quarantined + failed > 0 { Level::Notice } else { Level::Info },
            "cycle_done",
            text!(
                "launcher {name}: {found} found, {delivered} delivered ({count} files), {already} already, {empty} empty, {rejected} rejected, {quarantined} in quarantine, {failed} failed, in {seconds:.1} s",
                "lanceur {name} : {found} trouvés, {delivered} livrés ({count} fichiers), {already} déjà faits, {empty} vides, {rejected} écartés, {quarantined} en quarantaine, {failed} en échec, en {seconds:.1} s"
            ),
        ),
    };
    let (items, files, fault) = (report.items_by_word(), report.files_by_word(), error.clone());
    env.events.emit(event.of(&launcher.name).ending(Cycle { items, files, fault, took }));
}

const FIRST_RETRY: Duration = Duration::from_secs(10);
const LARGEST_RETRY: Duration = Duration::from_mins(5);
/// No server can mean that it wants to be left alone for longer.
const LONGEST_ASKED: Duration = Duration::from_hours(24);
/// Three tries an hour (contract, section 2): providers lock accounts.
const CREDENTIALS: Duration = Duration::from_mins(20);
