//! One connection of the small IMAP server: commands in, answers out.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io;
use std::sync::Arc;

use base64::Engine as _;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::store::{Folder, Stored};
use super::{Shared, Trouble, lock};
use crate::proto::imap::response::{Value, values};

/// Serves one client until it goes.
pub(super) async fn serve(stream: TcpStream, store: Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let session = Session { stream: BufReader::new(stream), store, user: false, selected: None };
    session.run().await
}

struct Session {
    stream: BufReader<TcpStream>,
    store: Shared,
    user: bool,
    selected: Option<Selected>,
}

#[derive(Clone)]
struct Selected {
    name: String,
    writable: bool,
    /// How many messages the client was told of.
    told: usize,
}

/// What ends a command: the text after the tag, or that the connection is to be closed.
enum End {
    Say(String),
    Close,
}

impl Session {
    async fn run(mut self) -> io::Result<()> {
        let greeting = lock(&self.store).take_trouble(|trouble| matches!(trouble, Trouble::Greeting(_)));
        match greeting {
            Some(Trouble::Greeting(line)) => self.say(&line).await?,
            _ => self.say("* OK pertuis demo mailbox ready").await?,
        }
        while let Some(line) = self.read_command().await? {
            let Some(words) = values(&line) else {
                self.say("* BAD cannot read that").await?;
                continue;
            };
            let mut words = words.into_iter();
            let (Some(tag), Some(verb)) = (text_of(words.next()), text_of(words.next())) else {
                self.say("* BAD a tag and a command, please").await?;
                continue;
            };
            let mut command = Command { verb: verb.to_ascii_uppercase(), words: words.collect(), uid: false };
            command.unwrap_uid();
            match self.answer(&tag, &command).await? {
                End::Say(text) => self.say(&format!("{tag} {text}")).await?,
                End::Close => break,
            }
        }
        Ok(())
    }

    /// A command with its literals (RFC 3501, 4.3; LITERAL+: RFC 7888).
    async fn read_command(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut command = Vec::new();
        loop {
            let from = command.len();
            if self.stream.read_until(b'\n', &mut command).await? == 0 || command.len() > COMMAND_LIMIT {
                return Ok(None);
            }
            let Some((size, waits)) = announced(&command[from..]) else { return Ok(Some(command)) };
            if size > COMMAND_LIMIT {
                return Ok(None);
            }
            if waits {
                self.say("+ go on").await?;
            }
            let from = command.len();
            command.resize(from + size, 0);
            self.stream.read_exact(&mut command[from..]).await?;
        }
    }

    async fn say(&mut self, line: &str) -> io::Result<()> {
        self.stream.get_mut().write_all(format!("{line}\r\n").as_bytes()).await
    }

    async fn answer(&mut self, tag: &str, command: &Command) -> io::Result<End> {
        let told = command.told();
        let trouble = {
            let mut store = lock(&self.store);
            store.commands.push(told.clone());
            store.take_trouble(|trouble| trouble.concerns(&told))
        };
        match trouble {
            Some(Trouble::CloseAt(_)) => return Ok(End::Close),
            Some(Trouble::Answer { reply, .. }) => return Ok(End::Say(reply)),
            Some(Trouble::Silent(_)) => {
                // until the client has had enough
                while self.stream.read_u8().await.is_ok() {}
                return Ok(End::Close);
            }
            _ => {}
        }
        self.news(command).await?;
        match command.verb.as_str() {
            "LOGOUT" => {
                self.say("* BYE see you").await?;
                self.say(&format!("{tag} OK bye")).await?;
                Ok(End::Close)
            }
            "CAPABILITY" => self.capability().await.map(End::Say),
            "NOOP" | "CHECK" => done().map(End::Say),
            "IDLE" if self.selected.is_some() => self.idle().await.map(End::Say),
            "LOGIN" => Ok(End::Say(self.login(&command.text(0), &command.text(1)))),
            "AUTHENTICATE" => self.authenticate(command).await.map(End::Say),
            _ if !self.user => Ok(End::Say("NO log in first".to_owned())),
            _ => self.folders(command).await.map(End::Say),
        }
    }

