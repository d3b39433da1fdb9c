//! An entry as it was recorded, read back: for an index that must be made again.
//!
//! Not a second way to record: what is read here is never written.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{OptionalExtension, Row};

use super::{Contents, Decision, Entry, Facts, Ledger, Part, Stage, failed};
use crate::model::{Digest, Fault, ItemKey, Role};
use crate::text::Text;

impl Ledger {
    /// A recorded item with all its parts, and when it was recorded.
    pub fn entry(&self, item: i64) -> Result<Option<(Entry, SystemTime)>, Fault> {
        let sql = "SELECT key, short, reason, message_id, size, header_digest, digest, folder, sender, recipients,
                   subject, date, received, recorded, envelope FROM item WHERE id = ?1 AND stage = 'recorded'";
        let mut statement = self.connection.prepare_cached(sql).map_err(failed)?;
        let read = |row: &Row<'_>| Ok((entry(row)?, time(row.get(13)?)));
        let Some((mut entry, recorded)) = statement.query_row([item], read).optional().map_err(failed)? else {
            return Ok(None);
        };
        let sql = "SELECT n, role, original_name, media_type, decision, filter, staged, final, directory, size, sha256
                   FROM part WHERE item = ?1 ORDER BY n";
        let mut statement = self.connection.prepare_cached(sql).map_err(failed)?;
        let parts = statement.query_map([item], part).map_err(failed)?;
        entry.parts = parts.collect::<Result<_, _>>().map_err(failed)?;
        Ok(Some((entry, recorded)))
    }

    /// A staged file was made again: its size and digest.
    pub fn restage(&mut self, item: i64, n: u32, size: u64, sha256: Digest) -> Result<(), Fault> {
        let sql = "UPDATE part SET size = ?3, sha256 = ?4 WHERE item = ?1 AND n = ?2";
        let sha256 = sha256.0.to_vec();
        self.connection.execute(sql, rusqlite::params![item, n, size, sha256]).map_err(failed)?;
        Ok(())
    }
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let reason: Option<String> = row.get(2)?;
    let facts = Facts {
        message_id: row.get(3)?,
        size: row.get(4)?,
        header_digest: digest(row.get(5)?),
        digest: digest(row.get(6)?),
        folder: row.get(7)?,
        from: row.get(8)?,
        to: row.get(9)?,
        subject: row.get(10)?,
        date: row.get::<_, Option<i64>>(11)?.map(time),
        received: row.get::<_, Option<i64>>(12)?.map(time),
    };
    Ok(Entry {
        key: ItemKey::new(row.get::<_, String>(0)?),
        short: row.get(1)?,
        stage: Stage::Recorded,
        reason: reason.map(Text::same),
        facts,
        parts: Vec::new(),
        contents: row.get::<_, Option<String>>(14)?.as_deref().and_then(Contents::from_json),
        settled: false,
    })
}

fn part(row: &Row<'_>) -> rusqlite::Result<Part> {
    let decision = match row.get::<_, String>(4)?.as_str() {
        "taken" => Decision::Taken {
            staged: row.get(6)?,
            name: row.get(7)?,
            directory: PathBuf::from(row.get::<_, String>(8)?),
            size: row.get(9)?,
            sha256: digest(row.get(10)?).unwrap_or_else(|| Digest::of(&[])),
        },
        "filtered" => Decision::Filtered(row.get::<_, Option<String>>(5)?.unwrap_or_default()),
        "inline" => Decision::Inline,
        _ => Decision::Quarantined,
    };
    Ok(Part {
        n: row.get(0)?,
        role: Role::parse(&row.get::<_, String>(1)?),
        original_name: row.get(2)?,
        media_type: row.get(3)?,
        decision,
    })
}

fn digest(bytes: Option<Vec<u8>>) -> Option<Digest> {
    bytes.and_then(|bytes| bytes.try_into().ok()).map(Digest)
}

/// Milliseconds since 1970; before it too.
fn time(millis: i64) -> SystemTime {
    let distance = Duration::from_millis(millis.unsigned_abs());
    let moved = if millis < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) };
    moved.unwrap_or(UNIX_EPOCH)
}
