//! The kind without a console: a catalogue and the ledger take its place.
//!
//! The catalogue, which espm only reads, has the classes and groups; the ledger has the nodes. Each node's
//! classification is published as a file that the Puppet server's classifier reads.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::listing::Listing;
use super::publisher::{MAX_NODE, Publisher};
use super::{
    Claim, Console, ConsoleError, Evidence, Found, Gap, Intent, Permit, Refusal, Standing, Verdict, Way, change,
};
use crate::model::fault::FieldError;
use crate::model::name::{EnvironmentName, NodeName};
use crate::model::node::{Assignment, Change, List, Lost, Node};
use crate::system::clock::{self, Deadline};
use crate::system::lock::Queue;
use crate::system::text;
use crate::system::trusted_file::{self, FileError, Identity, Owner};

/// The catalogue and where nodes are published.
#[derive(Debug)]
pub(crate) struct Published {
    catalogue: PathBuf,
    directory: PathBuf,
    queue: Queue,
}

impl Published {
    pub(crate) fn new(catalogue: &Path, directory: &Path, queue: Queue) -> Self {
        Self { catalogue: catalogue.to_owned(), directory: directory.to_owned(), queue }
    }

    fn read(&self) -> Result<Publisher, ConsoleError> {
        Publisher::new(&self.catalogue, &self.directory)
    }

    fn file(&self, name: &NodeName) -> PathBuf {
        published_file(&self.directory, name)
    }

    /// What is published under a name, even a dangling link.
    fn published(&self, name: &NodeName) -> Result<Option<Identity>, ConsoleError> {
        Identity::at(&self.file(name)).map_err(ConsoleError::File)
    }

    /// Publishes a new file; before it has its name, `output` tells durably which file it is.
    fn publish(&self, intent: &Intent, content: &[u8], mut output: &File) -> Result<(), FileError> {
        let file = self.file(&intent.node().name);
        let replaces = !matches!(intent, Intent::Add { .. }) && Identity::at(&file)?.is_some();
        let beside = trusted_file::write_beside(&file, "new", 0o644, content)?;
        let told = Identity::at(&beside)?
            .map_or(Ok(()), |identity| writeln!(output, "{}", line_of(&identity)).and_then(|()| output.sync_data()));
        if let Err(error) = told {
            trusted_file::discard(&beside)?;
            return Err(FileError::io(&beside, error));
        }
        if replaces { trusted_file::rename(&beside, &file) } else { trusted_file::name_new(&beside, &file) }
    }
}

/// The beginning of a line that tells which file is espm's: the one there before an intent, or the one that it makes.
const FILE: &str = "espm: file ";

/// The line that tells which file is espm's.
pub(crate) fn line_of(file: &Identity) -> String {
    format!("{FILE}{}", file.words())
}

/// True if the output of an intent tells of this file.
fn is_of(output: &str, file: &Identity) -> bool {
    output.lines().filter_map(|line| Identity::parse(line.strip_prefix(FILE)?)).any(|own| own == *file)
}

impl Console for Published {
    fn queue(&self) -> &Queue {
        &self.queue
    }

    fn way(&self, _: &Assignment, _: &Assignment) -> Way {
        Way::InPlace
    }

    fn head(&self, intent: &Intent) -> Result<String, ConsoleError> {
        let there = match intent {
            Intent::Add { .. } => None,
            Intent::Change { node, .. } | Intent::Delete { node } => self.published(&node.name)?,
        };
        if there.is_some() {
            // A power loss must not bring back an earlier file of espm's, which this intent does not tell of.
            let file = self.file(&intent.node().name);
            trusted_file::sync_parent(&file).map_err(|error| ConsoleError::File(FileError::io(&file, error)))?;
        }
        Ok(change::head(intent, there.as_ref().map(line_of).as_deref()))
    }

    // The published file follows the ledger, so it proves nothing but whose it is.
    fn verdict(&self, intent: &Intent, evidence: Evidence<'_>) -> Verdict {
        let unfinished = || Verdict::Partial(Gap::Unfinished(String::new()));
        match (intent, evidence.standing) {
            (_, Some(Standing::Published(file))) if !is_of(evidence.output, file) => {
                Verdict::Unknown("the published file is not the one of this change".to_owned())
            }
            (Intent::Add { .. }, Some(Standing::Published(_))) | (Intent::Change { .. }, Some(_)) => unfinished(),
            (Intent::Delete { .. }, Some(_)) => Verdict::NotBegun,
            (_, _) => Verdict::Unknown("whose file is published is not known yet".to_owned()),
        }
    }

