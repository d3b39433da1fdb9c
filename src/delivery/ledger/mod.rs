//! The ledger: what was taken from every source, what became of it, and how far delivery has come.
//!
//! Not a cache and not a log: what it says is the only protection against delivering twice, so every step is one
//! transaction that is on the disk before the next step begins (WAL, `synchronous = FULL`). Several processes may
//! read and write it; a launcher's own rows are guarded by its [lock](super::lock). Calls block: a launcher runs on
//! a thread of its own.

mod admin;
mod contents;
mod entry;
mod known;
mod query;
mod record;
mod relation;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use admin::{Again, Forgotten, Which};
pub use contents::Contents;
pub use known::Taken;
pub use query::{Line, Selection, Sheet, SheetPart, list, names, resolve, show};
pub use relation::{Before, Bond, Relation};
use rusqlite::{Connection, OptionalExtension, Statement, Transaction, TransactionBehavior, params};

use self::record::{Inserted, Recording};

use crate::model::{Code, Digest, Fault, ItemKey, Role, ServiceName};
use crate::text;
use crate::text::Text;

/// The ledger as one launcher writes it.
#[derive(Debug)]
pub struct Ledger {
    connection: Connection,
    launcher: i64,
}

/// What the ledger says of an item that its source lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Never seen: take it.
    New,
    /// It failed before, or was asked for again: take it.
    Again,
    /// Delivered, adopted, empty, rejected or in quarantine: leave it.
    Done,
}

/// An item that is about to be recorded, with everything known of it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The server's key.
    pub key: ItemKey,
    /// `{key}`.
    pub short: String,
    /// What becomes of it.
    pub stage: Stage,
    /// Why, where it failed, is rejected or in quarantine.
    pub reason: Option<Text>,
    /// What is known of it.
    pub facts: Facts,
    /// Its documents.
    pub parts: Vec<Part>,
    /// What an envelope says of itself.
    pub contents: Option<Contents>,
    /// Nothing is left to do at its source.
    pub settled: bool,
}

impl Entry {
    /// Its files in the staging folder.
    pub fn staged(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter(|part| part.role != Role::Folder).filter_map(Part::staged)
    }

    /// The folder in staging in which they stand.
    pub fn folder(&self) -> Option<&str> {
        self.parts.iter().find(|part| part.role == Role::Folder).and_then(Part::staged)
    }

    /// None of its parts is in quarantine.
    pub fn is_whole(&self) -> bool {
        !self.parts.iter().any(|part| part.decision == Decision::Quarantined)
    }
}

/// Where an item ends, or stands when it is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// It failed by itself in the last cycle; it will be tried again.
    Failed,
    /// Its files are staged and have their names: from here on it is delivered, whatever happens.
    Recorded,
    /// Its files have been published.
    Confirmed,
    /// It holds no document, or its filters left all out.
    Empty,
    /// `filter_from` or `filter_subject` left it out.
    Rejected,
    /// It cannot be delivered.
    Quarantined,
    /// `ledger adopt` marked it as done.
    Adopted,
}

impl Stage {
    /// The word of the ledger's file, of `ledger list` and of its JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Recorded => "recorded",
            Self::Confirmed => "confirmed",
            Self::Empty => "empty",
            Self::Rejected => "rejected",
            Self::Quarantined => "quarantined",
            Self::Adopted => "adopted",
        }
    }
}

/// What is known of an item: what its fingerprint and, later, its index are made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// `Message-ID`.
    pub message_id: Option<String>,
    /// Bytes as received.
    pub size: Option<u64>,
    /// SHA-256 of the header block without its final blank line.
    pub header_digest: Option<Digest>,
    /// SHA-256 of the item as received.
    pub digest: Option<Digest>,
    /// Mailbox folder or directory.
    pub folder: Option<String>,
    /// `From`.
    pub from: Option<String>,
    /// `To`.
    pub to: Option<String>,
    /// `Subject`.
    pub subject: Option<String>,
    /// `Date`.
    pub date: Option<SystemTime>,
    /// When the server received it, or the file's modification time.
    pub received: Option<SystemTime>,
}

/// A document of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// `{n}`, from 1 for documents; 0 is the folder in which they are delivered, the last one their index.
    pub n: u32,
    /// Its role.
    pub role: Role,
    /// Its own name, decoded, not sanitised.
    pub original_name: Option<String>,
    /// Its media type.
    pub media_type: Option<String>,
    /// Taken or left out, and why.
    pub decision: Decision,
}

