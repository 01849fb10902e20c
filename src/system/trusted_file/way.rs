//! The directories and links on the way to a file.

use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};

use rustix::fs::FileType;
use rustix::io::Errno;

use super::error::Why;
use super::{FileError, Origin, Owner};

/// Symbolic links on the way to a file, as the kernel bounds them.
const MAX_LINKS: usize = 40;

/// Checks that a path is a directory with a trusted owner, into which others cannot write.
pub(crate) fn check_directory(path: &Path, owner: Owner) -> Result<(), FileError> {
    let path = resolve(path, owner)?;
    let found = Origin::of(&path)?;
    if !found.is(FileType::Directory) {
        return Err(FileError::new(&path, Why::NotDirectory));
    }
    found.check(&path, owner)
}

/// A path without symbolic links: links of trusted users are followed, those of others are refused, and so is a way
/// that others can write to.
pub(crate) fn resolve(path: &Path, owner: Owner) -> Result<PathBuf, FileError> {
    walk(path, owner, Steps::All)
}

/// Checks every directory and every link on the way to a file.
///
/// The file is looked for from `/` on, one step after the other, through links as the kernel goes.
/// Otherwise, somebody could put another file in its place. A directory that all may write must be sticky, as `/tmp`
/// is.
pub(crate) fn check_way(path: &Path, owner: Owner) -> Result<(), FileError> {
    walk(path, owner, Steps::Directories).map(drop)
}

/// What is looked at on the way to a file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Steps {
    /// The directories, and the links to them.
    Directories,
    /// The file itself, too, where it is a link.
    All,
}

/// Goes to a file, and says where that is without links.
fn walk(path: &Path, owner: Owner, steps: Steps) -> Result<PathBuf, FileError> {
    let mut here = PathBuf::from("/");
    let mut rest = Vec::new();
    let mut links = 0;
    let push = |rest: &mut Vec<OsString>, way: &Path| {
        rest.extend(way.components().rev().map(|component| component.as_os_str().to_owned()));
    };
    let whole = std::path::absolute(path).map_err(FileError::at(path))?;
    push(&mut rest, if steps == Steps::All { &whole } else { whole.parent().unwrap_or(Path::new("/")) });
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
        let step = Origin::of(&here)?;
        let last = steps == Steps::All && rest.is_empty();
        if step.is(FileType::Symlink) || !last {
            step.check_step(&here, owner)?;
        }
        if step.is(FileType::Symlink) {
            links += 1;
            if links > MAX_LINKS {
                return Err(FileError::io(&here, Errno::LOOP.into()));
            }
            push(&mut rest, &fs::read_link(&here).map_err(FileError::at(&here))?);
            here.pop();
        }
    }
    Ok(here)
}

/// Checks that root alone decides what a program is: the file and the way to it.
pub(crate) fn check_program(path: &Path) -> Result<(), FileError> {
    check_way(path, Owner::Root)?;
    let metadata = fs::metadata(path).map_err(FileError::at(path))?;
    Origin::from(&metadata).check(path, Owner::Root)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::{check_directory, check_way, resolve};
    use crate::system::scratch::scratch;
    use crate::system::trusted_file::{Owner, write_new};

    #[test]
    fn file_is_trusted_only_if_every_directory_and_link_on_the_way_is() {
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
    fn links_of_trusted_users_are_resolved_and_those_of_others_refused() {
        let top = scratch("file-resolve");
        fs::create_dir_all(top.join("disk/state")).unwrap();
        symlink("disk", top.join("opt")).unwrap();
        symlink(top.join("opt/state"), top.join("state")).unwrap();
        let real = fs::canonicalize(top.join("disk/state")).unwrap();
        for way in ["disk/state", "opt/state", "state", "opt/../state/."] {
            assert_eq!(resolve(&top.join(way), Owner::RootOrSelf).unwrap(), real, "{way}");
            check_directory(&top.join(way), Owner::RootOrSelf).unwrap();
        }
        fs::set_permissions(top.join("disk"), Permissions::from_mode(0o777)).unwrap();
        assert!(
            resolve(&top.join("state"), Owner::RootOrSelf).unwrap_err().to_string().contains("others can write it")
        );
        if rustix::process::geteuid().is_root() {
            fs::set_permissions(top.join("disk"), Permissions::from_mode(0o755)).unwrap();
            std::os::unix::fs::lchown(top.join("opt"), Some(12_345), None).unwrap();
            let error = resolve(&top.join("state"), Owner::RootOrSelf).unwrap_err().to_string();
            assert!(error.contains("opt: is owned by user 12345"), "{error}");
        }
    }
}
