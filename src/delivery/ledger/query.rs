//! What people ask of the ledger: lists and single items, read only.
//!
//! Not used by any cycle. Reading works beside a running service and never makes a file.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};

use super::{BUSY, Contents, SCHEMA, failed, prepare, too_new, unusable};
use crate::model::{Digest, Fault, ItemKey};
use crate::text::Text;

/// One line of `ledger list`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The launcher.
    pub launcher: String,
    /// `{key}`.
    pub key: String,
    /// The word of [`super::Stage`].
    pub stage: String,
    /// Published before an interruption; nobody saw it succeed.
    pub unconfirmed: bool,
    /// Milliseconds since 1970: when it was recorded.
    pub recorded: i64,
    /// Its subject, or the name of its first document.
    pub title: Option<String>,
    /// Its subject alone.
    pub subject: Option<String>,
    /// How many documents were delivered.
    pub files: u32,
    /// The server's key.
    pub source_key: ItemKey,
    /// Bytes as received.
    pub size: Option<u64>,
    /// Why it failed, was rejected or is in quarantine.
    pub reason: Option<Text>,
    /// The next cycle takes it again.
    pub retry: bool,
    /// None of its parts is in quarantine.
    pub whole: bool,
    /// It has left its source.
    pub departed: bool,
}

/// Which items are listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Selection<'a> {
    /// One launcher only.
    pub launcher: Option<&'a str>,
    /// Only what is in quarantine, whole or in part.
    pub quarantined: bool,
}

/// One item with all that is known of it: `ledger show`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sheet {
    /// What the list shows.
    pub line: Line,
    /// `Message-ID`.
    pub message_id: Option<String>,
    /// `From`.
    pub from: Option<String>,
    /// `To`.
    pub to: Option<String>,
    /// Mailbox folder or directory.
    pub folder: Option<String>,
    /// Milliseconds since 1970.
    pub date: Option<i64>,
    /// Milliseconds since 1970.
    pub received: Option<i64>,
    /// Milliseconds since 1970.
    pub confirmed: Option<i64>,
    /// Milliseconds since 1970: when `after` was carried out, or there was nothing to do.
    pub acknowledged: Option<i64>,
    /// Cycles in a row in which it failed by itself.
    pub failures: u32,
    /// Its documents.
    pub parts: Vec<SheetPart>,
    /// What an envelope said of itself; its metadata only until it was confirmed.
    pub contents: Option<Contents>,
}

/// A document of a [`Sheet`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SheetPart {
    /// `{n}`.
    pub n: u32,
    /// Its role.
    pub role: String,
    /// Its own name.
    pub original_name: Option<String>,
    /// Its media type.
    pub media_type: Option<String>,
    /// `taken`, `filtered`, `inline`, `quarantined`.
    pub decision: String,
    /// The pattern that left it out.
    pub filter: Option<String>,
    /// Its name in the delivery directory.
    pub name: Option<String>,
    /// Bytes.
    pub size: Option<u64>,
    /// SHA-256 of its bytes.
    pub sha256: Option<Digest>,
}

/// The selected items, oldest first, given one by one to `each`.
pub fn list(path: &Path, which: Selection<'_>, mut each: impl FnMut(Line)) -> Result<(), Fault> {
    let connection = open_current(path)?;
    let sql = format!(
        "SELECT {LINE} FROM item i JOIN launcher l ON l.id = i.launcher WHERE (?1 IS NULL OR l.name = ?1)
         AND (NOT ?2 OR i.stage = 'quarantined' OR NOT i.whole) ORDER BY i.id"
    );
    let mut statement = connection.prepare(&sql).map_err(failed)?;
    for line in statement.query_map(params![which.launcher, which.quarantined], line).map_err(failed)? {
        each(line.map_err(failed)?);
    }
    Ok(())
}

/// The launchers that the ledger knows, with whether they have any item; none where there is no ledger yet.
pub fn names(path: &Path) -> Result<Vec<(String, bool)>, Fault> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let connection = open_read_only(path)?;
    let sql = "SELECT name, EXISTS (SELECT 1 FROM item WHERE launcher = launcher.id) FROM launcher ORDER BY id";
    let mut statement = connection.prepare(sql).map_err(failed)?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).map_err(failed)?;
    rows.collect::<Result<_, _>>().map_err(failed)
}

/// The `{key}`s that `key` may mean: the one it is, or that of the item which has it at its source; else those that begin
/// with it.
pub fn resolve(path: &Path, launcher: &str, key: &str) -> Result<Vec<String>, Fault> {
    let connection = open_current(path)?;
    let find = |condition: &str, most: u32| -> Result<Vec<String>, Fault> {
        let sql = format!(
            "SELECT i.short FROM item i JOIN launcher l ON l.id = i.launcher WHERE l.name = ?1 AND {condition}
             ORDER BY i.departed IS NULL DESC, i.id DESC LIMIT {most}"
        );
        let mut statement = connection.prepare(&sql).map_err(failed)?;
        let rows = statement.query_map([launcher, key], |row| row.get(0)).map_err(failed)?;
        rows.collect::<Result<_, _>>().map_err(failed)
    };
    for exact in ["i.short = ?2", "i.key = ?2"] {
        let found = find(exact, 1)?;
        if !found.is_empty() {
            return Ok(found);
        }
    }
    find("?2 <> '' AND substr(i.short, 1, length(?2)) = ?2", CANDIDATES)
}

