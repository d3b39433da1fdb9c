//! Who runs: starts tunnels and launchers, follows a new configuration, stops them all.
//!
//! Not an engine, and no front door either: it knows neither signals nor the command line. Everything that can fail
//! happens in [`prepare`], before anything is bound, fetched or stopped; what comes after cannot be refused. That is
//! why a reload with a broken file changes nothing.

mod alert;
mod child;
pub mod expiry;
pub mod outside;
pub mod plan;
mod prepared;
mod rebind;
pub mod rights;
mod watch;

use std::collections::{BTreeSet, VecDeque};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Defaults, Launcher, Remark, Tunnel};
use crate::event::{Event, Events, Level};
use crate::launcher;
use crate::model::ServiceName;
use crate::net::stream::{Addr, Listener};
use crate::oauth::SignIns;
use crate::status::{Pages, Status};
use crate::text;
use crate::text::Text;
use crate::tunnel::{self, Running};

use alert::{Alerts, Signs};
use child::Child;
use expiry::Expiry;
use plan::{Plan, Step};
pub use prepared::{Moment, Prepared, all_mistakes, prepare};
use prepared::{at_its_option, hosts_of, primaries};
use watch::Watch;

/// Everything that runs.
#[derive(Debug)]
pub struct Supervisor {
    config: Config,
    events: Events,
    status: Status,
    pages: Option<Pages>,
    alerts: Alerts,
    /// Launchers of one account use one sign-in, on whatever threads they run.
    sign_ins: SignIns,
    tunnels: Vec<(Tunnel, Running)>,
    launchers: Vec<(Launcher, Child)>,
    /// Launchers that are gone finish an item; tunnels that stop let their connections end.
    leaving: JoinSet<()>,
    /// Tunnels that are gone from the file and still have connections.
    retired: Vec<Running>,
    /// Cancelled once tunnels take connections.
    gate: CancellationToken,
    /// Listeners of the service manager that no tunnel has yet, in their order.
    inherited: VecDeque<Listener>,
    /// The process was root, and is no longer.
    fallen: bool,
    expiry: Expiry,
    watch: Option<Watch>,
}

impl Supervisor {
    /// Starts what was prepared. Called within a runtime of several threads, on which the tunnels then live.
    pub fn start(prepared: Prepared, events: Events) -> Self {
        let mut supervisor = Self::bind(prepared, events, Vec::new());
        supervisor.begin();
        supervisor
    }

    /// Binds what was prepared, and does nothing else: [`begin`](Self::begin) follows once the process is who it is to
    /// be. `inherited`: listeners of the service manager, one for each tunnel with `accept`, in the order of the file, as
    /// stunnel hands them out.
    pub fn bind(prepared: Prepared, events: Events, inherited: Vec<Listener>) -> Self {
        let Prepared { config, tunnels, privileges, own, .. } = prepared;
        let status = Status::default();
        status.follow(&config);
        let alerts = Alerts::start(&config.global.state, events.clone());
        alerts.follow(&config);
        let events = watched(&status, alerts.signs(), events);
        let mut expiry = Expiry::default();
        expiry.follow(own);
        let mut supervisor = Self {
            config,
            events,
            status,
            pages: None,
            alerts,
            sign_ins: SignIns::default(),
            tunnels: Vec::new(),
            launchers: Vec::new(),
            leaving: JoinSet::new(),
            retired: Vec::new(),
            gate: CancellationToken::new(),
            inherited: inherited.into(),
            fallen: privileges.changes_user(),
            expiry,
            watch: None,
        };
        let sections: Vec<Tunnel> = primaries(&supervisor.config).cloned().collect();
        for (section, prepared) in sections.into_iter().zip(tunnels) {
            let running = supervisor.tunnel(&section, prepared);
            supervisor.tunnels.push((section, running));
        }
        supervisor.move_pages();
        supervisor
    }

    /// Takes connections and starts launchers.
    pub fn begin(&mut self) {
        self.gate.cancel();
        let state = self.config.global.state.clone();
        for section in enabled(&self.config) {
            let child = self.child(&section, &state, None);
            self.launchers.extend(child.map(|child| (section, child)));
        }
        self.watch_files();
        self.look_at_certificates();
    }

