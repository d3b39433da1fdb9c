//! One cycle of a launcher: discover → admit → fetch → stage → record → publish → confirm → acknowledge.
//!
//! Not a protocol and not a schedule: whatever the [`Source`], this file alone decides the order of the steps, and
//! that order is the guarantee. A crash between any two of them loses nothing and doubles nothing: what has no row
//! is started over, what is recorded is published by [`recover`](Cycle::recover), what is confirmed is acknowledged.
//! Work goes in batches, so that the disk is asked to be sure a few times for many items.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::runtime::Handle;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::envelope::Dropped;
use super::naming::FreeNames;
use super::ready::Desk;
use super::related::relate;
use super::report::Report;
use super::stage::discard;
use super::{Env, index, stage};
use crate::config::Launcher;
use crate::config::launcher::{Kind, quarantine_below, staging_beside};
use crate::delivery::ledger::{
    Admission, Again, Before, Contents, Decision, Entry, Facts, Ledger, Recorded, RecordedFile, Stage, Taken,
};
use crate::delivery::lock::Lock;
use crate::delivery::quarantine::{Kept, Quarantine};
use crate::delivery::spool::{Spool, SpoolFile};
use crate::delivery::staging::Staging;
use crate::delivery::{Published, publish, same_volume, sync_directory};
use crate::event::{Event, Level};
use crate::model::{Code, Disposition, Fault, ItemKey, Role};
use crate::source::outlet::{Inlet, outlet};
use crate::source::{Content, Cursor, Discovery, Fetched, Fingerprint, Item, Source, SourceError};
use crate::text;
use crate::text::Text;

/// What a cycle did, and what that means for the next one.
#[derive(Debug)]
pub struct Outcome {
    /// The counts of the contract.
    pub report: Report,
    /// When to come back.
    pub next: Next,
}

impl Outcome {
    /// Nothing was listed, and nothing went wrong.
    pub(super) fn saw_nothing(&self) -> bool {
        self.report.error.is_none() && self.report.items.found == 0
    }
}

/// When to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// After the launcher's interval.
    Interval,
    /// The connection is of no use: back off, or stay away for so long as the server asks.
    Backoff(Option<Duration>),
    /// The login was refused: at most three tries an hour.
    Credentials,
}

/// Runs one cycle. With `dry_run` nothing is changed, here or at the source, and the counts are those of a real one.
pub async fn cycle(
    launcher: &Launcher,
    env: &Env,
    source: &mut dyn Source,
    dry_run: bool,
    stop: &CancellationToken,
) -> Outcome {
    let cycle = match Cycle::open(launcher, env, dry_run, stop) {
        Ok(cycle) => cycle,
        Err(fault) => {
            return Outcome { report: Report::new(&launcher.name).failed(fault), next: Next::Interval };
        }
    };
    let (mut cycle, result) = cycle.run(source).await;
    cycle.report.sum_up();
    let next = match &result {
        Ok(()) | Err(End::Fault(_) | End::Source(SourceError::Mailbox(_))) => Next::Interval,
        Err(End::Source(SourceError::Connection { retry_after, .. })) => Next::Backoff(*retry_after),
        Err(End::Source(SourceError::Credentials(_))) => Next::Credentials,
    };
    let report = match result {
        Ok(()) => cycle.report,
        Err(End::Fault(fault)) => cycle.report.failed(fault),
        Err(End::Source(error)) => cycle.report.failed(error.fault().clone()),
    };
    Outcome { report, next }
}

/// Marks everything that is at the source now as done, without delivering it: the first day on an old mailbox, or
/// after a ledger was lost. With `before` only what is older than that; what has no date is left to be delivered.
/// Answers how many items that are.
pub async fn adopt(
    launcher: &Launcher,
    env: &Env,
    source: &mut dyn Source,
    before: Option<SystemTime>,
) -> Result<usize, Fault> {
    let stop = CancellationToken::new();
    let mut cycle = Cycle::prepare(launcher, env, false, &stop)?;
    let recorded = cycle.ledger.recorded()?;
    if cycle.witness_disagrees()?.is_some() || cycle.staging_is_behind(&recorded)? {
        let lost: Vec<_> = recorded.iter().map(|item| (item.id, true)).collect();
        cycle.ledger.confirm(&lost, false)?; // given up: nothing happens to them at the source
    }
    let adopted = cycle.adopt_all(source, before).await.map_err(|error| error.fault().clone())?;
    source.finish().await.map_err(|error| error.fault().clone())?;
    let witness = cycle.staging_generation()?.unwrap_or(0);
    cycle.ledger.raise_generation(witness)?;
    cycle.raise_generation()?;
    Ok(adopted)
}

/// Everything one cycle holds; the lock is released when it is dropped.
pub(super) struct Cycle {
    pub(super) launcher: Arc<Launcher>,
    pub(super) env: Env,
    pub(super) ledger: Ledger,
    pub(super) staging: Staging,
    pub(super) spool: Spool,
    pub(super) quarantine: Quarantine,
    pub(super) dry_run: bool,
    pub(super) report: Report,
    stop: CancellationToken,
    /// Items that an earlier cycle recorded and this one published: counted, and not counted again when listed.
    recovered: HashSet<ItemKey>,
    names: FreeNames,
    /// The `{key}`s of items that are being taken.
    shorts: HashMap<ItemKey, String>,
    /// Items that failed before or were asked for again.
    pub(super) again: HashMap<ItemKey, Again>,
    /// Rows that stand for a listed item already, where keys were reissued.
    taken: Taken,
    /// Items that were known by their content, with the keys that they have now.
    rekeyed: Vec<(i64, ItemKey)>,
    raised: bool,
    _lock: Option<Lock>,
    _scratch: Option<tempfile::TempDir>,
}

/// Why a cycle ends early.
#[derive(Debug)]
pub(super) enum End {
    Source(SourceError),
    Fault(Fault),
}

impl End {
    fn fault(&self) -> &Fault {
        match self {
            Self::Source(error) => error.fault(),
            Self::Fault(fault) => fault,
        }
    }
}

impl From<SourceError> for End {
    fn from(error: SourceError) -> Self {
        Self::Source(error)
    }
}

impl From<Fault> for End {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl Cycle {
    fn open(launcher: &Launcher, env: &Env, dry_run: bool, stop: &CancellationToken) -> Result<Self, Fault> {
        let cycle = Self::prepare(launcher, env, dry_run, stop)?;
        if let Some(fault) = cycle.witness_disagrees()? {
            return Err(fault);
        }
        if !dry_run {
            cycle.sweep()?;
        }
        Ok(cycle)
    }

