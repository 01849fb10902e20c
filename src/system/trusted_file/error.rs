//! Why a file is not used.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::Owner;

/// Why a file is not used.
#[derive(Debug)]
pub struct FileError {
    path: PathBuf,
    why: Why,
}

#[derive(Debug)]
pub(super) enum Why {
    Io(io::Error),
    NotDurable(io::Error),
    NotRegular,
    NotDirectory,
    Owner { uid: u32, want: Owner },
    Writable { mode: u32 },
    TooLarge { limit: u64 },
    NotText,
}

impl FileError {
    pub(super) fn new(path: &Path, why: Why) -> Self {
        Self { path: path.to_owned(), why }
    }

    /// An I/O error at a path.
    pub fn io(path: &Path, error: io::Error) -> Self {
        Self::new(path, Why::Io(error))
    }

    /// Whether what was asked for is done all the same, and only a power loss could undo it.
    pub fn is_done(&self) -> bool {
        matches!(self.why, Why::NotDurable(_))
    }

    /// The kind of the I/O error behind it, if there is one.
    pub fn io_kind(&self) -> Option<io::ErrorKind> {
        match &self.why {
            Why::Io(error) => Some(error.kind()),
            _ => None,
        }
    }
}

/// A missing file as `None`.
///
/// # Errors
/// Every other error.
pub fn optional<T>(result: Result<T, FileError>) -> Result<Option<T>, FileError> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.io_kind() == Some(io::ErrorKind::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.why {
            Why::Io(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
                write!(f, "{path}: is a symbolic link, which is not followed; name the file itself")
            }
            Why::Io(error) | Why::NotDurable(error) => write!(f, "{path}: {error}"),
            Why::NotRegular => write!(f, "{path}: is not a regular file"),
            Why::NotDirectory => write!(f, "{path}: is not a directory"),
            Why::Owner { uid, want: Owner::Root } => write!(f, "{path}: is owned by user {uid}, want root"),
            Why::Owner { uid, want: Owner::User(other) } => {
                write!(f, "{path}: is owned by user {uid}, want root or user {other}")
            }
            Why::Owner { uid, .. } => write!(f, "{path}: is owned by user {uid}, want root or the user that reads it"),
            Why::Writable { mode } => {
                write!(f, "{path}: others can write it (mode {:04o}); chmod go-w {path}", mode & 0o7777)
            }
            Why::TooLarge { limit } => write!(f, "{path}: is larger than {limit} bytes"),
            Why::NotText => write!(f, "{path}: is not UTF-8 text"),
        }
    }
}

impl std::error::Error for FileError {}
