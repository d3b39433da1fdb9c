//! Units of work: which files of a drop directory belong together.
//!
//! Not their content: what a deposit is, and whether all of it is there, is told by `document::envelope`. Here names,
//! sizes and times count, and of loose files alone what they say about each other ([`loose`](super::loose)). A deposit is
//! read in place, so a unit remembers what each of its files looked like. Links are never followed.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::loose::{self, Said};
use crate::delivery::stamp::Stamp;
use crate::document::envelope::limits::Limits;
use crate::document::envelope::{Deposit, Member, is_junk, is_marker};
use crate::model::{Digest, EnvelopeKind};
use crate::source::dropped::{nanoseconds, own_name};
use crate::text;
use crate::text::Text;

/// What a launcher says about its deposits.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    /// `source`.
    pub(super) dir: PathBuf,
    /// `end_marker`.
    pub(super) end_marker: Option<String>,
    /// `max_entries` and the like.
    pub(super) limits: Limits,
    /// `alias`.
    pub(super) aliases: Vec<(String, EnvelopeKind)>,
}

/// A unit of work.
#[derive(Clone, Debug)]
pub(super) struct Unit {
    /// The directory, the archive, the file; of loose files the one that names the others.
    pub(super) path: PathBuf,
    /// How it lies there.
    pub(super) shape: Shape,
    /// Its files, an end marker among them under a name that is known for one.
    pub(super) deposit: Deposit,
    /// What each of them looks like.
    pub(super) stamps: Vec<Stamp>,
    /// What goes with it and is no part of it: junk, links.
    pub(super) others: Vec<(PathBuf, Stamp)>,
    /// Its directories, the outer ones first.
    pub(super) dirs: Vec<(PathBuf, Stamp)>,
    /// An end marker is there.
    pub(super) ended: bool,
    /// A file of it is just being transferred.
    pub(super) growing: bool,
    /// Why it cannot be read as a whole.
    pub(super) trouble: Option<Text>,
    /// All that is known from outside, as one value: paths, sizes and times.
    pub(super) look: Digest,
}

/// How a unit lies in the drop directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// A directory.
    Directory,
    /// An archive, or a file of its own.
    File,
    /// Files side by side that belong together.
    Loose,
}

impl Unit {
    fn new(path: &Path, shape: Shape) -> Self {
        Self {
            path: path.to_owned(),
            shape,
            deposit: Deposit { name: own_name(path), members: Vec::new() },
            stamps: Vec::new(),
            others: Vec::new(),
            dirs: Vec::new(),
            ended: false,
            growing: false,
            trouble: None,
            look: Digest::of(b""),
        }
    }

    /// A unit of files of the drop directory itself.
    pub(super) fn of_files(path: &Path, files: &[(PathBuf, Stamp)], marker: Option<&(PathBuf, Stamp)>) -> Self {
        let shape = if files.len() > 1 || marker.is_some() { Shape::Loose } else { Shape::File };
        let mut unit = Self::new(path, shape);
        for (path, stamp) in files {
            unit.add(own_name(path), path.clone(), *stamp);
        }
        if let Some((path, stamp)) = marker {
            unit.add(MARKER.to_owned(), path.clone(), *stamp);
            unit.ended = true;
        }
        unit.look = unit.looked();
        unit
    }

    /// The unit that a directory is, as it looks now.
    ///
    /// # Errors
    /// The directory itself, or one below it, cannot be read.
    pub(super) fn of_directory(path: &Path, rules: &Rules) -> io::Result<Self> {
        let mut unit = Self::new(path, Shape::Directory);
        unit.walk(path, 0, false, rules)?;
        unit.look = unit.looked();
        Ok(unit)
    }

    /// Bytes of all its files.
    pub(super) fn size(&self) -> u64 {
        self.stamps.iter().map(|stamp| stamp.size).sum()
    }

    /// When its newest file was last modified.
    pub(super) fn modified(&self) -> SystemTime {
        self.stamps.iter().map(|stamp| stamp.modified).max().unwrap_or(UNIX_EPOCH)
    }

    /// The stamps of everything that a change of it would change.
    pub(super) fn all_stamps(&self) -> Vec<Stamp> {
        let beside = self.others.iter().chain(&self.dirs).map(|(_, stamp)| *stamp);
        self.stamps.iter().copied().chain(beside).collect()
    }

    /// All files that go when it goes.
    pub(super) fn files(&self) -> impl Iterator<Item = (&PathBuf, &Stamp)> {
        let members = self.deposit.members.iter().map(|member| &member.path).zip(&self.stamps);
        members.chain(self.others.iter().map(|(path, stamp)| (path, stamp)))
    }

    /// Whether it looks as it did.
    pub(super) fn is_unchanged(&self, rules: &Rules) -> bool {
        match self.shape {
            Shape::Directory => Self::of_directory(&self.path, rules).is_ok_and(|now| now.look == self.look),
            Shape::File | Shape::Loose => self.files().all(|(path, stamp)| is_same(path, stamp)),
        }
    }

