//! A mailbox of Exchange Online: folders, messages, the two kinds of ids, and the order in which things changed.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use hyper::body::Bytes;
use mail_parser::{Address, MessageParser, MimeHeaders as _};

/// A mailbox.
pub(crate) struct Mailbox {
    number: u8,
    pub(crate) upn: String,
    /// Who else may open it.
    pub(crate) delegates: Vec<String>,
    /// No licence: there is a user, and no mailbox.
    pub(crate) absent: bool,
    pub(crate) folders: Vec<Folder>,
    pub(crate) messages: Vec<Message>,
    /// What left a folder: (change, folder, item).
    pub(super) removals: Vec<(u64, usize, u64)>,
    /// The number of the latest change.
    pub(super) change: u64,
}

/// A folder; its number is its place in the list.
pub(crate) struct Folder {
    pub(crate) name: String,
    pub(crate) well_known: Option<&'static str>,
    pub(crate) parent: Option<usize>,
    pub(crate) hidden: bool,
    pub(crate) search: bool,
}

/// A message.
#[derive(Clone)]
pub(crate) struct Message {
    /// What its immutable id is made of.
    pub(crate) number: u64,
    pub(crate) folder: usize,
    /// How often it was moved: the ordinary id goes by it.
    pub(super) generation: u32,
    pub(crate) mime: Bytes,
    pub(crate) received: SystemTime,
    pub(crate) is_read: bool,
    pub(crate) flagged: bool,
    pub(crate) categories: Vec<String>,
    pub(crate) kind: Kind,
    pub(super) change: u64,
    pub(super) head: Head,
    /// In place of those of the MIME text, where a test says so.
    pub(crate) attachments: Option<Vec<Attachment>>,
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Ordinary,
    /// Its MIME can never be made.
    Smime,
    /// Every page that shows it fails, and so does itself.
    Corrupt,
    /// A meeting request.
    Event,
    /// Not sent: nobody wrote it yet.
    Draft,
}

/// What the JSON form says of a message.
#[derive(Clone, Default)]
pub(super) struct Head {
    pub(super) subject: String,
    pub(super) message_id: Option<String>,
    pub(super) sent: Option<SystemTime>,
    pub(super) from: Vec<(Option<String>, String)>,
    pub(super) to: Vec<(Option<String>, String)>,
    pub(super) cc: Vec<(Option<String>, String)>,
    pub(super) headers: Vec<(String, String)>,
    pub(super) has_attachments: bool,
}

