//! An IMAP mailbox.
//!
//! Not the protocol's grammar (`proto/imap`) and no guarantee of delivery (the launcher's cycle). Messages are named
//! by UID alone, never by sequence number, and nothing is read with a command that marks as seen (`BODY.PEEK`; the
//! folder is opened read-only unless `after` changes something). The connection is made by the first call that needs
//! it and given up at the first error that leaves it in doubt, so each call works as the first one.

mod change;
mod fetch;
mod key;
mod session;
mod stream;
mod trouble;
mod window;
mod wire;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;

use self::fetch::Bodies;
use self::key::{Key, Place};
use self::session::{Selected, Session};
use self::window::Window;
use crate::config::Launcher;
use crate::config::launcher::Since;
use crate::delivery::spool::Spool;
use crate::event::Events;
use crate::model::{Code, Disposition, Fault, ItemKey};
use crate::proto::imap::response::{Response, Value};
use crate::proto::imap::sets::sets;
use crate::source::{Content, Cursor, Discovery, Fetched, Fingerprint, Item, Source, SourceError};
use crate::text;

/// One folder of a mailbox.
pub struct Imap {
    launcher: Launcher,
    events: Events,
    patience: Duration,
    session: Option<Session>,
    /// The source folder's own name, once it was opened.
    folder: Option<String>,
    /// A call is under way. Found set at the next call, it was dropped half-way and answers may still be on their way.
    in_call: bool,
}

impl Imap {
    /// The folder that `launcher` names. Nothing is opened yet.
    pub fn new(launcher: Launcher, events: Events) -> Self {
        Self { launcher, events, patience: PATIENCE, session: None, folder: None, in_call: false }
    }

    /// The same, giving up on a server that has not answered for `patience` (60 seconds else).
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    async fn session(&mut self) -> Result<&mut Session, SourceError> {
        let session = match self.session.take() {
            Some(session) => session,
            None => Session::open(&self.launcher, &self.events, self.patience).await?,
        };
        Ok(self.session.insert(session))
    }

    /// Opens the folder anew, so that what arrived meanwhile is seen.
    async fn open(&mut self) -> Result<(&mut Session, Selected), SourceError> {
        let writable = self.launcher.after != Disposition::Leave || self.launcher.after_empty != Disposition::Leave;
        let source = self.launcher.source.clone();
        let session = self.session().await?;
        let selected = session.open_folder(&source, writable).await?;
        self.folder = Some(selected.folder.clone());
        Ok((self.session().await?, selected))
    }

    /// The source folder as it is open, opening it first if need be: `acknowledge` may have opened another one.
    async fn opened(&mut self) -> Result<(&mut Session, Selected), SourceError> {
        let selected = self.session.as_ref().and_then(|session| session.selected.clone());
        match selected.filter(|selected| Some(&selected.folder) == self.folder.as_ref()) {
            Some(selected) => Ok((self.session().await?, selected)),
            None => self.open().await,
        }
    }

    /// Begins a call; the connection of one that was dropped half-way is given up.
    fn begin(&mut self) {
        if self.in_call {
            self.session = None;
        }
        self.in_call = true;
    }

    /// Ends a call; a connection in doubt is given up.
    fn settle<T>(&mut self, result: Result<T, SourceError>) -> Result<T, SourceError> {
        self.in_call = false;
        if result.is_err() {
            self.session = None;
        }
        result
    }

    fn key(&self, selected: &Selected, uid: u32) -> ItemKey {
        let account = self.launcher.account.clone().unwrap_or_default();
        Key { account, folder: selected.folder.clone(), uidvalidity: selected.uidvalidity, uid }.to_item()
    }

    /// The UIDs in `keys` that mean something in the open folder.
    fn current(&self, selected: &Selected, keys: impl Iterator<Item = ItemKey>) -> BTreeMap<u32, ItemKey> {
        keys.filter_map(|item| {
            let key = Key::from_item(&item)?;
            (self.key(selected, key.uid) == item).then_some((key.uid, item))
        })
        .collect()
    }

