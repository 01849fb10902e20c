//! Why a file is not used.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::io::Errno;
use thiserror::Error;

use super::Owner;

/// Why a file is not used.
#[derive(Debug, Error)]
#[error("{}: {why}", .path.display())]
pub struct FileError {
    path: PathBuf,
    why: Why,
}

#[derive(Debug, Error)]
pub(super) enum Why {
    #[error("is a symbolic link, which is not followed; name the file itself")]
    Link,
    #[error("{0}")]
    Io(io::Error),
    #[error("{0}")]
    NotDurable(io::Error),
    #[error("is not a regular file")]
    NotRegular,
    #[error("is not a directory")]
    NotDirectory,
    #[error("is owned by user {uid}, want {want}")]
    Owner { uid: u32, want: Owner },
    #[error("others can write it (mode {:04o}); {}", .mode & 0o7777, remedy(*.mode, .path))]
    Writable { mode: u32, path: PathBuf },
    #[error("is larger than {limit} bytes")]
    TooLarge { limit: u64 },
    #[error("is not UTF-8 text")]
    NotText,
}

/// A directory in which all may write, such as `/tmp`, stays as it is.
fn remedy(mode: u32, path: &Path) -> String {
    if mode & Mode::SVTX.bits() == 0 {
        format!("chmod go-w {}", path.display())
    } else {
        "name another path".to_owned()
    }
}

impl FileError {
    pub(super) fn new(path: &Path, why: Why) -> Self {
        Self { path: path.to_owned(), why }
    }

    /// An I/O error at a path.
    pub(crate) fn io(path: &Path, error: io::Error) -> Self {
        let link = error.raw_os_error() == Some(Errno::LOOP.raw_os_error());
        Self::new(path, if link { Why::Link } else { Why::Io(error) })
    }

    /// Makes an I/O error one at a path.
    pub(crate) fn at(path: &Path) -> impl Fn(io::Error) -> Self + Copy {
        move |error| Self::io(path, error)
    }

    /// Whether the act is done all the same, and only a power loss could undo it.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self.why, Why::NotDurable(_))
    }

    /// The kind of the I/O error behind it, if there is one.
    pub(crate) fn io_kind(&self) -> Option<io::ErrorKind> {
        match &self.why {
            Why::Io(error) => Some(error.kind()),
            _ => None,
        }
    }
}

/// A missing file as `None`.
pub(crate) fn optional<T>(result: Result<T, FileError>) -> Result<Option<T>, FileError> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.io_kind() == Some(io::ErrorKind::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}
