//! From a dropped envelope to staged documents: decoded into the staging folder, named, filtered, reported.
//!
//! Not the decoders, which know neither names nor rules of delivery. A deposit is read in place; what looks different
//! afterwards, one of its files or what else lies beside them, was not read as it is now: nothing of it is taken, and a
//! later cycle sees it again.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cycle::{Cycle, deliver_fault, spool_fault};
use super::naming::{Named, Naming};
use super::related::{relations, texts};
use super::stage::{bare, failed, refusal, stage_of, too_large, unreadable};
use crate::config::Launcher;
use crate::delivery::ledger::{Again, Contents, Decision, Entry, Facts, Part, Stage};
use crate::delivery::quarantine::Kept;
use crate::delivery::spool::Spool;
use crate::delivery::staging::{StagedWriter, Staging};
use crate::delivery::stamp::Stamp;
use crate::document::envelope::limits::Limits;
use crate::document::envelope::store::{Body, BodyWriter, Store};
use crate::document::envelope::{Attachment, Deposit, Envelope, Error, Member, decode};
use crate::document::names::{numbered, safe_name, split_extension};
use crate::event::Level;
use crate::model::{Digest, Fault, ItemKey};
use crate::source::Item;
use crate::text;
use crate::text::Text;

/// What became of a try to decode an envelope.
enum Decoded {
    Envelope(Envelope),
    /// It cannot be decoded, now or later.
    Refused(Text),
    /// It could not be read.
    Failed(Text),
    /// It is another one now, or has gone.
    Changed,
}

/// A dropped envelope, as its source listed it.
#[derive(Debug)]
pub(super) struct Dropped {
    /// The directory, the archive or the file; of loose files, their metadata file.
    pub(super) path: PathBuf,
    pub(super) deposit: Deposit,
    pub(super) stamps: Vec<Stamp>,
    /// What lay in its directory then, where the source says so.
    pub(super) listing: Option<BTreeSet<PathBuf>>,
}

impl Cycle {
    /// Stages the documents of an envelope. `None`: it changed while it was read, or has gone.
    pub(super) fn stage_envelope(
        &mut self,
        item: &Item,
        short: String,
        dropped: &Dropped,
    ) -> Result<Option<Entry>, Fault> {
        let facts = dropped.facts(&item.key);
        let contents = Contents::of_deposit(&dropped.deposit.name);
        if dropped.size() > self.launcher.max_size {
            let entry = too_large(&self.launcher, &item.key, short, dropped.size());
            self.quarantine_whole(&entry, None)?;
            return Ok(Some(Entry { contents: Some(contents), facts, ..entry }));
        }
        let stopped = |entry: Entry| Entry { contents: Some(contents), facts: facts.clone(), ..entry };
        match self.decode_into_staging(&short, dropped)? {
            Decoded::Changed => Ok(None),
            Decoded::Envelope(envelope) => self.take_envelope(item, short, dropped, facts, envelope).map(Some),
            Decoded::Failed(text) => Ok(Some(stopped(failed(&item.key, short, &text)))),
            Decoded::Refused(text) => {
                self.refuse_envelope(stopped(bare(&item.key, short, Stage::Quarantined, text)), dropped)
            }
        }
    }

    fn decode_into_staging(&self, short: &str, dropped: &Dropped) -> Result<Decoded, Fault> {
        let Some(listing) = dropped.listing() else { return Ok(Decoded::Changed) };
        let mut store = Stager::new(&self.staging, short);
        let decoded = decode(&dropped.deposit, &limits(&self.launcher), &self.launcher.alias, &mut store);
        let unchanged = dropped.listing().as_ref() == Some(&listing);
        let decoded = match decoded {
            Err(Error::Store(error)) => Err(deliver_fault(self.staging.dir(), &error)),
            _ if !unchanged => Ok(Decoded::Changed),
            Ok(envelope) if envelope.files.is_empty() => Ok(Decoded::Refused(nothing())),
            Ok(envelope) => Ok(Decoded::Envelope(envelope)),
            Err(Error::Refused(text)) => Ok(Decoded::Refused(text)),
            Err(Error::Read(error)) if error.kind() == io::ErrorKind::NotFound => Ok(Decoded::Changed),
            Err(Error::Read(error)) => Ok(Decoded::Failed(unreadable(&dropped.path, &error))),
        };
        let wanted = match &decoded {
            Ok(Decoded::Envelope(envelope)) => envelope.files.iter().map(|file| staged_name(&file.body)).collect(),
            _ => HashSet::new(),
        };
        store.clear(&wanted);
        decoded
    }

