//! From a fetched item to staged documents: what is taken, what is left out, and why.
//!
//! Not delivery: a staged document has no final name yet, and nothing here touches the delivery directory. A message
//! is read from the spool once, as a stream; each wanted part is decoded straight into its staged file.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};

use super::cycle::{Cycle, deliver_fault, spool_fault};
use super::envelope::Dropped;
use super::naming::{Named, Naming, kind};
use crate::config::Launcher;
use crate::config::launcher::{Kind, Take};
use crate::config::pattern::Pattern;
use crate::delivery::ledger::{Again, Decision, Entry, Facts, Part, Stage};
use crate::delivery::spool::{Spool, SpoolFile};
use crate::delivery::staging::{Staged, StagedWriter, Staging};
use crate::delivery::stamp::Stamp;
use crate::document::mime::{Damage, Head, Limits, PartHead, Visitor, WalkError, walk};
use crate::model::{Digest, Disposition, Fault, ItemKey, Role};
use crate::source::{Content, Fingerprint, Item};
use crate::text;
use crate::text::Text;

impl Cycle {
    /// Stages the documents of an item. `None`: it changed while it was read, a later cycle takes it as it is then.
    /// A fault means that nothing can be staged at all; what is wrong with this item alone is in its entry.
    pub(super) fn stage(&mut self, item: &Item, short: String, content: Content) -> Result<Option<Entry>, Fault> {
        match content {
            Content::Gone => Ok(None),
            Content::File { path, name, stamp } => self.stage_file(item, short, &path, &name, &stamp),
            Content::Envelope { path, deposit, stamps, listing } => {
                self.stage_envelope(item, short, &Dropped { path, deposit, stamps, listing })
            }
            Content::Mail { file, .. } if file.size > self.launcher.max_size => {
                let entry = too_large(&self.launcher, &item.key, short, file.size);
                self.quarantine_whole(&entry, None)?;
                Ok(Some(entry))
            }
            Content::Mail { file, folder, received } => self
                .stage_mail(item, short, &file, Facts { folder: Some(folder), received, ..Facts::default() })
                .map(Some),
        }
    }

    /// Stages an item of which only a kept copy is left.
    pub(super) fn stage_copy(
        &mut self,
        item: &Item,
        again: Again,
        short: String,
        file: SpoolFile,
    ) -> Result<Option<Entry>, Fault> {
        let Again { folder, received, name, .. } = again;
        let content = match (self.launcher.kind, file.path()) {
            (Kind::Directory, Some(path)) => {
                let stamp = Stamp::of(path).map_err(|error| spool_fault(path, &error))?;
                Content::File { path: path.to_owned(), name: name.unwrap_or_else(|| short.clone()), stamp }
            }
            _ => Content::Mail { file, folder: folder.clone().unwrap_or_default(), received },
        };
        let mut entry = self.stage(item, short, content)?;
        if let Some(entry) = &mut entry {
            (entry.facts.folder, entry.facts.received) = (folder, received);
        }
        Ok(entry)
    }

