//! The spool: bodies as the server sent them, one file for each item, below `state`.
//!
//! Not the staging folder: nothing here is ever published. Files are written with plain blocking calls, because a
//! launcher runs on a thread of its own; no fsync, because a body can always be fetched again until its item is
//! confirmed. A writer that is dropped before [`SpoolWriter::finish`] leaves nothing.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::publish::sync_directory;
use crate::model::{Digest, ItemKey};

/// One launcher's folder of the spool; clones are of the same folder.
#[derive(Clone, Debug)]
pub struct Spool {
    dir: PathBuf,
}

impl Spool {
    /// Opens the folder, making it when it is missing.
    pub fn open(dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        Ok(Self { dir: dir.to_owned() })
    }

    /// Starts the file of an item; one that was there is replaced at `finish`.
    pub fn create(&self, key: &ItemKey) -> io::Result<SpoolWriter> {
        let path = self.path(key);
        let part = path.with_extension(PART);
        Ok(SpoolWriter { file: Some(File::create(&part)?), part, path, size: 0 })
    }

    /// The finished file of an item, if it is there.
    pub fn find(&self, key: &ItemKey) -> Option<SpoolFile> {
        let path = self.path(key);
        let size = fs::metadata(&path).ok()?.len();
        Some(SpoolFile { path, size })
    }

    /// Removes the file of an item; one that is not there is no error.
    pub fn remove(&self, key: &ItemKey) -> io::Result<()> {
        match fs::remove_file(self.path(key)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Removes every body but those of `keep`: what an interrupted cycle left.
    pub fn sweep(&self, keep: &HashSet<ItemKey>) -> io::Result<()> {
        let keep: HashSet<PathBuf> = keep.iter().map(|key| self.path(key)).collect();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            // a folder is not ours
            if !keep.contains(&entry.path()) && !entry.file_type()?.is_dir() {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Makes the body of an item survive a power cut; one that is not there is no error.
    pub fn sync(&self, key: &ItemKey) -> io::Result<()> {
        match File::open(self.path(key)) {
            Ok(file) => file.sync_all().and_then(|()| sync_directory(&self.dir)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Where the finished file of an item stands.
    pub fn path(&self, key: &ItemKey) -> PathBuf {
        self.dir.join(format!("{}.body", Digest::of(key.as_str().as_bytes())))
    }
}

/// A finished body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpoolFile {
    /// Where it is.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
}

/// A body that is being written.
#[derive(Debug)]
pub struct SpoolWriter {
    file: Option<File>,
    part: PathBuf,
    path: PathBuf,
    size: u64,
}

impl SpoolWriter {
    /// Bytes written so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The body is whole and belongs to `key`, whatever it was started for: an IMAP server may name the message
    /// after its body.
    pub fn finish_as(mut self, spool: &Spool, key: &ItemKey) -> io::Result<SpoolFile> {
        self.path = spool.path(key);
        self.finish()
    }

    /// The body is whole: gives it its name.
    pub fn finish(mut self) -> io::Result<SpoolFile> {
        self.file = None;
        super::publish::replace(&self.part, &self.path)?;
        Ok(SpoolFile { path: self.path.clone(), size: self.size })
    }
}

impl Write for SpoolWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let file = self.file.as_mut().ok_or_else(|| io::Error::other("spool file is finished"))?;
        let written = file.write(bytes)?;
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for SpoolWriter {
    fn drop(&mut self) {
        // after `finish` the part has moved away and this finds nothing
        let _ = fs::remove_file(&self.part);
    }
}

const PART: &str = "part";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_appears_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path()).unwrap();
        let key = ItemKey::new("k");
        let mut cut = spool.create(&key).unwrap();
        cut.write_all(b"half").unwrap();
        drop(cut);
        assert_eq!((spool.find(&key), fs::read_dir(dir.path()).unwrap().count()), (None, 0));
        let mut whole = spool.create(&key).unwrap();
        whole.write_all(b"whole").unwrap();
        let file = whole.finish().unwrap();
        assert_eq!((file.size, fs::read(&file.path).unwrap()), (5, b"whole".to_vec()));
        spool.sweep(&HashSet::from([key.clone()])).unwrap();
        assert!(spool.find(&key).is_some());
        spool.sweep(&HashSet::new()).unwrap();
        assert!(spool.find(&key).is_none());
    }
}
