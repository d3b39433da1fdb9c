//! The quarantine: what could not be delivered, each with a `.reason.txt` beside it.
//!
//! Not a waiting room: nothing here is retried by itself; `ledger retry` fetches the item again from its source.
//! Of what is too large only the reason is kept.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::publish::{replace, sync_directory};
use super::spool::SpoolFile;

/// What is kept of an item.
#[derive(Clone, Copy, Debug)]
pub enum Kept<'a> {
    /// Only the reason.
    Nothing,
    /// A body, as `{key}.EXTENSION`.
    File(&'a SpoolFile, &'a str),
    /// A dropped file, as `{key}.EXTENSION`.
    Dropped(&'a Path, &'a str),
    /// Dropped files, in a folder `{key}`, each under a safe name of its own.
    Folder(&'a [(PathBuf, String)]),
}

/// One launcher's folder of the quarantine.
#[derive(Debug)]
pub struct Quarantine {
    dir: PathBuf,
}

impl Quarantine {
    /// The folder is made when something is put into it.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Puts an item into quarantine under its `{key}`: a copy of `body`, and the reason. Done again with the same key it
    /// replaces both.
    pub fn put(&self, key: &str, body: Kept<'_>, reason: &str) -> io::Result<PathBuf> {
        fs::create_dir_all(&self.dir)?;
        match body {
            Kept::Nothing => {}
            Kept::File(body, extension) => self.put_file(key, &mut body.open()?, extension)?,
            Kept::Dropped(file, extension) => self.put_file(key, &mut File::open(file)?, extension)?,
            Kept::Folder(files) => self.put_folder(key, files)?,
        }
        let path = self.dir.join(format!("{key}.reason.txt"));
        let mut file = File::create(&path)?;
        writeln!(file, "{reason}")?;
        file.sync_all()?;
        sync_directory(&self.dir)?;
        Ok(path)
    }

    fn put_file(&self, key: &str, body: &mut dyn Read, extension: &str) -> io::Result<()> {
        // it may be the copy that is here already, and the only one: never cut short
        let next = self.dir.join(format!("{key}.part"));
        let copied = File::create(&next).and_then(|mut copy| io::copy(body, &mut copy).and_then(|_| copy.sync_all()));
        // half of a copy must not fill the disk
        copied.inspect_err(|_| drop(fs::remove_file(&next)))?;
        replace(&next, &self.dir.join(format!("{key}.{extension}")))
    }

    fn put_folder(&self, key: &str, files: &[(PathBuf, String)]) -> io::Result<()> {
        let (folder, next) = (self.dir.join(key), self.dir.join(format!("{key}.part")));
        remove_folder(&next)?;
        fs::create_dir(&next)?;
        copy_all(files, &next).inspect_err(|_| drop(remove_folder(&next)))?;
        remove_folder(&folder)?; // a copy of the same item; its source is still there
        replace(&next, &folder)
    }

    /// The copy of an item, a file of whatever extension or a folder, if one was put here.
    pub fn find_any(&self, key: &str) -> Option<PathBuf> {
        let folder = self.dir.join(key);
        if folder.is_dir() {
            return Some(folder);
        }
        let is_copy = |name: &str| {
            let rest = name.strip_prefix(key).and_then(|rest| rest.strip_prefix('.'));
            rest.is_some_and(|rest| rest != "reason.txt" && rest != "part")
        };
        let mut entries = fs::read_dir(&self.dir).ok()?.filter_map(Result::ok);
        entries.find(|entry| entry.file_name().to_str().is_some_and(is_copy)).map(|entry| entry.path())
    }

    /// Removes an item of whatever extension, or its folder, and its reason; false where there was none.
    pub fn remove_any(&self, key: &str) -> io::Result<bool> {
        let copy = match self.find_any(key) {
            Some(path) if path.is_dir() => remove_folder(&path).map(|()| true)?,
            Some(path) => remove(&path)?,
            None => false,
        };
        Ok(remove(&self.dir.join(format!("{key}.reason.txt")))? || copy)
    }

    /// Whether this is below the folder.
    pub fn holds(&self, path: &Path) -> bool {
        path.starts_with(&self.dir)
    }