    async fn folders(&mut self, command: &Command) -> io::Result<String> {
        match command.verb.as_str() {
            "LIST" | "LSUB" => self.list(command).await,
            "NAMESPACE" => {
                let line = {
                    let store = lock(&self.store);
                    format!("* NAMESPACE ((\"{}\" \"{}\")) NIL NIL", store.prefix, store.separator)
                };
                self.say(&line).await?;
                done()
            }
            "STATUS" => self.status(command).await,
            "SELECT" | "EXAMINE" => self.select(command).await,
            "CREATE" => {
                let name = command.text(0);
                let mut store = lock(&self.store);
                if store.find(&name).is_some() {
                    return Ok("NO [ALREADYEXISTS] there is one".to_owned());
                }
                store.folder(&name);
                done()
            }
            "SUBSCRIBE" | "UNSUBSCRIBE" => match lock(&self.store).find_mut(&command.text(0)) {
                Some(folder) => {
                    folder.subscribed = command.verb == "SUBSCRIBE";
                    done()
                }
                None => Ok(NO_SUCH_FOLDER.to_owned()),
            },
            _ => match self.selected.clone() {
                Some(selected) => self.messages(command, &selected).await,
                None => Ok("BAD not here, or no such command".to_owned()),
            },
        }
    }

    async fn messages(&mut self, command: &Command, selected: &Selected) -> io::Result<String> {
        let changes = matches!(command.verb.as_str(), "STORE" | "MOVE" | "EXPUNGE");
        if changes && !selected.writable {
            return Ok("NO [READ-ONLY] opened with EXAMINE".to_owned());
        }
        match command.verb.as_str() {
            "UNSELECT" => {
                self.selected = None;
                done()
            }
            "CLOSE" => {
                if selected.writable {
                    self.with_folder(|folder| folder.remove(is_deleted));
                }
                self.selected = None;
                done()
            }
            "EXPUNGE" => {
                let set = command.words.first().and_then(Value::text).filter(|_| command.uid);
                let told = self.with_folder(|folder| {
                    let last = folder.messages.last().map_or(0, |message| message.uid);
                    let set = set.map(|set| Numbers::parse(&set, last));
                    folder.remove(|message| {
                        is_deleted(message) && set.as_ref().is_none_or(|set| set.contains(message.uid))
                    })
                });
                self.tell_expunged(&told).await?;
                done()
            }
            "SEARCH" => self.search(command).await,
            "FETCH" => self.fetch(command, selected.writable).await,
            "STORE" => self.store(command).await,
            "COPY" | "MOVE" => self.copy(command).await,
            _ => Ok("BAD no such command here".to_owned()),
        }
    }

    /// RFC 2177: tells what comes until the client says DONE.
    async fn idle(&mut self) -> io::Result<String> {
        let arrived = Arc::clone(&lock(&self.store).arrived);
        self.say("+ idling").await?;
        let mut line = String::new();
        loop {
            let notified = arrived.notified();
            self.exists().await?;
            tokio::select! {
                read = self.stream.read_line(&mut line) => {
                    read?;
                    let done = line.trim().eq_ignore_ascii_case("DONE");
                    return Ok(if done { "OK enough" } else { "BAD that is not DONE" }.to_owned());
                }
                () = notified => {}
            }
        }
    }

    async fn capability(&mut self) -> io::Result<String> {
        let names = lock(&self.store).capabilities.join(" ");
        self.say(&format!("* CAPABILITY {names}")).await?;
        done()
    }

    fn login(&mut self, account: &str, password: &str) -> String {
        let store = lock(&self.store);
        if account == store.account && password == store.password {
            self.user = true;
            return format!("OK [CAPABILITY {}] welcome", store.capabilities.join(" "));
        }
        "NO [AUTHENTICATIONFAILED] wrong account or password".to_owned()
    }

