//! An IMAP mailbox.
//!
//! Not the protocol's grammar (`proto/imap`) and no guarantee of delivery (the launcher's cycle). Messages are named
//! by UID alone, never by sequence number, and nothing is read with a command that marks as seen (`BODY.PEEK`; the
//! folder is opened read-only unless `after` changes something). The connection is made by the first call that needs
//! it and given up at the first error that leaves it in doubt, so each call works as the first one.

mod change;
mod discover;
mod fetch;
mod folders;
mod idle;
mod key;
mod login;
mod session;
mod trouble;
mod window;
mod wire;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use self::fetch::{Bodies, Wanted};
use self::folders::Opened;
use self::idle::Watch;
use self::key::Key;
use self::session::{Selected, Session};
use self::window::Window;
use crate::config::Launcher;
use crate::delivery::spool::Spool;
use crate::event::{Event, Events, Level};
use crate::model::{Code, Disposition, Fault, ItemKey};
use crate::oauth::Resource;
use crate::proto::imap::names;
use crate::proto::imap::response::{Response, Value};
use crate::proto::imap::sets::sets;
use crate::source::bearer::{self, Bearer};
use crate::source::outlet::Outlet;
use crate::source::trouble::other_account;
use crate::source::{Content, Cursor, Discovery, Fetched, Fingerprint, Item, Source, SourceError, Wake};
use crate::text;
use crate::text::Text;

/// One folder of a mailbox, or a tree of them.
pub struct Imap {
    launcher: Launcher,
    events: Events,
    patience: Duration,
    tokens: Option<Box<dyn Bearer>>,
    session: Option<Session>,
    /// The folders that are read, as the server writes them; empty until they were found.
    read: Vec<String>,
    /// When each of them was last opened for what is new.
    seen: HashMap<String, Instant>,
    /// What IDLE waits for, once there was a discovery.
    watch: Option<Watch>,
    /// A call is under way. Found set at the next call, it was dropped half-way and answers may still be on their way.
    in_call: bool,
}

impl Imap {
    /// The folders that `launcher` names. Nothing is opened yet.
    pub fn new(launcher: Launcher, events: Events) -> Self {
        Self {
            launcher,
            events,
            patience: PATIENCE,
            tokens: None,
            session: None,
            read: Vec::new(),
            seen: HashMap::new(),
            watch: None,
            in_call: false,
        }
    }

    /// The same, giving up on a server that has not answered for `patience` (60 seconds else).
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The same, with the tokens that `auth = xoauth2` and `oauthbearer` log in with.
    #[must_use]
    pub fn with_tokens(mut self, tokens: impl Bearer + 'static) -> Self {
        self.tokens = Some(Box::new(tokens));
        self
    }

    async fn session(&mut self) -> Result<&mut Session, SourceError> {
        let session = match self.session.take() {
            Some(session) => session,
            None => self.open().await?,
        };
        Ok(self.session.insert(session))
    }

    async fn open(&mut self) -> Result<Session, SourceError> {
        let (launcher, tokens) = (&self.launcher, self.tokens.as_deref());
        let secret = bearer::first(launcher, tokens, Resource::Imap).await?;
        match Session::open(launcher, &secret, &self.events, self.patience).await {
            Ok(session) => Ok(session),
            Err(error) => {
                let secret = bearer::another(tokens, Resource::Imap, &secret, error).await?;
                Session::open(launcher, &secret, &self.events, self.patience).await
            }
        }
    }

    fn account(&self) -> &str {
        self.launcher.account.as_deref().unwrap_or_default()
    }

    /// Whether anything is done to messages: else folders are opened read-only.
    fn changes(&self) -> bool {
        self.launcher.after != Disposition::Leave || self.launcher.after_empty != Disposition::Leave
    }

    /// One call. The connection of one that was dropped half-way is given up, and so is one that is left in doubt.
    async fn call<T>(&mut self, work: impl AsyncFnOnce(&mut Self) -> Result<T, SourceError>) -> Result<T, SourceError> {
        if std::mem::replace(&mut self.in_call, true) {
            self.session = None;
        }
        let result = work(self).await;
        self.in_call = false;
        if result.is_err() {
            self.session = None;
        }
        result
    }

    /// How many messages there are in the folders that are read.
    async fn try_count(&mut self) -> Result<u64, SourceError> {
        if let Some(selected) = self.find_folders().await? {
            return Ok(u64::from(selected.exists));
        }
        let mut count = 0;
        for name in self.read.clone() {
            let selected = self.session().await?.select(&name, false).await?;
            count += selected.map_or(0, |selected| u64::from(selected.exists));
        }
        Ok(count)
    }

    /// A folder that is read, by its Unicode name, as it is open; opened first if need be.
    async fn opened(&mut self, folder: &str) -> Result<Opened, SourceError> {
        let writable = self.changes();
        let session = self.session().await?;
        match session.selected.clone().filter(|selected| selected.folder == folder) {
            Some(selected) => Ok(Opened::Yes(selected)),
            None => session.open_known(folder, writable).await,
        }
    }

