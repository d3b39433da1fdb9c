//! A mailbox of Microsoft 365, through Microsoft Graph (v1.0).
//!
//! Not the sign-in (`oauth`) and no guarantee of delivery (the launcher's cycle). One code path serves one's own mailbox
//! (`/me`), a shared one and the application's (`/users/…`). Messages are named by their immutable ids, which hold in
//! whatever folder they lie; so what is moved or deleted is looked at first: a message that somebody filed elsewhere is
//! left there. Bodies come as MIME, and are put together from their parts where the server cannot make it.

mod assemble;
mod change;
mod client;
mod delta;
mod fetch;
mod folders;
mod gate;
mod json;
mod key;
mod list;
#[cfg(test)]
mod tests;
mod trouble;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::change::Changer;
use self::client::{Bearer, Client, Times};
use self::delta::Delta;
use self::fetch::Fetcher;
use self::folders::Folder;
use self::json::{MailFolder, State, User};
use self::key::{Place, Places};
use self::list::{Listed, Listing};
use crate::config::Launcher;
use crate::config::launcher::Since;
use crate::delivery::spool::Spool;
use crate::event::{Event, Events, Level};
use crate::model::{Code, Disposition, Fault, ItemKey, ServiceName};
use crate::oauth::{Tokens, store};
use crate::source::outlet::Outlet;
use crate::source::{Cursor, Discovery, Fetched, Fingerprint, Item, Source, SourceError};
use crate::text;
use crate::text::Text;

/// One folder of a mailbox, or a tree of them.
pub struct Graph {
    launcher: Launcher,
    bearer: Arc<dyn Bearer>,
    voice: Voice,
    times: Times,
    client: Option<Client>,
    /// The folders that are read; empty until they were found.
    read: Vec<Folder>,
    /// What was listed, by id.
    known: Arc<HashMap<String, Known>>,
}

/// What the list says of a message.
#[derive(Clone, Debug)]
struct Known {
    received: Option<Timestamp>,
    /// The path of its folder.
    folder: Arc<str>,
    /// When it was seen there.
    at: Instant,
    reissued: bool,
}

/// Who tells, and for which launcher.
#[derive(Clone)]
struct Voice {
    events: Events,
    service: ServiceName,
}

impl Voice {
    fn tell(&self, level: Level, name: &'static str, text: Text) {
        self.events.emit(Event::new(level, name, text).about(&self.service));
    }
}

impl Graph {
    /// The folders that `launcher` names, with `tokens` of its sign-in. Nothing is opened yet.
    pub fn new(launcher: Launcher, tokens: Tokens, events: Events) -> Self {
        Self::with_bearer(launcher, Arc::new(tokens), events, TIMES)
    }

    fn with_bearer(launcher: Launcher, bearer: Arc<dyn Bearer>, events: Events, times: Times) -> Self {
        let voice = Voice { events, service: launcher.name.clone() };
        Self { launcher, bearer, voice, times, client: None, read: Vec::new(), known: Arc::default() }
    }

