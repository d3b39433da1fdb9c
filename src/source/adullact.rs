//! A directory into which envelopes are dropped: by Pastell, by hand, by other programs.
//!
//! Not a decoder: which files belong together (`units`), whether they have settled, and which of them are this launcher's
//! is decided here; what a deposit is, and whether all of it is there, is told by `document::envelope`. A deposit is known
//! by what it holds, so that one that is dropped again is not delivered again; that costs one reading of each, which is
//! remembered as long as it looks the same (`memory`). Deposits are read in place and never moved first: who writes to
//! one must not lose it under his hands.

mod dispose;
mod loose;
mod memory;
mod units;

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::task::spawn_blocking;
use unicode_normalization::UnicodeNormalization as _;

use self::loose::Said;
use self::memory::Memory;
use self::units::{Rules, Shape, Unit};
use super::dropped::{Settling, answer, nanoseconds, not_put_away, path_to_json, unreadable};
use super::outlet::Outlet;
use super::watch::Watch;
use super::{Content, Cursor, Discovery, Fetched, Fingerprint, Item, Source, SourceError, Wake};
use crate::config::Launcher;
use crate::config::launcher::Since;
use crate::delivery::spool::Spool;
use crate::document::envelope::limits::Limits;
use crate::document::envelope::{self, Error, Identity, State};
use crate::event::{Event, Events, Level};
use crate::model::{Code, Digest, Disposition, EnvelopeKind, Fault, ItemKey, ServiceName};
use crate::text;
use crate::text::Text;

/// A drop directory, as one launcher sees it.
#[derive(Debug)]
pub struct Adullact {
    name: ServiceName,
    events: Events,
    rules: Arc<Rules>,
    /// `envelope`: the kinds that are taken.
    kinds: Vec<EnvelopeKind>,
    /// What has no kind is taken too.
    takes_unknown: bool,
    max_size: u64,
    since: Option<Since>,
    /// `after`, `after_empty`.
    ways: [Disposition; 2],
    settling: Settling<Digest>,
    /// How long what may still grow is waited for, before it is taken as it is.
    patience: Duration,
    memory: Memory,
    said: Said,
    watch: Watch,
    /// The last discovery's deposits that are ours, each with its copies.
    listed: HashMap<ItemKey, Vec<Unit>>,
    /// Files that several units of the last discovery need.
    shared: HashMap<PathBuf, usize>,
    /// There was a discovery since the last end of a cycle.
    discovered: bool,
}

impl Adullact {
    /// A source for an `adullact` launcher; the directory is looked at by [`Source::discover`] only.
    pub fn new(launcher: &Launcher, events: Events) -> Self {
        let limits = Limits {
            max_unpacked: launcher.max_unpacked,
            max_entries: launcher.max_entries,
            max_ratio: launcher.max_ratio,
            max_depth: launcher.max_depth,
        };
        let (dir, end_marker) = (PathBuf::from(&launcher.source), launcher.end_marker.clone());
        let rules = Rules { dir, end_marker, limits, aliases: launcher.alias.clone() };
        Self {
            name: launcher.name.clone(),
            events,
            memory: Memory::new(&rules),
            rules: Arc::new(rules),
            kinds: launcher.envelope.clone(),
            takes_unknown: launcher.takes_unknown,
            max_size: launcher.max_size,
            since: launcher.since,
            ways: [launcher.after.clone(), launcher.after_empty.clone()],
            settling: Settling::new(launcher.settle),
            patience: launcher.settle * PATIENCE,
            said: Said::default(),
            watch: Watch::default(),
            listed: HashMap::new(),
            shared: HashMap::new(),
            discovered: false,
        }
    }

