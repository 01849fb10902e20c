//! The output files: what the command of an intent printed, which proves what it did.

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use super::{Ledger, LedgerError};
use crate::model::state_directory;
use crate::system::output_file::OutputFile;
use crate::system::random;
use crate::system::trusted_file::FileError;

/// The age from which on no request can need an output file that no row names.
/// No request lasts as long.
const UNUSED: Duration = Duration::from_secs(2 * 60 * 60);

impl Ledger {
    /// Creates the output file of a new intent's command, under a name that nobody can guess.
    /// The head is durable; it tells the kind of the run.
    pub(crate) fn new_output(&self, head: &str) -> Result<(String, File), LedgerError> {
        let name = random::name().map_err(LedgerError::Random)?;
        let file = self.output_file(&name).create_with_head(head)?;
        Ok((name, file))
    }

    /// Reads an output file; `None` while its command runs. A missing file is empty.
    pub(crate) fn try_read_output(&self, name: &str) -> Result<Option<String>, FileError> {
        self.output_file(name).read()
    }

    /// Removes the output files that no row names.
    /// Those of requests that died before they recorded their intent, or after they recorded their outcome.
    /// Tells how many.
    pub(crate) fn sweep_outputs(&self) -> Result<usize, LedgerError> {
        let directory = self.output_path("");
        let error = |error| FileError::io(&directory, error);
        let mut swept = 0;
        for entry in std::fs::read_dir(&directory).map_err(error)? {
            let entry = entry.map_err(error)?;
            let modified = entry.metadata().and_then(|metadata| metadata.modified()).map_err(error)?;
            // The intent of a new one may be about to be recorded.
            let old = modified.elapsed().is_ok_and(|age| age > UNUSED);
            let Ok(name) = entry.file_name().into_string() else { continue };
            if old && self.try_read_output(&name)?.is_some() && !self.names_output(&name)? {
                self.remove_output(name)?;
                swept += 1;
            }
        }
        Ok(swept)
    }

    fn names_output(&self, name: &str) -> Result<bool, LedgerError> {
        let query = "SELECT count(*) FROM node WHERE proof = ?1";
        self.database.query_row(query, [name], |row| row.get::<_, i64>(0)).map(|rows| rows > 0).map_err(self.error())
    }

    /// Removes an output file that no row names any more.
    /// One that a power loss brings back is swept.
    pub(super) fn remove_output(&self, name: String) -> Result<(), LedgerError> {
        Ok(self.output_file(&name).discard()?)
    }

    fn output_file(&self, name: &str) -> OutputFile {
        OutputFile::at(self.output_path(name))
    }

    fn output_path(&self, name: &str) -> PathBuf {
        state_directory::output(&self.directory, name)
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::UNUSED;
    use crate::ledger::{Ledger, NodeOwner, create};
    use crate::model::name::{ClientName, NodeName};
    use crate::model::node::{Assignment, Node};
    use crate::system::scratch::{at_last, scratch};

    #[test]
    fn proof_is_read_only_when_its_command_has_ended() {
        let directory = scratch("ledger-proof");
        create(&directory).unwrap();
        let ledger = Ledger::open(&directory, "r").unwrap();
        let (name, file) = ledger.new_output("").unwrap();
        assert!(ledger.try_read_output(&name).unwrap().is_none());
        std::io::Write::write_all(&mut &file, b"Node successfully created!\n").unwrap();
        drop(file);
        assert_eq!(at_last(|| ledger.try_read_output(&name).unwrap()), "Node successfully created!\n");
        ledger.remove_output(name.clone()).unwrap();
        assert_eq!(ledger.try_read_output(&name).unwrap().unwrap(), "");
    }

    #[test]
    fn only_an_old_proof_that_no_row_names_and_no_command_holds_is_swept() {
        let directory = scratch("ledger-sweep");
        create(&directory).unwrap();
        let ledger = Ledger::open(&directory, "r").unwrap();
        let owner = NodeOwner { client: &ClientName::parse("c").unwrap(), most: None };
        let long_ago = SystemTime::now() - UNUSED * 2;
        let (young, file) = ledger.new_output("").unwrap();
        drop(file);
        let (named, file) = ledger.new_output("").unwrap();
        let node = Node { name: NodeName::parse("web01").unwrap(), assignment: Assignment::default() };
        ledger.intend_to_add(&node, &named, owner, None).unwrap();
        file.set_modified(long_ago).unwrap();
        drop(file);
        let (held, holder) = ledger.new_output("").unwrap();
        holder.set_modified(long_ago).unwrap();
        let (unused, file) = ledger.new_output("").unwrap();
        file.set_modified(long_ago).unwrap();
        drop(file);
        let sweep = || Some(ledger.sweep_outputs().unwrap()).filter(|swept| *swept > 0);
        assert_eq!(at_last(sweep), 1);
        let is_there = |name: &str| ledger.output_path(name).exists();
        assert!(is_there(&young) && is_there(&named) && is_there(&held) && !is_there(&unused));
        drop(holder);
        assert_eq!(at_last(sweep), 1);
    }
}
