//! Clients and their preshared keys: added to a configuration and retired from it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use data_encoding::BASE64URL_NOPAD;
use zeroize::Zeroizing;

use super::options::GivenRights;
use super::{SetupError, load, say};
use crate::config::layout;
use crate::config::{Config, ConfigError, MAX_FILE, Wrong};
use crate::ledger::Ledger;
use crate::model::name::ClientName;
use crate::model::psk::{Psk, PskDigest};
use crate::system::clock::Deadline;
use crate::system::ini::{self, Section};
use crate::system::lock::{self, Lock};
use crate::system::trusted_file::{self, Owner};
use crate::system::{process, random, text};

/// Random bytes of a key: 288 bits, 48 characters in base64url (RFC 4648, section 5).
const KEY_BYTES: usize = 36;

/// How long another edit of the file is waited for; one takes milliseconds.
const EDIT_WAIT: Duration = Duration::from_secs(10);

/// The key of a section that has the digests.
const KEYS: &str = "keys";

#[derive(Debug, Subcommand)]
pub(super) enum Act {
    /// Add a client with nodes of its own; make its key and print it once
    Add {
        #[command(flatten)]
        client: ClientArg,
        #[command(flatten)]
        rights: GivenRights,
    },
    /// Make all keys of a client invalid from the next request on; its nodes stay
    Retire {
        #[command(flatten)]
        client: ClientArg,
    },
    /// Print the clients, their nodes, their keys and their rights
    List {
        #[command(flatten)]
        config: ConfigArg,
    },
    /// Add or retire a key of a client; two may be valid while it changes over
    Key {
        #[command(subcommand)]
        act: KeyAct,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum KeyAct {
    /// Make another key for a client, print it once, and keep its digest
    Add {
        #[command(flatten)]
        client: ClientArg,
    },
    /// Make a key invalid from the next request on
    Retire {
        #[command(flatten)]
        client: ClientArg,
        /// First eight digits of the key's digest, as the audit and 'espm-setup client list' have them
        digits: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct ClientArg {
    /// Name of the client: lower-case letters, digits, '-' and '_'; it is in every audit record
    name: String,
    #[command(flatten)]
    config: ConfigArg,
}

#[derive(Debug, Args)]
pub(super) struct ConfigArg {
    /// The configuration
    #[arg(long, default_value = layout::this().ini, value_name = "FILE")]
    config: PathBuf,
}

impl Act {
    pub(super) fn run(self) -> Result<(), SetupError> {
        match self {
            Self::Add { client, rights } => add(client.path(), &client.name, &rights),
            Self::Retire { client } => retire(client.path(), &client.name),
            Self::List { config } => list(&config.config),
            Self::Key { act: KeyAct::Add { client } } => add_key(client.path(), &client.name),
            Self::Key { act: KeyAct::Retire { client, digits } } => retire_key(client.path(), &client.name, &digits),
        }
    }
}

impl ClientArg {
    fn path(&self) -> &Path {
        &self.config.config
    }
}

/// A new key.
pub(super) fn make() -> Result<Psk, SetupError> {
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    random::fill(bytes.as_mut_slice()).map_err(SetupError::Random)?;
    Ok(Psk::new(BASE64URL_NOPAD.encode(bytes.as_slice())))
}

/// The name of a client, as an argument gives it.
pub(super) fn name(argument: &str, text: &str) -> Result<ClientName, SetupError> {
    ClientName::parse(text).map_err(|error| SetupError::ClientName(format!("{argument}{text}"), error))
}

/// The text of a new client's section.
pub(super) fn section(name: &ClientName, key: &PskDigest, rights: &GivenRights) -> String {
    let mut text = format!("[client {name}]\n{KEYS} = {key}\n");
    for (key, value) in rights.given() {
        let _ = writeln!(text, "{key} = {value}");
    }
    text
}

/// Adds a client and its key, once the key is shown.
fn add(path: &Path, client: &str, rights: &GivenRights) -> Result<(), SetupError> {
    let name = name("", client)?;
    let file = Editing::begin(path)?;
    if file.section(&name).is_some() {
        return Err(SetupError::ClientExists { path: path.to_owned(), name });
    }
    let psk = make()?;
    let last = file.sections.iter().rfind(|section| section.name.starts_with("client ")).map_or(usize::MAX, last_line);
    let mut edited =
        file.edit(&name, |rows| insert(rows, last, format!("\n{}", section(&name, &psk.digest(), rights))))?;
    let nodes = match edited.nodes_of(&name)? {
        0 => String::new(),
        nodes => format!(
            "An earlier client of this name has left it {}; 'espm nodes' lists them.\n",
            text::count(nodes, "node", "nodes")
        ),
    };
    show(&name, &psk, &nodes)?;
    edited.write()
}

/// Adds a key to a client, once it is shown.
fn add_key(path: &Path, client: &str) -> Result<(), SetupError> {
    let name = name("", client)?;
    let file = Editing::begin(path)?;
    let found = file.required(&name)?.clone();
    let psk = make()?;
    let edited = file.edit(&name, |rows| match keys_line(&found) {
        Some((there, line)) => set_row(rows, line, Some(format!("{KEYS} = {there}, {}\n", psk.digest()))),
        None => insert(rows, found.line, format!("{KEYS} = {}\n", psk.digest())),
    })?;
    show(&name, &psk, "")?;
    edited.write()
}

/// Removes the key of a client whose digest begins with these digits.
fn retire_key(path: &Path, client: &str, digits: &str) -> Result<(), SetupError> {
    let name = name("", client)?;
    let file = Editing::begin(path)?;
    let (there, line) =
        keys_line(file.required(&name)?).map_or((String::new(), 0), |(there, line)| (there.to_owned(), line));
    let keys: Vec<PskDigest> = there.split(',').filter_map(|key| PskDigest::parse(key.trim())).collect();
    let is_meant = |key: &&PskDigest| digits.len() >= PskDigest::SHORT && key.begins_with(digits);
    let shown = || keys.iter().map(PskDigest::short).collect::<Vec<_>>().join(", ");
    if keys.iter().filter(is_meant).count() != 1 {
        return Err(SetupError::NoKey { name, digits: digits.to_owned(), there: shown() });
    }
    let kept: Vec<String> = keys.iter().filter(|key| !is_meant(key)).map(ToString::to_string).collect();
    if kept.is_empty() {
        return Err(SetupError::OnlyKey(name));
    }
    file.edit(&name, |rows| set_row(rows, line, Some(format!("{KEYS} = {}\n", kept.join(", ")))))?.write()?;
    say(&format!("The key {} of {name} is not valid any more.\n", digits.get(..PskDigest::SHORT).unwrap_or(digits)))
}

/// Removes a client and its keys; its nodes stay.
fn retire(path: &Path, client: &str) -> Result<(), SetupError> {
    let name = name("", client)?;
    let file = Editing::begin(path)?;
    let found = file.required(&name)?.clone();
    if file.sections.iter().filter(|section| section.name.starts_with("client ")).count() == 1 {
        return Err(SetupError::OnlyClient { path: path.to_owned(), name });
    }
    let mut edited = file.edit(&name, |rows| {
        // And the blank line that parts it from what stands above.
        let above = found.line.checked_sub(2).and_then(|at| rows.get(at)).filter(|row| row.trim().is_empty());
        let above = above.map(|_| found.line - 1);
        let lines = found.entries.iter().map(|(_, _, line)| *line).chain([found.line]).chain(above);
        lines.collect::<Vec<_>>().into_iter().for_each(|line| set_row(rows, line, None));
    })?;
    let nodes = edited.nodes_of(&name);
    edited.write()?;
    let left = match nodes {
        Ok(0) => String::new(),
        Ok(nodes) => format!(
            "It leaves {}, which no client sees now; 'espm assign NAME CLIENT' gives one to a client.\n",
            text::count(nodes, "node", "nodes")
        ),
        // A leaked key is retired even where the ledger is lost.
        Err(error) => format!("Its nodes cannot be counted: {error}\n"),
    };
    say(&format!("No key of {name} is valid any more.\n{left}"))
}

/// Prints each client with its keys, its rights and the number of its nodes; then what belongs to none.
fn list(path: &Path) -> Result<(), SetupError> {
    let config = load(path)?;
    let sections = read_sections(path)?;
    let owners = owners(&config)?;
    let mut text = String::new();
    for client in &config.clients {
        let nodes =
            owners.iter().find(|(owner, _)| owner.as_ref() == Some(&client.name)).map_or(0, |(_, nodes)| *nodes);
        let keys: Vec<String> = client.keys.iter().map(PskDigest::short).collect();
        let _ = write!(text, "{}: {}; keys {}", client.name, text::count(nodes, "node", "nodes"), keys.join(", "));
        let own = format!("client {}", client.name);
        let given = sections.iter().filter(|section| section.name == own).flat_map(|section| &section.entries);
        for (key, value, _) in given.filter(|(key, ..)| key != KEYS) {
            let _ = write!(text, "; {key} = {value}");
        }
        text.push('\n');
    }
    let is_client = |name: &ClientName| config.clients.iter().any(|client| client.name == *name);
    for (owner, nodes) in owners.iter().filter(|(owner, _)| !owner.as_ref().is_some_and(is_client)) {
        let of =
            owner.as_ref().map_or_else(|| "no client".to_owned(), |name| format!("{name}, which is no client now"));
        let _ = writeln!(text, "of {of}: {}", text::count(*nodes, "node", "nodes"));
    }
    say(&text)
}

fn show(name: &ClientName, psk: &Psk, more: &str) -> Result<(), SetupError> {
    say(&format!(
        "Key {} of {name}, shown this once:\n\n    {}\n\nIt is valid from the next request on.\n{more}",
        psk.digest().short(),
        psk.reveal()
    ))
    .map_err(SetupError::not_shown)
}

/// The numbers of nodes by client.
fn owners(config: &Config) -> Result<Vec<(Option<ClientName>, usize)>, SetupError> {
    let state = &config.state;
    let read = || Ledger::open(state, "espm-setup").and_then(|ledger| ledger.owners());
    Ok(process::as_owner_of(state, read).map_err(SetupError::Become)??)
}

fn read_sections(path: &Path) -> Result<Vec<Section>, SetupError> {
    let text = trusted_file::read(path, MAX_FILE, Owner::RootOrSelf)?;
    Ok(ini::read(&text).map_err(|error| content(path, error.into()))?)
}

fn content(path: &Path, wrong: Wrong) -> ConfigError {
    ConfigError::Content { path: path.to_owned(), wrong }
}

/// The digests of a client and their line.
fn keys_line(section: &Section) -> Option<(&str, usize)> {
    section.entries.iter().find(|(key, ..)| key == KEYS).map(|(_, value, line)| (value.as_str(), *line))
}

fn last_line(section: &Section) -> usize {
    section.entries.last().map_or(section.line, |(_, _, line)| *line)
}

/// Replaces the row of a line, or empties it.
fn set_row(rows: &mut [String], line: usize, text: Option<String>) {
    if let Some(row) = rows.get_mut(line.saturating_sub(1)) {
        *row = text.unwrap_or_default();
    }
}

/// Inserts text after a line, or at the end.
fn insert(rows: &mut Vec<String>, line: usize, text: String) {
    let at = line.min(rows.len());
    if let Some(before) = at.checked_sub(1).and_then(|at| rows.get_mut(at)).filter(|row| !row.ends_with('\n')) {
        before.push('\n');
    }
    rows.insert(at, text);
}

/// A configuration that is edited by nobody else.
///
/// Of two who read it at once, the second to write would bring back a key that the first has retired.
struct Editing {
    path: PathBuf,
    text: String,
    sections: Vec<Section>,
    /// In a file of its own, which nobody but its maker can open and hold.
    alone: Lock,
}

/// The new text of a configuration.
struct Edited {
    path: PathBuf,
    text: String,
    /// An error where another client still has no key.
    config: Result<Config, Wrong>,
    _alone: Lock,
}

impl Editing {
    /// Waits until it can be edited. One without a client, or with a client without a key, is none for espm, but can
    /// be given one.
    fn begin(path: &Path) -> Result<Self, SetupError> {
        let check = || match load(path) {
            Ok(_) | Err(ConfigError::Content { wrong: Wrong::NoKey(_) | Wrong::NoClient, .. }) => Ok(()),
            Err(error) => Err(error),
        };
        check()?;
        let (file, until) = (trusted_file::beside(path, "lock"), Deadline::after(EDIT_WAIT));
        let alone =
            until.attempt(|| lock::try_acquire_removed(&file))?.ok_or_else(|| SetupError::Busy(path.to_owned()))?;
        check()?;
        let text = trusted_file::read(path, MAX_FILE, Owner::RootOrSelf)?;
        let sections = ini::read(&text).map_err(|error| content(path, error.into()))?;
        Ok(Self { path: path.to_owned(), text, sections, alone })
    }

    fn section(&self, name: &ClientName) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == format!("client {name}"))
    }

    fn required(&self, name: &ClientName) -> Result<&Section, SetupError> {
        let clients = self.sections.iter().filter_map(|section| section.name.strip_prefix("client "));
        let there = || clients.map(str::to_owned).collect();
        self.section(name).ok_or_else(|| SetupError::NoClient {
            path: self.path.clone(),
            name: name.clone(),
            there: there(),
        })
    }

    /// Edits the lines for a client; what would not be a configuration is an error.
    fn edit(self, name: &ClientName, edit: impl FnOnce(&mut Vec<String>)) -> Result<Edited, SetupError> {
        let mut rows: Vec<String> = self.text.split_inclusive('\n').map(str::to_owned).collect();
        edit(&mut rows);
        let text = rows.concat();
        let config = match Config::from_text(&text) {
            // Of two clients without a key, one is given one first.
            Err(wrong) if !matches!(&wrong, Wrong::NoKey(other) if *other != name.as_str()) => {
                return Err(content(&self.path, wrong).into());
            }
            config => config,
        };
        Ok(Edited { path: self.path, text, config, _alone: self.alone })
    }
}

impl Edited {
    /// The number of nodes that a client has.
    fn nodes_of(&mut self, name: &ClientName) -> Result<usize, SetupError> {
        let config = std::mem::replace(&mut self.config, Err(Wrong::NoClient));
        let owners = owners(&config.map_err(|wrong| content(&self.path, wrong))?)?;
        Ok(owners.iter().find(|(owner, _)| owner.as_ref() == Some(name)).map_or(0, |(_, nodes)| *nodes))
    }

    /// Writes it in one step.
    fn write(self) -> Result<(), SetupError> {
        Ok(trusted_file::replace_keeping_owner(&self.path, self.text.as_bytes())?)
    }
}