    /// All units that lie there, whoever's they are.
    async fn scan(&mut self) -> Result<Vec<Unit>, SourceError> {
        let (rules, mut said) = (Arc::clone(&self.rules), std::mem::take(&mut self.said));
        let scanned = spawn_blocking(move || {
            let dir = std::fs::canonicalize(&rules.dir);
            // the rest of what is being put away is no new deposit
            let passed_over = dir.map_or_else(|_| HashSet::new(), |dir| dispose::under_way(&dir));
            let scanned = units::scan(&rules, &mut said, &passed_over);
            (scanned, said)
        });
        let (scanned, said) = scanned.await.map_err(|error| self.unreadable(&io::Error::other(error)))?;
        self.said = said;
        let (units, skipped) = scanned.map_err(|error| self.unreadable(&error))?;
        for (path, error) in skipped {
            let text = unreadable(&path, &error).fault().text.clone();
            self.events.emit(Event::new(Level::Warning, "folder_unreadable", text).about(&self.name));
        }
        self.shared.clear();
        let files = units.iter().filter(|unit| unit.shape == Shape::Loose).flat_map(Unit::files);
        for (path, _) in files {
            *self.shared.entry(path.clone()).or_default() += 1;
        }
        Ok(units)
    }

    fn unreadable(&self, error: &io::Error) -> SourceError {
        unreadable(&self.rules.dir, error)
    }

    /// The key under which a unit is this launcher's, now: `None` for what has not settled, what may still grow, and what
    /// is another launcher's.
    async fn key(&mut self, unit: &mut Unit) -> Option<ItemKey> {
        let stamps = unit.all_stamps();
        if !unit.ended && !self.settling.is_settled(&unit.path, &unit.look, &stamps) {
            return None;
        }
        if unit.trouble.is_some() || unit.size() > self.max_size {
            // it is not read, so nobody knows what it is
            return self.takes_unknown.then(|| key_by_look(unit));
        }
        let identity = match self.identity(unit).await? {
            Ok(identity) => identity,
            Err(error) => {
                unit.trouble = Some(Text::io(&error));
                return self.takes_unknown.then(|| key_by_look(unit));
            }
        };
        let is_ours = identity.kind.map_or(self.takes_unknown, |kind| self.kinds.contains(&kind));
        (is_ours && !self.may_grow(unit, &identity)).then(|| key_of(&identity.digest))
    }

    /// Whether more of a settled unit may come, and it has not been waited for long enough.
    fn may_grow(&mut self, unit: &Unit, identity: &Identity) -> bool {
        // a file that says nothing of itself may be one that a later file names
        let may_belong = unit.shape == Shape::File && identity.kind.is_none() && identity.state == State::Complete;
        let may_grow = matches!(identity.state, State::Incomplete(_)) || may_belong || (unit.growing && !unit.ended);
        may_grow && !self.settling.is_unchanged_for(self.patience, &unit.path, &unit.look, &unit.all_stamps())
    }

    /// What a unit is: remembered, or read. `None`: it changed meanwhile, and is looked at by a later cycle.
    async fn identity(&mut self, unit: &Unit) -> Option<io::Result<Identity>> {
        if let Some(identity) = self.memory.get(unit) {
            return Some(Ok(identity.clone()));
        }
        let (rules, read) = (Arc::clone(&self.rules), unit.clone());
        let identified = spawn_blocking(move || {
            let identity = envelope::identify(&read.deposit, &rules.limits, &rules.aliases);
            read.is_unchanged(&rules).then_some(identity)
        });
        let identity = match identified.await.ok()?? {
            Ok(identity) => identity,
            Err(Error::Read(error)) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(Error::Read(error) | Error::Store(error)) => return Some(Err(error)),
            Err(Error::Refused(why)) => {
                Identity { kind: None, digest: unit.look, state: State::Refused(why) } // told by its state otherwise
            }
        };
        if let State::Incomplete(Text { en, fr }) = &identity.state {
            let path = unit.path.display();
            let text = text!("{path}: not complete yet: {en}", "{path} : pas encore complet : {fr}");
            self.events.emit(Event::new(Level::Info, "envelope_incomplete", text).about(&self.name));
        }
        self.memory.put(unit, identity.clone());
        Some(Ok(identity))
    }

