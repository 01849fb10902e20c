//! A change of a node in the console: what was intended, what is known of its command, and what that proves.

use crate::model::node::{List, Node};

/// How an assignment is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// The node stays.
    InPlace,
    /// The node is deleted and added again in one run.
    Rebuild,
    /// A node that an earlier rebuilding has deleted is added again.
    AddAgain,
}

/// A change of one node, as it is recorded before it is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Intent {
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
    pub(crate) fn node(&self) -> &Node {
        match self {
            Self::Add { node } | Self::Change { node, .. } | Self::Delete { node } => node,
        }
    }

    /// The change of an assignment that an unfinished command was to make, by the first line of its output; where
    /// that is lost, in the way in which the console makes it now.
    pub(crate) fn unfinished_change(output: &str, node: Node, way: Way) -> Self {
        let way = match output.lines().next() {
            Some(ADD_AGAIN) => Way::AddAgain,
            Some(REBUILD) => Way::Rebuild,
            _ => way,
        };
        Self::Change { node, way }
    }

    /// The first line of the output file: what the ledger's row does not say of the change.
    pub(crate) fn head(&self) -> &'static str {
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
pub(crate) struct Evidence<'a> {
    /// What it printed.
    pub(crate) output: &'a str,
    /// Its exit code; `None` when the process that waited for it died.
    pub(crate) exit: Option<u32>,
    /// The nodes that the console lists now; empty when it was not asked.
    pub(crate) nodes: &'a [String],
}

/// What a command has done, as far as its evidence proves it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
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
pub(crate) enum Gap {
    /// Names that the console does not know any more.
    Names(Vec<(List, String)>),
    /// The rest of a run that did not come to it; the text is for the log.
    Rest(String),
}

/// Why a command did nothing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The name is taken by somebody else's node.
    Taken,
    /// The node is not there.
    Missing,
    /// What it said; the text is for the log.
    Said(String),
}

/// What a console says of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
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
pub(crate) enum Claim {
    /// It is.
    Taken,
    /// It is not, by the console; only the CA may know more.
    Free,
    /// The command that adds the node tells.
    CommandTells,
}
