//! What a client asks for of a node, as far as it could be read.

use crate::model::fault::FieldError;
use crate::model::name::{ClassName, GroupName, NodeName, ParameterName, ParameterValue};
use crate::model::node::Change;

/// A name from a list in a body, with its place in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed<T> {
    /// The index in the list.
    pub index: usize,
    /// The name.
    pub name: T,
}

/// What a body says, and what is wrong with it.
#[derive(Debug, Default)]
pub struct Draft {
    /// `name`
    pub name: Option<NodeName>,
    /// `groups`
    pub groups: Option<Vec<Placed<GroupName>>>,
    /// `classes`
    pub classes: Option<Vec<Placed<ClassName>>>,
    /// `parameters`; `None` as a value removes one.
    pub parameters: Vec<(ParameterName, Option<ParameterValue>)>,
    /// What is wrong.
    pub errors: Vec<FieldError>,
}

impl Draft {
    /// The change that the draft asks for.
    pub fn into_change(self) -> Change {
        fn names<T>(list: Vec<Placed<T>>) -> Vec<T> {
            list.into_iter().map(|placed| placed.name).collect()
        }
        Change { groups: self.groups.map(names), classes: self.classes.map(names), parameters: self.parameters }
    }
}
