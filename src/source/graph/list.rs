//! What is in a folder now, where messages leave it once they are done with, or where Graph has no delta.
//!
//! Not by following links: `$skip` counts in a folder that changes meanwhile, jumps, and links get lost, so a list by links
//! hides messages and ends early. Each request asks for what was received from a moment on, oldest first, and the next
//! moment is that of the youngest message so far; a link is followed only within one second, and where a page brought
//! nothing. What that could not list (a message without a date) is looked for by links once more where the folder
//! counts more than was found. Nothing is changed meanwhile: that comes after all is listed.

use std::collections::HashSet;
use std::time::SystemTime;

use jiff::{SignedDuration, Timestamp};

use super::Voice;
use super::client::{Client, Request};
use super::folders::Folder;
use super::json::{Entry, MailFolder, Page};
use super::trouble::Refusal;
use crate::event::Level;
use crate::source::SourceError;
use crate::text;

/// A message as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) id: String,
    pub(super) received: Option<Timestamp>,
}

impl From<Entry> for Listed {
    fn from(entry: Entry) -> Self {
        Self { received: entry.received_date_time.as_deref().and_then(moment), id: entry.id }
    }
}

/// A moment as Graph writes it (`2018-09-09T03:15:08Z`).
pub(super) fn moment(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

/// Messages of a folder.
pub(super) struct Listing<'a> {
    client: &'a Client,
    voice: &'a Voice,
    folder: &'a Folder,
    unseen: bool,
    since: Option<Timestamp>,
    seen: HashSet<String>,
    found: Vec<Listed>,
}

/// What the requests for one moment brought.
#[derive(Default)]
struct Swept {
    fresh: usize,
    latest: Option<Timestamp>,
}

impl<'a> Listing<'a> {
    /// Those of `folder` that were received since `since`, and with `unseen` only those that are not marked as read.
    pub(super) fn new(
        client: &'a Client,
        voice: &'a Voice,
        folder: &'a Folder,
        since: Option<SystemTime>,
        unseen: bool,
    ) -> Self {
        let since = since.and_then(|since| Timestamp::try_from(since).ok());
        Self { client, voice, folder, unseen, since, seen: HashSet::new(), found: Vec::new() }
    }

    /// All of them, oldest first.
    pub(super) async fn all(mut self) -> Result<Vec<Listed>, SourceError> {
        let mut from = self.since.unwrap_or(Timestamp::UNIX_EPOCH).max(Timestamp::UNIX_EPOCH);
        let mut stepped = false;
        loop {
            let swept = self.sweep(from).await?;
            match swept.latest.filter(|latest| swept.fresh > 0 && *latest > from) {
                Some(latest) => (from, stepped) = (latest, false),
                // nothing new from the second after the last one on: the end, whatever links there were
                None if stepped && swept.fresh == 0 => break,
                None => (from, stepped) = (after(from), true),
            }
        }
        self.look_for_the_rest().await?;
        self.found.sort_by_key(|listed| listed.received);
        Ok(self.found)
    }

    /// What was received from `from` on, as far as the pages go at once; all of it where that is one second.
    async fn sweep(&mut self, from: Timestamp) -> Result<Swept, SourceError> {
        let mut page = self.page_from(from).await?;
        let mut swept = Swept::default();
        for _ in 0..LINKS {
            self.take(page.value, &mut swept);
            let stuck = swept.fresh == 0 || swept.latest.is_none_or(|latest| latest <= from);
            let Some(next) = page.next.filter(|_| stuck) else { break };
            let request = self.client.follow(&next)?;
            page = match self.client.json(&request).await? {
                Ok(page) => page,
                // asked for again from the next second on
                Err(refusal) if refusal.is_passing() || refusal.is_for_ever() => break,
                Err(refusal) => return Err(refusal.error()),
            };
        }
        Ok(swept)
    }

    fn take(&mut self, entries: Vec<Entry>, swept: &mut Swept) {
        for entry in entries {
            let listed = Listed::from(entry);
            swept.latest = swept.latest.max(listed.received);
            if self.seen.insert(listed.id.clone()) {
                swept.fresh += 1;
                self.found.push(listed);
            }
        }
    }