    /// Takes the lock and opens everything; `dry_run` works in a folder of its own that is removed afterwards.
    fn prepare(launcher: &Launcher, env: &Env, dry_run: bool, stop: &CancellationToken) -> Result<Self, Fault> {
        let (name, state) = (&launcher.name, &env.state);
        let lock = if dry_run { None } else { Some(Lock::take(state, name)?) };
        check_directory(&launcher.deliver)?;
        let scratch = if dry_run { Some(tempfile::tempdir().map_err(|e| spool_fault(state, &e))?) } else { None };
        let work = scratch.as_ref().map_or(state.as_path(), tempfile::TempDir::path);
        let staging_root = if dry_run { work.join("staging") } else { staging_root(launcher) };
        let staging =
            Staging::open(&staging_root, state, name).map_err(|error| deliver_fault(&staging_root, &error))?;
        if !dry_run {
            check_volume(&launcher.deliver, staging.dir())?;
        }
        let ledger = if dry_run { Ledger::open_copy(state, name)? } else { Ledger::open(state, name)? };
        let spool_dir = work.join("spool").join(name.file_stem());
        let quarantine = launcher.quarantine.clone().unwrap_or_else(|| quarantine_below(state));
        Ok(Self {
            launcher: Arc::new(launcher.clone()),
            env: env.clone(),
            ledger,
            staging,
            spool: Spool::open(&spool_dir).map_err(|error| spool_fault(&spool_dir, &error))?,
            quarantine: Quarantine::new(quarantine.join(name.file_stem())),
            dry_run,
            report: Report::new(name),
            stop: stop.clone(),
            recovered: HashSet::new(),
            names: FreeNames::default(),
            shorts: HashMap::new(),
            again: HashMap::new(),
            taken: Taken::default(),
            rekeyed: Vec::new(),
            raised: false,
            _lock: lock,
            _scratch: scratch,
        })
    }

    async fn run(mut self, source: &mut dyn Source) -> (Self, Result<(), End>) {
        let stop = self.stop.clone();
        let listed = tokio::select! {
            biased;
            listed = self.discover(source) => listed,
            // nothing has been taken: a long list, or a server that wants to be left alone, is not waited for
            () = stop.cancelled() => return (self, Ok(())),
        };
        let (discovery, wanted) = match listed {
            Ok(listed) => listed,
            Err(end) => return (self, Err(end)),
        };
        let (mut cycle, taken) = self.take(source, wanted).await;
        let result = match taken {
            // what is confirmed is acknowledged by the next cycle
            Ok(()) if cycle.dry_run || cycle.stop.is_cancelled() => Ok(()),
            Ok(()) => cycle.conclude(source, discovery).await,
            Err(end) => Err(end),
        };
        (cycle, result)
    }

    /// What the source lists, and which of it is to be taken.
    async fn discover(&mut self, source: &mut dyn Source) -> Result<(Discovery, Vec<Item>), End> {
        self.recover()?;
        let stored = self.ledger.cursor()?;
        let unfinished = stored.as_ref().and_then(|stored| stored.strip_prefix(RECOGNISING));
        let cursor = unfinished.or(stored.as_deref()).map(|text| Cursor(text.to_owned()));
        let mut discovery = source.discover(cursor.as_ref()).await?;
        self.report.items.already += discovery.copies;
        discovery.items.iter_mut().for_each(|item| item.reissued |= unfinished.is_some());
        let reissued = discovery.items.iter().any(|item| item.reissued);
        if reissued {
            self.recognise(source, &discovery.items).await?;
        }
        if let Some(start) = discovery.start.as_ref().filter(|_| cursor.is_none() || reissued) {
            let mark = if reissued { RECOGNISING } else { "" };
            self.ledger.set_cursor(&format!("{mark}{}", start.0))?;
        }
        let mut wanted = self.admit(&discovery)?;
        wanted.extend(self.unlisted(&discovery.items)?);
        Ok((discovery, wanted))
    }

    /// The end of a cycle that took everything.
    async fn conclude(&mut self, source: &mut dyn Source, discovery: Discovery) -> Result<(), End> {
        self.acknowledge(source).await?;
        Ok(self.move_cursor(discovery)?)
    }

    /// Finishes what an earlier cycle recorded: staged files that are still there are published, those that are
    /// gone were published before the interruption.
    fn recover(&mut self) -> Result<(), Fault> {
        let recorded = self.ledger.recorded()?;
        if recorded.is_empty() {
            return Ok(());
        }
        if self.staging_is_behind(&recorded)? {
            return Err(staging_lost(self.staging.dir(), recorded.len()));
        }
        self.recovered = recorded.iter().map(|item| item.key.clone()).collect();
        if self.dry_run {
            self.pretend_recorded(&recorded);
            return Ok(());
        }
        self.publish_recorded(&recorded)
    }

    /// Marks what is at the source as done, with the fingerprints by which it is known when its keys are reissued.
    async fn adopt_all(&mut self, source: &mut dyn Source, before: Option<SystemTime>) -> Result<usize, End> {
        let discovery = source.discover(None).await?;
        let mut prints = HashMap::new();
        for batch in discovery.items.chunks(IDENTIFY) {
            prints.extend(source.identify(batch).await?);
            self.tell_progress(prints.len(), discovery.items.len());
        }
        let is_older = |print: Option<&Fingerprint>| {
            before.is_none_or(|before| print.and_then(|print| print.date).is_some_and(|date| date < before))
        };
        let shorts = self.ledger.free_shorts(discovery.items.iter().map(own_short), |_| true)?;
        let mut adopted: Vec<(ItemKey, String, Facts)> = Vec::new();
        for item in &discovery.items {
            let print = prints.get(&item.key);
            if is_older(print) {
                let short = shorts.get(&item.key).cloned().unwrap_or_default();
                adopted.push((item.key.clone(), short, print.map(stage::facts_of).unwrap_or_default()));
            }
        }
        let count = self.ledger.adopt(&adopted)?;
        if let Some(start) = discovery.start.filter(|_| matches!(self.ledger.cursor(), Ok(None))) {
            self.ledger.set_cursor(&start.0)?;
        }
        Ok(count)
    }