impl Part {
    /// Its name in the staging folder, where it is taken.
    pub fn staged(&self) -> Option<&str> {
        match &self.decision {
            Decision::Taken { staged, .. } => Some(staged),
            _ => None,
        }
    }
}

/// What was decided about a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is delivered.
    Taken {
        /// Its name in the staging folder; `FOLDER/NAME` is published with its folder.
        staged: String,
        /// Its name in the delivery directory, or in its folder.
        name: String,
        /// The delivery directory; empty for what stands in a folder.
        directory: PathBuf,
        /// Bytes.
        size: u64,
        /// SHA-256 of its bytes.
        sha256: Digest,
    },
    /// This pattern left it out.
    Filtered(String),
    /// An inline part, with `inline = no`.
    Inline,
    /// It is damaged: its item is in quarantine whole.
    Quarantined,
}

impl Decision {
    fn as_str(&self) -> &'static str {
        match self {
            Self::Taken { .. } => "taken",
            Self::Filtered(_) => "filtered",
            Self::Inline => "inline",
            Self::Quarantined => "quarantined",
        }
    }
}

/// A recorded item whose files may not all have been published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The row.
    pub id: i64,
    /// The server's key.
    pub key: ItemKey,
    /// `{key}`.
    pub short: String,
    /// The generation in which it was recorded.
    pub generation: u64,
    /// None of its parts is in quarantine.
    pub whole: bool,
    /// How many documents of it are to be published.
    pub documents: u64,
    /// Others of it were published before.
    pub in_part: bool,
    /// What is left to be published, in order: its files with the index last, or its folder.
    pub files: Vec<RecordedFile>,
}

impl Recorded {
    fn of(id: i64, generation: u64, entry: &Entry) -> Self {
        let (key, short, whole) = (entry.key.clone(), entry.short.clone(), entry.is_whole());
        let files = entry.parts.iter().filter_map(RecordedFile::of).collect();
        Self { id, key, short, generation, whole, documents: 0, in_part: false, files }.without_inside()
    }

    /// Counts the documents, and leaves out what is published with its folder.
    fn without_inside(mut self) -> Self {
        self.documents = self.files.iter().filter(|file| file.role.is_document()).count() as u64;
        self.files.retain(|file| !file.staged.contains('/'));
        self
    }
}

/// A taken part of a recorded item, to be published by one rename.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedFile {
    /// `{n}`.
    pub n: u32,
    /// A document, the index, or the folder.
    pub role: Role,
    /// Its name in the staging folder.
    pub staged: String,
    /// Its name in the delivery directory.
    pub name: String,
    /// The delivery directory it was recorded for.
    pub directory: PathBuf,
}

impl RecordedFile {
    fn of(part: &Part) -> Option<Self> {
        let Decision::Taken { staged, name, directory, .. } = &part.decision else { return None };
        let (staged, name, directory) = (staged.clone(), name.clone(), directory.clone());
        Some(Self { n: part.n, role: part.role.clone(), staged, name, directory })
    }
}

/// An item whose `after` or `after_empty` has not been carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// The row.
    pub id: i64,
    /// The server's key.
    pub key: ItemKey,
    /// Nobody saw its files being published: a copy must outlive the source.
    pub unconfirmed: bool,
}

impl Ledger {
    /// Where the ledger of a `state` stands.
    pub fn path(state: &Path) -> PathBuf {
        state.join("ledger.sqlite")
    }

    /// Opens the ledger of a `state` for one launcher, making file and row when they are missing.
    pub fn open(state: &Path, launcher: &ServiceName) -> Result<Self, Fault> {
        let path = Self::path(state);
        super::make_state(state).map_err(|error| unusable(&path, &error))?;
        let mut connection = Connection::open(&path).map_err(|error| unusable(&path, &error))?;
        prepare(&mut connection, &path)?;
        Self::of(connection, launcher)
    }

