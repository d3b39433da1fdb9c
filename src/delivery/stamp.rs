//! What a file looks like from outside: how a change under our hands is noticed.
//!
//! Not a lock: programs that drop files know nothing of ours. A file is read in place and compared afterwards.

use std::fs::{self, Metadata};
use std::io;
use std::path::Path;
use std::time::SystemTime;

/// Size, times and, where the platform has them, device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Bytes.
    pub size: u64,
    /// Last modification.
    pub modified: SystemTime,
    /// Last change of the inode, nanoseconds since 1970 (Unix).
    pub changed: Option<i128>,
    /// Device and inode (Unix).
    pub inode: Option<(u64, u64)>,
}

impl Stamp {
    /// The stamp of the file at `path`; symbolic links are not followed.
    pub fn of(path: &Path) -> io::Result<Self> {
        Self::from_metadata(&fs::symlink_metadata(path)?)
    }

    /// The volume on which it is, where the platform tells.
    pub fn device(&self) -> Option<u64> {
        self.inode.map(|(device, _)| device)
    }

    /// The stamp in what the system said.
    pub fn from_metadata(metadata: &Metadata) -> io::Result<Self> {
        #[cfg(unix)]
        let (changed, inode) = {
            use std::os::unix::fs::MetadataExt;
            let changed = i128::from(metadata.ctime()) * 1_000_000_000 + i128::from(metadata.ctime_nsec());
            (Some(changed), Some((metadata.dev(), metadata.ino())))
        };
        #[cfg(not(unix))]
        let (changed, inode) = (None, None);
        Ok(Self { size: metadata.len(), modified: metadata.modified()?, changed, inode })
    }
}
