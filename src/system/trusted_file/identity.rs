//! What tells one file from another that takes its name later.

use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::FileError;

/// A file's number, the time of its last writing and its size.
///
/// A number alone is soon another file's. A link or a renaming changes none of the three, a human's editing does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    inode: u64,
    seconds: i64,
    nanoseconds: i64,
    size: u64,
}

impl Identity {
    /// The identity of what has a path, even a link; `None` when nothing has it.
    pub(crate) fn at(path: &Path) -> Result<Option<Self>, FileError> {
        match path.symlink_metadata() {
            Ok(metadata) => Ok(Some(Self::from(&metadata))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(FileError::io(path, error)),
        }
    }

    /// Four numbers, for [`Identity::parse`].
    pub(crate) fn words(&self) -> String {
        format!("{} {} {} {}", self.inode, self.seconds, self.nanoseconds, self.size)
    }

    pub(crate) fn parse(words: &str) -> Option<Self> {
        let mut words = words.split(' ');
        let mut next = || words.next();
        let identity = Self {
            inode: next()?.parse().ok()?,
            seconds: next()?.parse().ok()?,
            nanoseconds: next()?.parse().ok()?,
            size: next()?.parse().ok()?,
        };
        next().is_none().then_some(identity)
    }
}

impl From<&Metadata> for Identity {
    fn from(metadata: &Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            seconds: metadata.mtime(),
            nanoseconds: metadata.mtime_nsec(),
            size: metadata.size(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::Identity;
    use crate::system::scratch::scratch;
    use crate::system::trusted_file::{replace, write_new};

    #[test]
    fn file_is_itself_by_any_name_and_no_other_file_is() {
        let directory = scratch("file-identity");
        let (one, two) = (directory.join("one"), directory.join("two"));
        assert_eq!(Identity::at(&one).unwrap(), None);
        write_new(&one, 0o600, b"x").unwrap();
        let identity = Identity::at(&one).unwrap().unwrap();
        fs::hard_link(&one, &two).unwrap();
        fs::remove_file(&one).unwrap();
        assert_eq!(Identity::at(&two).unwrap(), Some(identity));
        assert_eq!(Identity::parse(&identity.words()), Some(identity));
        write_new(&two, 0o600, b"xy").unwrap_err();
        replace(&two, 0o600, b"xy").unwrap();
        assert_ne!(Identity::at(&two).unwrap(), Some(identity));
        for wrong in ["", "1 2 3", "1 2 3 4 5", "1 2 3 x", "-1 2 3 4"] {
            assert_eq!(Identity::parse(wrong), None, "{wrong:?}");
        }
    }
}