    /// Items by the folder they are in, and those that are of no folder that is read.
    async fn by_folder(&mut self, batch: &[Item]) -> Result<(BTreeMap<String, Keyed>, Vec<Item>), SourceError> {
        if self.read.is_empty() {
            self.find_folders().await?;
        }
        let read: Vec<String> = self.read.iter().map(|name| names::show(name)).collect();
        let (mut folders, mut foreign) = (BTreeMap::<String, Keyed>::new(), Vec::new());
        for item in batch {
            match Key::from_item(&item.key) {
                Some(key) if key.account == self.account() && read.contains(&key.folder) => {
                    folders.entry(key.folder.clone()).or_default().push((key, item.clone()));
                }
                _ => foreign.push(item.clone()),
            }
        }
        Ok((folders, foreign))
    }

    async fn try_identify(&mut self, batch: &[Item]) -> Result<Vec<(ItemKey, Fingerprint)>, SourceError> {
        let mut prints = Vec::new();
        let (folders, _) = self.by_folder(batch).await?;
        for (folder, items) in folders {
            let Opened::Yes(selected) = self.opened(&folder).await? else { continue };
            let (current, _) = split(&selected, items);
            let wanted = current.into_iter().map(|(key, item)| (key.uid, item.key)).collect();
            prints.extend(identify(self.session().await?, wanted).await?);
        }
        Ok(prints)
    }

