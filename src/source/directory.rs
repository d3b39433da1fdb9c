//! A plain directory of dropped files: scanners, exports, other programs.
//!
//! Not a watcher: it lists. Files are read in place and never moved first, because a file that somebody still
//! writes to must not be taken away under their hands; what changed while it was read is taken again. Only regular
//! files count, directly in the directory or, with `subfolders`, below it; names that begin with a dot are left alone
//! (`rsync`, `scp` wrappers and editors write there before they rename), and so are symbolic links, which may point
//! anywhere.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;

use super::dropped::{
    Settling, answer, identity, move_to, nanoseconds, not_put_away, own_name, path_from_json, path_to_json, unreadable,
};
use super::outlet::Outlet;
use super::watch::Watch;
use super::{Content, Cursor, Discovery, Fetched, Fingerprint, Item, Source, SourceError, Wake};
use crate::config::Launcher;
use crate::config::launcher::Since;
use crate::delivery::spool::Spool;
use crate::delivery::stamp::Stamp;
use crate::event::{Event, Events, Level};
use crate::model::{Digest, Disposition, Fault, ItemKey, ServiceName};

/// A directory of dropped files.
#[derive(Debug)]
pub struct Directory {
    name: ServiceName,
    events: Events,
    dir: PathBuf,
    subfolders: bool,
    /// `since`: files that were last modified before are none of ours.
    since: Option<Since>,
    /// Which of them have stayed as they are.
    settling: Settling<Stamp>,
    watch: Watch,
}

impl Directory {
    /// A source for a `directory` launcher; the directory is looked at by [`Source::discover`] only.
    pub fn new(launcher: &Launcher, events: Events) -> Self {
        let (name, dir) = (launcher.name.clone(), PathBuf::from(&launcher.source));
        let (subfolders, since) = (launcher.subfolders, launcher.since);
        Self { name, events, dir, subfolders, since, settling: Settling::new(launcher.settle), watch: Watch::default() }
    }

    /// Lists the regular files, oldest first, with what they look like.
    fn list(&self) -> Result<Listing, SourceError> {
        let dir = fs::canonicalize(&self.dir).map_err(|error| unreadable(&self.dir, &error))?;
        let top = identity(&dir).map_err(|error| unreadable(&dir, &error))?;
        let mut listing = Listing { files: Vec::new(), places: vec![top], whole: true };
        self.look_into(&dir, 0, &mut listing).map_err(|error| unreadable(&dir, &error))?;
        listing.files.sort_by(|one, other| (one.1.modified, &one.0).cmp(&(other.1.modified, &other.0)));
        listing.places[1..].sort();
        Ok(listing)
    }

    fn look_into(&self, dir: &Path, depth: usize, listing: &mut Listing) -> io::Result<()> {
        let device = Stamp::of(dir)?.device();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let path = entry.path();
            // a file may vanish between the listing and this look; a later cycle sees what is there then
            let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
            if metadata.is_file() {
                listing.files.push((path, Stamp::from_metadata(&metadata)?));
            } else if metadata.is_dir() && self.subfolders {
                if Stamp::from_metadata(&metadata)?.device() != device {
                    listing.places.push(identity(&path)?);
                }
                self.look_below(&path, depth + 1, listing);
            }
        }
        Ok(())
    }

    /// A folder that cannot be read holds up no other; nothing counts as gone meanwhile.
    fn look_below(&self, dir: &Path, depth: usize, listing: &mut Listing) {
        let too_deep = || io::Error::other(format!("more than {DEEPEST} folders deep"));
        let looked = if depth > DEEPEST { Err(too_deep()) } else { self.look_into(dir, depth, listing) };
        if let Err(error) = looked {
            listing.whole = false;
            if error.kind() == io::ErrorKind::NotFound {
                return; // removed since it was listed
            }
            let fault = unreadable(dir, &error).fault().clone();
            self.events.emit(Event::new(Level::Warning, "folder_unreadable", fault.text).about(&self.name));
        }
    }
}

#[async_trait]
impl Source for Directory {
    async fn count(&mut self) -> Result<u64, SourceError> {
        Ok(self.list()?.files.len() as u64)
    }