    /// A mailbox of ten years takes its time.
    fn tell_progress(&self, looked_at: usize, all: usize) {
        if looked_at % PROGRESS < IDENTIFY && looked_at >= PROGRESS {
            let text = text!("{looked_at} of {all} items looked at", "{looked_at} éléments examinés sur {all}");
            self.tell(Level::Notice, "adopt_progress", text);
        }
    }

    /// Items whose keys the source reissued are recognised by fingerprint before any body is fetched. It counts:
    /// two equal messages that were both known are both known again, a third is new.
    async fn recognise(&mut self, source: &mut dyn Source, items: &[Item]) -> Result<(), End> {
        let admissions = self.ledger.admit(items.iter().map(|item| &item.key))?;
        let is_unknown = |item: &Item, admission| item.reissued && admission == Admission::New;
        let unknown = items.iter().zip(admissions).filter(|(item, admission)| is_unknown(item, *admission));
        let mut seen = HashSet::new(); // a source may list an item twice
        let unknown: Vec<Item> = unknown.map(|(item, _)| item).filter(|item| seen.insert(&item.key)).cloned().collect();
        // what is listed under its new key already (an earlier cycle did not come to its end) answers for itself alone
        self.taken = self.ledger.recognise(items.iter().map(|item| &item.key))?;
        let mut rekeyed = Vec::new();
        for batch in unknown.chunks(IDENTIFY) {
            for (key, print) in source.identify(batch).await? {
                let row = self.ledger.known(&stage::facts_of(&print), &mut self.taken)?;
                rekeyed.extend(row.map(|id| (id, key)));
            }
        }
        self.ledger.rekey(&rekeyed)?;
        let (known, all) = (rekeyed.len(), unknown.len());
        if all == 0 {
            return Ok(()); // a source without keys says so in each cycle
        }
        self.tell(
            Level::Warning,
            "keys_reissued",
            text!(
                "the server reissued its keys: {known} of {all} items were recognised and are not delivered again",
                "le serveur a renouvelé ses clés : {known} éléments sur {all} ont été reconnus et ne seront pas livrés à nouveau"
            ),
        );
        Ok(())
    }

    /// What was not recognised by its header block is by its content, once that is here: nothing of it is delivered.
    fn is_known_content(&mut self, item: &Item, entry: &Entry) -> Result<bool, Fault> {
        let asked = self.again.get(&item.key).is_some_and(|again| again.asked);
        let Some(digest) = entry.facts.digest.filter(|_| item.reissued && !asked) else { return Ok(false) };
        let Some(row) = self.ledger.known_content(digest, &mut self.taken)? else { return Ok(false) };
        discard(&self.staging, &entry.parts);
        if !self.dry_run && entry.stage != Stage::Failed {
            // what is damaged is in quarantine under its first `{key}` already
            self.leave_quarantine(&entry.short);
        }
        self.forget_body(&item.key);
        self.report.items.already += 1;
        self.rekeyed.push((row, item.key.clone()));
        if self.rekeyed.len() >= BATCH {
            self.flush_rekeyed()?;
        }
        Ok(true)
    }

    fn flush_rekeyed(&mut self) -> Result<(), Fault> {
        let rekeyed = std::mem::take(&mut self.rekeyed);
        if rekeyed.is_empty() { Ok(()) } else { self.ledger.rekey(&rekeyed) }
    }

    /// The items that are to be taken; the others are counted, too large ones are put into quarantine by name.
    fn admit(&mut self, Discovery { items, standing, .. }: &Discovery) -> Result<Vec<Item>, Fault> {
        let mut seen = HashSet::new();
        let admissions = self.ledger.admit(items.iter().map(|item| &item.key))?;
        let (mut fresh, mut still_there) = (Vec::new(), Vec::new());
        for (item, admission) in items.iter().zip(admissions) {
            if !seen.insert(&item.key) || self.recovered.contains(&item.key) {
                continue; // listed twice, or counted when it was published
            }
            match (admission, item.size) {
                (Admission::Done, _) => {
                    self.report.items.already += 1;
                    still_there.extend(standing.then_some(&item.key));
                }
                (_, Some(size)) if size > self.launcher.max_size => self.refuse_size(item, size)?,
                _ => fresh.push(item.clone()),
            }
        }
        self.reopen(&still_there)?;
        Ok(fresh)
    }

    /// What was done and lies there all the same (or once more) has `after` carried out again, where that removes it.
    fn reopen(&mut self, still_there: &[&ItemKey]) -> Result<(), Fault> {
        let removes = |what: &Disposition| matches!(what, Disposition::Delete | Disposition::Move(_));
        let (delivered, empty) = (removes(&self.launcher.after), removes(&self.launcher.after_empty));
        if self.dry_run || still_there.is_empty() || !(delivered || empty) {
            return Ok(());
        }
        self.ledger.reopen(still_there, delivered, empty).map(drop)
    }

    /// Items that are to be taken again and were not listed: a mailbox lists only what is newer than its cursor.
    fn unlisted(&mut self, listed: &[Item]) -> Result<Vec<Item>, Fault> {
        let listed: HashSet<&ItemKey> = listed.iter().map(|item| &item.key).collect();
        self.again = self.ledger.again()?.into_iter().map(|again| (again.key.clone(), again)).collect();
        let mut unlisted = Vec::new();
        for again in self.again.clone().into_values() {
            if listed.contains(&again.key) || self.recovered.contains(&again.key) {
                continue;
            }
            let hint = ItemKey::hint(&again.short).to_owned();
            let item = Item { key: again.key, hint, size: again.size, reissued: false };
            match item.size {
                Some(size) if size > self.launcher.max_size => self.refuse_size(&item, size)?,
                _ => unlisted.push(item),
            }
        }
        Ok(unlisted)
    }

    /// What has left its source since it was listed is nothing to us; for what is to be taken again, a copy that was
    /// kept stands in.
    fn stage_gone(&mut self, item: &Item, short: String, copy: Option<SpoolFile>) -> Result<Option<Entry>, Fault> {
        let Some(again) = self.again.get(&item.key).cloned() else { return Ok(None) };
        if let Some(file) = copy {
            return self.stage_copy(item, again, short, file);
        }
        self.ledger.gone(&item.key)?;
        self.tell_gone(&short, again.asked);
        Ok(None)
    }

    /// The copy that was kept of an item that was asked for again.
    fn kept_copy(&self, key: &ItemKey, short: &str) -> Option<SpoolFile> {
        self.again.get(key).filter(|again| again.asked)?;
        self.spool.find(key).or_else(|| self.quarantine.find(short, stage::extension(&self.launcher)))
    }

