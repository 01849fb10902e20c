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
use self::published::Enc;
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

/// What became of an assignment.
#[derive(Debug, PartialEq, Eq)]
pub enum Assigned {
    /// It is made.
    Whole,
    /// It is made but for these, which the console no longer has.
    Lost(Vec<(List, String)>),
    /// The node's name is taken; nothing was made.
    Taken,
    /// The node is not there; nothing was made.
    Missing,
    /// It failed on the way; the node was created by this run.
    Partly(String),
    /// It failed; whether anything was made is for recovery to find out.
    Failed(String),
}

/// The console.
#[derive(Debug)]
pub enum Console {
    /// The one that rake runs.
    Rake(Box<Rake>),
    /// The operator's catalogue and espm's own classifier.
    Enc(Enc),
}

impl Console {
    /// The queue in which requests for one node wait for each other, too.
    pub fn queue(&self) -> &Queue {
        match self {
            Self::Rake(rake) => rake.queue(),
            Self::Enc(enc) => enc.queue(),
        }
    }

    /// Whether it has only what espm publishes, so that the ledger alone says whose a node is.
    pub fn follows_ledger(&self) -> bool {
        matches!(self, Self::Enc(_))
    }

    /// Whether nodes can have parameters.
    pub fn has_parameters(&self) -> bool {
        match self {
            Self::Rake(rake) => rake.has_parameters(),
            Self::Enc(_) => true,
        }
    }

    /// Whether a change can be made in place, or the node must be deleted and added in one run.
    pub fn changes_in_place(&self, removes_parameters: bool) -> bool {
        match self {
            Self::Rake(rake) => rake.changes_in_place(removes_parameters),
            Self::Enc(_) => true,
        }
    }

    /// Whether it answers as it is configured.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn probe(&self, until: Deadline) -> Result<String, String> {
        match self {
            Self::Rake(rake) => rake.probe(until),
            Self::Enc(enc) => enc.probe(),
        }
    }

    /// Whether its worker answers, where there shall be one.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn probe_worker(&self) -> Option<Result<String, String>> {
        match self {
            Self::Rake(rake) => rake.probe_worker(),
            Self::Enc(_) => None,
        }
    }

    /// Why rake was run although there shall be a worker; `None` when that did not happen.
    pub fn ran_cold(&self) -> Option<&str> {
        match self {
            Self::Rake(rake) => rake.ran_cold(),
            Self::Enc(_) => None,
        }
    }

    /// A list of names. With `fresh` only an answer counts that was asked for after this call.
    ///
    /// # Errors
    /// When the console cannot be asked.
    pub fn names(&self, list: List, fresh: bool, until: Deadline) -> Result<Listing, ConsoleError> {
        match self {
            Self::Rake(rake) => rake.names(list, fresh, until),
            Self::Enc(enc) => enc.names(list),
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
            Self::Enc(enc) => enc.lost(assignment),
        }
    }

    /// Whether exactly this node is in the console.
    ///
    /// # Errors
    /// When the console cannot be asked.
    pub fn has(&self, name: &NodeName, until: Deadline) -> Result<bool, ConsoleError> {
        match self {
            Self::Rake(rake) => rake.has(name, until),
            Self::Enc(enc) => enc.has(name),
        }
    }

    /// The names of all nodes.
    ///
    /// # Errors
    /// When the console cannot be asked.
    pub fn nodes(&self, until: Deadline) -> Result<Vec<String>, ConsoleError> {
        match self {
            Self::Rake(rake) => rake.nodes(until),
            Self::Enc(enc) => enc.nodes(),
        }
    }

    /// Waits for a turn to change it. To be had before an intent is recorded: a request that gets none
    /// has then written nothing.
    ///
    /// # Errors
    /// When too many wait, or for too long.
    pub fn turn(&self, until: Deadline) -> Result<Turn<'_>, ConsoleError> {
        Ok(match self {
            Self::Rake(rake) => Turn::Rake(rake, rake.slot(until)?),
            Self::Enc(enc) => Turn::Enc(enc),
        })
    }
}

/// A turn to make one change of the console.
#[derive(Debug)]
pub enum Turn<'a> {
    /// A slot for one run of rake.
    Rake(&'a Rake, Lease),
    /// A file of the classifier's is written at any time.
    Enc(&'a Enc),
}

impl Turn<'_> {
    /// Adds a node. `proof` gets the output of a command and is locked by it for as long as it lasts.
    ///
    /// # Errors
    /// When it has no known end.
    pub fn add(self, node: &Node, proof: &File, until: Deadline) -> Result<Assigned, ConsoleError> {
        match self {
            Self::Rake(rake, slot) => rake.add(node, slot, proof, until),
            Self::Enc(enc) => enc.add(node),
        }
    }

    /// Changes a node's assignment, in place or by deleting it and adding it again.
    ///
    /// # Errors
    /// When it has no known end.
    pub fn change(self, node: &Node, rebuild: bool, proof: &File, until: Deadline) -> Result<Assigned, ConsoleError> {
        match self {
            Self::Rake(rake, slot) => rake.change(node, rebuild, slot, proof, until),
            Self::Enc(enc) => enc.publish(node),
        }
    }

    /// Deletes a node; one that is not there is deleted.
    ///
    /// # Errors
    /// When it is still there, or that has no known end.
    pub fn delete(self, node: &Node, proof: &File, until: Deadline) -> Result<(), ConsoleError> {
        match self {
            Self::Rake(rake, slot) => rake.delete(node, slot, proof, until),
            Self::Enc(enc) => enc.withdraw(&node.name),
        }
    }
}