    async fn discover(&mut self, cursor: Option<&Cursor>) -> Result<Discovery, SourceError> {
        let Listing { files, places, whole } = self.list()?;
        let present: HashSet<ItemKey> = files.iter().map(|(path, stamp)| key(path, stamp)).collect();
        let listed: HashSet<&PathBuf> = files.iter().map(|(path, _)| path).collect();
        self.settling.keep(|path| listed.contains(path));
        let first = self.since.and_then(Since::first_moment);
        let recent = files.iter().filter(|(_, stamp)| first.is_none_or(|first| stamp.modified >= first));
        let settled = recent.filter(|(path, stamp)| self.settling.is_settled(path, stamp, &[*stamp]));
        let item = |(path, stamp): &(PathBuf, Stamp)| Item {
            key: key(path, stamp),
            hint: String::new(),
            size: Some(stamp.size),
            reissued: false,
        };
        let items = settled.map(item).collect();
        // another directory under the same path (a share that is not mounted): nothing has left; and an empty one
        // never counts as the one to go by, or all would be new once the share is back, nor one that lacks a share
        // below it
        let before: Vec<&str> = cursor.map(|cursor| cursor.0.split(' ').collect()).unwrap_or_default();
        let same_top = before.first().is_none_or(|top| *top == places[0]);
        let same = same_top && before.iter().all(|place| places.iter().any(|now| now == place));
        let usable = whole && (same || (!same_top && !present.is_empty()));
        let cursor = usable.then(|| Cursor(places.join(" ")));
        let present = (same && whole).then_some(present);
        Ok(Discovery { items, cursor, start: None, present, copies: 0, standing: false })
    }

    /// Nobody reissues these keys, since they are made of what the file is: date and name are what is asked for.
    async fn identify(&mut self, batch: &[Item]) -> Result<Vec<(ItemKey, Fingerprint)>, SourceError> {
        Ok(batch.iter().filter_map(|item| Some((item.key.clone(), fingerprint(&item.key)?))).collect())
    }

    async fn fetch(&mut self, batch: &[Item], _: &Spool, out: Outlet) -> Result<(), SourceError> {
        for item in batch {
            let fetched = Fetched { key: item.key.clone(), content: Ok(content(&item.key)) };
            if out.send(fetched).await.is_err() {
                break; // the cycle was stopped
            }
        }
        Ok(())
    }

    async fn acknowledge(&mut self, batch: &[ItemKey], what: &Disposition) -> Result<Vec<ItemKey>, SourceError> {
        let (mut done, mut trouble) = (Vec::new(), None);
        for key in batch {
            match dispose(key, what) {
                Ok(()) => done.push(key.clone()),
                Err(fault) => trouble = Some(fault),
            }
        }
        answer(done, trouble, &self.name, &self.events)
    }

    async fn finish(&mut self) -> Result<(), SourceError> {
        Ok(())
    }

    async fn wait(&mut self, upto: Duration) -> Wake {
        let (due, quiet) = (self.settling.due(), self.settling.settle);
        self.watch.wait(&self.dir, self.subfolders, due, quiet, upto).await
    }
}

/// What a directory holds.
struct Listing {
    files: Vec<(PathBuf, Stamp)>,
    /// Which directory it is, and which volumes are mounted below it.
    places: Vec<String>,
    /// Every folder could be read.
    whole: bool,
}

fn fingerprint(key: &ItemKey) -> Option<Fingerprint> {
    let (path, size, modified) = read_key(key)?;
    let header = Digest::of(key.as_str().as_bytes());
    let away = Duration::from_nanos(u64::try_from(modified.unsigned_abs()).ok()?);
    let date = if modified < 0 { UNIX_EPOCH.checked_sub(away) } else { UNIX_EPOCH.checked_add(away) };
    let subject = Some(own_name(&path));
    Some(Fingerprint { message_id: None, size: Some(size), header, date, from: None, subject })
}

/// Carries out `after` for one file, unless it has gone or is no longer the file that was delivered.
fn dispose(key: &ItemKey, what: &Disposition) -> Result<(), Fault> {
    let Some((path, size, modified)) = read_key(key) else { return Ok(()) };
    let unchanged = |stamp: &Stamp| stamp.size == size && nanoseconds(stamp.modified) == modified;
    if !Stamp::of(&path).is_ok_and(|stamp| unchanged(&stamp)) {
        return Ok(());
    }
    let failed = |error: io::Error| not_put_away(&path, &error);
    match what {
        Disposition::Delete => fs::remove_file(&path).map_err(failed),
        Disposition::Move(dir) => move_to(&path, Path::new(dir)).map_err(failed),
        Disposition::Leave | Disposition::Seen | Disposition::Flag | Disposition::Category(_) => Ok(()),
    }
}

