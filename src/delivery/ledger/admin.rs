//! What `pertuis ledger` changes: `retry`, `forget`, `rename`.
//!
//! Not the cycle's own writes. A mark for a retry may be set while a cycle runs; to forget and to rename take the
//! launcher's lock, which is the caller's business.

use std::time::SystemTime;

use rusqlite::{OptionalExtension, params};

use super::{Ledger, failed, now, time};
use crate::model::{Fault, ItemKey, ServiceName};

/// Which items are to be taken again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which<'a> {
    /// The one with this `{key}`.
    Short(&'a str),
    /// Those in quarantine, whole or in part.
    Quarantined,
    /// Those that yielded no document.
    Empty,
    /// Those that `filter_from` or `filter_subject` left out.
    Rejected,
}

/// An item that is to be taken again, listed or not: it failed, or `ledger retry` marked it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Again {
    /// The server's key.
    pub key: ItemKey,
    /// It was asked for; else it failed.
    pub asked: bool,
    /// `{key}`.
    pub short: String,
    /// Bytes, as far as they are known.
    pub size: Option<u64>,
    /// Mailbox folder or directory.
    pub folder: Option<String>,
    /// When the server received it.
    pub received: Option<SystemTime>,
    /// The own name of its first document.
    pub name: Option<String>,
    /// The deposit's own name, of an envelope.
    pub deposit: Option<String>,
}

/// What became of a wish to forget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forgotten {
    /// The row is gone.
    Done,
    /// Its documents are on their way: it is forgotten once they are delivered.
    UnderWay,
    /// There is no such row.
    Unknown,
}

impl Ledger {
    /// Marks items so that the next cycle takes them again; answers how many. One that is on its way is not marked, nor
    /// one whose key the source has given to something newer.
    pub fn retry(&mut self, which: Which<'_>) -> Result<usize, Fault> {
        let (choice, short) = match which {
            Which::Short(short) => ("i.short = ?2", short),
            Which::Quarantined => ("?2 = '' AND i.departed IS NULL AND (i.stage = 'quarantined' OR NOT i.whole)", ""),
            Which::Empty => ("?2 = '' AND i.departed IS NULL AND i.stage = 'empty'", ""),
            Which::Rejected => ("?2 = '' AND i.departed IS NULL AND i.stage = 'rejected'", ""),
        };
        // one that has left its source is looked for there once more: a copy of it may have been kept
        let sql = format!(
            "UPDATE item AS i SET retry = 1, departed = NULL WHERE i.launcher = ?1 AND i.stage <> 'recorded' AND {choice}
             AND (i.departed IS NULL OR NOT EXISTS
               (SELECT 1 FROM item o WHERE o.launcher = i.launcher AND o.key = i.key AND o.departed IS NULL))"
        );
        let launcher = self.launcher;
        self.write(|transaction| transaction.execute(&sql, params![launcher, short]))
    }

    /// The items that are to be taken again, oldest first.
    pub fn again(&self) -> Result<Vec<Again>, Fault> {
        let sql = "SELECT key, retry, short, size, folder, received,
                     (SELECT original_name FROM part WHERE item = item.id AND n > 0 ORDER BY n LIMIT 1),
                     json_extract(envelope, '$.name')
                   FROM item WHERE launcher = ?1 AND (retry OR stage = 'failed') AND departed IS NULL ORDER BY id";
        let mut statement = self.connection.prepare_cached(sql).map_err(failed)?;
        let rows = statement.query_map([self.launcher], |row| {
            Ok(Again {
                key: ItemKey::new(row.get::<_, String>(0)?),
                asked: row.get(1)?,
                short: row.get(2)?,
                size: row.get(3)?,
                folder: row.get(4)?,
                received: row.get::<_, Option<i64>>(5)?.map(time),
                name: row.get(6)?,
                deposit: row.get(7)?,
            })
        });
        rows.map_err(failed)?.collect::<Result<_, _>>().map_err(failed)
    }

    /// An item that was to be taken again is no longer at its source, and no copy was kept.
    pub fn gone(&mut self, key: &ItemKey) -> Result<(), Fault> {
        let sql = "UPDATE item SET retry = 0, departed = ?3 WHERE launcher = ?1 AND key = ?2 AND departed IS NULL";
        self.connection.execute(sql, params![self.launcher, key.as_str(), now()]).map(drop).map_err(failed)
    }

    /// Forgets the item with this `{key}`.
    pub fn forget(&mut self, short: &str) -> Result<Forgotten, Fault> {
        let launcher = self.launcher;
        self.write(|transaction| {
            let select = "SELECT stage = 'recorded' FROM item WHERE launcher = ?1 AND short = ?2";
            let found = transaction.query_row(select, params![launcher, short], |row| row.get::<_, bool>(0));
            Ok(match found.optional()? {
                None => Forgotten::Unknown,
                Some(true) => Forgotten::UnderWay,
                Some(false) => {
                    let delete = "DELETE FROM item WHERE launcher = ?1 AND short = ?2";
                    transaction.execute(delete, params![launcher, short])?;
                    Forgotten::Done
                }
            })
        })
    }

    /// Whether this launcher has no item.
    pub fn is_empty(&self) -> Result<bool, Fault> {
        let sql = "SELECT NOT EXISTS (SELECT 1 FROM item WHERE launcher = ?1)";
        self.connection.query_row(sql, [self.launcher], |row| row.get(0)).map_err(failed)
    }

    /// Everything that is known of this launcher is `new`'s from now on, which must have no item of its own.
    pub fn give_to(mut self, new: &ServiceName) -> Result<(), Fault> {
        let launcher = self.launcher;
        self.write(|transaction| {
            transaction.execute("DELETE FROM launcher WHERE name = ?1", [new.as_str()])?;
            transaction.execute("UPDATE launcher SET name = ?2 WHERE id = ?1", params![launcher, new.as_str()])
        })
        .map(drop)
    }
}