    /// SASL PLAIN (RFC 4616), its message in the command or after `+`.
    async fn authenticate(&mut self, command: &Command) -> io::Result<String> {
        if !command.text(0).eq_ignore_ascii_case("PLAIN") {
            return Ok("NO only PLAIN".to_owned());
        }
        let mut message = command.text(1);
        if message.is_empty() {
            self.say("+ ").await?;
            self.stream.read_line(&mut message).await?;
        }
        let decoded = base64::engine::general_purpose::STANDARD.decode(message.trim()).unwrap_or_default();
        let text = String::from_utf8_lossy(&decoded).into_owned();
        let parts: Vec<&str> = text.split('\0').collect();
        match parts[..] {
            [_, account, password] => Ok(self.login(account, password)),
            _ => Ok("BAD that is not PLAIN".to_owned()),
        }
    }

    async fn list(&mut self, command: &Command) -> io::Result<String> {
        let (reference, pattern) = (command.text(0), command.text(1));
        let separator = lock(&self.store).separator;
        if pattern.is_empty() {
            self.say(&format!("* {} (\\Noselect) \"{separator}\" \"\"", command.verb)).await?;
            return done();
        }
        let pattern = format!("{reference}{pattern}");
        let names: Vec<(String, String)> = {
            let store = lock(&self.store);
            let attributes = |name: String| {
                let folder = store.find(&name)?;
                let shown = command.verb == "LIST" || folder.subscribed;
                (shown && matches_name(&pattern, &name)).then(|| (name.clone(), folder.attributes.join(" ")))
            };
            store.names().into_iter().filter_map(attributes).collect()
        };
        for (name, attributes) in names {
            let quoted = crate::proto::imap::names::quote(&name);
            self.say(&format!("* {} ({attributes}) \"{separator}\" {quoted}", command.verb)).await?;
        }
        done()
    }

    async fn status(&mut self, command: &Command) -> io::Result<String> {
        let name = command.text(0);
        let Some(Value::List(wanted)) = command.words.get(1) else { return Ok("BAD what of it?".to_owned()) };
        let items: Option<Vec<String>> = lock(&self.store).find(&name).map(|folder| {
            wanted.iter().filter_map(|item| status_item(folder, &item.text()?.to_ascii_uppercase())).collect()
        });
        let Some(items) = items else { return Ok(NO_SUCH_FOLDER.to_owned()) };
        let quoted = crate::proto::imap::names::quote(&name);
        self.say(&format!("* STATUS {quoted} ({})", items.join(" "))).await?;
        done()
    }

    async fn select(&mut self, command: &Command) -> io::Result<String> {
        let name = command.text(0);
        self.selected = None;
        let lines = lock(&self.store).find(&name).filter(|folder| folder.can_open()).map(|folder| {
            let told = folder.messages.len();
            let lines = format!(
                "* {told} EXISTS\r\n* 0 RECENT\r\n* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)\r\n\
                 * OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft \\*)] these stay\r\n\
                 * OK [UIDVALIDITY {}] valid\r\n* OK [UIDNEXT {}] next",
                folder.validity, folder.next_uid
            );
            (lines, told)
        });
        let Some((lines, told)) = lines else { return Ok(NO_SUCH_FOLDER.to_owned()) };
        self.say(&lines).await?;
        let writable = command.verb == "SELECT";
        self.selected = Some(Selected { name, writable, told });
        Ok(if writable { "OK [READ-WRITE] open" } else { "OK [READ-ONLY] open" }.to_owned())
    }

    async fn search(&mut self, command: &Command) -> io::Result<String> {
        let found = self.with_folder(|folder| {
            let last = folder.messages.last().map_or(0, |message| message.uid);
            let hits = folder.messages.iter().enumerate().map(|(at, message)| {
                let hit = matches_search(&command.words, message, last)?;
                Some((hit, if command.uid { message.uid.to_string() } else { (at + 1).to_string() }))
            });
            hits.collect::<Option<Vec<_>>>()
        });
        let Some(found) = found else { return Ok("BAD that search is beyond this server".to_owned()) };
        let numbers = found.into_iter().filter(|(hit, _)| *hit).fold(String::new(), |line, (_, n)| line + " " + &n);
        self.say(&format!("* SEARCH{numbers}")).await?;
        done()
    }