    async fn try_fetch(&mut self, batch: &[Item], spool: &Spool, out: &Outlet) -> Result<bool, SourceError> {
        let (folders, foreign) = self.by_folder(batch).await?;
        for item in foreign {
            let content = Err(self.not_read(&item.key));
            if out.send(Fetched { key: item.key, content }).await.is_err() {
                return Ok(false);
            }
        }
        for (folder, items) in folders {
            let (current, answers) = match self.opened(&folder).await? {
                Opened::Yes(selected) => {
                    let (current, stale) = split(&selected, items);
                    // what a key of another UIDVALIDITY named is listed under a new one
                    (current, stale.into_iter().map(|(_, item)| (item.key, Ok(Content::Gone))).collect())
                }
                Opened::Missing(error) | Opened::Refused(error) if !self.launcher.subfolders => return Err(error),
                Opened::Missing(error) | Opened::Refused(error) => {
                    let fail = |(_, item): (Key, Item)| (item.key, Err(error.fault().clone()));
                    (Vec::new(), items.into_iter().map(fail).collect::<Vec<_>>())
                }
            };
            for (key, content) in answers {
                if out.send(Fetched { key, content }).await.is_err() {
                    return Ok(false);
                }
            }
            let wanted: BTreeMap<u32, Wanted> =
                current.into_iter().map(|(key, item)| (key.uid, Wanted { key: item.key, size: item.size })).collect();
            if !wanted.is_empty()
                && Bodies::new(self.session().await?, spool, out, folder, wanted).bring().await?.is_err()
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// A key of another folder or account is not ours to judge.
    fn not_read(&self, item: &ItemKey) -> Fault {
        let source = &self.launcher.source;
        let text = text!(
            "the message {item} is not of {source}, which is what is being read",
            "le message {item} n'est pas de {source}, qui est ce que l'on lit"
        );
        Fault::new(Code::Folder, text)
    }

    async fn try_acknowledge(&mut self, batch: &[ItemKey], what: &Disposition) -> Result<Vec<ItemKey>, SourceError> {
        let mut done = Vec::new();
        let mut folders: BTreeMap<String, Vec<(Key, ItemKey)>> = BTreeMap::new();
        for item in batch {
            match Key::from_item(item) {
                Some(key) if key.account == self.account() => {
                    folders.entry(key.folder.clone()).or_default().push((key, item.clone()));
                }
                _ => done.push(item.clone()),
            }
        }
        if !done.is_empty() {
            self.tell(Level::Warning, "imap_other_account", other_account(done.len()));
        }
        for (folder, keys) in folders {
            let session = self.session().await?;
            done.extend(change_in(session, &folder, keys, what).await?);
        }
        Ok(done)
    }

    fn tell(&self, level: Level, name: &'static str, text: Text) {
        self.events.emit(Event::new(level, name, text).about(&self.launcher.name));
    }

    /// Waits in the connection that a cycle has left; `None` where there is none, or it is of no use.
    async fn idle(&mut self, end: Instant) -> Option<Wake> {
        let watched = self.call(async |imap| match (&mut imap.session, &imap.watch) {
            (Some(session), Some(watch)) => idle::watch(session, watch, end).await.map(Some),
            _ => Ok(None),
        });
        watched.await.unwrap_or_else(|error| {
            let Text { en, fr } = &error.fault().text;
            let text = text!("waiting for the next interval: {en}", "attente du prochain intervalle : {fr}");
            self.tell(Level::Info, "imap_idle_ended", text);
            None
        })
    }
}

#[async_trait]
impl Source for Imap {
    async fn login(&mut self) -> Result<(), SourceError> {
        self.call(async |imap| imap.session().await.map(drop)).await
    }

    async fn count(&mut self) -> Result<u64, SourceError> {
        self.call(async |imap| imap.try_count().await).await
    }

    async fn discover(&mut self, cursor: Option<&Cursor>) -> Result<Discovery, SourceError> {
        self.call(async |imap| imap.try_discover(cursor).await).await
    }

    async fn identify(&mut self, batch: &[Item]) -> Result<Vec<(ItemKey, Fingerprint)>, SourceError> {
        self.call(async |imap| imap.try_identify(batch).await).await
    }

    async fn fetch(&mut self, batch: &[Item], spool: &Spool, out: Outlet) -> Result<(), SourceError> {
        self.call(async |imap| {
            if !imap.try_fetch(batch, spool, &out).await? {
                // bodies that nobody takes are still on their way: this connection cannot be used any more
                imap.session = None;
            }
            Ok(())
        })
        .await
    }

    async fn acknowledge(&mut self, batch: &[ItemKey], what: &Disposition) -> Result<Vec<ItemKey>, SourceError> {
        if *what == Disposition::Leave || batch.is_empty() {
            return Ok(batch.to_vec());
        }
        self.call(async |imap| imap.try_acknowledge(batch, what).await).await
    }

    async fn finish(&mut self) -> Result<(), SourceError> {
        // every change had its tagged OK already: nothing takes effect only now
        self.call(async |imap| {
            let waits = imap.launcher.idle && imap.watch.is_some();
            if let Some(session) = imap.session.take_if(|session| !waits || !session.has("IDLE")) {
                session.close().await;
            }
            Ok(())
        })
        .await
    }

    async fn wait(&mut self, upto: Duration) -> Wake {
        let began = Instant::now();
        let end = began + upto;
        if let Some(wake) = self.idle(end).await {
            return wake;
        }
        // it worked and came to an end, as Exchange ends it with the access token: it is worth another one
        if began.elapsed() >= HELD && Instant::now() < end {
            return Wake::News;
        }
        // the next discovery connects anew and lists everything that came meanwhile
        tokio::time::sleep_until(end).await;
        Wake::Deadline
    }
}

/// Items with what their keys say.
type Keyed = Vec<(Key, Item)>;

/// Items whose key means something in the open folder, and the others.
fn split(selected: &Selected, items: Keyed) -> (Keyed, Keyed) {
    items.into_iter().partition(|(key, _)| key.uidvalidity == selected.uidvalidity)
}

/// Fingerprints of messages of the open folder; what has gone is left out.
async fn identify(
    session: &mut Session,
    mut wanted: BTreeMap<u32, ItemKey>,
) -> Result<Vec<(ItemKey, Fingerprint)>, SourceError> {
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
        let host = session.wire.host();
        if let Some(error) = window.refused.iter().find_map(|(_, status)| trouble::passing(host, status)) {
            return Err(error);
        }
        if let Some((_, status)) = window.refused.first().filter(|_| most == 1 && wanted.len() == asked) {
            return Err(trouble::refused(host, "UID FETCH", status));
        }
    }
    Ok(prints)
}

/// Does `what` to messages of one folder, opening it for writing.
async fn change_in(
    session: &mut Session,
    folder: &str,
    keys: Vec<(Key, ItemKey)>,
    what: &Disposition,
) -> Result<Vec<ItemKey>, SourceError> {
    let open = session.selected.as_ref().filter(|selected| selected.writable && selected.folder == folder).cloned();
    let opened = match open {
        Some(selected) => Opened::Yes(selected),
        None => session.open_known(folder, true).await?,
    };
    let selected = match opened {
        Opened::Yes(selected) => selected,
        // its messages went with it
        Opened::Missing(_) => return Ok(keys.into_iter().map(|(_, item)| item).collect()),
        Opened::Refused(error) => return Err(error),
    };
    let host = session.wire.host();
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

/// The fingerprint in an answer to what `identify` asks.
fn read_fingerprint(response: &Response) -> Option<Fingerprint> {
    let fetch = response.fetch()?;
    let Value::Text(header) = fetch.get("BODY[HEADER]")? else { return None };
    Some(Fingerprint::of(header, fetch.number("RFC822.SIZE")))
}

/// A server that says nothing for so long is given up.
const PATIENCE: Duration = Duration::from_mins(1);
/// A wait that breaks off sooner is not begun anew at once: nobody is asked more often than by the default interval.
const HELD: Duration = Duration::from_mins(5);
/// Header blocks asked for in one command.
const HEADERS_TOGETHER: usize = 100;