    /// Goes over to another configuration. Sections that say the same go on undisturbed, with their certificates read
    /// anew; changed launchers start again after the item they are at; open connections live on.
    ///
    /// # Errors
    /// What cannot be bound of the addresses that are new; then nothing has changed.
    pub async fn reload(&mut self, prepared: Prepared) -> Result<(), Vec<Remark>> {
        let Prepared { config, tunnels, own, .. } = prepared;
        let sections: Vec<Tunnel> = primaries(&config).cloned().collect();
        let before = self.bound();
        let old: Vec<&Tunnel> = self.tunnels.iter().map(|(section, _)| section).collect();
        let mistakes = rebind::rehearse(&old, &before, &sections.iter().collect::<Vec<_>>(), self.fallen).await;
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        self.say_what_does_not_reload(&config);
        self.status.follow(&config);
        self.alerts.follow(&config);
        self.reload_tunnels(&sections, tunnels).await;
        // `state` is not reloaded
        let state = self.config.global.state.clone();
        self.reload_launchers(enabled(&config), &state);
        self.config = config;
        self.config.global.state = state;
        self.move_pages();
        self.say_what_stays_bound(&before);
        self.expiry.follow(own);
        self.watch_files();
        self.look_at_certificates();
        while self.leaving.try_join_next().is_some() {}
        self.retired.retain(|running| running.connections() > 0);
        Ok(())
    }

    /// The files that changed on disk, where `watch_certificates` asks for them; for [`refresh`](Self::refresh).
    pub async fn changed(&mut self) -> Vec<PathBuf> {
        match &mut self.watch {
            Some(watch) => watch.changed().await,
            None => std::future::pending().await,
        }
    }

    /// Reads these files anew for the tunnels that use them. One that is broken leaves its tunnel as it was, and is told
    /// of once: the next change is the next attempt.
    pub fn refresh(&mut self, changed: &[PathBuf]) {
        for (section, running) in &self.tunnels {
            let hosts = hosts_of(&self.config, section);
            let uses = |one: &Tunnel| one.files().map(|(_, file)| file.to_owned()).find(|file| changed.contains(file));
            let Some(file) = std::iter::once(section).chain(hosts.iter().copied()).find_map(uses) else { continue };
            let event = match tunnel::prepare(section, &hosts, &self.events) {
                Ok(prepared) => {
                    running.refresh(prepared);
                    Event::new(Level::Notice, "certificates_read", read_anew(&section.name, &file))
                }
                Err(fault) => Event::new(Level::Error, "certificates_refused", kept_old(at_its_option(section, fault))),
            };
            self.events.emit(event.of(&section.name));
        }
        self.expiry.follow(expiry::own(&self.config));
        self.look_at_certificates();
    }

    /// Tells of certificates that end soon. To be called now and then: each thing is told once.
    pub fn look_at_certificates(&mut self) {
        for event in self.expiry.due(&self.status.peer_expiries(), Timestamp::now()) {
            self.events.emit(event);
        }
    }

    /// Resolves the names of all targets now, within `limit`: before the process enters a jail without a resolver.
    pub async fn resolve(&self, limit: Duration) {
        let all = async {
            for (_, running) in &self.tunnels {
                running.resolve().await;
            }
        };
        // whose names take longer is told of by its first connection
        let _ = tokio::time::timeout(limit, all).await;
    }

    /// One line for each open connection of each tunnel, as stunnel tells them.
    pub fn report(&self) -> Vec<String> {
        let running = self.tunnels.iter().map(|(_, running)| running).chain(&self.retired);
        running.flat_map(Running::report).collect()
    }

    /// Descriptors of the service manager that no section takes.
    pub fn surplus(&self) -> usize {
        self.inherited.len()
    }

    /// Tunnels that listen nowhere, although they were told to.
    pub fn unbound(&self) -> Vec<ServiceName> {
        let lost = |(section, running): &&(Tunnel, Running)| !section.accept.is_empty() && running.bound().is_empty();
        self.tunnels.iter().filter(lost).map(|(section, _)| section.name.clone()).collect()
    }

    /// What is known about everything that runs.
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// One line for each tunnel: where it listens.
    pub fn listening(&self) -> Vec<(ServiceName, Vec<Addr>)> {
        self.tunnels.iter().map(|(section, running)| (section.name.clone(), running.bound())).collect()
    }