/// The content of a listed file, or that it has gone or become another one.
fn content(key: &ItemKey) -> Content {
    let Some((path, size, modified)) = read_key(key) else { return Content::Gone };
    match Stamp::of(&path) {
        Ok(stamp) if stamp.size == size && nanoseconds(stamp.modified) == modified => {
            let name = own_name(&path);
            Content::File { path, name, stamp }
        }
        _ => Content::Gone,
    }
}

/// Contract, section 1: path, size, modification time (nanoseconds since 1970).
fn key(path: &Path, stamp: &Stamp) -> ItemKey {
    let path = path_to_json(path);
    ItemKey::new(serde_json::json!([path, stamp.size, nanoseconds(stamp.modified).to_string()]).to_string())
}

/// The inverse of [`key`]; `None` for a key of another kind of source.
fn read_key(key: &ItemKey) -> Option<(PathBuf, u64, i128)> {
    let value: serde_json::Value = serde_json::from_str(key.as_str()).ok()?;
    let path = path_from_json(value.get(0)?)?;
    Some((path, value.get(1)?.as_u64()?, value.get(2)?.as_str()?.parse().ok()?))
}

/// Folders below one another; a tree that is deeper is not for documents.
const DEEPEST: usize = 64;

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::model::Code;

    fn source(dir: &Path, settle: Duration) -> Directory {
        let (name, events) = (ServiceName::new("depot"), Events::nowhere());
        let (dir, subfolders) = (dir.to_owned(), false);
        Directory {
            name,
            events,
            dir,
            subfolders,
            since: None,
            settling: Settling::new(settle),
            watch: Watch::default(),
        }
    }

    async fn names(source: &mut Directory) -> Vec<String> {
        let discovery = source.discover(None).await.unwrap();
        let name = |item: &Item| own_name(&read_key(&item.key).unwrap().0);
        discovery.items.iter().map(name).collect()
    }

    #[tokio::test]
    async fn only_regular_visible_files_are_listed() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("été.pdf"), "x").unwrap();
        fs::write(dir.path().join(".hidden"), "x").unwrap();
        fs::create_dir(dir.path().join("sub")).unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("link")).unwrap();
        assert_eq!(names(&mut source(dir.path(), Duration::ZERO)).await, ["été.pdf"]);
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn with_subfolders_everything_below_is_listed_but_hidden_folders_and_links() {
        let dir = tempfile::tempdir().unwrap();
        for (folder, name) in
            [("", "a.pdf"), ("2026/été", "b.pdf"), (".pertuis-staging/x", "c.pdf"), ("2026/.git", "d")]
        {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
            fs::write(dir.path().join(folder).join(name), "x").unwrap();
        }
        let elsewhere = tempfile::tempdir().unwrap();
        fs::write(elsewhere.path().join("e.pdf"), "x").unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), dir.path().join("link")).unwrap();
        std::os::unix::fs::symlink(dir.path(), dir.path().join("2026/loop")).unwrap();
        let mut source = source(dir.path(), Duration::ZERO);
        assert_eq!(names(&mut source).await, ["a.pdf"]);
        source.subfolders = true;
        assert_eq!(
            names(&mut source).await.into_iter().collect::<HashSet<_>>(),
            HashSet::from(["a.pdf", "b.pdf"].map(str::to_owned))
        );
        assert_eq!(source.discover(None).await.unwrap().present.unwrap().len(), 2);
    }

    #[tokio::test]
    async fn nothing_has_left_while_a_share_below_is_not_mounted() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.pdf"), "x").unwrap();
        let mut source = source(dir.path(), Duration::ZERO);
        let now = source.discover(None).await.unwrap().cursor.unwrap();
        let with_share = Cursor(format!("{} 77:2", now.0));
        let discovery = source.discover(Some(&with_share)).await.unwrap();
        assert_eq!((discovery.present, discovery.cursor), (None, None));
        let discovery = source.discover(Some(&now)).await.unwrap();
        assert!(discovery.present.is_some() && discovery.cursor == Some(now));
    }

    #[tokio::test]
    async fn a_file_has_its_modification_time_for_a_date() {
        let dir = tempfile::tempdir().unwrap();
        let file = fs::File::create(dir.path().join("a.pdf")).unwrap();
        let time = UNIX_EPOCH + Duration::from_hours(1);
        file.set_modified(time).unwrap();
        let mut source = source(dir.path(), Duration::ZERO);
        let items = source.discover(None).await.unwrap().items;
        let print = source.identify(&items).await.unwrap().remove(0).1;
        assert_eq!((print.date, print.subject.as_deref()), (Some(time), Some("a.pdf")));
    }

    #[tokio::test]
    async fn what_was_last_modified_before_since_is_not_taken_and_counts_as_present() {
        let dir = tempfile::tempdir().unwrap();
        for (name, age) in [("old.pdf", 50), ("new.pdf", 10)] {
            let file = fs::File::create(dir.path().join(name)).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_hours(age)).unwrap();
        }
        let mut source = source(dir.path(), Duration::ZERO);
        source.since = Some(Since::Back(Duration::from_hours(24)));
        assert_eq!(names(&mut source).await, ["new.pdf"]);
        assert_eq!(source.discover(None).await.unwrap().present.unwrap().len(), 2);
        let day = |hours: i64| jiff::Zoned::now().checked_sub(jiff::SignedDuration::from_hours(hours)).unwrap().date();
        source.since = Some(Since::Date(day(24)));
        assert_eq!(names(&mut source).await, ["new.pdf"]);
        source.since = Some(Since::Date(day(100)));
        assert_eq!(names(&mut source).await, ["old.pdf", "new.pdf"]);
    }

    #[tokio::test]
    async fn a_fresh_file_waits_and_counts_as_present() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.pdf"), "x").unwrap();
        let discovery = source(dir.path(), Duration::from_hours(1)).discover(None).await.unwrap();
        assert!(discovery.items.is_empty());
        assert_eq!(discovery.present.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn nothing_has_left_a_directory_that_is_another_one_now() {
        let dir = tempfile::tempdir().unwrap();
        let other = Cursor("0:0".into());
        let discovery = source(dir.path(), Duration::ZERO).discover(Some(&other)).await.unwrap();
        assert_eq!(discovery.present, None);
    }

    #[tokio::test]
    async fn a_missing_directory_is_named() {
        let error = source(Path::new("/nowhere/at/all"), Duration::ZERO).discover(None).await.unwrap_err();
        assert_eq!(error.fault().code, Code::Folder);
        assert!(error.fault().text.en.contains("/nowhere/at/all"));
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn names_that_are_not_utf8_are_found_again() {
        use std::os::unix::ffi::OsStrExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(std::ffi::OsStr::from_bytes(b"\xe9t\xe9.pdf"));
        fs::write(&path, "x").unwrap();
        let mut source = source(dir.path(), Duration::ZERO);
        assert_eq!(names(&mut source).await, ["été.pdf"]);
        let key = source.discover(None).await.unwrap().items[0].key.clone();
        source.acknowledge(&[key], &Disposition::Delete).await.unwrap();
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_file_that_was_replaced_after_delivery_is_not_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.pdf");
        fs::write(&path, "old").unwrap();
        let mut source = source(dir.path(), Duration::ZERO);
        let key = source.discover(None).await.unwrap().items[0].key.clone();
        fs::write(&path, "newer").unwrap();
        assert_eq!(source.acknowledge(std::slice::from_ref(&key), &Disposition::Delete).await.unwrap(), [key]);
        assert_eq!(fs::read(&path).unwrap(), b"newer");
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_moved_holds_up_no_other() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a.pdf", "b.pdf"] {
            fs::write(dir.path().join(name), "x").unwrap();
        }
        let mut source = source(dir.path(), Duration::ZERO);
        let mut keys: Vec<_> = source.discover(None).await.unwrap().items.into_iter().map(|item| item.key).collect();
        // a directory in the place of the file stands for one that the system does not let go
        let path = dir.path().join("a.pdf");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        keys[0] = key(&path, &Stamp::of(&path).unwrap());
        assert_eq!(source.acknowledge(&keys, &Disposition::Delete).await.unwrap(), keys[1..]);
        let error = source.acknowledge(&keys[..1], &Disposition::Delete).await.unwrap_err();
        assert!(error.fault().text.en.contains("a.pdf"), "{error}");
    }

    #[tokio::test]
    async fn moving_never_replaces() {
        let (dir, done) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(dir.path().join("a.pdf"), "new").unwrap();
        fs::write(done.path().join("a.pdf"), "old").unwrap();
        let mut source = source(dir.path(), Duration::ZERO);
        let key = source.discover(None).await.unwrap().items[0].key.clone();
        let what = Disposition::Move(done.path().to_string_lossy().into_owned());
        source.acknowledge(&[key], &what).await.unwrap();
        assert_eq!(fs::read(done.path().join("a.pdf")).unwrap(), b"old");
        assert_eq!(fs::read(done.path().join("a (2).pdf")).unwrap(), b"new");
        assert!(!dir.path().join("a.pdf").exists());
    }
}