    /// Names, filters and reports the documents of a decoded envelope.
    fn take_envelope(
        &self,
        item: &Item,
        short: String,
        dropped: &Dropped,
        mut facts: Facts,
        envelope: Envelope,
    ) -> Result<Entry, Fault> {
        let launcher = Arc::clone(&self.launcher);
        let naming = Naming { launcher: &launcher, short: &short, uid: &item.hint, kind: envelope.kind.as_str() };
        let name = &dropped.deposit.name;
        let taken = take(&self.staging, &naming, name, &mut facts, envelope);
        let taken = taken.map_err(|error| deliver_fault(self.staging.dir(), &error))?;
        let Taken { mut parts, contents } = match taken {
            Ok(taken) => taken,
            Err(text) => {
                let contents = Some(Contents::of_deposit(name));
                return Ok(Entry { facts, contents, ..failed(&item.key, short, &text) });
            }
        };
        let stage = stage_of(&parts);
        if stage == Stage::Recorded {
            self.add_folder(&naming, &facts, &mut parts);
        }
        self.report_envelope(&short, &parts, &contents);
        let (key, contents) = (item.key.clone(), Some(contents));
        let mut entry = Entry { key, short, stage, reason: None, facts, parts, contents, settled: false };
        self.settle(&mut entry);
        Ok(entry)
    }

    /// What was found, what is missing and what was ignored.
    fn report_envelope(&self, short: &str, parts: &[Part], contents: &Contents) {
        let Text { en, fr } = report(parts, contents);
        let name = &contents.name;
        let is_odd = !contents.missing.is_empty() || !contents.warnings.is_empty();
        let level = if is_odd { Level::Warning } else { Level::Notice };
        self.tell(level, "envelope_report", text!("{short} ({name}): {en}", "{short} ({name}) : {fr}"));
    }

    /// Puts a whole deposit into quarantine. `None`: it changed while it was copied.
    fn refuse_envelope(&self, entry: Entry, dropped: &Dropped) -> Result<Option<Entry>, Fault> {
        let members = &dropped.deposit.members;
        let (names, extension);
        let kept = match members.as_slice() {
            _ if self.quarantine.holds(&dropped.path) => Kept::Nothing, // it is the copy that is there
            // what cannot be read holds up no other
            members if members.iter().any(|member| File::open(&member.path).is_err()) => Kept::Nothing,
            [member] if dropped.path == member.path => {
                extension = extension_of(&member.name);
                Kept::Dropped(&member.path, &extension)
            }
            members => {
                names = safe_names(members);
                Kept::Folder(&names)
            }
        };
        match self.quarantine_as(&entry, kept) {
            // what cannot be copied because it has gone is not the fault of `state`
            Err(_) if dropped.listing().is_none() => Ok(None),
            Err(fault) => Err(fault),
            Ok(()) => Ok(Some(entry)),
        }
    }

    /// An envelope that has left its source: a copy that was kept of one that was asked for again stands in.
    pub(super) fn stage_kept(&mut self, item: &Item, short: String) -> Result<Option<Entry>, Fault> {
        let Some(again) = self.again.get(&item.key).cloned() else { return Ok(None) };
        let scratch = Staging::folder_of(&format!("{short}.copy"));
        let copy = if again.asked { self.kept_deposit(item, &short, &scratch, &again)? } else { None };
        let Some(dropped) = copy else {
            self.ledger.gone(&item.key)?;
            self.tell_gone(&short, again.asked);
            return Ok(None);
        };
        let staged = self.stage_envelope(item, short, &dropped);
        // what cannot be removed is swept by the next cycle
        let _ = self.staging.remove_folder(&scratch);
        let mut entry = staged?;
        if let Some(entry) = &mut entry {
            (entry.facts.folder, entry.facts.received) = (again.folder, again.received);
        }
        Ok(entry)
    }

    fn kept_deposit(&self, item: &Item, short: &str, scratch: &str, again: &Again) -> Result<Option<Dropped>, Fault> {
        let name = again.deposit.clone().unwrap_or_else(|| short.to_owned());
        if let Some(copy) = self.spool.find(&item.key) {
            self.staging.make_folder(scratch).map_err(|error| deliver_fault(self.staging.dir(), &error))?;
            let read = copy.open().and_then(|mut copy| unpack_copy(&mut copy, &self.staging.path(scratch)));
            let members = read.map_err(|error| spool_fault(&self.spool.path(&item.key), &error))?;
            return Dropped::of_copy(name, self.staging.path(scratch), members).map(Some).map_err(|error| {
                let path = self.staging.path(scratch);
                spool_fault(&path, &error)
            });
        }
        let Some(path) = self.quarantine.find_any(short) else { return Ok(None) };
        let members = if path.is_dir() { members_of(&path) } else { Member::at(&path, &name).map(|one| vec![one]) };
        let dropped = members.and_then(|members| Dropped::of_copy(name, path.clone(), members));
        dropped.map(Some).map_err(|error| spool_fault(&path, &error))
    }
}

