//! The files that espm opens and makes, and their checks.
//!
//! Trusts the opened descriptor, not the path: a file is opened without following a link, then its
//! kind, owner, mode and size are read from the descriptor. Where another file must not be put in its
//! place either, every directory on the way to it is checked, too. New files have their mode from
//! their first moment and are durable before they count.

mod error;
mod identity;
mod way;
mod write;

use std::fmt;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};

pub use self::error::FileError;
use self::error::Why;
pub(crate) use self::error::optional;
pub(crate) use self::identity::Identity;
pub(crate) use self::way::{check_directory, check_program, check_way, resolve};
pub(crate) use self::write::{
    beside, create, create_directory, create_nameless, discard, name, name_new, name_new_for_now, nameless,
    open_existing, open_lock, remove, rename, rename_for_now, replace, replace_keeping_owner, sync_parent,
    write_all_beside, write_beside, write_new,
};

/// Bytes of a long file that are read at a time.
const PIECE: usize = 64 * 1024;

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

impl Owner {
    fn trusts(self, uid: u32) -> bool {
        uid == 0
            || match self {
                Self::Root => false,
                Self::RootOrSelf => uid == rustix::process::geteuid().as_raw(),
                Self::User(user) => uid == user,
                Self::Anyone => true,
            }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("root"),
            Self::User(user) => write!(f, "root or user {user}"),
            Self::RootOrSelf | Self::Anyone => f.write_str("root or the user that reads it"),
        }
    }
}

/// The owner and mode of a file, with the bits of its kind (inode(7)).
#[derive(Debug, Clone, Copy)]
struct Origin {
    uid: u32,
    mode: u32,
}

impl Origin {
    fn of(path: &Path) -> Result<Self, FileError> {
        fs::symlink_metadata(path).map(|metadata| Self::from(&metadata)).map_err(FileError::at(path))
    }

    fn is(self, kind: FileType) -> bool {
        FileType::from_raw_mode(self.mode) == kind
    }

    fn check_owner(self, path: &Path, owner: Owner) -> Result<(), FileError> {
        let error = Why::Owner { uid: self.uid, want: owner };
        if owner.trusts(self.uid) { Ok(()) } else { Err(FileError::new(path, error)) }
    }

    fn check(self, path: &Path, owner: Owner) -> Result<(), FileError> {
        self.check_owner(path, owner)?;
        if owner != Owner::Anyone && self.mode & 0o022 != 0 {
            return Err(FileError::new(path, Why::Writable { mode: self.mode, path: path.to_owned() }));
        }
        Ok(())
    }

    /// Checks a directory or a link on the way to a file.
    fn check_step(self, path: &Path, owner: Owner) -> Result<(), FileError> {
        if self.is(FileType::Symlink) {
            self.check_owner(path, owner)
        } else if !self.is(FileType::Directory) {
            Err(FileError::new(path, Why::NotDirectory))
        } else if self.mode & Mode::SVTX.bits() != 0 {
            // Only the owner of an entry can replace it.
            self.check_owner(path, owner)
        } else {
            self.check(path, owner)
        }
    }
}

impl From<&Metadata> for Origin {
    fn from(metadata: &Metadata) -> Self {
        Self { uid: metadata.uid(), mode: metadata.mode() }
    }
}

/// Opens a file that only trusted users can have written, and says how many bytes it has.
///
/// # Errors
/// When the file cannot be opened, is a link or no regular file, has another owner, can be written by
/// others, or is larger than the limit (bytes).
fn open(path: &Path, limit: u64, owner: Owner) -> Result<(File, u64), FileError> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mut options = OpenOptions::new();
    let file = options.read(true).custom_flags(flags.bits().cast_signed()).open(path).map_err(FileError::at(path))?;
    let metadata = file.metadata().map_err(FileError::at(path))?;
    if !metadata.is_file() {
        return Err(FileError::new(path, Why::NotRegular));
    }
    Origin::from(&metadata).check(path, owner)?;
    if metadata.len() > limit {
        return Err(FileError::new(path, Why::TooLarge { limit }));
    }
    Ok((file, metadata.len()))
}

/// Reads a file of bytes; the errors are those of [`open`].
pub(crate) fn read_bytes(path: &Path, limit: u64, owner: Owner) -> Result<Vec<u8>, FileError> {
    let (file, length) = open(path, limit, owner)?;
    // Room for all of it and for the end: one read, and one that finds nothing more.
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0).saturating_add(64));
    file.take(limit + 1).read_to_end(&mut bytes).map_err(FileError::at(path))?;
    if bytes.len() as u64 > limit {
        return Err(FileError::new(path, Why::TooLarge { limit }));
    }
    Ok(bytes)
}

/// Reads a text file, which is UTF-8; the other errors are those of [`open`].
pub(crate) fn read(path: &Path, limit: u64, owner: Owner) -> Result<String, FileError> {
    String::from_utf8(read_bytes(path, limit, owner)?).map_err(|_| FileError::new(path, Why::NotText))
}

/// A long file to be read piece by piece; the errors are those of [`open`].
/// What is written to it meanwhile is read up to the limit.
pub(crate) fn reader(path: &Path, limit: u64, owner: Owner) -> Result<impl BufRead + use<>, FileError> {
    Ok(BufReader::with_capacity(PIECE, open(path, limit, owner)?.0.take(limit)))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions, Permissions};
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
    use std::path::Path;

    use rustix::fs::FileType;

    use super::{
        Origin, Owner, create, discard, open_existing, open_lock, read, remove, replace, replace_keeping_owner,
        write_new,
    };
    use crate::system::scratch::scratch;

    #[test]
    fn file_that_others_can_write_is_refused() {
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
    fn replaced_file_is_whole_and_nothing_is_left_beside_it() {
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
    fn file_is_trusted_only_of_root_or_of_whom_it_may_be() {
        let path = Path::new("/a/b");
        let (mine, another) = (rustix::process::geteuid().as_raw(), 12_345);
        for (uid, owner, trusted) in [
            (0, Owner::Root, true),
            (mine, Owner::RootOrSelf, true),
            (mine, Owner::Anyone, true),
            (another, Owner::Root, false),
            (another, Owner::RootOrSelf, false),
            (another, Owner::User(another + 1), false),
            (another, Owner::User(another), true),
            (another, Owner::Anyone, true),
        ] {
            let origin = |kind: FileType, mode| Origin { uid, mode: kind.as_raw_mode() | mode };
            let file = origin(FileType::RegularFile, 0o644);
            assert_eq!(file.check(path, owner).is_ok(), trusted, "{uid} {owner:?}");
            assert!(file.check_step(path, owner).unwrap_err().to_string().contains("not a directory"));
            // In a sticky directory only its owner can replace what is another's.
            for (kind, mode) in
                [(FileType::Directory, 0o755), (FileType::Directory, 0o1777), (FileType::Symlink, 0o777)]
            {
                let step = origin(kind, mode);
                assert_eq!(step.check_step(path, owner).is_ok(), trusted, "{mode:o}: {uid} {owner:?}");
            }
            let writable = origin(FileType::RegularFile, 0o664);
            assert_eq!(writable.check(path, owner).is_ok(), owner == Owner::Anyone, "{uid} {owner:?}");
        }
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