    /// The copy of an item, if one was put here.
    pub fn find(&self, key: &str, extension: &str) -> Option<SpoolFile> {
        SpoolFile::at(self.dir.join(format!("{key}.{extension}")))
    }

    /// Removes an item and its reason; false where there was none.
    pub fn remove(&self, key: &str, extension: &str) -> io::Result<bool> {
        // the reason last: it says what the copy is
        let copy = remove(&self.dir.join(format!("{key}.{extension}")))?;
        Ok(remove(&self.dir.join(format!("{key}.reason.txt")))? || copy)
    }
}

fn remove(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn copy_all(files: &[(PathBuf, String)], folder: &Path) -> io::Result<()> {
    for (file, name) in files {
        let mut copy = File::create_new(folder.join(name))?;
        io::copy(&mut File::open(file)?, &mut copy)?;
        copy.sync_all()?;
    }
    sync_directory(folder)
}

fn remove_folder(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::spool::Spool;
    use crate::model::ItemKey;

    #[test]
    fn an_item_stands_beside_its_reason() {
        let dir = tempfile::tempdir().unwrap();
        let mut body = Spool::open(dir.path()).unwrap().create(&ItemKey::new("k"));
        body.write_all(b"From: a").unwrap();
        let body = body.finish().unwrap();
        let quarantine = Quarantine::new(dir.path().join("q"));
        let reason = quarantine.put("42-abc", Kept::File(&body, "eml"), "too deep").unwrap();
        assert_eq!(fs::read_to_string(reason).unwrap(), "too deep\n");
        assert_eq!(fs::read_to_string(dir.path().join("q/42-abc.eml")).unwrap(), "From: a");
        let copy = quarantine.find("42-abc", "eml").unwrap();
        quarantine.put("42-abc", Kept::File(&copy, "eml"), "too deep still").unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("q/42-abc.eml")).unwrap(), "From: a");
        assert_eq!(quarantine.find("42-abc", "eml").unwrap().size, 7);
        assert!(quarantine.remove("42-abc", "eml").unwrap() && !quarantine.remove("42-abc", "eml").unwrap());
        assert_eq!((quarantine.find("42-abc", "eml"), fs::read_dir(dir.path().join("q")).unwrap().count()), (None, 0));
    }

    #[test]
    fn a_copy_that_fails_leaves_nothing_half_done() {
        let dir = tempfile::tempdir().unwrap();
        let (one, absent, q) = (dir.path().join("one"), dir.path().join("absent"), dir.path().join("q"));
        fs::write(&one, "1").unwrap();
        let quarantine = Quarantine::new(q.clone());
        let files = [(one.clone(), "a.pdf".to_owned()), (absent, "b.pdf".to_owned())];
        assert!(quarantine.put("k-1", Kept::Folder(&files), "why").is_err());
        // a directory opens as a file does, and cannot be read
        assert!(quarantine.put("k-2", Kept::Dropped(dir.path(), "zip"), "why").is_err());
        assert_eq!(fs::read_dir(&q).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_is_put_found_and_removed_whole() {
        let dir = tempfile::tempdir().unwrap();
        let (one, quarantine) = (dir.path().join("one"), Quarantine::new(dir.path().join("q")));
        fs::write(&one, "1").unwrap();
        for _ in 0..2 {
            let files = [(one.clone(), "a.pdf".to_owned()), (one.clone(), "b.pdf".to_owned())];
            quarantine.put("k-1", Kept::Folder(&files), "why").unwrap();
        }
        quarantine.put("k-1-2", Kept::Dropped(&one, "zip"), "why").unwrap();
        let folder = quarantine.find_any("k-1").unwrap();
        assert_eq!((fs::read_dir(&folder).unwrap().count(), quarantine.holds(&folder)), (2, true));
        assert_eq!(quarantine.find_any("k-1-2"), Some(dir.path().join("q/k-1-2.zip")));
        assert!(quarantine.remove_any("k-1").unwrap() && !quarantine.remove_any("k-1").unwrap());
        assert!(quarantine.remove_any("k-1-2").unwrap());
        assert_eq!(fs::read_dir(dir.path().join("q")).unwrap().count(), 0);
    }
}
