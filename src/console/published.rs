//! The kind without a console: a catalogue and the ledger take its place.
//!
//! The catalogue, which espm only reads, has the classes and groups; the ledger has the nodes. Each node's
//! classification is published as a file that the Puppet server's classifier reads.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::catalogue::{Catalogue, declassify};
use super::listing::Listing;
use super::{Claim, Console, ConsoleError, Evidence, Found, Gap, Intent, Permit, Refusal, Standing, Verdict, Way};
use crate::model::name::NodeName;
use crate::model::node::{Assignment, List, Node};
use crate::model::state_directory;
use crate::system::clock::{self, Deadline};
use crate::system::lock::Queue;
use crate::system::process;
use crate::system::text;
use crate::system::trusted_file::{self, FileError, Owner};

/// Most bytes of a catalogue.
const MAX_CATALOGUE: u64 = 4 * 1024 * 1024;

/// Most bytes of a classification.
pub(crate) const MAX_NODE: u64 = 1024 * 1024;

/// The catalogue and where nodes are published.
#[derive(Debug)]
pub(crate) struct Published {
    catalogue: PathBuf,
    directory: PathBuf,
    queue: Queue,
}

impl Published {
    pub(crate) fn new(catalogue: &Path, directory: &Path, queue: usize, state: &Path) -> Self {
        Self {
            catalogue: catalogue.to_owned(),
            directory: directory.to_owned(),
            queue: Queue::new(&state_directory::locks(state), "console-queue", queue),
        }
    }

    fn read(&self) -> Result<Catalogue, ConsoleError> {
        let text =
            trusted_file::read(&self.catalogue, MAX_CATALOGUE, Owner::Root).map_err(ConsoleError::CatalogueFile)?;
        Catalogue::from_text(&text).map_err(|error| ConsoleError::Catalogue(self.catalogue.clone(), error))
    }

    fn file(&self, name: &NodeName) -> PathBuf {
        published_file(&self.directory, name)
    }

    /// True if something is published under a name, even a dangling link.
    fn has(&self, name: &NodeName) -> Result<bool, ConsoleError> {
        let path = self.file(name);
        match path.symlink_metadata() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(ConsoleError::File(FileError::io(&path, error))),
        }
    }
}

impl Console for Published {
    fn queue(&self) -> &Queue {
        &self.queue
    }

    fn way(&self, _: &Assignment, _: &Assignment) -> Way {
        Way::InPlace
    }

    // The published file follows the ledger, so it proves nothing about a change.
    fn verdict(&self, intent: &Intent, _: Evidence<'_>) -> Verdict {
        match intent {
            Intent::Add { .. } | Intent::Change { .. } => Verdict::Partial(Gap::Unfinished(String::new())),
            Intent::Delete { .. } => Verdict::NotBegun,
        }
    }

    fn probe(&self, _: Deadline) -> Result<String, ConsoleError> {
        let catalogue = self.read()?;
        trusted_file::check_directory(&self.directory, Owner::RootOrSelf).map_err(ConsoleError::File)?;
        let classes = text::count(catalogue.classes().len(), "class", "classes");
        let groups = text::count(catalogue.groups().len(), "group", "groups");
        Ok(format!("a catalogue of {classes} and {groups}"))
    }

    fn names(&self, list: List, _: bool, _: Deadline) -> Result<Listing, ConsoleError> {
        let as_of_ms = clock::now_ms();
        let catalogue = self.read()?;
        let names = match list {
            List::Classes => catalogue.classes(),
            List::Groups => catalogue.groups(),
        };
        Ok(Listing::new(list, &names, as_of_ms))
    }

    fn folds(&self) -> bool {
        false
    }

    /// Compares the published files with what the catalogue makes of the nodes now.
    fn outdated(&self, nodes: &[&Node]) -> Result<Vec<(NodeName, Option<ConsoleError>)>, ConsoleError> {
        let catalogue = self.read()?;
        let is_outdated = |node: &Node| -> Result<bool, FileError> {
            let path = self.file(&node.name);
            let published = trusted_file::optional(trusted_file::read(&path, MAX_NODE, Owner::RootOrSelf))?;
            let outdated = published.is_none_or(|yaml| yaml != catalogue.classify(&node.assignment));
            // Another user's file is not replaced.
            match path.symlink_metadata() {
                Ok(file) if outdated && file.uid() != process::user() => {
                    Err(FileError::io(&path, io::Error::other(format!("is owned by user {}", file.uid()))))
                }
                _ => Ok(outdated),
            }
        };
        let judged = nodes.iter().filter_map(|node| match is_outdated(node) {
            Ok(outdated) => outdated.then(|| (node.name.clone(), None)),
            Err(error) => Some((node.name.clone(), Some(ConsoleError::File(error)))),
        });
        Ok(judged.collect())
    }

    fn found(&self, name: &NodeName, known: &[Assignment], _: Deadline) -> Result<Option<Found>, ConsoleError> {
        let Ok(yaml) = trusted_file::read(&self.file(name), MAX_NODE, Owner::RootOrSelf) else { return Ok(None) };
        let catalogue = self.read()?;
        let known = known.iter().find(|known| catalogue.classify(known) == yaml).cloned();
        let assignment = known.or_else(|| declassify(&yaml));
        Ok(assignment.map(|assignment| Found { assignment, beyond: Vec::new() }))
    }

    fn nodes(&self, _: Deadline) -> Result<Vec<String>, ConsoleError> {
        let error = |error| ConsoleError::File(FileError::io(&self.directory, error));
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.directory).map_err(error)? {
            let name = entry.map_err(error)?.file_name();
            names.extend(name.to_str().and_then(|name| name.strip_suffix(".yaml")).map(str::to_owned));
        }
        Ok(names)
    }

    fn may_be_empty(&self) -> bool {
        true
    }

    fn standing(&self, name: &NodeName, _: Deadline) -> Result<Standing, ConsoleError> {
        Ok(if self.has(name)? { Standing::Published } else { Standing::Unpublished })
    }

    fn claim(&self, name: &NodeName) -> Result<Claim, ConsoleError> {
        Ok(if self.has(name)? { Claim::Taken } else { Claim::Free })
    }

    fn permit(&self, _: Deadline) -> Result<Permit, ConsoleError> {
        Ok(Permit(None))
    }

    fn run(&self, intent: &Intent, _: Permit, _: &File, _: Deadline) -> Result<Verdict, ConsoleError> {
        let node = intent.node();
        let file = self.file(&node.name);
        if matches!(intent, Intent::Delete { .. }) {
            return trusted_file::remove(&file).map(|()| Verdict::Done).map_err(ConsoleError::File);
        }
        let catalogue = self.read()?;
        let yaml = catalogue.classify(&node.assignment);
        let adds = matches!(intent, Intent::Add { .. });
        let written = if adds {
            trusted_file::place(&file, 0o644, yaml.as_bytes())
        } else {
            trusted_file::replace(&file, 0o644, yaml.as_bytes())
        };
        match written {
            Err(error) if adds && error.io_kind() == Some(ErrorKind::AlreadyExists) => {
                Ok(Verdict::Refused(Refusal::Taken))
            }
            Err(error) => Err(ConsoleError::File(error)),
            Ok(()) => {
                let lost = catalogue.missing_names(&node.assignment);
                Ok(if lost.is_empty() { Verdict::Done } else { Verdict::Partial(Gap::UnknownNames(lost)) })
            }
        }
    }
}

/// The path of a node's published classification.
pub(crate) fn published_file(published: &Path, name: &NodeName) -> PathBuf {
    published.join(format!("{name}.yaml"))
}
