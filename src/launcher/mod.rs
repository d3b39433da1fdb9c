//! Launchers: cycles that take documents from a source to the delivery directory.
//!
//! Not the source and not the supervisor: a launcher owns the loop (when to run, when to back off) and the
//! [`cycle`](cycle()) owns the guarantee. A launcher runs on a thread of its own with a runtime of its own, so that
//! blocking calls (SQLite, files) hold up nobody else.

mod cycle;
mod index;
mod judge;
mod naming;
mod rename;
mod report;
mod stage;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

pub use cycle::{Next, Outcome, adopt, cycle, staging_root};
pub use judge::{Judgement, Verdict, judge};
pub use rename::rename;
pub use report::{Files, Items, Report};

use crate::backoff::{Backoff, jitter};
use crate::config::Launcher;
use crate::config::launcher::Kind;
use crate::event::{Event, Events, Level};
use crate::model::{Code, Disposition, Fault};
use crate::source::directory::Directory;
use crate::source::imap::Imap;
use crate::source::{Source, Wake};
use crate::text;

/// What a launcher needs of its surroundings.
#[derive(Clone, Debug)]
pub struct Env {
    /// The folder of ledger, spool, locks and quarantine.
    pub state: PathBuf,
    /// Where to tell what happens.
    pub events: Events,
}

/// The source of a launcher; a fault is one of its certificates. A new kind of launcher is one line here.
pub fn source(launcher: &Launcher, env: &Env) -> Result<Box<dyn Source>, Fault> {
    Ok(match launcher.kind {
        Kind::Directory => Box::new(Directory::new(launcher, env.events.clone())),
        Kind::Imap => Box::new(Imap::new(launcher.clone(), env.events.clone())),
        Kind::Pop3 => {
            return Err(Fault::new(Code::Config, text!("pop3: not in this version", "pop3 : pas dans cette version")));
        }
    })
}

/// One cycle with a source of its own: `fetch`.
pub async fn once(launcher: &Launcher, env: &Env, dry_run: bool, stop: &CancellationToken) -> Outcome {
    let mut launcher = launcher.clone();
    if dry_run {
        // a source that has nothing to change opens its mailbox read-only
        (launcher.after, launcher.after_empty) = (Disposition::Leave, Disposition::Leave);
    }
    let launcher = &launcher;
    let outcome = match source(launcher, env) {
        Ok(mut source) => cycle(launcher, env, source.as_mut(), dry_run, stop).await,
        Err(fault) => Outcome { report: Report::new(&launcher.name).failed(fault), next: Next::Interval },
    };
    tell(launcher, env, &outcome);
    outcome
}

/// Runs cycles until `stop`: the first one soon, then one for each interval, or when the source has news; after a
/// broken connection sooner, with a growing delay, and after a refused login three times an hour at most.
pub async fn run(launcher: Arc<Launcher>, env: Env, stop: CancellationToken) {
    let mut backoff = Backoff::new(FIRST_RETRY, LARGEST_RETRY);
    let mut idle: Option<Box<dyn Source>> = None;
    let mut delay = jitter(START_JITTER);
    while wait(idle.as_deref_mut(), delay, &stop).await {
        let source = idle.take().map_or_else(|| source(&launcher, &env), Ok);
        let outcome = match source {
            Ok(mut source) => {
                let outcome = cycle(&launcher, &env, source.as_mut(), false, &stop).await;
                idle = (outcome.report.error.is_none()).then_some(source);
                outcome
            }
            Err(fault) => Outcome { report: Report::new(&launcher.name).failed(fault), next: Next::Interval },
        };
        tell(&launcher, &env, &outcome);
        delay = next_delay(&launcher, outcome.next, &mut backoff);
    }
}

/// Waits for news, for the delay, or for the end: false at the end.
async fn wait(source: Option<&mut (dyn Source + 'static)>, delay: Duration, stop: &CancellationToken) -> bool {
    let waiting = async {
        if let Some(source) = source {
            source.wait(delay).await
        } else {
            tokio::time::sleep(delay).await;
            Wake::Deadline
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => false,
        _ = waiting => true,
    }
}

fn next_delay(launcher: &Launcher, next: Next, backoff: &mut Backoff) -> Duration {
    match next {
        Next::Interval => {
            backoff.reset();
            launcher.interval.wait(&jiff::Zoned::now())
        }
        Next::Backoff(asked) => backoff.next_delay().max(asked.unwrap_or_default()),
        Next::Credentials => launcher.interval.wait(&jiff::Zoned::now()).max(CREDENTIALS),
    }
}

/// One line for each cycle: what it did, or why it could not.
fn tell(launcher: &Launcher, env: &Env, outcome: &Outcome) {
    let Report { name, items, files, error } = &outcome.report;
    let Items { found, delivered, already, empty, rejected, quarantined, failed } = items;
    let count = files.delivered;
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
                "launcher {name}: {found} found, {delivered} delivered ({count} files), {already} already, {empty} empty, {rejected} rejected, {quarantined} in quarantine, {failed} failed",
                "lanceur {name} : {found} trouvés, {delivered} livrés ({count} fichiers), {already} déjà faits, {empty} vides, {rejected} écartés, {quarantined} en quarantaine, {failed} en échec"
            ),
        ),
    };
    env.events.emit(event.of(&launcher.name));
}

/// Launchers that start together do not knock together.
const START_JITTER: Duration = Duration::from_secs(2);
const FIRST_RETRY: Duration = Duration::from_secs(10);
const LARGEST_RETRY: Duration = Duration::from_mins(5);
/// Three tries an hour (contract, section 2): providers lock accounts.
const CREDENTIALS: Duration = Duration::from_mins(20);
