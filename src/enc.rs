//! The external node classifier: prints the classification that espm has published.
//!
//! For any other node it becomes the master's previous classifier, if there is one. It runs as the Puppet server's
//! user and reads published files only, never the ledger.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;

use crate::audit::complain;
use crate::config::enc_ini::Classifier;
use crate::config::layout;
use crate::console::published::published_file;
use crate::console::publisher::MAX_NODE;
use crate::model::name::NodeName;
use crate::system::command;
use crate::system::process;
use crate::system::trusted_file::{self, FileError, Owner};

/// The command line.
pub const USAGE: &str = "espm-enc [-c FILE] NAME";

/// The classification of every other node.
const EMPTY: &str = "---\nclasses: {}\n";

/// Classifies the node that the arguments name: `[-c FILE] NAME`.
pub fn main(arguments: &[OsString]) -> ExitCode {
    let (config, name) = match arguments {
        [name] => (Path::new(layout::this().enc_ini), name),
        [flag, config, name] if flag == "-c" => (Path::new(config), name),
        _ => return fail(&format!("usage: {USAGE}")),
    };
    let config = match Classifier::load(config) {
        Ok(config) => config,
        Err(error) => return fail(&error.to_string()),
    };
    let published = match name.to_str().and_then(|name| NodeName::parse(name).ok()) {
        Some(name) => trusted_file::optional(published(&config.published, &name)),
        None => Ok(None),
    };
    match (published, config.fallback) {
        (Ok(Some(yaml)), _) => print(&yaml),
        (Err(error), _) => fail(&explained(&error, &config.published)),
        (Ok(None), Some(fallback)) => {
            let error = command::become_program(&fallback, &[name]);
            fail(&format!("{}: {error}", fallback.display()))
        }
        (Ok(None), None) => print(EMPTY),
    }
}

/// Reads a node's published classification.
///
/// Its owner must be the directory's, so that no link shows another user's file.
fn published(directory: &Path, name: &NodeName) -> Result<String, FileError> {
    let owner = std::fs::metadata(directory).map_err(FileError::at(directory))?.uid();
    trusted_file::read(&published_file(directory, name), MAX_NODE, Owner::User(owner))
}

/// Adds the command that lets this user read the directory to an error.
fn explained(error: &FileError, directory: &Path) -> String {
    let denied = error.io_kind() == Some(io::ErrorKind::PermissionDenied);
    let Some(found) = std::fs::metadata(directory).ok().filter(|_| denied) else { return error.to_string() };
    let (path, group) = (directory.display(), process::group_of(directory));
    match process::user_name(process::user()) {
        Some(_) if found.gid() == 0 && found.uid() != 0 => {
            // Nobody becomes a member of root's group for this.
            let owner = process::owner_of(directory);
            format!("{error}; {path} belongs to root's group; give it that of its owner: chown {owner}: {path}")
        }
        Some(user) if found.gid() != 0 => {
            format!("{error}; add the Puppet server's user to the group of {path}: usermod -aG {group} {user}")
        }
        _ => error.to_string(),
    }
}

fn print(yaml: &str) -> ExitCode {
    match io::stdout().lock().write_all(yaml.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn fail(what: &str) -> ExitCode {
    complain(what);
    ExitCode::FAILURE
}
