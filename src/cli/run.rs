//! `pertuis run`: the service, from its first check to its last connection.
//!
//! Not the supervisor: here signals become reload and stop, and log, pid file, daemon and service manager get their
//! due. Nothing is bound, fetched or written before everything that can fail has been done.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::{Console, DONE, FAILED, Source, collect};
use crate::config::{Config, Foreground, Remark};
use crate::event::{Event, Events, Level};
use crate::log::{Log, Settings};
use crate::platform::{self, Daemon, Phase, PidFile, Request, Signals};
use crate::supervisor::{self, Prepared, Supervisor};
use crate::text;
use crate::text::Text;

/// Runs the command until it is told to stop.
pub(super) fn run(source: &Source, console: &mut Console<'_>) -> io::Result<u8> {
    let Some(config) = source.load_for(console)? else { return Ok(FAILED) };
    let daemon = Daemon::detach();
    if config.global.foreground == Foreground::No && daemon.is_none() {
        return launch(source, console);
    }
    match begin(&config) {
        Ok((log, prepared)) => serve(source, &log, config, prepared, daemon, console),
        Err(mistakes) => console.remarks(&mistakes).map(|()| FAILED),
    }
}

/// Becomes a daemon.
fn launch(source: &Source, console: &mut Console<'_>) -> io::Result<u8> {
    Daemon::launch(source.bytes.as_deref().unwrap_or_default()).or_else(|error| {
        let text = text!(
            "cannot become a daemon: {error}; set `foreground = yes`",
            "impossible de passer à l'arrière-plan : {error} ; mettre `foreground = yes`"
        );
        console.complain(&text).map(|()| FAILED)
    })
}

/// Everything that can fail; what it warns of goes to the log once that is open.
fn begin(config: &Config) -> Result<(Log, Prepared), Vec<Remark>> {
    let at = |option: &str, text| vec![Remark { place: config.global.places.of(option).clone(), text }];
    let (events, warnings) = collect();
    let prepared = supervisor::prepare(config.clone(), &events)?;
    let log = Log::open(Settings::of(config)).map_err(|text| at("output", text))?;
    for event in warnings.try_iter() {
        log.write(&event);
    }
    Ok((log, prepared))
}

