//! `watch_certificates`: notices that files of TLS changed.
//!
//! Not the reading of them: here only names are told, once the folder has been quiet for a second. Events of the system
//! wake, contents decide: a program that renews a certificate may write, rename, or swap a link (certbot, Kubernetes),
//! and a share may tell nothing at all, so that the files are looked at now and then as well.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::event::EventKind;
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use sha2::{Digest as _, Sha256};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

/// Watches until it is dropped.
#[derive(Debug)]
pub(super) struct Watch {
    files: BTreeSet<PathBuf>,
    changes: mpsc::Receiver<Vec<PathBuf>>,
    task: JoinHandle<()>,
}

/// What a file holds; `None`: it cannot be read.
type Print = Option<[u8; 32]>;

impl Watch {
    /// Watches `files` (folders of certificates among them), compared with what they hold now. Within a runtime.
    pub(super) fn start(files: BTreeSet<PathBuf>) -> Self {
        let (sender, changes) = mpsc::channel(1);
        let task = tokio::spawn(watch(files.clone(), prints(&files), sender));
        Self { files, changes, task }
    }

    /// What it watches.
    pub(super) fn files(&self) -> &BTreeSet<PathBuf> {
        &self.files
    }

    /// The files that changed, once they have settled. Nothing is lost when this is dropped.
    pub(super) async fn changed(&mut self) -> Vec<PathBuf> {
        match self.changes.recv().await {
            Some(changed) => changed,
            // a watch that fell tells nothing more
            None => std::future::pending().await,
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn watch(files: BTreeSet<PathBuf>, mut before: BTreeMap<PathBuf, Print>, sender: mpsc::Sender<Vec<PathBuf>>) {
    let happened = Arc::new(Notify::new());
    let mut watchers = begin(&files, &happened);
    // what changed before the watchers were there
    happened.notify_one();
    loop {
        tokio::select! {
            () = happened.notified() => settle(&happened).await,
            () = tokio::time::sleep(POLL) => {}
        }
        let looked = files.clone();
        let Ok(now) = tokio::task::spawn_blocking(move || prints(&looked)).await else { continue };
        let changed: Vec<PathBuf> = files.iter().filter(|file| before.get(*file) != now.get(*file)).cloned().collect();
        before = now;
        // anew after each change: a link may lead elsewhere now; the old ones listen until the new ones do
        drop(std::mem::replace(&mut watchers, begin(&files, &happened)));
        if !changed.is_empty() && sender.send(changed).await.is_err() {
            return;
        }
    }
}

/// Until nothing happened for a second; who writes on and on is not waited for for ever.
async fn settle(happened: &Notify) {
    let end = Instant::now() + LONGEST;
    loop {
        let quiet = (Instant::now() + QUIET).min(end);
        if timeout_at(quiet, happened.notified()).await.is_err() || Instant::now() >= end {
            return;
        }
    }
}

/// One watcher over every folder on the way to the files. A folder that cannot be watched is looked at by the clock.
fn begin(files: &BTreeSet<PathBuf>, happened: &Arc<Notify>) -> Option<RecommendedWatcher> {
    let happened = Arc::clone(happened);
    let told = move |event: notify::Result<notify::Event>| {
        // our own reading is no news
        if event.is_ok_and(|event| !matches!(event.kind, EventKind::Access(_))) {
            happened.notify_one();
        }
    };
    let mut watcher = notify::recommended_watcher(told).ok()?;
    for folder in files.iter().flat_map(|file| folders(file)).collect::<BTreeSet<_>>() {
        let _ = watcher.watch(&folder, RecursiveMode::NonRecursive);
    }
    Some(watcher)
}

/// The folders in which something changes when what is read under `path` does: its own, and those of the links on the way.
fn folders(path: &Path) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    let mut at = path.to_owned();
    for _ in 0..MOST_LINKS {
        if at.is_dir() {
            folders.extend(fs::canonicalize(&at));
        }
        let Some(parent) = at.parent() else { break };
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        folders.extend(fs::canonicalize(parent));
        // Kubernetes swaps the folder: `..data` beside the file is a link itself
        if let (Ok(_), Some(above)) = (fs::read_link(parent), parent.parent()) {
            folders.extend(fs::canonicalize(above));
        }
        let Ok(target) = fs::read_link(&at) else { break };
        at = parent.join(target);
    }
    folders
}

fn prints(files: &BTreeSet<PathBuf>) -> BTreeMap<PathBuf, Print> {
    files.iter().map(|file| (file.clone(), print(file))).collect()
}

/// Of a folder: of all files in it.
fn print(path: &Path) -> Print {
    let mut hash = Sha256::new();
    if !path.is_dir() {
        hash.update(content(path)?);
        return Some(hash.finalize().into());
    }
    let mut names: Vec<PathBuf> = fs::read_dir(path).ok()?.flatten().map(|entry| entry.path()).collect();
    names.sort();
    for name in names.iter().take(MOST_FILES) {
        hash.update(name.as_os_str().as_encoded_bytes());
        hash.update(content(name).unwrap_or_default());
    }
    Some(hash.finalize().into())
}

fn content(path: &Path) -> Option<Vec<u8>> {
    let about = fs::metadata(path).ok()?;
    // a pipe would hold us up, and nobody's certificates are that large
    if about.is_file() && about.len() <= LARGEST { fs::read(path).ok() } else { None }
}

const QUIET: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(10);
/// For what no event tells.
const POLL: Duration = Duration::from_secs(30);
/// As the system (path resolution stops there).
const MOST_LINKS: usize = 40;
/// A folder of authorities has some hundreds.
const MOST_FILES: usize = 10_000;
const LARGEST: u64 = 64 << 20;

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    async fn told(watch: &mut Watch) -> Vec<PathBuf> {
        tokio::time::timeout(Duration::from_secs(20), watch.changed()).await.unwrap()
    }

    #[tokio::test]
    async fn a_file_that_is_written_renamed_or_swapped_by_links_is_told_once_each() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for (folder, words) in [("v1", "one"), ("v2", "two")] {
            fs::create_dir(at(folder)).unwrap();
            fs::write(at(folder).join("tls.crt"), words).unwrap();
        }
        fs::write(at("plain.pem"), "one").unwrap();
        symlink("v1", at("..data")).unwrap();
        symlink("..data/tls.crt", at("tls.crt")).unwrap();
        let mut watch = Watch::start([at("plain.pem"), at("tls.crt")].into());
        fs::write(at("plain.pem"), "two").unwrap();
        assert_eq!(told(&mut watch).await, [at("plain.pem")]);
        fs::write(at("new"), "three").unwrap();
        crate::delivery::publish::replace(&at("new"), &at("plain.pem")).unwrap();
        assert_eq!(told(&mut watch).await, [at("plain.pem")]);
        symlink("v2", at("..new")).unwrap();
        crate::delivery::publish::replace(&at("..new"), &at("..data")).unwrap();
        assert_eq!(told(&mut watch).await, [at("tls.crt")]);
        fs::write(at("v2/tls.crt"), "in place, behind two links").unwrap();
        assert_eq!(told(&mut watch).await, [at("tls.crt")]);
    }

    #[tokio::test]
    async fn a_folder_of_authorities_changes_with_what_lies_in_it_and_touching_a_file_is_no_change() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("ca");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("a.0"), "a").unwrap();
        let before = print(&folder);
        fs::write(folder.join("a.0"), "a").unwrap();
        assert_eq!(print(&folder), before);
        let mut watch = Watch::start([folder.clone()].into());
        fs::write(folder.join("b.0"), "b").unwrap();
        assert_eq!(told(&mut watch).await, [folder]);
    }
}
