//! The proof files: what an intent's command printed, locked for as long as it runs.

use std::fs::File;
use std::io::{Read, Write};
use std::path::PathBuf;

use super::{Ledger, LedgerError};
use crate::lock;
use crate::state;
use crate::trusted_file::{self, FileError};

/// Bytes of a proof file that are read; a command's output is limited to as much.
const MAX_PROOF: u64 = crate::command::MAX_OUTPUT as u64;

/// Bytes of the disk that a proof has for itself: the markers that prove what a command did come first,
/// before long lists.
const RESERVED: u64 = 64 * 1024;

impl Ledger {
    /// Makes the proof file of a new intent, locked, durable, and of a name that nobody can guess.
    ///
    /// The command gets it as its output: what it prints is the proof of what it did, and the lock
    /// lasts as long as any process of the command, however it was started. A `head` that is not empty
    /// is its first line: what kind of run it is the proof of.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new_proof(&self, head: &str) -> Result<(String, File), LedgerError> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(LedgerError::Random)?;
        let name = format!("{:032x}", u128::from_be_bytes(bytes));
        let path = self.proof_path(&name);
        let mut file = trusted_file::create_durable(&path, 0o600)?;
        let error = |error| FileError::io(&path, error);
        file.lock().map_err(error)?;
        if let Err(full) = trusted_file::reserve(&file, RESERVED) {
            trusted_file::remove(&path)?;
            return Err(error(full).into());
        }
        if !head.is_empty() {
            writeln!(file, "{head}").and_then(|()| file.sync_data()).map_err(error)?;
        }
        Ok((name, file))
    }

    /// Takes the lock of a proof file, if its command has ended; a missing file has an empty proof.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn try_read_proof(&self, name: &str) -> Result<Option<String>, FileError> {
        let path = self.proof_path(name);
        let file = match trusted_file::open_existing(&path) {
            Err(error) if error.io_kind() == Some(std::io::ErrorKind::NotFound) => return Ok(Some(String::new())),
            other => other?,
        };
        if !lock::try_lock(&file).map_err(|error| FileError::io(&path, error))? {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        file.take(MAX_PROOF).read_to_end(&mut bytes).map_err(|error| FileError::io(&path, error))?;
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Removes a proof that is not needed any more.
    pub(super) fn remove_proof(&self, name: String) -> Result<(), LedgerError> {
        Ok(trusted_file::remove(&self.proof_path(&name))?)
    }

    fn proof_path(&self, name: &str) -> PathBuf {
        state::proof(&self.directory, name)
    }
}