impl Dropped {
    /// A copy of ours, as it lies now.
    pub(super) fn of_copy(name: String, path: PathBuf, members: Vec<Member>) -> io::Result<Self> {
        let stamps = members.iter().map(|member| Stamp::of(&member.path)).collect::<io::Result<_>>()?;
        Ok(Self { path, deposit: Deposit { name, members }, stamps, listing: None })
    }

    /// Bytes, as listed.
    pub(super) fn size(&self) -> u64 {
        self.stamps.iter().map(|stamp| stamp.size).sum()
    }

    pub(super) fn facts(&self, key: &ItemKey) -> Facts {
        Facts {
            size: Some(self.size()),
            digest: identity(key),
            folder: self.path.parent().map(|parent| parent.to_string_lossy().into_owned()),
            subject: Some(self.deposit.name.clone()),
            received: self.stamps.iter().map(|stamp| stamp.modified).max(),
            ..Facts::default()
        }
    }

    /// What lies in its directory, where it is one; `None` when a file, or the directory, does not look any more as it was
    /// listed: what has come since is no member.
    fn listing(&self) -> Option<BTreeSet<PathBuf>> {
        let members = self.deposit.members.iter().zip(&self.stamps);
        let unchanged = members.map(|(member, stamp)| Stamp::of(&member.path).is_ok_and(|seen| seen == *stamp));
        if !unchanged.into_iter().all(|unchanged| unchanged) {
            return None;
        }
        let mut names = BTreeSet::new();
        if self.path.is_dir() {
            list(&self.path, DEEPEST, &mut names).ok()?;
        }
        Some(names).filter(|names| self.listing.as_ref().is_none_or(|listed| listed == names))
    }

    /// Keeps a copy in the spool; false when it changed meanwhile.
    pub(super) fn copy_to_spool(&self, spool: &Spool, key: &ItemKey) -> io::Result<bool> {
        if self.listing().is_none() {
            return Ok(false);
        }
        let mut tar = tar::Builder::new(spool.create(key));
        for (n, (member, stamp)) in self.deposit.members.iter().zip(&self.stamps).enumerate() {
            let mut header = tar::Header::new_gnu();
            header.set_size(stamp.size);
            header.set_mode(0o600);
            let name = member.name.replace(['/', '\\', '\0'], "_");
            let name = if name.trim_matches('.').is_empty() { "_" } else { &name };
            let input = match File::open(&member.path) {
                Ok(input) => input,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                Err(error) => return Err(error),
            };
            tar.append_data(&mut header, format!("{n}/{name}"), input.take(stamp.size))?;
        }
        let writer = tar.into_inner()?;
        if self.listing().is_none() {
            return Ok(false);
        }
        writer.finish()?.keep(spool, key).map(|()| true)
    }
}

impl Member {
    /// The file at `path`, under its own name.
    pub(super) fn at(path: &Path, name: &str) -> io::Result<Self> {
        let size = fs::symlink_metadata(path)?.len();
        Ok(Self { name: name.to_owned(), path: path.to_owned(), size, body: None })
    }
}

/// What became of the documents of an envelope.
pub(super) struct Taken {
    pub(super) parts: Vec<Part>,
    pub(super) contents: Contents,
}

