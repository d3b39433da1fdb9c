//! What is new in the folders that are read.
//!
//! Not the guarantee that it is delivered once: a message may be listed again, and never is one hidden. How far a
//! folder was seen through is its UIDVALIDITY and the next UID; of a tree only those are opened in
//! which STATUS says that something came, and all of them now and then.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;

use super::Imap;
use super::change::would_come_back;
use super::idle::Watch;
use super::key::{Key, Place, Places};
use super::session::{Selected, Session};
use super::trouble::{self, words};
use super::window::Window;
use crate::config::launcher::Since;
use crate::event::Level;
use crate::model::{Disposition, ItemKey};
use crate::proto::imap::names;
use crate::proto::imap::response::{Kind, Response, Status, Value};
use crate::proto::imap::sets::sets;
use crate::source::{Cursor, Discovery, Item, SourceError};
use crate::text;

/// What discovery has found so far.
#[derive(Default)]
struct Found {
    items: Vec<Item>,
    /// How far it went.
    places: Vec<Place>,
    /// Where it began.
    starts: Vec<Place>,
}

impl Imap {
    pub(super) async fn try_discover(&mut self, cursor: Option<&Cursor>) -> Result<Discovery, SourceError> {
        let known = cursor.and_then(Places::from_cursor);
        let mut open = self.find_folders().await?;
        self.check_targets().await?;
        let folders = self.read.clone();
        let unchanged = self.unchanged(known.as_ref()).await?;
        let mut found = Found::default();
        self.watch = None;
        for name in &folders {
            let place = known.as_ref().and_then(|known| known.find(self.account(), &names::show(name)));
            if let Some(place) = place.filter(|_| unchanged.contains(name)) {
                found.keep(place);
                self.watch_from(name, place.uidvalidity, place.next);
                continue;
            }
            let writable = self.changes();
            let selected = match open.take() {
                Some(selected) => Ok(selected),
                None => self.session().await?.select(name, writable).await?,
            };
            match selected {
                Ok(selected) => self.list_folder(&selected, known.as_ref(), &mut found).await?,
                Err(status) => {
                    self.passed_over(name, &status);
                    if let Some(place) = place {
                        found.keep(place);
                    }
                }
            }
        }
        self.keep_gone(known.as_ref(), &mut found);
        // a server never gives a UID again, so nothing depends on what has left
        let (cursor, start) = (Places(found.places).to_cursor(), Places(found.starts).to_cursor());
        Ok(Discovery {
            items: found.items,
            cursor: Some(cursor),
            start: Some(start),
            present: None,
            copies: 0,
            standing: false,
        })
    }

    /// Finds the folders that are read; a single one is opened on the way.
    pub(super) async fn find_folders(&mut self) -> Result<Option<Selected>, SourceError> {
        let (source, writable, tree) = (self.launcher.source.clone(), self.changes(), self.launcher.subfolders);
        let session = self.session().await?;
        if tree {
            self.read = session.tree(&source).await?;
            return Ok(None);
        }
        let selected = session.open_folder(&source, writable).await?;
        self.read = vec![selected.name.clone()];
        Ok(Some(selected))
    }

    /// What is moved into a folder that is read would come back as new.
    async fn check_targets(&mut self) -> Result<(), SourceError> {
        let tree = self.launcher.subfolders;
        for what in [self.launcher.after.clone(), self.launcher.after_empty.clone()] {
            let Disposition::Move(folder) = what else { continue };
            let (read, source) = (self.read.clone(), self.launcher.source.clone());
            let session = self.session().await?;
            if session.target(&folder).await?.is_among(&read, tree, &source) {
                return Err(would_come_back(session.wire.host(), &folder));
            }
        }
        Ok(())
    }

    /// The folders of a tree in which nothing has come since they were seen through. STATUS is believed for a while only:
    /// Dovecot does not notice there what was put into a Maildir within a second of its last look.
    async fn unchanged(&mut self, known: Option<&Places>) -> Result<HashSet<String>, SourceError> {
        let mut unchanged = HashSet::new();
        let Some(known) = known.filter(|_| self.read.len() > 1 && !self.launcher.unseen_only) else {
            return Ok(unchanged);
        };
        let (folders, since) = (self.read.clone(), self.since());
        let account = self.account().to_owned();
        let places: Vec<(&String, &Place)> = folders
            .iter()
            .filter_map(|name| Some((name, known.find(&account, &names::show(name))?)))
            .filter(|(name, place)| place.since == since && self.is_fresh(name))
            .collect();
        let asked: Vec<&str> = places.iter().map(|(name, _)| name.as_str()).collect();
        let statuses = statuses(self.session().await?, &asked).await?;
        for (name, place) in places {
            if statuses
                .get(name)
                .is_some_and(|&(uidvalidity, next)| uidvalidity == place.uidvalidity && next <= place.next)
            {
                unchanged.insert(name.clone());
            }
        }
        Ok(unchanged)
    }

