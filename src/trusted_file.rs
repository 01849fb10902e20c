//! The files that espm opens and makes, and their checks.
//!
//! Trusts the opened descriptor, not the path: a file is opened without following a link, then its
//! kind, owner, mode and size are read from the descriptor. Where another file must not be put in its
//! place either, every directory on the way to it is checked, too. New files have their mode from
//! their first moment and are durable before they count.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FallocateFlags, OFlags};
use rustix::io::Errno;

/// Why a file is not used.
#[derive(Debug)]
pub struct FileError {
    path: PathBuf,
    why: Why,
}

#[derive(Debug)]
enum Why {
    Io(io::Error),
    NotRegular,
    NotDirectory,
    Owner { uid: u32, want: Owner },
    Writable { mode: u32 },
    TooLarge { limit: u64 },
    NotText,
}

impl FileError {
    fn new(path: &Path, why: Why) -> Self {
        Self { path: path.to_owned(), why }
    }

    /// An I/O error at a path.
    pub fn io(path: &Path, error: io::Error) -> Self {
        Self::new(path, Why::Io(error))
    }

    /// The kind of the I/O error behind it, if there is one.
    pub fn io_kind(&self) -> Option<io::ErrorKind> {
        match &self.why {
            Why::Io(error) => Some(error.kind()),
            _ => None,
        }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.why {
            Why::Io(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
                write!(f, "{path}: is a symbolic link, which is not followed; name the file itself")
            }
            Why::Io(error) => write!(f, "{path}: {error}"),
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

/// Symbolic links on the way to a file, as the kernel bounds them.
const MAX_LINKS: usize = 40;

/// Whose files are trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// root's alone.
    Root,
    /// root's and those of the user that this process runs as.
    RootOrSelf,
    /// root's and those of the user with that number.
    User(u32),
    /// Anyone's: the file's content is checked, not its origin.
    Anyone,
}

/// Reads a text file that only trusted users can have written.
///
/// # Errors
/// When it cannot be opened, is a link or no regular file, has another owner, can be written by
/// others, is larger than the limit (bytes) or is not UTF-8.
pub fn read(path: &Path, limit: u64, owner: Owner) -> Result<String, FileError> {
    let error = |why| FileError::new(path, why);
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
        .map_err(|e| error(Why::Io(e)))?;
    let metadata = file.metadata().map_err(|e| error(Why::Io(e)))?;
    if !metadata.is_file() {
        return Err(error(Why::NotRegular));
    }
    check_owner_and_mode(path, &metadata, owner)?;
    // Room for all of it and for the end: one read, and one that finds nothing more.
    let expected = usize::try_from(metadata.len().min(limit)).unwrap_or(0).saturating_add(64);
    let mut bytes = Vec::with_capacity(expected);
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|e| error(Why::Io(e)))?;
    if bytes.len() as u64 > limit {
        return Err(error(Why::TooLarge { limit }));
    }
    String::from_utf8(bytes).map_err(|_| error(Why::NotText))
}

/// Checks that a directory is one, has a trusted owner, and that others cannot write into it.
///
/// # Errors
/// When one of these is not so.
pub fn check_directory(path: &Path, owner: Owner) -> Result<(), FileError> {
    let metadata = fs::symlink_metadata(path).map_err(|e| FileError::new(path, Why::Io(e)))?;
    if !metadata.is_dir() {
        return Err(FileError::new(path, Why::NotDirectory));
    }
    check_owner_and_mode(path, &metadata, owner)
}

fn check_owner_and_mode(path: &Path, metadata: &Metadata, owner: Owner) -> Result<(), FileError> {
    check_owner(path, metadata, owner)?;
    if owner != Owner::Anyone && metadata.mode() & 0o022 != 0 {
        return Err(FileError::new(path, Why::Writable { mode: metadata.mode() }));
    }
    Ok(())
}

fn check_owner(path: &Path, metadata: &Metadata, owner: Owner) -> Result<(), FileError> {
    let uid = metadata.uid();
    let trusted = uid == 0
        || match owner {
            Owner::Root => false,
            Owner::RootOrSelf => uid == rustix::process::geteuid().as_raw(),
            Owner::User(user) => uid == user,
            Owner::Anyone => true,
        };
    if trusted { Ok(()) } else { Err(FileError::new(path, Why::Owner { uid, want: owner })) }
}

/// Checks every directory and every link on the way to a file: that no one but a trusted user can put
/// another in its place. A directory that all may write must be sticky, as `/tmp` is.
///
/// # Errors
/// When one has another owner, can be written by others, or is not there.
pub fn check_way(path: &Path, owner: Owner) -> Result<(), FileError> {
    let io = |path: &Path, error| FileError::new(path, Why::Io(error));
    let mut here = PathBuf::from("/");
    let mut rest = Vec::new();
    let mut links = 0;
    let push = |rest: &mut Vec<OsString>, way: &Path| {
        rest.extend(way.components().rev().map(|component| component.as_os_str().to_owned()));
    };
    let whole = std::path::absolute(path).map_err(|error| io(path, error))?;
    push(&mut rest, whole.parent().unwrap_or(Path::new("/")));
    while let Some(name) = rest.pop() {
        match Path::new(&name).components().next() {
            Some(Component::Normal(name)) => here.push(name),
            Some(Component::RootDir) => here = PathBuf::from("/"),
            Some(Component::ParentDir) => {
                here.pop();
                continue;
            }
            _ => continue,
        }
        let metadata = fs::symlink_metadata(&here).map_err(|error| io(&here, error))?;
        if metadata.is_symlink() {
            check_owner(&here, &metadata, owner)?;
            links += 1;
            if links > MAX_LINKS {
                return Err(io(&here, Errno::LOOP.into()));
            }
            push(&mut rest, &fs::read_link(&here).map_err(|error| io(&here, error))?);
            here.pop();
        } else if !metadata.is_dir() {
            return Err(FileError::new(&here, Why::NotDirectory));
        } else if metadata.mode() & 0o1000 == 0 {
            check_owner_and_mode(&here, &metadata, owner)?;
        } else {
            check_owner(&here, &metadata, owner)?;
        }
    }
    Ok(())
}

/// Checks a program and the way to it: that root alone decides what it is.
///
/// # Errors
/// When others can write it or put another in its place.
pub fn check_program(path: &Path) -> Result<(), FileError> {
    check_way(path, Owner::Root)?;
    let metadata = fs::metadata(path).map_err(|e| FileError::new(path, Why::Io(e)))?;
    check_owner_and_mode(path, &metadata, Owner::Root)
}

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

/// As [`create`], with the file's name durable.
///
/// # Errors
/// As [`create`].
pub fn create_durable(path: &Path, mode: u32) -> Result<File, FileError> {
    let file = create(path, mode)?;
    file.sync_all().and_then(|()| sync_parent(path)).map_err(|e| FileError::new(path, Why::Io(e)))?;
    Ok(file)
}

/// Reserves so many bytes of the disk for what will be written to an open file. A file system that
/// cannot do that is left to what comes.
///
/// # Errors
/// When the disk has not as much.
pub fn reserve(file: &File, bytes: u64) -> io::Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, 0, bytes) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        other => Ok(other?),
    }
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
/// When it cannot be written; then the old file is as it was.
pub fn replace(path: &Path, mode: u32, content: &[u8]) -> Result<(), FileError> {
    let beside = beside(path, "new");
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(FileError::io(&beside, error)),
        _ => write_nameless(&beside, mode, content)?,
    }
    rename(&beside, path)
}

