//! The check that the programs and directories of the configuration exist.
//!
//! It runs as espm's user and skips paths that this user cannot see; the commands that need them will report them.

use std::fs::{DirEntry, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::cli::Failure;
use crate::config::enc_ini::{self, Classifier};
use crate::config::{Config, Enc};
use crate::system::process;
use crate::system::trusted_file;

/// Checks all programs, directories and users of the configuration.
pub(super) fn check(config: &Config) -> Result<String, Failure> {
    let authority = &config.authority;
    let mut wrong = Vec::new();
    let console = config.console.command();
    let users =
        [("console", console.and_then(|command| command.user.as_deref())), ("authority", authority.user.as_deref())];
    wrong.extend(program("[espm] helper", &config.helper));
    if users.iter().any(|(_, user)| user.is_some_and(|user| !process::runs_as(user))) {
        wrong.extend(program("[espm] sudo", &config.sudo));
        // A user who can change it can become the user that sudo starts it as.
        wrong.extend(trusted_file::check_program(&config.helper).err().map(|error| format!("[espm] helper: {error}")));
    }
    if let Some(enc) = config.console.published() {
        wrong.extend(directory("[console] published", &enc.published).or_else(|| published(enc)));
    }
    if let Some(command) = console {
        wrong.extend(rake_directory(&command.directory));
    }
    wrong.extend(authority.config.as_deref().and_then(|path| file("[authority] config", path)));
    let commands = [
        console.map(|command| ("console", &command.argv, &command.directory)),
        authority.command().map(|command| ("authority", &command.argv, &command.directory)),
    ];
    for (section, argv, runs_in) in commands.into_iter().flatten() {
        wrong.extend(program(&format!("[{section}] command"), Path::new(argv.first().map_or("", String::as_str))));
        wrong.extend(directory(&format!("[{section}] directory"), runs_in));
    }
    wrong.extend(users.iter().filter_map(|(section, name)| user(&format!("[{section}] user"), *name)));
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
    let what = if owner != wanted {
        format!("is owned by user {owner}")
    } else if mode & 0o072 != 0o050 {
        format!("has mode {mode:04o}, so that its group cannot read it or others can write it")
    } else {
        return None;
    };
    let user = process::user_name(wanted).unwrap_or_else(|| wanted.to_string());
    let repair = format!("chown {user} {path} && chmod 0750 {path}");
    let advice = advice("published", &found, &enc.published, holds_only_nodes(&enc.published), &repair);
    Some(format!("[console] published: {path} {what}; {advice}"))
}

fn holds_only_nodes(directory: &Path) -> bool {
    let is_node = |entry: std::io::Result<DirEntry>| {
        entry.is_ok_and(|entry| entry.path().extension().is_some_and(|extension| extension == "yaml"))
    };
    std::fs::read_dir(directory).is_ok_and(|mut entries| entries.all(is_node))
}

/// The key first, because it may name another directory; the repair of a directory only if it is espm's own.
fn advice(key: &str, found: &Metadata, path: &Path, is_ours: bool, repair: &str) -> String {
    let depth = path.components().count() - 1;
    let is_system = found.mode() & 0o1000 != 0 || depth < 3;
    if is_ours && !is_system {
        format!("name the right directory in {key}, or type: {repair}")
    } else {
        format!("name a directory of espm's own in {key}")
    }
}

/// Checks that nobody can put a file where rake loads it: it runs what is in `rakelib` there.
fn rake_directory(path: &Path) -> Option<String> {
    let mode = std::fs::metadata(path).ok()?.mode() & 0o7777;
    (mode & 0o002 != 0).then(|| {
        let path = path.display();
        format!("[console] directory: all can write {path} (mode {mode:04o}); name the console's own directory")
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
        Ok(_) => Some(format!("{key}: {path_text} is not an executable program; name the right one")),
        Err(error) => missing(error.kind(), key, path),
    }
}

fn file(key: &str, path: &Path) -> Option<String> {
    match std::fs::metadata(path) {
        Ok(found) if found.is_file() => None,
        Ok(_) => Some(format!("{key}: {} is not a file; name another", path.display())),
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

fn user(key: &str, user: Option<&str>) -> Option<String> {
    let name = user?;
    process::uid_of(name).is_none().then(|| format!("{key}: there is no user {name} in /etc/passwd; name another"))
}

/// Checks that the records belong to the user of the CA's command.
fn records(config: &Config) -> Option<String> {
    let authority = &config.authority;
    let path = &authority.records;
    let others = [&config.state, &authority.ssldir, &authority.cadir];
    let others = others.into_iter().chain(config.console.published().map(|enc| &enc.published));
    if let Some(other) = others.into_iter().find(|other| path.starts_with(other) || other.starts_with(path)) {
        let (path, other) = (path.display(), other.display());
        return Some(format!("[authority] records: {path} is not apart from {other}; name a directory of its own"));
    }
    let user = authority.user.as_deref();
    let wanted = match user {
        Some(name) => process::uid_of(name)?,
        None => process::user(),
    };
    let found = std::fs::metadata(path).ok()?;
    let (owner, mode) = (found.uid(), found.mode() & 0o7777);
    let name = user.map_or_else(|| wanted.to_string(), str::to_owned);
    (owner != wanted).then(|| {
        let shown = path.display();
        let advice =
            advice("records, or the right user", &found, path, mode == 0o700, &format!("chown {name} {shown}"));
        format!("[authority] records: {shown} is owned by user {owner}; {advice}")
    })
}

/// The command that lets a command's user read the configuration, where its error says that it may not.
pub(super) fn unreadable(ini: &Path, config: &Config, what: &str) -> Option<String> {
    if !what.contains(&format!("{}: Permission denied", ini.display())) {
        return None;
    }
    let console = || config.console.command().and_then(|command| command.user.as_ref());
    let user = if what.starts_with("the CA") { config.authority.user.as_ref() } else { console() }?;
    let found = std::fs::metadata(ini).ok()?;
    let (path, gid, mode) = (ini.display(), found.gid(), found.mode() & 0o7777);
    let group = process::group_name(gid).unwrap_or_else(|| gid.to_string());
    let advice = if gid == 0 {
        // Nobody becomes a member of root's group for this.
        let group = std::fs::metadata(&config.state).map_or(0, |state| state.gid());
        let group = process::group_name(group).unwrap_or_else(|| group.to_string());
        format!("chgrp {group} {path}")
    } else if !process::is_member(user, gid) {
        format!("usermod -aG {group} {user}")
    } else if mode & 0o040 == 0 {
        format!("chmod g+r {path}")
    } else {
        format!("let {user} pass through the directories of {path}")
    };
    Some(format!("{what}; {user} must be able to read it: {advice}"))
}