    fn is_fresh(&self, name: &str) -> bool {
        self.seen.get(name).is_some_and(|seen| seen.elapsed() < STATUS_BELIEVED)
    }

    /// Lists what is new in the open folder.
    async fn list_folder(
        &mut self,
        selected: &Selected,
        known: Option<&Places>,
        found: &mut Found,
    ) -> Result<(), SourceError> {
        let (since, unseen, criteria) = (self.since(), self.launcher.unseen_only, self.criteria());
        let account = self.account().to_owned();
        let before = known.and_then(|known| known.find(&account, &selected.folder));
        let reissued = match before {
            Some(place) => place.uidvalidity != selected.uidvalidity,
            // a folder that was renamed looks like one that left and one that came
            None => known.is_some_and(|known| self.has_left(known)),
        };
        let next =
            before.filter(|place| !reissued && !unseen && place.since == since).map_or(1, |place| place.next.max(1));
        let session = self.session().await?;
        let uids = if selected.exists == 0 { Vec::new() } else { search_from(session, next, &criteria).await? };
        let sizes = sizes(session, &uids).await?;
        let after = uids.last().map_or(next, |last| last.saturating_add(1).max(next));
        let (folder, uidvalidity) = (selected.folder.clone(), selected.uidvalidity);
        let place = Place { account, folder, uidvalidity, next, since, gone: false };
        found.starts.push(place.clone());
        found.places.push(Place { next: if unseen { 1 } else { after }, ..place });
        found.items.extend(uids.iter().map(|uid| Item {
            key: self.key(selected, *uid),
            hint: uid.to_string(),
            size: sizes.get(uid).copied(),
            reissued,
        }));
        self.watch_from(&selected.name, uidvalidity, after);
        self.seen.insert(selected.name.clone(), Instant::now());
        Ok(())
    }

    /// Whether a folder that was read until now is not there any more (or is another account's).
    fn has_left(&self, known: &Places) -> bool {
        known.0.iter().any(|place| !place.gone && !self.is_read(place))
    }

    fn is_read(&self, place: &Place) -> bool {
        place.account == self.account() && self.read.iter().any(|name| names::show(name) == place.folder)
    }

    /// A folder that left may come back, with other UIDs under a new UIDVALIDITY.
    fn keep_gone(&self, known: Option<&Places>, found: &mut Found) {
        if !self.launcher.subfolders {
            return;
        }
        for place in known.iter().flat_map(|known| &known.0) {
            if place.account == self.account() && !self.is_read(place) {
                found.keep(&Place { gone: true, ..place.clone() });
            }
        }
    }

    /// IDLE waits in the first folder.
    fn watch_from(&mut self, name: &str, uidvalidity: u32, next: u32) {
        if self.watch.is_none() {
            self.watch = Some(Watch { name: name.to_owned(), uidvalidity, next, criteria: self.criteria() });
        }
    }

    fn key(&self, selected: &Selected, uid: u32) -> ItemKey {
        let account = self.account().to_owned();
        Key { account, folder: selected.folder.clone(), uidvalidity: selected.uidvalidity, uid }.to_item()
    }

    fn since(&self) -> String {
        self.launcher.since.map(since_text).unwrap_or_default()
    }

    /// What the server is asked for besides the range of UIDs.
    fn criteria(&self) -> String {
        let mut criteria = String::new();
        if self.launcher.unseen_only {
            criteria.push_str(" UNSEEN");
        }
        if let Some(day) = self.launcher.since.and_then(since_day) {
            criteria.push_str(" SINCE ");
            criteria.push_str(&imap_date(day));
        }
        criteria
    }

    /// A folder of a tree that cannot be opened stops no other one.
    fn passed_over(&self, name: &str, status: &Status) {
        let (folder, said) = (names::show(name), words(status));
        let text = text!(
            "folder {folder} cannot be opened and is passed over: {said}",
            "dossier {folder} impossible à ouvrir, laissé de côté : {said}"
        );
        self.tell(Level::Warning, "imap_folder_passed_over", text);
    }
}

impl Found {
    /// Nothing new here.
    fn keep(&mut self, place: &Place) {
        self.starts.push(place.clone());
        self.places.push(place.clone());
    }
}

/// UIDs from `next` on, ascending.
pub(super) async fn search_from(session: &mut Session, next: u32, criteria: &str) -> Result<Vec<u32>, SourceError> {
    let range = if next > 1 { format!("UID {next}:*") } else { "ALL".to_owned() };
    let mut uids = search(session, &format!("{range}{criteria}")).await?;
    // `n:*` always names the last message, also where n is beyond it (RFC 3501, 6.4.8)
    uids.retain(|&uid| uid >= next);
    Ok(uids)
}

/// UID SEARCH; ascending, each once.
pub(super) async fn search(session: &mut Session, criteria: &str) -> Result<Vec<u32>, SourceError> {
    let reply = session.run("UID SEARCH", &format!("UID SEARCH {criteria}")).await?;
    let found = reply.data.into_iter().filter_map(|response| match response {
        Response::Search(uids) => Some(uids),
        _ => None,
    });
    let uids: BTreeSet<u32> = found.flatten().filter(|&uid| uid != 0).collect();
    Ok(uids.into_iter().collect())
}

