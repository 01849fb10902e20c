//! Operations on nodes and certificates, and the recovery of unfinished ones.

pub(crate) mod certificates;
pub(crate) mod change;
pub(crate) mod context;
pub mod draft;
pub(crate) mod judgement;
pub(crate) mod nodes;
pub mod outcome;
pub(crate) mod publish;
pub(crate) mod recovery;
pub(crate) mod rights;

#[cfg(test)]
#[path = "../../tests/model/mod.rs"]
#[allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing, reason = "a test panics")]
mod model;
