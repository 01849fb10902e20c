//! The groups, classes and parameters that a client's request asks for.

use std::fmt::Display;

use crate::model::fault::FieldError;
use crate::model::name::{ClassName, GroupName, NodeName, ParameterName, ParameterValue};
use crate::model::node::{Assignment, Change, List};

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

/// A group or class that a node is to have.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// Its index in the client's list, if the client sent that list.
    pub index: Option<usize>,
    pub name: String,
}

impl Draft {
    /// True if the client sent this list.
    pub(crate) fn sends(&self, list: List) -> bool {
        match list {
            List::Groups => self.groups.is_some(),
            List::Classes => self.classes.is_some(),
        }
    }

    /// The names of a list after this draft.
    pub(crate) fn wanted(&self, list: List, before: &Assignment) -> Vec<Wanted> {
        fn all<T: Display>(sent: Option<&[Placed<T>]>, before: &[T]) -> Vec<Wanted> {
            let wanted = |index, name: &T| Wanted { index, name: name.to_string() };
            match sent {
                Some(sent) => sent.iter().map(|placed| wanted(Some(placed.index), &placed.name)).collect(),
                None => before.iter().map(|name| wanted(None, name)).collect(),
            }
        }
        match list {
            List::Groups => all(self.groups.as_deref(), &before.groups),
            List::Classes => all(self.classes.as_deref(), &before.classes),
        }
    }

    /// Turns the draft into a change.
    pub fn into_change(self) -> Change {
        fn names<T>(list: Vec<Placed<T>>) -> Vec<T> {
            list.into_iter().map(|placed| placed.name).collect()
        }
        Change { groups: self.groups.map(names), classes: self.classes.map(names), parameters: self.parameters }
    }
}
