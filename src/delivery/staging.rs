//! The staging folder: where documents are made ready, out of sight of whoever watches the delivery directory.
//!
//! Not the delivery directory and not the spool: same volume as `deliver`, so that publishing is one rename. Each
//! (state, launcher) has a folder of its own in it and sweeps only that. The folder also holds the witness of the
//! ledger's generation: a ledger that is behind it was lost or set back.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::publish::{replace, sync_directory};
use crate::model::{Digest, ServiceName};

/// One launcher's folder of staged files.
#[derive(Debug)]
pub struct Staging {
    dir: PathBuf,
    /// The folder, where one call makes all that is written on its volume survive a power cut.
    volume: Option<File>,
}

/// A finished document that has no final name yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Staged {
    /// Its name in the staging folder.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of its bytes.
    pub sha256: Digest,
}

impl Staging {
    /// The name of the folder of a launcher: made from the launcher's name and from the path of `state`, so that
    /// it is found again by a ledger that was lost or restored.
    pub fn folder_name(state: &Path, launcher: &ServiceName) -> String {
        let state = fs::canonicalize(state).unwrap_or_else(|_| state.to_owned());
        let digest = Digest::of(state.as_os_str().as_encoded_bytes()).to_string();
        format!("{}-{}", launcher.file_stem(), &digest[..8])
    }

    /// The folder of a launcher below `root`, whether it is there or not.
    pub fn at(root: &Path, state: &Path, launcher: &ServiceName) -> Self {
        Self { dir: root.join(Self::folder_name(state, launcher)), volume: None }
    }

    /// Opens the folder of a launcher below `root`, making both when they are missing.
    pub fn open(root: &Path, state: &Path, launcher: &ServiceName) -> io::Result<Self> {
        let mut staging = Self::at(root, state, launcher);
        fs::create_dir_all(&staging.dir)?;
        // before anything is written: the errors that come after this are the ones that it is told of
        staging.volume = syncable_volume(&staging.dir);
        Ok(staging)
    }

    /// Where a staged file stands.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The folder itself.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Starts a staged file; what had its name (a try that was cut short) is replaced.
    pub fn create(&self, name: String) -> io::Result<StagedWriter> {
        let path = self.path(&name);
        let out = BufWriter::with_capacity(BUFFER, File::create(&path)?);
        Ok(StagedWriter { out, name, size: 0, hasher: Sha256::new(), unfinished: Some(path) })
    }

    /// The name of the folder of an item whose files are delivered in one.
    pub fn folder_of(short: &str) -> String {
        format!("{short}{FOLDER}")
    }

    /// Makes such a folder, empty also where a try that was cut short left one.
    pub fn make_folder(&self, folder: &str) -> io::Result<()> {
        self.remove_folder(folder)?;
        fs::create_dir(self.path(folder))
    }

    /// Moves a staged file into such a folder under its final name; answers its new name here.
    pub fn move_into(&self, folder: &str, staged: &str, name: &str) -> io::Result<String> {
        let moved = format!("{folder}/{name}");
        replace(&self.path(staged), &self.path(&moved))?;
        Ok(moved)
    }

    /// Stages something that is in memory.
    pub fn put(&self, name: String, bytes: &[u8]) -> io::Result<Staged> {
        let mut writer = self.create(name)?;
        writer.write_all(bytes)?;
        writer.finish()
    }

    /// Replaces a staged file in one step, safe from a power cut: it is the witness that it was not published.
    pub fn put_again(&self, name: &str, bytes: &[u8]) -> io::Result<Staged> {
        let next = self.put(format!("{name}.next"), bytes)?;
        let path = self.path(&next.name);
        File::options().write(true).open(&path)?.sync_all()?;
        replace(&path, &self.path(name))?;
        Ok(Staged { name: name.to_owned(), ..next })
    }

