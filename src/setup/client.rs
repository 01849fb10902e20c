//! Preshared keys: made, added to and retired from a configuration.

use std::path::Path;
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use zeroize::Zeroizing;

use super::{SetupError, load};
use crate::config::{Config, ConfigError, MAX_FILE, Wrong, is_client_name};
use crate::model::psk::Psk;
use crate::system::clock::Deadline;
use crate::system::ini;
use crate::system::lock::{self, Lock};
use crate::system::random;
use crate::system::trusted_file::{self, Owner};

/// Random bytes of a key: 288 bits, 48 characters in base64url (RFC 4648, section 5).
const KEY_BYTES: usize = 36;

/// How long another edit of the file is waited for; one takes milliseconds.
const EDIT_WAIT: Duration = Duration::from_secs(10);

/// A new key.
pub(super) fn make() -> Result<Psk, SetupError> {
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    random::fill(bytes.as_mut_slice()).map_err(SetupError::Random)?;
    Ok(Psk::new(BASE64URL_NOPAD.encode(bytes.as_slice())))
}

/// Adds a key under a new name, once it is shown.
pub(super) fn add(
    path: &Path,
    name: &str,
    show: impl FnOnce(&Psk) -> Result<(), SetupError>,
) -> Result<(), SetupError> {
    if !is_client_name(name) {
        return Err(SetupError::ClientName(name.to_owned()));
    }
    let _alone = alone(path)?;
    if clients(path)?.iter().any(|client| client == name) {
        return Err(SetupError::KeyExists { path: path.to_owned(), name: name.to_owned() });
    }
    let psk = make()?;
    show(&psk)?;
    edit(path, |rows, psks| rows.insert(psks.line, format!("{name} = {}\n", psk.digest())))
}

/// Removes the key of a name.
pub(super) fn retire(path: &Path, name: &str) -> Result<(), SetupError> {
    let _alone = alone(path)?;
    let there = clients(path)?;
    if !there.iter().any(|client| client == name) {
        return Err(SetupError::NoKey { path: path.to_owned(), name: name.to_owned(), there });
    }
    if there.len() == 1 {
        return Err(SetupError::OnlyKey { path: path.to_owned(), name: name.to_owned() });
    }
    edit(path, |rows, psks| {
        for (_, _, line) in psks.entries.iter().filter(|(client, _, _)| client == name) {
            rows.remove(line - 1);
        }
    })
}

/// The names of the clients. A configuration without a key is none for espm, but can be given one.
fn clients(path: &Path) -> Result<Vec<String>, ConfigError> {
    match load(path) {
        Ok(config) => Ok(config.clients.into_iter().map(|client| client.name).collect()),
        Err(ConfigError::Content { wrong: Wrong::NoKey, .. }) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Lets one at a time edit the file: of two who read it at once, the second to write would bring back a key
/// that the first has retired. In a file of its own, which nobody but its maker can open and hold.
fn alone(path: &Path) -> Result<Lock, SetupError> {
    clients(path)?;
    let (file, until) = (trusted_file::beside(path, "lock"), Deadline::after(EDIT_WAIT));
    until.attempt(|| lock::try_acquire_removed(&file))?.ok_or_else(|| SetupError::Busy(path.to_owned()))
}

/// Rewrites the lines of the file in one step; what would not be a configuration is not written.
fn edit(path: &Path, edit: impl FnOnce(&mut Vec<String>, &ini::Section)) -> Result<(), SetupError> {
    let mut text = trusted_file::read(path, MAX_FILE, Owner::RootOrSelf)?;
    let wrong = |wrong| ConfigError::Content { path: path.to_owned(), wrong };
    let read = |text: &str| ini::read(text).map_err(|error| wrong(error.into()));
    if !read(&text)?.iter().any(|section| section.name == "psk") {
        text.push_str("\n[psk]\n");
    }
    let sections = read(&text)?;
    let psks = sections.iter().find(|section| section.name == "psk").ok_or_else(|| wrong(Wrong::NoKey))?;
    let mut rows: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    edit(&mut rows, psks);
    let text = rows.concat();
    Config::from_text(&text).map_err(wrong)?;
    Ok(trusted_file::replace_keeping_owner(path, text.as_bytes())?)
}