    pub(super) fn tell_gone(&self, short: &str, asked: bool) {
        let text = if asked {
            text!(
                "{short}: it is no longer at its source and no copy of it was kept: it cannot be delivered again",
                "{short} : n'est plus à sa source et aucune copie n'en a été gardée : impossible de le livrer à nouveau"
            )
        } else {
            text!(
                "{short}: it failed before, and is no longer at its source",
                "{short} : avait échoué, et n'est plus à sa source"
            )
        };
        self.tell(Level::Warning, "item_gone", text);
    }

    /// An item that is whole needs its place in quarantine no more.
    fn leave_quarantine(&self, short: &str) {
        let removed = match self.launcher.kind {
            Kind::Adullact => self.quarantine.remove_any(short),
            _ => self.quarantine.remove(short, stage::extension(&self.launcher)),
        };
        match removed {
            Ok(false) => {}
            Ok(true) => {
                let text = text!("{short}: removed from quarantine", "{short} : retiré de la quarantaine");
                self.tell(Level::Notice, "quarantine_left", text);
            }
            Err(error) => {
                let Text { en, fr } = Text::io(&error);
                let text = text!(
                    "{short}: cannot be removed from quarantine: {en}; remove it by hand",
                    "{short} : impossible de le retirer de la quarantaine : {fr} ; supprimez-le à la main"
                );
                self.tell(Level::Warning, "quarantine_stays", text);
            }
        }
    }

    fn refuse_size(&mut self, item: &Item, size: u64) -> Result<(), Fault> {
        let short = self.ledger.free_short(&item.key, &item.key.short(&item.hint))?;
        let entry = stage::too_large(&self.launcher, &item.key, short, size);
        self.quarantine_whole(&entry, None)?;
        self.report.items.quarantined += 1;
        self.ledger.record(&[entry]).map(drop)
    }

    /// Takes items: fetches and stages them at the same time, and in between records, publishes and confirms what
    /// has arrived, a batch at a time; also when the source fails half-way. The source sees one call for all of them,
    /// so that it never waits for the disk with nothing under way: what blocks has a thread of its own.
    async fn take(mut self, source: &mut dyn Source, items: Vec<Item>) -> (Self, Result<(), End>) {
        if items.is_empty() {
            return (self, Ok(()));
        }
        if let Err(fault) = self.prepare_to_take() {
            return (self, Err(fault.into()));
        }
        let (sender, fetched) = outlet(IN_FLIGHT);
        let (spool, stop, runtime) = (self.spool.clone(), self.stop.clone(), Handle::current());
        let items: Arc<[Item]> = items.into();
        let listed = Arc::clone(&items);
        let take_all = spawn_blocking(carried(move || {
            let taken = self.take_all(&listed, Arrivals { fetched, received: VecDeque::new(), runtime });
            (self, taken)
        }));
        let fetch = async {
            tokio::select! {
                result = source.fetch(&items, &spool, sender) => result,
                () = stop.cancelled() => Ok(()),
            }
        };
        let (fetched, taken) = tokio::join!(fetch, take_all);
        let (cycle, taken) = taken.unwrap_or_else(|died| std::panic::resume_unwind(died.into_panic()));
        (cycle, taken.map_err(End::from).and_then(|()| Ok(fetched?)))
    }

    fn prepare_to_take(&mut self) -> Result<(), Fault> {
        if !self.dry_run {
            self.raise_generation()?;
            boundary();
        }
        Ok(())
    }

    fn take_all(&mut self, items: &[Item], mut arrivals: Arrivals) -> Result<(), Fault> {
        // while the source begins to send
        let known = |key: &ItemKey| self.again.contains_key(key);
        self.shorts = self.ledger.free_shorts(items.iter().map(own_short), known)?;
        let items: HashMap<&ItemKey, &Item> = items.iter().map(|item| (&item.key, item)).collect();
        let (mut batch, mut done, total) = (Batch::default(), 0, items.len() as u64);
        let result = loop {
            self.env.events.progress(&self.launcher.name, done, total);
            let next = match arrivals.next() {
                Arrival::Item(next) => next,
                Arrival::End => break Ok(()),
                Arrival::Lull => {
                    self.deliver(std::mem::take(&mut batch))?;
                    continue;
                }
            };
            let Some(item) = items.get(&next.key) else { continue };
            batch.bytes += weight(&next.content);
            match self.stage_fetched(item, next.content) {
                Ok(entry) => {
                    let contents = entry.as_ref().and_then(|entry| entry.contents.as_ref());
                    batch.bytes += contents.map_or(0, Contents::weight);
                    batch.entries.extend(entry);
                }
                Err(fault) => break Err(fault),
            }
            done += 1;
            if batch.is_full() {
                self.deliver(std::mem::take(&mut batch))?;
            }
        };
        // also what was staged before the disk was full
        self.deliver(batch)?;
        self.flush_rekeyed()?;
        result
    }

    fn stage_fetched(&mut self, item: &Item, content: Result<Content, Fault>) -> Result<Option<Entry>, Fault> {
        let key = &item.key;
        let short = match self.shorts.remove(key) {
            Some(short) => short,
            None => self.ledger.free_short(key, &key.short(&item.hint))?,
        };
        let body = match &content {
            Ok(Content::Mail { file, .. }) => Some(file.clone()),
            Ok(Content::Gone) if self.launcher.kind != Kind::Adullact => self.kept_copy(key, &short),
            _ => None,
        };
        let entry = match content {
            Ok(Content::Gone) if self.launcher.kind == Kind::Adullact => self.stage_kept(item, short)?,
            Ok(Content::Gone) => self.stage_gone(item, short, body.clone())?,
            Ok(content) => self.stage(item, short, content)?,
            Err(fault) => Some(stage::failed(key, short, &fault.text)),
        };
        let Some(mut entry) = entry else { return Ok(None) };
        // the server's own figure is what it says again when it reissues its keys
        entry.facts.size = item.size.filter(|_| body.is_some()).or(entry.facts.size);
        if self.is_known_content(item, &entry)? {
            return Ok(None);
        }
        self.third_failure(entry, body.as_ref()).map(Some)
    }

