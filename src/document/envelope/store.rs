//! Where decoded bytes go: the one thing that a decoder is given to write to.
//!
//! Not the staging folder: this floor knows neither its names nor its rules. A body gets its name, role and place once it
//! is complete, because Chorus Pro and PES write the name of a piece behind its content.

use std::io::{self, Write};
use std::path::PathBuf;

use crate::model::Digest;

/// Makes bodies.
pub trait Store {
    /// Starts a body.
    ///
    /// # Errors
    /// The disk.
    fn create(&mut self) -> io::Result<Box<dyn BodyWriter>>;

    /// Removes a body that is not wanted; one that stays is the caller's to clean up.
    fn discard(&mut self, body: &Body);
}

/// A body that is being written; dropped before [`finish`](Self::finish) it leaves nothing.
pub trait BodyWriter: Write {
    /// Closes it.
    ///
    /// # Errors
    /// The disk.
    fn finish(self: Box<Self>) -> io::Result<Body>;
}

/// A finished body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// Where it stands.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of its bytes.
    pub sha256: Digest,
}

/// A store for tests: a folder that is removed when it is dropped.
#[cfg(test)]
pub(crate) mod folder {
    use sha2::{Digest as _, Sha256};

    use super::*;

    /// Bodies in a temporary folder.
    pub(crate) struct Folder {
        dir: tempfile::TempDir,
        count: usize,
    }

    impl Folder {
        pub(crate) fn new() -> Self {
            Self { dir: tempfile::tempdir().unwrap(), count: 0 }
        }

        /// Files that stand there now.
        pub(crate) fn len(&self) -> usize {
            std::fs::read_dir(self.dir.path()).unwrap().count()
        }

        /// Bytes that stand there now.
        pub(crate) fn size(&self) -> u64 {
            let files = std::fs::read_dir(self.dir.path()).unwrap();
            files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
        }
    }

    impl Store for Folder {
        fn create(&mut self) -> io::Result<Box<dyn BodyWriter>> {
            self.count += 1;
            let path = self.dir.path().join(self.count.to_string());
            let file = Some(std::fs::File::create(&path)?);
            Ok(Box::new(Writer { path, file, hasher: Sha256::new(), size: 0 }))
        }

        fn discard(&mut self, body: &Body) {
            std::fs::remove_file(&body.path).unwrap();
        }
    }

    struct Writer {
        path: PathBuf,
        file: Option<std::fs::File>,
        hasher: Sha256,
        size: u64,
    }

    impl Write for Writer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = self.file.as_mut().unwrap().write(bytes)?;
            self.hasher.update(&bytes[..count]);
            self.size += count as u64;
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl BodyWriter for Writer {
        fn finish(mut self: Box<Self>) -> io::Result<Body> {
            self.file = None;
            let sha256 = Digest(std::mem::take(&mut self.hasher).finalize().into());
            Ok(Body { path: self.path.clone(), size: self.size, sha256 })
        }
    }

    impl Drop for Writer {
        fn drop(&mut self) {
            if self.file.is_some() {
                let _ = std::fs::remove_file(&self.path);
            }
        }
    }
}