/// An attachment as Graph shows it.
#[derive(Clone)]
pub(crate) struct Attachment {
    pub(crate) kind: AttachmentKind,
    pub(crate) name: String,
    pub(crate) media_type: String,
    /// For an item: its MIME text.
    pub(crate) bytes: Vec<u8>,
    pub(crate) inline: bool,
    pub(crate) content_id: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AttachmentKind {
    File,
    Item,
    Reference,
}

/// Folders that every mailbox has: well-known name, name in French.
const WELL_KNOWN: [(&str, &str); 8] = [
    ("msgfolderroot", "Début de la banque d'informations"),
    ("inbox", "Boîte de réception"),
    ("drafts", "Brouillons"),
    ("sentitems", "Éléments envoyés"),
    ("deleteditems", "Éléments supprimés"),
    ("junkemail", "Courrier indésirable"),
    ("archive", "Archive"),
    ("outbox", "Boîte d'envoi"),
];

/// All well-known names (a folder for each is not needed).
pub(super) const NAMES: [&str; 17] = [
    "inbox",
    "drafts",
    "sentitems",
    "deleteditems",
    "junkemail",
    "archive",
    "outbox",
    "msgfolderroot",
    "clutter",
    "conflicts",
    "conversationhistory",
    "localfailures",
    "serverfailures",
    "syncissues",
    "recoverableitemsdeletions",
    "scheduled",
    "searchfolders",
];

impl Mailbox {
    pub(crate) fn new(number: u8, upn: &str) -> Self {
        let folder = |(at, (known, name)): (usize, &(&'static str, &str))| Folder {
            name: (*name).to_owned(),
            well_known: Some(known),
            parent: (at > 0).then_some(0),
            hidden: false,
            search: false,
        };
        let folders = WELL_KNOWN.iter().enumerate().map(folder).collect();
        let (delegates, messages, removals) = (Vec::new(), Vec::new(), Vec::new());
        let upn = upn.to_owned();
        Self { number, upn, delegates, absent: false, folders, messages, removals, change: 0 }
    }

    /// Makes a folder below another (a well-known name or a display name); answers its number.
    pub(crate) fn make_folder(&mut self, parent: &str, name: &str) -> usize {
        let parent = Some(self.folder(parent));
        self.folders.push(Folder { name: name.to_owned(), well_known: None, parent, hidden: false, search: false });
        self.folders.len() - 1
    }

    /// The number of a folder, by well-known name, else by display name.
    pub(crate) fn folder(&self, name: &str) -> usize {
        let known = self.folders.iter().position(|folder| folder.well_known == Some(name));
        known.or_else(|| self.folders.iter().position(|folder| folder.name == name)).unwrap()
    }

    /// Puts a message into a folder; answers its number. Each is a second younger than the one before.
    pub(crate) fn deliver(&mut self, folder: &str, mime: &[u8], now: SystemTime) -> u64 {
        let number = self.messages.last().map_or(1, |last| last.number + 1) + self.gone();
        let received = now - Duration::from_hours(24) + Duration::from_secs(number);
        self.change += 1;
        self.messages.push(Message {
            number,
            folder: self.folder(folder),
            generation: 0,
            mime: Bytes::copy_from_slice(mime),
            received,
            is_read: false,
            flagged: false,
            categories: Vec::new(),
            kind: Kind::Ordinary,
            change: self.change,
            head: Head::of(mime),
            attachments: None,
        });
        number
    }

    /// Numbers are never used again, also when the last message was deleted.
    fn gone(&self) -> u64 {
        let last = self.messages.last().map_or(0, |last| last.number);
        self.removals.iter().map(|(_, _, number)| *number).max().unwrap_or(0).saturating_sub(last)
    }

    pub(crate) fn message(&mut self, number: u64) -> &mut Message {
        self.messages.iter_mut().find(|message| message.number == number).unwrap()
    }

    /// The messages of a folder.
    pub(crate) fn in_folder(&self, folder: &str) -> Vec<&Message> {
        let folder = self.folder(folder);
        self.messages.iter().filter(|message| message.folder == folder).collect()
    }

    /// Moves a message as a person does.
    pub(crate) fn relocate(&mut self, number: u64, folder: usize) {
        self.change += 1;
        let change = self.change;
        let message = self.message(number);
        let from = message.folder;
        (message.folder, message.change) = (folder, change);
        message.generation += 1;
        self.removals.push((change, from, number));
    }

    /// Removes a message for good.
    pub(crate) fn erase(&mut self, number: u64) {
        self.change += 1;
        let folder = self.message(number).folder;
        self.messages.retain(|message| message.number != number);
        self.removals.push((self.change, folder, number));
    }

    /// Notes that a message was changed.
    pub(super) fn touch(&mut self, number: u64) {
        self.change += 1;
        self.message(number).change = self.change;
    }

    /// The id of a folder.
    pub(crate) fn folder_id(&self, folder: usize) -> String {
        let number = u8::try_from(folder).unwrap();
        let store = [[0xFB, 0xEF, self.number], [0; 3], [1, 12, 0], [0, 0x2E, number]].concat();
        format!("AQMkADYAAAIB{}", URL_SAFE.encode(store))
    }

    /// The id of a message, of the kind that was asked for.
    pub(crate) fn id(&self, message: &Message, immutable: bool) -> String {
        let number = message.number.to_be_bytes();
        if immutable {
            return Self::immutable(self.number, message.number);
        }
        let bytes = [&[0xFF, 0xFF, 0xFE, self.number], &number[..], &message.generation.to_be_bytes()[..]].concat();
        format!("AAMkA{}", STANDARD.encode(bytes))
    }

    /// The immutable id of a message, also of one that is gone.
    pub(crate) fn immutable_id(&self, number: u64) -> String {
        Self::immutable(self.number, number)
    }

    fn immutable(mailbox: u8, number: u64) -> String {
        format!("AAkAL{}", URL_SAFE.encode([&[0xFB, mailbox, 0x2E], &number.to_be_bytes()[..]].concat()))
    }

    /// The folder of an id or a well-known name.
    pub(super) fn find_folder(&self, id: &str) -> Option<usize> {
        let known = |folder: &Folder| folder.well_known.is_some_and(|name| name.eq_ignore_ascii_case(id));
        (0..self.folders.len()).find(|folder| known(&self.folders[*folder]) || self.folder_id(*folder) == id)
    }

    /// The message of an id of either kind.
    pub(super) fn find(&self, id: &str) -> Option<&Message> {
        self.messages.iter().find(|message| self.id(message, true) == id || self.id(message, false) == id)
    }
}

impl Message {
    /// Its attachments as Graph shows them.
    pub(super) fn attachments(&self) -> Vec<Attachment> {
        if let Some(own) = &self.attachments {
            return own.clone();
        }
        let Some(parsed) = MessageParser::default().parse(&self.mime[..]) else { return Vec::new() };
        parsed
            .attachments()
            .map(|part| {
                let item = part.is_message();
                let media_type = part
                    .content_type()
                    .map(|kind| format!("{}/{}", kind.ctype(), kind.subtype().unwrap_or("octet-stream")));
                Attachment {
                    kind: if item { AttachmentKind::Item } else { AttachmentKind::File },
                    name: part.attachment_name().unwrap_or("attachment").to_owned(),
                    media_type: media_type.unwrap_or_else(|| "application/octet-stream".to_owned()),
                    bytes: part.contents().to_vec(),
                    inline: part.content_disposition().is_some_and(|kind| kind.ctype() == "inline"),
                    content_id: part.content_id().map(ToOwned::to_owned),
                }
            })
            .collect()
    }