    async fn fetch(&mut self, command: &Command, writable: bool) -> io::Result<String> {
        let items = match command.words.get(1) {
            Some(Value::List(items)) => items.iter().filter_map(Value::text).collect(),
            Some(Value::Text(_)) => vec![command.text(1)],
            _ => return Ok("BAD what of them?".to_owned()),
        };
        let items = plan(items, command.uid);
        let Some(items) = items else { return Ok("BAD that item is beyond this server".to_owned()) };
        let bodies = items.iter().any(Part::is_body);
        if bodies {
            self.expunge_at_fetch();
        }
        let mut picked = self.picked(command);
        if lock(&self.store).has_trouble(&Trouble::Backwards) {
            picked.reverse();
        }
        for (number, message) in picked {
            let kept_back = {
                let store = lock(&self.store);
                let sections = items.iter().any(|part| matches!(part, Part::Section { .. }));
                (sections && store.has_trouble(&Trouble::Withhold(message.uid)))
                    || (bodies && store.has_trouble(&Trouble::WithholdWhole(message.uid)))
            };
            if kept_back {
                continue;
            }
            if bodies && lock(&self.store).take_trouble(|trouble| matches!(trouble, Trouble::ByeAfter(_))).is_some() {
                self.say("* BYE going down").await?;
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            if items.iter().any(Part::marks) && writable {
                self.with_folder(|folder| folder.flag(message.uid, &["\\Seen"]));
            }
            if !self.send_message(number, &message, &items).await? {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
        }
        done()
    }

    /// Sends one FETCH response; `false` where the script wants the connection cut within.
    async fn send_message(&mut self, number: usize, message: &Stored, items: &[Part]) -> io::Result<bool> {
        let interject = lock(&self.store).take_trouble(|trouble| matches!(trouble, Trouble::Interject(_)));
        if let Some(Trouble::Interject(line)) = interject {
            self.say(&line).await?;
        }
        let mut ordered: Vec<&Part> = items.iter().collect();
        if lock(&self.store).has_trouble(&Trouble::UidLast) {
            ordered.sort_by_key(|part| matches!(part, Part::Uid));
        }
        let mut head = format!("* {number} FETCH (");
        for (at, part) in ordered.into_iter().enumerate() {
            if at > 0 {
                head.push(' ');
            }
            match part {
                Part::Section { name, .. } if part.is_body() && self.in_place_of(message.uid).is_some() => {
                    let _ = write!(head, "{name} {}", self.in_place_of(message.uid).unwrap_or_default());
                }
                Part::Section { name, kind, .. } => {
                    let bytes = part.bytes(kind, message);
                    let _ = write!(head, "{name} {{{}}}\r\n", bytes.len());
                    let out = self.stream.get_mut();
                    out.write_all(std::mem::take(&mut head).as_bytes()).await?;
                    let cut = lock(&self.store).take_trouble(|trouble| matches!(trouble, Trouble::CutBody(_)));
                    if let Some(Trouble::CutBody(at)) = cut {
                        out.write_all(&bytes[..at.min(bytes.len())]).await?;
                        return Ok(false);
                    }
                    out.write_all(&bytes).await?;
                }
                Part::Size if self.told_size().is_some() => {
                    let _ = write!(head, "RFC822.SIZE {}", self.told_size().unwrap_or_default());
                }
                plain => head.push_str(&plain.text(message)),
            }
        }
        head.push_str(")\r\n");
        self.stream.get_mut().write_all(head.as_bytes()).await?;
        Ok(true)
    }

    fn in_place_of(&self, uid: u32) -> Option<String> {
        lock(&self.store).troubles.iter().find_map(|trouble| match trouble {
            Trouble::InPlaceOf(of, text) if *of == uid => Some(text.clone()),
            _ => None,
        })
    }

    fn told_size(&self) -> Option<String> {
        lock(&self.store).troubles.iter().find_map(|trouble| match trouble {
            Trouble::Sizes(text) => Some(text.clone()),
            _ => None,
        })
    }

    fn expunge_at_fetch(&self) {
        let mut store = lock(&self.store);
        let trouble = store.take_trouble(|trouble| matches!(trouble, Trouble::ExpungeAtFetch(_)));
        if let (Some(Trouble::ExpungeAtFetch(uid)), Some(selected)) = (trouble, &self.selected) {
            store.folder(&selected.name).remove(|message| message.uid == uid);
        }
    }

    async fn store(&mut self, command: &Command) -> io::Result<String> {
        let action = command.text(1).to_ascii_uppercase();
        let flags: BTreeSet<String> = match command.words.get(2) {
            Some(Value::List(flags)) => flags.iter().filter_map(Value::text).collect(),
            Some(Value::Text(_)) => [command.text(2)].into(),
            _ => return Ok("BAD which flags?".to_owned()),
        };
        let picked = self.picked(command);
        let mut lines = Vec::new();
        self.with_folder(|folder| {
            for (number, picked) in &picked {
                let Some(message) = folder.messages.iter_mut().find(|message| message.uid == picked.uid) else {
                    continue;
                };
                match action.trim_end_matches(".SILENT") {
                    "+FLAGS" => message.flags.extend(flags.iter().cloned()),
                    "-FLAGS" => message.flags.retain(|flag| !flags.contains(flag)),
                    _ => message.flags.clone_from(&flags),
                }
                lines.push(format!("* {number} FETCH (UID {} {})", message.uid, Part::Flags.text(message)));
            }
        });
        if !action.ends_with(".SILENT") {
            for line in lines {
                self.say(&line).await?;
            }
        }
        done()
    }

    async fn copy(&mut self, command: &Command) -> io::Result<String> {
        let target = command.text(1);
        if lock(&self.store).find(&target).is_none() {
            return Ok("NO [TRYCREATE] no such folder".to_owned());
        }
        let picked = self.picked(command);
        for (_, message) in &picked {
            let mut store = lock(&self.store);
            store.folder(&target).add(message.flags.clone(), message.received, message.bytes.clone());
        }
        if command.verb == "MOVE" {
            let uids: BTreeSet<u32> = picked.iter().map(|(_, message)| message.uid).collect();
            let told = self.with_folder(|folder| folder.remove(|message| uids.contains(&message.uid)));
            self.tell_expunged(&told).await?;
        }
        done()
    }

    async fn tell_expunged(&mut self, numbers: &[usize]) -> io::Result<()> {
        for number in numbers {
            self.say(&format!("* {number} EXPUNGE")).await?;
        }
        if let Some(selected) = &mut self.selected {
            selected.told = selected.told.saturating_sub(numbers.len());
        }
        Ok(())
    }

    /// Tells of messages that arrived since.
    async fn news(&mut self, command: &Command) -> io::Result<()> {
        if command.verb == "NOOP" || command.uid { self.exists().await } else { Ok(()) }
    }

    async fn exists(&mut self) -> io::Result<()> {
        let Some(selected) = self.selected.clone() else { return Ok(()) };
        let count = self.with_folder(|folder| folder.messages.len());
        if count > selected.told {
            self.say(&format!("* {count} EXISTS")).await?;
        }
        self.selected = Some(Selected { told: count, ..selected });
        Ok(())
    }

    /// The messages that the command's set names, with their sequence numbers.
    fn picked(&self, command: &Command) -> Vec<(usize, Stored)> {
        let set = command.text(0);
        self.with_folder(|folder| {
            let last_uid = folder.messages.last().map_or(0, |message| message.uid);
            let last = if command.uid { last_uid } else { u32::try_from(folder.messages.len()).unwrap_or(u32::MAX) };
            let set = Numbers::parse(&set, last);
            let numbered = folder.messages.iter().enumerate().map(|(at, message)| (at + 1, message));
            let hit = |(number, message): &(usize, &Stored)| {
                let id = if command.uid { message.uid } else { u32::try_from(*number).unwrap_or(u32::MAX) };
                set.contains(id)
            };
            numbered.filter(hit).map(|(number, message)| (number, message.clone())).collect()
        })
    }

    /// Works on the open folder.
    fn with_folder<T>(&self, work: impl FnOnce(&mut Folder) -> T) -> T {
        let name = self.selected.as_ref().map_or("INBOX", |selected| selected.name.as_str());
        work(lock(&self.store).folder(name))
    }
}

struct Command {
    verb: String,
    words: Vec<Value>,
    /// It was behind `UID`.
    uid: bool,
}

impl Command {
    fn unwrap_uid(&mut self) {
        if self.verb == "UID" && !self.words.is_empty() {
            self.verb = self.text(0).to_ascii_uppercase();
            self.words.remove(0);
            self.uid = true;
        }
    }

    /// The word at `at`; empty where there is none.
    fn text(&self, at: usize) -> String {
        self.words.get(at).and_then(Value::text).unwrap_or_default()
    }

    /// As it is told: without secrets.
    fn told(&self) -> String {
        let verb = if self.uid { format!("UID {}", self.verb) } else { self.verb.clone() };
        if matches!(self.verb.as_str(), "LOGIN" | "AUTHENTICATE") {
            return verb;
        }
        self.words.iter().fold(verb, |line, word| line + " " + &shown(word))
    }
}

impl Trouble {
    fn concerns(&self, command: &str) -> bool {
        match self {
            Self::CloseAt(start) | Self::Silent(start) | Self::Answer { command: start, .. } => {
                command.starts_with(start.as_str())
            }
            _ => false,
        }
    }
}

/// One thing that FETCH asks for.
enum Part {
    Flags,
    Uid,
    Size,
    Date,
    Section {
        /// As it is answered: `BODY[HEADER]`.
        name: String,
        kind: Kind,
        /// Offset and length of `<o.n>`.
        partial: Option<(usize, usize)>,
        peek: bool,
    },
}

enum Kind {
    Whole,
    Header,
    Text,
    Fields(Vec<String>),
}

impl Part {
    fn is_body(&self) -> bool {
        matches!(self, Self::Section { kind: Kind::Whole, .. })
    }

    fn marks(&self) -> bool {
        matches!(self, Self::Section { peek: false, .. })
    }

    fn text(&self, message: &Stored) -> String {
        match self {
            Self::Flags => {
                let flags: Vec<&str> = message.flags.iter().map(String::as_str).collect();
                format!("FLAGS ({})", flags.join(" "))
            }
            Self::Uid => format!("UID {}", message.uid),
            Self::Size => format!("RFC822.SIZE {}", message.bytes.len()),
            Self::Date => {
                let date = message.received.strftime("%d-%b-%Y %H:%M:%S +0000").to_string();
                format!("INTERNALDATE \"{date}\"")
            }
            Self::Section { name, .. } => name.clone(),
        }
    }

    /// The bytes of a section; the whole of a large message is not copied.
    fn bytes<'a>(&self, kind: &Kind, message: &'a Stored) -> Cow<'a, [u8]> {
        let all = &message.bytes;
        let end = || all.windows(4).position(|four| four == b"\r\n\r\n").map_or(all.len(), |at| at + 4);
        let bytes = match kind {
            Kind::Whole => Cow::Borrowed(&all[..]),
            Kind::Header => Cow::Borrowed(&all[..end()]),
            Kind::Text => Cow::Borrowed(&all[end()..]),
            Kind::Fields(names) => Cow::Owned(header_fields(&all[..end()], names)),
        };
        match self {
            Self::Section { partial: Some((offset, length)), .. } => {
                bytes.iter().skip(*offset).take(*length).copied().collect()
            }
            _ => bytes,
        }
    }
}

