//! A session: a connection that is logged in, and the folder that is open in it (RFC 3501, 6.3).
//!
//! Not the way in (`login`) and not which folder is meant (`folders`). Every command's tagged status is looked at: a NO
//! is never an empty answer.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use super::folders::Target;
use super::trouble::{passing, refused};
use super::wire::{Reply, Wire};
use crate::config::Launcher;
use crate::event::{Events, Level};
use crate::model::{Code, Fault};
use crate::proto::imap::names;
use crate::proto::imap::response::{Kind, Response, Status, Value};
use crate::secret::Secret;
use crate::source::SourceError;
use crate::text;

/// A connection that is logged in.
pub(super) struct Session {
    pub(super) wire: Wire,
    pub(super) capabilities: BTreeSet<String>,
    pub(super) selected: Option<Selected>,
    /// Where messages are moved to, by the name in the configuration.
    pub(super) targets: HashMap<String, Target>,
}

/// The folder that is open.
#[derive(Clone, Debug)]
pub(super) struct Selected {
    /// As the server writes it.
    pub(super) name: String,
    /// In Unicode.
    pub(super) folder: String,
    pub(super) uidvalidity: u32,
    /// How many messages there were when it was opened.
    pub(super) exists: u32,
    pub(super) writable: bool,
}

impl Session {
    /// Connects and logs in with `secret`: the password, or a token.
    pub(super) async fn open(
        launcher: &Launcher,
        secret: &Secret,
        events: &Events,
        patience: Duration,
    ) -> Result<Self, SourceError> {
        let mut wire = Wire::open(launcher, events, patience).await?;
        wire.link.hide(secret.reveal());
        let mut session = Self { wire, capabilities: BTreeSet::new(), selected: None, targets: HashMap::new() };
        session.enter(launcher, secret).await?;
        Ok(session)
    }

    /// Whether the server has this capability (upper case).
    pub(super) fn has(&self, capability: &str) -> bool {
        self.capabilities.contains(capability)
    }

    /// A command that must succeed; `step` names it in the error.
    pub(super) async fn run(&mut self, step: &str, line: &str) -> Result<Reply, SourceError> {
        let reply = self.wire.command(line).await?;
        if reply.status.kind == Kind::Ok { Ok(reply) } else { Err(refused(self.wire.host(), step, &reply.status)) }
    }

    /// Opens a folder by the server's name; inside, a refusal that speaks of this folder.
    pub(super) async fn select(&mut self, name: &str, writable: bool) -> Result<Result<Selected, Status>, SourceError> {
        self.selected = None;
        let verb = if writable { "SELECT" } else { "EXAMINE" };
        let reply = self.wire.command(&format!("{verb} {}", names::quote(name))).await?;
        match reply.status.kind {
            Kind::Ok => {}
            Kind::No => match passing(self.wire.host(), &reply.status) {
                Some(error) => return Err(error),
                None => return Ok(Err(reply.status)),
            },
            _ => return Err(refused(self.wire.host(), verb, &reply.status)),
        }
        let selected = self.read_selected(name, writable, &reply)?;
        self.selected = Some(selected.clone());
        Ok(Ok(selected))
    }

    /// Ends the session in good order. Nothing depends on it any more, so that trouble is not told.
    pub(super) async fn close(mut self) {
        // never CLOSE: it would expunge what others marked (RFC 3501, 6.4.2); both in one round trip
        if self.selected.is_some() && self.has("UNSELECT") && self.wire.send("UNSELECT").await.is_err() {
            return;
        }
        let _ = self.wire.command("LOGOUT").await;
    }

    pub(super) async fn ask_capabilities(&mut self) -> Result<(), SourceError> {
        let reply = self.run("CAPABILITY", "CAPABILITY").await?;
        self.learn_from(&reply);
        Ok(())
    }

    pub(super) fn learn_from(&mut self, reply: &Reply) {
        for response in &reply.data {
            if let Response::Data { name, values, .. } = response
                && name == "CAPABILITY"
            {
                let words: Vec<String> = values.iter().filter_map(Value::text).collect();
                self.learn(words.iter().map(String::as_str));
            }
        }
    }

    pub(super) fn learn<'a>(&mut self, words: impl Iterator<Item = &'a str>) {
        self.capabilities.extend(words.map(str::to_ascii_uppercase));
    }

    fn read_selected(&self, name: &str, writable: bool, reply: &Reply) -> Result<Selected, SourceError> {
        let codes = || reply.remarks.iter().chain([&reply.status]);
        let uidvalidity = codes().find_map(|status| status.code("UIDVALIDITY")?.parse().ok());
        let exists = reply.data.iter().rev().find_map(|response| match response {
            Response::Data { number: Some(number), name, .. } if name == "EXISTS" => Some(*number),
            _ => None,
        });
        let Some(uidvalidity) = uidvalidity else {
            let (host, folder) = (self.wire.host(), names::show(name));
            let text = text!(
                "{host} gives no UIDVALIDITY for the folder {folder}: its messages cannot be told apart",
                "{host} ne donne pas d'UIDVALIDITY pour le dossier {folder} : impossible d'identifier ses messages"
            );
            return Err(SourceError::Mailbox(Fault::new(Code::Protocol, text)));
        };
        let writable = writable && reply.status.code("READ-ONLY").is_none();
        let exists = exists.unwrap_or(u32::MAX);
        Ok(Selected { name: name.to_owned(), folder: names::show(name), uidvalidity, exists, writable })
    }

    /// Tells a warning about this mailbox.
    pub(super) fn warn(&self, name: &'static str, text: crate::text::Text) {
        self.wire.tell(Level::Warning, name, text);
    }
}
