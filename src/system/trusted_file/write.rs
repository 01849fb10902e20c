//! The files that espm creates, replaces and removes.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, OFlags, linkat, syncfs};

use super::error::{FileError, Why};

/// Creates a file that must not exist yet; a link counts as a file.
pub(crate) fn create(path: &Path, mode: u32) -> Result<File, FileError> {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create_new(true).mode(mode).open(path).map_err(FileError::at(path))?;
    // A strict umask would keep out the group that must read it.
    or_remove(path, file.set_permissions(Permissions::from_mode(mode)))?;
    Ok(file)
}

/// Removes a file that was not finished, and says why it was not.
fn or_remove(path: &Path, result: io::Result<()>) -> Result<(), FileError> {
    result.map_err(|error| {
        let _ = fs::remove_file(path);
        FileError::io(path, error)
    })
}

/// Creates a file without a name, which is gone with its last descriptor.
pub(crate) fn nameless(directory: &Path) -> Result<File, FileError> {
    let path = beside(&directory.join("nameless"), &std::process::id().to_string());
    // Of a process of the same number that died right here.
    let _ = fs::remove_file(&path);
    let file = create(&path, 0o600)?;
    fs::remove_file(&path).map_err(FileError::at(&path))?;
    Ok(file)
}

/// Creates a file without a name beside a path, which [`name`] gives it.
/// Before that it is gone with its last descriptor, so nothing is left when the process dies.
///
/// # Errors
/// Among others where the file system has no such files (NFS).
pub(crate) fn create_nameless(path: &Path, mode: u32) -> Result<File, FileError> {
    let mut options = OpenOptions::new();
    options.write(true).mode(mode).custom_flags(OFlags::TMPFILE.bits().cast_signed());
    let file = options.open(parent(path)).map_err(FileError::at(path))?;
    file.set_permissions(Permissions::from_mode(mode)).map_err(FileError::at(path))?;
    Ok(file)
}

/// Gives a file without a name its name, durably; what has that name already stays.
pub(crate) fn name(file: &File, path: &Path) -> Result<(), FileError> {
    let own = format!("/proc/self/fd/{}", file.as_raw_fd());
    let link = || Ok(linkat(CWD, own, CWD, path, AtFlags::SYMLINK_FOLLOW)?);
    file.sync_all().and_then(|()| link()).map_err(FileError::at(path))?;
    durably(path)
}

/// Creates a directory that must not exist yet.
pub(crate) fn create_directory(path: &Path, mode: u32) -> Result<(), FileError> {
    DirBuilder::new().mode(mode).create(path).map_err(FileError::at(path))
}

/// Opens a file of this user's to lock it, and creates a missing one.
/// A link is not followed.
pub(crate) fn open_lock(path: &Path) -> Result<File, FileError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed()).open(path).map_err(FileError::at(path))
}

/// Opens a file that must exist, to read it. A link is not followed.
pub(crate) fn open_existing(path: &Path) -> Result<File, FileError> {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(OFlags::NOFOLLOW.bits().cast_signed()).open(path).map_err(FileError::at(path))
}

/// Creates a durable file that must not exist yet.
///
/// # Errors
/// When it exists or cannot be written; then nothing is left of it.
pub(crate) fn write_new(path: &Path, mode: u32, content: &[u8]) -> Result<(), FileError> {
    write(path, mode, content)?;
    or_remove(path, sync_parent(path))
}

/// As [`write_new`], but a power loss may take the name away.
fn write(path: &Path, mode: u32, content: &[u8]) -> Result<(), FileError> {
    let mut file = create(path, mode)?;
    or_remove(path, file.write_all(content).and_then(|()| file.sync_all()))
}

/// Writes many files beside others' places, with one sync for all of them.
/// The caller renames or discards each.
///
/// # Errors
/// When one cannot be written; then all are discarded.
pub(crate) fn write_all_beside<'a>(
    directory: &Path,
    mode: u32,
    files: impl Iterator<Item = (&'a Path, &'a [u8])>,
) -> Result<Vec<PathBuf>, FileError> {
    let mut written = Vec::new();
    let write = || {
        for (path, content) in files {
            let beside = beside(path, "new");
            discard(&beside)?;
            let mut file = create(&beside, mode)?;
            written.push(beside.clone());
            file.write_all(content).map_err(FileError::at(&beside))?;
        }
        let synced = OpenOptions::new().read(true).open(directory).and_then(|file| Ok(syncfs(file)?));
        synced.map_err(FileError::at(directory))
    };
    if let Err(error) = write() {
        written.iter().for_each(|path| drop(discard(path)));
        return Err(error);
    }
    Ok(written)
}