    fn stage_mail(&mut self, item: &Item, short: String, file: &SpoolFile, facts: Facts) -> Result<Entry, Fault> {
        let launcher = Arc::clone(&self.launcher);
        let naming = Naming { launcher: &launcher, short: &short, uid: &item.hint, kind: kind(&launcher) };
        let mut taker = Taker::new(naming, &self.staging, facts);
        let walked = taker.walk(file);
        let Taker { mut parts, mut facts, rejected, fault, mut damage, mut notes, .. } = taker;
        if let Some(fault) = fault {
            discard(&self.staging, &parts);
            return match fault {
                Trouble::Disk(fault) => Err(fault),
                Trouble::Pattern(text) => Ok(failed(&item.key, short, &text)),
            };
        }
        let (found, digest) = walked.map_err(|error| {
            discard(&self.staging, &parts);
            spool_fault(&self.spool.path(&item.key), &error)
        })?;
        facts.digest = Some(digest);
        facts.size = Some(file.size);
        let (losses, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|(is_loss, _)| *is_loss);
        let broken = !losses.is_empty();
        damage.extend(losses.into_iter().map(|(_, text)| text));
        notes.extend(others.into_iter().map(|(_, text)| text));
        if rejected.is_none() && !broken && file.size > 0 && self.takes_message(&parts) {
            self.add_message(item, &naming, file, &facts, &mut parts)?;
        }
        let stage = match (&rejected, broken) {
            (Some(_), _) => Stage::Rejected,
            (None, true) => Stage::Quarantined,
            (None, false) => stage_of(&parts),
        };
        if stage == Stage::Recorded {
            self.add_folder(&naming, &facts, &mut parts);
        } else {
            discard(&self.staging, &parts);
        }
        let reason = rejected.map(Text::same).or_else(|| lines(damage.iter().chain(&notes)));
        let mut entry =
            Entry { key: item.key.clone(), short, stage, reason, facts, parts, contents: None, settled: false };
        self.settle(&mut entry);
        if !damage.is_empty() && stage != Stage::Rejected {
            self.quarantine_whole(&entry, Some(file))?;
        }
        Ok(entry)
    }

    /// Whether the .eml of a message with these parts is delivered: by `take`, or by `empty` where nothing is in it
    /// (what was filtered out was in it).
    fn takes_message(&self, parts: &[Part]) -> bool {
        let nothing = || parts.iter().all(|part| part.decision == Decision::Inline);
        self.launcher.take != Take::Attachments || (self.launcher.empty_message && nothing())
    }

    /// Stages the message itself, as it was received; it is the first of the documents.
    fn add_message(
        &self,
        item: &Item,
        naming: &Naming<'_>,
        file: &SpoolFile,
        facts: &Facts,
        parts: &mut Vec<Part>,
    ) -> Result<(), Fault> {
        let staged = self.copy_message(item, naming.short, file).inspect_err(|_| discard(&self.staging, parts))?;
        for part in parts.iter_mut() {
            part.n += 1;
        }
        let name = naming.message(facts);
        let named = Named { n: 1, role: &Role::Message, name: &name, sha256: staged.sha256 };
        let decision = self.taken(staged, naming.document(facts, &named));
        let (original_name, media_type) = (Some(name), Some("message/rfc822".to_owned()));
        parts.insert(0, Part { n: 1, role: Role::Message, original_name, media_type, decision });
        Ok(())
    }

    fn copy_message(&self, item: &Item, short: &str, file: &SpoolFile) -> Result<Staged, Fault> {
        let spool = |error: io::Error| spool_fault(&self.spool.path(&item.key), &error);
        let staging = |error: io::Error| deliver_fault(self.staging.dir(), &error);
        let mut writer = self.staging.create(format!("{short}.eml")).map_err(staging)?;
        let mut body = file.open().map_err(spool)?;
        let mut buffer = vec![0; BUFFER];
        loop {
            match body.read(&mut buffer).map_err(spool)? {
                0 => return writer.finish().map_err(staging),
                count => writer.write_all(&buffer[..count]).map_err(staging)?,
            }
        }
    }

    /// With `group = folder`: the folder in which the documents are delivered.
    pub(super) fn add_folder(&self, naming: &Naming<'_>, facts: &Facts, parts: &mut Vec<Part>) {
        let Some(template) = &self.launcher.folder else { return };
        let decision = Decision::Taken {
            staged: Staging::folder_of(naming.short),
            name: naming.folder(facts, template),
            directory: self.launcher.deliver.clone(),
            size: 0,
            sha256: Digest::of(&[]),
        };
        parts.insert(0, Part { n: 0, role: Role::Folder, original_name: None, media_type: None, decision });
    }

    fn taken(&self, staged: Staged, name: String) -> Decision {
        let (Staged { name: staged, size, sha256 }, directory) = (staged, self.launcher.deliver.clone());
        Decision::Taken { staged, name, directory, size, sha256 }
    }

