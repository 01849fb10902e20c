//! The external node classifier: prints what espm has published for a node.
//!
//! For any other node it becomes the shop's previous classifier, if there is one, so that no state
//! of espm can fail another's catalogue. Runs as the Puppet server's user and reads published files
//! only, never the ledger.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::audit::complain;
use crate::command;
use crate::console::enc::published_file;
use crate::ini_text;
use crate::layout;
use crate::name::NodeName;
use crate::trusted_file::{self, FileError, Owner};

/// What it says of its arguments.
pub const USAGE: &str = "espm-enc [-c FILE] NAME";

/// Bytes of its configuration.
const MAX_CONFIG: u64 = 64 * 1024;

/// Bytes of a classification.
const MAX_NODE: u64 = 1024 * 1024;

/// What a node without a classification has.
const EMPTY: &str = "---\nclasses: {}\n";

/// Its configuration.
#[derive(Debug, PartialEq, Eq)]
struct Config {
    published: PathBuf,
    fallback: Option<PathBuf>,
}

/// Classifies the node that the arguments name: `[-c FILE] NAME`.
pub fn main(arguments: &[OsString]) -> ExitCode {
    let (config, name) = match arguments {
        [name] => (Path::new(layout::this().enc_ini), name),
        [flag, config, name] if flag == "-c" => (Path::new(config), name),
        _ => return fail(&format!("usage: {USAGE}")),
    };
    let config = match load(config) {
        Ok(config) => config,
        Err(what) => return fail(&what),
    };
    let ours = name.to_str().and_then(|name| NodeName::parse(name).ok());
    match ours.map(|name| published(&config.published, &name)) {
        Some(Ok(yaml)) => print(&yaml),
        Some(Err(error)) if error.io_kind() != Some(io::ErrorKind::NotFound) => fail(&error.to_string()),
        _ => match config.fallback {
            Some(fallback) => {
                let error = command::become_program(&fallback, name);
                fail(&format!("{}: {error}", fallback.display()))
            }
            None => print(EMPTY),
        },
    }
}

/// What is published for a node: a file of whose directory it is, so that no link shows another's file.
fn published(directory: &Path, name: &NodeName) -> Result<String, FileError> {
    let owner = std::fs::metadata(directory).map_err(|error| FileError::io(directory, error))?.uid();
    trusted_file::read(&published_file(directory, name), MAX_NODE, Owner::User(owner))
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

fn load(path: &Path) -> Result<Config, String> {
    let text = trusted_file::read(path, MAX_CONFIG, Owner::Root).map_err(|error| error.to_string())?;
    from_text(&text).map_err(|what| format!("{}: {what}", path.display()))
}

fn from_text(text: &str) -> Result<Config, String> {
    let mut config = Config { published: PathBuf::from(layout::this().nodes), fallback: None };
    for section in ini_text::read(text)? {
        if section.name != "enc" {
            return Err(format!("[{}]: is not known; want [enc]", section.name));
        }
        for (key, value, _) in section.entries {
            if !value.starts_with('/') {
                return Err(format!("[enc] {key}: want an absolute path, found {value:?}"));
            }
            match key.as_str() {
                "published" => config.published = value.into(),
                "fallback" => config.fallback = Some(value.into()),
                _ => return Err(format!("[enc] {key}: is not known; want published or fallback")),
            }
        }
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::from_text;

    #[test]
    fn its_configuration_names_two_paths() {
        let config = from_text("[enc]\npublished = /a\nfallback = /b\n").unwrap();
        assert_eq!((config.published.to_str(), config.fallback.unwrap().to_str()), (Some("/a"), Some("/b")));
        assert!(from_text("").unwrap().fallback.is_none());
        for bad in ["[enc]\nfallback = b", "[enc]\nfall = /b", "[x]"] {
            assert!(from_text(bad).is_err(), "{bad}");
        }
    }
}