    /// The same, giving up on a server that has not answered for `patience` (60 seconds else).
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.times.patience = patience;
        self
    }

    fn client(&mut self) -> Result<Client, SourceError> {
        let client = match self.client.take() {
            Some(client) => client,
            None => Client::new(&self.launcher, self.bearer.clone(), self.times).map_err(SourceError::Mailbox)?,
        };
        Ok(self.client.insert(client).clone())
    }

    /// Begins a cycle: what was changed in trust files counts, and who signed in is the one that is meant.
    async fn begin(&mut self) -> Result<Client, SourceError> {
        self.client = None;
        let client = self.client()?;
        self.check_account(&client).await?;
        Ok(client)
    }

    /// With `account`, nobody else may have signed in. Who did is told only where the sign-in may ask (User.Read); else
    /// `pertuis login` has looked.
    async fn check_account(&self, client: &Client) -> Result<(), SourceError> {
        let person = self.launcher.oauth.as_ref().is_some_and(|oauth| oauth.credential.is_person());
        let Some(account) = self.launcher.account.as_deref().filter(|_| person) else { return Ok(()) };
        let user: User = match client.json(&client.who()).await? {
            Ok(user) => user,
            Err(refusal) if refusal.is_passing() => return Err(refusal.error()),
            Err(_) => return Ok(()),
        };
        let names: Vec<&str> =
            [&user.mail, &user.user_principal_name].into_iter().filter_map(Option::as_deref).collect();
        if names.is_empty() || names.iter().any(|name| name.to_lowercase() == account.to_lowercase()) {
            return Ok(());
        }
        let (login, signed_in) = (store::login(&self.launcher.name), names.last().copied().unwrap_or_default());
        let text = text!(
            "{signed_in} has signed in, but account = {account}; run `{login}` as {account}, or correct \
             `account` (for somebody else's mailbox: `mailbox`)",
            "c'est {signed_in} qui s'est connecté, mais compte = {account} ; lancez `{login}` en tant que \
             {account}, ou corrigez `compte` (pour la boîte d'autrui : `boite`)"
        );
        Err(SourceError::Credentials(Fault::new(Code::Credentials, text)))
    }

    /// The folder that `source` names. Display names change with the language of the mailbox: one that is not found any
    /// more is the one that was there, as long as that is not in the trash.
    async fn find_root(&self, client: &Client, before: Option<&Places>) -> Result<Folder, SourceError> {
        let error = match client.folder(&self.launcher.source).await {
            Err(SourceError::Mailbox(fault)) if fault.code == Code::Folder => SourceError::Mailbox(fault),
            other => return other,
        };
        let before = before.filter(|places| places.source == self.launcher.source && !self.launcher.subfolders);
        let Some(place) = before.and_then(|places| places.folders.first()) else { return Err(error) };
        let Some(mut found) = client.folder_by_id(&place.id).await? else { return Err(error) };
        let trash = client.folder_by_id("deleteditems").await?.map(|trash| trash.id);
        if found.parent.is_some() && found.parent == trash {
            return Err(error);
        }
        found.path.clone_from(&place.path);
        Ok(found)
    }

    async fn find_folders(&mut self, client: &Client, before: Option<&Places>) -> Result<(), SourceError> {
        let root = self.find_root(client, before).await?;
        self.read = if self.launcher.subfolders { client.tree(&root).await? } else { vec![root] };
        Ok(())
    }

    /// What is moved into a folder that is read would come back as new, were it not known; and would be moved again.
    async fn check_targets(&self, client: &Client) -> Result<(), SourceError> {
        for what in [&self.launcher.after, &self.launcher.after_empty] {
            let Disposition::Move(name) = what else { continue };
            let (Some(folder), is_there) = client.leads_to(name).await? else { continue };
            // made below a folder of a tree, it would be one of the tree
            if (is_there || self.launcher.subfolders) && self.read.iter().any(|read| read.id == folder.id) {
                return Err(Self::moved_within(client, name));
            }
        }
        Ok(())
    }

    fn moved_within(client: &Client, name: &str) -> SourceError {
        let host = client.host();
        let text = text!(
            "{host}: `move {name}` names a folder that is read; name one outside of `source`",
            "{host} : `move {name}` désigne un dossier qui est lu ; nommez-en un hors de `source`"
        );
        SourceError::Mailbox(Fault::new(Code::Config, text))
    }

    async fn try_discover(&mut self, cursor: Option<&Cursor>) -> Result<Discovery, SourceError> {
        let client = self.begin().await?;
        let mailbox = client.mailbox();
        let before = cursor.and_then(Places::from_cursor).filter(|places| places.mailbox == mailbox);
        self.find_folders(&client, before.as_ref()).await?;
        self.check_targets(&client).await?;
        let (since, source) = (self.since(), self.launcher.source.clone());
        let mut places = Places { mailbox, since, source, folders: Vec::new() };
        let (mut found, mut known) = (Vec::new(), HashMap::new());
        for folder in self.read.clone() {
            let place = before.as_ref().and_then(|before| before.seen(&folder.path, &places.since));
            let link = place.as_ref().filter(|place| place.id == folder.id).and_then(|place| place.link.clone());
            let (listed, link) = match self.list_folder(&client, &folder, link).await {
                Err(SourceError::Mailbox(fault)) if self.launcher.subfolders => {
                    self.passed_over(&folder, &fault);
                    // as it was: what is new about it is still to be noticed
                    places.folders.extend(place);
                    continue;
                }
                listed => listed?,
            };
            let reissued = place.is_some_and(|place| place.id != folder.id);
            let (path, at) = (Arc::<str>::from(folder.path.as_str()), Instant::now());
            for Listed { id, received } in listed {
                known.insert(id.clone(), Known { received, folder: path.clone(), at, reissued });
                found.push(Listed { id, received });
            }
            places.folders.push(Place { path: folder.path, id: folder.id, link });
        }
        found.sort_by_key(|listed| listed.received);
        let items = found.into_iter().map(|listed| item(&listed, known.get(&listed.id))).collect();
        self.known = Arc::new(known);
        // Exchange never gives an id again, so nothing depends on what has left
        let (cursor, start) = (places.to_cursor(), places.start().to_cursor());
        Ok(Discovery { items, cursor: Some(cursor), start: Some(start), present: None, copies: 0, standing: false })
    }

    /// What is to be looked at in a folder, and where its next round of changes begins.
    async fn list_folder(
        &self,
        client: &Client,
        folder: &Folder,
        link: Option<String>,
    ) -> Result<(Vec<Listed>, Option<String>), SourceError> {
        let since = self.launcher.since.and_then(Since::first_moment);
        let listing = || Listing::new(client, &self.voice, folder, since, self.launcher.unseen_only);
        if self.leaves() {
            return Ok((listing().all().await?, None));
        }
        let round = Delta { client, voice: &self.voice, folder }.round(link.as_deref()).await?;
        let mut found = match round.link {
            Some(_) => round.found,
            None => listing().all().await?,
        };
        if let Some(since) = since {
            found = self.received_since(client, since, found).await?;
        }
        Ok((found, round.link))
    }

    /// Whether messages leave the list once they are done with: then all that is listed is to be looked at.
    fn leaves(&self) -> bool {
        let removes = |what: &Disposition| matches!(what, Disposition::Move(_) | Disposition::Delete);
        self.launcher.unseen_only || removes(&self.launcher.after) || removes(&self.launcher.after_empty)
    }

    /// Those of `found` that were received since then; what the list does not tell is asked.
    async fn received_since(
        &self,
        client: &Client,
        since: SystemTime,
        found: Vec<Listed>,
    ) -> Result<Vec<Listed>, SourceError> {
        let since = Timestamp::try_from(since).unwrap_or(Timestamp::MIN);
        let mut kept = Vec::new();
        for mut listed in found {
            if listed.received.is_none() {
                let request = client.get(&["messages", &listed.id], "$select=id,receivedDateTime");
                listed.received = match client.json::<State>(&request).await? {
                    Ok(state) => state.received_date_time.as_deref().and_then(list::moment),
                    Err(_) => None,
                };
            }
            if listed.received.is_none_or(|received| received >= since) {
                kept.push(listed);
            }
        }
        Ok(kept)
    }

    /// How `since` is remembered in the cursor.
    fn since(&self) -> String {
        match self.launcher.since {
            None => String::new(),
            Some(Since::Date(day)) => day.to_string(),
            Some(Since::Back(back)) => format!("{}s", back.as_secs()),
        }
    }

    /// A folder of a tree that cannot be listed stops no other one.
    fn passed_over(&self, folder: &Folder, fault: &Fault) {
        let (path, Text { en, fr }) = (&folder.path, &fault.text);
        let text = text!(
            "folder {path} cannot be listed and is passed over: {en}",
            "dossier {path} impossible à lister, laissé de côté : {fr}"
        );
        self.voice.tell(Level::Warning, "graph_folder_passed_over", text);
    }

    async fn try_count(&mut self) -> Result<u64, SourceError> {
        let client = self.begin().await?;
        self.find_folders(&client, None).await?;
        let mut count = 0;
        for folder in &self.read {
            count += match folder.count {
                Some(count) => count,
                None => client.folder_by_id(&folder.id).await?.and_then(|folder| folder.count).unwrap_or(0),
            };
        }
        Ok(count)
    }

    fn fetcher(&mut self) -> Result<Arc<Fetcher>, SourceError> {
        let folders = self.read.iter().map(|folder| (folder.id.clone(), folder.path.clone())).collect();
        Ok(Arc::new(Fetcher {
            client: self.client()?,
            voice: self.voice.clone(),
            largest: self.launcher.max_size,
            first_retry: self.times.first_retry,
            known: self.known.clone(),
            folders,
            source: self.launcher.source.clone(),
        }))
    }

    async fn try_fetch(&mut self, batch: &[Item], spool: &Spool, out: &Outlet) -> Result<(), SourceError> {
        let fetcher = self.fetcher()?;
        let run = |item: Item| {
            let (fetcher, spool, out) = (fetcher.clone(), spool.clone(), out.clone());
            async move {
                let content = fetcher.bring(&item.key, &spool).await?;
                Ok(out.send(Fetched { key: item.key, content }).await.is_ok())
            }
        };
        side_by_side(batch.iter().cloned(), run, |wanted| wanted).await
    }

    /// Only the header block says which message it was under another id; where no id is in doubt (`ledger adopt`), what
    /// the list says is enough.
    async fn try_identify(&mut self, batch: &[Item]) -> Result<Vec<(ItemKey, Fingerprint)>, SourceError> {
        let fetcher = self.fetcher()?;
        let mut prints = Vec::new();
        let run = |item: Item| {
            let fetcher = fetcher.clone();
            async move { fetcher.fingerprint(&item).await.map(|print| (item.key, print)) }
        };
        let keep = |(key, print): (ItemKey, Option<Fingerprint>)| {
            prints.extend(print.map(|print| (key, print)));
            true
        };
        side_by_side(batch.iter().cloned(), run, keep).await?;
        Ok(prints)
    }

    async fn try_acknowledge(&mut self, batch: &[ItemKey], what: &Disposition) -> Result<Vec<ItemKey>, SourceError> {
        let client = self.client()?;
        if self.read.is_empty() {
            self.find_folders(&client, None).await?;
        }
        let target = match what {
            Disposition::Move(name) => Some(client.target(name).await?),
            _ => None,
        };
        if let (Disposition::Move(name), Some(target)) = (what, &target)
            && self.read.iter().any(|folder| folder.id == target.id)
        {
            return Err(Self::moved_within(&client, name));
        }
        let changer = Arc::new(Changer {
            client,
            voice: self.voice.clone(),
            what: what.clone(),
            target,
            sources: self.read.iter().map(|folder| folder.id.clone()).collect(),
            known: self.known.clone(),
        });
        let mut done = Vec::new();
        let run = |key: ItemKey| {
            let changer = changer.clone();
            async move { changer.change(key.as_str()).await.map(|done| done.then_some(key)) }
        };
        let keep = |key: Option<ItemKey>| {
            done.extend(key);
            true
        };
        side_by_side(batch.iter().cloned(), run, keep).await?;
        Ok(done)
    }
}

