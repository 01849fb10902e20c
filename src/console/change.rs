//! A change of a node in the console: its intent, its evidence and its verdict.

use crate::model::node::{List, Node};

/// The way in which an assignment is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// The node stays.
    InPlace,
    /// The node is deleted and added again in one run.
    Rebuild,
    /// A node that an earlier rebuild has deleted is added again.
    AddAgain,
}

/// A change of one node, recorded before it is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Intent {
    Add {
        node: Node,
    },
    /// `node` has the new assignment.
    Change {
        node: Node,
        way: Way,
    },
    /// `node` has its last known assignment.
    Delete {
        node: Node,
    },
}

impl Intent {
    pub(crate) fn node(&self) -> &Node {
        match self {
            Self::Add { node } | Self::Change { node, .. } | Self::Delete { node } => node,
        }
    }

    /// Restores the intent of an unfinished change from the first line of its output.
    /// Where that line is lost, `way` counts.
    pub(crate) fn unfinished_change(output: &str, node: Node, way: Way) -> Self {
        let way = match output.lines().next() {
            Some(ADD_AGAIN) => Way::AddAgain,
            Some(REBUILD) => Way::Rebuild,
            _ => way,
        };
        Self::Change { node, way }
    }

    /// The first line of the output file, which keeps the way of a change.
    pub(crate) fn head(&self) -> &'static str {
        match self {
            Self::Change { way: Way::Rebuild, .. } => REBUILD,
            Self::Change { way: Way::AddAgain, .. } => ADD_AGAIN,
            Self::Change { way: Way::InPlace, .. } | Self::Add { .. } | Self::Delete { .. } => "",
        }
    }
}

/// The first line of the output file of a rebuild.
const REBUILD: &str = "espm: rebuild";

/// The first line of the output file of a run that adds a node again.
const ADD_AGAIN: &str = "espm: add again";

/// The evidence of a command that was to make a change.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Evidence<'a> {
    pub(crate) output: &'a str,
    /// `None` when the process that waited for the command died.
    pub(crate) exit: Option<u32>,
    /// The nodes that the console lists now; empty before it is asked.
    pub(crate) nodes: &'a [String],
}

/// The effect of a command, as far as its evidence proves it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The whole change is made.
    Done,
    /// The node exists and is espm's, but its assignment is incomplete.
    Partial(Gap),
    /// The command ended by itself, said why, and did nothing.
    Refused(Refusal),
    /// The command did not begin; the node is unchanged.
    NotBegun,
    /// The evidence proves nothing; the text is for the log.
    Unknown(String),
}

/// The missing part of an assignment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Gap {
    /// Names that the console no longer has.
    UnknownNames(Vec<(List, String)>),
    /// The part that the run did not reach; the text is for the log.
    Unfinished(String),
}

/// The reason for which a command did nothing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// A node that espm did not create has the name.
    Taken,
    /// The node does not exist.
    Missing,
    /// Any other error of the command; the text is for the log.
    Error(String),
}

/// A name's standing in the console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The name is among these nodes.
    Listed(Vec<String>),
    /// The name is not in the list, which is known to be a console's.
    Unlisted,
    /// There is no console; a file is published under the name.
    Published,
    /// There is no console; nothing is published under the name.
    Unpublished,
}

/// The console's knowledge about a new node's name before the node is added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    Taken,
    /// Free in the console; the CA may know more.
    Free,
    /// Known only from the command that adds the node.
    CommandTells,
}