/// Those of `uids` that the server lists.
pub(super) async fn listed(session: &mut Session, uids: &[u32]) -> Result<BTreeSet<u32>, SourceError> {
    let mut listed = BTreeSet::new();
    for set in sets(uids, usize::MAX) {
        listed.extend(search(session, &format!("UID {}", set.text)).await?);
    }
    Ok(listed)
}

/// UIDVALIDITY and UIDNEXT of folders (STATUS, RFC 3501, 6.3.10); one that the server does not tell is left out.
async fn statuses(session: &mut Session, folders: &[&str]) -> Result<HashMap<String, (u32, u32)>, SourceError> {
    let mut statuses = HashMap::new();
    for some in folders.chunks(STATUSES_TOGETHER) {
        let mut under_way = HashSet::new();
        for name in some {
            let line = format!("STATUS {} (UIDNEXT UIDVALIDITY)", names::quote(name));
            under_way.insert(session.wire.send(&line).await?);
        }
        while !under_way.is_empty() {
            match session.wire.next(None).await?.response {
                Response::Status(status) if status.tag.as_ref().is_some_and(|tag| under_way.remove(tag)) => {
                    let refused = status.kind != Kind::Ok;
                    if let Some(error) = trouble::passing(session.wire.host(), &status).filter(|_| refused) {
                        return Err(error);
                    }
                }
                response => statuses.extend(read_status(&response)),
            }
        }
    }
    Ok(statuses)
}

fn read_status(response: &Response) -> Option<(String, (u32, u32))> {
    let Response::Data { name, values, .. } = response else { return None };
    let [folder, .., Value::List(items)] = values.as_slice() else { return None };
    let number = |wanted: &str| {
        let pair =
            items.chunks_exact(2).find(|pair| pair[0].text().is_some_and(|item| item.eq_ignore_ascii_case(wanted)));
        pair?[1].text()?.parse().ok()
    };
    (name == "STATUS").then_some((folder.text()?, (number("UIDVALIDITY")?, number("UIDNEXT")?)))
}

/// Sizes of messages; one that the server does not tell is left out.
async fn sizes(session: &mut Session, uids: &[u32]) -> Result<HashMap<u32, u64>, SourceError> {
    let mut window = Window::new(sets(uids, SIZES_TOGETHER), "(UID RFC822.SIZE)");
    let mut sizes = HashMap::new();
    while let Some((uid, incoming)) = window.next(session, None).await? {
        if let Some(size) = incoming.response.fetch().and_then(|fetch| fetch.number("RFC822.SIZE")) {
            sizes.insert(uid, size);
        }
    }
    if let Some((_, status)) = window.refused.first() {
        if let Some(error) = trouble::passing(session.wire.host(), status) {
            return Err(error);
        }
        let (host, said) = (session.wire.host(), words(status));
        let text = text!("{host} does not tell sizes: {said}", "{host} ne donne pas les tailles : {said}");
        session.warn("imap_sizes_refused", text);
    }
    Ok(sizes)
}

/// How `since` is remembered in the cursor.
fn since_text(since: Since) -> String {
    match since {
        Since::Date(day) => day.to_string(),
        Since::Back(back) => format!("{}s", back.as_secs()),
    }
}

/// The first day that is asked for. A duration counts back from now, and one day more for the zones of the world.
fn since_day(since: Since) -> Option<jiff::civil::Date> {
    match since {
        Since::Date(day) => Some(day),
        Since::Back(back) => {
            let then = jiff::Timestamp::now().checked_sub(back.saturating_add(Duration::from_hours(24))).ok()?;
            Some(then.to_zoned(jiff::tz::TimeZone::UTC).date())
        }
    }
}

/// `date` of RFC 3501, 9: `1-Feb-2026`.
fn imap_date(day: jiff::civil::Date) -> String {
    let month = MONTHS[usize::from(day.month().unsigned_abs()) - 1];
    format!("{}-{month}-{}", day.day(), day.year())
}

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
/// Sizes asked for in one command.
const SIZES_TOGETHER: usize = 1000;
/// A folder is opened at least so often.
const STATUS_BELIEVED: Duration = Duration::from_mins(15);
/// Folders asked about before the first answer is read.
const STATUSES_TOGETHER: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_the_rfc_wants_them() {
        assert_eq!(imap_date(jiff::civil::date(2026, 2, 1)), "1-Feb-2026");
        assert_eq!(since_day(Since::Date(jiff::civil::date(2025, 12, 31))), Some(jiff::civil::date(2025, 12, 31)));
        let day = since_day(Since::Back(Duration::from_hours(48))).unwrap();
        let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
        assert!(day.until(today).unwrap().get_days() >= 3);
    }
}