#[async_trait]
impl Source for Graph {
    async fn login(&mut self) -> Result<(), SourceError> {
        let client = self.begin().await?;
        // the smallest thing that takes network, token, permission and a mailbox
        let request = client.get(&["mailFolders", "inbox"], "$select=id");
        match client.json::<MailFolder>(&request).await? {
            Err(refusal) if !refusal.is_gone() => Err(refusal.error()),
            _ => Ok(()),
        }
    }

    async fn count(&mut self) -> Result<u64, SourceError> {
        self.try_count().await
    }

    async fn discover(&mut self, cursor: Option<&Cursor>) -> Result<Discovery, SourceError> {
        self.try_discover(cursor).await
    }

    async fn identify(&mut self, batch: &[Item]) -> Result<Vec<(ItemKey, Fingerprint)>, SourceError> {
        self.try_identify(batch).await
    }

    async fn fetch(&mut self, batch: &[Item], spool: &Spool, out: Outlet) -> Result<(), SourceError> {
        self.try_fetch(batch, spool, &out).await
    }

    async fn acknowledge(&mut self, batch: &[ItemKey], what: &Disposition) -> Result<Vec<ItemKey>, SourceError> {
        if *what == Disposition::Leave || batch.is_empty() {
            return Ok(batch.to_vec());
        }
        self.try_acknowledge(batch, what).await
    }