/// What FETCH is to answer; `None` for what this server does not know.
fn plan(items: Vec<String>, uid: bool) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    for item in items {
        match item.to_ascii_uppercase().as_str() {
            "FAST" => parts.extend([Part::Flags, Part::Date, Part::Size]),
            "FLAGS" => parts.push(Part::Flags),
            "UID" => parts.push(Part::Uid),
            "RFC822.SIZE" => parts.push(Part::Size),
            "INTERNALDATE" => parts.push(Part::Date),
            upper => parts.push(section(upper)?),
        }
    }
    if uid && !parts.iter().any(|part| matches!(part, Part::Uid)) {
        parts.insert(0, Part::Uid);
    }
    Some(parts)
}

fn section(item: &str) -> Option<Part> {
    let (item, partial) = match item.split_once('<') {
        Some((item, rest)) => {
            let (offset, length) = rest.trim_end_matches('>').split_once('.')?;
            (item, Some((offset.parse().ok()?, length.parse().ok()?)))
        }
        None => (item, None),
    };
    let kind = match item {
        "RFC822" | "BODY[]" | "BODY.PEEK[]" => Kind::Whole,
        "RFC822.HEADER" | "BODY[HEADER]" | "BODY.PEEK[HEADER]" => Kind::Header,
        "RFC822.TEXT" | "BODY[TEXT]" | "BODY.PEEK[TEXT]" => Kind::Text,
        _ => {
            let (_, fields) = item.split_once("[HEADER.FIELDS (")?;
            Kind::Fields(fields.trim_end_matches(")]").split_whitespace().map(str::to_owned).collect())
        }
    };
    let origin = partial.map(|(offset, _)| format!("<{offset}>")).unwrap_or_default();
    let peek = item.starts_with("BODY.PEEK") || item == "RFC822.HEADER";
    Some(Part::Section { name: item.replace("BODY.PEEK", "BODY") + &origin, kind, partial, peek })
}

