//! The files that espm makes, replaces and removes.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::error::{FileError, Why};

/// Makes a file that must not exist yet.
///
/// # Errors
/// When it exists, as a link too, or cannot be made.
pub fn create(path: &Path, mode: u32) -> Result<File, FileError> {
    let error = |e| FileError::new(path, Why::Io(e));
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(mode).open(path).map_err(error)?;
    // A strict umask would keep out the group that shall read it.
    let permitted = file.set_permissions(Permissions::from_mode(mode));
    permitted.map(|()| file).map_err(|e| {
        let _ = fs::remove_file(path);
        error(e)
    })
}

/// Makes a file that has no name and is gone with its last descriptor.
///
/// # Errors
/// When it cannot be made in that directory of our own.
pub fn nameless(directory: &Path) -> Result<File, FileError> {
    let path = beside(&directory.join("nameless"), &std::process::id().to_string());
    // Of a process of the same number that died right here.
    let _ = fs::remove_file(&path);
    let file = create(&path, 0o600)?;
    fs::remove_file(&path).map(|()| file).map_err(|e| FileError::new(&path, Why::Io(e)))
}

/// Makes a directory that must not exist yet.
///
/// # Errors
/// When it exists or cannot be made.
pub fn create_directory(path: &Path, mode: u32) -> Result<(), FileError> {
    DirBuilder::new().mode(mode).create(path).map_err(|e| FileError::new(path, Why::Io(e)))
}

/// Opens a file of our own to lock it, and makes it if it is not there.
///
/// # Errors
/// When it is a link or cannot be opened.
pub fn open_lock(path: &Path) -> Result<File, FileError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)
        .map_err(|e| FileError::new(path, Why::Io(e)))
}

/// Opens a file of our own that must exist.
///
/// # Errors
/// When it is a link or cannot be opened.
pub fn open_existing(path: &Path) -> Result<File, FileError> {
    OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)
        .map_err(|e| FileError::new(path, Why::Io(e)))
}

/// Makes a durable file that must not exist yet.
///
/// # Errors
/// When it exists or cannot be written; then nothing is left of it.
pub fn write_new(path: &Path, mode: u32, content: &[u8]) -> Result<(), FileError> {
    write_nameless(path, mode, content)?;
    sync_parent(path).map_err(|e| {
        let _ = fs::remove_file(path);
        FileError::new(path, Why::Io(e))
    })
}

/// As [`write_new`], but for the name, which a power loss may take away.
fn write_nameless(path: &Path, mode: u32, content: &[u8]) -> Result<(), FileError> {
    let mut file = create(path, mode)?;
    file.write_all(content).and_then(|()| file.sync_all()).map_err(|e| {
        let _ = fs::remove_file(path);
        FileError::new(path, Why::Io(e))
    })
}

/// Puts content in a file's place: written beside it, durable, then renamed.
///
/// To be called by one process at a time for a path, under some lock: what one that died has left
/// beside the file is taken away.
///
/// # Errors
/// When it cannot be written; then the old file is as it was, unless the error says that it is done.
pub fn replace(path: &Path, mode: u32, content: &[u8]) -> Result<(), FileError> {
    let beside = beside(path, "new");
    write_anew(&beside, mode, content)?;
    rename(&beside, path)
}

/// As [`replace`], for a file that must not exist yet.
///
/// # Errors
/// When something is there, a link too, or it cannot be written; then all is as it was, unless the error says
/// that it is done.
pub fn place(path: &Path, mode: u32, content: &[u8]) -> Result<(), FileError> {
    let beside = beside(path, "new");
    write_anew(&beside, mode, content)?;
    // Unlike a renaming it takes nothing's place.
    let linked = fs::hard_link(&beside, path);
    let _ = fs::remove_file(&beside);
    linked.map_err(|e| FileError::new(path, Why::Io(e)))?;
    sync_parent(path).map_err(|e| FileError::new(path, Why::NotDurable(e)))
}

/// As [`replace`], with the owner, group and mode that the file has.
///
/// # Errors
/// When it cannot be written; then the old file is as it was.
pub fn replace_keeping_owner(path: &Path, content: &[u8]) -> Result<(), FileError> {
    let error = |e| FileError::new(path, Why::Io(e));
    let metadata = fs::symlink_metadata(path).map_err(error)?;
    let beside = beside(path, &format!("{}.new", std::process::id()));
    write_anew(&beside, metadata.mode() & 0o7777, content)?;
    let owned = std::os::unix::fs::chown(&beside, Some(metadata.uid()), Some(metadata.gid()));
    if let Err(e) = owned {
        let _ = fs::remove_file(&beside);
        return Err(error(e));
    }
    rename(&beside, path)
}

/// As [`write_nameless`], in the place of what a process that died has left there.
fn write_anew(path: &Path, mode: u32, content: &[u8]) -> Result<(), FileError> {
    discard(path)?;
    write_nameless(path, mode, content)
}

/// A path with an ending more.
pub fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    PathBuf::from(name)
}

/// Gives a file another name, durably; what has that name is replaced.
///
/// # Errors
/// When it cannot be renamed, and then it is removed, or, which the error says, not durably.
pub fn rename(from: &Path, to: &Path) -> Result<(), FileError> {
    fs::rename(from, to).map_err(|e| {
        let _ = fs::remove_file(from);
        FileError::new(to, Why::Io(e))
    })?;
    sync_parent(to).map_err(|e| FileError::new(to, Why::NotDurable(e)))
}

/// Removes a file durably; one that is not there is no error.
///
/// # Errors
/// When it cannot be removed, or, which the error says, its removal cannot be made durable.
pub fn remove(path: &Path) -> Result<(), FileError> {
    if unlink(path).map_err(|error| FileError::new(path, Why::Io(error)))? {
        sync_parent(path).map_err(|error| FileError::new(path, Why::NotDurable(error)))?;
    }
    Ok(())
}

/// Removes a file that does no harm when a power loss brings it back; one that is not there is no error.
///
/// # Errors
/// When it cannot be removed.
pub fn discard(path: &Path) -> Result<(), FileError> {
    unlink(path).map(drop).map_err(|error| FileError::new(path, Why::Io(error)))
}

/// Removes a file and tells whether it was there.
fn unlink(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes a directory's entries durable.
///
/// # Errors
/// When the directory cannot be opened or synced.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    OpenOptions::new().read(true).open(parent)?.sync_all()
}