    fn stage_file(
        &mut self,
        item: &Item,
        short: String,
        path: &Path,
        name: &str,
        stamp: &Stamp,
    ) -> Result<Option<Entry>, Fault> {
        let key = &item.key;
        let facts = Facts {
            size: Some(stamp.size),
            folder: path.parent().map(|parent| parent.to_string_lossy().into_owned()),
            received: Some(stamp.modified),
            ..Facts::default()
        };
        let launcher = Arc::clone(&self.launcher);
        let naming = Naming { launcher: &launcher, short: &short, uid: &item.hint, kind: kind(&launcher) };
        let mut part = Part {
            n: 1,
            role: Role::Document,
            original_name: Some(name.into()),
            media_type: None,
            decision: Decision::Quarantined,
        };
        match refusal(&self.launcher.filter, name) {
            Err(text) => return Ok(Some(failed(key, short, &text))),
            Ok(Some(pattern)) => part.decision = Decision::Filtered(pattern),
            Ok(None) => {
                let Some(staged) = self.copy_document(&short, path, stamp)? else { return Ok(None) };
                match staged {
                    Ok(staged) => {
                        let named = Named { n: 1, role: &Role::Document, name, sha256: staged.sha256 };
                        let name = naming.document(&facts, &named);
                        part.decision = self.taken(staged, name);
                    }
                    Err(error) => return Ok(Some(failed(key, short, &unreadable(path, &error)))),
                }
            }
        }
        let mut parts = vec![part];
        let stage = stage_of(&parts);
        if stage == Stage::Recorded {
            self.add_folder(&naming, &facts, &mut parts);
        }
        let mut entry =
            Entry { key: key.clone(), short, stage, reason: None, facts, parts, contents: None, settled: false };
        self.settle(&mut entry);
        Ok(Some(entry))
    }

    /// Copies a dropped file into staging, read in place. `None`: it changed meanwhile or has gone. An inner error
    /// is one of the dropped file; a fault is one of staging.
    #[allow(clippy::type_complexity)] // three outcomes with three different remedies, each in one layer
    fn copy_document(&self, short: &str, path: &Path, stamp: &Stamp) -> Result<Option<io::Result<Staged>>, Fault> {
        let mut input = match open_dropped(path) {
            Ok(input) => input,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Ok(Some(Err(error))),
        };
        let unchanged = |seen: io::Result<Stamp>| seen.is_ok_and(|seen| seen == *stamp);
        let opened = |input: &File| unchanged(input.metadata().and_then(|metadata| Stamp::from_metadata(&metadata)));
        if !opened(&input) {
            return Ok(None);
        }
        let staging = |error: io::Error| deliver_fault(self.staging.dir(), &error);
        let mut writer = self.staging.create(format!("{short}.1")).map_err(staging)?;
        let mut buffer = vec![0; BUFFER];
        // no more than was listed: a file that grows faster than it is read has no end
        let mut listed = (&mut input).take(stamp.size.saturating_add(1));
        loop {
            match listed.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => writer.write_all(&buffer[..count]).map_err(staging)?,
                Err(error) => {
                    self.staging.remove(&format!("{short}.1")).map_err(staging)?;
                    return Ok(Some(Err(error)));
                }
            }
        }
        if !opened(&input) || !unchanged(Stamp::of(path)) {
            self.staging.remove(&format!("{short}.1")).map_err(staging)?;
            return Ok(None);
        }
        writer.finish().map_err(staging).map(|staged| Some(Ok(staged)))
    }

    /// Nothing will be left to do at the source of an item whose disposition is `leave`.
    pub(super) fn settle(&self, entry: &mut Entry) {
        // of what is recorded it is decided when it is confirmed; the others never have anything done to them
        entry.settled = entry.stage == Stage::Empty && self.launcher.after_empty == Disposition::Leave;
    }
}

