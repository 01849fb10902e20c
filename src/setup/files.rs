//! The files that set-up makes: checked first, then written all or not at all.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::certificate::Made;
use super::{New, SetupError};
use crate::ledger;
use crate::model::state_directory;
use crate::system::process;
use crate::system::trusted_file::{self, FileError};

/// Checks that the directories are there and nothing is in the way; returns the state directory's group.
pub(super) fn check(new: &New) -> Result<u32, SetupError> {
    let state = &new.state;
    let owner = new.authority_user.as_deref().unwrap_or("espm");
    let missing: Vec<_> = [
        (&new.directory, "mkdir -p".to_owned()),
        (&new.certificates, "mkdir -p".to_owned()),
        (state, "install -d -o espm -g espm -m 0750".to_owned()),
        (&new.records, format!("install -d -o {owner} -g {owner} -m 0700")),
    ]
    .into_iter()
    .filter(|(path, _)| !path.is_dir())
    .map(|(path, make)| format!("{make} {}", path.display()))
    .collect();
    if !missing.is_empty() {
        return Err(SetupError::Missing(missing));
    }
    let files = [new.ini(), new.certificate(), new.key()].into_iter().chain(state_directory::all(state));
    let existing: Vec<_> = files.filter(|path| path.symlink_metadata().is_ok()).collect();
    if !existing.is_empty() {
        return Err(SetupError::Existing(existing));
    }
    Ok(std::fs::metadata(state).map_err(|error| FileError::io(state, error))?.gid())
}

/// Writes everything; when one file fails, all that was written is removed, and nothing that another
/// set-up has written since the check.
pub(super) fn write(new: &New, group: u32, ini: &str, tls: &Made) -> Result<(), SetupError> {
    let mut made = Vec::new();
    let written = write_all(new, group, ini, tls, &mut made);
    if written.is_err() {
        for path in made {
            let _ = std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir(&path));
        }
    }
    written
}

fn write_all(new: &New, group: u32, ini: &str, tls: &Made, made: &mut Vec<PathBuf>) -> Result<(), SetupError> {
    fn write(path: PathBuf, mode: u32, text: &str, made: &mut Vec<PathBuf>) -> Result<(), FileError> {
        trusted_file::write_new(&path, mode, text.as_bytes())?;
        made.push(path);
        Ok(())
    }
    let io = |path: &Path, error| FileError::io(path, error);
    write(new.key(), 0o600, &tls.key, made)?;
    write(new.certificate(), 0o640, &tls.certificate, made)?;
    process::as_owner_of(&new.state, || ledger::create(&new.state)).map_err(|error| io(&new.state, error))??;
    made.extend(state_directory::all(&new.state));
    // Last: while there is no configuration, nothing runs.
    write(new.ini(), 0o640, ini, made)?;
    Ok(std::os::unix::fs::chown(new.ini(), None, Some(group)).map_err(|error| io(&new.ini(), error))?)
}