    /// Looks for the units of keys that the last discovery did not list. What has not settled is left alone: so far it may
    /// hold what was delivered, and the rest of it is on its way.
    async fn find(&mut self, keys: &[ItemKey]) -> Result<(), SourceError> {
        if keys.iter().all(|key| self.listed.contains_key(key)) {
            return Ok(());
        }
        for unit in self.scan().await? {
            if !unit.ended && !self.settling.is_settled(&unit.path, &unit.look, &unit.all_stamps()) {
                continue;
            }
            if let Some(Ok(identity)) = self.identity(&unit).await {
                if self.may_grow(&unit, &identity) {
                    continue;
                }
                let key = key_of(&identity.digest);
                let known = self.listed.get(&key).is_some_and(|units| units.iter().any(|one| one.path == unit.path));
                if keys.contains(&key) && !known {
                    self.listed.entry(key).or_default().push(unit);
                }
            }
        }
        Ok(())
    }

    /// Puts away one unit, but no file that another one needs.
    async fn dispose(&mut self, unit: Unit, what: &Disposition) -> Result<(), Fault> {
        let mut needed = HashSet::new();
        if unit.shape == Shape::Loose {
            for (path, _) in unit.files() {
                let others = self.shared.get_mut(path).map_or(0, |users| {
                    *users -= 1;
                    *users
                });
                if others > 0 {
                    needed.insert(path.clone());
                }
            }
        }
        let (rules, what, path) = (Arc::clone(&self.rules), what.clone(), unit.path.clone());
        let done = spawn_blocking(move || dispose::dispose(&unit, &what, &needed, &rules)).await;
        match done.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()), // somebody else was faster
            Err(error) => Err(not_put_away(&path, &error)),
        }
    }

    /// The content of a listed deposit: of the first of its copies that still is what it was.
    fn content(&self, key: &ItemKey) -> Result<Content, Fault> {
        for unit in self.listed.get(key).into_iter().flatten() {
            if !unit.is_unchanged(&self.rules) {
                continue;
            }
            if let Some(Text { en, fr }) = &unit.trouble {
                let path = unit.path.display();
                return Err(Fault::new(
                    Code::Folder,
                    text!("{path}: cannot be taken: {en}", "{path} : ne peut être pris : {fr}"),
                ));
            }
            let listing = unit.listing(self.rules.limits.max_entries);
            let Unit { path, deposit, stamps, .. } = unit.clone();
            return Ok(Content::Envelope { path, deposit, stamps, listing });
        }
        Ok(Content::Gone)
    }
}

#[async_trait]
impl Source for Adullact {
    async fn count(&mut self) -> Result<u64, SourceError> {
        Ok(self.scan().await?.len() as u64)
    }

    async fn discover(&mut self, cursor: Option<&Cursor>) -> Result<Discovery, SourceError> {
        self.listed.clear();
        self.discovered = true;
        let units = self.scan().await?;
        let dir = std::fs::canonicalize(&self.rules.dir).map_err(|error| self.unreadable(&error))?;
        self.memory.load(&dir, cursor.map_or("", |cursor| &cursor.0));
        let there: HashSet<PathBuf> = units.iter().map(|unit| unit.path.clone()).collect();
        self.settling.keep(|path| there.contains(path));
        let first = self.since.and_then(Since::first_moment);
        let mut found = Vec::new();
        for mut unit in units {
            if first.is_some_and(|first| unit.modified() < first) {
                continue;
            }
            if let Some(key) = self.key(&mut unit).await {
                found.push((key, unit));
            }
        }
        found.sort_by_cached_key(|(_, unit)| (unit.modified(), unit.path.clone()));
        let (mut items, mut copies) = (Vec::new(), 0);
        for (key, unit) in found {
            let units = self.listed.entry(key.clone()).or_default();
            if units.is_empty() {
                items.push(Item { key, hint: hint(&unit), size: Some(unit.size()), reissued: false });
            } else {
                copies += 1;
            }
            units.push(unit);
        }
        // an empty directory may be a share that is not mounted: what is known of it is kept
        let text = (!there.is_empty()).then(|| {
            self.memory.keep(|path| there.contains(path));
            self.memory.text()
        });
        let cursor = text.filter(|text| cursor.is_none_or(|before| before.0 != *text)).map(Cursor);
        Ok(Discovery { items, cursor, start: None, present: None, copies, standing: true })
    }

