//! One mail or envelope taken apart into a directory: `pertuis decode`.
//!
//! Not a launcher: no ledger, no state, no source. Staging, names and index are a launcher's, with its default options and
//! the documents under their own names. All or nothing: what cannot be decoded leaves the directory as it was.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::envelope::{Dropped, Stager, Taken, counted, limits, report, shown, staged_name, take};
use super::naming::{FreeNames, Naming};
use super::ready::Desk;
use super::stage::{Taker, Trouble};
use crate::config::launcher::{Index, Kind};
use crate::config::template::Template;
use crate::config::{Launcher, Overrides, load_bytes};
use crate::delivery::ledger::{Contents, Decision, Entry, Facts, Part, Stage};
use crate::delivery::spool::SpoolFile;
use crate::delivery::staging::Staging;
use crate::delivery::{Published, publish, sync_directory};
use crate::document::envelope::{Deposit, Envelope, Error, Member, decode as decode_envelope, is_junk, is_marker};
use crate::model::{Digest, ItemKey};
use crate::text;
use crate::text::Text;

/// What was written.
#[derive(Debug)]
pub struct Decoded {
    /// The files, the index last.
    pub files: Vec<PathBuf>,
    /// What was found, what is missing, what else was noticed.
    pub report: Text,
}

/// Decodes the .eml, the envelope or the directory at `path` into `to`, which is made when it is missing. Files first, the
/// index last, none replacing what is there.
///
/// # Errors
/// Why it cannot be decoded, or written. Nothing is left in `to` then.
pub fn decode(path: &Path, to: &Path) -> Result<Decoded, Text> {
    let dropped = dropped(path).map_err(|error| cannot_read(path, &error))?;
    let mail = is_mail(&dropped).map_err(|error| cannot_read(path, &error))?;
    let launcher = launcher(to, mail)?;
    if dropped.size() > launcher.max_size {
        let (path, size, most) = (path.display(), dropped.size(), launcher.max_size);
        return Err(text!(
            "{path}: {size} bytes, more than {most} are not taken",
            "{path} : {size} octets, au-delà de {most} rien n'est pris"
        ));
    }
    let made = make(to).map_err(|error| cannot_write(to, &error))?;
    let done = decode_into(&launcher, &dropped, path, mail);
    if done.is_err() {
        // what somebody else put there meanwhile stays
        made.iter().rev().try_for_each(fs::remove_dir).unwrap_or_default();
    }
    done
}

fn decode_into(launcher: &Launcher, dropped: &Dropped, path: &Path, mail: bool) -> Result<Decoded, Text> {
    let to = &launcher.deliver;
    let write = |error: io::Error| cannot_write(to, &error);
    let scratch = tempfile::Builder::new().prefix(".pertuis-").tempdir_in(to).map_err(write)?;
    let staging = Staging::open(scratch.path(), scratch.path(), &launcher.name).map_err(write)?;
    let mut entry =
        if mail { stage_mail(launcher, &staging, path)? } else { stage_envelope(launcher, &staging, dropped, path)? };
    let report = told(&entry);
    let (mut names, promised) = (FreeNames::default(), HashSet::new());
    let mut desk = Desk { launcher, staging: &staging, names: &mut names, promised, nobody: true };
    desk.make_ready(&mut entry).map_err(write)?;
    staging.sync_files(&entry.staged().collect::<Vec<_>>(), &[]).map_err(write)?;
    let files = publish_all(&staging, &entry)?;
    sync_directory(to).map_err(write)?;
    Ok(Decoded { files, report })
}

/// Gives all files their names; one that cannot have its own takes the others back.
fn publish_all(staging: &Staging, entry: &Entry) -> Result<Vec<PathBuf>, Text> {
    let mut done = Vec::new();
    for part in &entry.parts {
        let Decision::Taken { staged, name, directory, .. } = &part.decision else { continue };
        let target = directory.join(name);
        let result = match publish(&staging.path(staged), &target) {
            Ok(Published::Done) => Ok(()),
            Ok(Published::Taken) => Err(io::Error::from(io::ErrorKind::AlreadyExists)),
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            for file in &done {
                let _ = fs::remove_file(file); // the first failure is the one that is told
            }
            return Err(cannot_write(&target, &error));
        }
        done.push(target);
    }
    Ok(done)
}