    /// A ledger for `--dry-run`: what the real one says, in memory, so that nothing is written.
    pub fn open_copy(state: &Path, launcher: &ServiceName) -> Result<Self, Fault> {
        let path = Self::path(state);
        let mut connection = Connection::open_in_memory().map_err(failed)?;
        if path.exists() {
            let source = query::open_read_only(&path)?;
            let backup = rusqlite::backup::Backup::new(&source, &mut connection).map_err(failed)?;
            backup.run_to_completion(COPY_PAGES, Duration::ZERO, None).map_err(failed)?;
        }
        prepare(&mut connection, &path)?;
        Self::of(connection, launcher)
    }

    fn of(connection: Connection, launcher: &ServiceName) -> Result<Self, Fault> {
        let insert = "INSERT INTO launcher (name, created) VALUES (?1, ?2) ON CONFLICT (name) DO NOTHING";
        let select = "SELECT id FROM launcher WHERE name = ?1";
        connection.execute(insert, params![launcher.as_str(), now()]).map_err(failed)?;
        let launcher = connection.query_row(select, [launcher.as_str()], |row| row.get(0)).map_err(failed)?;
        Ok(Self { connection, launcher })
    }

    /// The generation of this launcher: 0 before its first delivery.
    pub fn generation(&self) -> Result<u64, Fault> {
        let sql = "SELECT generation FROM launcher WHERE id = ?1";
        self.connection.query_row(sql, [self.launcher], |row| row.get(0)).map_err(failed)
    }

    /// Sets the generation; it never goes down.
    pub fn raise_generation(&mut self, generation: u64) -> Result<(), Fault> {
        let sql = "UPDATE launcher SET generation = max(generation, ?2) WHERE id = ?1";
        self.connection.execute(sql, params![self.launcher, generation]).map_err(failed)?;
        Ok(())
    }

    /// How far the source was seen through.
    pub fn cursor(&self) -> Result<Option<String>, Fault> {
        let sql = "SELECT cursor FROM launcher WHERE id = ?1";
        self.connection.query_row(sql, [self.launcher], |row| row.get(0)).map_err(failed)
    }

    /// Moves the cursor; only over what has ended without a gap.
    pub fn set_cursor(&mut self, cursor: &str) -> Result<(), Fault> {
        let sql = "UPDATE launcher SET cursor = ?2 WHERE id = ?1";
        self.connection.execute(sql, params![self.launcher, cursor]).map_err(failed)?;
        Ok(())
    }