/// One item by its `{key}`.
pub fn show(path: &Path, launcher: &str, key: &str) -> Result<Option<Sheet>, Fault> {
    let connection = open_current(path)?;
    let sql = format!(
        "SELECT {LINE}, i.message_id, i.sender, replace(i.recipients, char(10), ', '), i.folder, i.date, i.received,
         i.confirmed, i.acknowledged, i.failures, i.envelope, i.id FROM item i JOIN launcher l ON l.id = i.launcher
         WHERE l.name = ?1 AND i.short = ?2"
    );
    let found = connection.query_row(&sql, params![launcher, key], |row| Ok((sheet(row)?, row.get::<_, i64>(25)?)));
    let Some((mut sheet, id)) = found.optional().map_err(failed)? else { return Ok(None) };
    let sql = "SELECT n, role, original_name, media_type, decision, filter, final, size, sha256 FROM part
               WHERE item = ?1 AND role NOT IN ('index', 'folder') ORDER BY n";
    let mut statement = connection.prepare(sql).map_err(failed)?;
    let parts = statement.query_map([id], sheet_part).map_err(failed)?;
    sheet.parts = parts.collect::<Result<_, _>>().map_err(failed)?;
    Ok(Some(sheet))
}

/// Opens the ledger for reading; one that an older program left is brought up to date first.
fn open_current(path: &Path) -> Result<Connection, Fault> {
    let connection = open_read_only(path)?;
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed)?;
    if version == SCHEMA {
        return Ok(connection);
    }
    drop(connection);
    let mut writable = Connection::open(path).map_err(|error| unusable(path, &error))?;
    prepare(&mut writable, path)?;
    drop(writable);
    open_read_only(path)
}

/// Opens the ledger without making or changing anything. Where nobody else has it open, reading it makes a `-wal` and a
/// `-shm` beside it, which only a connection that may write removes again.
pub(super) fn open_read_only(path: &Path) -> Result<Connection, Fault> {
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    let in_use = Path::new(&wal).exists();
    let access = if in_use { OpenFlags::SQLITE_OPEN_READ_ONLY } else { OpenFlags::SQLITE_OPEN_READ_WRITE };
    let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(|error| unusable(path, &error))?;
    connection.busy_timeout(BUSY).map_err(failed)?;
    connection.pragma_update(None, "query_only", true).map_err(failed)?;
    let version: i64 =
        connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(|e| unusable(path, &e))?;
    if version > SCHEMA { Err(too_new(path, version)) } else { Ok(connection) }
}

fn line(row: &Row<'_>) -> rusqlite::Result<Line> {
    Ok(Line {
        launcher: row.get(0)?,
        key: row.get(1)?,
        stage: row.get(2)?,
        unconfirmed: row.get(3)?,
        recorded: row.get(4)?,
        title: row.get(5)?,
        files: row.get(6)?,
        source_key: ItemKey::new(row.get::<_, String>(7)?),
        size: row.get(8)?,
        reason: reason(row.get(9)?, row.get(10)?),
        retry: row.get(11)?,
        whole: row.get(12)?,
        departed: row.get(13)?,
        subject: row.get(14)?,
    })
}

/// Rows of the first version of the file know the English words only.
fn reason(en: Option<String>, fr: Option<String>) -> Option<Text> {
    en.map(|en| Text { fr: fr.unwrap_or_else(|| en.clone()).into(), en: en.into() })
}

fn sheet(row: &Row<'_>) -> rusqlite::Result<Sheet> {
    Ok(Sheet {
        line: line(row)?,
        message_id: row.get(15)?,
        from: row.get(16)?,
        to: row.get(17)?,
        folder: row.get(18)?,
        date: row.get(19)?,
        received: row.get(20)?,
        confirmed: row.get(21)?,
        acknowledged: row.get(22)?,
        failures: row.get(23)?,
        contents: row.get::<_, Option<String>>(24)?.as_deref().and_then(Contents::from_json),
        parts: Vec::new(),
    })
}

fn sheet_part(row: &Row<'_>) -> rusqlite::Result<SheetPart> {
    let sha256: Option<Vec<u8>> = row.get(8)?;
    Ok(SheetPart {
        n: row.get(0)?,
        role: row.get(1)?,
        original_name: row.get(2)?,
        media_type: row.get(3)?,
        decision: row.get(4)?,
        filter: row.get(5)?,
        name: row.get(6)?,
        size: row.get(7)?,
        sha256: sha256.and_then(|bytes| bytes.try_into().ok()).map(Digest),
    })
}

const LINE: &str = "l.name, i.short, i.stage, i.unconfirmed, i.recorded,
    coalesce(i.subject, (SELECT original_name FROM part WHERE item = i.id AND n > 0 ORDER BY n LIMIT 1)),
    (SELECT count(*) FROM part WHERE item = i.id AND decision = 'taken' AND role NOT IN ('index', 'folder')),
    i.key, i.size, i.reason, i.reason_fr, i.retry, i.whole, i.departed IS NOT NULL, i.subject";

/// Keys that are named when a beginning fits several.
const CANDIDATES: u32 = 10;