/// As [`replace`], with the owner, group and mode that the file has.
///
/// # Errors
/// When it cannot be written; then the old file is as it was.
pub fn replace_keeping_owner(path: &Path, content: &[u8]) -> Result<(), FileError> {
    let error = |e| FileError::new(path, Why::Io(e));
    let metadata = fs::symlink_metadata(path).map_err(error)?;
    let beside = beside(path, &format!("{}.new", std::process::id()));
    write_nameless(&beside, metadata.mode() & 0o7777, content)?;
    let owned = std::os::unix::fs::chown(&beside, Some(metadata.uid()), Some(metadata.gid()));
    if let Err(e) = owned {
        let _ = fs::remove_file(&beside);
        return Err(error(e));
    }
    rename(&beside, path)
}

/// A path with an ending more.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    PathBuf::from(name)
}

fn rename(from: &Path, to: &Path) -> Result<(), FileError> {
    fs::rename(from, to).and_then(|()| sync_parent(to)).map_err(|e| {
        let _ = fs::remove_file(from);
        FileError::new(to, Why::Io(e))
    })
}

/// Removes a file durably; one that is not there is no error.
///
/// # Errors
/// When it cannot be removed.
pub fn remove(path: &Path) -> Result<(), FileError> {
    let removed = unlink(path).and_then(|was_there| if was_there { sync_parent(path) } else { Ok(()) });
    removed.map_err(|error| FileError::new(path, Why::Io(error)))
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

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions, Permissions};
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
    use std::path::PathBuf;

    use super::{Owner, check_way, create, read, replace, write_new};

    fn scratch(name: &str) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("espm-trusted-file-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir(&directory).unwrap();
        directory
    }

    #[test]
    fn a_file_that_others_can_write_is_refused() {
        let path = scratch("mode").join("f");
        write_new(&path, 0o640, b"x").unwrap();
        assert_eq!(read(&path, 10, Owner::RootOrSelf).unwrap(), "x");
        for mode in [0o660, 0o602] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let error = read(&path, 10, Owner::RootOrSelf).unwrap_err().to_string();
            assert!(error.contains("others can write it") && error.contains("chmod go-w"), "{error}");
        }
    }

    #[test]
    fn a_file_is_trusted_only_if_every_directory_and_link_on_the_way_is() {
        let top = scratch("way");
        fs::create_dir_all(top.join("a/b")).unwrap();
        let path = top.join("a/b/f");
        write_new(&path, 0o640, b"x").unwrap();
        symlink("a/b", top.join("link")).unwrap();
        let ways = [path.clone(), top.join("link/f"), top.join("a/../link/./f"), top.join("a/b/../b/f")];
        for way in &ways {
            check_way(way, Owner::RootOrSelf).unwrap();
        }
        for directory in [top.join("a"), top.join("a/b"), top.clone()] {
            for (mode, trusted) in [(0o777, false), (0o775, false), (0o1777, true), (0o755, true)] {
                fs::set_permissions(&directory, Permissions::from_mode(mode)).unwrap();
                for way in &ways {
                    let checked = check_way(way, Owner::RootOrSelf);
                    assert_eq!(checked.is_ok(), trusted, "{way:?} {mode:o} {directory:?}: {checked:?}");
                    if let Err(error) = checked {
                        assert!(error.to_string().contains(directory.to_str().unwrap()), "{error}");
                    }
                }
            }
        }
        symlink("round", top.join("round")).unwrap();
        assert!(check_way(&top.join("round/f"), Owner::RootOrSelf).unwrap_err().to_string().contains("round"));
        assert!(check_way(&path.join("f"), Owner::RootOrSelf).unwrap_err().to_string().contains("not a directory"));
        assert!(check_way(&top.join("none/f"), Owner::RootOrSelf).unwrap_err().to_string().contains("No such file"));
    }

    #[test]
    fn links_directories_pipes_and_large_files_are_refused() {
        let directory = scratch("kind");
        let file = directory.join("f");
        write_new(&file, 0o600, b"0123456789").unwrap();
        symlink(&file, directory.join("link")).unwrap();
        assert!(read(&directory.join("link"), 10, Owner::RootOrSelf).unwrap_err().to_string().contains("symbolic"));
        assert!(read(&directory, 10, Owner::RootOrSelf).is_err());
        assert!(read(&file, 9, Owner::RootOrSelf).unwrap_err().to_string().contains("larger than 9 bytes"));
        rustix::fs::mkfifoat(rustix::fs::CWD, directory.join("fifo"), rustix::fs::Mode::RWXU).unwrap();
        assert!(read(&directory.join("fifo"), 10, Owner::RootOrSelf).unwrap_err().to_string().contains("regular"));
        assert!(create(&directory.join("link"), 0o600).is_err());
    }

    #[test]
    fn a_replaced_file_is_whole_and_nothing_is_left_beside_it() {
        let directory = scratch("replace");
        let path = directory.join("f");
        replace(&path, 0o600, b"one").unwrap();
        // One that died has left something half written.
        write_new(&directory.join("f.new"), 0o600, b"tw").unwrap();
        replace(&path, 0o600, b"two").unwrap();
        assert_eq!(read(&path, 10, Owner::RootOrSelf).unwrap(), "two");
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
    }

    #[test]
    fn text_that_is_not_utf_8_is_refused() {
        let path = scratch("utf8").join("f");
        let mut options = OpenOptions::new();
        std::io::Write::write_all(&mut options.write(true).create(true).mode(0o600).open(&path).unwrap(), &[0xff])
            .unwrap();
        assert!(read(&path, 10, Owner::RootOrSelf).unwrap_err().to_string().contains("UTF-8"));
    }
}