    /// Says for each key, in order, whether it is to be taken.
    pub fn admit<'a>(&self, keys: impl IntoIterator<Item = &'a ItemKey>) -> Result<Vec<Admission>, Fault> {
        let sql = "SELECT retry OR stage = 'failed' FROM item WHERE launcher = ?1 AND key = ?2 AND departed IS NULL";
        let _one = self.connection.unchecked_transaction().map_err(failed)?; // one lock for all of them
        let mut statement = self.connection.prepare_cached(sql).map_err(failed)?;
        keys.into_iter()
            .map(|key| {
                let again = statement
                    .query_row(params![self.launcher, key.as_str()], |row| row.get::<_, bool>(0))
                    .optional()
                    .map_err(failed)?;
                Ok(match again {
                    None => Admission::New,
                    Some(true) => Admission::Again,
                    Some(false) => Admission::Done,
                })
            })
            .collect()
    }

    /// Items whose body must stay in the spool: recorded ones, those that are to be taken again, and for `SPOOL_KEPT`
    /// those that nobody saw delivered.
    pub fn needs_body(&self) -> Result<HashSet<ItemKey>, Fault> {
        let sql = "SELECT key FROM item WHERE launcher = ?1
                   AND (stage = 'recorded' OR retry OR (unconfirmed AND confirmed > ?2))";
        let mut statement = self.connection.prepare_cached(sql).map_err(failed)?;
        let oldest = now().saturating_sub(whole_millis(SPOOL_KEPT));
        let rows =
            statement.query_map(params![self.launcher, oldest], |row| Ok(ItemKey::new(row.get::<_, String>(0)?)));
        rows.map_err(failed)?.collect::<Result<_, _>>().map_err(failed)
    }

    /// Records items with all their parts in one transaction; answers what is to be published now.
    pub fn record(&mut self, entries: &[Entry]) -> Result<Vec<Recorded>, Fault> {
        let (launcher, generation) = (self.launcher, self.generation()?);
        let inserted: Vec<Inserted> = self.write(|transaction| {
            let mut recording = Recording::begin(transaction, launcher, generation)?;
            entries.iter().map(|entry| recording.add(entry)).collect()
        })?;
        if inserted.iter().any(|row| row.again) {
            return self.recorded(); // parts of an item that came before may have been published
        }
        let rows = inserted.iter().zip(entries).filter(|(_, entry)| entry.stage == Stage::Recorded);
        Ok(rows.map(|(row, entry)| Recorded::of(row.id, generation, entry)).collect())
    }

    /// Names promised to recorded files that may not have been published yet, in `directory`, whatever the launcher;
    /// in lower case, since the directory's file system may not tell cases apart.
    pub fn promised(&self, directory: &Path) -> Result<HashSet<String>, Fault> {
        // in this order: from the few rows of `item_open` to their parts
        let sql = "SELECT p.final FROM item i CROSS JOIN part p ON p.item = i.id
                   WHERE i.launcher IN (SELECT id FROM launcher) AND i.stage = 'recorded' AND i.acknowledged IS NULL
                   AND p.published IS NULL AND p.final IS NOT NULL AND p.directory = ?1";
        let mut statement = self.connection.prepare_cached(sql).map_err(failed)?;
        let name = |row: &rusqlite::Row<'_>| Ok(row.get::<_, String>(0)?.to_lowercase());
        let rows = statement.query_map([directory.to_string_lossy()], name).map_err(failed)?;
        rows.collect::<Result<_, _>>().map_err(failed)
    }

    /// Items that are recorded and not confirmed, in the order in which they were recorded.
    pub fn recorded(&self) -> Result<Vec<Recorded>, Fault> {
        let items = "SELECT id, key, short, generation, whole FROM item
                     WHERE launcher = ?1 AND stage = 'recorded' AND acknowledged IS NULL ORDER BY id";
        let files = "SELECT n, role, staged, final, directory, published IS NOT NULL FROM part
                     WHERE item = ?1 AND decision = 'taken' ORDER BY n";
        let mut items = self.connection.prepare_cached(items).map_err(failed)?;
        let mut files = self.connection.prepare_cached(files).map_err(failed)?;
        let rows = items
            .query_map([self.launcher], |row| {
                let (id, key, short) = (row.get(0)?, ItemKey::new(row.get::<_, String>(1)?), row.get(2)?);
                let files = files.query_map([id], recorded_file)?;
                let files = files.collect::<Result<Vec<_>, _>>()?;
                let in_part = files.iter().any(|(_, published)| *published);
                let left = files.into_iter().filter(|(_, published)| !published).map(|(file, _)| file).collect();
                let (generation, whole) = (row.get(3)?, row.get(4)?);
                let recorded = Recorded { id, key, short, generation, whole, documents: 0, in_part, files: left };
                Ok(recorded.without_inside())
            })
            .map_err(failed)?;
        rows.collect::<Result<_, _>>().map_err(failed)
    }

    /// A recorded file gets another final name, because its name was taken: committed before it is tried.
    pub fn rename(&mut self, item: i64, n: u32, name: &str) -> Result<(), Fault> {
        let sql = "UPDATE part SET final = ?3 WHERE item = ?1 AND n = ?2";
        self.connection.execute(sql, params![item, n, name]).map_err(failed)?;
        Ok(())
    }

    /// Items have been published whole. `unconfirmed`: they were found published after an interruption. Where
    /// `acknowledge` is false there is nothing left to do at the source.
    pub fn confirm(&mut self, items: &[(i64, bool)], acknowledge: bool) -> Result<(), Fault> {
        let parts = "UPDATE part SET published = coalesce(published, ?2)
                     WHERE item IN (SELECT value FROM json_each(?1)) AND decision = 'taken'";
        // no index is made of an envelope any more: its metadata need not stay for ever
        let rows = "UPDATE item SET stage = 'confirmed', confirmed = ?2, unconfirmed = ?3, failures = 0,
                    envelope = CASE WHEN envelope IS NOT NULL THEN json_remove(envelope, '$.metadata') END,
                    acknowledged = CASE WHEN ?4 THEN NULL ELSE ?2 END WHERE id IN (SELECT value FROM json_each(?1))";
        self.write(|transaction| {
            let now = now();
            for unconfirmed in [false, true] {
                // one statement for all of them takes half the time of one for each
                let ids = items.iter().filter(|item| item.1 == unconfirmed).map(|item| item.0);
                let ids = ids.collect::<serde_json::Value>().to_string();
                transaction.prepare_cached(parts)?.execute(params![ids, now])?;
                transaction.prepare_cached(rows)?.execute(params![ids, now, unconfirmed, acknowledge])?;
            }
            Ok(())
        })
    }

    /// Delivered items, or with `empty` those that yielded no document, at whose source something is left to do, once
    /// they have been done for so long as `keep` says. One with a part in quarantine is never among them, nor one that
    /// is to be taken again first.
    pub fn pending(&self, empty: bool, keep: Duration) -> Result<Vec<Pending>, Fault> {
        let sql = "SELECT id, key, unconfirmed FROM item WHERE launcher = ?1 AND stage = ?2 AND acknowledged IS NULL
                   AND whole AND NOT retry AND departed IS NULL AND coalesce(confirmed, recorded) <= ?3 ORDER BY id";
        let stage = if empty { Stage::Empty } else { Stage::Confirmed };
        // what was done a moment ago is due at once, whatever the clock did since
        let latest = if keep.is_zero() { i64::MAX } else { now().saturating_sub(whole_millis(keep)) };
        let mut statement = self.connection.prepare_cached(sql).map_err(failed)?;
        let rows = statement.query_map(params![self.launcher, stage.as_str(), latest], |row| {
            let key = ItemKey::new(row.get::<_, String>(1)?);
            Ok(Pending { id: row.get(0)?, key, unconfirmed: row.get(2)? })
        });
        rows.map_err(failed)?.collect::<Result<_, _>>().map_err(failed)
    }

    /// `after` has been carried out for these rows.
    pub fn acknowledged(&mut self, items: &[i64]) -> Result<(), Fault> {
        self.write(|transaction| {
            let mut statement = transaction.prepare_cached("UPDATE item SET acknowledged = ?2 WHERE id = ?1")?;
            items.iter().try_for_each(|id| statement.execute(params![id, now()]).map(drop))
        })
    }

    /// Done items that still lie at their source: what removes them there (`after` for delivered ones, `after_empty` for
    /// those without any document) is carried out once more. What is in quarantine, or was adopted, is left alone.
    pub fn reopen(&mut self, keys: &[&ItemKey], delivered: bool, empty: bool) -> Result<usize, Fault> {
        let launcher = self.launcher;
        let sql = "UPDATE item SET acknowledged = NULL WHERE launcher = ?1 AND key = ?2 AND departed IS NULL AND whole
                   AND acknowledged IS NOT NULL AND ((?3 AND stage = 'confirmed') OR (?4 AND stage = 'empty'))";
        self.write(|transaction| {
            let mut statement = transaction.prepare_cached(sql)?;
            let reopen = |key: &&ItemKey| statement.execute(params![launcher, key.as_str(), delivered, empty]);
            keys.iter().map(reopen).sum::<Result<_, _>>()
        })
    }

    /// How many cycles in a row an item has failed by itself.
    pub fn failures(&self, key: &ItemKey) -> Result<u32, Fault> {
        let sql = "SELECT failures FROM item WHERE launcher = ?1 AND key = ?2 AND departed IS NULL";
        let row = self.connection.query_row(sql, params![self.launcher, key.as_str()], |row| row.get(0));
        Ok(row.optional().map_err(failed)?.unwrap_or(0))
    }

    /// The `{key}`s of items, each with the one that it would have by itself: see [`free_short`](Self::free_short). Of
    /// those that are `known`, the own one is looked for; the others have none.
    pub fn free_shorts<'a>(
        &self,
        items: impl IntoIterator<Item = (&'a ItemKey, String)>,
        known: impl Fn(&ItemKey) -> bool,
    ) -> Result<HashMap<ItemKey, String>, Fault> {
        let _one = self.connection.unchecked_transaction().map_err(failed)?; // one lock for all of them
        let mut taken = self.connection.prepare_cached(TAKEN).map_err(failed)?;
        let short = |(key, short): (&ItemKey, String)| {
            let own = if known(key) { self.own_short(key)? } else { None };
            let short = own.map_or_else(|| self.untaken(&mut taken, key, short), Ok)?;
            Ok((key.clone(), short))
        };
        items.into_iter().map(short).collect()
    }

    /// The `{key}` of an item: its own where it has one already, else `short` unless another row has it (a file that left
    /// and came back).
    pub fn free_short(&self, key: &ItemKey, short: &str) -> Result<String, Fault> {
        if let Some(own) = self.own_short(key)? {
            return Ok(own);
        }
        let mut taken = self.connection.prepare_cached(TAKEN).map_err(failed)?;
        self.untaken(&mut taken, key, short.to_owned())
    }

    fn own_short(&self, key: &ItemKey) -> Result<Option<String>, Fault> {
        let sql = "SELECT short FROM item WHERE launcher = ?1 AND key = ?2 AND departed IS NULL";
        let mut statement = self.connection.prepare_cached(sql).map_err(failed)?;
        statement.query_row(params![self.launcher, key.as_str()], |row| row.get(0)).optional().map_err(failed)
    }

    /// `short`, else the first numbered one that no other row has.
    fn untaken(&self, taken: &mut Statement<'_>, key: &ItemKey, short: String) -> Result<String, Fault> {
        let mut is_taken = |candidate: &str| {
            let arguments = params![self.launcher, candidate, key.as_str()];
            taken.exists(arguments).map_err(failed)
        };
        if !is_taken(&short)? {
            return Ok(short);
        }
        let mut n = 2;
        loop {
            let candidate = format!("{short}-{n}");
            if !is_taken(&candidate)? {
                return Ok(candidate);
            }
            n += 1;
        }
    }

    /// Done items that `present` does not hold have left their source: should they come back, they are new.
    pub fn depart(&mut self, present: &HashSet<ItemKey>) -> Result<usize, Fault> {
        let (launcher, now) = (self.launcher, now());
        let select = "SELECT id, key FROM item WHERE launcher = ?1 AND departed IS NULL
                      AND stage NOT IN ('recorded') AND NOT retry";
        self.write(|transaction| {
            let mut statement = transaction.prepare_cached(select)?;
            let rows = statement.query_map([launcher], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)))?;
            let rows: Vec<_> = rows.collect::<Result<_, _>>()?;
            let gone = rows.iter().filter(|(_, key)| !present.contains(&ItemKey::new(key.clone())));
            let mut update = transaction.prepare_cached("UPDATE item SET departed = ?2 WHERE id = ?1")?;
            gone.map(|(id, _)| update.execute(params![id, now])).sum::<Result<_, _>>()
        })
    }

    /// Marks items, each with its `{key}` and what recognises it, as done without delivering them. What the ledger
    /// knows is left as it is, but for items that failed and would be tried again.
    pub fn adopt(&mut self, items: &[(ItemKey, String, Facts)]) -> Result<usize, Fault> {
        let (launcher, generation, now) = (self.launcher, self.generation()?, now());
        let sql = "INSERT INTO item (launcher, key, short, stage, generation, message_id, size, header_digest, date, sender,
                   subject, recorded, acknowledged) VALUES (?1, ?2, ?3, 'adopted', ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?11)
                   ON CONFLICT (launcher, key) WHERE departed IS NULL DO UPDATE SET stage = 'adopted', failures = 0,
                   retry = 0, reason = NULL, reason_fr = NULL, message_id = excluded.message_id, size = excluded.size,
                   header_digest = excluded.header_digest, acknowledged = excluded.acknowledged
                   WHERE stage = 'failed'";
        self.write(|transaction| {
            let mut statement = transaction.prepare_cached(sql)?;
            let insert = |(key, short, facts): &(ItemKey, String, Facts)| {
                let header = facts.header_digest.map(|digest| digest.0.to_vec());
                let (id, size, date) = (&facts.message_id, facts.size, facts.date.map(millis));
                let (from, subject, key) = (&facts.from, &facts.subject, key.as_str());
                statement.execute(params![launcher, key, short, generation, id, size, header, date, from, subject, now])
            };
            items.iter().map(insert).sum::<Result<_, _>>()
        })
    }

    /// One transaction; it begins as a writer, so that it waits instead of failing half-way.
    fn write<T>(&mut self, work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>) -> Result<T, Fault> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        let value = work(&transaction).map_err(failed)?;
        transaction.commit().map_err(failed)?;
        Ok(value)
    }
}