/// The header fields of these names (upper case), and a blank line.
fn header_fields(header: &[u8], names: &[String]) -> Vec<u8> {
    let (mut out, mut taken) = (Vec::new(), false);
    for line in header.split_inclusive(|&byte| byte == b'\n') {
        if !line.starts_with(b" ") && !line.starts_with(b"\t") {
            let name = line.split(|&byte| byte == b':').next().unwrap_or_default();
            taken = names.iter().any(|wanted| name.eq_ignore_ascii_case(wanted.as_bytes()));
        }
        if taken {
            out.extend_from_slice(line);
        }
    }
    out.extend_from_slice(b"\r\n");
    out
}

/// Whether a message meets every key of a search; `None` for a key that this server does not know.
fn matches_search(keys: &[Value], message: &Stored, last: u32) -> Option<bool> {
    let mut words = keys.iter().filter_map(Value::text);
    let mut hit = true;
    let has = |flag: &str| message.flags.contains(flag);
    while let Some(word) = words.next() {
        hit &= match word.to_ascii_uppercase().as_str() {
            "CHARSET" => words.next().is_some(),
            "ALL" => true,
            "UNSEEN" => !has("\\Seen"),
            "SEEN" => has("\\Seen"),
            "DELETED" => has("\\Deleted"),
            "UNDELETED" => !has("\\Deleted"),
            "FLAGGED" => has("\\Flagged"),
            "UID" => Numbers::parse(&words.next()?, last).contains(message.uid),
            "SINCE" => {
                let day = jiff::fmt::strtime::parse("%d-%b-%Y", words.next()?).ok()?.to_date().ok()?;
                message.received.to_zoned(jiff::tz::TimeZone::UTC).date() >= day
            }
            _ => return None,
        };
    }
    Some(hit)
}

