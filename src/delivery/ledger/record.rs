//! Recording: the rows of items and of their parts, written before anything of them is published.
//!
//! Most items come for the first time: their row is inserted at once, and only where the index of keys refuses it is looked
//! at what stands there. Statements are prepared once for all items of a transaction.

use rusqlite::{CachedStatement, OptionalExtension, Transaction, params};

use super::{Decision, Entry, Part, Stage, millis, now, relation};
use crate::text::Text;

/// A transaction in which items are recorded.
pub(super) struct Recording<'t> {
    transaction: &'t Transaction<'t>,
    launcher: i64,
    generation: u64,
    now: i64,
    item: CachedStatement<'t>,
    part: CachedStatement<'t>,
}

/// A row that was written.
pub(super) struct Inserted {
    pub(super) id: i64,
    /// In the place of one that was there before.
    pub(super) again: bool,
}

impl<'t> Recording<'t> {
    pub(super) fn begin(transaction: &'t Transaction<'t>, launcher: i64, generation: u64) -> rusqlite::Result<Self> {
        let item = "INSERT INTO item (launcher, key, short, stage, whole, reason, generation, message_id, size,
                    header_digest, digest, folder, sender, recipients, subject, date, received, recorded, failures,
                    acknowledged, reason_fr, envelope) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14,
                    ?15, ?16, ?17, ?18, ?19, CASE WHEN ?20 THEN ?18 END, ?21, ?22)
                    ON CONFLICT (launcher, key) WHERE departed IS NULL DO NOTHING";
        let part = "INSERT INTO part (item, n, role, original_name, media_type, decision, filter, size, sha256, staged,
                    final, directory) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
        let (item, part) = (transaction.prepare_cached(item)?, transaction.prepare_cached(part)?);
        Ok(Self { transaction, launcher, generation, now: now(), item, part })
    }

    /// Records one item with its parts. A row of its key is there when it failed before or was asked for again: it is
    /// written anew.
    pub(super) fn add(&mut self, entry: &Entry) -> rusqlite::Result<Inserted> {
        if let Some(id) = self.insert(entry, 0)? {
            return Ok(Inserted { id, again: false });
        }
        let (transaction, launcher, key) = (self.transaction, self.launcher, entry.key.as_str());
        if let Some(id) = still_asked(transaction, launcher, entry)? {
            return Ok(Inserted { id, again: false });
        }
        let failures = "SELECT failures FROM item WHERE launcher = ?1 AND key = ?2 AND departed IS NULL";
        let delete = "DELETE FROM item WHERE launcher = ?1 AND key = ?2 AND departed IS NULL";
        let failures = transaction.prepare_cached(failures)?.query_row(params![launcher, key], |row| row.get(0))?;
        let published = PublishedPart::of(transaction, launcher, key)?;
        transaction.prepare_cached(delete)?.execute(params![launcher, key])?;
        let id = self.insert(entry, failures)?.ok_or(rusqlite::Error::StatementChangedRows(0))?;
        published.iter().try_for_each(|part| part.carry_over(transaction, id))?;
        Ok(Inserted { id, again: true })
    }

    /// The row of the item, `None` where one of its key is there; `failures`: how often it failed before.
    fn insert(&mut self, entry: &Entry, failures: u32) -> rusqlite::Result<Option<i64>> {
        let facts = &entry.facts;
        let inserted = self.item.execute(params![
            self.launcher,
            entry.key.as_str(),
            entry.short,
            entry.stage.as_str(),
            entry.is_whole(),
            entry.reason.as_ref().map(|reason| &reason.en),
            self.generation,
            facts.message_id,
            facts.size,
            facts.header_digest.as_ref().map(|digest| &digest.0[..]),
            facts.digest.as_ref().map(|digest| &digest.0[..]),
            facts.folder,
            facts.from,
            facts.to,
            facts.subject,
            facts.date.map(millis),
            facts.received.map(millis),
            self.now,
            if entry.stage == Stage::Failed { failures + 1 } else { 0 },
            entry.settled,
            entry.reason.as_ref().map(|reason| &reason.fr),
            entry.contents.as_ref().and_then(|contents| contents.to_json(entry.stage == Stage::Recorded)),
        ])?;
        if inserted == 0 {
            return Ok(None);
        }
        let id = self.transaction.last_insert_rowid();
        if let Some(contents) = entry.contents.as_ref().filter(|_| entry.stage == Stage::Recorded) {
            relation::insert(self.transaction, id, &contents.relations)?;
        }
        entry.parts.iter().try_for_each(|part| self.insert_part(id, part))?;
        Ok(Some(id))
    }

    fn insert_part(&mut self, item: i64, part: &Part) -> rusqlite::Result<()> {
        let filter = if let Decision::Filtered(pattern) = &part.decision { Some(pattern) } else { None };
        let (size, sha256, staged, name, directory) = match &part.decision {
            Decision::Taken { staged, name, directory, size, sha256 } => {
                (Some(size), Some(&sha256.0[..]), Some(staged), Some(name), Some(directory.to_string_lossy()))
            }
            _ => (None, None, None, None, None),
        };
        let (role, decision) = (part.role.as_str(), part.decision.as_str());
        let Part { n, original_name, media_type, .. } = part;
        self.part
            .execute(params![
                item,
                n,
                role,
                original_name,
                media_type,
                decision,
                filter,
                size,
                sha256,
                staged,
                name,
                directory
            ])
            .map(drop)
    }
}

