//! The files that set-up makes: checked first, then written all or not at all.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{SetupError, say};
use crate::ledger;
use crate::model::state_directory;
use crate::system::process;
use crate::system::trusted_file;

/// The directories that have to be there before.
pub(super) struct Directories<'a> {
    pub(super) configuration: &'a Path,
    pub(super) certificates: &'a Path,
    pub(super) state: &'a Path,
    pub(super) records: &'a Path,
    /// The user that the CA's command runs as, where it is not espm's own.
    pub(super) authority_user: Option<&'a str>,
}

impl Directories<'_> {
    /// Checks that the directories are there and nothing is in the way; tells the state directory's group.
    pub(super) fn check(&self, files: &[&PathBuf]) -> Result<u32, SetupError> {
        let state = self.state;
        let needed = [
            (self.configuration, "mkdir -p".to_owned()),
            (self.certificates, "mkdir -p".to_owned()),
            (state, "install -d -o espm -g espm -m 0750".to_owned()),
            (self.records, format!("install -d -o {0} -g {0} -m 0700", self.authority_user.unwrap_or("espm"))),
        ];
        let missing: Vec<_> = needed.iter().filter(|(path, _)| !path.is_dir()).collect();
        if !missing.is_empty() {
            let commands: Vec<_> =
                missing.iter().map(|(path, make)| format!("    {make} {}", path.display())).collect();
            return say(format!("these directories are missing; make them first:\n{}", commands.join("\n")));
        }
        let state_files = state_directory::all(state);
        let there: Vec<_> =
            files.iter().copied().chain(&state_files).filter(|path| path.symlink_metadata().is_ok()).collect();
        if !there.is_empty() {
            let names: Vec<_> = there.iter().map(|path| format!("    {}", path.display())).collect();
            return say(format!("nothing is overwritten; these exist already:\n{}", names.join("\n")));
        }
        let metadata =
            std::fs::metadata(state).map_err(|error| SetupError::File(trusted_file::FileError::io(state, error)))?;
        Ok(metadata.gid())
    }
}

/// What set-up writes: each path with its content.
pub(super) struct Files<'a> {
    /// The state directory.
    pub(super) state: &'a Path,
    /// The configuration.
    pub(super) ini: (&'a Path, &'a str),
    /// The web server's certificate.
    pub(super) certificate: (&'a Path, &'a str),
    /// Its private key.
    pub(super) key: (&'a Path, &'a str),
}

impl Files<'_> {
    /// Writes everything; when one thing fails, all that was written is removed, and nothing that another
    /// set-up has written since the check.
    pub(super) fn write(&self, group: u32) -> Result<(), SetupError> {
        let mut made = Vec::new();
        let written = self.write_all(group, &mut made);
        if written.is_err() {
            for path in made {
                let _ = std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir(&path));
            }
        }
        written
    }

    fn write_all(&self, group: u32, made: &mut Vec<PathBuf>) -> Result<(), SetupError> {
        let mut write = |path: &Path, mode, text: &str| {
            trusted_file::write_new(path, mode, text.as_bytes()).map(|()| made.push(path.to_owned()))
        };
        write(self.key.0, 0o600, self.key.1)?;
        write(self.certificate.0, 0o640, self.certificate.1)?;
        let io = |path: &Path, error| SetupError::File(trusted_file::FileError::io(path, error));
        let created = process::as_owner_of(self.state, || ledger::create(self.state));
        created.map_err(|error| io(self.state, error))?.map_err(|error| SetupError::Say(error.to_string()))?;
        made.extend(state_directory::all(self.state));
        // Last: while there is no configuration, nothing runs.
        trusted_file::write_new(self.ini.0, 0o640, self.ini.1.as_bytes())?;
        made.push(self.ini.0.to_owned());
        std::os::unix::fs::chown(self.ini.0, None, Some(group)).map_err(|error| io(self.ini.0, error))
    }
}
