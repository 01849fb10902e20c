//! What is done about a request: each operation, and the recovery of one that died.

pub mod certificates;
pub mod change;
pub mod context;
pub mod draft;
pub mod nodes;
pub mod outcome;
pub mod recovery;