/// Names and filters the documents of a decoded envelope, whose bodies stand in `staging`. What is left out is removed, and
/// counted behind what is taken, so that `{n}` is the place in `files`. An inner error: a pattern reached its limit.
pub(super) fn take(
    staging: &Staging,
    naming: &Naming<'_>,
    deposit: &str,
    facts: &mut Facts,
    envelope: Envelope,
) -> io::Result<Result<Taken, Text>> {
    let Envelope { kind, metadata, files, missing, warnings } = envelope;
    let title = TITLES.iter().find_map(|key| texts(&metadata, key).next());
    facts.subject = Some(title.unwrap_or(deposit).to_owned());
    let relations = relations(kind, &metadata, &files);
    let (name, kind) = (deposit.to_owned(), Some(kind));
    let mut contents = Contents { name, kind, metadata, missing, warnings, readable: Vec::new(), relations };
    let (mut parts, mut left_out, mut used) = (Vec::new(), Vec::new(), HashSet::new());
    for file in &files {
        match refusal(&naming.launcher.filter, &file.name) {
            Err(text) => {
                files.iter().try_for_each(|file| staging.remove(&staged_name(&file.body)))?;
                return Ok(Err(text));
            }
            Ok(Some(pattern)) => left_out.push((file, pattern)),
            Ok(None) => {
                let n = u32::try_from(parts.len() + 1).unwrap_or(u32::MAX);
                contents.readable.extend(file.readable.then_some(n));
                let staged = own_body(staging, naming.short, n, &file.body, &mut used)?;
                let named = Named { n, role: &file.role, name: &file.name, sha256: file.body.sha256 };
                let (name, directory) = (naming.document(facts, &named), naming.launcher.deliver.clone());
                let (size, sha256) = (file.body.size, file.body.sha256);
                parts.push(part(n, file, Decision::Taken { staged, name, directory, size, sha256 }));
            }
        }
    }
    for (file, pattern) in left_out {
        if !used.contains(&file.body.path) {
            staging.remove(&staged_name(&file.body))?;
        }
        let n = u32::try_from(parts.len() + 1).unwrap_or(u32::MAX);
        parts.push(part(n, file, Decision::Filtered(pattern)));
    }
    Ok(Ok(Taken { parts, contents }))
}

fn part(n: u32, file: &Attachment, decision: Decision) -> Part {
    let (original_name, media_type) = (Some(file.name.clone()), file.media_type.clone());
    Part { n, role: file.role.clone(), original_name, media_type, decision }
}

/// The staged name of a body; two documents with one body have one each.
fn own_body(staging: &Staging, short: &str, n: u32, body: &Body, used: &mut HashSet<PathBuf>) -> io::Result<String> {
    if used.insert(body.path.clone()) {
        return Ok(staged_name(body));
    }
    let mut writer = staging.create(format!("{short}.again.{n}"))?;
    io::copy(&mut File::open(&body.path)?, &mut writer)?;
    Ok(writer.finish()?.name)
}

pub(super) fn staged_name(body: &Body) -> String {
    body.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// What an envelope held, in one sentence.
pub(super) fn report(parts: &[Part], contents: &Contents) -> Text {
    let kind = contents.kind.map_or("", crate::model::EnvelopeKind::as_str);
    let taken: Vec<_> = parts.iter().filter(|part| part.n > 0 && part.staged().is_some()).collect();
    let (count, found) = (taken.len(), counted(taken.iter().map(|part| part.role.as_str())));
    let ignored = parts.iter().filter(|part| matches!(part.decision, Decision::Filtered(_)));
    let ignored: Vec<_> = ignored.filter_map(|part| part.original_name.clone()).collect();
    let Text { mut en, mut fr } =
        text!("{kind}, {count} file(s) found ({found})", "{kind}, {count} fichier(s) trouvé(s) ({found})");
    let mut add = |more: Text| {
        en = format!("{en}; {}", more.en).into();
        fr = format!("{fr} ; {}", more.fr).into();
    };
    if !contents.missing.is_empty() {
        let names = shown(&contents.missing);
        add(text!("missing: {names}", "manque : {names}"));
    }
    if !ignored.is_empty() {
        let names = shown(&ignored);
        add(text!("ignored by filter: {names}", "ignoré par filter : {names}"));
    }
    for warning in contents.warnings.iter().take(SHOWN) {
        add(warning.clone());
    }
    if contents.warnings.len() > SHOWN {
        let more = contents.warnings.len() - SHOWN;
        add(text!("{more} more warnings in the index", "{more} autres avertissements dans l'index"));
    }
    Text { en, fr }
}

/// `1 pes, 12 attachment`, in the order in which they come first.
pub(super) fn counted<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for word in words {
        match counts.iter_mut().find(|(known, _)| *known == word) {
            Some((_, count)) => *count += 1,
            None => counts.push((word, 1)),
        }
    }
    counts.iter().map(|(word, count)| format!("{count} {word}")).collect::<Vec<_>>().join(", ")
}

pub(super) fn shown(names: &[String]) -> String {
    let mut text = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        let _ = write!(text, ", … (+{})", names.len() - SHOWN); // writing to a string never fails
    }
    text
}

/// A store in the staging folder.
pub(super) struct Stager<'a> {
    staging: &'a Staging,
    short: &'a str,
    count: u32,
}