fn status_item(folder: &Folder, item: &str) -> Option<String> {
    let unseen = folder.messages.iter().filter(|message| !message.flags.contains("\\Seen")).count();
    let number = match item {
        "MESSAGES" => folder.messages.len(),
        "RECENT" => 0,
        "UIDNEXT" => folder.next_uid as usize,
        "UIDVALIDITY" => folder.validity as usize,
        "UNSEEN" => unseen,
        _ => return None,
    };
    Some(format!("{item} {number}"))
}

/// A set of numbers (`1:3,7,9:*`), as ranges that ascend and do not touch.
struct Numbers(Vec<(u32, u32)>);

impl Numbers {
    /// `*` is `last`, and a range may stand backwards (RFC 3501, 9); what is no number is nothing.
    fn parse(set: &str, last: u32) -> Self {
        let number = |text: &str| if text == "*" { Some(last) } else { text.parse::<u32>().ok() };
        let mut ranges: Vec<(u32, u32)> = set
            .split(',')
            .filter_map(|part| {
                let (from, to) = part.split_once(':').unwrap_or((part, part));
                let (from, to) = (number(from)?, number(to)?);
                Some((from.min(to), from.max(to)))
            })
            .collect();
        ranges.sort_unstable();
        let mut merged: Vec<(u32, u32)> = Vec::new();
        for (from, to) in ranges {
            match merged.last_mut() {
                Some((_, end)) if from <= *end => *end = to.max(*end),
                _ => merged.push((from, to)),
            }
        }
        Self(merged)
    }