    /// An item that fails by itself for the third cycle in a row goes to quarantine.
    fn third_failure(&mut self, mut entry: Entry, body: Option<&SpoolFile>) -> Result<Entry, Fault> {
        if entry.stage != Stage::Failed {
            return Ok(entry);
        }
        if self.ledger.failures(&entry.key)? + 1 >= FAILURES {
            entry.stage = Stage::Quarantined;
            self.quarantine_whole(&entry, body)?;
        } else if let Some(Text { en, fr }) = &entry.reason {
            let short = &entry.short;
            self.tell(Level::Warning, "item_failed", text!("{short}: {en}", "{short} : {fr}"));
        }
        Ok(entry)
    }

    /// Records, publishes and confirms staged items.
    fn deliver(&mut self, Batch { mut entries, .. }: Batch) -> Result<(), Fault> {
        let mut unprepared = None;
        if entries.iter().any(|entry| entry.stage == Stage::Recorded) && !self.dry_run {
            unprepared = self.make_ready(&mut entries)?;
            boundary();
            let files: Vec<_> = entries.iter().flat_map(Entry::staged).collect();
            let folders: Vec<_> = entries.iter().filter_map(Entry::folder).collect();
            let synced = self.staging.sync_files(&files, &folders);
            synced.map_err(|error| deliver_fault(self.staging.dir(), &error))?;
            boundary();
        }
        if !entries.is_empty() {
            self.record(&entries)?;
        }
        unprepared.map_or(Ok(()), Err)
    }

    fn record(&mut self, entries: &[Entry]) -> Result<(), Fault> {
        let recorded = self.ledger.record(entries)?;
        boundary();
        self.count(entries);
        // of what failed it may be the only copy; the next cycle sweeps what is not needed
        for entry in entries.iter().filter(|entry| !matches!(entry.stage, Stage::Recorded | Stage::Failed)) {
            self.forget_body(&entry.key);
        }
        if self.dry_run {
            return self.pretend(entries);
        }
        self.publish_recorded(&recorded)
    }

    /// Makes staged items ready to be published: final names, folder, index. One for which that fails (a full disk) is
    /// taken out, so that the others are delivered; answers the fault.
    fn make_ready(&mut self, entries: &mut Vec<Entry>) -> Result<Option<Fault>, Fault> {
        let promised = self.ledger.promised(&self.launcher.deliver)?;
        let launcher = Arc::clone(&self.launcher);
        let mut fault = None;
        let (mut before, ledger) = (Vec::new(), &self.ledger);
        let mut desk =
            Desk { launcher: &launcher, staging: &self.staging, names: &mut self.names, promised, nobody: false };
        entries.retain_mut(|entry| {
            if entry.stage != Stage::Recorded {
                return true;
            }
            let ready = relate(ledger, entry, &mut before)
                .and_then(|()| desk.make_ready(entry).map_err(|error| deliver_fault(desk.staging.dir(), &error)));
            let Err(error) = ready else { return true };
            before.retain(|before: &Before| before.short != entry.short);
            discard(desk.staging, &entry.parts);
            fault.get_or_insert(error);
            false
        });
        Ok(fault)
    }

    /// Publishes and confirms recorded items; those that cannot be confirmed have failed for this cycle.
    fn publish_recorded(&mut self, recorded: &[Recorded]) -> Result<(), Fault> {
        let items = &self.report.items;
        let before = items.delivered + items.quarantined;
        let result = self.publish_and_confirm(recorded);
        let items = &mut self.report.items;
        let confirmed = items.delivered + items.quarantined - before;
        items.failed += (recorded.len() as u64).saturating_sub(confirmed);
        result
    }

    fn publish_and_confirm(&mut self, recorded: &[Recorded]) -> Result<(), Fault> {
        let (mut confirmed, mut directories) = (Vec::new(), HashSet::new());
        let mut result = Ok(());
        for item in recorded {
            boundary();
            match self.publish_item(item) {
                Ok(unconfirmed) => confirmed.push((item, unconfirmed)),
                Err(fault) => {
                    result = Err(fault);
                    break;
                }
            }
            directories.extend(item.files.iter().map(|file| file.directory.as_path()));
        }
        for directory in directories {
            sync_directory(directory).map_err(|error| deliver_fault(directory, &error))?;
        }
        self.staging.sync().map_err(|error| deliver_fault(self.staging.dir(), &error))?;
        let rows: Vec<_> = confirmed.iter().map(|(item, unconfirmed)| (item.id, *unconfirmed)).collect();
        boundary();
        self.ledger.confirm(&rows, self.launcher.after != Disposition::Leave)?;
        boundary();
        for (item, unconfirmed) in confirmed {
            self.confirmed(item, unconfirmed);
        }
        result
    }

    /// Publishes the files of an item; true when one of them had been published before an interruption.
    fn publish_item(&mut self, item: &Recorded) -> Result<bool, Fault> {
        let mut unconfirmed = false;
        // an interruption may have come between the new name of a file and the index that tells it
        let mut renamed = item.in_part || self.recovered.contains(&item.key);
        for file in &item.files {
            if file.role == Role::Index && renamed {
                self.renew_index(item.id, file)?;
            }
            let Some(name) = self.publish_file(item.id, file)? else {
                unconfirmed = true;
                continue;
            };
            boundary();
            renamed |= name != file.name;
            self.report.files.delivered += match file.role {
                Role::Index => 0,
                Role::Folder => item.documents,
                _ => 1,
            };
        }
        Ok(unconfirmed)
    }

    /// Gives a staged file its final name, the next free one where that is taken, and answers it; `None` when it is
    /// not staged any more.
    fn publish_file(&mut self, item: i64, file: &RecordedFile) -> Result<Option<String>, Fault> {
        let staged = self.staging.path(&file.staged);
        let mut name = file.name.clone();
        loop {
            match publish(&staged, &file.directory.join(&name)) {
                Ok(Published::Done) => return Ok(Some(name)),
                Ok(Published::Taken) => {
                    let mut promised = self.ledger.promised(&file.directory)?;
                    name = self.names.next(&file.directory, &file.name, &mut promised);
                    self.ledger.rename(item, file.n, &name)?;
                    boundary();
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound && !staged.exists() => {
                    check_directory(&file.directory)?;
                    return Ok(None);
                }
                Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                    return Err(other_volume(&file.directory, self.staging.dir()));
                }
                Err(error) => return Err(deliver_fault(&file.directory.join(&name), &error)),
            }
        }
    }