fn serve(
    source: &Source,
    log: &Log,
    config: Config,
    prepared: Prepared,
    daemon: Option<Daemon>,
    console: &mut Console<'_>,
) -> io::Result<u8> {
    let pid = match config.global.pid.as_deref().map(PidFile::create).transpose() {
        Ok(pid) => pid,
        Err(error) => {
            let path = config.global.pid.as_deref().unwrap_or(Path::new("")).display();
            let Text { en, fr } = Text::io(&error);
            let text =
                text!("pid: cannot take the file {path}: {en}", "pid : impossible de prendre le fichier {path} : {fr}");
            let remark = Remark { place: config.global.places.of("pid").clone(), text };
            return console.remarks(&[remark]).map(|()| FAILED);
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    catch_panics(log.events());
    let service = Service { source: source.clone(), log: log.clone(), events: log.events() };
    let code = runtime.block_on(service.run(config, prepared, daemon));
    // an open name resolution must not hold up the end
    runtime.shutdown_timeout(LAST_MOMENT);
    drop(pid);
    code
}

/// What a running service needs to follow a new configuration.
struct Service {
    source: Source,
    log: Log,
    events: Events,
}

impl Service {
    async fn run(&self, config: Config, prepared: Prepared, daemon: Option<Daemon>) -> io::Result<u8> {
        let mut signals = Signals::listen()?;
        self.greet(&config);
        self.warn(&prepared);
        let mut supervisor = Supervisor::start(prepared, self.events.clone());
        supervisor.settled(SETTLE).await;
        let words = text!("Accepting new connections", "Prêt : nouvelles connexions acceptées");
        self.tell(Level::Info, "started", words);
        if let Some(daemon) = daemon {
            daemon.started()?;
        }
        platform::notify(Phase::Ready);
        let often = platform::watchdog().map_or(STATUS, |limit| STATUS.min(limit / 2)).max(LAST_MOMENT / 10);
        let mut beat = tokio::time::interval(often);
        loop {
            let request = tokio::select! {
                request = signals.next() => request,
                _ = beat.tick() => {
                    platform::tell_alive(&supervisor.status().summary());
                    continue;
                }
            };
            match request {
                Request::Stop(signal) => {
                    self.say_goodbye(signal);
                    break;
                }
                Request::Reload => self.reload(&mut supervisor).await,
                Request::Reopen => self.reopen(),
                Request::Status => self.say_status(&supervisor),
            }
        }
        platform::notify(Phase::Stopping);
        let second = async {
            // a reload while stopping comes too late
            while !matches!(signals.next().await, Request::Stop(_)) {}
        };
        supervisor.stop(DRAIN, second).await;
        self.tell(Level::Notice, "stopped", text!("stopped", "arrêté"));
        Ok(DONE)
    }

    fn greet(&self, config: &Config) {
        let (version, file) = (env!("CARGO_PKG_VERSION"), config.path.display());
        let (tunnels, launchers) = (config.tunnels.len(), config.launchers.len());
        self.tell(
            Level::Notice,
            "starting",
            text!(
                "pertuis {version}, {file}: {tunnels} tunnels, {launchers} launchers",
                "pertuis {version}, {file} : {tunnels} tunnels, {launchers} lanceurs"
            ),
        );
    }

    fn warn(&self, prepared: &Prepared) {
        for Remark { place, text } in prepared.warnings() {
            let (en, fr) = (&text.en, &text.fr);
            self.tell(Level::Warning, "config_warning", text!("{place}: {en}", "{place}: {fr}"));
        }
    }

    /// A mistake leaves everything as it was.
    async fn reload(&self, supervisor: &mut Supervisor) {
        platform::notify(Phase::Reloading);
        let prepared = self.source.load().and_then(|config| {
            let prepared = supervisor::prepare(config.clone(), &self.events)?;
            let place = config.global.places.of("output").clone();
            self.log.configure(Settings::of(&config)).map_err(|text| vec![Remark { place, text }])?;
            Ok(prepared)
        });
        match prepared {
            Ok(prepared) => {
                self.warn(&prepared);
                supervisor.reload(prepared).await;
                self.tell(Level::Notice, "reloaded", text!("Configuration reloaded", "Configuration relue"));
            }
            Err(mistakes) => {
                self.refuse(&mistakes);
                supervisor.status().refused();
            }
        }
        platform::notify(Phase::Ready);
    }

    fn refuse(&self, mistakes: &[Remark]) {
        for Remark { place, text } in mistakes {
            let (en, fr) = (&text.en, &text.fr);
            self.tell(Level::Error, "config_mistake", text!("{place}: {en}", "{place}: {fr}"));
        }
        self.tell(
            Level::Error,
            "reload_refused",
            text!(
                "Configuration failed: the old configuration stays in force",
                "Configuration refusée : l'ancienne reste en vigueur"
            ),
        );
    }

    fn reopen(&self) {
        match self.log.reopen() {
            Ok(()) => self.tell(Level::Notice, "log_reopened", text!("Log file reopened", "Journal rouvert")),
            Err(text) => self.tell(Level::Error, "log_not_reopened", text),
        }
    }

    fn say_status(&self, supervisor: &Supervisor) {
        for (name, addresses) in supervisor.listening() {
            let list: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            let list = list.join(", ");
            let text = if list.is_empty() {
                text!("Service [{name}] does not listen", "Service [{name}] : pas d'écoute")
            } else {
                text!("Service [{name}] listens on {list}", "Service [{name}] : écoute sur {list}")
            };
            self.events.emit(Event::new(Level::Notice, "status", text).of(&name));
        }
    }

    fn say_goodbye(&self, signal: &str) {
        let text = if signal == "SIGTERM" {
            text!("Terminated", "Arrêt demandé")
        } else {
            text!("Received {signal}; terminating", "{signal} reçu : arrêt")
        };
        self.tell(Level::Notice, "stopping", text);
    }

    fn tell(&self, level: Level, name: &'static str, text: Text) {
        self.events.emit(Event::new(level, name, text));
    }
}

/// A panic goes to the log too: a daemon has no standard error. The hook belongs to the process, there is no other
/// way; whoever runs the task that fell says what happens next.
fn catch_panics(events: Events) {
    std::panic::set_hook(Box::new(move |info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let words = info.payload_as_str().unwrap_or("?");
        let text = text!("internal error at {place}: {words}", "erreur interne, {place} : {words}");
        events.emit(Event::new(Level::Critical, "panic", text));
    }));
}

/// How long connections and launchers have to end by themselves.
const DRAIN: Duration = Duration::from_secs(10);

/// How long the tunnels have to listen before the start counts as done all the same.
const SETTLE: Duration = Duration::from_secs(2);

/// How often the service manager gets a line about everything.
const STATUS: Duration = Duration::from_secs(30);

const LAST_MOMENT: Duration = Duration::from_secs(1);
