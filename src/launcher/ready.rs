//! Staged items made ready to be published: final names, their folder, their index.
//!
//! Not the rename: names are chosen here and committed to the ledger by the cycle before one is tried. `pertuis decode`
//! does the same without a ledger.

use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

use super::cycle::boundary;
use super::index;
use super::naming::{FreeNames, index_name};
use crate::config::Launcher;
use crate::delivery::ledger::{Decision, Entry, Part};
use crate::delivery::staging::Staging;
use crate::model::Role;

/// What names are given out with.
pub(super) struct Desk<'a> {
    pub(super) launcher: &'a Launcher,
    pub(super) staging: &'a Staging,
    pub(super) names: &'a mut FreeNames,
    /// Names promised to others, in lower case.
    pub(super) promised: HashSet<String>,
    /// No launcher takes what is made ready: `pertuis decode`.
    pub(super) nobody: bool,
}

impl Desk<'_> {
    /// Every name neither stands in `deliver` nor is promised to another document; in a folder of their own, an item's
    /// documents are told apart among themselves.
    pub(super) fn make_ready(&mut self, entry: &mut Entry) -> io::Result<()> {
        let directory = &self.launcher.deliver;
        let mut index =
            index::extension(self.launcher.index).map(|extension| index_name(self.launcher, &entry.short, extension));
        if self.nobody {
            // it is `index.json` whatever the documents are called
            index = index.map(|_| self.names.next(directory, "index.json", &mut self.promised));
        }
        let folder = entry.folder().map(ToOwned::to_owned);
        if let Some(folder) = &folder {
            self.staging.make_folder(folder)?;
            boundary();
        }
        let (mut inside, mut names) = (HashSet::from_iter(index.clone()), FreeNames::default());
        for part in &mut entry.parts {
            let Decision::Taken { staged, name, directory: own, .. } = &mut part.decision else { continue };
            match &folder {
                Some(folder) if part.role != Role::Folder => {
                    *name = names.next(&self.staging.path(folder), name, &mut inside);
                    *staged = self.staging.move_into(folder, staged, name)?;
                    *own = PathBuf::new();
                }
                _ => *name = self.names.next(directory, name, &mut self.promised),
            }
        }
        if folder.is_none() && !self.nobody {
            index = index.map(|name| self.names.next(directory, &name, &mut self.promised));
        }
        index.map_or(Ok(()), |name| self.add_index(entry, folder.as_deref(), name))
    }

    /// Stages the index of an item whose documents have their names.
    fn add_index(&self, entry: &mut Entry, folder: Option<&str>, name: String) -> io::Result<()> {
        boundary();
        let mut index = index::Index::of(self.launcher, entry, SystemTime::now());
        if self.nobody {
            index = index.of_nobody();
        }
        let bytes = index.render(self.launcher.index)?;
        let (staged, directory) = match folder {
            Some(folder) => (format!("{folder}/{name}"), PathBuf::new()),
            None => (format!("{}.index", entry.short), self.launcher.deliver.clone()),
        };
        let staged = self.staging.put(staged, &bytes)?;
        entry.parts.push(Part {
            n: entry.parts.iter().map(|part| part.n).max().map_or(1, |n| n + 1),
            role: Role::Index,
            original_name: None,
            media_type: None,
            decision: Decision::Taken {
                staged: staged.name,
                name,
                directory,
                size: staged.size,
                sha256: staged.sha256,
            },
        });
        Ok(())
    }
}
