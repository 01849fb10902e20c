//! The files that set-up makes: checked first, then written all or not at all; and the way back.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::SetupError;
use super::certificate::Made;
use crate::config::{CaCommand, Command, Config};
use crate::ledger;
use crate::model::state_directory;
use crate::system::process;
use crate::system::trusted_file::{self, FileError};

/// Checks that the directories are there and nothing is in the way; returns the state directory's group.
pub(super) fn check(ini: &Path, config: &Config) -> Result<u32, SetupError> {
    let (state, tls, authority) = (&config.state, &config.tls, &config.authority);
    let owner = authority.user.clone().unwrap_or_else(|| process::owner_of(state));
    let missing: Vec<_> = [
        (parent(ini), None),
        (parent(&tls.certificate), None),
        (state.clone(), Some("-o espm -g espm -m 0750".to_owned())),
        (authority.records.clone(), Some(format!("-o {owner} -g {owner} -m 0700"))),
    ]
    .into_iter()
    .filter(|(path, _)| !path.is_dir())
    .map(|(path, options)| make(&path, options))
    .collect();
    if !missing.is_empty() {
        return Err(SetupError::Missing(missing));
    }
    let files = [ini, &tls.certificate, &tls.key].map(Path::to_owned).into_iter().chain(state_directory::all(state));
    let existing: Vec<_> = files.filter(|path| path.symlink_metadata().is_ok()).collect();
    if !existing.is_empty() {
        return Err(SetupError::Existing(existing));
    }
    process::check_owner_of(state).map_err(SetupError::Become)?;
    if let Some(Command { argv, directory, user, .. }) = config.console.command() {
        check_command("console", argv, directory)?;
        check_user("console", user.as_deref())?;
    }
    if let Some(CaCommand { argv, directory, .. }) = authority.command() {
        check_command("authority", argv, directory)?;
    }
    check_user("authority", authority.user.as_deref())?;
    Ok(fs::metadata(state).map_err(|error| FileError::io(state, error))?.gid())
}

fn parent(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new(".")).to_owned()
}

/// The line that makes a directory, and those above it that are missing: their mode would be the umask's.
fn make(path: &Path, options: Option<String>) -> String {
    let above = |path: &Path| -> Vec<_> {
        path.ancestors()
            .skip(1)
            .take_while(|above| !above.as_os_str().is_empty() && !above.is_dir())
            .map(Path::to_owned)
            .collect()
    };
    let plain: String = above(path).iter().rev().map(|above| format!(" {}", above.display())).collect();
    let path = path.display();
    match options {
        None => format!("install -d -m 0755{plain} {path}"),
        Some(options) if plain.is_empty() => format!("install -d {options} {path}"),
        Some(options) => format!("install -d -m 0755{plain} && install -d {options} {path}"),
    }
}

/// Refuses the command of a console or a CA that this machine does not have.
fn check_command(section: &'static str, argv: &[String], directory: &Path) -> Result<(), SetupError> {
    let program = argv.first().map_or("", String::as_str);
    if !Path::new(program).is_file() {
        let what = format!("command: there is no {program}");
        return Err(SetupError::Absent { section, what, option: "command" });
    }
    if !directory.is_dir() {
        let what = format!("directory: there is no {}", directory.display());
        return Err(SetupError::Absent { section, what, option: "directory" });
    }
    Ok(())
}

fn check_user(section: &'static str, user: Option<&str>) -> Result<(), SetupError> {
    match user.filter(|user| process::uid_of(user).is_none()) {
        Some(user) => {
            let what = format!("user: there is no user {user} in /etc/passwd");
            Err(SetupError::Absent { section, what, option: "user" })
        }
        None => Ok(()),
    }
}

/// The files of a set-up that is not finished: espm.ini has another name, and without it nothing runs. Unless they
/// are finished, they are removed, and nothing that another set-up has written since the check.
pub(super) struct Unfinished {
    ini: PathBuf,
    made: Vec<PathBuf>,
}

impl Unfinished {
    /// Writes everything.
    pub(super) fn write(ini: &Path, text: &str, config: &Config, group: u32, tls: &Made) -> Result<Self, SetupError> {
        let mut files = Self { ini: ini.to_owned(), made: Vec::new() };
        let (state, io) = (&config.state, |path: &Path, error| FileError::io(path, error));
        files.write_one(&config.tls.key, 0o600, &tls.key)?;
        files.write_one(&config.tls.certificate, 0o640, &tls.certificate)?;
        process::as_owner_of(state, || ledger::create(state)).map_err(|error| io(state, error))??;
        files.made.extend(state_directory::all(state));
        let beside = trusted_file::beside(ini, "new");
        files.write_one(&beside, 0o640, text)?;
        std::os::unix::fs::chown(&beside, None, Some(group)).map_err(|error| io(&beside, error))?;
        Ok(files)
    }

    fn write_one(&mut self, path: &Path, mode: u32, text: &str) -> Result<(), SetupError> {
        trusted_file::write_new(path, mode, text.as_bytes())?;
        self.made.push(path.to_owned());
        Ok(())
    }

    /// Gives espm.ini its name.
    pub(super) fn finish(mut self) -> Result<(), SetupError> {
        trusted_file::name_new(&trusted_file::beside(&self.ini, "new"), &self.ini)?;
        self.made.clear();
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        for path in &self.made {
            let _ = fs::remove_file(path).or_else(|_| fs::remove_dir(path));
        }
    }
}

/// Removes what set-up has made, as long as espm has made nothing; returns what is gone.
///
/// A certificate and a key of another name are the operator's own, and stay.
pub(super) fn undo(ini: &Path, config: &Config, tls: [PathBuf; 2]) -> Result<Vec<PathBuf>, SetupError> {
    let records = fs::read_dir(&config.authority.records).into_iter().flatten().filter_map(Result::ok);
    let made: Vec<_> =
        records.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|of| of == "json")).collect();
    if let [record, ..] = made.as_slice() {
        return Err(SetupError::InUse(format!("{} is the record of a certificate", record.display())));
    }
    let state = &config.state;
    let removed = process::as_owner_of(state, || ledger::remove_empty(state)).map_err(SetupError::Become)??;
    if let Some(nodes) = removed {
        return Err(SetupError::InUse(format!(
            "the ledger {} has {nodes}",
            state_directory::database(state).display()
        )));
    }
    let own = [&config.tls.certificate, &config.tls.key];
    let files = [ini.to_owned(), trusted_file::beside(ini, "new")]
        .into_iter()
        .chain(tls.into_iter().filter(|path| own.contains(&path)));
    let mut gone = Vec::new();
    for path in files.filter(|path| path.symlink_metadata().is_ok()) {
        trusted_file::remove(&path)?;
        gone.push(path);
    }
    gone.push(state_directory::database(state));
    Ok(gone)
}