/// An item that was asked for again and of which nothing could be read: what is known of it stays, for it may tell what
/// was published. It is asked for still, until it goes to quarantine; `None` where the entry is another one.
fn still_asked(transaction: &Transaction<'_>, launcher: i64, entry: &Entry) -> rusqlite::Result<Option<i64>> {
    let gives_up = match entry.stage {
        Stage::Failed => false,
        Stage::Quarantined => true,
        _ => return Ok(None),
    };
    if !entry.parts.is_empty() {
        return Ok(None);
    }
    let sql = "UPDATE item SET reason = ?3, reason_fr = ?4, retry = NOT ?5,
                 failures = CASE WHEN ?5 THEN 0 ELSE failures + 1 END,
                 stage = CASE WHEN ?5 AND whole THEN 'quarantined' ELSE stage END
               WHERE launcher = ?1 AND key = ?2 AND departed IS NULL AND retry RETURNING id";
    let (en, fr) = entry.reason.as_ref().map(|Text { en, fr }| (en, fr)).unzip();
    let arguments = params![launcher, entry.key.as_str(), en, fr, gives_up];
    transaction.prepare_cached(sql)?.query_row(arguments, |row| row.get(0)).optional()
}

/// A document that was published when a part of its item went to quarantine.
struct PublishedPart {
    n: u32,
    sha256: Vec<u8>,
    name: String,
    directory: String,
    published: i64,
}

impl PublishedPart {
    /// The published documents of an item of which something stayed behind; none of one that is to come again whole.
    fn of(transaction: &Transaction<'_>, launcher: i64, key: &str) -> rusqlite::Result<Vec<Self>> {
        let sql = "SELECT p.n, p.sha256, p.final, p.directory, p.published FROM part p JOIN item i ON i.id = p.item
                   WHERE i.launcher = ?1 AND i.key = ?2 AND i.departed IS NULL AND i.stage = 'confirmed' AND NOT i.whole
                   AND p.published IS NOT NULL AND p.sha256 IS NOT NULL AND p.role NOT IN ('index', 'folder')
                   AND NOT EXISTS (SELECT 1 FROM part f WHERE f.item = i.id AND f.role = 'folder')";
        let mut statement = transaction.prepare_cached(sql)?;
        let rows = statement.query_map(params![launcher, key], |row| {
            let (n, sha256, name, directory) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
            Ok(Self { n, sha256, name, directory, published: row.get(4)? })
        })?;
        rows.collect()
    }

    /// The same document of the same item, taken again for the others' sake, is not published a second time.
    fn carry_over(&self, transaction: &Transaction<'_>, item: i64) -> rusqlite::Result<()> {
        let sql = "UPDATE part SET published = ?4, final = ?5, directory = ?6
                   WHERE item = ?1 AND n = ?2 AND sha256 = ?3 AND decision = 'taken'";
        let Self { n, sha256, name, directory, published } = self;
        transaction.prepare_cached(sql)?.execute(params![item, n, sha256, published, name, directory]).map(drop)
    }
}
