//! What is in a folder now, where messages leave it once they are done with, or where Graph has no delta.
//!
//! Not by following links: `$skip` counts in a folder that changes meanwhile, jumps, and links get lost, so a list by links
//! hides messages and ends early. Each request asks for what was received from a moment on, oldest first, and the next
//! moment is that of the youngest message on its first page; a link is followed only within one second, and where a page
//! holds nothing. Where the folder counts more than was found (a message without a date, say), it is listed again, by
//! links too, until nothing new comes. Nothing is changed meanwhile: that comes after all is listed.

use std::collections::HashSet;
use std::time::SystemTime;

use jiff::{SignedDuration, Timestamp};

use super::Voice;
use super::client::{Client, Request};
use super::folders::Folder;
use super::json::{Entry, MailFolder, Page, State};
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

/// What a moment brought.
struct Swept {
    /// When the youngest message of its first page was received.
    first: Option<Timestamp>,
    /// And the youngest behind its links.
    linked: Option<Timestamp>,
    /// There are messages on its first page, none with a date.
    undated: bool,
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
        for _ in 0..PASSES {
            let before = self.found.len();
            self.pass().await?;
            if self.unseen || self.since.is_some() || self.counted().await? <= self.found.len() as u64 {
                break;
            }
            self.by_links().await?;
            if self.found.len() == before {
                break;
            }
        }
        self.found.sort_by_key(|listed| listed.received);
        Ok(self.found)
    }

    /// From the first moment to the last.
    async fn pass(&mut self) -> Result<(), SourceError> {
        let mut from = self.since.unwrap_or(Timestamp::UNIX_EPOCH).max(Timestamp::UNIX_EPOCH);
        // whether something was received at `from`; whether nothing more was at the moment before it
        let (mut held, mut stepped, mut asked) = (false, false, 1);
        loop {
            let Swept { first, linked, undated } = self.sweep(from).await?;
            let empty = first.is_none() && !undated;
            if let Some(latest) = first.filter(|latest| *latest > from) {
                (from, held, stepped, asked) = (latest, true, false, 1);
            } else if empty && asked < ASKED && (held || linked.is_some()) {
                // an empty page that cannot be, or that goes on: what is behind its link may have gaps
                asked += 1;
            } else if linked.is_none() && (undated || empty && stepped) {
                // nothing from the second after the last one on, or nothing that has a date: the end, whatever links
                // there were
                return Ok(());
            } else {
                let next = linked.filter(|_| first.is_none()).unwrap_or(from).max(after(from));
                (from, held, stepped, asked) = (next, false, true, 1);
            }
        }
    }

    /// The first page of what was received from `from` on; where that leads to no later moment, what is behind its links,
    /// too.
    async fn sweep(&mut self, from: Timestamp) -> Result<Swept, SourceError> {
        let page = self.page_from(from).await?;
        let held = !page.value.is_empty();
        let (first, mut linked) = (self.take(page.value), None);
        let undated = held && first.is_none();
        if first.is_some_and(|latest| latest > from) {
            return Ok(Swept { first, linked, undated });
        }
        let mut next = page.next;
        for _ in 0..LINKS {
            let Some(link) = next.take() else { break };
            let request = self.client.follow(&link)?;
            let page: Page<Entry> = match self.client.json(&request).await? {
                Ok(page) => page,
                Err(refusal) if is_of_an_item(&refusal) => {
                    linked = linked.max(self.one_by_one(from).await.map(|page| self.take(page.value))?);
                    break;
                }
                // asked for again from the next second on
                Err(refusal) if refusal.is_passing() => break,
                Err(refusal) => return Err(refusal.error()),
            };
            linked = linked.max(self.take(page.value));
            // beyond this second, first pages are better
            next = page.next.filter(|_| linked.is_none_or(|latest| latest <= from));
        }
        Ok(Swept { first, linked, undated })
    }

    /// When the youngest of them was received.
    fn take(&mut self, entries: Vec<Entry>) -> Option<Timestamp> {
        let mut latest = None;
        for listed in entries.into_iter().map(Listed::from) {
            latest = latest.max(listed.received);
            if self.seen.insert(listed.id.clone()) {
                self.found.push(listed);
            }
        }
        latest
    }

    /// The first page from a moment on. One damaged message makes a whole page fail: then ids alone are asked for, then
    /// smaller pages, and at last one message after the other.
    async fn page_from(&self, from: Timestamp) -> Result<Page<Entry>, SourceError> {
        if let Ok(page) = self.ask(from, ENTRY, PAGE, 0).await? {
            return Ok(page);
        }
        if let Ok(mut page) = self.ask(from, "id", PAGE, 0).await? {
            self.date_the_last(&mut page.value).await?;
            return Ok(page);
        }
        for top in SMALLER {
            if let Ok(page) = self.ask(from, ENTRY, top, 0).await? {
                return Ok(page);
            }
        }
        self.one_by_one(from).await
    }

    /// Up to the first message that was received after `from`; a damaged one is listed by its id alone, without a date, and
    /// where that fails, too, it is stepped over.
    async fn one_by_one(&self, from: Timestamp) -> Result<Page<Entry>, SourceError> {
        let (mut found, mut damaged) = (Vec::new(), 0);
        for skip in 0..STEPS {
            let mut page = match self.ask(from, ENTRY, 1, skip).await? {
                Ok(page) => page,
                Err(_) => match self.ask(from, "id", 1, skip).await? {
                    Ok(page) => page,
                    Err(refusal) if damaged >= DAMAGED => return Err(refusal.error()),
                    Err(refusal) => {
                        self.stepped_over(from, &refusal);
                        damaged += 1;
                        continue;
                    }
                },
            };
            let received = page.value.iter().filter_map(|entry| moment(entry.received_date_time.as_deref()?)).max();
            let is_over = page.value.is_empty() || received.is_some_and(|received| received > from);
            found.append(&mut page.value);
            if is_over {
                break;
            }
        }
        Ok(Page { value: found, next: None, delta: None })
    }

    /// When the last of these was received that can be asked: from there it goes on.
    async fn date_the_last(&self, entries: &mut [Entry]) -> Result<(), SourceError> {
        for entry in entries.iter_mut().rev().take(DATED) {
            let request = self.client.get(&["messages", &entry.id], &format!("$select={ENTRY}"));
            if let Ok(state) = self.client.json::<State>(&request).await? {
                entry.received_date_time = state.received_date_time;
                break;
            }
        }
        Ok(())
    }

    /// One page; inside, what fails for what is on it.
    async fn ask(
        &self,
        from: Timestamp,
        select: &str,
        top: u16,
        skip: u16,
    ) -> Result<Result<Page<Entry>, Refusal>, SourceError> {
        match self.client.json(&self.from(from, select, top, skip)).await? {
            Ok(page) => Ok(Ok(page)),
            Err(refusal) if is_of_an_item(&refusal) => Ok(Err(refusal)),
            Err(refusal) => Err(refusal.error()),
        }
    }

    /// Oldest first is only had where the filter begins with the same property.
    fn from(&self, from: Timestamp, select: &str, top: u16, skip: u16) -> Request {
        let moment = from.strftime("%Y-%m-%dT%H:%M:%SZ");
        let unseen = if self.unseen { " and isRead eq false" } else { "" };
        let skip = if skip > 0 { format!("&$skip={skip}") } else { String::new() };
        let query = format!(
            "$select={select}&$filter=receivedDateTime ge {moment}{unseen}&$orderby=receivedDateTime asc&$top={top}{skip}"
        );
        self.client.get(&["mailFolders", &self.folder.id, "messages"], &query).hardly_again()
    }

    /// Without a filter, by links: what has no date comes only so.
    async fn by_links(&mut self) -> Result<(), SourceError> {
        let query = format!("$select={ENTRY}&$top={PAGE}");
        let mut request = self.client.get(&["mailFolders", &self.folder.id, "messages"], &query);
        for _ in 0..LINKS {
            let Ok(page) = self.client.json::<Page<Entry>>(&request).await? else { break };
            self.take(page.value);
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
const SMALLER: [u16; 2] = [50, 10];
/// Messages that are asked for one after the other, how many of those may not be listed at all, and how many are asked for
/// their date.
const STEPS: u16 = 1000;
const DAMAGED: u16 = 20;
const DATED: usize = 20;
/// How often an empty page that goes on is asked for again.
const ASKED: u32 = 5;
/// Passes over a folder that counts more than was found.
const PASSES: usize = 10;
/// Links that are followed one after the other.
const LINKS: usize = 10_000;