    async fn try_discover(&mut self, cursor: Option<&Cursor>) -> Result<Discovery, SourceError> {
        let since = self.launcher.since.map(since_text).unwrap_or_default();
        let unseen = self.launcher.unseen_only;
        let criteria = self.criteria();
        let account = self.launcher.account.clone().unwrap_or_default();
        let (session, selected) = self.open().await?;
        let known = cursor.and_then(Place::from_cursor);
        let (folder, uidvalidity) = (selected.folder.clone(), selected.uidvalidity);
        let mut place = Place { account, folder, uidvalidity, next: 1, since };
        let same = known.as_ref().is_none_or(|known| known.is_same_folder(&place));
        let start = Some(place.to_cursor());
        let next =
            known.filter(|known| same && !unseen && known.since == place.since).map_or(1, |known| known.next.max(1));
        let uids = if selected.exists == 0 { Vec::new() } else { search_from(session, next, &criteria).await? };
        let sizes = sizes(session, &uids).await?;
        let after = uids.last().map_or(next, |last| last.saturating_add(1).max(next));
        place.next = if unseen { 1 } else { after };
        let items = uids
            .iter()
            .map(|uid| Item {
                key: self.key(&selected, *uid),
                hint: uid.to_string(),
                size: sizes.get(uid).copied(),
                reissued: !same,
            })
            .collect();
        // a server never gives a UID again, so nothing depends on what has left
        Ok(Discovery { items, cursor: Some(place.to_cursor()), start, present: None })
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

    async fn try_identify(&mut self, batch: &[Item]) -> Result<Vec<(ItemKey, Fingerprint)>, SourceError> {
        let (_, selected) = self.opened().await?;
        let mut wanted = self.current(&selected, batch.iter().map(|item| item.key.clone()));
        let session = self.session().await?;
        let (asked, mut prints) = (wanted.len(), Vec::new());
        for most in [HEADERS_TOGETHER, 1] {
            let uids: Vec<u32> = wanted.keys().copied().collect();
            let mut window = Window::new(sets(&uids, most), "(UID RFC822.SIZE BODY.PEEK[HEADER])");
            while let Some((uid, incoming)) = window.next(session, None).await? {
                if let Some(print) = read_fingerprint(&incoming.response)
                    && let Some(key) = wanted.remove(&uid)
                {
                    prints.push((key, print));
                }
            }
            // a refused command must not look like messages that have gone
            let host = &session.wire.host;
            if let Some(error) = window.refused.iter().find_map(|(_, status)| trouble::passing(host, status)) {
                return Err(error);
            }
            if let Some((_, status)) = window.refused.first().filter(|_| most == 1 && wanted.len() == asked) {
                return Err(trouble::refused(host, "UID FETCH", status));
            }
        }
        Ok(prints)
    }

    async fn try_fetch(
        &mut self,
        batch: &[Item],
        spool: &Spool,
        out: &mpsc::Sender<Fetched>,
    ) -> Result<bool, SourceError> {
        let (_, selected) = self.opened().await?;
        let wanted = self.current(&selected, batch.iter().map(|item| item.key.clone()));
        let known: BTreeSet<&ItemKey> = wanted.values().collect();
        for item in batch.iter().filter(|item| !known.contains(&item.key)) {
            let answer = Fetched { key: item.key.clone(), content: self.not_here(&selected, &item.key) };
            if out.send(answer).await.is_err() {
                return Ok(false);
            }
        }
        let session = self.session().await?;
        let bodies = Bodies::new(session, spool, out, selected.folder, wanted);
        Ok(bodies.bring().await?.is_ok())
    }

    /// What becomes of a key that means nothing in the open folder. After a change of UIDVALIDITY the key is gone: what
    /// it named is listed under a new one. A key of another folder or account is not ours to judge.
    fn not_here(&self, selected: &Selected, item: &ItemKey) -> Result<Content, Fault> {
        let folder = &selected.folder;
        match Key::from_item(item) {
            Some(key) if key.folder == *folder && Some(&key.account) == self.launcher.account.as_ref() => {
                Ok(Content::Gone)
            }
            _ => {
                let text = text!(
                    "the message {item} is not of the folder {folder}, which is the one being read",
                    "le message {item} n'est pas du dossier {folder}, qui est celui que l'on lit"
                );
                Err(Fault::new(Code::Folder, text))
            }
        }
    }

    async fn try_acknowledge(&mut self, batch: &[ItemKey], what: &Disposition) -> Result<Vec<ItemKey>, SourceError> {
        let mut done = Vec::new();
        let mut folders: BTreeMap<String, Vec<(Key, ItemKey)>> = BTreeMap::new();
        for item in batch {
            match Key::from_item(item) {
                Some(key) if Some(&key.account) == self.launcher.account.as_ref() => {
                    folders.entry(key.folder.clone()).or_default().push((key, item.clone()));
                }
                _ => done.push(item.clone()),
            }
        }
        if !done.is_empty() {
            self.foreign(done.len());
        }
        for (folder, keys) in folders {
            let session = self.session().await?;
            done.extend(change_in(session, &folder, keys, what).await?);
        }
        Ok(done)
    }

    /// Keys of another account (the section was given a new one): nothing here can be changed for them.
    fn foreign(&self, count: usize) {
        let text = text!(
            "{count} messages belong to another account than the one configured now; they are left as they are",
            "{count} messages appartiennent à un autre compte que celui configuré ; ils restent tels quels"
        );
        let event = crate::event::Event::new(crate::event::Level::Warning, "imap_other_account", text);
        self.events.emit(event.of(&self.launcher.name));
    }
}

#[async_trait]
impl Source for Imap {
    async fn login(&mut self) -> Result<(), SourceError> {
        self.begin();
        let result = self.session().await.map(drop);
        self.settle(result)
    }

