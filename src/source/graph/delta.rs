//! What has changed in a folder since the last round, where messages stay in it.
//!
//! Not a list of what is there: the first round brings everything, later ones what came, what was changed and what left,
//! from the stored link on. Rounds repeat themselves and come in no order; the ledger knows what is done. The server
//! forgets old links when it likes (410, also in the middle of a round): then the first round comes again. A server
//! without delta (China), one that ends a round without a link, or a page that cannot be had is answered with a list.
//! Graph's filter by date is not used here: it would bring 5,000 messages at most.

use std::collections::HashSet;

use super::Voice;
use super::client::Client;
use super::folders::Folder;
use super::json::{Entry, Page};
use super::list::{ENTRY, Listed};
use super::trouble::Refusal;
use crate::event::Level;
use crate::source::SourceError;
use crate::text;
use crate::text::Text;

/// What a round brought.
pub(super) struct Round {
    pub(super) found: Vec<Listed>,
    /// Where the next one begins; `None`: there is no telling, and the folder has to be listed.
    pub(super) link: Option<String>,
}

/// Rounds of one folder.
pub(super) struct Delta<'a> {
    pub(super) client: &'a Client,
    pub(super) voice: &'a Voice,
    pub(super) folder: &'a Folder,
}

/// How a round ended.
enum End {
    Link(String),
    /// The link that it began or went on with is forgotten.
    Stale,
    /// The server fails on what is on a page.
    Damaged,
    /// It cannot be brought to its end.
    Useless(Text),
}

impl Delta<'_> {
    /// What came or changed since `link`; everything without one.
    pub(super) async fn round(&self, link: Option<&str>) -> Result<Round, SourceError> {
        let (mut found, mut seen) = (Vec::new(), HashSet::new());
        let (mut start, mut select) = (link.map(ToOwned::to_owned), ENTRY);
        for _ in 0..ROUNDS {
            let again = start.take();
            match self.pages(again.as_deref(), select, &mut found, &mut seen).await? {
                End::Link(link) => return Ok(Round { found, link: Some(link) }),
                End::Stale => self.forgotten(),
                // maybe for a moment only: what is asked for by ids alone stays so in all later rounds
                End::Damaged if again.is_some() => {}
                // a damaged message on a page: by its id alone it may be told
                End::Damaged if select != "id" => select = "id",
                End::Damaged => {
                    self.without(&text!("a page cannot be had", "une page ne peut être obtenue"));
                    break;
                }
                End::Useless(why) => {
                    self.without(&why);
                    break;
                }
            }
        }
        Ok(Round { found, link: None })
    }

    async fn pages(
        &self,
        link: Option<&str>,
        select: &str,
        found: &mut Vec<Listed>,
        seen: &mut HashSet<String>,
    ) -> Result<End, SourceError> {
        let mut links = HashSet::new();
        let mut request = if let Some(link) = link {
            // one that was stored for another server means nothing here
            let Ok(request) = self.client.follow(link) else { return Ok(End::Stale) };
            request
        } else {
            let query = format!("$select={select}");
            self.client.get(&["mailFolders", &self.folder.id, "messages", "delta"], &query)
        };
        loop {
            let page: Page<Entry> = match self.client.json(&request.pages_of(PAGE).hardly_again()).await? {
                Ok(page) => page,
                Err(refusal) => return end_of(&refusal),
            };
            // what left in this round may have been there before it did: a list must not hide it
            let here = page.value.into_iter().filter(|entry| entry.removed.is_none());
            found.extend(here.map(Listed::from).filter(|listed| seen.insert(listed.id.clone())));
            match (page.next, page.delta) {
                (_, Some(delta)) => return Ok(End::Link(delta)),
                (Some(next), None) if links.insert(next.clone()) => request = self.client.follow(&next)?,
                _ => return Ok(End::Useless(no_link())),
            }
        }
    }

    fn forgotten(&self) {
        let path = &self.folder.path;
        let text = text!(
            "{path}: the server has forgotten how far it was read, and lists it from the beginning; what is done is known",
            "{path} : le serveur a oublié jusqu'où il était lu et le liste depuis le début ; ce qui est fait est connu"
        );
        self.voice.tell(Level::Info, "graph_resync", text);
    }

    fn without(&self, why: &Text) {
        let (path, Text { en, fr }) = (&self.folder.path, why);
        let text = text!(
            "{path}: no list of changes ({en}); the whole folder is listed instead",
            "{path} : pas de liste des changements ({fr}) ; le dossier entier est listé à la place"
        );
        self.voice.tell(Level::Info, "graph_no_delta", text);
    }
}

/// What a refused page means for the round. Without a right or a mailbox a list would not go either.
fn end_of(refusal: &Refusal) -> Result<End, SourceError> {
    if refusal.is_stale() {
        return Ok(End::Stale);
    }
    if refusal.status == 500 {
        return Ok(End::Damaged);
    }
    let of_the_mailbox = refusal.is_no_mailbox() || matches!(refusal.status, 403 | 503);
    if of_the_mailbox { Err(refusal.error()) } else { Ok(End::Useless(Text::same(refusal.said()))) }
}

fn no_link() -> Text {
    text!("the server ends it without a link", "le serveur la termine sans lien")
}

/// Messages on a page.
const PAGE: u16 = 500;
/// One from the stored link, two from the beginning, one by ids alone.
const ROUNDS: usize = 4;
