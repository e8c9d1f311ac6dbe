//! What was asked for, in SQLite. Readers need no lock; whoever writes holds the root's lock.

mod endpoints;
mod networks;
mod schema;
mod settings;

use std::{
    collections::BTreeSet,
    fs::OpenOptions,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

pub use endpoints::Glance;
use ipvlan_common::types::Key;
use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension as _, Row, RowIndex,
    backup::Backup,
    types::{FromSqlError, ValueRef},
};

use crate::model::Slot;

/// The store can't be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file can't be opened.
    #[error("can't open the store {path}: {source}")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file isn't a store any more.
    #[error("the store {path} is damaged: {why}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite says of it.
        why: String,
    },
    /// SQLite says no.
    #[error("the store failed: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// Written by a newer version of this program.
    #[error("the store has version {found}, newer than {known}, the newest that this program knows")]
    Newer {
        /// The file's version.
        found: u32,
        /// The newest that this program knows.
        known: u32,
    },
}

/// How long a command waits for another one's write.
const PATIENCE: Duration = Duration::from_secs(10);

/// The open store.
#[derive(Debug)]
pub struct Store {
    db: Connection,
}

impl Store {
    /// Opens the store at `path`, creates it where it doesn't exist, and brings it up to this version.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        // SQLite would create it with the umask's mode.
        OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(path)
            .map_err(|source| StoreError::Open { path: path.to_owned(), source })?;
        let db = Connection::open(path)?;
        check(&db, path)?;
        Self::prepare(db)
    }

    /// Opens the store at `path` if there is one, to look at it.
    pub fn open_existing(path: &Path) -> Result<Option<Self>, StoreError> {
        match path.try_exists() {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(source) => return Err(StoreError::Open { path: path.to_owned(), source }),
        }
        // Not read-only: SQLite itself must be able to take back what a killed writer has left half done.
        let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        check(&db, path)?;
        if version(&db)? == schema::VERSION {
            return Ok(Some(Self { db }));
        }
        // Of an older version, or of none yet: a copy is brought up to date, and the file stays as it is.
        let mut copy = Connection::open_in_memory()?;
        Backup::new(&db, &mut copy)?.run_to_completion(100, Duration::ZERO, None)?;
        Self::prepare(copy).map(Some)
    }

    fn prepare(mut db: Connection) -> Result<Self, StoreError> {
        db.busy_timeout(PATIENCE)?;
        db.pragma_update(None, "foreign_keys", true)?;
        // Immediate, so that of two programs that open a new store at once one waits for the other.
        let migration = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let found = version(&migration)?;
        let Some(missing) = schema::MIGRATIONS.get(found as usize..) else {
            return Err(StoreError::Newer { found, known: schema::VERSION });
        };
        if !missing.is_empty() {
            for step in missing {
                migration.execute_batch(step)?;
            }
            migration.pragma_update(None, "user_version", schema::VERSION)?;
        }
        migration.commit()?;
        Ok(Self { db })
    }

    /// A slot that nobody has, after the last one given out, so that a late frame of a removed endpoint isn't taken for
    /// a new one's; `None` where all of them are taken.
    pub fn free_slot(&self, capacity: Slot) -> Result<Option<Slot>, StoreError> {
        let taken: BTreeSet<Slot> = self
            .db
            .prepare("SELECT slot FROM parent UNION SELECT slot FROM endpoint")?
            .query_map([], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        let last: Slot = self
            .db
            .query_row("SELECT value FROM cursor WHERE name = 'slot'", [], |row| row.get(0))
            .optional()?
            .unwrap_or(0);
        let mut slots = (last.saturating_add(1)..=capacity).chain(1..=last.min(capacity));
        Ok(slots.find(|slot| !taken.contains(slot)))
    }
}

/// Reads the whole file once, which is small, before anything is written to it or taken from it.
fn check(db: &Connection, path: &Path) -> Result<(), StoreError> {
    db.busy_timeout(PATIENCE)?;
    let damaged = |why| Err(StoreError::Damaged { path: path.to_owned(), why });
    let answer = db.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
    match answer {
        Ok(answer) if answer == "ok" => Ok(()),
        Ok(answer) => damaged(answer),
        Err(error) => match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => damaged(error.to_string()),
            _ => Err(error.into()),
        },
    }
}

fn version(db: &Connection) -> rusqlite::Result<u32> {
    db.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn note_slot(db: &Connection, slot: Slot) -> rusqlite::Result<()> {
    db.execute("INSERT OR REPLACE INTO cursor (name, value) VALUES ('slot', ?1)", [slot])?;
    Ok(())
}

const fn key_bytes([a, b]: Key) -> [u8; 16] {
    (((a as u128) << 64) | b as u128).to_be_bytes()
}

fn key(row: &Row<'_>, column: impl RowIndex) -> rusqlite::Result<Key> {
    let both = u128::from_be_bytes(row.get(column)?);
    Ok([(both >> 64) as u64, both as u64])
}

/// Reads a column as a type of the model. A value that the model refuses was not written by this program.
fn parsed<T>(
    row: &Row<'_>,
    column: impl RowIndex,
    parse: impl FnOnce(&str) -> Option<T>,
) -> rusqlite::Result<T> {
    let index = column.idx(row.as_ref())?;
    let text = row.get_ref(index)?.as_str()?;
    parse(text).ok_or_else(|| {
        let column = row.as_ref().column_name(index).unwrap_or_default();
        let error = FromSqlError::Other(format!("'{text}' in column {column}").into());
        rusqlite::Error::FromSqlConversionFailure(index, rusqlite::types::Type::Text, Box::new(error))
    })
}

/// As [`parsed`], where there may be nothing.
fn optional<T>(
    row: &Row<'_>,
    column: impl RowIndex,
    parse: impl FnOnce(&str) -> Option<T>,
) -> rusqlite::Result<Option<T>> {
    let index = column.idx(row.as_ref())?;
    if row.get_ref(index)? == ValueRef::Null {
        return Ok(None);
    }
    parsed(row, index, parse).map(Some)
}

#[cfg(test)]
pub(crate) mod tests;