    /// Returns once every tunnel listens or has failed to, at the latest after `limit`: a taken port must not hold up the
    /// rest.
    pub async fn settled(&self, limit: Duration) {
        let failed = |section: &Tunnel| self.status.could_not_bind(&section.name);
        let settled = || self.tunnels.iter().all(|(section, running)| running.is_listening() || failed(section));
        let all = async {
            while !settled() {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        let _ = tokio::time::timeout(limit, all).await;
    }

    /// Stops everything: launchers between two items, tunnels once their connections have ended, at the latest after
    /// `drain`; what is left then, or when `hurry` resolves, is aborted.
    pub async fn stop(mut self, drain: Duration, hurry: impl Future<Output = ()>) {
        self.stop_sections(drain, hurry).await;
        self.alerts.end().await;
    }

    async fn stop_sections(&mut self, drain: Duration, hurry: impl Future<Output = ()>) {
        let children: Vec<Child> = self.launchers.drain(..).map(|(_, child)| child).collect();
        children.iter().for_each(Child::ask);
        for running in self.tunnels.drain(..).map(|(_, running)| running).chain(self.retired.drain(..)) {
            self.leaving.spawn(running.stop(drain));
        }
        let in_peace = async {
            for child in &children {
                child.ended().await;
            }
            while self.leaving.join_next().await.is_some() {}
        };
        tokio::select! {
            () = in_peace => return,
            () = hurry => {}
            // a little longer than the drain: a tunnel that drains to its own deadline ends by itself
            () = tokio::time::sleep(drain + MARGIN) => {}
        }
        children.iter().for_each(Child::abort);
        let end = async {
            self.leaving.shutdown().await;
            for child in &children {
                child.ended().await;
            }
        };
        if tokio::time::timeout(MARGIN, end).await.is_err() {
            self.events.emit(Event::new(
                Level::Warning,
                "stopped_in_the_middle",
                text!(
                    "a launcher did not stop in time; what it was at is taken up again at the next start",
                    "un lanceur ne s'est pas arrêté à temps ; ce qu'il faisait sera repris au prochain démarrage"
                ),
            ));
        }
    }

    async fn reload_tunnels(&mut self, sections: &[Tunnel], prepared: Vec<tunnel::Prepared>) {
        let (old, running): (Vec<Tunnel>, Vec<Running>) = self.tunnels.drain(..).unzip();
        let plan = Plan::between(&old, sections);
        let mut running: Vec<Option<Running>> = running.into_iter().map(Some).collect();
        // what nobody listens on any more comes first: another section may want the port
        for (prepared, step) in prepared.iter().zip(&plan.steps) {
            if let Step::Keep(index) | Step::Change(index) = step
                && let Some(running) = &running[*index]
            {
                running.release(Some(prepared)).await;
            }
        }
        for ended in plan.ended {
            self.tell("section_ended", &old[ended].name);
            if let Some(running) = running[ended].take() {
                running.retire().await;
                self.retired.push(running);
            }
        }
        for ((section, prepared), step) in sections.iter().zip(prepared).zip(plan.steps) {
            let continued = match step {
                Step::Keep(index) | Step::Change(index) => running[index].take(),
                Step::Start => None,
            };
            match step {
                Step::Keep(_) => {}
                Step::Change(_) => self.tell("section_changed", &section.name),
                Step::Start => self.tell("section_started", &section.name),
            }
            let running = match continued {
                Some(running) => {
                    running.replace(prepared).await;
                    running
                }
                None => self.tunnel(section, prepared),
            };
            self.tunnels.push((section.clone(), running));
        }
    }

    fn reload_launchers(&mut self, sections: Vec<Launcher>, state: &Path) {
        let (old, children): (Vec<Launcher>, Vec<Child>) = self.launchers.drain(..).unzip();
        let plan = Plan::between(&old, &sections);
        let mut children: Vec<Option<Child>> = children.into_iter().map(Some).collect();
        for ended in plan.ended {
            self.tell("section_ended", &old[ended].name);
            self.leave(children[ended].take());
        }
        for (section, step) in sections.into_iter().zip(plan.steps) {
            let child = match step {
                Step::Keep(index) => children[index].take(),
                Step::Change(index) => {
                    self.tell("section_changed", &section.name);
                    let before = children[index].take();
                    let child = self.child(&section, state, before.as_ref());
                    self.leave(before);
                    child
                }
                Step::Start => {
                    self.tell("section_started", &section.name);
                    self.child(&section, state, None)
                }
            };
            self.launchers.extend(child.map(|child| (section, child)));
        }
    }

    fn leave(&mut self, child: Option<Child>) {
        if let Some(child) = child {
            child.ask();
            self.leaving.spawn(async move { child.ended().await });
        }
    }

    fn tunnel(&mut self, section: &Tunnel, prepared: tunnel::Prepared) -> Running {
        let meter = self.status.meter(prepared.name());
        let inherited = if section.accept.is_empty() { None } else { self.inherited.pop_front() };
        Running::start_held(prepared, self.events.clone(), meter, inherited, self.gate.clone())
    }

    fn bound(&self) -> Vec<Addr> {
        self.tunnels.iter().flat_map(|(_, running)| running.bound()).collect()
    }

    /// stunnel binds everything anew at a reload, and scripts wait for its lines.
    fn say_what_stays_bound(&self, before: &[Addr]) {
        if self.config.global.defaults != Defaults::Stunnel {
            return;
        }
        for (section, running) in &self.tunnels {
            let name = &section.name;
            for at in running.bound().iter().filter(|at| before.contains(at)) {
                let text = text!("Service [{name}] bound to {at}", "Service [{name}] à l'écoute sur {at}");
                self.events.emit(Event::new(Level::Notice, "tunnel_listening", text).of(name));
            }
        }
    }

    /// Watches what the configuration names, where it asks for that.
    fn watch_files(&mut self) {
        let wanted = self.config.global.watch_certificates;
        let files: BTreeSet<PathBuf> =
            self.config.tunnels.iter().flat_map(Tunnel::files).map(|(_, file)| file.to_owned()).collect();
        if !wanted || files.is_empty() {
            self.watch = None;
        } else if self.watch.as_ref().is_none_or(|watch| *watch.files() != files) {
            self.watch = Some(Watch::start(files));
        }
    }

    /// Serves `/metrics` where the configuration wants it.
    fn move_pages(&mut self) {
        let wanted = self.config.global.metrics.clone();
        if self.pages.as_ref().map(Pages::address) == wanted.as_ref() {
            return;
        }
        let before = self.pages.take();
        self.pages = wanted.map(|at| Pages::start(at, self.status.clone(), self.events.clone(), before));
    }

    fn child(&self, section: &Launcher, state: &Path, before: Option<&Child>) -> Option<Child> {
        let launcher = Arc::new(section.clone());
        let env =
            launcher::Env { state: state.to_owned(), events: self.events.clone(), sign_ins: self.sign_ins.clone() };
        let run = move |stop| launcher::run(Arc::clone(&launcher), env.clone(), stop);
        let child = Child::start(&section.name, &self.events, before, run);
        child
            .map_err(|error| {
                let words = text!("cannot start a thread: {error}", "impossible de créer un fil d'exécution : {error}");
                self.events.emit(Event::new(Level::Critical, "launcher_not_started", words).of(&section.name));
            })
            .ok()
    }

    fn tell(&self, event: &'static str, name: &ServiceName) {
        let text = match event {
            "section_ended" => {
                text!("[{name}] is no longer in the file: it stops", "[{name}] n'est plus dans le fichier : arrêt")
            }
            "section_changed" => {
                text!("[{name}] changed: the new settings apply", "[{name}] a changé : nouveaux réglages appliqués")
            }
            _ => text!("[{name}] is new: it starts", "[{name}] est nouveau : démarrage"),
        };
        self.events.emit(Event::new(Level::Notice, event, text).of(name));
    }

    fn say_what_does_not_reload(&self, config: &Config) {
        let (old, new) = (&self.config.global, &config.global);
        let options = [
            ("state", old.state != new.state),
            ("pid", old.pid != new.pid),
            ("chroot", old.chroot != new.chroot),
            ("setuid", old.owner.user != new.owner.user),
            ("setgid", old.owner.group != new.owner.group),
            ("foreground", old.foreground != new.foreground),
        ];
        for (option, _) in options.into_iter().filter(|(_, changed)| *changed) {
            let place = new.places.of(option);
            let text = text!(
                "{place}: a new value of `{option}` counts only after a restart",
                "{place} : une nouvelle valeur de `{option}` ne compte qu'après un redémarrage"
            );
            self.events.emit(Event::new(Level::Warning, "not_reloaded", text));
        }
    }
}

/// Events on their way to `sink`, seen by the table of what runs and by alerts.
fn watched(status: &Status, signs: Signs, sink: Events) -> Events {
    let status = status.clone();
    Events::to(move |event| {
        status.note(&event);
        signs.note(&event);
        sink.emit(event);
    })
}

fn enabled(config: &Config) -> Vec<Launcher> {
    config.launchers.iter().filter(|launcher| launcher.enabled).cloned().collect()
}

fn read_anew(name: &ServiceName, file: &Path) -> Text {
    let file = file.display();
    text!(
        "Service [{name}]: {file} changed and was read again; new connections use it",
        "Service [{name}] : {file} a changé et a été relu ; les nouvelles connexions s'en servent"
    )
}

fn kept_old(Remark { place, text: Text { en, fr } }: Remark) -> Text {
    text!(
        "{place}: {en}; what was read before stays in use until this changes again",
        "{place} : {fr} ; ce qui avait été lu reste en usage jusqu'au prochain changement"
    )
}

/// Listening comes within a millisecond or two, where the port is free.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// How much longer than the drain everything may take.
const MARGIN: Duration = Duration::from_secs(2);
