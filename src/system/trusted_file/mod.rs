//! The files that espm opens and makes, and their checks.
//!
//! Trusts the opened descriptor, not the path: a file is opened without following a link, then its
//! kind, owner, mode and size are read from the descriptor. Where another file must not be put in its
//! place either, every directory on the way to it is checked, too. New files have their mode from
//! their first moment and are durable before they count.

mod error;
mod write;

use std::ffi::OsString;
use std::fs::{self, Metadata, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;

use self::error::Why;
pub use self::error::{FileError, optional};
pub use self::write::{
    beside, create, create_directory, discard, nameless, open_existing, open_lock, place, remove, rename, replace,
    replace_keeping_owner, sync_parent, write_new,
};

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

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions, Permissions};
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown, lchown, symlink};

    use super::{
        Owner, check_directory, check_way, create, discard, open_existing, open_lock, read, remove, replace,
        replace_keeping_owner, write_new,
    };
    use crate::system::scratch::scratch;

    #[test]
    fn a_file_that_others_can_write_is_refused() {
        let path = scratch("file-mode").join("f");
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
        let top = scratch("file-way");
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
        let directory = scratch("file-kind");
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
        let directory = scratch("file-replace");
        let path = directory.join("f");
        replace(&path, 0o600, b"one").unwrap();
        // One that died has left something half written.
        write_new(&directory.join("f.new"), 0o600, b"tw").unwrap();
        replace(&path, 0o600, b"two").unwrap();
        assert_eq!(read(&path, 10, Owner::RootOrSelf).unwrap(), "two");
        // It had the number that this process has.
        write_new(&directory.join(format!("f.{}.new", std::process::id())), 0o600, b"thr").unwrap();
        replace_keeping_owner(&path, b"three").unwrap();
        assert_eq!(read(&path, 10, Owner::RootOrSelf).unwrap(), "three");
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
    }

    #[test]
    fn a_file_is_trusted_only_of_root_or_of_whom_it_may_be() {
        let directory = scratch("file-owner");
        let path = directory.join("f");
        write_new(&path, 0o644, b"x").unwrap();
        let another = 12_345;
        let mine = rustix::process::geteuid().as_raw();
        for (uid, owner, trusted) in [
            (mine, Owner::RootOrSelf, true),
            (mine, Owner::Anyone, true),
            (another, Owner::Root, false),
            (another, Owner::RootOrSelf, false),
            (another, Owner::User(another + 1), false),
            (another, Owner::User(another), true),
            (another, Owner::Anyone, true),
        ] {
            for file in [&path, &directory] {
                chown(file, Some(uid), None).expect("run as root: files are given to another user");
            }
            assert_eq!(read(&path, 1, owner).is_ok(), trusted, "{uid} {owner:?}");
            assert_eq!(check_directory(&directory, owner).is_ok(), trusted, "{uid} {owner:?}");
            assert_eq!(check_way(&path, owner).is_ok(), trusted, "{uid} {owner:?}");
            // In a sticky directory only its owner can replace what is another's.
            fs::set_permissions(&directory, Permissions::from_mode(0o1777)).unwrap();
            assert_eq!(check_way(&path, owner).is_ok(), trusted, "sticky: {uid} {owner:?}");
            fs::set_permissions(&directory, Permissions::from_mode(0o755)).unwrap();
            chown(&directory, Some(mine), None).unwrap();
            let link = directory.join("link");
            symlink(".", &link).unwrap();
            lchown(&link, Some(uid), None).unwrap();
            assert_eq!(check_way(&link.join("f"), owner).is_ok(), trusted, "link: {uid} {owner:?}");
            fs::remove_file(&link).unwrap();
        }
        fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
        assert!(read(&path, 1, Owner::Anyone).is_ok(), "what need not be trusted may be writable");
        chown(&path, Some(mine), None).unwrap();
    }

    #[test]
    fn what_is_opened_for_its_lock_or_by_its_name_is_no_link_and_is_ours_alone() {
        let directory = scratch("file-lock");
        let path = directory.join("f");
        drop(open_lock(&path).unwrap());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        symlink(&path, directory.join("link")).unwrap();
        for opened in [open_lock(&directory.join("link")), open_existing(&directory.join("link"))] {
            assert!(opened.unwrap_err().to_string().contains("symbolic"));
        }
    }

    #[test]
    fn what_cannot_be_removed_is_not_said_to_be_gone() {
        let directory = scratch("file-remove");
        assert!(remove(&directory).is_err() && discard(&directory).is_err());
        remove(&directory.join("none")).unwrap();
    }

    #[test]
    fn text_that_is_not_utf_8_is_refused() {
        let path = scratch("file-utf8").join("f");
        let mut options = OpenOptions::new();
        std::io::Write::write_all(&mut options.write(true).create(true).mode(0o600).open(&path).unwrap(), &[0xff])
            .unwrap();
        assert!(read(&path, 10, Owner::RootOrSelf).unwrap_err().to_string().contains("UTF-8"));
    }
}
