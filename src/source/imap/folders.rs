//! Which folders of a mailbox are meant: by name, by use, below a prefix, a whole tree (RFC 3501, 6.3.8; RFC 2342; RFC
//! 6154).
//!
//! Not how names are written (`proto::imap::names`). The list of folders is asked for only where the name as it
//! stands opens nothing, where a tree is read, or where messages are to be moved.

use super::session::{Selected, Session};
use super::trouble::words;
use crate::model::{Code, Fault};
use crate::proto::imap::names;
use crate::proto::imap::response::{Response, Status, Value};
use crate::source::SourceError;
use crate::text;
use crate::text::Text;

/// A folder as the server lists it.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    /// As the server writes it.
    name: String,
    separator: Option<char>,
    /// In lower case: `\noselect`, `\sent`.
    attributes: Vec<String>,
}

/// Where messages are moved to.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// As the server writes it.
    pub(super) name: String,
    separator: Option<char>,
    exists: bool,
}

/// What became of opening a folder that was there before.
pub(super) enum Opened {
    /// It is open.
    Yes(Selected),
    /// The server does not list it any more.
    Missing(SourceError),
    /// It is listed, and cannot be opened.
    Refused(SourceError),
}

impl Session {
    /// Opens the folder that a user wrote as `name`, read-only unless it must be `writable`.
    pub(super) async fn open_folder(&mut self, name: &str, writable: bool) -> Result<Selected, SourceError> {
        let mut refusal = None;
        if !names::is_use(name) {
            let separator = if name.contains('/') { self.separator().await? } else { None };
            match self.select(&names::server_name(name, separator), writable).await? {
                Ok(selected) => return Ok(selected),
                Err(status) => refusal = Some(status),
            }
        }
        let (list, prefix) = (self.list().await?, self.prefix().await?);
        let Some(found) = find(name, &list, &prefix) else { return Err(self.no_folder(name, &list, refusal.as_ref())) };
        self.select(&found.name, writable).await?.map_err(|status| self.no_folder(name, &list, Some(&status)))
    }

    /// Opens the folder that was shown as `folder` earlier.
    pub(super) async fn open_known(&mut self, folder: &str, writable: bool) -> Result<Opened, SourceError> {
        let status = match self.select(&names::encode(folder), writable).await? {
            Ok(selected) => return Ok(Opened::Yes(selected)),
            Err(status) => status,
        };
        // a server that writes its names in another way than RFC 3501, 5.1.3 says
        let list = self.list().await?;
        let Some(found) = list.iter().find(|found| names::show(&found.name) == folder) else {
            return Ok(Opened::Missing(self.no_folder(folder, &list, Some(&status))));
        };
        Ok(match self.select(&found.name, writable).await? {
            Ok(selected) => Opened::Yes(selected),
            Err(status) => Opened::Refused(self.no_folder(folder, &list, Some(&status))),
        })
    }

    /// The folders to be read where `name` is the root of a tree (`/`: of the whole mailbox), as the server writes them:
    /// itself first, then what is below it. Junk, trash, drafts and views of other folders are left out unless they are
    /// named.
    pub(super) async fn tree(&mut self, name: &str) -> Result<Vec<String>, SourceError> {
        let (list, prefix) = (self.list().await?, self.prefix().await?);
        if names::is_root(name) {
            return Ok(list.iter().filter(|folder| folder.is_read(&list)).map(|folder| folder.name.clone()).collect());
        }
        let Some(root) = find(name, &list, &prefix) else { return Err(self.no_folder(name, &list, None)) };
        let below = list.iter().filter(|folder| root.holds(&folder.name) && folder.is_read(&list));
        let all: Vec<String> = Some(root)
            .filter(|root| root.can_open())
            .into_iter()
            .chain(below)
            .map(|folder| folder.name.clone())
            .collect();
        if all.is_empty() { Err(self.no_folder(name, &list, None)) } else { Ok(all) }
    }

    /// Where messages go that a user wants moved to `name`; asked for once.
    pub(super) async fn target(&mut self, name: &str) -> Result<Target, SourceError> {
        if let Some(known) = self.targets.get(name) {
            return Ok(known.clone());
        }
        let (list, prefix) = (self.list().await?, self.prefix().await?);
        let target = if let Some(found) = find(name, &list, &prefix) {
            Target { name: found.name.clone(), separator: found.separator, exists: true }
        } else {
            let separator = list.iter().find_map(|folder| folder.separator);
            Target { name: names::below(&prefix, &names::server_name(name, separator)), separator, exists: false }
        };
        self.targets.insert(name.to_owned(), target.clone());
        Ok(target)
    }

    /// All folders.
    async fn list(&mut self) -> Result<Vec<Folder>, SourceError> {
        // RFC 6154, 2: a server may keep uses to itself unless it is asked
        let extended = self.has("SPECIAL-USE") && self.has("LIST-EXTENDED");
        let line = if extended { "LIST \"\" \"*\" RETURN (SPECIAL-USE)" } else { "LIST \"\" \"*\"" };
        let reply = self.run("LIST", line).await?;
        Ok(reply.data.iter().filter_map(Folder::read).collect())
    }

    /// What the names of this user's folders begin with (`INBOX.`), mostly nothing.
    async fn prefix(&mut self) -> Result<String, SourceError> {
        if !self.has("NAMESPACE") {
            return Ok(String::new());
        }
        let reply = self.run("NAMESPACE", "NAMESPACE").await?;
        Ok(reply.data.iter().find_map(personal_prefix).unwrap_or_default())
    }

