//! The files that set-up makes: checked first, then written all or not at all.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::SetupError;
use super::certificate::Made;
use crate::config::Config;
use crate::ledger;
use crate::model::state_directory;
use crate::system::process;
use crate::system::trusted_file::{self, FileError};

/// Checks that the directories are there and nothing is in the way; returns the state directory's group.
pub(super) fn check(ini: &Path, config: &Config) -> Result<u32, SetupError> {
    let (state, tls, authority) = (&config.state, &config.tls, &config.authority);
    let parent = |path: &Path| path.parent().unwrap_or(Path::new(".")).to_owned();
    let owner = authority.command.user.as_deref().unwrap_or("espm");
    let missing: Vec<_> = [
        (parent(ini), "mkdir -p".to_owned()),
        (parent(&tls.certificate), "mkdir -p".to_owned()),
        (state.clone(), "install -d -o espm -g espm -m 0750".to_owned()),
        (authority.records.clone(), format!("install -d -o {owner} -g {owner} -m 0700")),
    ]
    .into_iter()
    .filter(|(path, _)| !path.is_dir())
    .map(|(path, make)| format!("{make} {}", path.display()))
    .collect();
    if !missing.is_empty() {
        return Err(SetupError::Missing(missing));
    }
    let files = [ini, &tls.certificate, &tls.key].map(Path::to_owned).into_iter().chain(state_directory::all(state));
    let existing: Vec<_> = files.filter(|path| path.symlink_metadata().is_ok()).collect();
    if !existing.is_empty() {
        return Err(SetupError::Existing(existing));
    }
    Ok(std::fs::metadata(state).map_err(|error| FileError::io(state, error))?.gid())
}

/// Writes everything; when one file fails, all that was written is removed, and nothing that another
/// set-up has written since the check.
pub(super) fn write(ini: &Path, text: &str, config: &Config, group: u32, tls: &Made) -> Result<(), SetupError> {
    let mut made = Vec::new();
    let written = write_all(ini, text, config, group, tls, &mut made);
    if written.is_err() {
        for path in made {
            let _ = std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir(&path));
        }
    }
    written
}

fn write_all(
    ini: &Path,
    text: &str,
    config: &Config,
    group: u32,
    tls: &Made,
    made: &mut Vec<PathBuf>,
) -> Result<(), SetupError> {
    let write = |path: &Path, mode, text: &str, made: &mut Vec<PathBuf>| {
        trusted_file::write_new(path, mode, text.as_bytes()).map(|()| made.push(path.to_owned()))
    };
    let (state, io) = (&config.state, |path: &Path, error| FileError::io(path, error));
    write(&config.tls.key, 0o600, &tls.key, made)?;
    write(&config.tls.certificate, 0o640, &tls.certificate, made)?;
    process::as_owner_of(state, || ledger::create(state)).map_err(|error| io(state, error))??;
    made.extend(state_directory::all(state));
    // Last: while there is no configuration, nothing runs.
    write(ini, 0o640, text, made)?;
    Ok(std::os::unix::fs::chown(ini, None, Some(group)).map_err(|error| io(ini, error))?)
}