    fn contains(&self, id: u32) -> bool {
        let at = self.0.partition_point(|&(_, to)| to < id);
        self.0.get(at).is_some_and(|&(from, _)| from <= id)
    }
}

/// LIST patterns: `*` is anything, `%` anything within one level.
fn matches_name(pattern: &str, name: &str) -> bool {
    let Some(first) = pattern.chars().next() else { return name.is_empty() };
    let rest = &pattern[first.len_utf8()..];
    if first == '*' || first == '%' {
        let ends = name.char_indices().map(|(at, c)| (at, Some(c))).chain([(name.len(), None)]);
        for (at, next) in ends {
            if matches_name(rest, &name[at..]) {
                return true;
            }
            if first == '%' && next == Some('/') {
                return false;
            }
        }
        return false;
    }
    name.chars().next().is_some_and(|c| c.eq_ignore_ascii_case(&first)) && matches_name(rest, &name[first.len_utf8()..])
}

/// The literal that a line announces: its size, and whether the client waits for `+`.
fn announced(line: &[u8]) -> Option<(usize, bool)> {
    let line = std::str::from_utf8(line).ok()?.trim_end();
    let digits = line[line.rfind('{')? + 1..].strip_suffix('}')?;
    let waits = !digits.ends_with('+');
    digits.trim_end_matches('+').parse().ok().map(|size| (size, waits))
}

fn text_of(value: Option<Value>) -> Option<String> {
    value.and_then(|value| value.text())
}

fn shown(value: &Value) -> String {
    match value {
        Value::Nil => "NIL".to_owned(),
        Value::Text(text) => String::from_utf8_lossy(text).into_owned(),
        Value::List(values) => format!("({})", values.iter().map(shown).collect::<Vec<_>>().join(" ")),
    }
}

fn is_deleted(message: &Stored) -> bool {
    message.flags.contains("\\Deleted")
}

#[allow(clippy::unnecessary_wraps)] // the shape of its neighbours
fn done() -> io::Result<String> {
    Ok("OK done".to_owned())
}

const NO_SUCH_FOLDER: &str = "NO [NONEXISTENT] no such folder";
/// Longest command with its literals, bytes.
const COMMAND_LIMIT: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_and_patterns_mean_what_the_rfc_says() {
        let contains = |set, id| Numbers::parse(set, 9).contains(id);
        assert!(contains("7,1:3", 2) && contains("7,1:3", 7) && !contains("7,1:3", 4) && contains("1:5,2:3", 5));
        assert!(contains("12:*", 9) && contains("*", 9) && !contains("*", 8));
        assert!(matches_name("*", "a/b") && matches_name("a/%", "a/b") && !matches_name("%", "a/b"));
        assert!(matches_name("inbox", "INBOX") && matches_name("INBOX*", "INBOX/é") && !matches_name("", "a"));
    }
}
