//! What is done about a request: each operation, and the recovery of one that died.

pub mod certificates;
pub mod context;
pub mod node_body;
pub mod nodes;
pub mod operation;
pub mod outcome;
pub mod recovery;