/// A file, and whether it has been published.
fn recorded_file(row: &rusqlite::Row<'_>) -> rusqlite::Result<(RecordedFile, bool)> {
    let role = Role::parse(&row.get::<_, String>(1)?);
    let directory = PathBuf::from(row.get::<_, String>(4)?);
    let file = RecordedFile { n: row.get(0)?, role, staged: row.get(2)?, name: row.get(3)?, directory };
    Ok((file, row.get(5)?))
}

/// Makes a connection ready: pragmas, and the schema of this version. A file of a newer program is refused.
fn prepare(connection: &mut Connection, path: &Path) -> Result<(), Fault> {
    connection.busy_timeout(BUSY).map_err(failed)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.execute_batch(PRAGMAS).map_err(|error| unusable(path, &error))?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    let version: i64 =
        transaction.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(|e| unusable(path, &e))?;
    let Some(missing) = usize::try_from(version).ok().and_then(|version| SCHEMAS.get(version..)) else {
        return Err(too_new(path, version));
    };
    if missing.is_empty() {
        return Ok(());
    }
    missing.iter().try_for_each(|schema| transaction.execute_batch(schema)).map_err(|error| unusable(path, &error))?;
    transaction.pragma_update(None, "user_version", SCHEMA).map_err(failed)?;
    transaction.commit().map_err(failed)
}

