//! `pertuis run`: the service, from its first check to its last connection.
//!
//! Not the supervisor: here signals become reload and stop, and log, pid file, daemon and service manager get their
//! due. The order is stunnel's (5.75, `main_unix`): everything is bound, then root is given up, then log and pid file
//! are opened by whom they are to belong to; until then the log waits. Only two things differ: the daemon is detached
//! before it binds, since it is a process of its own, and connections wait until all of this is done.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::reread::{Read, Reading};
use super::{Console, DONE, FAILED, Source, inetd};
use crate::config::{Config, Defaults, Foreground, Place, Remark};
use crate::event::{Event, Events, Level};
use crate::log::{Log, Settings};
use crate::net::stream::Listener;
use crate::platform::{self, Daemon, Phase, PidFile, Request, Signals};
use crate::privileges::Privileges;
use crate::supervisor::{self, Moment, Prepared, Supervisor, rights};
use crate::text;
use crate::text::Text;

/// Runs the command until it is told to stop.
pub(super) fn run(source: &Source, console: &mut Console<'_>) -> io::Result<u8> {
    let Some(config) = source.load_for(console)? else { return Ok(FAILED) };
    if config.inetd.is_some() {
        return inetd::run(&config, console);
    }
    let daemon = Daemon::detach();
    if config.global.foreground == Foreground::No && daemon.is_none() {
        return launch(source, console);
    }
    let log = Log::waiting(Settings::of(&config));
    let service = Service { source: source.clone(), events: log.events(), log, strict: is_strict(&config) };
    service.greet(&config);
    let started = match supervisor::prepare(config.clone(), &service.events, Moment::Start) {
        Ok(prepared) => service.start(&config, prepared, daemon)?,
        Err(mistakes) => Err(mistakes),
    };
    match started {
        Ok(()) => Ok(DONE),
        Err(mistakes) => console.failure(&service.log.kept(), &mistakes).map(|()| FAILED),
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

/// What of stunnel's ways is not a matter of a tunnel's own options.
fn is_strict(config: &Config) -> bool {
    config.global.defaults == Defaults::Stunnel
}

/// A mistake at an option that stands before the first section.
pub(super) fn at(config: &Config, option: &str, text: Text) -> Remark {
    Remark { place: config.global.places.of(option).clone(), text }
}

/// Gives up root as the file says, and tells so. A service manager is told before that everything runs: from inside a
/// jail its socket cannot be reached.
pub(super) fn give_up(privileges: &Privileges, config: &Config, events: &Events) -> Result<(), Vec<Remark>> {
    if privileges.is_none() {
        return Ok(());
    }
    if privileges.root().is_some() {
        platform::notify(Phase::Ready);
    }
    privileges.give_up().map_err(|(option, text)| vec![at(config, option, text)])?;
    // the system forgot it with the change of user: prctl(2), PR_SET_DUMPABLE
    platform::no_core_dumps();
    if let Some(root) = privileges.root() {
        let root = root.display();
        let text = text!("Switched to chroot directory: {root}", "Racine du processus : {root}");
        events.emit(Event::new(Level::Notice, "chroot", text));
    }
    if privileges.names_somebody() {
        let owner = &config.global.owner;
        let who = owner.user.iter().chain(owner.group.iter()).map(String::as_str).collect::<Vec<_>>().join(":");
        events.emit(Event::new(Level::Notice, "privileges", text!("Running as {who}", "Tourne sous {who}")));
    }
    Ok(())
}

/// What a running service needs to follow a new configuration.
struct Service {
    source: Source,
    log: Log,
    events: Events,
    /// `defaults = stunnel`.
    strict: bool,
}

/// What cannot be; `Err` of the outer result is the system's.
type Started<T> = Result<T, Vec<Remark>>;

impl Service {
    fn start(&self, config: &Config, prepared: Prepared, daemon: Option<Daemon>) -> io::Result<Started<()>> {
        if let Err((option, text)) = prepared.privileges().check_rights() {
            return Ok(Err(vec![at(config, option, text)]));
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        catch_panics(self.events.clone());
        let ended = runtime.block_on(self.run(config, prepared, daemon));
        // an open name resolution must not hold up the end
        runtime.shutdown_timeout(LAST_MOMENT);
        ended
    }

    async fn run(&self, config: &Config, prepared: Prepared, daemon: Option<Daemon>) -> io::Result<Started<()>> {
        // first of all: until then a SIGHUP would end the process
        let signals = Signals::listen()?;
        self.warn(&prepared);
        let privileges = prepared.privileges().clone();
        let mut supervisor = match self.bind(config, prepared, daemon.is_some()).await {
            Ok(supervisor) => supervisor,
            Err(mistakes) => return Ok(Err(mistakes)),
        };
        let pid = match give_up(&privileges, config, &self.events).and_then(|()| self.open(config, &privileges)) {
            Ok(pid) => pid,
            Err(mistakes) => return Ok(Err(mistakes)),
        };
        supervisor.begin();
        let words = text!("Accepting new connections", "Prêt : nouvelles connexions acceptées");
        self.tell(Level::Info, "started", words);
        if let Some(daemon) = daemon {
            daemon.started()?;
        }
        platform::notify(Phase::Ready);
        self.serve(supervisor, signals).await;
        drop(pid);
        Ok(Ok(()))
    }

    async fn bind(&self, config: &Config, prepared: Prepared, is_daemon: bool) -> Started<Supervisor> {
        if self.strict {
            // installers look for it
            let words = text!("Configuration successful", "Configuration acceptée");
            self.tell(Level::Notice, "config_accepted", words);
        }
        let inherited = handed_over(is_daemon).map_err(|error| vec![whole(config, Text::io(&error))])?;
        let supervisor = Supervisor::bind(prepared, self.events.clone(), inherited);
        let surplus = supervisor.surplus();
        if surplus > 0 {
            return Err(vec![whole(config, too_many_listeners(surplus))]);
        }
        // who gives up over it waits for a slow name server
        supervisor.settled(if self.strict { SETTLE_STRICTLY } else { SETTLE }).await;
        let unbound = supervisor.unbound();
        for name in unbound.iter().filter(|_| self.strict) {
            let text = text!("Binding service [{name}] failed", "Service [{name}] : aucune adresse d'écoute");
            self.events.emit(Event::new(Level::Error, "tunnel_not_bound", text).of(name));
        }
        if config.global.chroot.is_some() {
            supervisor.resolve(RESOLVE).await;
        }
        // stunnel gives up; we try again, and the other tunnels run meanwhile
        if self.strict && !unbound.is_empty() { Err(Vec::new()) } else { Ok(supervisor) }
    }

    /// What belongs to the user that the process has become.
    fn open(&self, config: &Config, privileges: &Privileges) -> Started<Option<PidFile>> {
        let global = &config.global;
        let remedy = |path: &Path, text| rights::remedy(privileges, path, text);
        self.log.start().map_err(|text| {
            vec![at(config, "output", remedy(global.output.as_deref().unwrap_or(Path::new("")), text))]
        })?;
        let Some(path) = global.pid.as_deref() else { return Ok(None) };
        PidFile::create(path).map(Some).map_err(|error| {
            let shown = path.display();
            let Text { en, fr } = Text::io(&error);
            let text = text!(
                "pid: cannot take the file {shown}: {en}",
                "pid : impossible de prendre le fichier {shown} : {fr}"
            );
            vec![at(config, "pid", remedy(path, text))]
        })
    }

    /// Until it is told to stop, and has stopped.
    async fn serve(&self, mut supervisor: Supervisor, mut signals: Signals) {
        let often = platform::watchdog().map_or(STATUS, |limit| STATUS.min(limit / 2)).max(LAST_MOMENT / 10);
        let mut beat = tokio::time::interval(often);
        let mut reading = Reading::default();
        loop {
            let request = tokio::select! {
                request = signals.next() => request,
                read = reading.done() => {
                    self.reload(&mut supervisor, read).await;
                    if reading.is_out_of_date() {
                        self.reread(&mut reading);
                    }
                    continue;
                }
                changed = supervisor.changed() => {
                    supervisor.refresh(&changed);
                    continue;
                }
                _ = beat.tick() => {
                    supervisor.look_at_certificates();
                    platform::tell_alive(&supervisor.status().summary());
                    continue;
                }
            };
            match request {
                Request::Stop(signal) => {
                    self.say_goodbye(signal);
                    break;
                }
                Request::Reload => self.reread(&mut reading),
                Request::Reopen => self.reopen(),
                Request::Status => self.say_status(&supervisor),
            }
        }
        platform::notify(Phase::Stopping);
        let second = async {
            // the others come too late, and must not end the process as they would by themselves
            while !matches!(signals.next().await, Request::Stop(_)) {}
        };
        supervisor.stop(if self.strict { Duration::ZERO } else { DRAIN }, second).await;
        self.tell(Level::Notice, "stopped", text!("stopped", "arrêté"));
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

    fn reread(&self, reading: &mut Reading) {
        if reading.start(&self.source, &self.events) {
            platform::notify(Phase::Reloading);
            return;
        }
        let text = text!(
            "the configuration is still being read: it is read once more after that",
            "lecture de la configuration en cours : elle sera relue ensuite"
        );
        self.tell(Level::Notice, "reload_waits", text);
    }

    /// A mistake leaves everything as it was.
    async fn reload(&self, supervisor: &mut Supervisor, read: Read) {
        match self.follow(supervisor, read).await {
            Ok(()) => self.tell(Level::Notice, "reloaded", text!("Configuration reloaded", "Configuration relue")),
            Err(mistakes) => {
                self.refuse(&mistakes);
                supervisor.status().refused();
            }
        }
        platform::notify(Phase::Ready);
    }

    async fn follow(&self, supervisor: &mut Supervisor, read: Read) -> Started<()> {
        let (config, prepared) = *read?;
        let before = self.log.settings();
        self.log.configure(Settings::of(&config)).map_err(|text| vec![at(&config, "output", text)])?;
        self.warn(&prepared);
        let followed = supervisor.reload(prepared).await;
        if followed.is_err() {
            // the file that was in use a moment ago can be opened again, or the new one stays: lines are not lost
            let _ = self.log.configure(before);
        }
        followed
    }

    fn refuse(&self, mistakes: &[Remark]) {
        for Remark { place, text } in mistakes {
            let (en, fr) = (&text.en, &text.fr);
            self.tell(Level::Error, "config_mistake", text!("{place}: {en}", "{place}: {fr}"));
        }
        self.tell(Level::Error, "config_refused", text!("Configuration failed", "Configuration refusée"));
        self.tell(
            Level::Error,
            "reload_refused",
            text!(
                "Failed to reload the configuration file: the old configuration stays in force",
                "Rechargement refusé : l'ancienne configuration reste en vigueur"
            ),
        );
    }

    fn reopen(&self) {
        match self.log.reopen() {
            Ok(()) => self.tell(Level::Notice, "log_reopened", text!("Log file reopened", "Journal rouvert")),
            Err(text) => self.tell(Level::Error, "log_not_reopened", text),
        }
    }

    /// stunnel's list, at the level at which stunnel tells it: who asks for it wants to see it. Ours adds where tunnels
    /// listen, and does not ring every terminal of the machine, which syslog does for an emergency.
    fn say_status(&self, supervisor: &Supervisor) {
        let level = if self.strict { Level::Emergency } else { Level::Notice };
        for (name, addresses) in supervisor.listening().iter().filter(|_| !self.strict) {
            let list: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            let list = list.join(", ");
            let text = if list.is_empty() {
                text!("Service [{name}] does not listen", "Service [{name}] : pas d'écoute")
            } else {
                text!("Service [{name}] listens on {list}", "Service [{name}] : écoute sur {list}")
            };
            self.events.emit(Event::new(level, "status", text).of(name));
        }
        let list = supervisor.report();
        self.tell(level, "status", text!("Active connections:", "Connexions ouvertes :"));
        for line in &list {
            self.tell(level, "status", Text::same(line.clone()));
        }
        let count = list.len();
        let total = text!("Listed {count} active connection(s)", "{count} connexion(s) ouverte(s)");
        self.tell(level, "status", total);
    }

    /// An interrupt is worth more than a notice to stunnel.
    fn say_goodbye(&self, signal: &str) {
        let (level, text) = if signal == "SIGTERM" {
            (Level::Notice, text!("Terminated", "Arrêt demandé"))
        } else {
            (Level::Error, text!("Received {signal}; terminating", "{signal} reçu : arrêt"))
        };
        self.tell(level, "stopping", text);
    }

    fn tell(&self, level: Level, name: &'static str, text: Text) {
        self.events.emit(Event::new(level, name, text));
    }
}

/// A mistake of the file as a whole.
pub(super) fn whole(config: &Config, text: Text) -> Remark {
    Remark { place: Place { file: config.path.as_path().into(), line: 0 }, text }
}

fn too_many_listeners(surplus: usize) -> Text {
    text!(
        "the service manager handed over {surplus} socket(s) more than there are tunnels with `accept`: each gets one, in \
         the order of the file",
        "le gestionnaire de services a transmis {surplus} socket(s) de plus qu'il n'y a de tunnels avec `accept` : chacun \
         en reçoit une, dans l'ordre du fichier"
    )
}

/// A panic goes to the log too: a daemon has no standard error. The hook belongs to the process, there is no other
/// way; whoever runs the task that fell says what happens next.
pub(super) fn catch_panics(events: Events) {
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

/// The same where a tunnel that does not listen is the end.
const SETTLE_STRICTLY: Duration = Duration::from_mins(1);

/// How often the service manager gets a line about everything, and certificates are looked at.
const STATUS: Duration = Duration::from_secs(30);

/// What the service manager opened for us.
#[cfg(unix)]
fn handed_over(is_daemon: bool) -> io::Result<Vec<Listener>> {
    crate::net::activation::take(is_daemon)
}

/// Windows hands nothing over.
#[cfg(not(unix))]
fn handed_over(_is_daemon: bool) -> io::Result<Vec<Listener>> {
    Ok(Vec::new())
}

/// How long names may take that no resolver finds inside a jail.
const RESOLVE: Duration = Duration::from_secs(10);

pub(super) const LAST_MOMENT: Duration = Duration::from_secs(1);
