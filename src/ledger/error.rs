//! Why the ledger cannot be used, and what the operator does about it.

use std::io;
use std::path::PathBuf;

use rusqlite::ErrorCode;
use thiserror::Error;

use super::tables::VERSION;
use crate::system::trusted_file::FileError;

/// Why the ledger cannot be used.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "its text says what a variant is")]
pub enum LedgerError {
    #[error("ledger {}: the disk is full", .0.display())]
    DiskFull(PathBuf),
    /// A file that appears only when it is whole has no name before (`O_TMPFILE`).
    #[error(
        "{path}: this file system cannot hold a file without a name; \
         back up to a local disk, and copy the file from there",
        path = .0.display()
    )]
    NamedFilesAlone(PathBuf),
    /// Other processes wrote for longer than a statement waits.
    #[error("ledger {}: other processes write into it without end", .0.display())]
    Busy(PathBuf),
    #[error(
        "ledger {path}: {error}; if it is missing or damaged, restore it from a backup and run 'espm check'",
        path = .0.display(), error = .1
    )]
    Database(PathBuf, rusqlite::Error),
    #[error(
        "ledger {path}: a newer espm has written it (version {version}, this one knows {VERSION}); \
         install that one again, or restore a backup from before and run 'espm check'",
        path = .path.display()
    )]
    Newer { path: PathBuf, version: i64 },
    #[error(
        "ledger {path}: is not espm's (version {version}); restore it from a backup and run 'espm check'",
        path = .path.display()
    )]
    NotOurs { path: PathBuf, version: i64 },
    #[error(
        "ledger {path}: is damaged ({wrong}); restore it from a backup and run 'espm check'",
        path = .0.display(), wrong = .1
    )]
    Damaged(PathBuf, String),
    #[error("ledger: the row of {0:?} cannot be read; restore it from a backup and run 'espm check'")]
    Row(String),
    /// A lock or an output file.
    #[error(transparent)]
    File(#[from] FileError),
    #[error("the kernel gives no random bytes: {0}")]
    Random(io::Error),
    /// The client has all the nodes that it may have.
    #[error("the client has {has} nodes of {most}")]
    Quota { has: usize, most: usize },
    #[error("the Idempotency-Key is in use")]
    KeyTaken,
}

impl LedgerError {
    /// An error of the database, told apart as far as the operator or the client does something else about it.
    pub(super) fn database(path: PathBuf, error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::DiskFull(path),
            Some(ErrorCode::DatabaseBusy) => Self::Busy(path),
            _ => Self::Database(path, error),
        }
    }
}
