//! The console, which says what classes and groups there are and what each node has.
//!
//! Two kinds with the same verbs: the one that rake runs, and, where there is no console, the
//! operator's catalogue with espm's own classifier.

pub mod catalogue;
pub mod listing;
pub mod published;
pub mod rake;

use std::fmt;
use std::fs::File;

use self::listing::Listing;
use self::published::Published;
use self::rake::Rake;
use crate::model::name::NodeName;
use crate::model::node::{Assignment, List, Node};
use crate::system::clock::Deadline;
use crate::system::command::CommandError;
use crate::system::lock::{Lease, LockError, Queue};
use crate::system::trusted_file::FileError;

/// The exit code by which espm-helper says that the task ran past its time; rake has 0 and 1 alone.
pub const EXIT_TIMED_OUT: u32 = 124;

/// The exit codes by which espm-helper says that it did not start rake (sysexits(3): usage, data,
/// missing file, not permitted, configuration).
pub const EXIT_NOT_STARTED: [u32; 5] = [64, 65, 72, 77, 78];

/// Why the console did not do it.
#[derive(Debug)]
pub enum ConsoleError {
    /// No slot or place in the queue.
    Busy(LockError),
    /// The task ran past its time.
    TimedOut,
    /// The command could not be run to its end.
    Command(CommandError),
    /// rake was not started; the text is for the log.
    NotStarted(String),
    /// rake failed; the text is for the log.
    Failed(String),
    /// A file of the cache or of the catalogue cannot be used.
    File(FileError),
    /// The catalogue is wrong: the file, the line and what.
    Catalogue(String),
}

impl fmt::Display for ConsoleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy(error) => write!(f, "console: {error}"),
            Self::TimedOut => f.write_str("console: rake ran past its time limit"),
            Self::Command(error) => write!(f, "console: {error}"),
            Self::NotStarted(text) => write!(f, "console: rake was not started: {text}"),
            Self::Failed(text) => write!(f, "console: rake failed: {text}"),
            Self::File(error) => write!(f, "console: {error}"),
            Self::Catalogue(what) => write!(f, "console: {what}"),
        }
    }
}

impl std::error::Error for ConsoleError {}

impl ConsoleError {
    /// Whether the task was not even started.
    pub fn nothing_was_run(&self) -> bool {
        match self {
            Self::Busy(_) | Self::Catalogue(_) | Self::NotStarted(_) => true,
            Self::File(error) => !error.is_done(),
            Self::Command(error) => matches!(error, CommandError::Start(..)),
            Self::TimedOut | Self::Failed(_) => false,
        }
    }
}

impl From<LockError> for ConsoleError {
    fn from(error: LockError) -> Self {
        match error {
            LockError::File(error) => Self::File(error),
            busy => Self::Busy(busy),
        }
    }
}

impl From<CommandError> for ConsoleError {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::TimedOut => Self::TimedOut,
            other => Self::Command(other),
        }
    }
}

/// How an assignment is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The node stays.
    InPlace,
    /// The node is deleted and added again in one run.
    Rebuild,
    /// A node that an earlier rebuilding has deleted is added again.
    AddAgain,
}

/// A change of one node, as it is recorded before it is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Intent {
    /// A node that is not there yet.
    Add {
        /// The node.
        node: Node,
    },
    /// Another assignment.
    Change {
        /// The node with it.
        node: Node,
        /// How.
        way: Way,
    },
    /// The end of a node.
    Delete {
        /// The node with its last known assignment.
        node: Node,
    },
}

impl Intent {
    /// The node.
    pub fn node(&self) -> &Node {
        match self {
            Self::Add { node } | Self::Change { node, .. } | Self::Delete { node } => node,
        }
    }

    /// The first line of the output file: what the ledger's row does not say of the change.
    pub fn head(&self) -> &'static str {
        match self {
            Self::Change { way: Way::Rebuild, .. } => REBUILD,
            Self::Change { way: Way::AddAgain, .. } => ADD_AGAIN,
            Self::Change { way: Way::InPlace, .. } | Self::Add { .. } | Self::Delete { .. } => "",
        }
    }
}

/// The first line of the output file of a rebuilding.
const REBUILD: &str = "espm: rebuild";

/// The first line of the output file of a run that adds a node again.
const ADD_AGAIN: &str = "espm: add again";