    /// Removes every staged file but `keep`: what an interrupted cycle left before its record.
    pub fn sweep(&self, keep: &HashSet<String>) -> io::Result<()> {
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name == GENERATION || keep.contains(&name) {
                continue;
            }
            if !entry.file_type()?.is_dir() {
                fs::remove_file(entry.path())?;
            } else if name.ends_with(FOLDER) {
                // no other folder is ours
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }

    /// Removes one staged file; one that is not there is no error.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.path(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Removes a folder with what is in it; one that is not there is no error.
    pub fn remove_folder(&self, name: &str) -> io::Result<()> {
        match fs::remove_dir_all(self.path(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Makes these staged files and folders, with their names, survive a power cut.
    ///
    /// Many at once by one `syncfs` where that is safe (see `syncable_volume`), though it waits for what others have
    /// written on the volume too: a journal makes one commit of it, where each `fsync` asks for one of its own.
    pub fn sync_files(&self, names: &[&str], folders: &[&str]) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        if let Some(volume) = self.volume.as_ref().filter(|_| names.len() > FEW) {
            return Ok(rustix::fs::syncfs(volume)?);
        }
        let sync = |names: &[&str]| {
            names.iter().try_for_each(|name| File::options().write(true).open(self.path(name))?.sync_all())
        };
        // file systems put what is asked for at the same time into one commit of their journal
        std::thread::scope(|scope| {
            let share = names.len().div_ceil(SYNC_THREADS).max(1);
            let threads: Vec<_> = names.chunks(share).map(|names| scope.spawn(move || sync(names))).collect();
            threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| io::Error::other("thread fell"))?)
        })?;
        folders.iter().try_for_each(|folder| sync_directory(&self.path(folder)))?;
        self.sync()
    }

    /// Makes the names of the staged files survive a power cut.
    pub fn sync(&self) -> io::Result<()> {
        sync_directory(&self.dir)
    }

    /// The generation that was last written here; `None` in a folder that never saw a delivery.
    pub fn generation(&self) -> io::Result<Option<u64>> {
        match fs::read_to_string(self.dir.join(GENERATION)) {
            Ok(text) => text.trim().parse().map(Some).map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Where the witness stands, for messages.
    pub fn witness(&self) -> PathBuf {
        self.dir.join(GENERATION)
    }

    /// Writes the generation so that it survives a power cut.
    pub fn set_generation(&self, generation: u64) -> io::Result<()> {
        let next = self.dir.join("generation.next");
        let mut file = File::create(&next)?;
        file.write_all(format!("{generation}\n").as_bytes())?;
        file.sync_all()?;
        replace(&next, &self.dir.join(GENERATION))?;
        self.sync()
    }
}

/// A staged file that is being written; digest and size are taken on the way. Dropped before
/// [`finish`](StagedWriter::finish) it leaves nothing, so that a full volume has room again.
#[derive(Debug)]
pub struct StagedWriter {
    out: BufWriter<File>,
    name: String,
    size: u64,
    hasher: Sha256,
    unfinished: Option<PathBuf>,
}

impl StagedWriter {
    /// The document is whole. Its bytes are on the disk after [`Staging::sync_files`].
    pub fn finish(mut self) -> io::Result<Staged> {
        self.out.flush()?;
        self.unfinished = None;
        let sha256 = Digest(std::mem::take(&mut self.hasher).finalize().into());
        Ok(Staged { name: std::mem::take(&mut self.name), size: self.size, sha256 })
    }
}

impl Drop for StagedWriter {
    fn drop(&mut self) {
        if let Some(path) = &self.unfinished {
            // what cannot be removed is swept by the next cycle
            let _ = fs::remove_file(path);
        }
    }
}

impl Write for StagedWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// The folder, opened for `syncfs`, where that call says whether the data are on the disk: Linux from 5.8 on (syncfs(2):
/// before it, errors of writing were not told), on file systems of this machine that tell them.
#[cfg(target_os = "linux")]
fn syncable_volume(dir: &Path) -> Option<File> {
    let version = fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
    let mut numbers = version.split(['.', '-']).map_while(|number| number.trim().parse::<u32>().ok());
    if (numbers.next()?, numbers.next()?) < (5, 8) {
        return None;
    }
    let dir = File::open(dir).ok()?;
    let kind = rustix::fs::fstatfs(&dir).ok()?.f_type;
    LOCAL_FILE_SYSTEMS.iter().any(|known| i128::from(*known) == i128::from(kind)).then_some(dir)
}

/// No other platform has such a call.
#[cfg(not(target_os = "linux"))]
fn syncable_volume(_: &Path) -> Option<File> {
    None
}

const GENERATION: &str = "generation";
/// The end of the name of a folder in which an item's files wait for their delivery.
const FOLDER: &str = ".folder";
/// Only small pieces are put together: decoders pass on large ones, and a larger buffer costs a small document more than
/// it saves.
const BUFFER: usize = 2 * 1024;
const SYNC_THREADS: usize = 8;
/// So many files are made safe one by one: what others have written is then none of our time.
#[cfg(target_os = "linux")]
const FEW: usize = 4;
/// statfs(2): ext2, 3, 4; XFS; Btrfs; F2FS; tmpfs. Not overlays, FUSE and shares, whose errors may stay below.
#[cfg(target_os = "linux")]
const LOCAL_FILE_SYSTEMS: [u32; 5] = [0xEF53, 0x5846_5342, 0x9123_683E, 0xF2F5_2010, 0x0102_1994];

#[cfg(test)]
mod tests {
    use super::*;

    fn staging(root: &Path) -> Staging {
        Staging::open(root, root, &ServiceName::new("factures")).unwrap()
    }

    #[test]
    fn a_staged_file_knows_its_size_and_digest() {
        let root = tempfile::tempdir().unwrap();
        let staging = staging(root.path());
        let mut writer = staging.create("k.1".into()).unwrap();
        writer.write_all(b"abc").unwrap();
        let staged = writer.finish().unwrap();
        assert_eq!((staged.size, staged.sha256), (3, Digest::of(b"abc")));
        staging.sync_files(&[&staged.name], &[]).unwrap();
        staging.sync_files(&["k.1"; 9], &[]).unwrap();
        assert_eq!(fs::read(staging.path("k.1")).unwrap(), b"abc");
        staging.create("k.2".into()).unwrap().write_all(b"half").unwrap();
        assert!(!staging.path("k.2").exists());
    }

    #[test]
    fn sweeping_keeps_what_the_ledger_knows_and_the_witness() {
        let root = tempfile::tempdir().unwrap();
        let staging = staging(root.path());
        for name in ["known.1", "left-over.1"] {
            staging.create(name.into()).unwrap().finish().unwrap();
        }
        staging.set_generation(7).unwrap();
        fs::create_dir(staging.path("somebody's folder")).unwrap();
        for folder in ["known.folder", "left-over.folder"] {
            staging.make_folder(folder).unwrap();
            let staged = staging.put("x".into(), b"x").unwrap();
            assert_eq!(staging.move_into(folder, &staged.name, "a.pdf").unwrap(), format!("{folder}/a.pdf"));
        }
        staging.sweep(&HashSet::from(["known.1", "known.folder"].map(ToOwned::to_owned))).unwrap();
        assert!(staging.path("known.1").exists() && !staging.path("left-over.1").exists());
        assert!(staging.path("known.folder/a.pdf").exists() && !staging.path("left-over.folder").exists());
        assert!(staging.path("somebody's folder").exists());
        assert_eq!(staging.generation().unwrap(), Some(7));
    }

    #[test]
    fn two_states_never_share_a_folder() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let name = ServiceName::new("factures");
        assert_ne!(Staging::folder_name(one.path(), &name), Staging::folder_name(other.path(), &name));
    }
}