    /// Nobody reissues these keys, since they are made of what the deposit holds: date and name are what is asked for.
    async fn identify(&mut self, batch: &[Item]) -> Result<Vec<(ItemKey, Fingerprint)>, SourceError> {
        let print = |item: &Item| {
            let unit = self.listed.get(&item.key)?.first()?;
            let header = Digest::of(item.key.as_str().as_bytes());
            let (size, date, subject) = (item.size, Some(unit.modified()), Some(unit.deposit.name.clone()));
            let print = Fingerprint { message_id: None, size, header, date, from: None, subject };
            Some((item.key.clone(), print))
        };
        Ok(batch.iter().filter_map(print).collect())
    }

    async fn fetch(&mut self, batch: &[Item], _: &Spool, out: Outlet) -> Result<(), SourceError> {
        for item in batch {
            let fetched = Fetched { key: item.key.clone(), content: self.content(&item.key) };
            if out.send(fetched).await.is_err() {
                break; // the cycle was stopped
            }
        }
        Ok(())
    }

    async fn acknowledge(&mut self, batch: &[ItemKey], what: &Disposition) -> Result<Vec<ItemKey>, SourceError> {
        self.find(batch).await?;
        let (mut done, mut trouble) = (Vec::new(), None);
        for key in batch {
            let mut well = true;
            for unit in self.listed.get(key).cloned().unwrap_or_default() {
                if let Err(fault) = self.dispose(unit, what).await {
                    (well, trouble) = (false, Some(fault));
                }
            }
            if well {
                done.push(key.clone());
            }
        }
        answer(done, trouble, &self.name, &self.events)
    }

    /// Ends what an interruption left half put away: only here, since a dry run and a test change nothing.
    async fn finish(&mut self) -> Result<(), SourceError> {
        if !std::mem::take(&mut self.discovered) {
            return Ok(());
        }
        let (dir, ways) = (self.rules.dir.clone(), self.ways.clone());
        let resumed = spawn_blocking(move || match std::fs::canonicalize(dir) {
            Ok(dir) => dispose::resume(&dir, &ways),
            Err(_) => Vec::new(), // it is not there: `discover` says so
        });
        for text in resumed.await.map_err(|error| self.unreadable(&io::Error::other(error)))? {
            self.events.emit(Event::new(Level::Warning, "after_failed", text).about(&self.name));
        }
        Ok(())
    }

    async fn wait(&mut self, upto: Duration) -> Wake {
        let (due, quiet) = (self.settling.due(), self.settling.settle);
        self.watch.wait(&self.rules.dir, true, due, quiet, upto).await
    }
}

/// Contract, section 3: what the deposit holds.
fn key_of(digest: &Digest) -> ItemKey {
    ItemKey::new(serde_json::json!(["envelope", digest.to_string()]).to_string())
}

/// The key of what is not read: too large, too many files, unreadable.
fn key_by_look(unit: &Unit) -> ItemKey {
    let modified = nanoseconds(unit.modified()).to_string();
    ItemKey::new(serde_json::json!(["envelope", "size", path_to_json(&unit.path), unit.size(), modified]).to_string())
}

/// The deposit's name as a mark in `{key}`: its letters and digits, without accents.
fn hint(unit: &Unit) -> String {
    let name = &unit.deposit.name;
    let lower = name.to_ascii_lowercase();
    let ending = ENDINGS.iter().find(|ending| unit.shape != Shape::Directory && lower.ends_with(*ending));
    let stem = &name[..name.len() - ending.map_or(0, |ending| ending.len())];
    stem.nfd().filter(char::is_ascii_alphanumeric).take(HINT).collect()
}

/// So many times `settle` is what may still grow waited for.
const PATIENCE: u32 = 10;
/// Characters of a mark.
const HINT: usize = 32;
/// What a stem ends before.
const ENDINGS: [&str; 9] = [".tar.gz", ".tgz", ".zip", ".xml", ".pdf", ".json", ".txt", ".yml", ".yaml"];

#[cfg(test)]
mod tests;
