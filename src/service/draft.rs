//! The groups, classes and parameters that a client's request asks for.

use std::fmt::Display;

use crate::authority::protocol::Asked;
use crate::model::fault::FieldError;
use crate::model::name::{ClassName, EnvironmentName, GroupName, NodeName};
use crate::model::node::{Assignment, Change, List, Lost};
use crate::model::value::{Settings, Value};

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
    pub parameters: Settings,
    /// `environment`; `Some(None)` removes it.
    pub environment: Option<Option<EnvironmentName>>,
    /// `class_parameters`; `None` removes all of a class.
    pub class_parameters: Vec<(ClassName, Option<Settings>)>,
    /// All errors found so far.
    pub errors: Vec<FieldError>,
}

/// The readable part of a request for a certificate, and its errors.
#[derive(Debug, Default, Clone)]
pub struct CertificateDraft {
    /// The certificate that is asked for.
    pub asked: Asked,
    /// The places in the body of the trusted facts, by object identifiers.
    pub places: Vec<(String, String)>,
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
    /// True if the client sent this name.
    pub(crate) fn sends(&self, lost: &Lost) -> bool {
        match lost {
            Lost::Name(List::Groups, _) => self.groups.is_some(),
            Lost::Name(List::Classes, _) => self.classes.is_some(),
            Lost::Environment(_) => matches!(self.environment, Some(Some(_))),
            Lost::ClassParameter(class, name) => {
                let of_class = self.class_parameters.iter().filter(|(sent, _)| sent == class);
                let mut settings = of_class.filter_map(|(_, settings)| settings.as_ref()).flatten();
                settings.any(|(sent, value)| sent == name && value.is_some())
            }
        }
    }

    /// All values that the client sent.
    pub(crate) fn values(&self) -> impl Iterator<Item = &Value> {
        let of_classes = self.class_parameters.iter().filter_map(|(_, settings)| settings.as_ref()).flatten();
        self.parameters.iter().chain(of_classes).filter_map(|(_, value)| value.as_ref())
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
        Change {
            groups: self.groups.map(names),
            classes: self.classes.map(names),
            parameters: self.parameters,
            environment: self.environment,
            class_parameters: self.class_parameters,
        }
    }
}