    /// Of a directory: everything below it; `None` where it holds so much that not all of it was listed.
    pub(super) fn listing(&self, max_entries: usize) -> Option<BTreeSet<PathBuf>> {
        let is_known = self.shape == Shape::Directory && self.deposit.members.len() <= max_entries;
        let dirs = self.dirs.iter().map(|(path, _)| path).filter(|path| **path != self.path);
        (is_known && self.trouble.is_none()).then(|| self.files().map(|(path, _)| path).chain(dirs).cloned().collect())
    }

    fn add(&mut self, name: String, path: PathBuf, stamp: Stamp) {
        self.deposit.members.push(Member { name, path, size: stamp.size, body: None });
        self.stamps.push(stamp);
    }

    fn walk(&mut self, dir: &Path, depth: usize, junk: bool, rules: &Rules) -> io::Result<()> {
        self.dirs.push((dir.to_owned(), Stamp::of(dir)?));
        if depth > DEEPEST {
            self.trouble.get_or_insert(text!(
                "its directories are more than {DEEPEST} deep",
                "ses répertoires ont plus de {DEEPEST} niveaux"
            ));
            return Ok(());
        }
        for path in sorted(dir)? {
            let limit = rules.limits.max_entries;
            if self.deposit.members.len() > limit {
                return Ok(()); // one too many is enough to be refused
            }
            if self.others.len() + self.dirs.len() > limit.max(LEAST) {
                self.trouble.get_or_insert(text!(
                    "it holds more than {limit} entries (max_entries)",
                    "il contient plus de {limit} entrées (max_entries)"
                ));
                return Ok(());
            }
            // a file may vanish between the listing and this look
            let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
            let (name, stamp) = (own_name(&path), Stamp::from_metadata(&metadata)?);
            let junk = junk || is_left_alone(&name);
            if metadata.is_dir() {
                self.walk(&path, depth + 1, junk, rules)?;
            } else if junk || !metadata.is_file() {
                self.growing |= is_transfer(&name);
                self.others.push((path, stamp));
            } else if is_marker(&name, rules.end_marker.as_deref()) {
                self.ended = true;
                self.add(MARKER.to_owned(), path, stamp);
            } else {
                self.add(name, path, stamp);
            }
        }
        Ok(())
    }

    fn looked(&self) -> Digest {
        let mut all = Vec::new();
        let dirs = self.dirs.iter().map(|(path, stamp)| (path, stamp));
        for (path, stamp) in self.files().chain(dirs) {
            // below the drop directory: that may be mounted elsewhere one day
            let own = path.strip_prefix(self.path.parent().unwrap_or(Path::new(""))).unwrap_or(path);
            all.extend_from_slice(own.as_os_str().as_encoded_bytes());
            let (modified, changed) = (nanoseconds(stamp.modified), stamp.changed.unwrap_or_default());
            all.extend_from_slice(format!("\0{} {modified} {changed}\0", stamp.size).as_bytes());
        }
        Digest::of(&all)
    }
}

/// Directories that could not be read, and why.
pub(super) type Unreadable = Vec<(PathBuf, io::Error)>;

/// Lists the units of the drop directory; `passed_over` is left out. A directory that cannot be read holds up no other: it is
/// among the second list.
///
/// # Errors
/// The drop directory cannot be read.
pub(super) fn scan(
    rules: &Rules,
    said: &mut Said,
    passed_over: &HashSet<PathBuf>,
) -> io::Result<(Vec<Unit>, Unreadable)> {
    let dir = fs::canonicalize(&rules.dir)?;
    let (mut units, mut unreadable, mut files, mut markers) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for path in sorted(&dir)? {
        let name = own_name(&path);
        if name.starts_with('.') || is_left_alone(&name) || passed_over.contains(&path) {
            continue;
        }
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        if metadata.is_dir() {
            match Unit::of_directory(&path, rules) {
                Ok(unit) if unit.deposit.members.is_empty() && unit.trouble.is_none() => {} // nothing has arrived yet
                Ok(unit) => units.push(unit),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => unreadable.push((path, error)),
            }
        } else if metadata.is_file() {
            let stamp = Stamp::from_metadata(&metadata)?;
            let list = if is_marker(&name, rules.end_marker.as_deref()) { &mut markers } else { &mut files };
            list.push((path, stamp));
        }
    }
    units.extend(loose::units(&files, &markers, said));
    Ok((units, unreadable))
}

/// Whether the file is still the one that was looked at.
pub(super) fn is_same(path: &Path, stamp: &Stamp) -> bool {
    Stamp::of(path).is_ok_and(|now| now == *stamp)
}

/// Names that are no deposit and no part of one.
fn is_left_alone(name: &str) -> bool {
    is_junk(name) || is_transfer(name)
}

/// Names that transfers give a file until it is whole.
fn is_transfer(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    TRANSFERS.iter().any(|ending| name.ends_with(ending))
}

fn sorted(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

/// The name under which every end marker is handed on, whatever it is called here (facts, A.1: generation 2).
const MARKER: &str = "fichier_termine.txt";
/// Directories below one another; a tree that is deeper is no deposit.
const DEEPEST: usize = 64;
/// Directories and junk that are looked through in any case.
const LEAST: usize = 1_000;
/// SFTP of Pastell and rsync, programs in general, `WinSCP`.
const TRANSFERS: [&str; 3] = [".part", ".tmp", ".filepart"];
