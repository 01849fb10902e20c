//! A node's row, and the words of its states in the database.

use rusqlite::Row;

use super::LedgerError;
use crate::model::name::{ClientName, NodeName};
use crate::model::node::{Assignment, Node};
use crate::model::words;

words! {
    /// The state of a node.
    NodeState {
        /// It is being added.
        Creating = "creating",
        /// It is there.
        Active = "active",
        /// Its assignment is being changed.
        Changing = "changing",
        /// It is being deleted.
        Deleting = "deleting",
        /// It cannot be proven that the node is espm's; a human decides.
        Unproven = "unproven",
    }
}

words! {
    /// The state of a certificate.
    CertificateState {
        /// It is being generated.
        Generating = "generating",
        /// It is there.
        Issued = "issued",
        /// It is being revoked.
        Revoking = "revoking",
        /// It is revoked.
        Revoked = "revoked",
    }
}

/// A node's row.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The node, with the assignment that the console last confirmed.
    pub node: Node,
    /// Its state.
    pub state: NodeState,
    /// Its client; `None` for a node from before there were clients, or that the operator has adopted.
    pub client: Option<ClientName>,
    /// The assignment of an unfinished intent.
    pub wanted: Option<Assignment>,
    /// The name of the output file of an unfinished intent's command.
    pub output: Option<String>,
    /// Its certificate's state.
    pub certificate: Option<CertificateState>,
    /// The request that last wrote the row.
    pub(crate) request: String,
    /// When the row was last written, in seconds since 1970.
    pub since: i64,
}

impl Entry {
    /// True if a retry or a human has to settle the node.
    pub(crate) fn is_unfinished(&self) -> bool {
        self.state != NodeState::Active
            || matches!(self.certificate, Some(CertificateState::Generating | CertificateState::Revoking))
    }
}

/// Reads rows for [`read_entry`].
pub(super) const SELECT: &str =
    "SELECT node.name, node.state, assignment, wanted, proof, since, certificate.state, request, client
    FROM node LEFT JOIN certificate ON certificate.name = node.name";

/// The JSON of a value, as a column holds it.
pub(super) fn to_json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// Reads a row. One whose content is not espm's is an error, never left out.
pub(super) fn read_entry(row: &Row<'_>) -> rusqlite::Result<Result<Entry, LedgerError>> {
    let name: String = row.get(0)?;
    let state: String = row.get(1)?;
    let assignment: String = row.get(2)?;
    let wanted: Option<String> = row.get(3)?;
    let certificate: Option<String> = row.get(6)?;
    let (output, since, request) = (row.get(4)?, row.get(5)?, row.get(7)?);
    let client: Option<String> = row.get(8)?;
    let read = || {
        Some(Entry {
            node: Node { name: NodeName::parse(&name).ok()?, assignment: serde_json::from_str(&assignment).ok()? },
            state: NodeState::parse(&state)?,
            client: match client {
                Some(name) => Some(ClientName::parse(&name).ok()?),
                None => None,
            },
            wanted: match wanted {
                Some(json) => Some(serde_json::from_str(&json).ok()?),
                None => None,
            },
            output,
            certificate: match certificate {
                Some(word) => Some(CertificateState::parse(&word)?),
                None => None,
            },
            request,
            since,
        })
    };
    Ok(read().ok_or(LedgerError::Row(name.clone())))
}
