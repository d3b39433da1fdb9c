//! A POP3 mailbox.
//!
//! Not the protocol's grammar (`proto/pop3`) and no guarantee of delivery (the launcher's cycle). A session sees the
//! mailbox as it was at its login and holds it against others, so each discovery opens a new one, and `finish` closes
//! it. Messages are deleted by QUIT alone (RFC 1939, 6): a session that drops has deleted nothing, and `finish` says so.
//! With `after = leave` nothing is changed; that some servers mark as read what RETR sent cannot be helped.

mod head;
mod key;
mod mailbox;
mod session;
mod trouble;
mod window;
mod wire;

use std::collections::{BTreeMap, HashSet};
use std::io::Write as _;
use std::time::Duration;

use async_trait::async_trait;

use self::head::HeadReader;
use self::key::{Key, Memory, account_of};
use self::session::Session;
use self::trouble::{passing, refused, words};
use self::window::{Verb, Window};
use crate::config::Launcher;
use crate::delivery::spool::Spool;
use crate::event::{Event, Events, Level};
use crate::model::{Code, Disposition, Fault, ItemKey};
use crate::oauth::Resource;
use crate::proto::pop3::replies::Expect;
use crate::proto::pop3::status::Status;
use crate::source::bearer::{self, Bearer};
use crate::source::outlet::Outlet;
use crate::source::trouble::{connection, other_account, spool_fault};
use crate::source::{Content, Cursor, Discovery, Fetched, Fingerprint, Item, Source, SourceError};
use crate::text;

/// A mailbox.
pub struct Pop3 {
    launcher: Launcher,
    events: Events,
    patience: Duration,
    tokens: Option<Box<dyn Bearer>>,
    session: Option<Session>,
    /// A call is under way. Found set at the next call, it was dropped half-way and answers may still be on their way.
    in_call: bool,
    /// Messages that were marked as deleted and are not yet: their session must end with QUIT.
    marked: bool,
}

