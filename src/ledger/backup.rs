//! A copy of the ledger, made while it is in use.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::num::NonZeroUsize;
use std::path::Path;

use rusqlite::{Transaction, TransactionBehavior};

use super::{Ledger, LedgerError};
use crate::system::clock;
use crate::system::trusted_file::{self, FileError};

/// The name of a copy in a directory of them, with a zero for each digit of the time; by name the newest is the last.
const NAMED: &str = "ledger-0000-00-00T000000Z.sqlite";

impl Ledger {
    /// Copies the ledger to a new file in a directory, named by the time; then removes the oldest of such files there,
    /// beyond a number. Files of other names stay.
    ///
    /// # Errors
    /// When the copy fails; then nothing is removed.
    pub(crate) fn back_up_into(&self, directory: &Path, keep: NonZeroUsize) -> Result<(), LedgerError> {
        let made = format!("ledger-{}.sqlite", clock::rfc3339(clock::now()).replace(':', ""));
        self.back_up(&directory.join(&made))?;
        let names: io::Result<Vec<_>> =
            fs::read_dir(directory).and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect());
        // A name that is no text is none of a copy.
        let names = names.map_err(FileError::at(directory))?.into_iter().filter_map(|name| name.into_string().ok());
        for old in surplus(names, &made, keep) {
            trusted_file::discard(&directory.join(old))?;
        }
        Ok(())
    }

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

/// Which of the copies in a directory are too many. The one just made is none of them, whatever the clock says.
fn surplus(names: impl Iterator<Item = String>, made: &str, keep: NonZeroUsize) -> Vec<String> {
    let shape = |name: &str| name.replace(|c: char| c.is_ascii_digit(), "0");
    let mut others: Vec<String> = names.filter(|name| name != made && shape(name) == NAMED).collect();
    others.sort_unstable();
    others.truncate((others.len() + 1).saturating_sub(keep.get()));
    others
}

#[cfg(test)]
mod tests {
    use super::surplus;

    #[test]
    fn oldest_copies_beyond_the_number_are_surplus_and_other_files_never() {
        let day = |day: usize| format!("ledger-2026-11-{day:02}T030000Z.sqlite");
        let others = ["ledger-2026-11-01.sqlite", "ledger-2026-11-01T030000Z.sqlite.gz", "ledger", "x", ".", "é"];
        let names = |days: std::ops::RangeInclusive<usize>| days.map(day).chain(others.map(str::to_owned)).rev();
        let found = |days, made: usize, keep: usize| surplus(names(days), &day(made), keep.try_into().unwrap());
        assert_eq!(found(1..=5, 5, 3), [day(1), day(2)]);
        assert_eq!(found(1..=5, 5, 1), [day(1), day(2), day(3), day(4)]);
        for keep in [5, 6, usize::MAX] {
            assert!(found(1..=5, 5, keep).is_empty(), "{keep}");
        }
        // The clock was set back: what was just made stays, although it sorts first.
        assert_eq!(found(1..=5, 1, 2), [day(2), day(3), day(4)]);
    }
}
