//! A site: a folder with an ini, a delivery directory, a consumer like the COLD, and the real binary.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use pertuis::model::Digest;
use serde_json::Value;

/// A folder to work in.
pub(crate) struct Site {
    pub(crate) dir: tempfile::TempDir,
}

#[allow(dead_code)] // not every test needs every door
impl Site {
    /// An empty site with a delivery directory.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("cold")).unwrap();
        Self { dir }
    }

    /// A path in it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The delivery directory.
    pub(crate) fn cold(&self) -> PathBuf {
        self.path("cold")
    }

    /// Writes the ini: `state` and `lang = en`, then `text`; `COLD` in it is the delivery directory.
    pub(crate) fn write_ini(&self, text: &str) {
        let (state, cold) = (self.path("state"), self.cold());
        let text = text.replace("COLD", &cold.display().to_string());
        fs::write(self.path("pertuis.ini"), format!("state = {}\nlang = en\n{text}", state.display())).unwrap();
    }

    /// The real binary with this site's ini.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pertuis"));
        command.arg("-c").arg(self.path("pertuis.ini")).args(arguments).stdin(Stdio::null());
        command
    }

    /// Runs it to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// `fetch --json`: the report of the first launcher.
    pub(crate) fn fetch(&self) -> Value {
        report(&self.run(&["fetch", "--json"]))
    }

    /// Starts a `fetch` that somebody may kill.
    pub(crate) fn start_fetch(&self) -> Child {
        self.command(&["fetch"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// The digests of what lies in the delivery directory, with how often.
    pub(crate) fn delivered(&self) -> BTreeMap<Digest, usize> {
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(self.cold()).unwrap() {
            *found.entry(Digest::of(&fs::read(entry.unwrap().path()).unwrap())).or_default() += 1;
        }
        found
    }
}

/// The report of the first launcher in what `fetch --json` printed.
pub(crate) fn report(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().last().unwrap_or_else(|| panic!("no JSON: {}", String::from_utf8_lossy(&output.stderr)));
    serde_json::from_str::<Value>(line).unwrap()["launchers"][0].clone()
}

/// Takes every file out of a directory the moment it appears, as the COLD does, and remembers what it was.
pub(crate) struct Consumer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<BTreeMap<Digest, Vec<String>>>,
}

impl Consumer {
    /// Starts to take files out of `dir`.
    pub(crate) fn start(dir: &Path) -> Self {
        let (stop, dir) = (Arc::new(AtomicBool::new(false)), dir.to_owned());
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut arrived = BTreeMap::new();
            loop {
                let last = stopped.load(Ordering::SeqCst);
                consume(&dir, &mut arrived);
                if last {
                    return arrived;
                }
                std::thread::yield_now();
            }
        });
        Self { stop, thread }
    }

    /// Stops after one more look; answers the names under which each content arrived.
    pub(crate) fn stop(self) -> BTreeMap<Digest, Vec<String>> {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap()
    }
}

fn consume(dir: &Path, arrived: &mut BTreeMap<Digest, Vec<String>>) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let content = fs::read(entry.path()).unwrap();
        fs::remove_file(entry.path()).unwrap();
        let name = entry.file_name().into_string().unwrap();
        arrived.entry(Digest::of(&content)).or_default().push(name);
    }
}
