//! The tables, and the database that set-up makes of them.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::LedgerError;
use crate::state;
use crate::trusted_file;

/// The version of the tables below, in the database's `user_version`.
pub(super) const VERSION: i64 = 1;

/// Marks the database as ours (SQLite's `application_id`): "espm".
pub(super) const APPLICATION: i64 = 0x6573_706d;

const TABLES: &str = "
CREATE TABLE node (
    name        TEXT PRIMARY KEY,
    state       TEXT NOT NULL CHECK (state IN ('creating', 'active', 'changing', 'deleting', 'unproven')),
    assignment  TEXT NOT NULL,              -- JSON, as the console last confirmed it
    wanted      TEXT,                       -- JSON, what an unfinished intent assigns
    proof       TEXT,                       -- file with the output of an unfinished intent's command
    request     TEXT NOT NULL,              -- the request that last wrote this row
    since       INTEGER NOT NULL            -- when, in seconds since 1970
) STRICT, WITHOUT ROWID;
CREATE TABLE certificate (
    name        TEXT PRIMARY KEY REFERENCES node ON DELETE CASCADE,
    state       TEXT NOT NULL CHECK (state IN ('generating', 'issued', 'revoking', 'revoked')),
    serial      TEXT,                       -- hexadecimal, as openssl prints it
    fingerprint TEXT                        -- SHA-256, as openssl prints it
) STRICT, WITHOUT ROWID;
CREATE TABLE answer (                       -- answers kept for Idempotency-Key
    client      TEXT NOT NULL,
    key         TEXT NOT NULL,
    digest      TEXT NOT NULL,              -- of the body
    name        TEXT NOT NULL REFERENCES node ON DELETE CASCADE,
    answer      TEXT,                       -- JSON; NULL while the first request runs
    since       INTEGER NOT NULL,
    PRIMARY KEY (client, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX answer_by_name ON answer (name);
CREATE INDEX answer_by_age ON answer (since);
CREATE INDEX unfinished ON node (state) WHERE state <> 'active';
";

/// Makes an empty ledger.
///
/// # Errors
/// When any part of it exists, or cannot be made.
pub fn create(directory: &Path) -> Result<(), LedgerError> {
    let path = state::database(directory);
    drop(trusted_file::create(&path, 0o600)?);
    for name in state::DIRECTORIES {
        trusted_file::create_directory(&directory.join(name), 0o700)?;
    }
    let error = |error| LedgerError::Database(path.clone(), error);
    let database = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(error)?;
    let tables = format!("{TABLES} PRAGMA user_version = {VERSION}; PRAGMA application_id = {APPLICATION};");
    database.execute_batch(&tables).map_err(error)
}