    /// Makes the index of an item again, with the names that its files were published under.
    fn renew_index(&mut self, item: i64, file: &RecordedFile) -> Result<(), Fault> {
        if !self.staging.path(&file.staged).exists() {
            return Ok(()); // published
        }
        let Some((entry, recorded)) = self.ledger.entry(item)? else { return Ok(()) };
        let bytes = index::Index::of(&self.launcher, &entry, recorded).render(index::format(&file.name));
        let staged = bytes.and_then(|bytes| self.staging.put_again(&file.staged, &bytes));
        let staged = staged.map_err(|error| deliver_fault(&self.staging.path(&file.staged), &error))?;
        boundary();
        self.ledger.restage(item, file.n, staged.size, staged.sha256)
    }

    fn confirmed(&mut self, item: &Recorded, unconfirmed: bool) {
        let (short, files) = (&item.short, item.documents);
        self.count_recorded(item.whole);
        if unconfirmed {
            self.tell(
                Level::Notice,
                "item_unconfirmed",
                text!(
                    "{short}: published before an interruption, nobody saw it succeed; should it be missing, `pertuis ledger retry` delivers it again (a copy of what `after` removes is kept for 30 days)",
                    "{short} : publié avant une interruption, personne ne l'a vu réussir ; s'il manque, `pertuis ledger retry` le livre à nouveau (une copie de ce que `after` retire est gardée 30 jours)"
                ),
            );
            return;
        }
        self.forget_body(&item.key);
        // what comes for the first time has nothing there
        let came_before = self.again.contains_key(&item.key) || self.recovered.contains(&item.key);
        if item.whole && came_before {
            self.leave_quarantine(short);
        }
        if self.env.events.wants(Level::Info, &self.launcher.name) {
            let text = text!("{short}: delivered, {files} file(s)", "{short} : livré, {files} fichier(s)");
            self.tell(Level::Info, "item_delivered", text);
        }
    }

    /// Carries out `after` and `after_empty` for everything that waits for it.
    async fn acknowledge(&mut self, source: &mut dyn Source) -> Result<(), End> {
        let mut done = Vec::new();
        let launcher = Arc::clone(&self.launcher);
        for (empty, what) in [(false, &launcher.after), (true, &launcher.after_empty)] {
            let removes = matches!(what, Disposition::Delete | Disposition::Move(_));
            let keep = if removes { launcher.keep } else { Duration::ZERO };
            let mut these = self.ledger.pending(empty, keep)?;
            if removes {
                let unseen: Vec<_> =
                    these.iter().filter(|item| item.unconfirmed).map(|item| item.key.clone()).collect();
                let not_kept = self.keep_copies(source, &unseen).await?;
                these.retain(|item| !not_kept.contains(&item.key));
            }
            for batch in these.chunks(ACKNOWLEDGE) {
                let keys: Vec<ItemKey> = batch.iter().map(|item| item.key.clone()).collect();
                let keys = if *what == Disposition::Leave { keys } else { source.acknowledge(&keys, what).await? };
                let keys: HashSet<ItemKey> = keys.into_iter().collect();
                done.extend(batch.iter().filter(|item| keys.contains(&item.key)).map(|item| item.id));
            }
        }
        boundary();
        source.finish().await?;
        boundary();
        self.ledger.acknowledged(&done)?;
        boundary();
        Ok(())
    }

    /// Items that are about to leave their place though nobody saw them delivered: a copy of each outlives the source. Answers
    /// those of which none could be made.
    async fn keep_copies(&mut self, source: &mut dyn Source, keys: &[ItemKey]) -> Result<HashSet<ItemKey>, End> {
        let mut not_kept = HashSet::new();
        for key in keys {
            if self.spool.find(key).is_none() {
                let batch = [Item { key: key.clone(), hint: String::new(), size: None, reissued: false }];
                let (sender, mut receiver) = outlet(1);
                let (fetched, answer) = tokio::join!(source.fetch(&batch, &self.spool, sender), receiver.recv());
                fetched?;
                match answer.map(|fetched| fetched.content) {
                    Some(Ok(Content::File { path, .. })) => {
                        stage::copy_to_spool(&self.spool, key, &path).map_err(|error| spool_fault(&path, &error))?;
                    }
                    Some(Ok(Content::Mail { file, .. })) => {
                        file.keep(&self.spool, key).map_err(|error| spool_fault(&self.spool.path(key), &error))?;
                    }
                    Some(Ok(Content::Envelope { path, deposit, stamps, listing })) => {
                        let dropped = Dropped { path, deposit, stamps, listing };
                        let kept = dropped.copy_to_spool(&self.spool, key);
                        if !kept.map_err(|error| spool_fault(&self.spool.path(key), &error))? {
                            not_kept.insert(key.clone());
                            continue;
                        }
                    }
                    Some(Ok(Content::Gone)) => {}
                    Some(Err(_)) | None => {
                        not_kept.insert(key.clone());
                        continue;
                    }
                }
            }
            // from now on it may be the only copy
            self.spool.sync(key).map_err(|error| spool_fault(&self.spool.path(key), &error))?;
        }
        Ok(not_kept)
    }

    /// The cursor moves only over what has ended without a gap.
    fn move_cursor(&mut self, discovery: Discovery) -> Result<(), Fault> {
        if self.report.items.failed > 0 || self.stop.is_cancelled() {
            return Ok(());
        }
        if let Some(present) = discovery.present {
            self.ledger.depart(&present)?;
        }
        match discovery.cursor {
            Some(cursor) => self.ledger.set_cursor(&cursor.0),
            None => Ok(()),
        }
    }

    /// The end of a dry run's batch: counted as if it had been delivered, and removed.
    fn pretend(&mut self, entries: &[Entry]) -> Result<(), Fault> {
        for part in entries.iter().flat_map(|entry| &entry.parts).filter(|part| part.role.is_document()) {
            if let Decision::Taken { staged, name, .. } = &part.decision {
                self.report.files.delivered += 1;
                self.staging.remove(staged).map_err(|error| deliver_fault(self.staging.dir(), &error))?;
                self.tell(Level::Notice, "would_deliver", text!("would be delivered: {name}", "serait livré : {name}"));
            }
        }
        for entry in entries {
            if entry.stage == Stage::Recorded {
                self.count_recorded(entry.is_whole());
            }
            self.forget_body(&entry.key);
        }
        Ok(())
    }

    /// The same for what an earlier cycle recorded.
    fn pretend_recorded(&mut self, recorded: &[Recorded]) {
        for item in recorded {
            self.report.files.delivered += item.documents;
            self.count_recorded(item.whole);
            for name in item.files.iter().filter(|file| file.role != Role::Index).map(|file| &file.name) {
                self.tell(Level::Notice, "would_deliver", text!("would be delivered: {name}", "serait livré : {name}"));
            }
        }
    }

