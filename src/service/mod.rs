//! What is done about a request: each operation, and the recovery of one that died.

pub(crate) mod certificates;
pub(crate) mod change;
pub(crate) mod context;
pub mod draft;
pub(crate) mod nodes;
pub mod outcome;
pub(crate) mod recovery;
