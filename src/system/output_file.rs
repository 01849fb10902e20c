//! The file that gets what a command prints, which proves what the command did.
//!
//! The command has the open file as its output streams and shares its lock, which lasts as long as any process
//! of the command. A process that acquires the lock reads all that was printed.

use std::fs::File;
use std::io::{Read, Write};
use std::path::PathBuf;

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use crate::system::command::MAX_OUTPUT;
use crate::system::lock;
use crate::system::trusted_file::{self, FileError};

/// Bytes of the disk that are reserved.
/// The lines that prove the effect of a command come first, before long lists.
const ROOM: u64 = 64 * 1024;

/// The place of a command's output.
#[derive(Debug)]
pub(crate) struct OutputFile(PathBuf);

impl OutputFile {
    /// The output file of that path.
    pub(crate) fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// Creates the file, locked, its name durable.
    pub(crate) fn create(&self) -> Result<File, FileError> {
        self.create_and_write("")
    }

    fn create_and_write(&self, head: &str) -> Result<File, FileError> {
        let mut file = trusted_file::create(&self.0, 0o600)?;
        let durable = file.write_all(head.as_bytes()).and_then(|()| file.sync_all());
        let named = durable.and_then(|()| trusted_file::sync_parent(&self.0));
        named.and_then(|()| file.lock()).map_err(|error| FileError::io(&self.0, error))?;
        Ok(file)
    }

    /// As [`OutputFile::create`], with room on the disk, where the file system can reserve any.
    ///
    /// # Errors
    /// As [`OutputFile::create`], and when the disk is full; then the file is removed.
    pub(crate) fn create_with_room(&self) -> Result<File, FileError> {
        self.create_with_head("")
    }

    /// As [`OutputFile::create_with_room`], with a head that is durable.
    pub(crate) fn create_with_head(&self, head: &str) -> Result<File, FileError> {
        let file = self.create_and_write(head)?;
        match rustix::fs::fallocate(&file, FallocateFlags::KEEP_SIZE, 0, ROOM) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(file),
            Err(full) => {
                self.remove()?;
                Err(FileError::io(&self.0, full.into()))
            }
        }
    }

    /// Reads what a command has printed; `None` while the command runs.
    /// A missing file is empty.
    pub(crate) fn read(&self) -> Result<Option<String>, FileError> {
        let Some(file) = trusted_file::optional(trusted_file::open_existing(&self.0))? else {
            return Ok(Some(String::new()));
        };
        let error = |error| FileError::io(&self.0, error);
        if !lock::try_lock(&file).map_err(error)? {
            return Ok(None);
        }
        // Nothing follows from what a power loss can still take away.
        file.sync_data().map_err(error)?;
        let mut bytes = Vec::new();
        file.take(MAX_OUTPUT as u64).read_to_end(&mut bytes).map_err(error)?;
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Removes the file durably.
    pub(crate) fn remove(&self) -> Result<(), FileError> {
        trusted_file::remove(&self.0)
    }

    /// Removes the file; a power loss may bring it back.
    pub(crate) fn discard(&self) -> Result<(), FileError> {
        trusted_file::discard(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::OutputFile;
    use crate::system::scratch::{at_last, scratch};

    #[test]
    fn output_is_read_only_when_its_command_has_ended() {
        let output = OutputFile::at(scratch("output-lock").join("file"));
        let mut file = output.create_with_room().unwrap();
        assert!(output.create().is_err(), "it exists");
        file.write_all(b"Node successfully created!\n").unwrap();
        assert!(output.read().unwrap().is_none());
        drop(file);
        assert_eq!(at_last(|| output.read().unwrap()), "Node successfully created!\n");
    }

    #[test]
    fn only_a_missing_file_is_read_as_an_empty_one() {
        let path = scratch("output-read").join("file");
        let output = OutputFile::at(path.clone());
        assert_eq!(output.read().unwrap().unwrap(), "");
        std::os::unix::fs::symlink("none", &path).unwrap();
        assert!(output.read().is_err());
    }
}
