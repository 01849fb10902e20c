//! A copy of the ledger, made while it is in use.

use std::path::Path;

use super::{Ledger, LedgerError};
use crate::system::trusted_file;

impl Ledger {
    /// Copies the ledger to a new file, while it is in use (SQLite's backup API).
    ///
    /// # Errors
    /// When the file exists or the copy fails; then nothing is left of it.
    pub(crate) fn back_up(&self, to: &Path) -> Result<(), LedgerError> {
        drop(trusted_file::create(to, 0o600)?);
        let copied = self.copy(to);
        if copied.is_err() {
            trusted_file::discard(to)?;
        }
        copied
    }

    /// Replaces a file by a copy of the ledger, when the copy is whole.
    fn copy(&self, to: &Path) -> Result<(), LedgerError> {
        let beside = trusted_file::beside(to, "new");
        trusted_file::discard(&beside)?;
        drop(trusted_file::create(&beside, 0o600)?);
        let error = |error| LedgerError::database(to.to_owned(), error);
        let copied = self.database.backup("main", &beside, None::<fn(rusqlite::backup::Progress)>).map_err(error);
        if copied.is_err() {
            trusted_file::discard(&beside)?;
        }
        copied.and_then(|()| Ok(trusted_file::rename(&beside, to)?))
    }
}