/// What is known of a command that was to make a change.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// What it printed.
    pub output: &'a str,
    /// Its exit code; `None` when the process that waited for it died.
    pub exit: Option<u32>,
    /// The nodes that the console lists now; empty when it was not asked.
    pub nodes: &'a [String],
}

/// What a command has done, as far as its evidence proves it.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All of it.
    Done,
    /// The node is there and espm's, but not all was assigned.
    Partial(Gap),
    /// The command ended by itself, said why, and did nothing.
    Refused(Refusal),
    /// It was not begun: the node is what it was before.
    NotBegun,
    /// The evidence does not tell; the text is for the log.
    Unknown(String),
}

/// What is missing of an assignment.
#[derive(Debug, PartialEq, Eq)]
pub enum Gap {
    /// Names that the console does not know any more.
    Names(Vec<(List, String)>),
    /// The rest of a run that did not come to it; the text is for the log.
    Rest(String),
}

/// Why a command did nothing.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The name is taken by somebody else's node.
    Taken,
    /// The node is not there.
    Missing,
    /// What it said; the text is for the log.
    Said(String),
}

/// What a console says of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It lists the name, with these others.
    Listed(Vec<String>),
    /// Its list, which is to be believed, lacks the name.
    Unlisted,
    /// It has no nodes of its own, only what espm publishes; something is published under the name.
    Published,
    /// As before; nothing is published under the name.
    Unpublished,
}

/// Whether a new node's name is somebody's, as far as the console can say before the node is added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// It is.
    Taken,
    /// It is not, by the console; only the CA may know more.
    Free,
    /// The command that adds the node tells.
    CommandTells,
}

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
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn probe(&self, until: Deadline) -> Result<String, String> {
        match self {
            Self::Rake(rake) => rake.probe(until),
            Self::Published(published) => published.probe(),
        }
    }

    /// Whether its worker answers, where there shall be one.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn probe_worker(&self) -> Option<Result<String, String>> {
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
    ///
    /// # Errors
    /// When the console cannot be asked.
    pub fn names(&self, list: List, fresh: bool, until: Deadline) -> Result<Listing, ConsoleError> {
        match self {
            Self::Rake(rake) => rake.names(list, fresh, until),
            Self::Published(published) => published.names(list),
        }
    }

    /// The names of an assignment that it does not have any more, where that is known before the assignment
    /// is made; a run of rake tells afterwards.
    ///
    /// # Errors
    /// When the catalogue cannot be used.
    pub fn lost(&self, assignment: &Assignment) -> Result<Vec<(List, String)>, ConsoleError> {
        match self {
            Self::Rake(_) => Ok(Vec::new()),
            Self::Published(published) => published.lost(assignment),
        }
    }

    /// What it says of a name.
    ///
    /// # Errors
    /// When the console cannot be asked.
    pub fn standing(&self, name: &NodeName, until: Deadline) -> Result<Standing, ConsoleError> {
        match self {
            Self::Rake(rake) => rake.standing(name, until),
            Self::Published(published) => published.standing(name),
        }
    }

    /// Whether the name of a node that is to be added is somebody's.
    ///
    /// # Errors
    /// When the console cannot be asked.
    pub fn claim(&self, name: &NodeName) -> Result<Claim, ConsoleError> {
        match self {
            Self::Rake(_) => Ok(Claim::CommandTells),
            Self::Published(published) => published.claim(name),
        }
    }

    /// The names of all nodes.
    ///
    /// # Errors
    /// When the console cannot be asked.
    pub fn nodes(&self, until: Deadline) -> Result<Vec<String>, ConsoleError> {
        match self {
            Self::Rake(rake) => rake.nodes(until),
            Self::Published(published) => published.nodes(),
        }
    }

    /// Waits for a permit to make one change. To be acquired before an intent is recorded: a request that gets
    /// none has then written nothing.
    ///
    /// # Errors
    /// When too many wait, or for too long.
    pub fn permit(&self, until: Deadline) -> Result<Permit, ConsoleError> {
        Ok(Permit(match self {
            Self::Rake(rake) => Some(rake.slot(until)?),
            // A file is written at any time.
            Self::Published(_) => None,
        }))
    }

    /// Makes a change. `output` gets what a command prints and is locked by it for as long as it lasts.
    ///
    /// # Errors
    /// When the command has no known end.
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