fn too_new(path: &Path, version: i64) -> Fault {
    let path = path.display();
    Fault::new(
        Code::Ledger,
        text!(
            "{path}: written by a newer pertuis (schema {version}, this one knows {SCHEMA}); install that version again",
            "{path} : écrit par un pertuis plus récent (schéma {version}, celui-ci connaît {SCHEMA}) ; réinstallez cette version"
        ),
    )
}

fn unusable(path: &Path, error: &dyn std::fmt::Display) -> Fault {
    let path = path.display();
    Fault::new(
        Code::Ledger,
        text!(
            "{path}: the ledger cannot be opened: {error}; nothing is delivered without it. Check that `state` is on a local disk and that this user may write there; a damaged file is restored from a backup",
            "{path} : impossible d'ouvrir le registre : {error} ; rien n'est livré sans lui. Vérifiez que `state` est sur un disque local et que cet utilisateur peut y écrire ; un fichier abîmé se restaure depuis une sauvegarde"
        ),
    )
}

#[allow(clippy::needless_pass_by_value)] // the shape that `map_err` wants
fn failed(error: rusqlite::Error) -> Fault {
    Fault::new(
        Code::Ledger,
        text!(
            "the ledger cannot be read or written: {error}; check the free space and the rights of `state`",
            "le registre ne peut être lu ou écrit : {error} ; vérifiez la place libre et les droits de `state`"
        ),
    )
}