impl Pop3 {
    /// The mailbox that `launcher` names. Nothing is opened yet.
    pub fn new(launcher: Launcher, events: Events) -> Self {
        Self { launcher, events, patience: PATIENCE, tokens: None, session: None, in_call: false, marked: false }
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

    fn account(&self) -> String {
        self.launcher.account.clone().unwrap_or_default()
    }

    /// The session, with its mailbox listed.
    async fn session(&mut self) -> Result<&mut Session, SourceError> {
        let account = self.account();
        let session = self.connected().await?;
        session.mailbox(&account).await?;
        Ok(session)
    }

    /// The session, logged in.
    async fn connected(&mut self) -> Result<&mut Session, SourceError> {
        let session = match self.session.take().filter(|session| !session.quitting) {
            Some(session) => session,
            // its marks are lost: a new session would end well and delete nothing of it
            None if self.marked => return Err(self.lost()),
            None => self.open().await?,
        };
        Ok(self.session.insert(session))
    }

    async fn open(&mut self) -> Result<Session, SourceError> {
        let (launcher, tokens) = (&self.launcher, self.tokens.as_deref());
        let secret = bearer::first(launcher, tokens, Resource::Pop).await?;
        match Session::open(launcher, &secret, self.patience).await {
            Ok(session) => Ok(session),
            Err(error) => {
                let secret = bearer::another(tokens, Resource::Pop, &secret, error).await?;
                Session::open(launcher, &secret, self.patience).await
            }
        }
    }

    async fn try_count(&mut self) -> Result<u64, SourceError> {
        let session = self.connected().await?;
        let status = session.wire.command("STAT").await?;
        session.expect_ok("STAT", &status)?;
        // RFC 1939, 5: the count and the bytes, whatever else follows
        let count = status.text.split_whitespace().next().and_then(|count| count.parse().ok());
        count.ok_or_else(|| refused(session.wire.host(), "STAT", &status))
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

    async fn try_discover(&mut self, cursor: Option<&Cursor>) -> Result<Discovery, SourceError> {
        if let Some(stale) = self.session.take() {
            stale.close().await?;
        }
        self.marked = false;
        let (account, before) = (self.account(), cursor.and_then(Memory::from_cursor));
        let deletes = self.launcher.after == Disposition::Delete && self.launcher.keep.is_zero();
        let mailbox = self.session().await?.mailbox(&account).await?;
        let uidls = mailbox.uidls();
        let other = before.as_ref().is_some_and(|before| before.is_other_mailbox(&account, &uidls));
        let content = uidls.len() < mailbox.entries.len();
        let memory = Memory::of(&account, &uidls, content, deletes, before.as_ref());
        let items = mailbox.entries.iter().map(|entry| Item {
            key: entry.item.clone(),
            hint: entry.key.hint(),
            size: Some(entry.size),
            reissued: other || matches!(entry.key, Key::Content(..)),
        });
        // a server may list nothing for once: nothing depends on what has left
        Ok(Discovery {
            items: items.collect(),
            cursor: Some(memory.to_cursor()),
            start: Some(memory.to_cursor()),
            present: None,
            copies: 0,
            standing: false,
        })
    }

    async fn try_identify(&mut self, batch: &[Item]) -> Result<Vec<(ItemKey, Fingerprint)>, SourceError> {
        let session = self.session().await?;
        let wanted = session.numbers_of(batch.iter().map(|item| &item.key));
        let numbers: Vec<u32> = wanted.keys().copied().collect();
        let mut prints = session.fingerprints(&numbers).await?;
        Ok(wanted.into_iter().filter_map(|(number, key)| Some((key, prints.remove(&number)?))).collect())
    }

    /// Answers false where nobody wants the rest.
    async fn try_fetch(&mut self, batch: &[Item], spool: &Spool, out: &Outlet) -> Result<bool, SourceError> {
        let (account, limit) = (self.account(), self.launcher.max_size);
        let changes_nothing = self.changes_nothing();
        let session = self.session().await?;
        let mut wanted = session.numbers_of(batch.iter().map(|item| &item.key));
        let known: HashSet<&ItemKey> = wanted.values().collect();
        for item in batch.iter().filter(|item| !known.contains(&item.key)) {
            let answer = Fetched { key: item.key.clone(), content: not_here(&account, &item.key) };
            if out.send(answer).await.is_err() {
                return Ok(false);
            }
        }
        let (asked, mut failed) = (wanted.len(), Vec::new());
        let mut window = Window::new(session, Verb::Retr, wanted.keys().copied().collect::<Vec<_>>());
        while let Some((number, status)) = window.next(&mut session.wire).await? {
            let Some(key) = wanted.remove(&number) else { continue };
            if !status.is_ok() {
                failed.push((key, number, status));
                continue;
            }
            let (content, end) = session.receive(spool, &key, number, limit).await?;
            if out.send(Fetched { key, content }).await.is_err() {
                return Ok(false);
            }
            end?;
        }
        if changes_nothing {
            session.quit().await;
        }
        session.none_at_all(asked, &failed)?;
        for (key, number, status) in failed {
            let content = Err(session.not_sent(number, &status));
            if out.send(Fetched { key, content }).await.is_err() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn try_delete(&mut self, batch: &[ItemKey]) -> Result<Vec<ItemKey>, SourceError> {
        let account = self.account();
        let foreign = batch.iter().filter(|key| account_of(key).as_ref() != Some(&account)).count();
        if foreign > 0 {
            let warning = Event::new(Level::Warning, "pop3_other_account", other_account(foreign));
            self.events.emit(warning.about(&self.launcher.name));
        }
        self.session().await?;
        self.marked = true;
        let session = self.session().await?;
        let listed = session.numbers_of(batch);
        let mut done: HashSet<ItemKey> = batch.iter().cloned().collect();
        let numbers: Vec<u32> = listed.keys().copied().filter(|number| !session.deleted.contains(number)).collect();
        let mut window = Window::new(session, Verb::Dele, numbers);
        let mut refusals = Vec::new();
        while let Some((number, status)) = window.next(&mut session.wire).await? {
            if status.is_ok() {
                session.deleted.insert(number);
            } else {
                refusals.push((number, status));
            }
        }
        if let Some((_, status)) = refusals.first().filter(|_| refusals.len() == listed.len()) {
            return Err(refused(session.wire.host(), "DELE", status));
        }
        for (number, _) in &refusals {
            // tried again by a later cycle
            done.remove(&listed[number]);
        }
        Ok(batch.iter().filter(|key| done.contains(key)).cloned().collect())
    }

    /// Closes; what was marked is deleted only now.
    async fn try_finish(&mut self) -> Result<(), SourceError> {
        let marked = std::mem::take(&mut self.marked);
        match self.session.take() {
            Some(session) => session.close().await,
            None if marked => Err(self.lost()),
            None => Ok(()),
        }
    }

    /// Nothing will be deleted in this session: it may end with its last message.
    fn changes_nothing(&self) -> bool {
        let Launcher { after, after_empty, .. } = &self.launcher;
        *after == Disposition::Leave && *after_empty == Disposition::Leave
    }

    fn lost(&self) -> SourceError {
        let host = self.launcher.server.as_ref().map(ToString::to_string).unwrap_or_default();
        let text = text!(
            "{host}: the session ended before its QUIT: nothing was deleted, and will be by a later cycle",
            "{host} : la session s'est terminée avant son QUIT : rien n'a été supprimé ; un prochain cycle le fera"
        );
        connection(Code::Connect, text)
    }
}

impl Session {
    /// The numbers of those keys that are in this session's mailbox.
    fn numbers_of<'a>(&self, keys: impl IntoIterator<Item = &'a ItemKey>) -> BTreeMap<u32, ItemKey> {
        let Some(mailbox) = &self.mailbox else { return BTreeMap::new() };
        keys.into_iter().filter_map(|key| Some((*mailbox.numbers.get(key)?, key.clone()))).collect()
    }

    /// Bytes of a message as LIST counts them; 0 of one that it does not name.
    fn listed_size(&self, number: u32) -> u64 {
        let entries = self.mailbox.as_ref().map_or(&[][..], |mailbox| &mailbox.entries);
        entries.binary_search_by_key(&number, |entry| entry.number).map_or(0, |at| entries[at].size)
    }

    /// The body behind `+OK` to RETR. Inside: what is to be told of the message, and whether the connection is still
    /// of use.
    #[allow(clippy::type_complexity)] // two outcomes with two remedies
    async fn receive(
        &mut self,
        spool: &Spool,
        key: &ItemKey,
        number: u32,
        limit: u64,
    ) -> Result<(Result<Content, Fault>, Result<(), SourceError>), SourceError> {
        let (mut writer, mut head, mut trouble) =
            (Some(spool.create_for(key, self.listed_size(number))), HeadReader::default(), None);
        let end = self.wire.body(|bytes| {
            head.take(bytes);
            if head.size > limit {
                writer = None; // larger than it was listed: read to its end, but not kept
            } else if let Some(writer) = &mut writer {
                trouble = writer.write_all(bytes).err();
            }
            trouble.is_none() && head.size <= limit.saturating_mul(2)
        });
        let end = end.await;
        if let Some(error) = trouble {
            return Err(spool_fault(&error));
        }
        if head.size > limit {
            return Ok((Err(self.too_large(number, limit)), end));
        }
        end?;
        let Some(writer) = writer.filter(|_| head.size > 0) else {
            return Ok((Err(self.empty(number)), Ok(())));
        };
        let file = writer.finish().map_err(|error| spool_fault(&error))?;
        Ok((Ok(Content::Mail { file, folder: INBOX.to_owned(), received: head.received() }), Ok(())))
    }

    /// A server that refuses each of several messages has trouble of its own: no message is to blame.
    fn none_at_all(&self, asked: usize, failed: &[(ItemKey, u32, Status)]) -> Result<(), SourceError> {
        let Some((_, _, status)) = failed.last().filter(|_| failed.len() == asked) else { return Ok(()) };
        match passing(self.wire.host(), status, None) {
            Some(error) => Err(error),
            None if asked > 2 => Err(refused(self.wire.host(), "RETR", status)),
            None => Ok(()),
        }
    }

    fn not_sent(&self, number: u32, status: &Status) -> Fault {
        let (host, said) = (self.wire.host(), words(status));
        let text = text!(
            "{host}: message {number} is listed, but the server does not send it: {said}",
            "{host} : le message {number} est annoncé, mais le serveur ne l'envoie pas : {said}"
        );
        Fault::new(Code::Protocol, text)
    }

    fn empty(&self, number: u32) -> Fault {
        let host = self.wire.host();
        let text = text!(
            "{host}: message {number} is listed, but the server sends nothing",
            "{host} : le message {number} est annoncé, mais le serveur n'envoie rien"
        );
        Fault::new(Code::Protocol, text)
    }

    fn too_large(&self, number: u32, limit: u64) -> Fault {
        let host = self.wire.host();
        let text = text!(
            "{host}: message {number} has more than {limit} bytes (`max_size`), although the server said otherwise",
            "{host} : le message {number} dépasse {limit} octets (`max_size`), contrairement à ce que disait le serveur"
        );
        Fault::new(Code::Protocol, text)
    }

    /// Sends QUIT, whose answer [`close`](Self::close) reads: the server closes the mailbox while what it sent is being
    /// delivered. Never with a body under way: Dovecot may then end the connection before it has sent all of it.
    async fn quit(&mut self) {
        self.quitting = true;
        self.wire.queue("QUIT", Expect::Line);
        // nothing was marked: nothing depends on it
        let _ = self.wire.flush().await;
    }

    /// QUIT. What was marked is deleted only where the server says so (RFC 1939, 6: "some deleted messages not
    /// removed"); else nothing depends on it, and trouble is not told.
    async fn close(mut self) -> Result<(), SourceError> {
        let status = if self.quitting { self.wire.status().await } else { self.wire.command("QUIT").await };
        if self.deleted.is_empty() {
            return Ok(());
        }
        self.expect_ok("QUIT", &status?)
    }
}

/// What becomes of a key that is not listed: it is gone, unless it is of another account, which is not ours to judge.
fn not_here(account: &str, key: &ItemKey) -> Result<Content, Fault> {
    if account_of(key).as_deref() == Some(account) {
        return Ok(Content::Gone);
    }
    let text = text!(
        "the message {key} is not of the account {account}, whose mailbox is being read",
        "le message {key} n'est pas du compte {account}, dont on lit la boîte"
    );
    Err(Fault::new(Code::Folder, text))
}

#[async_trait]
impl Source for Pop3 {
    async fn login(&mut self) -> Result<(), SourceError> {
        self.call(async |pop3| pop3.connected().await.map(drop)).await
    }

    async fn count(&mut self) -> Result<u64, SourceError> {
        self.call(async |pop3| pop3.try_count().await).await
    }

    async fn discover(&mut self, cursor: Option<&Cursor>) -> Result<Discovery, SourceError> {
        self.call(async |pop3| pop3.try_discover(cursor).await).await
    }

    async fn identify(&mut self, batch: &[Item]) -> Result<Vec<(ItemKey, Fingerprint)>, SourceError> {
        self.call(async |pop3| pop3.try_identify(batch).await).await
    }

    async fn fetch(&mut self, batch: &[Item], spool: &Spool, out: Outlet) -> Result<(), SourceError> {
        self.call(async |pop3| {
            if !pop3.try_fetch(batch, spool, &out).await? {
                // bodies that nobody takes are still on their way: this connection cannot be used any more
                pop3.session = None;
            }
            Ok(())
        })
        .await
    }

    async fn acknowledge(&mut self, batch: &[ItemKey], what: &Disposition) -> Result<Vec<ItemKey>, SourceError> {
        // the configuration admits nothing else
        if *what != Disposition::Delete || batch.is_empty() {
            return Ok(batch.to_vec());
        }
        self.call(async |pop3| pop3.try_delete(batch).await).await
    }

    async fn finish(&mut self) -> Result<(), SourceError> {
        self.call(async |pop3| pop3.try_finish().await).await
    }
}

/// The only folder of POP3, as the index names it.
const INBOX: &str = "INBOX";
/// A server that says nothing for so long is given up.
const PATIENCE: Duration = Duration::from_mins(1);
