//! What is done to messages once they are delivered: marks, a category, move, delete.
//!
//! Not when: the launcher says so, maybe days later. Everything is repeatable. An immutable id follows its message: one
//! that somebody moved meanwhile would be moved or deleted where it lies now, so what is not known to be in a folder
//! that is read is looked at first. No `$batch`: Exchange would work on four of its requests at once, more than it
//! allows beside others.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::client::{Client, Request};
use super::folders::Folder;
use super::json::State;
use super::trouble::Refusal;
use super::{Known, Voice};
use crate::event::Level;
use crate::model::Disposition;
use crate::source::SourceError;
use crate::text;

/// What is done, and to messages of which folders.
pub(super) struct Changer {
    pub(super) client: Client,
    pub(super) voice: Voice,
    pub(super) what: Disposition,
    /// Where they are moved to.
    pub(super) target: Option<Folder>,
    /// The folders that are read.
    pub(super) sources: HashSet<String>,
    /// What was just listed.
    pub(super) known: Arc<HashMap<String, Known>>,
}

impl Changer {
    /// Whether it is done.
    pub(super) async fn change(&self, id: &str) -> Result<bool, SourceError> {
        let request = match &self.what {
            Disposition::Leave => return Ok(true),
            Disposition::Seen => self.patch(id, json!({ "isRead": true })),
            Disposition::Flag => self.patch(id, json!({ "flag": { "flagStatus": "flagged" } })),
            Disposition::Category(name) => match self.with_category(id, name).await? {
                Some(categories) => self.patch(id, json!({ "categories": categories })),
                None => return Ok(true),
            },
            Disposition::Move(_) | Disposition::Delete if !self.is_here(id).await? => return Ok(true),
            Disposition::Move(_) => {
                let target = self.target.as_ref().map(|target| target.id.as_str());
                self.client.request(
                    Method::POST,
                    &["messages", id, "move"],
                    "",
                    Some(json!({ "destinationId": target })),
                )
            }
            Disposition::Delete => self.client.request(Method::DELETE, &["messages", id], "", None),
        };
        self.run(id, &request).await
    }

    fn patch(&self, id: &str, body: Value) -> Request {
        self.client.request(Method::PATCH, &["messages", id], "", Some(body))
    }

    async fn run(&self, id: &str, request: &Request) -> Result<bool, SourceError> {
        let refusal = match self.client.change(request).await? {
            Ok(()) => return Ok(true),
            Err(refusal) => refusal,
        };
        if refusal.is_gone() {
            // a folder that has gone looks the same
            return match self.target {
                Some(_) if self.state(id).await?.is_some() => Err(refusal.error()),
                _ => Ok(true),
            };
        }
        if refusal.is_passing() || refusal.status == 403 || refusal.is_no_mailbox() {
            return Err(refusal.error());
        }
        self.refused(&refusal);
        Ok(false)
    }

    /// Whether it is in one of the folders that are read.
    async fn is_here(&self, id: &str) -> Result<bool, SourceError> {
        if self.known.get(id).is_some_and(|known| known.at.elapsed() < BELIEVED) {
            return Ok(true);
        }
        let state = self.state(id).await?;
        Ok(state.and_then(|state| state.parent_folder_id).is_some_and(|parent| self.sources.contains(&parent)))
    }

    /// Its categories with this one; `None` where it has it, or is gone. Others stay, and so does how this one is written.
    async fn with_category(&self, id: &str, name: &str) -> Result<Option<Vec<String>>, SourceError> {
        let Some(state) = self.state(id).await? else { return Ok(None) };
        let mut categories = state.categories.unwrap_or_default();
        if categories.iter().any(|known| known.to_lowercase() == name.to_lowercase()) {
            return Ok(None);
        }
        categories.push(name.to_owned());
        Ok(Some(categories))
    }

    /// Where it is and what it carries; `None` where it is gone.
    async fn state(&self, id: &str) -> Result<Option<State>, SourceError> {
        let request = self.client.get(&["messages", id], "$select=id,parentFolderId,categories");
        match self.client.json::<State>(&request).await? {
            Ok(state) => Ok(Some(state)),
            Err(refusal) if refusal.is_gone() => Ok(None),
            Err(refusal) => Err(refusal.error()),
        }
    }

    fn refused(&self, refusal: &Refusal) {
        let (host, said) = (self.client.host(), refusal.said());
        let text = text!(
            "{host} refuses to change a message: {said}; trying again at the next cycle",
            "{host} refuse de modifier un message : {said} ; nouvel essai au prochain cycle"
        );
        self.voice.tell(Level::Warning, "graph_change_refused", text);
    }
}

/// For so long a message that was listed is believed to be there still.
const BELIEVED: Duration = Duration::from_mins(5);
