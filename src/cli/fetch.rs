//! `pertuis fetch`: one cycle of the named launchers, side by side, then what they did.
//!
//! Not the service's loop: nothing is waited for and nothing is retried. Counts go to standard output (one line of
//! JSON with `--json`, never translated), what went wrong to standard error.

use std::collections::HashSet;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::progress::Bars;
use crate::config::{Config, Launcher};
use crate::event::{Event, Events};
use crate::launcher::{self, Env, Items, Report};
use crate::model::{Code, Fault};
use crate::supervisor;
use crate::text;
use crate::text::{Lang, Text};

/// What the command line says.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The launchers; every enabled one when none is named.
    pub names: Vec<String>,
    /// Say what would be delivered, change nothing.
    pub dry_run: bool,
    /// One line of JSON.
    pub json: bool,
}

/// Runs the command; answers the exit code of the contract (section 2).
pub fn run(
    config: &Config,
    options: &Options,
    events: &Events,
    lang: Lang,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<u8> {
    let launchers = match choose(config, &options.names) {
        Ok(launchers) => launchers,
        Err(text) => {
            writeln!(err, "{}", text.get(lang))?;
            return Ok(2);
        }
    };
    let wrong = supervisor::outside::inspect_launchers(config).mistakes;
    if !wrong.is_empty() {
        // what `check` and `run` refuse is not fetched either
        wrong.iter().try_for_each(|mistake| writeln!(err, "{}", mistake.line(lang)))?;
        return Ok(1);
    }
    if let Some(warning) = supervisor::outside::renamed(config) {
        writeln!(err, "{}", warning.line(lang))?;
    }
    let (bars, quarantined) = (Bars::new(options.json), Quarantined::default());
    let listed = (!options.json).then(|| Arc::clone(&quarantined));
    let env = Env::new(config.global.state.clone(), told(events, &bars, listed));
    let reports = cycles(&launchers, &env, options.dry_run);
    bars.end();
    if options.json {
        writeln!(out, "{}", serde_json::to_string(&Document { launchers: &reports })?)?;
    }
    let quarantined = quarantined.lock().unwrap_or_else(PoisonError::into_inner);
    for report in &reports {
        tell(report, options, lang, out, err)?;
        for (_, text) in quarantined.iter().filter(|(name, _)| *name == report.name) {
            writeln!(out, "  {}", text.get(lang))?;
        }
    }
    Ok(u8::from(!reports.iter().all(Report::is_success)))
}

/// What went to quarantine: the launcher, and the sentence with the reason.
type Quarantined = Arc<Mutex<Vec<(String, Text)>>>;

/// What happens meanwhile: printed above the bars; what goes to quarantine is kept for the end where it is `listed`.
fn told(events: &Events, bars: &Bars, listed: Option<Quarantined>) -> Events {
    let (wanted, events, above, shown) = (events.clone(), events.clone(), bars.clone(), bars.clone());
    let sink = move |event: Event| match (event.name, &listed, &event.service) {
        // the summary of a cycle is this command's own output
        ("cycle_done" | "cycle_failed", _, _) => {}
        ("item_quarantined", Some(list), Some(name)) => {
            list.lock().unwrap_or_else(PoisonError::into_inner).push((name.to_string(), event.text));
        }
        _ => above.above(|| events.emit(event)),
    };
    let told = Events::to(sink).wanting(move |level, service| wanted.wants(level, service));
    if bars.drawn { told.watched(move |launcher, done, total| shown.show(launcher, done, total)) } else { told }
}

/// The launchers that are meant: by name, in the order of the command line and each once, or every enabled one.
pub(super) fn choose<'a>(config: &'a Config, names: &[String]) -> Result<Vec<&'a Launcher>, Text> {
    if names.is_empty() {
        return Ok(config.launchers.iter().filter(|launcher| launcher.enabled).collect());
    }
    let find = |name: &String| {
        let named = config.launchers.iter().find(|launcher| launcher.name.as_str() == name);
        named.ok_or_else(|| unknown(config, name))
    };
    let mut seen = HashSet::new();
    names.iter().filter(|name| seen.insert(*name)).map(find).collect()
}

fn unknown(config: &Config, name: &str) -> Text {
    let known: Vec<_> = config.launchers.iter().map(|launcher| launcher.name.as_str()).collect();
    let (known, file) = (known.join(", "), config.path.display());
    text!(
        "no launcher is called {name} in {file}; there are: {known}",
        "aucun lanceur ne s'appelle {name} dans {file} ; il y a : {known}"
    )
}

/// One cycle of each launcher, each on a thread of its own.
fn cycles(launchers: &[&Launcher], env: &Env, dry_run: bool) -> Vec<Report> {
    std::thread::scope(|scope| {
        let running: Vec<_> =
            launchers.iter().map(|launcher| (launcher, scope.spawn(|| one(launcher, env, dry_run)))).collect();
        let report = |(launcher, thread): (&&Launcher, std::thread::ScopedJoinHandle<'_, Report>)| {
            thread.join().unwrap_or_else(|_| Report::new(&launcher.name).failed(broken()))
        };
        running.into_iter().map(report).collect()
    })
}

fn one(launcher: &Launcher, env: &Env, dry_run: bool) -> Report {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let text = text!("the system gives no resources: {error}", "le système refuse ses ressources : {error}");
            return Report::new(&launcher.name).failed(Fault::new(Code::Config, text));
        }
    };
    runtime.block_on(launcher::once(launcher, env, dry_run, &CancellationToken::new())).report
}

fn tell(report: &Report, options: &Options, lang: Lang, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<()> {
    let Report { name, items, files, error } = report;
    if let Some(Fault { code, text }) = error {
        let Text { en, fr } = text;
        writeln!(err, "{}", text!("{name}: {code}: {en}", "{name} : {code} : {fr}").get(lang))?;
    }
    if options.json {
        return Ok(());
    }
    let Items { found, delivered, already, empty, rejected, quarantined, failed } = items;
    let count = files.delivered;
    let text = text!(
        "{name}: {found} found, {delivered} delivered ({count} files), {already} already, {empty} empty, {rejected} rejected, {quarantined} in quarantine, {failed} failed",
        "{name} : {found} trouvés, {delivered} livrés ({count} fichiers), {already} déjà faits, {empty} vides, {rejected} écartés, {quarantined} en quarantaine, {failed} en échec"
    );
    writeln!(out, "{}", text.get(lang))
}

fn broken() -> Fault {
    let text = text!(
        "the cycle ended by a defect of pertuis; nothing is lost, run it again and report the lines above",
        "le cycle s'est arrêté sur un défaut de pertuis ; rien n'est perdu, relancez-le et signalez les lignes ci-dessus"
    );
    Fault::new(Code::Protocol, text)
}

#[derive(Serialize)]
struct Document<'a> {
    launchers: &'a [Report],
}
