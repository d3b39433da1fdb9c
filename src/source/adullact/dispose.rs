//! How a deposit that was delivered is put away: deleted, or moved to another directory.
//!
//! Half of a deposit must never be taken for a new one. One file, and one directory within a volume, go in one step; for
//! the others a plan is written beside them first, which the next cycle carries out should this one not come to its end.
//! Whatever happens in between, nothing goes that is not the very file that was delivered.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Component, Path, PathBuf};

use super::units::{Rules, Shape, Unit, is_same};
use crate::delivery::stamp::Stamp;
use crate::delivery::{Published, publish, replace, sync_directory};
use crate::document::names::numbered;
use crate::model::{Digest, Disposition};
use crate::source::dropped::{move_to, nanoseconds, not_put_away, path_from_json, path_to_json};
use crate::text;
use crate::text::Text;

/// Puts a unit away, unless it has gone or no longer is what was delivered; without the files that another deposit needs too.
///
/// # Errors
/// What the file system says; what was done until then is gone on with by [`resume`].
pub(super) fn dispose(unit: &Unit, what: &Disposition, needed: &HashSet<PathBuf>, rules: &Rules) -> io::Result<()> {
    if !unit.is_unchanged(rules) {
        return Ok(());
    }
    let to = match what {
        Disposition::Delete => None,
        Disposition::Move(dir) => Some(Path::new(dir)),
        Disposition::Leave | Disposition::Seen | Disposition::Flag | Disposition::Category(_) => return Ok(()),
    };
    match (unit.shape, to) {
        (Shape::File, None) if needed.is_empty() => fs::remove_file(&unit.path),
        (Shape::File, Some(to)) if needed.is_empty() => move_to(&unit.path, to),
        (Shape::Directory, Some(to)) => move_directory(unit, to),
        _ => {
            let plan = Plan::of(unit, to, needed);
            let path = plan.write(&unit.path)?;
            plan.carry_out(root_of(unit))?;
            fs::remove_file(path)?;
            sync_directory(root_of(unit))
        }
    }
}

/// Writes the plan for deleting a unit and stops there: an interruption.
#[cfg(test)]
pub(super) fn begin(unit: &Unit) -> io::Result<PathBuf> {
    Plan::of(unit, None, &HashSet::new()).write(&unit.path)
}

/// What the plans in `dir` are about: half put away by an interruption, or just now by another launcher.
pub(super) fn under_way(dir: &Path) -> HashSet<PathBuf> {
    plans(dir).flat_map(|(_, plan)| plan.top(dir)).collect()
}

/// Carries out the plans that an interruption left in `dir`, where they are ours, whatever `after` says by now: the deposit
/// was delivered, and half of it must not lie there. But nothing is moved to a place that none of `ways`, which are `after`
/// and `after_empty`, names. Answers what could not be done.
pub(super) fn resume(dir: &Path, ways: &[Disposition]) -> Vec<Text> {
    let mut trouble = Vec::new();
    for (path, plan) in plans(dir) {
        if !plan.may_be_carried_out(ways) {
            trouble.push(given_up(&path));
            continue;
        }
        match plan.carry_out(dir).and_then(|()| fs::remove_file(&path)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {} // another launcher did it
            Err(error) => trouble.push(not_put_away(&path, &error).text),
        }
    }
    trouble
}

fn plans(dir: &Path) -> impl Iterator<Item = (PathBuf, Plan)> {
    let is_plan = |name: &OsStr| name.to_str().is_some_and(|name| name.starts_with(PREFIX) && name.ends_with(PLAN));
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let paths = entries.filter(move |entry| is_plan(&entry.file_name())).map(|entry| entry.path());
    paths.filter_map(|path| Plan::read(&path).map(|plan| (path, plan)))
}

/// That a plan moves to where `after` does not any more.
fn given_up(path: &Path) -> Text {
    let path = path.display();
    text!(
        "{path}: a delivered deposit was being moved when pertuis was interrupted, and `after` no longer names that place: the rest of it is passed over. Set `after` back for one cycle, or put the rest away by hand and remove this file",
        "{path} : un dépôt livré était en cours de déplacement lors d'une interruption, et `after` ne désigne plus cet endroit : le reste est laissé de côté. Rétablissez `after` le temps d'un cycle, ou rangez le reste à la main et supprimez ce fichier"
    )
}

/// What is to go: written before the first of it goes.
#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Plan {
    /// Where to; absent: deleted.
    to: Option<serde_json::Value>,
    /// Its files, below the drop directory, each with its size and its modification time.
    files: Vec<(serde_json::Value, u64, String)>,
    /// Its directories, the inner ones first.
    dirs: Vec<serde_json::Value>,
}

impl Plan {
    fn of(unit: &Unit, to: Option<&Path>, needed: &HashSet<PathBuf>) -> Self {
        let own = |path: &Path| path_to_json(path.strip_prefix(root_of(unit)).unwrap_or(path));
        let files = unit.files().filter(|(path, _)| !needed.contains(*path));
        Self {
            to: to.map(path_to_json),
            files: files
                .map(|(path, stamp)| (own(path), stamp.size, nanoseconds(stamp.modified).to_string()))
                .collect(),
            dirs: unit.dirs.iter().rev().map(|(path, _)| own(path)).collect(),
        }
    }