/// Removes what was staged for an item that is not delivered.
pub(super) fn discard(staging: &Staging, parts: &[Part]) {
    for part in parts {
        // what cannot be removed is swept by the next cycle
        let _ = match part.staged() {
            Some(folder) if part.role == Role::Folder => staging.remove_folder(folder),
            Some(staged) => staging.remove(staged),
            None => Ok(()),
        };
    }
}

/// Takes the parts of one message into staging.
pub(super) struct Taker<'a> {
    launcher: &'a Launcher,
    naming: Naming<'a>,
    staging: &'a Staging,
    pub(super) facts: Facts,
    pub(super) parts: Vec<Part>,
    current: Option<(StagedWriter, String)>,
    rejected: Option<String>,
    /// Documents that are damaged.
    pub(super) damage: Vec<Text>,
    /// What breaks the rules and loses nothing.
    pub(super) notes: Vec<Text>,
    pub(super) fault: Option<Trouble>,
}

/// Why a message cannot be staged.
pub(super) enum Trouble {
    /// Staging itself.
    Disk(Fault),
    /// A pattern that reached its limit on this message.
    Pattern(Text),
}

impl<'a> Taker<'a> {
    pub(super) fn new(naming: Naming<'a>, staging: &'a Staging, facts: Facts) -> Self {
        Self {
            launcher: naming.launcher,
            naming,
            staging,
            facts,
            parts: Vec::new(),
            current: None,
            rejected: None,
            damage: Vec::new(),
            notes: Vec::new(),
            fault: None,
        }
    }

    /// Reads a message to its end: what is wrong with it as a whole (and whether something is lost by it), and the
    /// digest of its bytes.
    pub(super) fn walk(&mut self, file: &SpoolFile) -> io::Result<(Vec<(bool, Text)>, Digest)> {
        if let Some(bytes) = file.bytes() {
            return Ok((self.walk_through(bytes)?, Digest::of(bytes)));
        }
        let mut body = Hashing { inner: file.open()?, hasher: Sha256::new() };
        let found = self.walk_through(BufReader::with_capacity(BUFFER, &mut body))?;
        io::copy(&mut body, &mut io::sink())?;
        Ok((found, Digest(body.hasher.finalize().into())))
    }

    fn walk_through(&mut self, body: impl BufRead) -> io::Result<Vec<(bool, Text)>> {
        match walk(body, &limits(self.launcher), self) {
            Ok(walked) => Ok(walked.damage.iter().map(|damage| (damage.is_loss(), damage.text())).collect()),
            Err(WalkError::Limit(text)) => Ok(vec![(true, text)]),
            Err(WalkError::Read(error) | WalkError::Visit(error)) => Err(error),
        }
    }

    fn disk<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        result.inspect_err(|error| self.fault = Some(Trouble::Disk(deliver_fault(self.staging.dir(), error))))
    }

    fn pattern<T>(&mut self, result: Result<T, Text>) -> io::Result<T> {
        result.map_err(|text| {
            let error = io::Error::other(text.to_string());
            self.fault = Some(Trouble::Pattern(text));
            error
        })
    }

    fn decide(&mut self, head: &PartHead, role: &Role) -> io::Result<Option<Decision>> {
        if *role == Role::Inline && !(self.launcher.inline && head.name.is_some()) {
            return Ok(Some(Decision::Inline));
        }
        let refused = refusal(&self.launcher.filter, &head.file_name());
        Ok(self.pattern(refused)?.map(Decision::Filtered))
    }
}