fn now() -> i64 {
    millis(SystemTime::now())
}

fn whole_millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn time(millis: i64) -> SystemTime {
    let away = Duration::from_millis(millis.unsigned_abs());
    if millis < 0 { UNIX_EPOCH.checked_sub(away) } else { UNIX_EPOCH.checked_add(away) }.unwrap_or(UNIX_EPOCH)
}

fn millis(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => whole_millis(after),
        Err(before) => -whole_millis(before.duration()),
    }
}

/// Whether another row has this `{key}`.
const TAKEN: &str = "SELECT 1 FROM item WHERE launcher = ?1 AND short = ?2 AND (key <> ?3 OR departed IS NOT NULL)";
/// What makes each version of the file out of the one before it.
const SCHEMAS: [&str; 4] =
    [include_str!("schema.sql"), include_str!("schema2.sql"), include_str!("schema3.sql"), include_str!("schema4.sql")];
#[allow(clippy::cast_possible_wrap)] // a handful
const SCHEMA: i64 = SCHEMAS.len() as i64;
/// A checkpoint for each 16 MiB: rows of several batches change the same pages, and each costs two waits for the disk. The
/// words of `CHECK`s are those of enums here: for each row that it checks SQLite makes a table of them all, a fifth of the
/// time that recording takes.
const PRAGMAS: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;
                       PRAGMA wal_autocheckpoint = 4000; PRAGMA ignore_check_constraints = ON;";
/// More than a cycle uses.
const STATEMENTS: usize = 64;
/// How long a writer waits for another process.
const BUSY: Duration = Duration::from_mins(1);
/// How long the body of an item is kept whose delivery nobody saw succeed.
const SPOOL_KEPT: Duration = Duration::from_hours(30 * 24);
const COPY_PAGES: std::os::raw::c_int = 1000;