    /// The separator of folder names (RFC 3501, 6.3.8: the empty name asks for it alone).
    async fn separator(&mut self) -> Result<Option<char>, SourceError> {
        let reply = self.run("LIST", "LIST \"\" \"\"").await?;
        Ok(reply.data.iter().find_map(Folder::read).and_then(|folder| folder.separator))
    }

    fn no_folder(&self, name: &str, list: &[Folder], status: Option<&Status>) -> SourceError {
        let host = self.wire.host();
        let Text { en, fr } = status.map_or_else(not_listed, |status| Text::same(words(status)));
        let mut shown: Vec<String> =
            list.iter().filter(|folder| folder.can_open()).map(|folder| names::show(&folder.name)).collect();
        shown.sort_by_cached_key(|folder| {
            let likeness = strsim::jaro_winkler(&folder.to_lowercase(), &name.to_lowercase());
            std::cmp::Reverse(ordered_float(likeness))
        });
        shown.truncate(CANDIDATES);
        let folders = shown.join(", ");
        let text = text!(
            "{host}: the folder {name} cannot be opened ({en}); the nearest folders of this mailbox: {folders}",
            "{host} : impossible d'ouvrir le dossier {name} ({fr}) ; dossiers les plus proches de cette boîte : {folders}"
        );
        SourceError::Mailbox(Fault::new(Code::Folder, text))
    }
}

impl Target {
    /// Whether what is moved here would be read again as new, where `read` are the folders that are read; with `tree`
    /// folders that come to be below `source` will be, too.
    pub(super) fn is_among(&self, read: &[String], tree: bool, source: &str) -> bool {
        let is_this = |name: &String| names::show(name) == names::show(&self.name);
        let is_below = |root: &String| {
            let root = Folder { name: root.clone(), separator: self.separator, attributes: Vec::new() };
            root.holds(&self.name)
        };
        read.iter().any(is_this) || (tree && !self.exists && (names::is_root(source) || read.iter().any(is_below)))
    }
}

impl Folder {
    /// A LIST response (RFC 3501, 7.2.2).
    fn read(response: &Response) -> Option<Self> {
        let Response::Data { name, values, .. } = response else { return None };
        let [Value::List(attributes), separator, folder, ..] = values.as_slice() else {
            return None;
        };
        (name == "LIST").then_some(())?;
        Some(Self {
            name: folder.text()?,
            separator: separator.text().and_then(|text| text.chars().next()),
            attributes: attributes.iter().filter_map(Value::text).map(|text| text.to_lowercase()).collect(),
        })
    }

    fn is(&self, attribute: &str) -> bool {
        self.attributes.iter().any(|one| one == attribute)
    }

    fn can_open(&self) -> bool {
        !self.is("\\noselect") && !self.is("\\nonexistent")
    }

    /// Whether `name` is somewhere below.
    fn holds(&self, name: &str) -> bool {
        let Some(separator) = self.separator else { return false };
        let start = name.get(..self.name.len());
        let same = start.is_some_and(|start| start == self.name || names::show(start) == names::show(&self.name));
        same && name[self.name.len()..].starts_with(separator) && name.len() > self.name.len() + 1
    }

    /// Whether it is read as part of a tree. Where the server does not say what folders are for, their names do.
    fn is_read(&self, all: &[Folder]) -> bool {
        let told = all.iter().any(|folder| LEFT_OUT.iter().any(|attribute| folder.is(attribute)));
        let left_out = if told {
            LEFT_OUT.iter().any(|attribute| self.is(attribute))
        } else {
            names::usual_use(&names::show(&self.name)).is_some_and(|usual| LEFT_OUT.contains(&usual))
        };
        self.can_open() && !left_out
    }
}

/// The folder that a user means: by name, by use (`\Sent`), or by a name that is usual for a use in another language.
fn find<'a>(name: &str, list: &'a [Folder], prefix: &str) -> Option<&'a Folder> {
    let by_use = |wanted: &str| list.iter().find(|folder| folder.is(&wanted.to_lowercase()));
    if names::is_use(name) {
        return by_use(name);
    }
    let names: Vec<String> = list.iter().map(|folder| folder.name.clone()).collect();
    match names::find(name, &names, prefix) {
        Some(at) => list.get(at),
        None => names::usual_use(name).and_then(by_use),
    }
}

fn not_listed() -> Text {
    text!("the server lists none of this name or use", "le serveur n'en annonce aucun de ce nom ou de cet usage")
}

/// The first personal namespace (RFC 2342, 5).
fn personal_prefix(response: &Response) -> Option<String> {
    let Response::Data { name, values, .. } = response else { return None };
    let Some(Value::List(personal)) = values.first().filter(|_| name == "NAMESPACE") else { return None };
    let Some(Value::List(first)) = personal.first() else { return None };
    first.first()?.text()
}

/// Thousandths, which have an order.
#[allow(clippy::cast_possible_truncation)] // between 0 and 1000
fn ordered_float(likeness: f64) -> i32 {
    (likeness * 1000.0) as i32
}

/// RFC 6154, 2, and Gmail's `\Important`: not what somebody files, or a second view of it.
const LEFT_OUT: [&str; 6] = ["\\junk", "\\trash", "\\drafts", "\\all", "\\flagged", "\\important"];
/// How many folders a message names.
const CANDIDATES: usize = 20;