    /// Its text, as plain text.
    pub(super) fn text(&self) -> String {
        let parsed = MessageParser::default().parse(&self.mime[..]);
        parsed.and_then(|parsed| parsed.body_text(0).map(std::borrow::Cow::into_owned)).unwrap_or_default()
    }
}

impl Head {
    fn of(mime: &[u8]) -> Self {
        let end = mime.windows(4).position(|four| four == b"\r\n\r\n").map_or(mime.len(), |at| at + 4);
        let Some(parsed) = MessageParser::default().parse(&mime[..end]) else { return Self::default() };
        let sent = parsed.date().and_then(|date| u64::try_from(date.to_timestamp()).ok());
        let headers = parsed.headers_raw().map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
        // enough of it: the boundary of a large attachment stands at its beginning
        let body = &mime[..mime.len().min(1 << 20)];
        Self {
            subject: parsed.subject().unwrap_or_default().to_owned(),
            message_id: parsed.message_id().map(|id| format!("<{id}>")),
            sent: sent.map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)),
            from: people(parsed.from()),
            to: people(parsed.to()),
            cc: people(parsed.cc()),
            headers: headers.collect(),
            has_attachments: memchr::memmem::find(body, b"Content-Disposition: attachment").is_some(),
        }
    }
}

fn people(list: Option<&Address<'_>>) -> Vec<(Option<String>, String)> {
    let people = list.into_iter().flat_map(|list| list.iter());
    people
        .map(|person| (person.name().map(ToOwned::to_owned), person.address().unwrap_or_default().to_owned()))
        .collect()
}
