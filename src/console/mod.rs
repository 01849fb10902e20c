//! The console, which says what classes and groups there are and what each node has.
//!
//! Two kinds with the same verbs: the one that rake runs, and, where there is no console, the
//! operator's catalogue with espm's own classifier.

pub mod catalogue;
mod change;
mod error;
pub(crate) mod listing;
pub(crate) mod published;
pub mod rake;

use std::fs::File;

use self::change::{ADD_AGAIN, REBUILD};
pub use self::change::{Claim, Evidence, Gap, Intent, Refusal, Standing, Verdict, Way};
pub use self::error::ConsoleError;
use self::listing::Listing;
use self::published::Published;
use self::rake::Rake;
use crate::model::name::NodeName;
use crate::model::node::{Assignment, List, Node};
use crate::system::clock::Deadline;
use crate::system::lock::{Lease, Queue};

/// The exit code by which espm-helper says that the task ran past its time; rake has 0 and 1 alone.
pub const EXIT_TIMED_OUT: u32 = 124;

/// The exit codes by which espm-helper says that it did not start rake (sysexits(3): usage, data,
/// missing file, not permitted, configuration).
pub const EXIT_NOT_STARTED: [u32; 5] = [64, 65, 72, 77, 78];

/// The console.
#[derive(Debug)]
pub enum Console {
    /// The one that rake runs.
    Rake(Box<Rake>),
    /// The operator's catalogue and espm's own classifier.
    Published(Published),
}

impl Console {
    /// The queue in which requests for one node wait for each other, too.
    pub fn queue(&self) -> &Queue {
        match self {
            Self::Rake(rake) => rake.queue(),
            Self::Published(published) => published.queue(),
        }
    }

    /// Whether nodes can have parameters.
    pub fn has_parameters(&self) -> bool {
        match self {
            Self::Rake(rake) => rake.has_parameters(),
            Self::Published(_) => true,
        }
    }

    /// How it changes a node's assignment.
    pub fn way(&self, before: &Assignment, after: &Assignment) -> Way {
        let removes = !before.parameters.keys().all(|name| after.parameters.contains_key(name));
        match self {
            Self::Rake(rake) if !rake.changes_in_place(removes) => Way::Rebuild,
            Self::Rake(_) | Self::Published(_) => Way::InPlace,
        }
    }

    /// The change of an assignment that an unfinished command was to make, by the first line of its output file;
    /// where that is lost, as the console makes it now.
    pub fn intended_change(&self, output: &str, before: &Assignment, node: Node) -> Intent {
        let way = match output.lines().next() {
            Some(ADD_AGAIN) => Way::AddAgain,
            Some(REBUILD) => Way::Rebuild,
            _ => self.way(before, &node.assignment),
        };
        Intent::Change { node, way }
    }

    /// What a command has done, by its evidence.
    pub fn verdict(&self, intent: &Intent, evidence: Evidence<'_>) -> Verdict {
        match self {
            Self::Rake(_) => rake::verdict(intent, evidence),
            Self::Published(_) => published::verdict(intent),
        }
    }

    /// Whether it answers as it is configured.
    pub fn probe(&self, until: Deadline) -> Result<String, ConsoleError> {
        match self {
            Self::Rake(rake) => rake.probe(until),
            Self::Published(published) => published.probe(),
        }
    }

    /// Whether its worker answers, where there shall be one.
    pub fn probe_worker(&self) -> Option<Result<String, ConsoleError>> {
        match self {
            Self::Rake(rake) => rake.probe_worker(),
            Self::Published(_) => None,
        }
    }

    /// Why rake was run although there shall be a worker; `None` when that did not happen.
    pub fn ran_cold(&self) -> Option<&str> {
        match self {
            Self::Rake(rake) => rake.ran_cold(),
            Self::Published(_) => None,
        }
    }

    /// A list of names. With `fresh` only an answer counts that was asked for after this call.
    pub fn names(&self, list: List, fresh: bool, until: Deadline) -> Result<Listing, ConsoleError> {
        match self {
            Self::Rake(rake) => rake.names(list, fresh, until),
            Self::Published(published) => published.names(list),
        }
    }

    /// The names of an assignment that it does not have any more, where that is known before the assignment
    /// is made; a run of rake tells afterwards.
    pub fn lost(&self, assignment: &Assignment) -> Result<Vec<(List, String)>, ConsoleError> {
        match self {
            Self::Rake(_) => Ok(Vec::new()),
            Self::Published(published) => published.lost(assignment),
        }
    }

    /// What it says of a name.
    pub fn standing(&self, name: &NodeName, until: Deadline) -> Result<Standing, ConsoleError> {
        match self {
            Self::Rake(rake) => rake.standing(name, until),
            Self::Published(published) => published.standing(name),
        }
    }

    /// Whether the name of a node that is to be added is somebody's.
    pub fn claim(&self, name: &NodeName) -> Result<Claim, ConsoleError> {
        match self {
            Self::Rake(_) => Ok(Claim::CommandTells),
            Self::Published(published) => published.claim(name),
        }
    }

    /// The names of all nodes.
    pub fn nodes(&self, until: Deadline) -> Result<Vec<String>, ConsoleError> {
        match self {
            Self::Rake(rake) => rake.nodes(until),
            Self::Published(published) => published.nodes(),
        }
    }

    /// Waits for a permit to make one change. To be acquired before an intent is recorded: a request that gets
    /// none has then written nothing.
    pub fn permit(&self, until: Deadline) -> Result<Permit, ConsoleError> {
        Ok(Permit(match self {
            Self::Rake(rake) => Some(rake.slot(until)?),
            // A file is written at any time.
            Self::Published(_) => None,
        }))
    }

    /// Makes a change. `output` gets what a command prints and is locked by it for as long as it lasts.
    pub fn run(
        &self,
        intent: &Intent,
        permit: Permit,
        output: &File,
        until: Deadline,
    ) -> Result<Verdict, ConsoleError> {
        match (self, permit.0) {
            (Self::Rake(rake), Some(slot)) => rake.run(intent, slot, output, until),
            (Self::Rake(rake), None) => rake.run(intent, rake.slot(until)?, output, until),
            (Self::Published(published), _) => published.run(intent),
        }
    }
}

/// Leave to make one change of the console.
#[derive(Debug)]
pub struct Permit(Option<Lease>);