    /// The first page from a moment on. One damaged message makes a whole page fail: then smaller ones are asked for, and
    /// at last it is stepped over.
    async fn page_from(&self, from: Timestamp) -> Result<Page<Entry>, SourceError> {
        let mut refusal = match self.client.json(&self.from(from, PAGE, 0)).await? {
            Ok(page) => return Ok(page),
            Err(refusal) if is_of_an_item(&refusal) => refusal,
            Err(refusal) => return Err(refusal.error()),
        };
        let smaller = SMALLER.iter().map(|top| (*top, 0));
        for (top, skip) in smaller.chain((1..=STEPS).map(|skip| (1, skip))) {
            match self.client.json(&self.from(from, top, skip)).await? {
                Ok(page) => {
                    if skip > 0 {
                        self.stepped_over(from, &refusal);
                    }
                    return Ok(page);
                }
                Err(refused) if is_of_an_item(&refused) => refusal = refused,
                Err(refused) => return Err(refused.error()),
            }
        }
        Err(refusal.error())
    }

    /// Oldest first is only had where the filter begins with the same property.
    fn from(&self, from: Timestamp, top: u16, skip: u16) -> Request {
        let moment = from.strftime("%Y-%m-%dT%H:%M:%SZ");
        let unseen = if self.unseen { " and isRead eq false" } else { "" };
        let skip = if skip > 0 { format!("&$skip={skip}") } else { String::new() };
        let query = format!(
            "$select={ENTRY}&$filter=receivedDateTime ge {moment}{unseen}&$orderby=receivedDateTime asc&$top={top}{skip}"
        );
        self.client.get(&["mailFolders", &self.folder.id, "messages"], &query)
    }

    /// Without a filter, by links, where the folder counts more than was found.
    async fn look_for_the_rest(&mut self) -> Result<(), SourceError> {
        if self.unseen || self.since.is_some() || self.counted().await? <= self.found.len() as u64 {
            return Ok(());
        }
        let query = format!("$select={ENTRY}&$top={PAGE}");
        let mut request = self.client.get(&["mailFolders", &self.folder.id, "messages"], &query);
        for _ in 0..LINKS {
            let Ok(page) = self.client.json::<Page<Entry>>(&request).await? else { break };
            self.take(page.value, &mut Swept::default());
            let Some(next) = page.next else { break };
            request = self.client.follow(&next)?;
        }
        Ok(())
    }

    async fn counted(&self) -> Result<u64, SourceError> {
        let request = self.client.get(&["mailFolders", &self.folder.id], "$select=id,totalItemCount");
        match self.client.json::<MailFolder>(&request).await? {
            Ok(folder) => Ok(folder.total_item_count.unwrap_or(0)),
            Err(refusal) => Err(refusal.error()),
        }
    }

    fn stepped_over(&self, from: Timestamp, refusal: &Refusal) {
        let path = &self.folder.path;
        let said = refusal.said();
        let text = text!(
            "{path}: a message received at {from} or soon after cannot be listed and is left out: {said}; look at it in \
             Outlook, it is probably damaged",
            "{path} : un message reçu à {from} ou peu après ne peut pas être listé et est laissé de côté : {said} ; à examiner \
             dans Outlook, il est sans doute endommagé"
        );
        self.voice.tell(Level::Warning, "graph_not_listed", text);
    }
}

/// A page that fails for what is on it, and not for the service.
fn is_of_an_item(refusal: &Refusal) -> bool {
    refusal.is_for_ever() || refusal.status == 500
}

fn after(moment: Timestamp) -> Timestamp {
    // the store is finer than the seconds that it shows
    moment.checked_add(SignedDuration::from_secs(1)).unwrap_or(Timestamp::MAX)
}

/// What is asked of a message in a list; more costs, and one damaged property fails the page.
pub(super) const ENTRY: &str = "id,receivedDateTime";
/// Messages on a page, and on smaller ones where that fails.
const PAGE: u16 = 500;
const SMALLER: [u16; 3] = [50, 10, 1];
/// Damaged messages in a row that are stepped over.
const STEPS: u16 = 20;
/// Links that are followed one after the other.
const LINKS: usize = 10_000;
