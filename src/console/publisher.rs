//! What the catalogue makes of nodes, compared with what is published of them.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::ConsoleError;
use super::catalogue::Catalogue;
use super::published::published_file;
use crate::model::name::NodeName;
use crate::model::node::{Assignment, Lost, Node};
use crate::system::process;
use crate::system::trusted_file::{self, FileError, Owner};

/// Most bytes of a catalogue.
const MAX_CATALOGUE: u64 = 4 * 1024 * 1024;

/// Most bytes of a classification.
pub(crate) const MAX_NODE: u64 = 1024 * 1024;

/// A catalogue, and the directory of published nodes.
#[derive(Debug)]
pub(crate) struct Publisher {
    path: PathBuf,
    text: String,
    pub(super) catalogue: Catalogue,
    directory: PathBuf,
}

impl Publisher {
    /// Reads the catalogue.
    pub(super) fn new(path: &Path, directory: &Path) -> Result<Self, ConsoleError> {
        let text = read(path)?;
        let catalogue = Catalogue::from_text(&text).map_err(|error| ConsoleError::Catalogue(path.to_owned(), error))?;
        Ok(Self { path: path.to_owned(), text, catalogue, directory: directory.to_owned() })
    }

    /// True while the catalogue is as it was read.
    pub(crate) fn is_current(&self) -> Result<bool, ConsoleError> {
        Ok(read(&self.path)? == self.text)
    }

    /// What an assignment has and the catalogue has no more.
    pub(crate) fn lost(&self, assignment: &Assignment) -> Vec<Lost> {
        self.catalogue.lost(assignment)
    }

    /// A node's classification, which has to be one that espm-enc reads.
    pub(crate) fn classify(&self, node: &Node) -> Result<String, ConsoleError> {
        let yaml = self.catalogue.classify(&node.assignment);
        match yaml.len() {
            bytes if bytes as u64 > MAX_NODE => Err(ConsoleError::TooLong(node.name.clone(), bytes)),
            _ => Ok(yaml),
        }
    }

    /// A node's classification where another one is published, or none.
    ///
    /// # Errors
    /// Among others where another user's file is published, which is not to be replaced.
    pub(crate) fn anew(&self, node: &Node) -> Result<Option<String>, ConsoleError> {
        let yaml = self.classify(node)?;
        let path = self.file(&node.name);
        let published = trusted_file::read(&path, MAX_NODE, Owner::RootOrSelf);
        if trusted_file::optional(published).map_err(ConsoleError::File)?.is_some_and(|published| published == yaml) {
            return Ok(None);
        }
        match path.symlink_metadata() {
            Ok(file) if file.uid() != process::user() => {
                let error = io::Error::other(format!("is owned by user {}", file.uid()));
                Err(ConsoleError::File(FileError::io(&path, error)))
            }
            _ => Ok(Some(yaml)),
        }
    }

    /// Publishes nodes that are espm's and have no open intent; their locks are held. What became of each, in order.
    ///
    /// A power loss before [`Publisher::finish`] may bring back what was published before.
    pub(crate) fn publish(&self, nodes: &[(NodeName, String)]) -> Result<Vec<Result<(), ConsoleError>>, ConsoleError> {
        let files: Vec<_> = nodes.iter().map(|(name, _)| self.file(name)).collect();
        let contents = files.iter().map(PathBuf::as_path).zip(nodes.iter().map(|(_, yaml)| yaml.as_bytes()));
        let written = trusted_file::write_all_beside(&self.directory, 0o644, contents).map_err(ConsoleError::File)?;
        let named = written.iter().zip(&files).map(|(beside, file)| match file.symlink_metadata() {
            Ok(_) => trusted_file::rename_for_now(beside, file),
            // What a human puts there in this moment stays.
            Err(_) => trusted_file::name_new_for_now(beside, file),
        });
        Ok(named.map(|named| named.map_err(ConsoleError::File)).collect())
    }

    /// Makes all that was published durable.
    pub(crate) fn finish(&self) -> Result<(), ConsoleError> {
        let error = |error| ConsoleError::File(FileError::io(&self.directory, error));
        trusted_file::sync_parent(&self.directory.join("any")).map_err(error)
    }

    fn file(&self, name: &NodeName) -> PathBuf {
        published_file(&self.directory, name)
    }
}

fn read(path: &Path) -> Result<String, ConsoleError> {
    trusted_file::read(path, MAX_CATALOGUE, Owner::Root).map_err(ConsoleError::CatalogueFile)
}
