//! A store for what decoders take out: files in a folder of their own, removed with it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use pertuis::document::envelope::store::{Body, BodyWriter, Store};
use pertuis::model::Digest;

/// Bodies in a temporary folder.
pub(crate) struct Bodies {
    folder: PathBuf,
    count: u32,
}

impl Bodies {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("pertuis-bodies-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).expect("a temporary folder");
        Self { folder, count: 0 }
    }

    /// Files that stand there now.
    pub(crate) fn len(&self) -> usize {
        fs::read_dir(&self.folder).expect("it is there").count()
    }
}

impl Drop for Bodies {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Store for Bodies {
    fn create(&mut self) -> io::Result<Box<dyn BodyWriter>> {
        self.count += 1;
        let path = self.folder.join(self.count.to_string());
        Ok(Box::new(Writer { file: Some(File::create(&path)?), path }))
    }

    fn discard(&mut self, body: &Body) {
        fs::remove_file(&body.path).expect("a body is discarded once");
    }
}

struct Writer {
    file: Option<File>,
    path: PathBuf,
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.as_mut().expect("open until it is finished").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl BodyWriter for Writer {
    fn finish(mut self: Box<Self>) -> io::Result<Body> {
        self.file = None;
        let bytes = fs::read(&self.path)?;
        Ok(Body { path: self.path.clone(), size: bytes.len() as u64, sha256: Digest::of(&bytes) })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if self.file.is_some() {
            let _ = fs::remove_file(&self.path);
        }
    }
}