fn stage_envelope(launcher: &Launcher, staging: &Staging, dropped: &Dropped, path: &Path) -> Result<Entry, Text> {
    let mut store = Stager::new(staging, SHORT);
    let envelope = decode_envelope(&dropped.deposit, &limits(launcher), &launcher.alias, &mut store);
    let envelope: Envelope = envelope.map_err(|error| match error {
        Error::Refused(Text { en, fr }) => {
            let path = path.display();
            text!("{path}: cannot be decoded: {en}", "{path} : décodage impossible : {fr}")
        }
        Error::Read(error) => cannot_read(path, &error),
        Error::Store(error) => cannot_write(&launcher.deliver, &error),
    })?;
    store.clear(&envelope.files.iter().map(|file| staged_name(&file.body)).collect());
    if envelope.files.is_empty() {
        let path = path.display();
        return Err(text!("{path}: it holds no document", "{path} : il ne contient aucun document"));
    }
    let naming = Naming { launcher, short: SHORT, uid: "", kind: envelope.kind.as_str() };
    let mut facts = dropped.facts(&ItemKey::new(""));
    let taken = take(staging, &naming, &dropped.deposit.name, &mut facts, envelope);
    let Taken { parts, contents } = taken.map_err(|error| cannot_write(&launcher.deliver, &error))??;
    let mut digests: Vec<Digest> = parts.iter().filter_map(sha256).collect();
    digests.sort();
    let digest = Digest::of(&digests.iter().flat_map(|digest| digest.0).collect::<Vec<_>>());
    Ok(entry(digest, facts, parts, None, Some(contents)))
}

fn stage_mail(launcher: &Launcher, staging: &Staging, path: &Path) -> Result<Entry, Text> {
    let file = SpoolFile::at(path.to_owned()).ok_or_else(|| cannot_read(path, &io::ErrorKind::NotFound.into()))?;
    let naming = Naming { launcher, short: SHORT, uid: "", kind: "mail" };
    let mut taker = Taker::new(naming, staging, Facts::default());
    let walked = taker.walk(&file);
    let Taker { parts, mut facts, fault, mut damage, notes, .. } = taker;
    match fault {
        Some(Trouble::Disk(fault)) => return Err(fault.text),
        Some(Trouble::Pattern(text)) => return Err(text),
        None => {}
    }
    let (found, digest) = walked.map_err(|error| cannot_read(path, &error))?;
    let losses: Vec<&Text> = found.iter().filter(|(is_loss, _)| *is_loss).map(|(_, text)| text).collect();
    let shown = path.display();
    if let Some(Text { en, fr }) = losses.first() {
        return Err(text!("{shown}: cannot be decoded: {en}", "{shown} : décodage impossible : {fr}"));
    }
    if facts.from.is_none() && facts.subject.is_none() && facts.message_id.is_none() && facts.date.is_none() {
        return Err(text!(
            "{shown}: no message: it has none of From, Subject, Date, Message-ID",
            "{shown} : pas un message : ni From, ni Subject, ni Date, ni Message-ID"
        ));
    }
    damage.extend(notes);
    damage.extend(found.into_iter().map(|(_, text)| text));
    facts.size = Some(file.size);
    let reason = damage.into_iter().reduce(|Text { en, fr }, more| {
        let Text { en: next, fr: suivant } = more;
        text!("{en}\n{next}", "{fr}\n{suivant}")
    });
    Ok(entry(digest, facts, parts, reason, None))
}

fn entry(digest: Digest, facts: Facts, parts: Vec<Part>, reason: Option<Text>, contents: Option<Contents>) -> Entry {
    let key = ItemKey::new(serde_json::json!(["decode", digest.to_string()]).to_string());
    let short = key.short("");
    Entry { key, short, stage: Stage::Recorded, reason, facts, parts, contents, settled: false }
}

fn sha256(part: &Part) -> Option<Digest> {
    match &part.decision {
        Decision::Taken { sha256, .. } => Some(*sha256),
        _ => None,
    }
}

fn told(entry: &Entry) -> Text {
    if let Some(contents) = &entry.contents {
        return report(&entry.parts, contents);
    }
    let taken: Vec<_> = entry.parts.iter().filter(|part| part.staged().is_some()).collect();
    let damaged = entry.parts.iter().filter(|part| part.decision == Decision::Quarantined);
    let damaged: Vec<_> = damaged.filter_map(|part| part.original_name.clone()).collect();
    let (count, roles) = (taken.len(), counted(taken.iter().map(|part| part.role.as_str())));
    let Text { mut en, mut fr } = match count {
        0 => text!("mail, no file is attached", "courriel, aucune pièce jointe"),
        _ => text!("mail, {count} file(s) found ({roles})", "courriel, {count} fichier(s) trouvé(s) ({roles})"),
    };
    if !damaged.is_empty() {
        let names = shown(&damaged);
        (en, fr) = (format!("{en}; missing: {names}").into(), format!("{fr} ; manque : {names}").into());
    }
    if let Some(reason) = &entry.reason {
        let (more, plus) = (reason.en.replace('\n', "; "), reason.fr.replace('\n', " ; "));
        (en, fr) = (format!("{en}; {more}").into(), format!("{fr} ; {plus}").into());
    }
    Text { en, fr }
}

