//! Operations on nodes and certificates, and the recovery of unfinished ones.

pub(crate) mod certificates;
pub(crate) mod change;
pub(crate) mod context;
pub mod draft;
pub(crate) mod judgement;
pub(crate) mod nodes;
pub mod outcome;
pub(crate) mod recovery;

#[cfg(test)]
#[path = "../../tests/model/mod.rs"]
mod model;