    fn count(&mut self, entries: &[Entry]) {
        for entry in entries {
            let items = &mut self.report.items;
            match entry.stage {
                Stage::Recorded | Stage::Confirmed | Stage::Adopted => {} // counted when it is confirmed
                Stage::Failed => items.failed += 1,
                Stage::Empty => items.empty += 1,
                Stage::Rejected => items.rejected += 1,
                Stage::Quarantined => items.quarantined += 1,
            }
            for part in &entry.parts {
                match part.decision {
                    Decision::Filtered(_) | Decision::Inline => self.report.files.filtered += 1,
                    Decision::Quarantined => self.report.files.quarantined += 1,
                    Decision::Taken { .. } => {} // counted when it is published
                }
            }
        }
    }

    /// Counts an item of which files were delivered; in part only, it is one of the quarantine.
    fn count_recorded(&mut self, whole: bool) {
        let items = &mut self.report.items;
        *(if whole { &mut items.delivered } else { &mut items.quarantined }) += 1;
    }

    /// Puts a whole item into quarantine; a dry run only says so.
    pub(super) fn quarantine_whole(&self, entry: &Entry, body: Option<&SpoolFile>) -> Result<(), Fault> {
        let body = body.map_or(Kept::Nothing, |file| Kept::File(file, stage::extension(&self.launcher)));
        self.quarantine_as(entry, body)
    }

    /// The same, with what is kept of it.
    pub(super) fn quarantine_as(&self, entry: &Entry, body: Kept<'_>) -> Result<(), Fault> {
        let Entry { short, reason, .. } = entry;
        let Text { en, fr } = reason.clone().unwrap_or_else(|| Text::same(""));
        if self.dry_run {
            let text = text!("{short}: would go to quarantine: {en}", "{short} : irait en quarantaine : {fr}");
            self.tell(Level::Notice, "item_quarantined", text);
            return Ok(());
        }
        let put = self.quarantine.put(short, body, &format!("{en}\n{fr}")).or_else(|error| {
            // a dropped one stays where it is: the reason alone holds up nobody else
            let is_full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
            match body {
                Kept::Dropped(..) | Kept::Folder(_) if is_full => {
                    self.quarantine.put(short, Kept::Nothing, &format!("{en}\n{fr}"))
                }
                _ => Err(error),
            }
        });
        let place = put.map_err(|error| spool_fault(&self.env.state, &error))?;
        let (place, en, fr) = (place.display(), en.replace('\n', " | "), fr.replace('\n', " | "));
        self.tell(
            Level::Warning,
            "item_quarantined",
            text!("{short}: in quarantine: {en} ({place})", "{short} : en quarantaine : {fr} ({place})"),
        );
        Ok(())
    }

    fn forget_body(&self, key: &ItemKey) {
        // a body that cannot be removed is swept by the next cycle
        let _ = self.spool.remove(key);
    }

    pub(super) fn tell(&self, level: Level, name: &'static str, text: Text) {
        self.env.events.emit(Event::new(level, name, text).about(&self.launcher.name));
    }

    /// Raised in both places before the first delivery of a cycle, in the ledger first: a witness ahead of the
    /// ledger can then only mean that the ledger was lost or set back. Before anything is staged, too: what fits on a
    /// volume that is nearly full is then delivered.
    fn raise_generation(&mut self) -> Result<(), Fault> {
        if self.raised {
            return Ok(());
        }
        let generation = self.ledger.generation()? + 1;
        self.ledger.raise_generation(generation)?;
        boundary();
        self.staging.set_generation(generation).map_err(|error| deliver_fault(self.staging.dir(), &error))?;
        self.raised = true;
        Ok(())
    }

    /// What the witness says; a dry run, which works in a folder of its own, looks at the real one too.
    fn staging_generation(&self) -> Result<Option<u64>, Fault> {
        let staging = self.real_staging();
        staging.generation().map_err(|error| deliver_fault(&staging.witness(), &error))
    }

    fn real_staging(&self) -> Staging {
        Staging::at(&staging_root(&self.launcher), &self.env.state, &self.launcher.name)
    }

    /// Whether the staging folder is older than what was recorded: its content was lost or set back, and a staged
    /// file that is not there was not published. The witness is raised before the first item of a cycle is recorded.
    fn staging_is_behind(&self, recorded: &[Recorded]) -> Result<bool, Fault> {
        let newest = recorded.iter().map(|item| item.generation).max();
        Ok(newest > self.staging_generation()?)
    }

    /// The fault of a ledger that is behind its witness.
    fn witness_disagrees(&self) -> Result<Option<Fault>, Fault> {
        let (name, file) = (&self.launcher.name, self.real_staging().witness());
        let (witness, ledger) = (self.staging_generation()?.unwrap_or(0), self.ledger.generation()?);
        if witness <= ledger {
            return Ok(None);
        }
        let (path, file) = (Ledger::path(&self.env.state), file.display());
        let path = path.display();
        Ok(Some(Fault::new(
            Code::Ledger,
            text!(
                "{path} was lost or set back (it knows generation {ledger}, {file} says {witness}): going on would deliver again. Restore the newest ledger, or run `pertuis ledger adopt {name}`, which marks what is at the source now as done (with `--before DATE` only what is older than that day, the rest is delivered); to have everything delivered again remove {file}",
                "{path} a été perdu ou ramené en arrière (il connaît la génération {ledger}, {file} dit {witness}) : continuer livrerait à nouveau. Restaurez le registre le plus récent, ou lancez `pertuis ledger adopt {name}`, qui marque comme fait ce qui est à la source (avec `--before DATE` seulement ce qui précède ce jour, le reste est livré) ; pour que tout soit livré à nouveau, supprimez {file}"
            ),
        )))
    }

