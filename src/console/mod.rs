//! The console, which says what classes and groups there are and what each node has.
//!
//! Two kinds: the one that rake runs, and, where there is no console, the
//! operator's catalogue with espm's own classifier.

pub mod catalogue;
mod change;
mod error;
pub(crate) mod listing;
pub(crate) mod published;
pub mod rake;

use std::fmt::Debug;
use std::fs::File;

pub(crate) use self::change::{Claim, Evidence, Gap, Intent, Refusal, Standing, Verdict, Way};
pub(crate) use self::error::ConsoleError;
use self::listing::Listing;
use crate::model::name::NodeName;
use crate::model::node::{Assignment, List};
use crate::system::clock::Deadline;
use crate::system::lock::{InheritedLock, Queue};

/// The exit code by which espm-helper says that the task ran past its time; rake has 0 and 1 alone.
pub(crate) const EXIT_TIMED_OUT: u32 = 124;

/// The exit codes by which espm-helper says that it did not start rake (sysexits(3): usage, data,
/// missing file, not permitted, configuration).
pub(crate) const EXIT_NOT_STARTED: [u32; 5] = [64, 65, 72, 77, 78];

/// A kind of console. What two kinds do differently is a value that they return.
pub(crate) trait Console: Debug {
    /// The queue in which requests wait for it, and for each other's work on one node.
    fn queue(&self) -> &Queue;

    /// Whether nodes can have parameters.
    fn has_parameters(&self) -> bool {
        true
    }

    /// How it changes the assignment of a node.
    fn way(&self, before: &Assignment, after: &Assignment) -> Way;

    /// What a command has done, by its evidence.
    fn verdict(&self, intent: &Intent, evidence: Evidence<'_>) -> Verdict;

    /// Whether it answers as it is configured.
    fn probe(&self, until: Deadline) -> Result<String, ConsoleError>;

    /// Whether its worker answers; `None` where none is configured.
    fn probe_worker(&self) -> Option<Result<String, ConsoleError>> {
        None
    }

    /// Why a command was run although a worker is configured; `None` when that did not happen.
    fn ran_cold(&self) -> Option<&str> {
        None
    }

    /// A list of names. With `fresh` only an answer counts that was asked for after this call.
    fn names(&self, list: List, fresh: bool, until: Deadline) -> Result<Listing, ConsoleError>;

    /// The names of an assignment that it does not have any more, where that is known before the assignment
    /// is made; a run of rake tells afterwards.
    fn lost(&self, assignment: &Assignment) -> Result<Vec<(List, String)>, ConsoleError>;

    /// The names of all nodes.
    fn nodes(&self, until: Deadline) -> Result<Vec<String>, ConsoleError>;

    /// What it says of a name.
    fn standing(&self, name: &NodeName, until: Deadline) -> Result<Standing, ConsoleError>;

    /// Whether the name of a node that is to be added is somebody's.
    fn claim(&self, name: &NodeName) -> Result<Claim, ConsoleError>;

    /// Waits for a permit to make one change. To be acquired before an intent is recorded: a request that gets
    /// none has then written nothing.
    fn permit(&self, until: Deadline) -> Result<Permit, ConsoleError>;

    /// Makes a change. `output` gets what a command prints and is locked by it for as long as it lasts.
    fn run(&self, intent: &Intent, permit: Permit, output: &File, until: Deadline) -> Result<Verdict, ConsoleError>;
}

/// Leave to make one change of the console: a slot, where its kind has a bounded number of them.
#[derive(Debug)]
pub(crate) struct Permit(Option<InheritedLock>);