impl Visitor for Taker<'_> {
    fn message(&mut self, head: &Head) -> io::Result<ControlFlow<()>> {
        self.facts.message_id.clone_from(&head.message_id);
        self.facts.header_digest = Some(head.digest);
        self.facts.from.clone_from(&head.from);
        self.facts.to = (!head.to.is_empty()).then(|| head.to.join("\n"));
        self.facts.subject.clone_from(&head.subject);
        self.facts.date = head.date.map(SystemTime::from);
        let rejection = rejection(self.naming.launcher, head.from.as_deref(), head.subject.as_deref());
        self.rejected = self.pattern(rejection)?.or_else(|| too_old(self.launcher, &self.facts));
        let is_enough = self.rejected.is_some() || self.launcher.take == Take::Message;
        Ok(if is_enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    fn part(&mut self, head: &PartHead) -> io::Result<bool> {
        let Some(role) = head.role.clone() else { return Ok(false) };
        let n = u32::try_from(self.parts.len() + 1).unwrap_or(u32::MAX);
        let decision = self.decide(head, &role)?;
        let wanted = decision.is_none();
        if let (true, Some(damage)) = (wanted, &head.unopened) {
            self.notes.push(about(&head.file_name(), damage));
        }
        if wanted {
            let writer = self.staging.create(format!("{}.{n}", self.naming.short));
            self.current = Some((self.disk(writer)?, head.file_name()));
        }
        self.parts.push(Part {
            n,
            role,
            original_name: Some(head.file_name()),
            media_type: Some(head.media_type.clone()),
            decision: decision.unwrap_or(Decision::Quarantined), // until `end` knows better
        });
        Ok(wanted)
    }

    fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some((writer, _)) = &mut self.current else { return Ok(()) };
        let written = writer.write_all(bytes);
        self.disk(written)
    }

    fn end(&mut self, damage: Option<Damage>) -> io::Result<()> {
        let Some((writer, name)) = self.current.take() else { return Ok(()) };
        let finished = writer.finish();
        let staged = self.disk(finished)?;
        if let Some(damage) = damage {
            let text = about(&name, &damage);
            if damage.is_loss() {
                self.damage.push(text);
                let removed = self.staging.remove(&staged.name);
                return self.disk(removed);
            }
            self.notes.push(text);
        }
        if let Some(part) = self.parts.last_mut() {
            // the message itself comes first
            let n = part.n + u32::from(self.launcher.take == Take::Both);
            let named = Named { n, role: &part.role, name: &name, sha256: staged.sha256 };
            let name = self.naming.document(&self.facts, &named);
            let directory = self.launcher.deliver.clone();
            let Staged { name: staged, size, sha256 } = staged;
            part.decision = Decision::Taken { staged, name, directory, size, sha256 };
        }
        Ok(())
    }

    /// On the volume that has room for documents, not in a `/tmp` that may be memory.
    fn scratch(&mut self) -> io::Result<File> {
        let file = tempfile::tempfile_in(self.staging.dir());
        self.disk(file)
    }
}

/// A reader that takes the digest of what passes.
struct Hashing<R> {
    inner: R,
    hasher: Sha256,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}

/// The entry of an item that failed by itself.
pub(super) fn failed(key: &ItemKey, short: String, why: &Text) -> Entry {
    bare(key, short, Stage::Failed, why.clone())
}

/// The entry of an item that is larger than `max_size`.
pub(super) fn too_large(launcher: &Launcher, key: &ItemKey, short: String, size: u64) -> Entry {
    let (limit, what) = (launcher.max_size, key.words());
    let reason = text!(
        "{what}: {size} bytes, more than max_size ({limit}); it is left at its source, take it from there by hand and raise max_size for those to come",
        "{what} : {size} octets, plus que max_size ({limit}) ; laissé à sa source, prenez-le là à la main et augmentez max_size pour les suivants"
    );
    let mut entry = bare(key, short, Stage::Quarantined, reason);
    entry.facts.size = Some(size);
    entry
}

/// What the ledger is asked for when keys were reissued.
pub(super) fn facts_of(fingerprint: &Fingerprint) -> Facts {
    Facts {
        message_id: fingerprint.message_id.clone(),
        size: fingerprint.size,
        header_digest: Some(fingerprint.header),
        date: fingerprint.date,
        from: fingerprint.from.clone(),
        subject: fingerprint.subject.clone(),
        ..Facts::default()
    }
}

