//! The file: its settings, its tables, and what is checked before it is used.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::error::StoreError;

/// `mhld`: tells a ledger from other SQLite files (`file` shows it).
const APPLICATION_ID: i32 = 0x6d68_6c64;
/// The newest format that this program writes and reads; kept in `PRAGMA user_version`.
const VERSION: i32 = 4;
/// A larger file is not checked whole when it is opened: that would take minutes.
const QUICK_CHECK_BYTES_MAX: u64 = 1 << 30;
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
const STATEMENTS_MAX: usize = 64;

const TABLES: &str = "
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID, STRICT;
CREATE TABLE account (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    source TEXT NOT NULL,
    target TEXT NOT NULL,
    state INTEGER NOT NULL,
    reason TEXT,
    epoch INTEGER NOT NULL,
    passes INTEGER NOT NULL,
    changed INTEGER NOT NULL
) STRICT;
CREATE INDEX account_by_target ON account (target);
CREATE TABLE mailbox (
    id INTEGER PRIMARY KEY,
    account INTEGER NOT NULL REFERENCES account (id),
    source_name BLOB NOT NULL,
    source_path TEXT NOT NULL,
    source_validity INTEGER NOT NULL,
    target_name BLOB NOT NULL,
    target_path TEXT NOT NULL,
    target_validity INTEGER,
    fixed INTEGER NOT NULL DEFAULT 0,
    fault TEXT,
    scan_messages INTEGER NOT NULL DEFAULT 0,
    scan_bytes INTEGER NOT NULL DEFAULT 0,
    scan_vanished INTEGER NOT NULL DEFAULT 0,
    scan_uid_next INTEGER NOT NULL DEFAULT 0,
    target_uid_next INTEGER NOT NULL DEFAULT 1,
    UNIQUE (account, source_name, source_validity)
) STRICT;
CREATE INDEX mailbox_by_target ON mailbox (account, target_name);
CREATE TABLE window (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    mailbox INTEGER NOT NULL REFERENCES mailbox (id),
    epoch INTEGER NOT NULL,
    lo INTEGER NOT NULL,
    messages BLOB NOT NULL,
    stage INTEGER,
    acknowledged INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE message (
    mailbox INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    fate INTEGER NOT NULL,
    target_uid INTEGER,
    size INTEGER NOT NULL,
    date INTEGER,
    flags INTEGER NOT NULL,
    digest BLOB,
    PRIMARY KEY (mailbox, uid)
) WITHOUT ROWID, STRICT;
CREATE TABLE watermark (
    mailbox INTEGER PRIMARY KEY REFERENCES mailbox (id),
    uid_next INTEGER NOT NULL,
    modseq INTEGER,
    listed INTEGER NOT NULL,
    messages INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    vanished INTEGER NOT NULL,
    filter BLOB
) STRICT;
CREATE TABLE keyword (
    mailbox INTEGER NOT NULL,
    bit INTEGER NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (mailbox, bit)
) WITHOUT ROWID, STRICT;
CREATE TABLE spill (
    mailbox INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    keywords TEXT NOT NULL,
    PRIMARY KEY (mailbox, uid)
) WITHOUT ROWID, STRICT;
CREATE TABLE flags_in_doubt (
    mailbox INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    names TEXT NOT NULL,
    PRIMARY KEY (mailbox, uid)
) WITHOUT ROWID, STRICT;
CREATE TABLE note (
    mailbox INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    text TEXT NOT NULL,
    subject TEXT,
    PRIMARY KEY (mailbox, uid, kind)
) WITHOUT ROWID, STRICT;
CREATE TABLE doubt (
    mailbox INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    lo INTEGER NOT NULL,
    lost INTEGER NOT NULL,
    PRIMARY KEY (mailbox, uid)
) WITHOUT ROWID, STRICT;
INSERT INTO meta VALUES ('generation', lower(hex(randomblob(16))));
";

/// What format 4 added to an earlier one, in whose watermarks nothing was left out.
const WATERMARK_FILTER: &str = "ALTER TABLE watermark ADD COLUMN filter BLOB;";

/// Stands for the table where it is only looked at.
const WATERMARK_VIEW: &str =
    "CREATE TEMP VIEW watermark AS SELECT *, NULL AS filter FROM main.watermark";

/// Opens a ledger for writing, or makes one. Whether it may be written is found by
/// [`take`], which comes after.
pub(super) fn open(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    // Only effective before the first table is made, and before WAL.
    connection.pragma_update(None, "page_size", 8192)?;
    prepare(&connection)?;
    quick_check(&connection, path)?;
    Ok(connection)
}

/// Opens a ledger beside its writer.
pub(super) fn open_read_only(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    settings(&connection)?;
    match version(&connection)? {
        None => {
            let text = "it is empty: no run has begun with it yet";
            return Err(StoreError::Format(text.to_owned()));
        }
        Some(..4) => connection.execute_batch(WATERMARK_VIEW)?,
        Some(_) => {}
    }
    Ok(connection)
}

/// Makes a ledger that is gone when it is closed.
pub(super) fn in_memory() -> Result<Connection, StoreError> {
    let connection = Connection::open_in_memory()?;
    prepare(&connection)?;
    Ok(connection)
}

/// Makes this the one writer, durably: every writer before it finds so when it next writes. Gives
/// the number by which this one knows itself.
pub(super) fn take(connection: &Connection) -> Result<i64, StoreError> {
    let sql = "INSERT INTO meta VALUES ('writer', '1')
        ON CONFLICT (key) DO UPDATE SET value = value + 1 RETURNING CAST(value AS INTEGER)";
    Ok(connection.query_row(sql, [], |row| row.get(0))?)
}

fn settings(connection: &Connection) -> Result<(), StoreError> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    Ok(())
}

