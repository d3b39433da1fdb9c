//! `pertuis test`: walks the way of a launcher or of a tunnel, step by step, and says where it ends.
//!
//! One line for each step: ok, or what is wrong and what to do. Nothing is changed anywhere, and it works beside the
//! service.

mod launcher;
mod tunnel;

use std::collections::HashSet;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use tokio::time::timeout;

use crate::config::{Config, Launcher, Tunnel};
use crate::event::Events;
use crate::launcher::Env;
use crate::model::{Code, Fault, ServiceName};
use crate::text;
use crate::text::{Lang, Text};

/// Runs the command; answers the exit code of the contract (section 2).
pub fn run(
    config: &Config,
    names: &[String],
    events: &Events,
    lang: Lang,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<u8> {
    let sections = match choose(config, names) {
        Ok(sections) => sections,
        Err(text) => {
            writeln!(err, "{}", text.get(lang))?;
            return Ok(2);
        }
    };
    let env = Env::new(config.global.state.clone(), events.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut failed = false;
    for section in sections {
        let mut teller = Teller { lang, out, err, began: Instant::now(), failed: false };
        runtime.block_on(async {
            match section {
                Section::Launcher(section) => launcher::walk(section, &env, &mut teller).await,
                Section::Tunnel(section) => tunnel::walk(section, config, events, &mut teller).await,
            }
        })?;
        failed |= teller.failed;
    }
    // an open name resolution must not hold up the end
    runtime.shutdown_background();
    Ok(u8::from(failed))
}

/// What can be walked through.
#[derive(Clone, Copy)]
enum Section<'a> {
    Launcher(&'a Launcher),
    Tunnel(&'a Tunnel),
}

/// The sections that are meant: by name, in the order of the command line and each once (two tunnels may share a name),
/// or all tunnels and every enabled launcher.
fn choose<'a>(config: &'a Config, names: &[String]) -> Result<Vec<Section<'a>>, Text> {
    let tunnels = || config.tunnels.iter().chain(config.inetd.as_deref());
    if names.is_empty() {
        let launchers = config.launchers.iter().filter(|launcher| launcher.enabled).map(Section::Launcher);
        return Ok(tunnels().map(Section::Tunnel).chain(launchers).collect());
    }
    let mut chosen = Vec::new();
    let mut seen = HashSet::new();
    for name in names.iter().filter(|name| seen.insert(*name)) {
        let before = chosen.len();
        chosen.extend(tunnels().filter(|tunnel| tunnel.name.as_str() == name).map(Section::Tunnel));
        let launcher = config.launchers.iter().find(|launcher| launcher.name.as_str() == name);
        chosen.extend(launcher.map(Section::Launcher));
        if chosen.len() == before {
            return Err(unknown(config, name));
        }
    }
    Ok(chosen)
}

fn unknown(config: &Config, name: &str) -> Text {
    let tunnels = config.tunnels.iter().map(|tunnel| &tunnel.name);
    let all = tunnels.chain(config.launchers.iter().map(|launcher| &launcher.name));
    let known: Vec<&str> = all.map(ServiceName::as_str).collect();
    let (known, file) = (known.join(", "), config.path.display());
    text!(
        "nothing is called {name} in {file}; there are: {known}",
        "rien ne s'appelle {name} dans {file} ; il y a : {known}"
    )
}

/// Where steps are told.
struct Teller<'a> {
    lang: Lang,
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
    /// When the step that is under way began.
    began: Instant,
    failed: bool,
}

impl Teller<'_> {
    /// Tells how a step ended and how long it took; whether it went well.
    fn step(&mut self, name: &ServiceName, step: Text, result: Result<Text, Fault>) -> io::Result<bool> {
        let took = self.began.elapsed().as_millis();
        let Text { en: step, fr: etape } = step;
        let well = result.is_ok();
        match result {
            Ok(Text { en, fr }) => {
                let text = text!("{name}: {step}: ok, {en} ({took} ms)", "{name} : {etape} : ok, {fr} ({took} ms)");
                writeln!(self.out, "{}", text.get(self.lang))?;
            }
            Err(Fault { code, text: Text { en, fr } }) => {
                self.failed = true;
                let text = text!(
                    "{name}: {step}: FAILED ({code}, {took} ms): {en}",
                    "{name} : {etape} : ÉCHEC ({code}, {took} ms) : {fr}"
                );
                // in the order in which it happened, also where both go to one terminal
                self.out.flush()?;
                writeln!(self.err, "{}", text.get(self.lang))?;
            }
        }
        self.began = Instant::now();
        Ok(well)
    }
}

/// A step that takes for ever is one that failed.
async fn limited<T>(step: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    let seconds = PATIENCE.as_secs();
    timeout(PATIENCE, step).await.unwrap_or_else(|_| {
        let text = text!(
            "no end after {seconds} s; is this the right port, and does a firewall hold it up?",
            "toujours rien après {seconds} s ; est-ce le bon port, un pare-feu retient-il la connexion ?"
        );
        Err(Fault::new(Code::Connect, text))
    })
}

/// For each step.
const PATIENCE: Duration = Duration::from_secs(15);
