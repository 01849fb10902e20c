//! The groups, classes and parameters that a client's request asks for.

use crate::model::fault::FieldError;
use crate::model::name::{ClassName, GroupName, NodeName, ParameterName, ParameterValue};
use crate::model::node::Change;

/// A name from a list in a body, and its index there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed<T> {
    /// The index in the list.
    pub index: usize,
    /// The name.
    pub name: T,
}

/// The readable part of a body, and its errors.
#[derive(Debug, Default, Clone)]
pub struct Draft {
    /// `name`
    pub name: Option<NodeName>,
    /// `groups`
    pub groups: Option<Vec<Placed<GroupName>>>,
    /// `classes`
    pub classes: Option<Vec<Placed<ClassName>>>,
    /// `parameters`; `None` as a value removes one.
    pub parameters: Vec<(ParameterName, Option<ParameterValue>)>,
    /// All errors found so far.
    pub errors: Vec<FieldError>,
}

impl Draft {
    /// Turns the draft into a change.
    pub fn into_change(self) -> Change {
        fn names<T>(list: Vec<Placed<T>>) -> Vec<T> {
            list.into_iter().map(|placed| placed.name).collect()
        }
        Change { groups: self.groups.map(names), classes: self.classes.map(names), parameters: self.parameters }
    }
}