/// Sets the file up for writing; the version is looked at before anything is changed.
fn prepare(connection: &Connection) -> Result<(), StoreError> {
    settings(connection)?;
    let version = version(connection)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    let tables = match version {
        None => format!("{TABLES} {} {}", super::stage::TABLES, super::moving::TABLE),
        Some(1) => format!("{} {WATERMARK_FILTER}", super::moving::TABLE),
        Some(2 | 3) => WATERMARK_FILTER.to_owned(),
        Some(_) => return Ok(()),
    };
    connection.execute_batch(&format!(
        "BEGIN EXCLUSIVE; {tables}
         PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION}; COMMIT"
    ))?;
    Ok(())
}

/// The version of a ledger that can be used; none for an empty file.
fn version(connection: &Connection) -> Result<Option<i32>, StoreError> {
    let number = |pragma: &str| connection.pragma_query_value(None, pragma, |row| row.get(0));
    let (id, version): (i32, i32) = (number("application_id")?, number("user_version")?);
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let refused = match (id, version) {
        (0, 0) if tables == 0 => return Ok(None),
        // Whoever writes one of an older format brings it up to this one first.
        (APPLICATION_ID, 1..=VERSION) => return Ok(Some(version)),
        (APPLICATION_ID, _) if version > VERSION => format!(
            "a newer mailhaul wrote it (format {version}, this one knows {VERSION}): use that one"
        ),
        (APPLICATION_ID, _) => {
            format!("it has the old format {version}, which this mailhaul cannot read any more")
        }
        _ => "it is some other program's SQLite file: give another place for it".to_owned(),
    };
    Err(StoreError::Format(refused))
}

fn quick_check(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    if std::fs::metadata(path).is_ok_and(|file| file.len() > QUICK_CHECK_BYTES_MAX) {
        return Ok(());
    }
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict == "ok" { Ok(()) } else { Err(StoreError::Damaged(verdict)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_synced_and_the_file_says_what_it_is() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("ledger.db");
        for connection in [open(&path), open(&path)] {
            let connection = connection.expect("free");
            for (pragma, value) in [
                ("synchronous", 2),
                ("page_size", 8_192),
                ("application_id", i64::from(APPLICATION_ID)),
                ("user_version", i64::from(VERSION)),
            ] {
                let read = connection.pragma_query_value(None, pragma, |row| row.get(0));
                assert_eq!(read, Ok(value), "{pragma}");
            }
            let mode = connection.pragma_query_value(None, "journal_mode", |row| row.get(0));
            assert_eq!(mode, Ok("wal".to_owned()));
        }
    }

    #[test]
    fn a_ledger_keeps_its_generation() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("ledger.db");
        let generation = |path| -> String {
            let connection = open(path).expect("free");
            let sql = "SELECT value FROM meta WHERE key = 'generation'";
            connection.query_row(sql, [], |row| row.get(0)).expect("there")
        };
        let first = generation(&path);
        assert_eq!((first.len(), generation(&path)), (32, first.clone()));
        assert_ne!(generation(&directory.path().join("other.db")), first);
    }
}