    async fn count(&mut self) -> Result<u64, SourceError> {
        self.begin();
        let result = self.open().await.map(|(_, selected)| u64::from(selected.exists));
        self.settle(result)
    }

    async fn discover(&mut self, cursor: Option<&Cursor>) -> Result<Discovery, SourceError> {
        self.begin();
        let result = self.try_discover(cursor).await;
        self.settle(result)
    }

    async fn identify(&mut self, batch: &[Item]) -> Result<Vec<(ItemKey, Fingerprint)>, SourceError> {
        self.begin();
        let result = self.try_identify(batch).await;
        self.settle(result)
    }

    async fn fetch(&mut self, batch: &[Item], spool: &Spool, out: mpsc::Sender<Fetched>) -> Result<(), SourceError> {
        self.begin();
        let result = self.try_fetch(batch, spool, &out).await;
        let wanted = self.settle(result)?;
        if !wanted {
            // bodies that nobody takes are still on their way: this connection cannot be used any more
            self.session = None;
        }
        Ok(())
    }

    async fn acknowledge(&mut self, batch: &[ItemKey], what: &Disposition) -> Result<Vec<ItemKey>, SourceError> {
        if *what == Disposition::Leave || batch.is_empty() {
            return Ok(batch.to_vec());
        }
        self.begin();
        let result = self.try_acknowledge(batch, what).await;
        self.settle(result)
    }