    /// Writes it beside what it is about: whole or not at all.
    fn write(&self, about: &Path) -> io::Result<PathBuf> {
        let dir = about.parent().unwrap_or(Path::new("."));
        let digest = Digest::of(about.as_os_str().as_encoded_bytes()).to_string();
        let path = dir.join(format!("{PREFIX}{}{PLAN}", &digest[..16]));
        let unfinished = path.with_extension("part");
        fs::remove_file(&unfinished).or_else(already)?; // of an interruption
        // whoever may drop files must not have us write elsewhere, through a link
        let mut file = File::create_new(&unfinished)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_all()?;
        replace(&unfinished, &path)?;
        sync_directory(dir)?;
        Ok(path)
    }

    /// Reads one that we wrote ourselves: whoever may drop files must not make us delete others.
    fn read(path: &Path) -> Option<Self> {
        let seen = fs::symlink_metadata(path).ok().filter(fs::Metadata::is_file)?;
        let file = File::open(path).ok()?;
        let metadata = file.metadata().ok()?;
        let is_it = Stamp::from_metadata(&metadata).ok()? == Stamp::from_metadata(&seen).ok()?;
        if !is_it || !is_ours(&metadata) || metadata.len() > LARGEST {
            return None;
        }
        let mut bytes = Vec::new();
        file.take(LARGEST).read_to_end(&mut bytes).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    fn may_be_carried_out(&self, ways: &[Disposition]) -> bool {
        let Some(to) = self.to.as_ref() else { return true };
        let to = path_from_json(to);
        ways.iter().any(|way| matches!((way, &to), (Disposition::Move(dir), Some(to)) if Path::new(dir) == to))
    }

    /// Removes or moves what is still there and unchanged, then the directories that are empty.
    fn carry_out(&self, dir: &Path) -> io::Result<()> {
        let to = self.to.as_ref().and_then(path_from_json);
        for (own, size, modified) in &self.files {
            let Some(path) = path_from_json(own).and_then(|own| below(dir, &own)) else { continue };
            let is_it = |stamp: &Stamp| stamp.size == *size && nanoseconds(stamp.modified).to_string() == *modified;
            if !Stamp::of(&path).is_ok_and(|stamp| is_it(&stamp)) {
                continue;
            }
            let gone = match &to {
                None => fs::remove_file(&path),
                Some(to) => move_to(&path, to),
            };
            gone.or_else(already)?;
        }
        for own in &self.dirs {
            if let Some(path) = path_from_json(own).and_then(|own| below(dir, &own)) {
                fs::remove_dir(&path).or_else(already)?;
            }
        }
        Ok(())
    }

    /// What it is about, as it stands in the drop directory.
    fn top(&self, dir: &Path) -> Vec<PathBuf> {
        let own = self.files.iter().map(|(own, ..)| own).chain(&self.dirs);
        let tops = own.filter_map(path_from_json).filter_map(|own| Some(dir.join(own.components().next()?)));
        tops.collect()
    }
}

/// Moves a directory in one step where it can be; else a copy of it appears in one step, and then the original goes.
fn move_directory(unit: &Unit, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    let name = unit.path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy().into_owned();
    match publish_under_free_name(&unit.path, to, &name) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {}
        other => return other,
    }
    let copy = to.join(format!(".{name}.part"));
    if copy.exists() {
        fs::remove_dir_all(&copy)?; // of an earlier try
    }
    for (dir, _) in &unit.dirs {
        fs::create_dir(copy.join(dir.strip_prefix(&unit.path).unwrap_or(Path::new(""))))?;
    }
    for (path, stamp) in unit.files() {
        let target = copy.join(path.strip_prefix(&unit.path).unwrap_or(path));
        if fs::symlink_metadata(path)?.is_file() {
            fs::copy(path, &target)?;
            File::open(&target)?.sync_all()?;
        }
        if !is_same(path, stamp) {
            fs::remove_dir_all(&copy)?;
            return Ok(()); // it changed meanwhile: no longer what was delivered
        }
    }
    publish_under_free_name(&copy, to, &name)?;
    let plan = Plan::of(unit, None, &HashSet::new());
    let path = plan.write(&unit.path)?;
    plan.carry_out(root_of(unit))?;
    fs::remove_file(path)
}

fn publish_under_free_name(path: &Path, dir: &Path, name: &str) -> io::Result<()> {
    for n in 1.. {
        if publish(path, &dir.join(numbered(name, n)))? == Published::Done {
            break;
        }
    }
    sync_directory(dir)
}

/// `own` below `dir`, if it really is: no way out of it, and none through a link.
fn below(dir: &Path, own: &Path) -> Option<PathBuf> {
    let mut path = dir.to_owned();
    for component in own.components() {
        let Component::Normal(name) = component else { return None };
        if path != dir && !fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir()) {
            return None;
        }
        path.push(name);
    }
    (path != dir).then_some(path)
}

/// What is gone is done; a directory in which something new lies stays, and what is none.
fn already(error: io::Error) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotADirectory => Ok(()),
        _ => Err(error),
    }
}

#[cfg(unix)]
fn is_ours(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    metadata.uid() == rustix::process::geteuid().as_raw()
}

#[cfg(not(unix))]
fn is_ours(_: &fs::Metadata) -> bool {
    true // owners are no numbers here; `below` and the comparison of each file hold all the same
}

fn root_of(unit: &Unit) -> &Path {
    unit.path.parent().unwrap_or(Path::new("."))
}

/// A plan's name begins with a dot: it is no deposit.
const PREFIX: &str = ".pertuis-";
const PLAN: &str = ".plan";
/// 20 000 entries with long names.
const LARGEST: u64 = 32 << 20;