    /// Removes what an interrupted cycle left in staging and spool, and nothing that is still needed.
    fn sweep(&self) -> Result<(), Fault> {
        let recorded = self.ledger.recorded()?;
        let staged = recorded.into_iter().flat_map(|item| item.files).map(|file| file.staged);
        self.staging.sweep(&staged.collect()).map_err(|error| deliver_fault(self.staging.dir(), &error))?;
        let needed = self.ledger.needs_body()?;
        self.spool.sweep(&needed).map_err(|error| spool_fault(&self.env.state, &error))
    }
}

/// Where a launcher's documents are staged: `staging`, else `.pertuis-staging` beside `deliver`.
pub fn staging_root(launcher: &Launcher) -> PathBuf {
    launcher.staging.clone().unwrap_or_else(|| staging_beside(&launcher.deliver))
}

/// A listed item and the `{key}` that it has by itself.
fn own_short(item: &Item) -> (&ItemKey, String) {
    (&item.key, item.key.short(&item.hint))
}

/// What a source fetches, as the thread that stages it receives it.
struct Arrivals {
    fetched: Inlet,
    /// Received and not staged yet: the two threads wake each other once for several.
    received: VecDeque<Fetched>,
    runtime: Handle,
}

enum Arrival {
    Item(Fetched),
    /// Nothing has come for a while: what has been staged is delivered.
    Lull,
    End,
}

impl Arrivals {
    fn next(&mut self) -> Arrival {
        if let Some(next) = self.received.pop_front() {
            return Arrival::Item(next);
        }
        let receive = async { timeout(LINGER, self.fetched.recv_many(&mut self.received, AT_ONCE)).await };
        if self.runtime.block_on(receive).is_err() {
            return Arrival::Lull;
        }
        self.received.pop_front().map_or(Arrival::End, Arrival::Item)
    }
}

/// Staged items that are recorded together.
#[derive(Default)]
struct Batch {
    entries: Vec<Entry>,
    bytes: u64,
}

impl Batch {
    fn is_full(&self) -> bool {
        self.entries.len() >= BATCH || self.bytes >= BATCH_BYTES
    }
}

/// Bytes that wait on the disk until an item is delivered; not every source says so before the download.
pub(super) fn weight(content: &Result<Content, Fault>) -> u64 {
    match content {
        Ok(Content::Mail { file, .. }) => file.size,
        Ok(Content::File { stamp, .. }) => stamp.size,
        Ok(Content::Envelope { stamps, .. }) => stamps.iter().map(|stamp| stamp.size).sum(),
        Ok(Content::Gone) | Err(_) => 0,
    }
}

pub(super) fn check_directory(deliver: &Path) -> Result<(), Fault> {
    if deliver.is_dir() {
        return Ok(());
    }
    let deliver = deliver.display();
    Err(Fault::new(
        Code::Deliver,
        text!(
            "{deliver}: the delivery directory is not there; it is never made here, since an empty mount point would look like it. Make it, or mount it, or correct `deliver`",
            "{deliver} : le répertoire de livraison n'existe pas ; il n'est jamais créé ici, car un point de montage vide lui ressemblerait. Créez-le, montez-le, ou corrigez `deliver`"
        ),
    ))
}

pub(super) fn check_volume(deliver: &Path, staging: &Path) -> Result<(), Fault> {
    let same = same_volume(deliver, staging).map_err(|error| deliver_fault(deliver, &error))?;
    if same { Ok(()) } else { Err(other_volume(deliver, staging)) }
}

fn other_volume(deliver: &Path, staging: &Path) -> Fault {
    let (deliver, staging) = (deliver.display(), staging.display());
    Fault::new(
        Code::Deliver,
        text!(
            "{staging} is on another volume or mount than {deliver}: a file could not appear there in one step. Set `staging` to a folder on the volume of `deliver`, within the same mount, that nobody watches",
            "{staging} n'est pas sur le même volume ou montage que {deliver} : un fichier ne pourrait y apparaître d'un seul coup. Donnez à `staging` un dossier du volume de `deliver`, dans le même montage, que personne ne surveille"
        ),
    )
}

fn staging_lost(dir: &Path, items: usize) -> Fault {
    let dir = dir.display();
    Fault::new(
        Code::Deliver,
        text!(
            "{dir}: {items} recorded item(s) wait here, but the folder has lost its content (is its volume mounted?); bring it back, or run `pertuis ledger adopt` to give them up",
            "{dir} : {items} élément(s) enregistrés attendent ici, mais le dossier a perdu son contenu (son volume est-il monté ?) ; rétablissez-le, ou lancez `pertuis ledger adopt` pour y renoncer"
        ),
    )
}

pub(super) fn deliver_fault(path: &Path, error: &io::Error) -> Fault {
    let path = path.display();
    let Text { en, fr } = Text::io(error);
    Fault::new(
        Code::Deliver,
        text!(
            "{path}: cannot deliver: {en}; nothing is lost, the next cycle goes on from here. Check the free space and the rights of this user",
            "{path} : livraison impossible : {fr} ; rien n'est perdu, le prochain cycle reprendra ici. Vérifiez la place libre et les droits de cet utilisateur"
        ),
    )
}

pub(super) fn spool_fault(path: &Path, error: &io::Error) -> Fault {
    let path = path.display();
    let Text { en, fr } = Text::io(error);
    Fault::new(
        Code::Deliver,
        text!(
            "{path}: `state` cannot be written or read: {en}; nothing is lost, the next cycle starts over. Check the free space and the rights of this user",
            "{path} : impossible d'écrire ou de lire dans `state` : {fr} ; rien n'est perdu, le prochain cycle recommencera. Vérifiez la place libre et les droits de cet utilisateur"
        ),
    )
}

/// A boundary between two steps: the tests stop here as a crash would, also on the thread that work is carried to.
#[cfg(test)]
pub(super) use super::tests::{boundary, carried};

/// A boundary between two steps: nothing outside of tests.
#[cfg(not(test))]
pub(super) fn boundary() {}

/// Work for another thread: as it is, outside of tests.
#[cfg(not(test))]
fn carried<T>(work: T) -> T {
    work
}

/// Items recorded in one transaction, and the bytes above which a batch is closed.
const BATCH: usize = 512;
const BATCH_BYTES: u64 = 64 << 20;
/// Nothing has come for so long: what is staged is delivered.
const LINGER: Duration = Duration::from_secs(1);
/// Bytes of fetched bodies that may wait to be staged: the server is read while a batch is delivered.
const IN_FLIGHT: u32 = 2 << 20;
/// Fetched bodies that are received at once.
const AT_ONCE: usize = 32;
const IDENTIFY: usize = 200;
const ACKNOWLEDGE: usize = 500;
/// Items after which an adoption says how far it is.
const PROGRESS: usize = 2000;
/// Stands before a cursor while reissued keys are being recognised: a cycle that does not come to its end leaves the rest
/// of it to the next one.
const RECOGNISING: &str = "recognising:";
/// Cycles in a row after which an item that fails by itself goes to quarantine (contract, section 2).
const FAILURES: u32 = 3;
