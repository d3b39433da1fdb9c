//! Folders and messages in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::Notify;

use super::{Message, Trouble};

/// Everything that a server holds.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) account: String,
    pub(super) password: String,
    folders: BTreeMap<String, Folder>,
    pub(super) capabilities: Vec<String>,
    pub(super) troubles: Vec<Trouble>,
    pub(super) commands: Vec<String>,
    pub(super) prefix: String,
    pub(super) separator: char,
    /// Told of each message that comes.
    pub(super) arrived: Arc<Notify>,
    next_validity: u32,
}

/// A folder.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) validity: u32,
    pub(super) next_uid: u32,
    pub(super) messages: Vec<Stored>,
    pub(super) subscribed: bool,
    pub(super) attributes: Vec<String>,
}

/// A message.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) uid: u32,
    pub(super) flags: BTreeSet<String>,
    pub(super) received: jiff::Timestamp,
    pub(super) bytes: Arc<[u8]>,
}

impl Store {
    pub(super) fn new(account: &str, password: &str) -> Self {
        let mut store = Self {
            account: account.to_owned(),
            password: password.to_owned(),
            folders: BTreeMap::new(),
            capabilities: CAPABILITIES.iter().map(|&name| name.to_owned()).collect(),
            troubles: Vec::new(),
            commands: Vec::new(),
            prefix: String::new(),
            separator: '/',
            arrived: Arc::new(Notify::new()),
            next_validity: 1,
        };
        store.folder("INBOX").subscribed = true;
        store
    }

    /// The folder of that name, made if need be.
    pub(super) fn folder(&mut self, name: &str) -> &mut Folder {
        self.folders.entry(canonical(name)).or_insert_with(|| {
            let validity = self.next_validity;
            self.next_validity += 1;
            Folder { validity, next_uid: 1, messages: Vec::new(), subscribed: false, attributes: Vec::new() }
        })
    }

    pub(super) fn find(&self, name: &str) -> Option<&Folder> {
        self.folders.get(&canonical(name))
    }

    pub(super) fn find_mut(&mut self, name: &str) -> Option<&mut Folder> {
        self.folders.get_mut(&canonical(name))
    }

    pub(super) fn remove_folder(&mut self, name: &str) {
        self.folders.remove(&canonical(name));
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.folders.keys().cloned().collect()
    }

    pub(super) fn renumber(&mut self, name: &str) {
        let validity = self.next_validity;
        self.next_validity += 1;
        let folder = self.folder(name);
        folder.validity = validity;
        for message in &mut folder.messages {
            message.uid += RENUMBER_STEP;
        }
        folder.next_uid += RENUMBER_STEP;
    }

    /// Takes the first trouble that `pick` wants; one that wears off is removed.
    pub(super) fn take_trouble(&mut self, pick: impl Fn(&Trouble) -> bool) -> Option<Trouble> {
        let at = self.troubles.iter().position(pick)?;
        match &mut self.troubles[at] {
            Trouble::Answer { times, .. } if *times > 1 => {
                *times -= 1;
                Some(self.troubles[at].clone())
            }
            Trouble::ByeAfter(left) if *left > 0 => {
                *left -= 1;
                None
            }
            Trouble::ByeAfter(_)
            | Trouble::CutBody(_)
            | Trouble::CloseAt(_)
            | Trouble::ExpungeAtFetch(_)
            | Trouble::Answer { .. } => Some(self.troubles.remove(at)),
            stays => Some(stays.clone()),
        }
    }

    pub(super) fn has_trouble(&self, trouble: &Trouble) -> bool {
        self.troubles.contains(trouble)
    }
}

impl Folder {
    pub(super) fn can_open(&self) -> bool {
        !self.attributes.iter().any(|attribute| attribute == "\\Noselect")
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> u32 {
        self.add(BTreeSet::new(), jiff::Timestamp::now(), Arc::from(bytes))
    }

    /// Adds a message under a new UID.
    pub(super) fn add(&mut self, flags: BTreeSet<String>, received: jiff::Timestamp, bytes: Arc<[u8]>) -> u32 {
        let uid = self.next_uid;
        self.next_uid += 1;
        self.messages.push(Stored { uid, flags, received, bytes });
        uid
    }

    pub(super) fn flag(&mut self, uid: u32, flags: &[&str]) {
        for message in self.messages.iter_mut().filter(|message| message.uid == uid) {
            message.flags.extend(flags.iter().map(|&flag| flag.to_owned()));
        }
    }

    /// Removes messages; returns their sequence numbers as EXPUNGE responses tell them, one after another.
    pub(super) fn remove(&mut self, which: impl Fn(&Stored) -> bool) -> Vec<usize> {
        let mut told = Vec::new();
        let mut number = 1;
        self.messages.retain(|message| {
            let goes = which(message);
            if goes {
                told.push(number);
            } else {
                number += 1;
            }
            !goes
        });
        told
    }

    pub(super) fn snapshot(&self) -> Vec<Message> {
        let message = |stored: &Stored| Message {
            uid: stored.uid,
            flags: stored.flags.iter().cloned().collect(),
            bytes: Arc::clone(&stored.bytes),
        };
        self.messages.iter().map(message).collect()
    }
}

fn canonical(name: &str) -> String {
    if name.eq_ignore_ascii_case("INBOX") { "INBOX".to_owned() } else { name.to_owned() }
}

const CAPABILITIES: [&str; 8] =
    ["IMAP4rev1", "LITERAL+", "SASL-IR", "AUTH=PLAIN", "UIDPLUS", "MOVE", "UNSELECT", "NAMESPACE"];
const RENUMBER_STEP: u32 = 1000;