/// Writes the file that takes another's place, instead of what a process that died has left there.
pub(crate) fn write_beside(path: &Path, ending: &str, mode: u32, content: &[u8]) -> Result<PathBuf, FileError> {
    let beside = beside(path, ending);
    discard(&beside)?;
    write(&beside, mode, content)?;
    Ok(beside)
}

/// Replaces a file's content: written beside it, durable, then renamed.
///
/// One process at a time may do that for a path, under some lock.
///
/// # Errors
/// When it cannot be written; then the old file is as it was, unless the error says that it is done.
pub(crate) fn replace(path: &Path, mode: u32, content: &[u8]) -> Result<(), FileError> {
    rename(&write_beside(path, "new", mode, content)?, path)
}

/// Renames a file durably; unlike [`rename`] it takes nothing's place.
///
/// # Errors
/// As for [`rename`]; a file that has the other name is one.
pub(crate) fn name_new(from: &Path, to: &Path) -> Result<(), FileError> {
    name_new_for_now(from, to)?;
    durably(to)
}

/// As [`name_new`], but a power loss may take the name away, until the directory is synced.
pub(crate) fn name_new_for_now(from: &Path, to: &Path) -> Result<(), FileError> {
    let linked = fs::hard_link(from, to);
    let _ = fs::remove_file(from);
    linked.map_err(FileError::at(to))
}

/// As [`replace`], with the owner, group and mode that the file has.
pub(crate) fn replace_keeping_owner(path: &Path, content: &[u8]) -> Result<(), FileError> {
    let metadata = fs::symlink_metadata(path).map_err(FileError::at(path))?;
    let ending = format!("{}.new", std::process::id());
    let beside = write_beside(path, &ending, metadata.mode() & 0o7777, content)?;
    or_remove(&beside, std::os::unix::fs::chown(&beside, Some(metadata.uid()), Some(metadata.gid())))?;
    rename(&beside, path)
}

/// A path with an ending more.
pub(crate) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    PathBuf::from(name)
}

/// Renames a file durably; what has the other name is replaced.
///
/// # Errors
/// When the file cannot be renamed, and then it is removed, or, as the error says, not durably.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), FileError> {
    rename_for_now(from, to)?;
    durably(to)
}

/// As [`rename`], but a power loss may bring back what had the other name, until its directory is synced.
pub(crate) fn rename_for_now(from: &Path, to: &Path) -> Result<(), FileError> {
    fs::rename(from, to).map_err(|error| {
        let _ = fs::remove_file(from);
        FileError::io(to, error)
    })
}

/// Removes a file durably; a missing one is no error.
///
/// # Errors
/// When the file cannot be removed, or, as the error says, not durably.
pub(crate) fn remove(path: &Path) -> Result<(), FileError> {
    if unlink(path)? { durably(path) } else { Ok(()) }
}

/// Removes a file that does no harm when a power loss brings it back.
/// A missing one is no error.
pub(crate) fn discard(path: &Path) -> Result<(), FileError> {
    unlink(path).map(drop)
}

/// Removes a file and tells whether it was there.
fn unlink(path: &Path) -> Result<bool, FileError> {
    Ok(super::optional(fs::remove_file(path).map_err(FileError::at(path)))?.is_some())
}

/// Makes a change of a directory's entry durable that is done already.
fn durably(path: &Path) -> Result<(), FileError> {
    sync_parent(path).map_err(|error| FileError::new(path, Why::NotDurable(error)))
}

/// Makes the entries of a path's directory durable.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    OpenOptions::new().read(true).open(parent(path))?.sync_all()
}

/// The directory of a path.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent == Path::new("") => Path::new("."),
        parent => parent.unwrap_or(Path::new("/")),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::write_all_beside;
    use crate::system::scratch::scratch;
    use crate::system::trusted_file::{self, Owner};

    #[test]
    fn many_files_are_written_beside_or_none_is_left() {
        let directory = scratch("file-beside");
        let [one, two, nowhere] = ["one", "two", "none/three"].map(|name| directory.join(name));
        let write = |paths: &[&Path]| {
            write_all_beside(&directory, 0o640, paths.iter().map(|path| (*path, path.as_os_str().as_encoded_bytes())))
        };
        for _ in 0..2 {
            let written = write(&[&one, &two]).unwrap();
            assert_eq!(written, ["one.new", "two.new"].map(|name| directory.join(name)));
            let read = trusted_file::read(&written[1], 1000, Owner::RootOrSelf).unwrap();
            assert_eq!(read, two.display().to_string());
        }
        assert!(write(&[&one, &nowhere, &two]).is_err());
        let left: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["two.new"], "what was there before");
        assert!(!one.exists());
    }
}
