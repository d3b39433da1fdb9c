//! A session: greeting, login, folders (RFC 3501, sections 6.1 to 6.3).
//!
//! Not what is done inside a folder. Every command's tagged status is looked at: a NO is never an empty answer.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine as _;
use zeroize::Zeroizing;

use super::stream;
use super::trouble::{connection, passing, refused, words};
use super::wire::{Reply, Wire};
use crate::config::Launcher;
use crate::config::launcher::Auth;
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
    capabilities: BTreeSet<String>,
    pub(super) selected: Option<Selected>,
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
    /// Connects and logs in.
    pub(super) async fn open(launcher: &Launcher, events: &Events, patience: Duration) -> Result<Self, SourceError> {
        let stream = stream::open(launcher, patience).await?;
        let host = launcher.server.as_ref().map(ToString::to_string).unwrap_or_default();
        let wire = Wire::new(stream, host, patience, events.clone(), launcher.name.clone());
        let mut session = Self { wire, capabilities: BTreeSet::new(), selected: None };
        if session.greet().await? {
            session.login(launcher).await?;
        }
        Ok(session)
    }

    /// Whether the server has this capability (upper case).
    pub(super) fn has(&self, capability: &str) -> bool {
        self.capabilities.contains(capability)
    }

    /// A command that must succeed; `step` names it in the error.
    pub(super) async fn run(&mut self, step: &str, line: &str) -> Result<Reply, SourceError> {
        let reply = self.wire.command(line).await?;
        if reply.status.kind == Kind::Ok { Ok(reply) } else { Err(refused(&self.wire.host, step, &reply.status)) }
    }

    /// Opens the folder that a user wrote as `name`, read-only unless it must be `writable`.
    pub(super) async fn open_folder(&mut self, name: &str, writable: bool) -> Result<Selected, SourceError> {
        let separator = if name.contains('/') { self.separator().await? } else { None };
        let guess = names::server_name(name, separator);
        let status = match self.select(&guess, writable).await? {
            Ok(selected) => return Ok(selected),
            Err(status) => status,
        };
        let list = self.list().await?;
        match names::find(name, &list) {
            Some(found) if *found != guess => match self.select(&found.clone(), writable).await? {
                Ok(selected) => Ok(selected),
                Err(status) => Err(self.no_folder(name, &list, &status)),
            },
            _ => Err(self.no_folder(name, &list, &status)),
        }
    }

    /// Opens for writing the folder that was shown as `folder` earlier.
    pub(super) async fn open_known(&mut self, folder: &str) -> Result<Selected, SourceError> {
        let status = match self.select(&names::encode(folder), true).await? {
            Ok(selected) => return Ok(selected),
            Err(status) => status,
        };
        // a server that writes its names in another way than RFC 3501, 5.1.3 says
        let list = self.list().await?;
        let Some(name) = list.iter().find(|name| names::show(name) == folder) else {
            return Err(self.no_folder(folder, &list, &status));
        };
        self.select(name, true).await?.map_err(|status| self.no_folder(folder, &list, &status))
    }

    /// Opens a folder by the server's name; inside, a refusal that speaks of this folder.
    pub(super) async fn select(&mut self, name: &str, writable: bool) -> Result<Result<Selected, Status>, SourceError> {
        self.selected = None;
        let verb = if writable { "SELECT" } else { "EXAMINE" };
        let reply = self.wire.command(&format!("{verb} {}", names::quote(name))).await?;
        match reply.status.kind {
            Kind::Ok => {}
            Kind::No => match passing(&self.wire.host, &reply.status) {
                Some(error) => return Err(error),
                None => return Ok(Err(reply.status)),
            },
            _ => return Err(refused(&self.wire.host, verb, &reply.status)),
        }
        let selected = self.read_selected(name, writable, &reply)?;
        self.selected = Some(selected.clone());
        Ok(Ok(selected))
    }

    /// The server's name of a folder to which messages are moved, written by a user as `name`.
    pub(super) async fn target(&mut self, name: &str) -> Result<String, SourceError> {
        let separator = if name.contains('/') { self.separator().await? } else { None };
        Ok(names::server_name(name, separator))
    }

    /// All folders that can be opened, as the server writes them.
    pub(super) async fn list(&mut self) -> Result<Vec<String>, SourceError> {
        let reply = self.run("LIST", "LIST \"\" \"*\"").await?;
        Ok(reply.data.iter().filter_map(list_entry).filter(|entry| entry.selectable).map(|entry| entry.name).collect())
    }

    /// Ends the session in good order. Nothing depends on it any more, so that trouble is not told.
    pub(super) async fn close(mut self) {
        // never CLOSE: it would expunge what others marked (RFC 3501, 6.4.2)
        if self.selected.is_some() && self.has("UNSELECT") && self.wire.command("UNSELECT").await.is_err() {
            return;
        }
        let _ = self.wire.command("LOGOUT").await;
    }

    /// The greeting; `true` where a login must follow.
    async fn greet(&mut self) -> Result<bool, SourceError> {
        let Response::Status(status) = self.wire.next(None).await?.response else {
            return Err(self.wire.not_imap());
        };
        match (&status.tag, status.kind) {
            (None, Kind::Ok | Kind::Preauth) => {}
            (None, Kind::Bye) => return Err(self.turned_away(&status)),
            _ => return Err(self.wire.not_imap()),
        }
        self.wire.greeted = true;
        if let Some(list) = status.code("CAPABILITY") {
            self.learn(list.split_whitespace());
        }
        if self.capabilities.is_empty() {
            self.ask_capabilities().await?;
        }
        Ok(status.kind != Kind::Preauth)
    }

    async fn login(&mut self, launcher: &Launcher) -> Result<(), SourceError> {
        let account = launcher.account.as_deref().unwrap_or_default();
        let Some(password) = &launcher.password else { return Err(no_password(launcher)) };
        let reply = match self.way_in(launcher.auth, account, password)? {
            Auth::Plain => self.authenticate_plain(account, password).await?,
            _ if is_simple(account) && is_simple(password.reveal()) => {
                let line = format!("LOGIN {} {}", names::quote(account), names::quote(password.reveal()));
                self.wire.command(&Zeroizing::new(line)).await?
            }
            _ => self.login_with_literals(account, password).await?,
        };
        if reply.status.kind != Kind::Ok {
            return Err(self.login_refused(account, password, &reply.status));
        }
        self.learn_after_login(&reply).await
    }

    /// LOGIN unless the server forbids it; PLAIN for what LOGIN has no agreed encoding for.
    fn way_in(&self, asked: Auth, account: &str, password: &Secret) -> Result<Auth, SourceError> {
        let plain = self.has("AUTH=PLAIN");
        match (asked, self.has("LOGINDISABLED")) {
            (Auth::Plain, _) => Ok(Auth::Plain),
            (Auth::Auto, true) if plain => Ok(Auth::Plain),
            (_, true) => Err(self.no_login()),
            (Auth::Auto, false) if plain && !(is_simple(account) && is_simple(password.reveal())) => Ok(Auth::Plain),
            _ => Ok(Auth::Login),
        }
    }

    /// SASL PLAIN (RFC 4616), with the first message in the command where the server takes it (RFC 4959).
    async fn authenticate_plain(&mut self, account: &str, password: &Secret) -> Result<Reply, SourceError> {
        let message = Zeroizing::new(format!("\0{account}\0{}", password.reveal()));
        let message = Zeroizing::new(base64::engine::general_purpose::STANDARD.encode(message.as_bytes()));
        if self.has("SASL-IR") {
            return self.wire.command(&Zeroizing::new(format!("AUTHENTICATE PLAIN {}", *message))).await;
        }
        self.dialogue("AUTHENTICATE PLAIN", &[&message]).await
    }

    /// LOGIN with UTF-8 in literals: what servers without PLAIN mostly take.
    async fn login_with_literals(&mut self, account: &str, password: &Secret) -> Result<Reply, SourceError> {
        let password = password.reveal();
        let first = format!("LOGIN {{{}}}", account.len());
        self.dialogue(&first, &[&format!("{account} {{{}}}", password.len()), password]).await
    }

    /// A command whose later lines the server asks for with `+`.
    async fn dialogue(&mut self, first: &str, later: &[&str]) -> Result<Reply, SourceError> {
        let tag = self.wire.send(first).await?;
        for line in later {
            loop {
                match self.wire.next(None).await?.response {
                    Response::Continue(_) => break,
                    Response::Status(status) if status.tag.as_deref() == Some(&tag) => {
                        return Ok(Reply { status, remarks: Vec::new(), data: Vec::new() });
                    }
                    _ => {}
                }
            }
            self.wire.send_raw(line).await?;
        }
        self.wire.reply(&tag).await
    }

    /// Capabilities may change with the login (RFC 3501, 6.2.3): in its reply, or asked for.
    async fn learn_after_login(&mut self, reply: &Reply) -> Result<(), SourceError> {
        self.capabilities.clear();
        if let Some(list) = reply.status.code("CAPABILITY") {
            self.learn(list.split_whitespace());
        }
        self.learn_from(reply);
        if self.capabilities.is_empty() { self.ask_capabilities().await } else { Ok(()) }
    }

    async fn ask_capabilities(&mut self) -> Result<(), SourceError> {
        let reply = self.run("CAPABILITY", "CAPABILITY").await?;
        self.learn_from(&reply);
        Ok(())
    }

    fn learn_from(&mut self, reply: &Reply) {
        for response in &reply.data {
            if let Response::Data { name, values, .. } = response
                && name == "CAPABILITY"
            {
                let words: Vec<String> = values.iter().filter_map(Value::text).collect();
                self.learn(words.iter().map(String::as_str));
            }
        }
    }

    fn learn<'a>(&mut self, words: impl Iterator<Item = &'a str>) {
        self.capabilities.extend(words.map(str::to_ascii_uppercase));
    }

    /// The separator of folder names (RFC 3501, 6.3.8: the empty name asks for it alone).
    async fn separator(&mut self) -> Result<Option<char>, SourceError> {
        let reply = self.run("LIST", "LIST \"\" \"\"").await?;
        Ok(reply.data.iter().find_map(list_entry).and_then(|entry| entry.separator))
    }

    fn read_selected(&self, name: &str, writable: bool, reply: &Reply) -> Result<Selected, SourceError> {
        let codes = || reply.remarks.iter().chain([&reply.status]);
        let uidvalidity = codes().find_map(|status| status.code("UIDVALIDITY")?.parse().ok());
        let exists = reply.data.iter().rev().find_map(|response| match response {
            Response::Data { number: Some(number), name, .. } if name == "EXISTS" => Some(*number),
            _ => None,
        });
        let Some(uidvalidity) = uidvalidity else {
            let (host, folder) = (&self.wire.host, names::show(name));
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

    fn no_folder(&self, name: &str, list: &[String], status: &Status) -> SourceError {
        let (host, said) = (&self.wire.host, words(status));
        let mut shown: Vec<String> = list.iter().map(|folder| names::show(folder)).collect();
        shown.sort_by_cached_key(|folder| {
            let likeness = strsim::jaro_winkler(&folder.to_lowercase(), &name.to_lowercase());
            std::cmp::Reverse(ordered_float(likeness))
        });
        shown.truncate(CANDIDATES);
        let folders = shown.join(", ");
        let text = text!(
            "{host}: the folder {name} cannot be opened ({said}); the nearest folders of this mailbox: {folders}",
            "{host} : impossible d'ouvrir le dossier {name} ({said}) ; dossiers les plus proches de cette boîte : {folders}"
        );
        SourceError::Mailbox(Fault::new(Code::Folder, text))
    }

    fn login_refused(&self, account: &str, password: &Secret, status: &Status) -> SourceError {
        let host = &self.wire.host;
        let status = Status { text: without(&status.text, password), ..status.clone() };
        if let Some(error) = passing(host, &status) {
            return error;
        }
        let said = words(&status);
        if status.kind != Kind::No {
            let text =
                text!("{host} does not understand the login: {said}", "{host} ne comprend pas la connexion : {said}");
            return connection(Code::Protocol, text);
        }
        let text = text!(
            "{host} refuses the login of {account}: {said}; check account and password (Gmail, Orange and others want an \
             application password)",
            "{host} refuse l'identification de {account} : {said} ; vérifiez le compte et le mot de passe (Gmail, Orange et d'autres \
             exigent un mot de passe d'application)"
        );
        SourceError::Credentials(Fault::new(Code::Credentials, text))
    }

    fn no_login(&self) -> SourceError {
        let host = &self.wire.host;
        let text = text!(
            "{host} takes no password on this connection (LOGINDISABLED); use tls = implicit, or another port",
            "{host} n'accepte pas de mot de passe sur cette connexion (LOGINDISABLED) ; utilisez tls = implicit ou un \
             autre port"
        );
        connection(Code::Protocol, text)
    }

    fn turned_away(&self, status: &Status) -> SourceError {
        let (host, said) = (&self.wire.host, &status.text);
        passing(host, status).unwrap_or_else(|| {
            connection(Code::Connect, text!("{host} turns us away: {said}", "{host} refuse la connexion : {said}"))
        })
    }

    /// Tells a warning about this mailbox.
    pub(super) fn warn(&self, name: &'static str, text: crate::text::Text) {
        self.wire.tell(Level::Warning, name, text);
    }
}

struct Entry {
    name: String,
    separator: Option<char>,
    selectable: bool,
}

/// A LIST response (RFC 3501, 7.2.2).
fn list_entry(response: &Response) -> Option<Entry> {
    let Response::Data { name, values, .. } = response else { return None };
    let [Value::List(attributes), separator, folder, ..] = values.as_slice() else {
        return None;
    };
    if name != "LIST" {
        return None;
    }
    let hidden = attributes.iter().filter_map(Value::text).any(|attribute| {
        attribute.eq_ignore_ascii_case("\\Noselect") || attribute.eq_ignore_ascii_case("\\NonExistent")
    });
    Some(Entry {
        name: folder.text()?,
        separator: separator.text().and_then(|text| text.chars().next()),
        selectable: !hidden,
    })
}

fn no_password(launcher: &Launcher) -> SourceError {
    let name = &launcher.name;
    let text = text!("[{name}]: password = is missing", "[{name}] : il manque password =");
    SourceError::Credentials(Fault::new(Code::Credentials, text))
}

/// Printable ASCII, which a quoted string holds.
fn is_simple(text: &str) -> bool {
    text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

/// A server's words without the password, should it repeat it.
fn without(said: &str, password: &Secret) -> String {
    if password.reveal().len() < 4 { said.to_owned() } else { said.replace(password.reveal(), "***") }
}

/// Thousandths, which have an order.
#[allow(clippy::cast_possible_truncation)] // between 0 and 1000
fn ordered_float(likeness: f64) -> i32 {
    (likeness * 1000.0) as i32
}

/// How many folders a message names.
const CANDIDATES: usize = 20;