impl<'a> Stager<'a> {
    pub(super) fn new(staging: &'a Staging, short: &'a str) -> Self {
        Self { staging, short, count: 0 }
    }

    /// Removes every body but those of `keep`.
    pub(super) fn clear(&self, keep: &HashSet<String>) {
        for name in (1..=self.count).map(|n| format!("{}.{n}", self.short)).filter(|name| !keep.contains(name)) {
            // what cannot be removed is swept by the next cycle
            let _ = self.staging.remove(&name);
        }
    }
}

impl Store for Stager<'_> {
    fn create(&mut self) -> io::Result<Box<dyn BodyWriter>> {
        self.count += 1;
        let name = format!("{}.{}", self.short, self.count);
        let path = self.staging.path(&name);
        Ok(Box::new(Writer { writer: self.staging.create(name)?, path }))
    }

    fn discard(&mut self, body: &Body) {
        // what cannot be removed is swept by the next cycle
        let _ = self.staging.remove(&staged_name(body));
    }
}

struct Writer {
    writer: StagedWriter,
    path: PathBuf,
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

impl BodyWriter for Writer {
    fn finish(self: Box<Self>) -> io::Result<Body> {
        let staged = self.writer.finish()?;
        Ok(Body { path: self.path, size: staged.size, sha256: staged.sha256 })
    }
}

/// The limits that a launcher sets.
pub(super) fn limits(launcher: &Launcher) -> Limits {
    Limits {
        max_unpacked: launcher.max_unpacked,
        max_entries: launcher.max_entries,
        max_ratio: launcher.max_ratio,
        max_depth: launcher.max_depth,
    }
}

fn nothing() -> Text {
    text!("it holds no document; nothing is delivered of it", "il ne contient aucun document ; rien n'en est livré")
}

/// The identity in the key of an envelope.
fn identity(key: &ItemKey) -> Option<Digest> {
    let value: serde_json::Value = serde_json::from_str(key.as_str()).ok()?;
    Digest::from_hex(value.get(1)?.as_str()?)
}

/// Everything below a directory.
fn list(dir: &Path, deepest: usize, names: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() && deepest > 0 {
            list(&entry.path(), deepest - 1, names)?;
        }
        names.insert(entry.path());
    }
    Ok(())
}

/// The files of a copy that was kept as a folder.
fn members_of(folder: &Path) -> io::Result<Vec<Member>> {
    let mut members = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            members.push(Member::at(&entry.path(), &entry.file_name().to_string_lossy())?);
        }
    }
    members.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(members)
}

/// Unpacks a copy that [`Dropped::copy_to_spool`] made.
fn unpack_copy(copy: &mut dyn Read, folder: &Path) -> io::Result<Vec<Member>> {
    let mut archive = tar::Archive::new(copy);
    let mut members = Vec::new();
    for (n, entry) in archive.entries()?.enumerate() {
        let mut entry = entry?;
        let name = entry.path()?.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let path = folder.join(n.to_string());
        io::copy(&mut entry, &mut File::create(&path)?)?;
        members.push(Member::at(&path, &name)?);
    }
    Ok(members)
}

/// The files of a deposit under safe names that differ.
fn safe_names(members: &[Member]) -> Vec<(PathBuf, String)> {
    let (mut last, mut given): (HashMap<String, u64>, _) = (HashMap::new(), HashSet::new());
    let mut name = |member: &Member| {
        let safe = safe_name(&member.name);
        let last = last.entry(safe.to_lowercase()).or_insert(0);
        loop {
            *last += 1;
            let name = numbered(&safe, *last);
            if given.insert(name.to_lowercase()) {
                return name;
            }
        }
    };
    members.iter().map(|member| (member.path.clone(), name(member))).collect()
}

/// The extension of a dropped file, as it may stand behind a `{key}`.
fn extension_of(name: &str) -> String {
    let lower = name.to_lowercase();
    if lower.ends_with(".tar.gz") {
        return "tar.gz".to_owned();
    }
    let extension = split_extension(&lower).1.trim_start_matches('.').to_owned();
    let is_plain = !extension.is_empty() && extension.chars().all(|c| c.is_ascii_alphanumeric());
    if is_plain && extension != "part" { extension } else { "bin".to_owned() }
}

/// What an envelope is called in lists.
const TITLES: [&str; 3] = ["objet", "no_facture", "nom_fic"];
/// Names and warnings that one line of the log shows.
const SHOWN: usize = 20;
/// Folders below one another in a deposit.
const DEEPEST: usize = 64;
