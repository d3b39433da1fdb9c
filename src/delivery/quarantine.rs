//! The quarantine: what could not be delivered, each with a `.reason.txt` beside it.
//!
//! Not a waiting room: nothing here is retried by itself; `ledger retry` fetches the item again from its source.
//! Of what is too large only the reason is kept.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::publish::{replace, sync_directory};
use super::spool::SpoolFile;

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

    /// Puts an item into quarantine under its `{key}`: a copy of `body`, if there is one, named `{key}.EXTENSION`,
    /// and the reason. Done again with the same key it replaces both.
    pub fn put(&self, key: &str, body: Option<(&SpoolFile, &str)>, reason: &str) -> io::Result<PathBuf> {
        fs::create_dir_all(&self.dir)?;
        if let Some((body, extension)) = body {
            // it may be the copy that is here already, and the only one: never cut short
            let target = self.dir.join(format!("{key}.{extension}"));
            let next = self.dir.join(format!("{key}.part"));
            let mut copy = File::create(&next)?;
            io::copy(&mut body.open()?, &mut copy)?;
            copy.sync_all()?;
            replace(&next, &target)?;
        }
        let path = self.dir.join(format!("{key}.reason.txt"));
        let mut file = File::create(&path)?;
        writeln!(file, "{reason}")?;
        file.sync_all()?;
        sync_directory(&self.dir)?;
        Ok(path)
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
        let reason = quarantine.put("42-abc", Some((&body, "eml")), "too deep").unwrap();
        assert_eq!(fs::read_to_string(reason).unwrap(), "too deep\n");
        assert_eq!(fs::read_to_string(dir.path().join("q/42-abc.eml")).unwrap(), "From: a");
        let copy = quarantine.find("42-abc", "eml").unwrap();
        quarantine.put("42-abc", Some((&copy, "eml")), "too deep still").unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("q/42-abc.eml")).unwrap(), "From: a");
        assert_eq!(quarantine.find("42-abc", "eml").unwrap().size, 7);
        assert!(quarantine.remove("42-abc", "eml").unwrap() && !quarantine.remove("42-abc", "eml").unwrap());
        assert_eq!((quarantine.find("42-abc", "eml"), fs::read_dir(dir.path().join("q")).unwrap().count()), (None, 0));
    }
}
