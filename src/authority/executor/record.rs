//! What the CA's user keeps about the certificates that espm made: one file a name, in a directory of that user.
//!
//! A certificate is espm's if its name is recorded here and the CA still has the recorded one. The record of an
//! intent is durable before the command starts; the command's output goes to a file beside it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::model::name::NodeName;
use crate::system::lock::InheritedLock;
use crate::system::output_file::OutputFile;
use crate::system::trusted_file::{self, FileError, Owner};

/// Bytes of a record.
const MAX_RECORD: u64 = 64 * 1024;

/// What is recorded about a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub(crate) enum Record {
    /// A command was started while the CA had nothing of this name.
    Generating,
    /// The certificate was made (PEM).
    Issued { certificate: String },
    /// The command made a key of this identity and failed.
    /// The server may sign for that key even now.
    Abandoned { key: String },
    /// The revocation of this certificate was started (PEM).
    Revoking { certificate: String },
}

/// The directory of the records.
#[derive(Debug)]
pub(crate) struct Records(PathBuf);

impl Records {
    /// The records in a directory, if no other user can write there or put another in its place.
    pub(crate) fn open(directory: &Path) -> Result<Self, FileError> {
        trusted_file::check_way(directory, Owner::RootOrSelf)?;
        trusted_file::check_directory(directory, Owner::RootOrSelf)?;
        Ok(Self(directory.to_owned()))
    }

    fn path(&self, name: &NodeName) -> PathBuf {
        self.0.join(format!("{name}.json"))
    }

    /// The output of the command that was started for a name.
    pub(crate) fn output(&self, name: &NodeName) -> OutputFile {
        OutputFile::at(self.0.join(format!("{name}.proof")))
    }

    /// Acquires the lock around every change of the CA, if it is free.
    /// Commands share it.
    pub(crate) fn try_lock(&self) -> Result<Option<InheritedLock>, FileError> {
        InheritedLock::try_acquire(&self.0.join("lock"))
    }

    /// The record of a name.
    ///
    /// # Errors
    /// When the record cannot be read; an unreadable record is never an absent one.
    pub(crate) fn read(&self, name: &NodeName) -> Result<Option<Record>, FileError> {
        let path = self.path(name);
        let json = trusted_file::optional(trusted_file::read(&path, MAX_RECORD, Owner::RootOrSelf))?;
        let record = json.map(|json| serde_json::from_str(&json)).transpose();
        record.map_err(|error| FileError::io(&path, error.into()))
    }

    /// Writes the record of a name, durably.
    pub(crate) fn write(&self, name: &NodeName, record: &Record) -> Result<(), FileError> {
        let json = serde_json::to_vec(record).unwrap_or_default();
        trusted_file::replace(&self.path(name), 0o600, &json)
    }

    /// Removes the record of a name, and the output.
    pub(crate) fn forget(&self, name: &NodeName) -> Result<(), FileError> {
        self.output(name).remove()?;
        trusted_file::remove(&self.path(name))
    }
}