    /// Every change took effect when it was answered.
    async fn finish(&mut self) -> Result<(), SourceError> {
        Ok(())
    }
}

fn item(listed: &Listed, known: Option<&Known>) -> Item {
    let hint = listed.received.map(|received| received.strftime("%Y%m%dT%H%M%S").to_string());
    Item {
        key: ItemKey::new(listed.id.clone()),
        hint: hint.unwrap_or_default(),
        size: None,
        reissued: known.is_some_and(|known| known.reissued),
    }
}

/// Runs `run` for each of `work`, as many at once as the gate has places, and gives what comes of it to `keep`, which
/// answers false when nobody wants the rest. The first error ends all of them.
async fn side_by_side<T, R, F>(
    work: impl Iterator<Item = T>,
    run: impl Fn(T) -> F,
    mut keep: impl FnMut(R) -> bool,
) -> Result<(), SourceError>
where
    R: Send + 'static,
    F: Future<Output = Result<R, SourceError>> + Send + 'static,
{
    // dropped, it ends what is still under way
    let mut tasks = JoinSet::new();
    for one in work {
        while tasks.len() >= gate::PLACES {
            let Some(result) = tasks.join_next().await else { break };
            if !keep(joined(result)?) {
                return Ok(());
            }
        }
        tasks.spawn(run(one));
    }
    while let Some(result) = tasks.join_next().await {
        if !keep(joined(result)?) {
            return Ok(());
        }
    }
    Ok(())
}

fn joined<R>(result: Result<Result<R, SourceError>, tokio::task::JoinError>) -> Result<R, SourceError> {
    result.unwrap_or_else(|error| {
        let text =
            text!("a request ended unexpectedly: {error}", "une requête s'est terminée de façon inattendue : {error}");
        Err(SourceError::connection(Fault::new(Code::Protocol, text)))
    })
}

/// Exchange makes MIME of a large message for half a minute before it says a word.
const TIMES: Times = Times {
    patience: Duration::from_mins(1),
    first_retry: Duration::from_secs(1),
    longest_wait: Duration::from_mins(2),
};
