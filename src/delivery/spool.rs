//! The spool: bodies as the server sent them, small ones in memory, larger ones in a file for each item below `state`.
//!
//! Not the staging folder: nothing here is ever published. Files are written with plain blocking calls, because a
//! launcher runs on a thread of its own; no fsync, because a body can always be fetched again until its item is
//! confirmed. A writer that is dropped before [`SpoolWriter::finish`] leaves nothing.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::publish::sync_directory;
use crate::model::{Digest, ItemKey};

/// One launcher's folder of the spool; clones are of the same folder.
#[derive(Clone, Debug)]
pub struct Spool {
    dir: PathBuf,
    /// Whether the folder has held anything since it was opened.
    used: Arc<AtomicBool>,
}

impl Spool {
    /// Opens the folder, making it when it is missing.
    pub fn open(dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let used = fs::read_dir(dir)?.next().is_some();
        Ok(Self { dir: dir.to_owned(), used: Arc::new(AtomicBool::new(used)) })
    }

    /// Starts the body of an item; one that was there is replaced at `finish`.
    pub fn create(&self, key: &ItemKey) -> SpoolWriter {
        SpoolWriter { held: Vec::new(), file: None, spool: self.clone(), key: key.clone(), size: 0 }
    }

    /// The same for a body of which the source says that it has `size` bytes: one that is held has its room at once.
    pub fn create_for(&self, key: &ItemKey, size: u64) -> SpoolWriter {
        let room = usize::try_from(size).unwrap_or(usize::MAX).min(HELD);
        let mut writer = self.create(key);
        writer.held.reserve_exact(room);
        writer
    }

    /// The finished file of an item, if it is there.
    pub fn find(&self, key: &ItemKey) -> Option<SpoolFile> {
        SpoolFile::at(self.path(key))
    }

    /// Removes the file of an item; one that is not there is no error.
    pub fn remove(&self, key: &ItemKey) -> io::Result<()> {
        if !self.used.load(Ordering::Relaxed) {
            return Ok(()); // small bodies never came to the disk
        }
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
        match File::options().write(true).open(self.path(key)) {
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

/// A finished body; clones are of the same bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpoolFile {
    body: Body,
    /// Bytes.
    pub size: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Body {
    Memory(Arc<Vec<u8>>),
    File(PathBuf),
}

impl SpoolFile {
    /// The body in this file, if it is there.
    pub fn at(path: PathBuf) -> Option<Self> {
        let size = fs::metadata(&path).ok()?.len();
        Some(Self { body: Body::File(path), size })
    }

    /// Where it stands; `None` for one that is held in memory.
    pub fn path(&self) -> Option<&Path> {
        match &self.body {
            Body::Memory(_) => None,
            Body::File(path) => Some(path),
        }
    }

    /// Its bytes, where it is held in memory.
    pub fn bytes(&self) -> Option<&[u8]> {
        match &self.body {
            Body::Memory(bytes) => Some(bytes),
            Body::File(_) => None,
        }
    }

    /// Reads it from its beginning.
    pub fn open(&self) -> io::Result<Box<dyn Read + Send + '_>> {
        Ok(match &self.body {
            Body::Memory(bytes) => Box::new(bytes.as_slice()),
            Body::File(path) => Box::new(File::open(path)?),
        })
    }

    /// Puts it into the spool as the body of `key`, in a file whatever its size.
    pub fn keep(&self, spool: &Spool, key: &ItemKey) -> io::Result<()> {
        let Body::Memory(bytes) = &self.body else { return Ok(()) };
        let mut writer = spool.create(key);
        writer.spill()?;
        writer.write_all(bytes)?;
        writer.finish().map(drop)
    }
}

/// A body that is being written.
#[derive(Debug)]
pub struct SpoolWriter {
    /// The bytes of a body that is small so far.
    held: Vec<u8>,
    /// The file of one that is not, and where it is.
    file: Option<(File, PathBuf)>,
    spool: Spool,
    key: ItemKey,
    size: u64,
}

impl SpoolWriter {
    /// Bytes written so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The body is whole and belongs to `key`, whatever it was started for: an IMAP server may name the message
    /// after its body.
    pub fn finish_as(mut self, key: &ItemKey) -> io::Result<SpoolFile> {
        self.key = key.clone();
        self.finish()
    }

    /// The body is whole: gives it its name.
    pub fn finish(mut self) -> io::Result<SpoolFile> {
        let body = if let Some((_, part)) = &self.file {
            let path = self.spool.path(&self.key);
            super::publish::replace(part, &path)?;
            self.file = None;
            Body::File(path)
        } else {
            let mut bytes = std::mem::take(&mut self.held);
            // the source may have promised more than it sent, and many bodies may wait
            if bytes.capacity() / 2 > bytes.len() {
                bytes.shrink_to_fit();
            }
            Body::Memory(Arc::new(bytes))
        };
        Ok(SpoolFile { body, size: self.size })
    }

    /// Goes on in a file.
    fn spill(&mut self) -> io::Result<&mut File> {
        // known before it is written to: what does not fit on the disk is removed
        self.spool.used.store(true, Ordering::Relaxed);
        let part = self.spool.path(&self.key).with_extension(PART);
        let (file, _) = self.file.insert((File::create(&part)?, part));
        file.write_all(&std::mem::take(&mut self.held))?;
        Ok(file)
    }
}

impl Write for SpoolWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = match &mut self.file {
            Some((file, _)) => file.write(bytes)?,
            None if self.held.len() + bytes.len() <= HELD => {
                self.held.extend_from_slice(bytes);
                bytes.len()
            }
            None => self.spill()?.write(bytes)?,
        };
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for SpoolWriter {
    fn drop(&mut self) {
        if let Some((_, part)) = &self.file {
            let _ = fs::remove_file(part);
        }
    }
}

const PART: &str = "part";
/// Bodies up to so many bytes are held in memory: a file costs more than the mail is worth, and a crash loses nothing,
/// since the source has it until it is delivered.
const HELD: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_appears_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path()).unwrap();
        let key = ItemKey::new("k");
        let mut cut = spool.create(&key);
        cut.write_all(&vec![b'x'; HELD + 1]).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        drop(cut);
        assert_eq!((spool.find(&key), fs::read_dir(dir.path()).unwrap().count()), (None, 0));
        for (size, files) in [(5, 0), (HELD + 5, 1)] {
            let mut whole = spool.create_for(&key, 9 * size as u64);
            for piece in vec![b'y'; size].chunks(1000) {
                whole.write_all(piece).unwrap();
            }
            let file = whole.finish().unwrap();
            assert_eq!(file.bytes().map(<[u8]>::len), (files == 0).then_some(size));
            let mut read = Vec::new();
            file.open().unwrap().read_to_end(&mut read).unwrap();
            assert_eq!((file.size, read), (size as u64, vec![b'y'; size]));
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), files);
            file.keep(&spool, &key).unwrap();
            assert_eq!(spool.find(&key).unwrap().size, size as u64);
            spool.remove(&key).unwrap();
        }
        let mut whole = spool.create(&key);
        whole.write_all(b"whole").unwrap();
        whole.finish().unwrap().keep(&spool, &key).unwrap();
        spool.sweep(&HashSet::from([key.clone()])).unwrap();
        assert!(spool.find(&key).is_some());
        spool.sweep(&HashSet::new()).unwrap();
        assert!(spool.find(&key).is_none());
    }
}
