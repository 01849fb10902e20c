//! Why the ledger cannot be used, and what the operator does about it.

use std::fmt;
use std::io;
use std::path::PathBuf;

use rusqlite::ErrorCode;

use super::tables::VERSION;
use crate::system::trusted_file::FileError;

/// Why the ledger cannot be used.
#[derive(Debug)]
pub enum LedgerError {
    /// The database is missing or cannot be read or written.
    Database(PathBuf, rusqlite::Error),
    /// A newer espm has written it, or it is not ours.
    Version {
        /// The database.
        path: PathBuf,
        /// Its tables' version.
        version: i64,
        /// Whether it is an espm's.
        ours: bool,
    },
    /// It is damaged: the first thing that is wrong.
    Damaged(PathBuf, String),
    /// A row cannot be read.
    Row(String),
    /// A lock or proof file cannot be used.
    File(FileError),
    /// The system's random source failed.
    Random(io::Error),
    /// The `Idempotency-Key` is in use by another request.
    KeyTaken,
}

impl LedgerError {
    /// Whether the disk is full, so that the operator reads just that.
    fn disk_is_full(&self) -> bool {
        matches!(self, Self::Database(_, rusqlite::Error::SqliteFailure(error, _)) if error.code == ErrorCode::DiskFull)
    }
}

impl LedgerError {
    /// Whether other processes wrote into it for so long that this one did not come to it.
    pub fn is_busy(&self) -> bool {
        matches!(self, Self::Database(_, rusqlite::Error::SqliteFailure(error, _)) if error.code == ErrorCode::DatabaseBusy)
    }
}

impl fmt::Display for LedgerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database(path, _) if self.disk_is_full() => write!(f, "ledger {}: the disk is full", path.display()),
            Self::Database(path, _) if self.is_busy() => {
                write!(f, "ledger {}: other processes write into it without end", path.display())
            }
            Self::Database(path, error) => write!(
                f,
                "ledger {}: {error}; if it is missing or damaged, restore it from a backup and run 'espm check'",
                path.display()
            ),
            Self::Version { path, version, ours: true } if *version > VERSION => write!(
                f,
                "ledger {}: a newer espm has written it (version {version}, this one knows {VERSION}); \
                 install that one again, or restore a backup from before and run 'espm check'",
                path.display()
            ),
            Self::Version { path, version, .. } => write!(
                f,
                "ledger {}: is not espm's (version {version}); restore it from a backup and run 'espm check'",
                path.display()
            ),
            Self::Damaged(path, what) => write!(
                f,
                "ledger {}: is damaged ({what}); restore it from a backup and run 'espm check'",
                path.display()
            ),
            Self::Row(name) => {
                write!(f, "ledger: the row of {name:?} cannot be read; restore it from a backup and run 'espm check'")
            }
            Self::File(error) => error.fmt(f),
            Self::Random(error) => error.fmt(f),
            Self::KeyTaken => f.write_str("the Idempotency-Key is in use"),
        }
    }
}

impl std::error::Error for LedgerError {}

impl From<FileError> for LedgerError {
    fn from(error: FileError) -> Self {
        Self::File(error)
    }
}
