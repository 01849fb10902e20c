//! Preshared keys: made, added to and retired from a configuration.

use std::path::Path;
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use zeroize::Zeroizing;

use super::{SetupError, load, say};
use crate::config::{CLIENT_NAME, Config, is_client_name};
use crate::model::psk::Psk;
use crate::system::clock::Deadline;
use crate::system::lock::{self, Lock};
use crate::system::random;
use crate::system::trusted_file::{self, Owner};

/// Random bytes of a key: 288 bits, 48 characters in base64url (RFC 4648, section 5).
const KEY_BYTES: usize = 36;

/// Bytes of a configuration.
const MAX_FILE: u64 = 64 * 1024;

/// How long another one who edits the file is waited for, which takes milliseconds.
const EDIT_WAIT: Duration = Duration::from_secs(10);

/// A new key.
pub(super) fn make() -> Result<Psk, SetupError> {
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    random::fill(bytes.as_mut_slice()).map_err(|error| SetupError::Say(error.to_string()))?;
    Ok(Psk::new(BASE64URL_NOPAD.encode(bytes.as_slice())))
}

/// Adds a key under a new name.
pub(super) fn add(path: &Path, name: &str) -> Result<Psk, SetupError> {
    if !is_client_name(name) {
        return say(format!("{name}: {CLIENT_NAME}"));
    }
    let _alone = alone(path)?;
    let config = load(path)?;
    if config.clients.iter().any(|client| client.name == name) {
        return say(format!("{}: [psk] {name} exists; take another name, then retire this one", path.display()));
    }
    let psk = make()?;
    rewrite(path, (name, true), |text| {
        let line = format!("{name} = {}\n", psk.digest());
        let with_line = |row: &str| if header(row) == Some("psk") { format!("{row}{line}") } else { row.into() };
        text.split_inclusive('\n').map(with_line).collect()
    })?;
    Ok(psk)
}

/// Lets one at a time edit the file: of two who read it at once, the second to write would bring back a key
/// that the first has retired. In a file of its own, which nobody but its maker can open and hold.
fn alone(path: &Path) -> Result<Lock, SetupError> {
    load(path)?;
    let (file, until) = (trusted_file::beside(path, "lock"), Deadline::after(EDIT_WAIT));
    match until.attempt(|| lock::try_take_passing(&file))? {
        Some(lock) => Ok(lock),
        None => say(format!("{}: another espm-setup edits it; try again", path.display())),
    }
}

/// The section that a line begins.
fn header(row: &str) -> Option<&str> {
    row.trim().strip_prefix('[').map(|name| name.trim_end_matches(']').trim())
}

/// Removes the key of a name.
pub(super) fn retire(path: &Path, name: &str) -> Result<(), SetupError> {
    let _alone = alone(path)?;
    let config = load(path)?;
    if !config.clients.iter().any(|client| client.name == name) {
        let names: Vec<_> = config.clients.iter().map(|client| client.name.as_str()).collect();
        return say(format!("{}: [psk] has no {name}; it has {}", path.display(), names.join(", ")));
    }
    if config.clients.len() == 1 {
        return say(format!("{}: [psk] {name} is the only key; add another first", path.display()));
    }
    rewrite(path, (name, false), |text| {
        let mut in_section = false;
        let keep = |row: &&str| {
            if let Some(section) = header(row) {
                in_section = section == "psk";
            }
            !(in_section && row.split_once('=').is_some_and(|(key, _)| key.trim() == name))
        };
        text.split_inclusive('\n').filter(keep).collect()
    })
}

/// Rewrites the file in one step, so that afterwards it has, or has not, a client; what would not be
/// such a configuration is not written.
fn rewrite(path: &Path, (name, there): (&str, bool), edit: impl FnOnce(&str) -> String) -> Result<(), SetupError> {
    let text = edit(&trusted_file::read(path, MAX_FILE, Owner::RootOrSelf)?);
    let config = Config::from_text(&text).map_err(|what| SetupError::Say(format!("{}: {what}", path.display())))?;
    if config.clients.iter().any(|client| client.name == name) != there {
        return say(format!("{}: [psk] is written in a way that only a human can edit", path.display()));
    }
    Ok(trusted_file::replace_keeping_owner(path, text.as_bytes())?)
}
