//! A change of a node in the console: its intent, its evidence and its verdict.

use crate::model::name::NodeName;
use crate::model::node::{List, Node};
use crate::system::clock;
use crate::system::text::plain;
use crate::system::trusted_file::Identity;

/// The way in which an assignment is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// The node stays.
    InPlace,
    /// The node stays; only its groups differ, and nothing else is set.
    Groups,
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

impl Way {
    /// True if the change cannot remove the node, whatever becomes of it.
    pub(crate) fn keeps_node(self) -> bool {
        matches!(self, Self::InPlace | Self::Groups)
    }
}

impl Intent {
    pub(crate) fn node(&self) -> &Node {
        match self {
            Self::Add { node } | Self::Change { node, .. } | Self::Delete { node } => node,
        }
    }

    /// Restores the intent of an unfinished change from the head of its output.
    /// Without such a line, `fallback` counts.
    pub(crate) fn unfinished_change(output: &str, node: Node, fallback: Way) -> Self {
        let way = head_lines(output).find_map(|line| match line {
            ADD_AGAIN => Some(Way::AddAgain),
            REBUILD => Some(Way::Rebuild),
            _ => None,
        });
        Self::Change { node, way: way.unwrap_or(fallback) }
    }

    /// The line in the head of the output that keeps the way of a change.
    fn head(&self) -> Option<&'static str> {
        match self {
            Self::Change { way: Way::Rebuild, .. } => Some(REBUILD),
            Self::Change { way: Way::AddAgain, .. } => Some(ADD_AGAIN),
            Self::Change { way: Way::InPlace | Way::Groups, .. } | Self::Add { .. } | Self::Delete { .. } => None,
        }
    }
}

/// The line of a rebuild.
const REBUILD: &str = "espm: rebuild";

/// The line of a run that adds a node again.
const ADD_AGAIN: &str = "espm: add again";

/// The beginning of the line that names the boot in which the command was started.
const BOOT: &str = "espm: boot ";

/// The beginning of the last line of a command that has ended by itself; its exit code follows.
const EXIT: &str = "espm: exit ";

/// What all of espm's own lines begin with.
const OWN: &str = "espm: ";

/// The head of an intent's output file, durable before the intent is.
pub(crate) fn head(intent: &Intent, more: Option<&str>) -> String {
    let boot = clock::boot().map(|boot| format!("{BOOT}{boot}"));
    let lines = [boot.as_deref(), intent.head(), more];
    lines.into_iter().flatten().flat_map(|line| [line, "\n"]).collect()
}

/// The lines of espm's own before those of the command.
pub(super) fn head_lines(output: &str) -> impl Iterator<Item = &str> {
    output.lines().take_while(|line| line.starts_with(OWN))
}

/// The output of the command alone, which begins after espm's own lines.
pub(super) fn without_head(output: &str) -> &str {
    output.get(head_lines(output).map(|line| line.len() + 1).sum()..).unwrap_or_default()
}

/// The last line of the output of a command that has ended by itself.
pub(crate) fn exit_line(code: u32) -> String {
    format!("{EXIT}{code}\n")
}

/// The evidence of a command that was to make a change.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Evidence<'a> {
    pub(crate) output: &'a str,
    /// `None` when the command did not end by itself, or nothing tells.
    pub(crate) exit: Option<u32>,
    /// False when a power loss may have taken lines of the output, so that a missing line proves nothing.
    pub(crate) whole: bool,
    /// The name's standing now; `None` before the console is asked.
    pub(crate) standing: Option<&'a Standing>,
}

impl<'a> Evidence<'a> {
    /// The evidence that an ended command has left in its output file; `boot` is this boot.
    pub(crate) fn left(output: &'a str, boot: Option<&str>) -> Self {
        let exit = output.lines().next_back().and_then(|line| line.strip_prefix(EXIT)?.parse().ok());
        let began = head_lines(output).find_map(|line| line.strip_prefix(BOOT));
        // A part that did not reach the disk is read as zeros.
        let whole = began.is_some() && began == boot || exit.is_some() && !output.contains('\0');
        Self { output, exit: exit.filter(|_| whole), whole, standing: None }
    }

    /// The same evidence, and the name's standing now.
    pub(crate) fn and(self, standing: Option<&'a Standing>) -> Self {
        Self { standing, ..self }
    }
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
    /// The name is not among the console's nodes.
    Unlisted(Unlisted),
    /// There is no console; this file is published under the name.
    Published(Identity),
    /// There is no console; nothing is published under the name.
    Unpublished,
}

/// Proof that a list names another node and lacks this one.
///
/// An empty list proves nothing: the console's database can be a wrong or a restored one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unlisted(());

impl Standing {
    /// Judges a console's list of nodes; `None` when it names no other node and lacks this one.
    pub(crate) fn among(name: &NodeName, nodes: Vec<String>) -> Option<Self> {
        if nodes.iter().any(|node| plain(node) == name.as_str()) {
            Some(Self::Listed(nodes))
        } else if names_any(&nodes) {
            Some(Self::Unlisted(Unlisted(())))
        } else {
            None
        }
    }
}

/// True if a list has at least one line that can be a node's name.
pub(crate) fn names_any<'a>(nodes: impl IntoIterator<Item = &'a String>) -> bool {
    let is_name = |node: &String| !node.trim().is_empty() && !node.contains(char::is_control);
    nodes.into_iter().any(is_name)
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
