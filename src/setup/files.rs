//! The files that set-up makes: checked first, then written all or not at all.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{SetupError, say};
use crate::ledger;
use crate::state;
use crate::trusted_file;

/// The user and group that espm runs as.
pub(super) struct OwnerIds {
    uid: u32,
    gid: u32,
}

/// Checks that the directories are there and nothing is in the way; tells whose the state directory is.
pub(super) fn check(
    directory: &Path,
    certificates: &Path,
    state: &Path,
    records: &Path,
    files: &[&PathBuf],
) -> Result<OwnerIds, SetupError> {
    let needed = [
        (directory, "mkdir -p"),
        (certificates, "mkdir -p"),
        (state, "install -d -o espm -g espm -m 0750"),
        (records, "install -d -o pe-puppet -g pe-puppet -m 0700"),
    ];
    let missing: Vec<_> = needed.iter().filter(|(path, _)| !path.is_dir()).collect();
    if !missing.is_empty() {
        let commands: Vec<_> = missing.iter().map(|(path, make)| format!("    {make} {}", path.display())).collect();
        return say(format!("these directories are missing; make them first:\n{}", commands.join("\n")));
    }
    let state_files = state::all(state);
    let there: Vec<_> =
        files.iter().copied().chain(&state_files).filter(|path| path.symlink_metadata().is_ok()).collect();
    if !there.is_empty() {
        let names: Vec<_> = there.iter().map(|path| format!("    {}", path.display())).collect();
        return say(format!("nothing is overwritten; these exist already:\n{}", names.join("\n")));
    }
    let metadata =
        std::fs::metadata(state).map_err(|error| SetupError::File(trusted_file::FileError::io(state, error)))?;
    Ok(OwnerIds { uid: metadata.uid(), gid: metadata.gid() })
}

/// Writes everything; when one thing fails, all that was written is removed.
pub(super) fn write(
    owner: &OwnerIds,
    state: &Path,
    ini: &Path,
    text: &str,
    certificate: (&Path, &str),
    key: (&Path, &str),
) -> Result<(), SetupError> {
    let written = write_all(owner, state, ini, text, certificate, key);
    if written.is_err() {
        for path in [ini, certificate.0, key.0] {
            let _ = std::fs::remove_file(path);
        }
        for path in state::all(state) {
            let _ = std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir(&path));
        }
    }
    written
}

fn write_all(
    owner: &OwnerIds,
    state: &Path,
    ini: &Path,
    text: &str,
    certificate: (&Path, &str),
    key: (&Path, &str),
) -> Result<(), SetupError> {
    trusted_file::write_new(key.0, 0o600, key.1.as_bytes())?;
    trusted_file::write_new(certificate.0, 0o640, certificate.1.as_bytes())?;
    ledger::create(state).map_err(|error| SetupError::Say(error.to_string()))?;
    let give = |path: &Path, uid: Option<u32>| {
        std::os::unix::fs::chown(path, uid, Some(owner.gid))
            .map_err(|error| SetupError::File(trusted_file::FileError::io(path, error)))
    };
    for path in state::all(state) {
        give(&path, Some(owner.uid))?;
    }
    // Last: while there is no configuration, nothing runs.
    trusted_file::write_new(ini, 0o640, text.as_bytes())?;
    give(ini, None)
}
