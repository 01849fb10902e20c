//! Why a verb of the CA stops before its end.

use crate::system::command::CommandError;
use crate::system::trusted_file::FileError;
use crate::system::x509;

/// Why a verb did not come to its end.
pub(super) enum Stop {
    File(FileError),
    TimedOut,
    Failed(String),
    Undone(String),
}

impl From<FileError> for Stop {
    fn from(error: FileError) -> Self {
        Self::File(error)
    }
}

impl From<x509::X509Error> for Stop {
    fn from(error: x509::X509Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<CommandError> for Stop {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::TimedOut => Self::TimedOut,
            other => Self::Failed(other.to_string()),
        }
    }
}