/// The extension under which a whole item is put into quarantine.
pub(super) fn extension(launcher: &Launcher) -> &'static str {
    match launcher.kind {
        Kind::Imap | Kind::Pop3 | Kind::O365 => "eml",
        Kind::Directory | Kind::Adullact => "bin",
    }
}

/// Keeps a copy of a dropped file in the spool.
pub(super) fn copy_to_spool(spool: &Spool, key: &ItemKey, path: &Path) -> io::Result<()> {
    let mut writer = spool.create(key);
    io::copy(&mut File::open(path)?, &mut writer)?;
    writer.finish()?.keep(spool, key)
}

/// Opens a dropped file; what became a pipe since it was listed does not hold up anybody.
fn open_dropped(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed());
    }
    options.read(true).open(path)
}

/// `since` where the server cannot be asked for dates: POP3 has none. When a mail was received is not the sender's to say.
fn too_old(launcher: &Launcher, facts: &Facts) -> Option<String> {
    let since = launcher.since.filter(|_| launcher.kind == Kind::Pop3)?;
    let date = facts.received.or(facts.date)?;
    (date < since.first_moment()?).then(|| "since".to_owned())
}

fn limits(launcher: &Launcher) -> Limits {
    Limits {
        parts: launcher.max_entries,
        nested: launcher.nested,
        levels: launcher.max_depth,
        unpacked: launcher.max_unpacked,
        ..Limits::default()
    }
}

fn about(name: &str, damage: &Damage) -> Text {
    let Text { en, fr } = damage.text();
    text!("{name}: {en}", "{name} : {fr}")
}

/// One text of several, a line each.
fn lines<'a>(texts: impl Iterator<Item = &'a Text>) -> Option<Text> {
    texts.cloned().reduce(|Text { en, fr }, next| {
        let Text { en: more, fr: plus } = next;
        text!("{en}\n{more}", "{fr}\n{plus}")
    })
}

/// The first pattern of `filter_from` or `filter_subject` that does not find what it looks for.
pub(super) fn rejection(
    launcher: &Launcher,
    from: Option<&str>,
    subject: Option<&str>,
) -> Result<Option<String>, Text> {
    let from = launcher.filter_from.iter().map(|pattern| (pattern, "filter_from", from));
    let subject = launcher.filter_subject.iter().map(|pattern| (pattern, "filter_subject", subject));
    for (pattern, option, text) in from.chain(subject) {
        if !pattern.finds(text.unwrap_or_default())? {
            return Ok(Some(format!("{option} = {}", pattern.text)));
        }
    }
    Ok(None)
}

/// The first pattern that refuses a file name.
pub(super) fn refusal(filter: &[Pattern], name: &str) -> Result<Option<String>, Text> {
    for pattern in filter {
        if !pattern.takes(name)? {
            return Ok(Some(pattern.text.clone()));
        }
    }
    Ok(None)
}

pub(super) fn stage_of(parts: &[Part]) -> Stage {
    let any = |wanted: fn(&Decision) -> bool| parts.iter().any(|part| wanted(&part.decision));
    if any(|decision| matches!(decision, Decision::Taken { .. })) {
        Stage::Recorded
    } else if any(|decision| *decision == Decision::Quarantined) {
        Stage::Quarantined
    } else {
        Stage::Empty
    }
}

pub(super) fn bare(key: &ItemKey, short: String, stage: Stage, reason: Text) -> Entry {
    let (facts, parts) = (Facts::default(), Vec::new());
    Entry { key: key.clone(), short, stage, reason: Some(reason), facts, parts, contents: None, settled: false }
}

pub(super) fn unreadable(path: &Path, error: &io::Error) -> Text {
    let (path, Text { en, fr }) = (path.display(), Text::io(error));
    text!(
        "{path}: the dropped file cannot be read: {en}; check the rights of this user",
        "{path} : impossible de lire le fichier déposé : {fr} ; vérifiez les droits de cet utilisateur"
    )
}

const BUFFER: usize = 64 * 1024;
