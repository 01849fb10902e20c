//! The comparison of nodes as the catalogue makes them with the published ones.

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

/// A node that is to be published.
#[derive(Debug)]
pub(crate) struct Anew {
    pub(crate) name: NodeName,
    yaml: String,
    /// Whether an earlier file of espm's is published.
    replaces: bool,
}

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

    /// The names that an assignment has and the catalogue has no more.
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

    /// The new classification of a node, where it is not the published one.
    ///
    /// # Errors
    /// Among others where another user's file is published, which is not to be replaced.
    pub(crate) fn anew(&self, node: &Node) -> Result<Option<Anew>, ConsoleError> {
        let yaml = self.classify(node)?;
        let path = self.file(&node.name);
        let published = trusted_file::read(&path, MAX_NODE, Owner::RootOrSelf);
        let published = trusted_file::optional(published).map_err(ConsoleError::File)?;
        if published.as_ref() == Some(&yaml) {
            return Ok(None);
        }
        let replaces = is_own(&path).map_err(ConsoleError::File)?;
        Ok(Some(Anew { name: node.name.clone(), yaml, replaces }))
    }

    /// Publishes nodes that are espm's and have no open intent; their locks are held. The results are
    /// in the order of the nodes.
    ///
    /// A power loss before [`Publisher::finish`] may bring back what was published before.
    pub(crate) fn publish(&self, nodes: &[Anew]) -> Result<Vec<Result<(), ConsoleError>>, ConsoleError> {
        let files: Vec<_> = nodes.iter().map(|node| self.file(&node.name)).collect();
        let contents = files.iter().map(PathBuf::as_path).zip(nodes.iter().map(|node| node.yaml.as_bytes()));
        let written = trusted_file::write_all_beside(&self.directory, 0o644, contents).map_err(ConsoleError::File)?;
        let named = nodes.iter().zip(written.iter().zip(&files)).map(|(node, (beside, file))| {
            // A file that a human has put there meanwhile stays.
            match is_own(file) {
                Ok(true) if node.replaces => trusted_file::rename_for_now(beside, file),
                Ok(_) => trusted_file::name_new_for_now(beside, file),
                Err(error) => trusted_file::discard(beside).and(Err(error)),
            }
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

/// True for a file of this user's, false for none.
///
/// # Errors
/// For another user's file.
fn is_own(path: &Path) -> Result<bool, FileError> {
    match path.symlink_metadata() {
        Ok(file) if file.uid() == process::user() => Ok(true),
        Ok(file) => Err(FileError::io(path, io::Error::other(format!("is owned by user {}", file.uid())))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(FileError::io(path, error)),
    }
}

fn read(path: &Path) -> Result<String, ConsoleError> {
    trusted_file::read(path, MAX_CATALOGUE, Owner::Root).map_err(ConsoleError::CatalogueFile)
}

#[cfg(test)]
mod tests {
    use super::{MAX_NODE, Publisher};
    use crate::console::ConsoleError;
    use crate::console::catalogue::Catalogue;
    use crate::model::name::{ClassName, GroupName, NodeName};
    use crate::model::node::{Assignment, Node};
    use crate::system::scratch::scratch;
    use crate::system::trusted_file::{self, Owner};

    fn publisher(name: &str, catalogue: &str) -> Publisher {
        let catalogue = Catalogue::from_text(catalogue).unwrap();
        Publisher { path: "/nonexistent".into(), text: String::new(), catalogue, directory: scratch(name) }
    }

    #[test]
    fn classification_that_espm_enc_would_not_read_is_error() {
        let long = "x".repeat(MAX_NODE as usize / 2);
        let publisher =
            publisher("publisher-long", &format!("[group a]\nparameter a = {long}\n[group b]\nparameter b = {long}\n"));
        let with = |groups: &[&str]| Node {
            name: NodeName::parse("web01").unwrap(),
            assignment: Assignment {
                groups: groups.iter().map(|name| GroupName::parse(name).unwrap()).collect(),
                ..Assignment::default()
            },
        };
        assert!(publisher.classify(&with(&["a"])).is_ok());
        let error = publisher.classify(&with(&["a", "b"])).unwrap_err();
        assert!(matches!(error, ConsoleError::TooLong(..)) && error.nothing_was_run(), "{error}");
    }

    #[test]
    fn node_is_published_once_and_file_written_meanwhile_stays() {
        let publisher = publisher("publisher", "[classes]\nnames = ntp\n");
        let node = |name: &str, classes: &[&str]| Node {
            name: NodeName::parse(name).unwrap(),
            assignment: Assignment {
                classes: classes.iter().map(|name| ClassName::parse(name).unwrap()).collect(),
                ..Assignment::default()
            },
        };
        let anew = |node: &Node| publisher.anew(node).unwrap();
        let read = |name: &str| {
            let path = publisher.directory.join(format!("{name}.yaml"));
            trusted_file::read(&path, 1000, Owner::RootOrSelf).unwrap()
        };
        let (one, two) = (node("one", &["ntp"]), node("two", &["ntp"]));
        let first = [anew(&one).unwrap(), anew(&two).unwrap()];
        // While they are written, a human writes the second one.
        let humans = publisher.directory.join("two.yaml");
        trusted_file::write_new(&humans, 0o644, b"---\nclasses: {mysql: {}}\n").unwrap();
        let published = publisher.publish(&first).unwrap();
        assert!(published[0].is_ok() && published[1].is_err(), "{published:?}");
        publisher.finish().unwrap();
        assert!(read("one").contains("ntp") && read("two").contains("mysql"));
        assert!(anew(&one).is_none());
        let changed = node("one", &[]);
        publisher.publish(&[anew(&changed).unwrap()]).unwrap().remove(0).unwrap();
        assert_eq!(read("one"), "---\nclasses: {}\n");
        assert_eq!(std::fs::read_dir(&publisher.directory).unwrap().count(), 2, "nothing is left beside");
    }
}
