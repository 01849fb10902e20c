//! A copy of the ledger, made while it is in use.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::Path;

use rusqlite::{Transaction, TransactionBehavior};

use super::{Ledger, LedgerError};
use crate::system::trusted_file::{self, FileError};

impl Ledger {
    /// Copies the ledger to a new file, while it is in use.
    ///
    /// # Errors
    /// When the file exists or the copy fails; then nothing is left of it, whenever the process dies.
    pub(crate) fn back_up(&self, to: &Path) -> Result<(), LedgerError> {
        let failed = |error: FileError| match error.io_kind() {
            Some(ErrorKind::StorageFull) => LedgerError::DiskFull(to.to_owned()),
            Some(ErrorKind::Unsupported | ErrorKind::IsADirectory) => LedgerError::NamedFilesAlone(to.to_owned()),
            _ => error.into(),
        };
        let copy = trusted_file::create_nameless(to, 0o600).map_err(failed)?;
        self.copy(&copy, to)?.map_err(failed)?;
        trusted_file::name(&copy, to).map_err(failed)
    }

    /// Copies the database's file; the inner error is the copy's.
    fn copy(&self, mut copy: &File, to: &Path) -> Result<Result<(), FileError>, LedgerError> {
        let source = trusted_file::open_existing(&self.path)?;
        // A reader's lock: until the transaction ends, no process changes the file (SQLite's lockingv3.html, section 3).
        let reading =
            Transaction::new_unchecked(&self.database, TransactionBehavior::Deferred).map_err(self.error())?;
        reading.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())).map_err(self.error())?;
        let copied = io::copy(&mut &source, &mut copy).map(drop).map_err(FileError::at(to));
        // Only then: a closed descriptor of the file takes the process's locks with it (fcntl(2)).
        drop(reading);
        drop(source);
        Ok(copied)
    }
}
