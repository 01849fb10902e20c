//! The check that the programs and directories of the configuration exist.
//!
//! It runs as espm's user and skips paths that this user cannot see; the commands that need them will report them.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::cli::Failure;
use crate::config::enc_ini::{self, Classifier};
use crate::config::{Command, Config, Enc};
use crate::system::process;
use crate::system::trusted_file;

/// Checks all programs, directories and users of the configuration.
pub(super) fn check(config: &Config) -> Result<String, Failure> {
    let authority = &config.authority;
    let mut wrong = Vec::new();
    let mut commands = vec![("authority", &authority.command)];
    if let Some(command) = config.console.command() {
        commands.insert(0, ("console", command));
    }
    wrong.extend(program("[espm] helper", &config.helper));
    if commands.iter().any(|(_, command)| command.user.as_deref().is_some_and(|user| !process::runs_as(user))) {
        wrong.extend(program("[espm] sudo", &config.sudo));
        // A user who can change it can become the user that sudo starts it as.
        wrong.extend(trusted_file::check_program(&config.helper).err().map(|error| format!("[espm] helper: {error}")));
    }
    if let Some(enc) = config.console.published() {
        wrong.extend(directory("[console] published", &enc.published).or_else(|| published(enc)));
    }
    for (section, command) in &commands {
        let first = command.argv.first().map_or("", String::as_str);
        wrong.extend(program(&format!("[{section}] command"), Path::new(first)));
        wrong.extend(directory(&format!("[{section}] directory"), &command.directory));
        wrong.extend(user(&format!("[{section}] user"), command));
    }
    wrong.extend(directory("[authority] ssldir", &authority.ssldir));
    wrong.extend(directory("[authority] cadir", &authority.cadir));
    wrong.extend(directory("[authority] records", &authority.records).or_else(|| records(config)));
    if wrong.is_empty() { Ok("are there".to_owned()) } else { Err(Failure(wrong.join("; "))) }
}

/// Checks that espm can write the published nodes and the Puppet server read them.
fn published(enc: &Enc) -> Option<String> {
    let found = std::fs::metadata(&enc.published).ok()?;
    let path = enc.published.display();
    let (owner, wanted, mode) = (found.uid(), process::user(), found.mode() & 0o7777);
    if owner != wanted {
        return Some(format!("[console] published: {path} is owned by user {owner}; chown {wanted} {path}"));
    }
    (mode & 0o072 != 0o050).then(|| {
        format!("[console] published: {path} has mode {mode:04o}; chmod 0750 {path}, so that its group can read it")
    })
}

/// Checks the classifier's enc.ini beside espm.ini; `None` when there is none.
pub(super) fn classifier(ini: &Path, enc: &Enc) -> Option<Result<String, Failure>> {
    let path = ini.with_file_name(enc_ini::FILE);
    path.try_exists().is_ok_and(|there| there).then(|| {
        let classifier = Classifier::load(&path)?;
        if classifier.published != enc.published {
            let (read, written) = (classifier.published.display(), enc.published.display());
            let advice = format!("is {read}, espm publishes in {written}; write published = {written}");
            return Err(Failure(format!("{}: [enc] published: {advice}", path.display())));
        }
        let wrong = classifier.fallback.as_deref().and_then(|fallback| program("[enc] fallback", fallback));
        wrong.map_or(Ok(path.display().to_string()), |what| Err(Failure(format!("{}: {what}", path.display()))))
    })
}

fn program(key: &str, path: &Path) -> Option<String> {
    let path_text = path.display();
    match std::fs::metadata(path) {
        Ok(found) if found.is_file() && found.mode() & 0o111 != 0 => None,
        Ok(_) => {
            Some(format!("{key}: {path_text} is not an executable program; name another, or chmod +x {path_text}"))
        }
        Err(error) => missing(error.kind(), key, path),
    }
}

fn directory(key: &str, path: &Path) -> Option<String> {
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => None,
        Ok(_) => Some(format!("{key}: {} is not a directory; name another", path.display())),
        Err(error) => missing(error.kind(), key, path),
    }
}

fn missing(kind: ErrorKind, key: &str, path: &Path) -> Option<String> {
    matches!(kind, ErrorKind::NotFound | ErrorKind::NotADirectory)
        .then(|| format!("{key}: {} does not exist; name the right path, or create it", path.display()))
}

fn user(key: &str, command: &Command) -> Option<String> {
    let name = command.user.as_deref()?;
    process::uid_of(name).is_none().then(|| format!("{key}: there is no user {name} in /etc/passwd; name another"))
}

/// Checks that the records belong to the user of the CA's command.
fn records(config: &Config) -> Option<String> {
    let authority = &config.authority;
    let user = authority.command.user.as_deref();
    let wanted = match user {
        Some(name) => process::uid_of(name)?,
        None => process::user(),
    };
    let found = std::fs::metadata(&authority.records).ok()?.uid();
    let path = authority.records.display();
    let name = user.map_or_else(|| wanted.to_string(), str::to_owned);
    (found != wanted).then(|| format!("[authority] records: {path} is owned by user {found}; chown {name} {path}"))
}
