//! What sources of dropped files share: when a file has settled, how it is put away, how its path is written down.
//!
//! Not a source: who drops what, and what counts as one item, each of them decides. Nothing is replaced here, and
//! nothing is removed before its copy is safe.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::SourceError;
use crate::delivery::stamp::Stamp;
use crate::delivery::{Published, publish, sync_directory};
use crate::document::names::numbered;
use crate::event::{Event, Events, Level};
use crate::model::{Code, Fault, ItemKey, ServiceName, hex};
use crate::text;
use crate::text::Text;

/// Which of the things in a directory have stayed as they are for long enough; `T` is what they look like.
#[derive(Debug)]
pub(super) struct Settling<T> {
    pub(super) settle: Duration,
    /// Since when each has looked as it does: for file systems and clocks whose times say nothing.
    seen: HashMap<PathBuf, (T, Instant)>,
    /// When the first of those that have not settled may have.
    due: Option<Instant>,
}

impl<T: Clone + PartialEq> Settling<T> {
    /// Nothing has been seen yet; `settle` is the option.
    pub(super) fn new(settle: Duration) -> Self {
        Self { settle, seen: HashMap::new(), due: None }
    }

    /// Whether what lies at `path` has stayed as it is for `settle`; `stamps` are those of its files.
    pub(super) fn is_settled(&mut self, path: &Path, look: &T, stamps: &[Stamp]) -> bool {
        self.is_unchanged_for(self.settle, path, look, stamps)
    }

    /// The same for another time.
    pub(super) fn is_unchanged_for(&mut self, time: Duration, path: &Path, look: &T, stamps: &[Stamp]) -> bool {
        let since = match self.seen.get(path) {
            Some((before, since)) if before == look => *since,
            _ => {
                let now = Instant::now();
                self.seen.insert(path.to_owned(), (look.clone(), now));
                now
            }
        };
        let settled = since.elapsed() >= time || stamps.iter().all(|stamp| stamp_is_older(stamp, time));
        if !settled {
            let due = since + time;
            self.due = Some(self.due.map_or(due, |before| before.min(due)));
        }
        settled
    }

    /// How long until something that had not settled may have; `None`: all had.
    pub(super) fn due(&self) -> Option<Duration> {
        self.due.map(|due| due.saturating_duration_since(Instant::now()))
    }

    /// Begins to look at all of them anew, and forgets what is no longer there.
    pub(super) fn keep(&mut self, is_there: impl Fn(&PathBuf) -> bool) {
        self.due = None;
        self.seen.retain(|path, _| is_there(path));
    }
}

/// What `acknowledge` answers: one file that cannot be put away holds up no other.
pub(super) fn answer(
    done: Vec<ItemKey>,
    trouble: Option<Fault>,
    name: &ServiceName,
    events: &Events,
) -> Result<Vec<ItemKey>, SourceError> {
    match trouble {
        Some(fault) if !done.is_empty() => {
            events.emit(Event::new(Level::Warning, "after_failed", fault.text).about(name));
            Ok(done)
        }
        Some(fault) => Err(SourceError::Mailbox(fault)),
        None => Ok(done),
    }
}

/// That `after` could not be carried out for what lies at `path`.
pub(super) fn not_put_away(path: &Path, error: &io::Error) -> Fault {
    let path = path.display();
    Fault::new(
        Code::Folder,
        text!(
            "{path}: delivered, but `after` cannot be carried out: {error}; it is tried again in the next cycle",
            "{path} : livré, mais `after` ne peut être exécuté : {error} ; nouvel essai au prochain cycle"
        ),
    )
}

/// That a directory cannot be read.
pub(super) fn unreadable(dir: &Path, error: &io::Error) -> SourceError {
    let dir = dir.display();
    let Text { en, fr } = Text::io(error);
    SourceError::Mailbox(Fault::new(
        Code::Folder,
        text!(
            "{dir}: the directory cannot be read: {en}; check `source`, and that this user may list it",
            "{dir} : impossible de lire le répertoire : {fr} ; vérifiez `source`, et que cet utilisateur peut le lister"
        ),
    ))
}

/// Moves a file into a directory, which is made when it is missing, under its own name or the next free one; by a
/// copy where that directory is on another volume.
pub(super) fn move_to(path: &Path, dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    match move_under_free_name(path, dir, name) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {}
        other => return other,
    }
    let copy = dir.join(format!(".{}.part", name.to_string_lossy()));
    fs::copy(path, &copy)?;
    fs::File::open(&copy)?.sync_all()?;
    move_under_free_name(&copy, dir, name)?;
    fs::remove_file(path)
}

pub(super) fn move_under_free_name(path: &Path, dir: &Path, name: &std::ffi::OsStr) -> io::Result<()> {
    if publish(path, &dir.join(name))? == Published::Taken {
        let name = name.to_string_lossy();
        for n in 2.. {
            if publish(path, &dir.join(numbered(&name, n)))? == Published::Done {
                break;
            }
        }
    }
    sync_directory(dir)
}

/// The file's own name; what is not UTF-8 is read as Windows-1252, as old shares write it.
pub(super) fn own_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    match name.to_str() {
        Some(name) => name.to_owned(),
        None => encoding_rs::WINDOWS_1252.decode_without_bom_handling(name.as_encoded_bytes()).0.into_owned(),
    }
}

/// A path as JSON. One that is not UTF-8 is written as hexadecimal digits, so that it is found again.
pub(super) fn path_to_json(path: &Path) -> serde_json::Value {
    match path.to_str() {
        Some(path) => serde_json::json!(path),
        None => serde_json::json!({ "hex": hex(path.as_os_str().as_encoded_bytes()) }),
    }
}

/// The inverse of [`path_to_json`].
pub(super) fn path_from_json(value: &serde_json::Value) -> Option<PathBuf> {
    match value {
        serde_json::Value::String(path) => Some(PathBuf::from(path)),
        other => path_from_hex(other.get("hex")?.as_str()?),
    }
}

#[cfg(unix)]
fn path_from_hex(digits: &str) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    let pairs = digits.as_bytes().chunks(2);
    let bytes = pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    Some(PathBuf::from(std::ffi::OsString::from_vec(bytes.collect::<Option<_>>()?)))
}

#[cfg(not(unix))]
fn path_from_hex(_: &str) -> Option<PathBuf> {
    None // names that are not Unicode are not found again here: they are delivered, and stay at the source
}

/// Whether modification and change time are both older than `settle`. A modification time in the future (copied
/// from a machine whose clock is wrong) does not hold a file back where the system's own change time is known.
fn stamp_is_older(stamp: &Stamp, settle: Duration) -> bool {
    let now = nanoseconds(SystemTime::now());
    let settle = i128::try_from(settle.as_nanos()).unwrap_or(i128::MAX);
    let modified = nanoseconds(stamp.modified);
    match stamp.changed {
        Some(changed) => now - changed >= settle && (now - modified >= settle || modified > now),
        None => false, // seen unchanged for so long is the only way
    }
}

/// Nanoseconds since 1970.
pub(super) fn nanoseconds(time: SystemTime) -> i128 {
    let signed = |duration: Duration| i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => signed(after),
        Err(before) => -signed(before.duration()),
    }
}

/// Which directory stands under the path: device and inode, where the platform has them.
pub(super) fn identity(dir: &Path) -> io::Result<String> {
    let stamp = Stamp::from_metadata(&fs::metadata(dir)?)?;
    Ok(stamp.inode.map_or_else(String::new, |(device, inode)| format!("{device}:{inode}")))
}
