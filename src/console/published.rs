//! No console: the operator's catalogue says what there is, the ledger says which nodes there are,
//! and each node's classification is published as a file that the Puppet server's classifier reads.
//!
//! The catalogue is the operator's alone; espm only reads it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::catalogue::Catalogue;
use super::listing::Listing;
use super::{Assigned, ConsoleError};
use crate::model::name::NodeName;
use crate::model::node::{Assignment, List, Node};
use crate::model::state_directory;
use crate::system::clock;
use crate::system::lock::Queue;
use crate::system::text;
use crate::system::trusted_file::{self, FileError, Owner};

/// Bytes of a catalogue.
const MAX_CATALOGUE: u64 = 4 * 1024 * 1024;

/// The catalogue and where nodes are published.
#[derive(Debug)]
pub struct Enc {
    catalogue: PathBuf,
    published: PathBuf,
    queue: Queue,
}

impl Enc {
    /// A catalogue and a directory to publish in, with places to wait in the state directory.
    pub fn new(catalogue: &Path, published: &Path, queue: usize, state: &Path) -> Self {
        Self {
            catalogue: catalogue.to_owned(),
            published: published.to_owned(),
            queue: Queue::new(&state_directory::locks(state), "console-queue", queue),
        }
    }

    /// The queue in which requests for one node wait for each other.
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    fn read(&self) -> Result<Catalogue, ConsoleError> {
        let text = trusted_file::read(&self.catalogue, MAX_CATALOGUE, Owner::Root)
            .map_err(|error| ConsoleError::Catalogue(error.to_string()))?;
        Catalogue::from_text(&text)
            .map_err(|what| ConsoleError::Catalogue(format!("{}: {what}", self.catalogue.display())))
    }

    /// Whether the catalogue can be read and nodes can be published.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn probe(&self) -> Result<String, String> {
        let catalogue = self.read().map_err(|error| error.to_string())?;
        trusted_file::check_directory(&self.published, Owner::RootOrSelf).map_err(|error| error.to_string())?;
        let classes = text::count(catalogue.classes().len(), "class", "classes");
        let groups = text::count(catalogue.groups().len(), "group", "groups");
        Ok(format!("a catalogue of {classes} and {groups}"))
    }

    /// A list of the catalogue's names.
    ///
    /// # Errors
    /// When the catalogue cannot be used.
    pub fn names(&self, list: List) -> Result<Listing, ConsoleError> {
        let as_of_ms = clock::now_ms();
        let catalogue = self.read()?;
        let names = match list {
            List::Classes => catalogue.classes(),
            List::Groups => catalogue.groups(),
        };
        Ok(Listing::new(list, &names, as_of_ms))
    }

    /// The names of an assignment that the catalogue does not have any more.
    ///
    /// # Errors
    /// When the catalogue cannot be used.
    pub fn lost(&self, assignment: &Assignment) -> Result<Vec<(List, String)>, ConsoleError> {
        Ok(self.read()?.lost(assignment))
    }

    fn file(&self, name: &NodeName) -> PathBuf {
        published_file(&self.published, name)
    }

    /// Whether a node is published; a link counts, too.
    ///
    /// # Errors
    /// When the directory cannot be looked at.
    pub fn has(&self, name: &NodeName) -> Result<bool, ConsoleError> {
        let path = self.file(name);
        match path.symlink_metadata() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(ConsoleError::File(FileError::io(&path, error))),
        }
    }

    /// The names of the published nodes.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn nodes(&self) -> Result<Vec<String>, ConsoleError> {
        let error = |error| ConsoleError::File(FileError::io(&self.published, error));
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.published).map_err(error)? {
            let name = entry.map_err(error)?.file_name();
            names.extend(name.to_str().and_then(|name| name.strip_suffix(".yaml")).map(str::to_owned));
        }
        Ok(names)
    }

    /// Publishes a new node's classification, unless something is published under its name.
    ///
    /// # Errors
    /// When the catalogue cannot be used or the file cannot be written.
    pub fn add(&self, node: &Node) -> Result<Assigned, ConsoleError> {
        let catalogue = self.read()?;
        let yaml = catalogue.classify(&node.assignment);
        match trusted_file::place(&self.file(&node.name), 0o644, yaml.as_bytes()) {
            Err(error) if error.io_kind() == Some(ErrorKind::AlreadyExists) => Ok(Assigned::Taken),
            placed => placed.map(|()| assigned(&catalogue, node)).map_err(ConsoleError::File),
        }
    }

    /// Publishes a node's classification: written beside, durable, then renamed.
    ///
    /// # Errors
    /// When the catalogue cannot be used or the file cannot be written.
    pub fn publish(&self, node: &Node) -> Result<Assigned, ConsoleError> {
        let catalogue = self.read()?;
        let yaml = catalogue.classify(&node.assignment);
        trusted_file::replace(&self.file(&node.name), 0o644, yaml.as_bytes()).map_err(ConsoleError::File)?;
        Ok(assigned(&catalogue, node))
    }

    /// Withdraws a node's classification.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn withdraw(&self, name: &NodeName) -> Result<(), ConsoleError> {
        trusted_file::remove(&self.file(name)).map_err(ConsoleError::File)
    }
}

/// How much of a node's assignment the catalogue has.
fn assigned(catalogue: &Catalogue, node: &Node) -> Assigned {
    let lost = catalogue.lost(&node.assignment);
    if lost.is_empty() { Assigned::Whole } else { Assigned::Lost(lost) }
}

/// The file of a node in a directory of published classifications.
pub fn published_file(published: &Path, name: &NodeName) -> PathBuf {
    published.join(format!("{name}.yaml"))
}