    async fn finish(&mut self) -> Result<(), SourceError> {
        self.begin();
        // every change had its tagged OK already: nothing takes effect only now
        if let Some(session) = self.session.take() {
            session.close().await;
        }
        self.settle(Ok(()))
    }
}

/// Does `what` to messages of one folder, opening it for writing.
async fn change_in(
    session: &mut Session,
    folder: &str,
    keys: Vec<(Key, ItemKey)>,
    what: &Disposition,
) -> Result<Vec<ItemKey>, SourceError> {
    let open = session.selected.as_ref().filter(|selected| selected.writable && selected.folder == folder).cloned();
    let selected = match open {
        Some(selected) => selected,
        None => session.open_known(folder).await?,
    };
    let host = &session.wire.host;
    if !selected.writable {
        let text = text!(
            "{host}: the folder {folder} is read-only for this account: after = cannot be carried out",
            "{host} : le dossier {folder} est en lecture seule pour ce compte : after = est impossible"
        );
        return Err(SourceError::Mailbox(Fault::new(Code::Folder, text)));
    }
    let (current, stale): (Vec<_>, Vec<_>) =
        keys.into_iter().partition(|(key, _)| key.uidvalidity == selected.uidvalidity);
    if !stale.is_empty() {
        let count = stale.len();
        let text = text!(
            "{host}: the server renumbered {folder}; {count} delivered messages can no longer be found there and are \
             left as they are",
            "{host} : le serveur a renuméroté {folder} ; {count} messages livrés n'y sont plus identifiables et restent \
             tels quels"
        );
        session.warn("imap_renumbered", text);
    }
    let uids: Vec<u32> = current.iter().map(|(key, _)| key.uid).collect();
    let changed = change::change(session, &uids, what).await?;
    let current = current.into_iter().filter(|(key, _)| changed.contains(&key.uid));
    Ok(stale.into_iter().chain(current).map(|(_, item)| item).collect())
}

/// UIDs from `next` on, ascending.
async fn search_from(session: &mut Session, next: u32, criteria: &str) -> Result<Vec<u32>, SourceError> {
    let range = if next > 1 { format!("UID {next}:*") } else { "ALL".to_owned() };
    let mut uids = search(session, &format!("{range}{criteria}")).await?;
    // `n:*` always names the last message, also where n is beyond it (RFC 3501, 6.4.8)
    uids.retain(|&uid| uid >= next);
    Ok(uids)
}

/// UID SEARCH; ascending, each once.
async fn search(session: &mut Session, criteria: &str) -> Result<Vec<u32>, SourceError> {
    let reply = session.run("UID SEARCH", &format!("UID SEARCH {criteria}")).await?;
    let found = reply.data.into_iter().filter_map(|response| match response {
        Response::Search(uids) => Some(uids),
        _ => None,
    });
    let uids: BTreeSet<u32> = found.flatten().filter(|&uid| uid != 0).collect();
    Ok(uids.into_iter().collect())
}

/// Those of `uids` that the server lists.
async fn listed(session: &mut Session, uids: &[u32]) -> Result<BTreeSet<u32>, SourceError> {
    let mut listed = BTreeSet::new();
    for set in sets(uids, usize::MAX) {
        listed.extend(search(session, &format!("UID {}", set.text)).await?);
    }
    Ok(listed)
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
        if let Some(error) = trouble::passing(&session.wire.host, status) {
            return Err(error);
        }
        let (host, said) = (&session.wire.host, trouble::words(status));
        let text = text!("{host} does not tell sizes: {said}", "{host} ne donne pas les tailles : {said}");
        session.warn("imap_sizes_refused", text);
    }
    Ok(sizes)
}

/// The fingerprint in an answer to what `identify` asks.
fn read_fingerprint(response: &Response) -> Option<Fingerprint> {
    let fetch = response.fetch()?;
    let Value::Text(header) = fetch.get("BODY[HEADER]")? else { return None };
    Some(Fingerprint::of(header, fetch.number("RFC822.SIZE")))
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
/// A server that says nothing for so long is given up.
const PATIENCE: Duration = Duration::from_mins(1);
/// Sizes asked for in one command.
const SIZES_TOGETHER: usize = 1000;
/// Header blocks asked for in one command.
const HEADERS_TOGETHER: usize = 100;

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
