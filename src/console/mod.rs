//! The console, which has the classes, the groups and the nodes.
//!
//! Its kinds are a console run by rake and, without a console, the operator's catalogue with espm's own classifier.

pub mod catalogue;
mod change;
mod error;
pub(crate) mod listing;
pub(crate) mod published;
pub(crate) mod publisher;
pub mod rake;
mod yaml;

use std::fmt::Debug;
use std::fs::File;

pub(crate) use self::change::{Claim, Evidence, Gap, Intent, Refusal, Standing, Verdict, Way, exit_line, names_any};
pub(crate) use self::error::ConsoleError;
use self::listing::Listing;
use self::publisher::Publisher;
use crate::model::fault::FieldError;
use crate::model::name::{EnvironmentName, NodeName};
use crate::model::node::{Assignment, Change, List, Node};
use crate::system::clock::Deadline;
use crate::system::lock::{InheritedLock, Queue};

/// espm-helper's exit code for a task past its time limit; rake has 0 and 1 alone.
pub(crate) const EXIT_TIMED_OUT: u32 = 124;

/// espm-helper's exit codes when rake was not started, from sysexits(3):
/// usage, data, missing file, not permitted, configuration.
pub(crate) const EXIT_NOT_STARTED: [u32; 5] = [64, 65, 72, 77, 78];

/// A kind of console; where kinds differ, they return different values.
pub(crate) trait Console: Debug {
    /// The queue of requests that wait for the console or for another request's node.
    fn queue(&self) -> &Queue;

    fn has_parameters(&self) -> bool {
        true
    }

    /// The way in which it makes this change of an assignment.
    fn way(&self, before: &Assignment, after: &Assignment) -> Way;

    /// The head of an intent's output, by which recovery knows what its command was about to do.
    fn head(&self, intent: &Intent) -> Result<String, ConsoleError> {
        Ok(change::head(intent, None))
    }

    /// Judges the evidence of a command.
    fn verdict(&self, intent: &Intent, evidence: Evidence<'_>) -> Verdict;

    /// Checks that it answers as configured.
    fn probe(&self, until: Deadline) -> Result<String, ConsoleError>;

    /// Checks that its worker answers; `None` where none is configured.
    fn probe_worker(&self) -> Option<Result<String, ConsoleError>> {
        None
    }

    /// The reason for which rake was run although a worker is configured.
    fn ran_cold(&self) -> Option<&str> {
        None
    }

    /// Lists names; with `fresh`, the console is asked after this call.
    fn names(&self, list: List, fresh: bool, until: Deadline) -> Result<Listing, ConsoleError>;

    /// Judges the values that a change sends.
    /// Parameters that the node loses with it are taken out of the assignment `after` it. Errors name only environments
    /// that `shows` admits.
    fn judge(
        &self,
        change: &Change,
        before: &Assignment,
        after: &mut Assignment,
        shows: &dyn Fn(&EnvironmentName) -> bool,
    ) -> Result<Vec<FieldError>, ConsoleError>;

    /// The publisher of nodes, where the kind has one.
    fn publisher(&self) -> Option<Result<Publisher, ConsoleError>> {
        None
    }

    /// True if its database may take two names for one.
    fn folds(&self) -> bool;

    /// Lists all nodes.
    fn nodes(&self, until: Deadline) -> Result<Vec<String>, ConsoleError>;

    /// The nodes that it shows otherwise than they are assigned, or the reason for which one cannot be compared.
    fn outdated(&self, nodes: &[&Node]) -> Result<Vec<(NodeName, Option<ConsoleError>)>, ConsoleError>;

    /// The present assignment of a node; `None` where it cannot be read. `known` are earlier assignments of it.
    fn found(&self, name: &NodeName, known: &[Assignment], until: Deadline) -> Result<Option<Found>, ConsoleError>;

    /// True if a list without any node can be right. A console that has nodes of its own lists at least the master.
    fn may_be_empty(&self) -> bool;

    /// Looks a name up; a list without any node is an error where it cannot be right.
    fn standing(&self, name: &NodeName, until: Deadline) -> Result<Standing, ConsoleError>;

    /// Looks up whether the name of a new node is taken.
    fn claim(&self, name: &NodeName) -> Result<Claim, ConsoleError>;

    /// Waits for a permit to make one change.
    ///
    /// Acquire it before the intent is recorded: a request without a permit must leave nothing in the ledger.
    fn permit(&self, until: Deadline) -> Result<Permit, ConsoleError>;

    /// Makes a change; its command writes to `output` and keeps it locked.
    fn run(&self, intent: &Intent, permit: Permit, output: &File, until: Deadline) -> Result<Verdict, ConsoleError>;
}

/// What the console has of a node.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) assignment: Assignment,
    /// What espm cannot assign, each as a noun phrase.
    pub(crate) beyond: Vec<String>,
}

/// Permission to make one change: a slot, where the number of slots is bounded.
#[derive(Debug)]
pub(crate) struct Permit(Option<InheritedLock>);
