//! Files that lie side by side in the drop directory: which of them belong together.
//!
//! Not a guess from names: a metadata file of Pastell (its mode 3) lists the others, an ACTES envelope names its messages,
//! and a message its documents. What nobody names is a deposit of its own. Each file is asked once, as long as it looks
//! the same.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufReader, Read as _};
use std::path::{Path, PathBuf};

use super::units::Unit;
use crate::delivery::stamp::Stamp;
use crate::document::envelope::pastell::{self, Metadata};
use crate::document::envelope::{actes, xml};
use crate::source::dropped::own_name;

/// What each file said about others when it was asked.
#[derive(Debug, Default)]
pub(super) struct Said(HashMap<PathBuf, (Stamp, Names)>);

/// The files that a file names.
#[derive(Clone, Debug)]
enum Names {
    /// None.
    None,
    /// A message of ACTES, by its `NomFichier`.
    Message(Vec<String>),
    /// A metadata file of Pastell, without its fields.
    Metadata(Metadata),
}

/// The units that these files of one directory are; `markers` are the end markers among them.
pub(super) fn units(files: &[(PathBuf, Stamp)], markers: &[(PathBuf, Stamp)], said: &mut Said) -> Vec<Unit> {
    let there: HashSet<&PathBuf> = files.iter().map(|(path, _)| path).collect();
    said.0.retain(|path, _| there.contains(path));
    let names: Vec<Names> = files.iter().map(|(path, stamp)| said.of(path, *stamp)).collect();
    let sets = sets(&files.iter().map(|(path, _)| own_name(path)).collect::<Vec<_>>(), &names);
    let several = sets.iter().filter(|set| set.len() > 1).count();
    let unit = |set: Vec<usize>| {
        let own: Vec<(PathBuf, Stamp)> = set.iter().map(|index| files[*index].clone()).collect();
        // an end marker says nothing where it could belong to several
        let newest = own.iter().map(|(_, stamp)| stamp.modified).max();
        let ends = |(_, marker): &&(PathBuf, Stamp)| newest.is_some_and(|newest| marker.modified >= newest);
        let marker = markers.iter().find(ends).filter(|_| several == 1 && set.len() > 1);
        Unit::of_files(&own[0].0, &own, marker)
    };
    sets.into_iter().map(unit).collect()
}

/// The sets of files, each with the one that names the others in front.
fn sets(names: &[String], said: &[Names]) -> Vec<Vec<usize>> {
    let named = named(names, said);
    let mut is_named = vec![false; names.len()];
    for other in named.iter().flatten() {
        is_named[*other] = true;
    }
    let mut taken = vec![false; names.len()];
    let mut sets = Vec::new();
    // those that nobody names, then those that name each other in a ring, metadata first
    let ring = |index: &usize| !matches!(said[*index], Names::Metadata(_));
    let mut rest: Vec<usize> = (0..names.len()).filter(|index| is_named[*index]).collect();
    rest.sort_by_key(ring);
    for root in (0..names.len()).filter(|index| !is_named[*index]).chain(rest) {
        if is_named[root] && taken[root] {
            continue;
        }
        let mut set = vec![root];
        let mut known = HashSet::from([root]);
        let mut next = 0;
        while let Some(index) = set.get(next).copied() {
            next += 1;
            for other in &named[index] {
                if set.len() < MOST && known.insert(*other) {
                    set.push(*other);
                }
            }
        }
        for index in &set {
            taken[*index] = true;
        }
        sets.push(set);
    }
    sets
}

/// For each file those that it names and that are there, in its order. A file that two metadata files list is named by both.
fn named(names: &[String], said: &[Names]) -> Vec<Vec<usize>> {
    let mut exact: HashMap<&str, usize> = HashMap::new();
    let mut folded: HashMap<String, usize> = HashMap::new();
    for (index, name) in names.iter().enumerate() {
        exact.insert(name, index);
        folded.entry(name.to_lowercase()).or_insert(index);
    }
    let find = |name: &str| exact.get(name).or_else(|| folded.get(&name.to_lowercase())).copied();
    let mut named: Vec<Vec<usize>> = vec![Vec::new(); names.len()];
    let mut open = Vec::new();
    for (index, said) in said.iter().enumerate() {
        match said {
            Names::None => {}
            Names::Message(others) => named[index].extend(others.iter().filter_map(|name| find(name))),
            Names::Metadata(metadata) => {
                for listed in &metadata.files {
                    match exact.get(listed.name.as_str()) {
                        Some(other) => named[index].push(*other),
                        None => open.push((index, metadata, listed)),
                    }
                }
            }
        }
    }
    // names that Pastell changed on the way, among the files that nobody names as they are called
    let known: HashSet<usize> = named.iter().flatten().copied().collect();
    let mut free: Vec<usize> = (0..names.len()).filter(|index| !known.contains(index)).collect();
    let mut looks = MOST_LOOKS;
    for (index, metadata, listed) in open {
        looks = looks.saturating_sub(free.len());
        if looks == 0 {
            break;
        }
        if let Some(found) = free.iter().position(|other| *other != index && metadata.matches(listed, &names[*other])) {
            named[index].push(free.remove(found));
        }
    }
    for (index, others) in named.iter_mut().enumerate() {
        others.retain(|other| *other != index);
    }
    named
}

impl Said {
    fn of(&mut self, path: &Path, stamp: Stamp) -> Names {
        match self.0.get(path) {
            Some((before, names)) if *before == stamp => names.clone(),
            _ => {
                let names = ask(path, stamp.size).unwrap_or(Names::None);
                self.0.insert(path.to_owned(), (stamp, names.clone()));
                names
            }
        }
    }
}

/// Reads what a file says about others; what is no such file, or not whole yet, says nothing.
fn ask(path: &Path, size: u64) -> io::Result<Names> {
    let name = own_name(path);
    let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase()).unwrap_or_default();
    match extension.as_str() {
        "xml" => {}
        "json" | "txt" | "yml" | "yaml" => return metadata(path, &name, size),
        _ => return Ok(Names::None),
    }
    let Ok(Some(root)) = xml::sniff(&mut File::open(path)?) else { return Ok(Names::None) };
    if root.local.eq_ignore_ascii_case("flux") {
        return metadata(path, &name, size);
    }
    if !root.namespace.to_ascii_lowercase().contains("/actes") || !actes::is_root(&root.local) {
        return Ok(Names::None);
    }
    let reading = actes::decode(&mut BufReader::new(File::open(path)?), &root, &name);
    let announced = reading.map(|reading| reading.announced).unwrap_or_default();
    Ok(Names::Message(announced.into_iter().take(MOST).map(|announced| announced.name).collect()))
}

fn metadata(path: &Path, name: &str, size: u64) -> io::Result<Names> {
    if size > LARGEST {
        return Ok(Names::None);
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(LARGEST).read_to_end(&mut bytes)?;
    match pastell::parse(name, &bytes) {
        Some(Ok(mut metadata)) => {
            metadata.files.truncate(MOST);
            Ok(Names::Metadata(Metadata { kind: None, fields: Vec::new(), files: metadata.files }))
        }
        Some(Err(_)) | None => Ok(Names::None),
    }
}

/// Metadata files are handed over up to this size.
const LARGEST: u64 = 4 << 20;
/// Files of one set; more than that is no deposit.
const MOST: usize = 2_000;
/// Names that one listing compares in all ways that Pastell cleans them.
const MOST_LOOKS: usize = 500_000;
