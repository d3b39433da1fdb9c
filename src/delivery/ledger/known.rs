//! Items whose source gave them new keys: known again by header block before their bodies are fetched, by content after.
//!
//! Not a hunt for duplicates: two identical messages that were both sent both arrive. It counts, so a row stands for one
//! listed item only: two equal messages that were both delivered are both known, a third is new.

use std::collections::{HashMap, HashSet};

use rusqlite::{OptionalExtension, params};

use super::{Facts, Ledger, failed};
use crate::model::{Digest, Fault, ItemKey};

/// The rows that stand for an item of this listing already.
#[derive(Debug, Default)]
pub struct Taken {
    rows: HashSet<i64>,
    /// Rows that are newer were written for this listing.
    newest: i64,
    /// The row up to which those with this digest (and size) have been looked through: many equal messages are not
    /// compared each with each.
    seen: HashMap<(&'static str, Digest, Option<u64>), i64>,
}

impl Ledger {
    /// Begins to recognise: rows that have one of the `listed` keys stand for that item alone.
    pub fn recognise<'a>(&self, listed: impl IntoIterator<Item = &'a ItemKey>) -> Result<Taken, Fault> {
        let newest = "SELECT coalesce(max(id), 0) FROM item WHERE launcher = ?1";
        let newest = self.connection.query_row(newest, [self.launcher], |row| row.get(0)).map_err(failed)?;
        let sql = "SELECT id FROM item WHERE launcher = ?1 AND key = ?2 AND departed IS NULL";
        let mut statement = self.connection.prepare_cached(sql).map_err(failed)?;
        let row = |key: &ItemKey| {
            statement.query_row(params![self.launcher, key.as_str()], |row| row.get(0)).optional().transpose()
        };
        let rows = listed.into_iter().filter_map(row).collect::<Result<_, _>>().map_err(failed)?;
        Ok(Taken { rows, newest, seen: HashMap::new() })
    }

    /// The first row with this header block and, where both sides know it, this size; taken from now on. The header block
    /// holds the `Message-ID`, and the `Received` lines that make two messages with one `Message-ID` differ.
    pub fn known(&self, print: &Facts, taken: &mut Taken) -> Result<Option<i64>, Fault> {
        let Some(header) = print.header_digest else { return Ok(None) };
        self.first("header_digest", header, print.size, taken)
    }

    /// The first row with this content, taken from now on: for what was not known by its header block.
    pub fn known_content(&self, digest: Digest, taken: &mut Taken) -> Result<Option<i64>, Fault> {
        self.first("digest", digest, None, taken)
    }

    fn first(
        &self,
        column: &'static str,
        digest: Digest,
        size: Option<u64>,
        taken: &mut Taken,
    ) -> Result<Option<i64>, Fault> {
        let sql = format!(
            "SELECT id FROM item WHERE launcher = ?1 AND {column} = ?2 AND id > ?3 AND id <= ?4
             AND (size IS NULL OR ?5 IS NULL OR size = ?5) AND stage <> 'failed' AND departed IS NULL ORDER BY id"
        );
        let mut statement = self.connection.prepare_cached(&sql).map_err(failed)?;
        let seen = taken.seen.entry((column, digest, size)).or_default();
        let arguments = params![self.launcher, digest.0.as_slice(), *seen, taken.newest, size];
        for id in statement.query_map(arguments, |row| row.get::<_, i64>(0)).map_err(failed)? {
            *seen = id.map_err(failed)?;
            if taken.rows.insert(*seen) {
                return Ok(Some(*seen));
            }
        }
        Ok(None)
    }

    /// Known items get the keys that their source gave them anew; a failed try under the new key is forgotten.
    pub fn rekey(&mut self, items: &[(i64, ItemKey)]) -> Result<(), Fault> {
        let launcher = self.launcher;
        self.write(|transaction| {
            let failed = "DELETE FROM item WHERE launcher = ?1 AND key = ?2 AND departed IS NULL AND stage = 'failed'";
            let mut forget = transaction.prepare_cached(failed)?;
            let mut update = transaction.prepare_cached("UPDATE item SET key = ?2 WHERE id = ?1")?;
            items.iter().try_for_each(|(id, key)| {
                forget.execute(params![launcher, key.as_str()])?;
                update.execute(params![id, key.as_str()]).map(drop)
            })
        })
    }
}