/// A launcher with default options, its documents under their own names beside an `index.json`.
fn launcher(to: &Path, mail: bool) -> Result<Launcher, Text> {
    let wrong = |why: &dyn std::fmt::Display| text!("the defaults are wrong: {why}", "les défauts sont faux : {why}");
    let config = load_bytes(Path::new("decode"), DEFAULTS, &Overrides::default());
    let config = config.map_err(|remarks| match remarks.first() {
        Some(remark) => remark.text.clone(),
        None => wrong(&"?"),
    })?;
    let launcher = config.launchers.into_iter().next().ok_or_else(|| wrong(&"?"))?;
    let kind = if mail { Kind::Imap } else { launcher.kind };
    let to = std::path::absolute(to).map_err(|error| cannot_write(to, &error))?;
    Ok(Launcher { kind, deliver: to, template: Template::own_name(), folder: None, index: Index::Json, ..launcher })
}

/// What lies at `path`, as a launcher would find it.
fn dropped(path: &Path) -> io::Result<Dropped> {
    let real = fs::canonicalize(path)?;
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut members = Vec::new();
    if real.is_dir() {
        collect(&real, DEEPEST, &mut members)?;
    } else {
        members.push(Member::at(&real, &name(&real))?);
    }
    Dropped::of_copy(name(&real), real, members)
}

/// The files of a directory and of those in it, in the order of their names; no links, no end markers, no junk.
fn collect(dir: &Path, deepest: usize, members: &mut Vec<Member>) -> io::Result<()> {
    let mut entries = fs::read_dir(dir)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (name, kind) = (entry.file_name().to_string_lossy().into_owned(), entry.file_type()?);
        if is_junk(&name) || is_marker(&name, None) {
            continue;
        }
        if kind.is_dir() && deepest > 0 {
            collect(&entry.path(), deepest - 1, members)?;
        } else if kind.is_file() {
            members.push(Member::at(&entry.path(), &name)?);
        }
    }
    Ok(())
}

/// Whether it is a message: by its extension, else because it begins with a field of a header.
fn is_mail(dropped: &Dropped) -> io::Result<bool> {
    let Deposit { name, members } = &dropped.deposit;
    let [member] = members.as_slice() else { return Ok(false) };
    if member.path != dropped.path {
        return Ok(false);
    }
    if name.to_ascii_lowercase().ends_with(".eml") {
        return Ok(true);
    }
    let mut head = Vec::new();
    File::open(&member.path)?.take(LONGEST_FIELD).read_to_end(&mut head)?;
    let field = head.split(|byte| *byte == b':').next().unwrap_or_default();
    Ok(field.len() < head.len() && FIELDS.iter().any(|known| field.eq_ignore_ascii_case(known.as_bytes())))
}

/// Makes a directory; answers what had to be made, the outermost first.
fn make(to: &Path) -> io::Result<Vec<PathBuf>> {
    let to = std::path::absolute(to)?;
    let mut missing: Vec<PathBuf> = to.ancestors().take_while(|path| !path.exists()).map(Path::to_owned).collect();
    missing.reverse();
    fs::create_dir_all(&to)?;
    Ok(missing)
}

fn cannot_read(path: &Path, error: &io::Error) -> Text {
    let (path, Text { en, fr }) = (path.display(), Text::io(error));
    text!("{path}: cannot be read: {en}", "{path} : lecture impossible : {fr}")
}

fn cannot_write(path: &Path, error: &io::Error) -> Text {
    let (path, Text { en, fr }) = (path.display(), Text::io(error));
    text!(
        "{path}: cannot be written: {en}; nothing was left there",
        "{path} : écriture impossible : {fr} ; rien n'y a été laissé"
    )
}

/// What staged files are called after.
const SHORT: &str = "decode";
const DEFAULTS: &[u8] = b"[decode]\nlauncher = adullact\nsource = source\ndeliver = deliver\n";
/// Folders below one another in a deposit.
const DEEPEST: usize = 8;
/// The first fields of messages that were saved without an extension.
const FIELDS: [&str; 12] = [
    "return-path",
    "delivered-to",
    "received",
    "from",
    "to",
    "date",
    "subject",
    "message-id",
    "mime-version",
    "x-mozilla-status",
    "dkim-signature",
    "arc-seal",
];
const LONGEST_FIELD: u64 = 64;
