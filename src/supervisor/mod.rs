//! Who runs: starts tunnels and launchers, follows a new configuration, stops them all.
//!
//! Not an engine, and no front door either: it knows neither signals nor the command line. Everything that can fail
//! happens in [`prepare`], before anything is bound, fetched or stopped; what comes after cannot be refused. That is
//! why a reload with a broken file changes nothing.

mod alert;
mod child;
pub mod outside;
pub mod plan;

use std::collections::HashSet;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::config::{Config, Launcher, Place, Rejected, Remark, Tunnel};
use crate::event::{Event, Events, Level};
use crate::launcher;
use crate::model::{Fault, ServiceName};
use crate::oauth::SignIns;
use crate::status::{Pages, Status};
use crate::text;
use crate::tunnel::{self, Running};

use alert::{Alerts, Signs};
use child::Child;
use plan::{Plan, Step};

/// A configuration with everything that can fail done: files read, keys loaded, directories seen.
#[derive(Debug)]
pub struct Prepared {
    config: Config,
    tunnels: Vec<tunnel::Prepared>,
}

impl Prepared {
    /// What was accepted but means something else than it says, and what is not there today and may be tomorrow (a
    /// share that is not mounted yet), in the order of the file.
    pub fn warnings(&self) -> &[Remark] {
        &self.config.warnings
    }
}

/// Does everything that can fail. Touches nothing and starts nothing.
///
/// # Errors
/// Everything that is wrong, in the order of the file.
pub fn prepare(mut config: Config, events: &Events) -> Result<Prepared, Vec<Remark>> {
    let outside::Findings { mistakes: mut remarks, missing } = outside::inspect(&config);
    config.warnings.extend(missing);
    config.warnings.sort_by(|one, other| one.place.cmp(&other.place));
    let mut tunnels = Vec::new();
    for section in primaries(&config) {
        match tunnel::prepare(section, &hosts_of(&config, section), events) {
            Ok(prepared) => tunnels.push(prepared),
            Err(fault) => remarks.push(at_its_option(section, fault)),
        }
    }
    if remarks.is_empty() {
        return Ok(Prepared { config, tunnels });
    }
    remarks.sort_by(|one, other| one.place.cmp(&other.place));
    Err(remarks)
}

/// The mistakes of a rejected file together with those that [`prepare`] finds in the rest of it: people correct a file
/// once, not twice. Neither a line that is a mistake already nor a whole section with one in it is blamed for what
/// follows from it.
pub fn all_mistakes(rejected: Rejected) -> Vec<Remark> {
    let Rejected { mut mistakes, rest, troubled } = rejected;
    let look = |mut config: Box<Config>| {
        // a launcher whose directory is misspelt has none: what lies in it cannot be asked
        config.launchers.retain(|launcher| !launcher.deliver.as_os_str().is_empty() && !launcher.source.is_empty());
        prepare(*config, &Events::nowhere()).err()
    };
    let more = rest.and_then(look).unwrap_or_default();
    let mut known: HashSet<Place> = mistakes.iter().map(|mistake| mistake.place.clone()).collect();
    known.extend(troubled);
    mistakes.extend(more.into_iter().filter(|mistake| !known.contains(&mistake.place)));
    mistakes.sort_by(|one, other| one.place.cmp(&other.place));
    mistakes
}

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
    /// Sections that are gone: their connections may end in peace, their launchers finish an item.
    leaving: JoinSet<()>,
}

impl Supervisor {
    /// Starts what was prepared. Called within a runtime of several threads, on which the tunnels then live.
    pub fn start(prepared: Prepared, events: Events) -> Self {
        let Prepared { config, tunnels } = prepared;
        let state = config.global.state.clone();
        let status = Status::default();
        status.follow(&config);
        let alerts = Alerts::start(&state, events.clone());
        alerts.follow(&config);
        let events = watched(&status, alerts.signs(), events);
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
        };
        for (section, prepared) in primaries(&supervisor.config).zip(tunnels) {
            let running = supervisor.tunnel(prepared);
            supervisor.tunnels.push((section.clone(), running));
        }
        supervisor.move_pages();
        for section in enabled(&supervisor.config) {
            let child = supervisor.child(&section, &state, None);
            supervisor.launchers.extend(child.map(|child| (section, child)));
        }
        supervisor
    }

    /// Goes over to another configuration. Sections that say the same go on undisturbed, with their certificates read
    /// anew; changed launchers start again after the item they are at; open connections live on.
    pub async fn reload(&mut self, prepared: Prepared) {
        let Prepared { config, tunnels } = prepared;
        self.say_what_does_not_reload(&config);
        self.status.follow(&config);
        self.alerts.follow(&config);
        self.reload_tunnels(&primaries(&config).cloned().collect::<Vec<_>>(), tunnels).await;
        // `state` is not reloaded
        let state = self.config.global.state.clone();
        self.reload_launchers(enabled(&config), &state);
        self.config = config;
        self.config.global.state = state;
        self.move_pages();
        while self.leaving.try_join_next().is_some() {}
    }

    /// What is known about everything that runs.
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// One line for each tunnel: where it listens.
    pub fn listening(&self) -> Vec<(ServiceName, Vec<crate::net::stream::Addr>)> {
        self.tunnels.iter().map(|(section, running)| (section.name.clone(), running.bound())).collect()
    }

    /// Returns once every tunnel listens, at the latest after `limit`: a taken port must not hold up the rest.
    pub async fn settled(&self, limit: Duration) {
        let listens = || self.tunnels.iter().all(|(_, running)| running.is_listening());
        let all = async {
            while !listens() {
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
        for (_, running) in self.tunnels.drain(..) {
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
        // the ended ones first: a new section may want their port
        for ended in plan.ended {
            self.tell("section_ended", &old[ended].name);
            self.leaving.extend(running[ended].take().map(|running| running.stop(FOREVER)));
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
                None => self.tunnel(prepared),
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

    fn tunnel(&self, prepared: tunnel::Prepared) -> Running {
        let meter = self.status.meter(prepared.name());
        Running::start(prepared, self.events.clone(), meter, None)
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

/// The sections that run by themselves: virtual hosts live in the one whose connections they take.
fn primaries(config: &Config) -> impl Iterator<Item = &Tunnel> {
    config.tunnels.iter().filter(|section| section.virtual_host.is_none())
}

/// The virtual hosts of `section`, in the order of the file. Of sections with one name the first has them, as in stunnel.
fn hosts_of<'a>(config: &'a Config, section: &Tunnel) -> Vec<&'a Tunnel> {
    let first = primaries(config).find(|one| one.name == section.name);
    let is_first = first.is_some_and(|first| first.places.section == section.places.section);
    let takes = |host: &&Tunnel| host.virtual_host.as_ref().is_some_and(|host| is_first && host.of == section.name);
    config.tunnels.iter().filter(takes).collect()
}

fn enabled(config: &Config) -> Vec<Launcher> {
    config.launchers.iter().filter(|launcher| launcher.enabled).cloned().collect()
}

fn at_its_option(section: &Tunnel, fault: Fault) -> Remark {
    let files = [
        ("key", &section.key),
        ("cert", &section.cert),
        ("CAfile", &section.trust.ca_file),
        ("CApath", &section.trust.ca_path),
    ];
    outside::at_its_option(&section.places, &files, fault)
}

/// Connections of a section that is gone end when they end.
const FOREVER: Duration = Duration::from_hours(30 * 24);

/// Listening comes within a millisecond or two, where the port is free.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// How much longer than the drain everything may take.
const MARGIN: Duration = Duration::from_secs(2);
