//! What lies in the mailbox in this session: which number is which message.
//!
//! Numbers mean nothing in the next session, and the order may be another one: everything goes by the unique-id. A
//! server without UIDL, or that gives an id twice or an empty one, cannot tell its messages apart: theirs are keys from
//! what they hold.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::head::HeadReader;
use super::key::Key;
use super::session::Session;
use super::trouble::{passing, refused};
use super::window::{Verb, Window};
use crate::model::{Digest, ItemKey};
use crate::proto::pop3::listing;
use crate::proto::pop3::status::Status;
use crate::source::{Fingerprint, SourceError};

/// The messages of this session.
pub(super) struct Mailbox {
    /// In the order of their numbers.
    pub(super) entries: Vec<Entry>,
    pub(super) numbers: HashMap<ItemKey, u32>,
    /// Fingerprints that had to be asked for anyway.
    prints: HashMap<u32, Fingerprint>,
}

/// A message.
pub(super) struct Entry {
    pub(super) number: u32,
    /// Bytes, as the server counts them.
    pub(super) size: u64,
    pub(super) key: Key,
    /// The same as everybody else holds it.
    pub(super) item: ItemKey,
}

impl Mailbox {
    /// The unique-ids in use.
    pub(super) fn uidls(&self) -> Vec<&str> {
        let ids = self.entries.iter().filter_map(|entry| match &entry.key {
            Key::Uidl(_, uidl) => Some(uidl.as_str()),
            Key::Content(..) => None,
        });
        ids.collect()
    }
}

impl Session {
    /// The mailbox of this session, asked for once.
    pub(super) async fn mailbox(&mut self, account: &str) -> Result<&Mailbox, SourceError> {
        let mailbox = match self.mailbox.take() {
            Some(mailbox) => mailbox,
            None => self.list(account).await?,
        };
        Ok(self.mailbox.insert(mailbox))
    }

    async fn list(&mut self, account: &str) -> Result<Mailbox, SourceError> {
        let mut sizes = BTreeMap::new();
        let status = self.wire.list("LIST", |line| sizes.extend(listing::size(line))).await?;
        self.expect_ok("LIST", &status)?;
        let ids = if sizes.is_empty() { BTreeMap::new() } else { self.unique_ids().await? };
        let unnamed: Vec<u32> = sizes.keys().copied().filter(|number| !ids.contains_key(number)).collect();
        let heads = self.heads(&unnamed).await?;
        let mut alike: HashMap<(Digest, u64), u32> = HashMap::new();
        let entries: Vec<Entry> = sizes
            .into_iter()
            .map(|(number, size)| {
                let account = account.to_owned();
                let key = if let Some(uidl) = ids.get(&number) {
                    Key::Uidl(account, uidl.clone())
                } else {
                    // one that cannot be read has a key all the same: it fails when it is fetched
                    let digest = heads.get(&number).map_or_else(|| Digest::of(b""), |(digest, _)| *digest);
                    let nth = alike.entry((digest, size)).and_modify(|nth| *nth += 1).or_insert(1);
                    Key::Content(account, digest, size, *nth)
                };
                Entry { number, size, item: key.to_item(), key }
            })
            .collect();
        let numbers = entries.iter().map(|entry| (entry.item.clone(), entry.number)).collect();
        let prints = heads.into_iter().map(|(number, (_, print))| (number, print)).collect();
        Ok(Mailbox { entries, numbers, prints })
    }

    /// The unique-ids that can be relied on: those that the server gives to one message.
    async fn unique_ids(&mut self) -> Result<BTreeMap<u32, String>, SourceError> {
        let mut ids = BTreeMap::new();
        let status = self.wire.list("UIDL", |line| {
            if let Some((number, Some(id))) = listing::unique_id(line) {
                ids.insert(number, id);
            }
        });
        let status = status.await?;
        if !status.is_ok()
            && let Some(error) = passing(self.wire.host(), &status, None)
        {
            return Err(error);
        }
        let mut seen = HashSet::new();
        let twice: HashSet<String> = ids.values().filter(|id| !seen.insert(id.as_str())).cloned().collect();
        ids.retain(|_, id| !twice.contains(id));
        Ok(ids)
    }

    /// What recognises messages. One that cannot be read is left out.
    pub(super) async fn fingerprints(&mut self, numbers: &[u32]) -> Result<HashMap<u32, Fingerprint>, SourceError> {
        let mut prints = self.mailbox.as_ref().map(|mailbox| mailbox.prints.clone()).unwrap_or_default();
        let unknown: Vec<u32> = numbers.iter().copied().filter(|number| !prints.contains_key(number)).collect();
        prints.extend(self.heads(&unknown).await?.into_iter().map(|(number, (_, print))| (number, print)));
        for entry in self.mailbox.iter().flat_map(|mailbox| &mailbox.entries) {
            // a header without Message-ID may be another message's too
            if let Some(print) = prints.get_mut(&entry.number).filter(|print| print.message_id.is_none()) {
                print.size = Some(entry.size);
            }
        }
        Ok(prints)
    }

    /// The header blocks of messages, by TOP, else by reading the whole: digests for keys, and fingerprints.
    async fn heads(&mut self, numbers: &[u32]) -> Result<HashMap<u32, (Digest, Fingerprint)>, SourceError> {
        let mut heads = HashMap::new();
        let mut missing = numbers.to_vec();
        for verb in [Verb::Top, Verb::Retr] {
            if verb == Verb::Top && self.capabilities.known && !self.capabilities.top {
                continue;
            }
            let last = self.read_heads(verb, &std::mem::take(&mut missing), &mut heads, &mut missing).await?;
            if let Some(status) = last.filter(|_| verb == Verb::Retr && heads.is_empty()) {
                return Err(refused(self.wire.host(), "RETR", &status));
            }
            if missing.is_empty() {
                break;
            }
        }
        Ok(heads)
    }

    /// Answers the last refusal.
    async fn read_heads(
        &mut self,
        verb: Verb,
        numbers: &[u32],
        heads: &mut HashMap<u32, (Digest, Fingerprint)>,
        missing: &mut Vec<u32>,
    ) -> Result<Option<Status>, SourceError> {
        let mut refusal = None;
        let mut window = Window::new(self, verb, numbers.iter().copied());
        while let Some((number, status)) = window.next(&mut self.wire).await? {
            if !status.is_ok() {
                missing.push(number);
                refusal = Some(status);
                continue;
            }
            let mut head = HeadReader::default();
            self.wire
                .body(|bytes| {
                    head.take(bytes);
                    head.size <= WHOLE_LIMIT
                })
                .await?;
            heads.insert(number, (head.digest(), head.fingerprint()));
        }
        Ok(refusal)
    }
}

/// Most that is read of one message to know its header, bytes.
const WHOLE_LIMIT: u64 = 4 << 30;
