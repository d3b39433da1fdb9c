//! Being told by the system when something is dropped into a directory.
//!
//! Not relied upon: shares do not tell what others write to them, a system may have no more watches to give; then the
//! launcher's interval is what is left. Our own reading and removing is no news.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::event::{EventKind, ModifyKind, RenameMode};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::Wake;

/// A watched directory.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Held as long as the directory is watched.
    watcher: Option<(PathBuf, RecommendedWatcher)>,
    happened: Arc<Notify>,
    /// It was tried once.
    begun: bool,
}

impl Watch {
    /// Returns at the deadline, at `due` (when something that lies there will have settled), or when something happened in
    /// `dir` and nothing more did for `quiet`.
    pub(super) async fn wait(
        &mut self,
        dir: &Path,
        recursive: bool,
        due: Option<Duration>,
        quiet: Duration,
        upto: Duration,
    ) -> Wake {
        let now = Instant::now();
        let deadline = now + upto;
        // what was dropped before the watch began is looked for once
        let begins = self.begin(dir, recursive);
        let due = due.into_iter().chain(begins.then_some(quiet)).min().map(|due| now + due + SLACK);
        let first = due.filter(|due| *due < deadline);
        tokio::select! {
            () = sleep_until(first.unwrap_or(deadline)) => {
                return if first.is_some() { Wake::News } else { Wake::Deadline };
            }
            () = self.happened.notified() => {}
        }
        loop {
            let until = (Instant::now() + quiet + SLACK).min(deadline);
            tokio::select! {
                biased;
                () = sleep_until(until) => return Wake::News,
                () = self.happened.notified() => {}
            }
        }
    }

    /// Watches from now on; whether that is new. A directory that was replaced (mounted again) is watched anew.
    fn begin(&mut self, dir: &Path, recursive: bool) -> bool {
        let Ok(dir) = std::fs::canonicalize(dir) else {
            self.watcher = None;
            return false;
        };
        if self.watcher.as_ref().is_some_and(|(watched, _)| *watched == dir) {
            return false;
        }
        self.watcher = watcher(&dir, recursive, &self.happened).map(|watcher| (dir, watcher));
        let first = !std::mem::replace(&mut self.begun, true);
        self.watcher.is_some() && first
    }
}

/// A watcher of `dir`; where the system does not give so many watches, of the directory alone.
fn watcher(dir: &Path, recursive: bool, happened: &Arc<Notify>) -> Option<RecommendedWatcher> {
    let begin = |mode| {
        let (happened, own) = (Arc::clone(happened), dir.to_owned());
        let told = move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| is_news(&event, &own)) {
                happened.notify_one();
            }
        };
        let mut watcher = notify::recommended_watcher(told).ok()?;
        watcher.watch(dir, mode).ok()?;
        Some(watcher)
    };
    let deep = recursive.then(|| begin(RecursiveMode::Recursive)).flatten();
    deep.or_else(|| begin(RecursiveMode::NonRecursive))
}

fn is_news(event: &notify::Event, dir: &Path) -> bool {
    let tells = match event.kind {
        EventKind::Access(_) | EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From)) => false,
        EventKind::Any | EventKind::Create(_) | EventKind::Modify(_) | EventKind::Other => true,
    };
    // what begins with a dot is nobody's deposit: our own notes, transfers that end with a rename
    let hidden =
        |path: &PathBuf| path.file_name().is_some_and(|name: &OsStr| name.as_encoded_bytes().starts_with(b"."));
    let own = |path: &PathBuf| path == dir;
    tells && (event.need_rescan() || event.paths.iter().any(|path| !hidden(path) && !own(path)))
}

/// Clocks of file systems are coarse.
const SLACK: Duration = Duration::from_millis(50);