    fn probe(&self, _: Deadline) -> Result<String, ConsoleError> {
        let Publisher { catalogue, .. } = self.read()?;
        trusted_file::check_directory(&self.directory, Owner::RootOrSelf).map_err(ConsoleError::File)?;
        let classes = text::count(catalogue.classes().len(), "class", "classes");
        let groups = text::count(catalogue.groups().len(), "group", "groups");
        let environments = match catalogue.environments().len() {
            0 => String::new(),
            some => format!(" and {}", text::count(some, "environment", "environments")),
        };
        Ok(format!("a catalogue of {classes} and {groups}{environments}"))
    }

    fn names(&self, list: List, _: bool, _: Deadline) -> Result<Listing, ConsoleError> {
        let as_of_ms = clock::now_ms();
        let Publisher { catalogue, .. } = self.read()?;
        let names = match list {
            List::Classes => catalogue.classes(),
            List::Groups => catalogue.groups(),
        };
        Ok(Listing::new(list, &names, as_of_ms))
    }

    fn publisher(&self) -> Option<Result<Publisher, ConsoleError>> {
        Some(self.read())
    }

    fn judge(
        &self,
        change: &Change,
        before: &Assignment,
        after: &mut Assignment,
        shows: &dyn Fn(&EnvironmentName) -> bool,
    ) -> Result<Vec<FieldError>, ConsoleError> {
        Ok(self.read()?.catalogue.judge(change, before, after, shows))
    }

    fn folds(&self) -> bool {
        false
    }

    /// Compares the published files with what the catalogue makes of the nodes now.
    fn outdated(&self, nodes: &[&Node]) -> Result<Vec<(NodeName, Option<ConsoleError>)>, ConsoleError> {
        let publisher = self.read()?;
        let judged = nodes.iter().filter_map(|node| match publisher.anew(node) {
            Ok(outdated) => outdated.map(|_| (node.name.clone(), None)),
            Err(error) => Some((node.name.clone(), Some(error))),
        });
        Ok(judged.collect())
    }

    fn found(&self, name: &NodeName, known: &[Assignment], _: Deadline) -> Result<Option<Found>, ConsoleError> {
        let Ok(yaml) = trusted_file::read(&self.file(name), MAX_NODE, Owner::RootOrSelf) else { return Ok(None) };
        let Publisher { catalogue, .. } = self.read()?;
        let known = known.iter().find(|known| catalogue.classify(known) == yaml).cloned();
        let Some(assignment) = known.or_else(|| catalogue.declassify(&yaml)) else { return Ok(None) };
        // The environment stays when the catalogue loses it.
        let lost = catalogue.lost(&assignment).into_iter().filter(|lost| !matches!(lost, Lost::Environment(_)));
        let beyond = lost.map(|lost| format!("the {lost}")).collect();
        Ok(Some(Found { assignment, beyond }))
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
        if let Some(file) = self.published(name)? {
            return Ok(Standing::Published(file));
        }
        // A power loss must not bring back what counts as gone.
        let file = self.file(name);
        trusted_file::sync_parent(&file).map_err(|error| ConsoleError::File(FileError::io(&file, error)))?;
        Ok(Standing::Unpublished)
    }

    fn claim(&self, name: &NodeName) -> Result<Claim, ConsoleError> {
        Ok(if self.published(name)?.is_some() { Claim::Taken } else { Claim::Free })
    }

    fn permit(&self, _: Deadline) -> Result<Permit, ConsoleError> {
        Ok(Permit(None))
    }

    fn run(&self, intent: &Intent, _: Permit, output: &File, _: Deadline) -> Result<Verdict, ConsoleError> {
        let node = intent.node();
        if matches!(intent, Intent::Delete { .. }) {
            return trusted_file::remove(&self.file(&node.name)).map(|()| Verdict::Done).map_err(ConsoleError::File);
        }
        let publisher = self.read()?;
        let yaml = publisher.classify(node)?;
        match self.publish(intent, yaml.as_bytes(), output) {
            Err(error) if error.io_kind() == Some(ErrorKind::AlreadyExists) => Ok(Verdict::Refused(Refusal::Taken)),
            Err(error) => Err(ConsoleError::File(error)),
            Ok(()) => {
                let lost = publisher.catalogue.lost(&node.assignment);
                Ok(if lost.is_empty() { Verdict::Done } else { Verdict::Partial(Gap::UnknownNames(lost)) })
            }
        }
    }
}

/// The path of a node's published classification.
pub(crate) fn published_file(published: &Path, name: &NodeName) -> PathBuf {
    published.join(format!("{name}.yaml"))
}
