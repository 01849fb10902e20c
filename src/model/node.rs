//! A node, what it is assigned, and a change of that.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::name::{ClassName, EnvironmentName, GroupName, NodeName, ParameterName};
use super::value::{self, ClassParameters, Parameters, Settings, Value};

/// Which of the console's two lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum List {
    /// The classes.
    Classes,
    /// The groups.
    Groups,
}

impl List {
    /// The member of a node, of a listing and of a problem that holds such names.
    pub fn member(self) -> &'static str {
        match self {
            Self::Classes => "classes",
            Self::Groups => "groups",
        }
    }
}

/// What a node is assigned.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// Its groups.
    pub groups: Vec<GroupName>,
    /// Its classes.
    pub classes: Vec<ClassName>,
    /// Its parameters; where they are read, each may come once.
    #[serde(deserialize_with = "value::parameters_that_come_once")]
    pub parameters: Parameters,
    /// Its environment; without one, the agent's own counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<EnvironmentName>,
    /// The parameters of its classes.
    #[serde(default, skip_serializing_if = "ClassParameters::is_empty")]
    pub class_parameters: ClassParameters,
}

/// A name that a node is assigned and the console no longer has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lost {
    /// A group or a class.
    Name(List, String),
    /// The environment.
    Environment(EnvironmentName),
    /// A parameter of a class.
    ClassParameter(ClassName, ParameterName),
}

impl Lost {
    /// The name alone.
    pub fn name(&self) -> String {
        match self {
            Self::Name(_, name) => name.clone(),
            Self::Environment(name) => name.to_string(),
            Self::ClassParameter(class, name) => format!("{class}::{name}"),
        }
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Name(List::Groups, _) => "group",
            Self::Name(List::Classes, _) => "class",
            Self::Environment(_) => "environment",
            Self::ClassParameter(..) => "parameter",
        };
        write!(f, "{kind} {:?}", self.name())
    }
}

/// Most bytes of all values of a node, as JSON: as many as one body can have. Linux takes 128 KiB as one argument of a
/// command, and merged again and again they would grow beyond any.
const MAX_PARAMETER_BYTES: usize = 64 * 1024;

/// Most parameters of a node. Puppet Dashboard sets each in 10 ms, so these hold a slot for five seconds.
const MAX_PARAMETERS: usize = 500;

impl Assignment {
    /// All values of parameters.
    pub fn values(&self) -> impl Iterator<Item = &Value> {
        self.parameters.values().chain(self.class_parameters.values().flat_map(Parameters::values))
    }

    /// Whether it has this group or class.
    pub fn has(&self, list: List, name: &str) -> bool {
        match list {
            List::Groups => self.groups.iter().any(|group| group.as_str() == name),
            List::Classes => self.classes.iter().any(|class| class.as_str() == name),
        }
    }

    /// The limit of a node's parameters that this assignment passes and the one before it did not.
    pub fn excess(&self, before: &Self) -> Option<String> {
        let json = |assignment: &Self| serde_json::to_string(&(&assignment.parameters, &assignment.class_parameters));
        let bytes = |assignment: &Self| json(assignment).map_or(usize::MAX, |json| json.len());
        if self.parameters.len() > MAX_PARAMETERS.max(before.parameters.len()) {
            Some(format!("a node has at most {MAX_PARAMETERS} of them"))
        } else if bytes(self) > MAX_PARAMETER_BYTES.max(bytes(before)) {
            Some(format!("those of a node have at most {MAX_PARAMETER_BYTES} bytes together; set some to null"))
        } else {
            None
        }
    }
}

/// A node and what it is assigned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its certname.
    pub name: NodeName,
    /// Its groups, classes and parameters.
    #[serde(flatten)]
    pub assignment: Assignment,
}

/// A change of an assignment: what is `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// The groups that replace the groups.
    pub groups: Option<Vec<GroupName>>,
    /// The classes that replace the classes.
    pub classes: Option<Vec<ClassName>>,
    /// Parameters to set or to remove.
    pub parameters: Settings,
    /// The environment to set, or, with `Some(None)`, to remove.
    pub environment: Option<Option<EnvironmentName>>,
    /// Parameters of classes to set or to remove; with `None`, all of a class are removed.
    pub class_parameters: Vec<(ClassName, Option<Settings>)>,
}

impl Change {
    /// The change that sends all of an assignment.
    pub fn setting(assignment: Assignment) -> Self {
        let Assignment { groups, classes, parameters, environment, class_parameters } = assignment;
        let set = |parameters: Parameters| parameters.into_iter().map(|(name, value)| (name, Some(value))).collect();
        Self {
            groups: Some(groups),
            classes: Some(classes),
            parameters: set(parameters),
            environment: environment.map(Some),
            class_parameters: class_parameters.into_iter().map(|(class, own)| (class, Some(set(own)))).collect(),
        }
    }

    /// The assignment after this change (RFC 7396 for all but the lists).
    pub fn apply(self, mut to: Assignment) -> Assignment {
        if let Some(groups) = self.groups {
            to.groups = groups;
        }
        if let Some(classes) = self.classes {
            to.classes = classes;
        }
        if let Some(environment) = self.environment {
            to.environment = environment;
        }
        merge(self.parameters, &mut to.parameters);
        for (class, settings) in self.class_parameters {
            let mut parameters = to.class_parameters.remove(&class).unwrap_or_default();
            match settings {
                Some(settings) => merge(settings, &mut parameters),
                None => parameters.clear(),
            }
            if !parameters.is_empty() {
                to.class_parameters.insert(class, parameters);
            }
        }
        to
    }
}

fn merge(settings: Settings, to: &mut Parameters) {
    for (name, value) in settings {
        match value {
            Some(value) => to.insert(name, value),
            None => to.remove(&name),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::{Assignment, Change};
    use crate::model::name::{ClassName, EnvironmentName, GroupName, ParameterName};
    use crate::model::value::Value;

    fn parameter(name: &str) -> ParameterName {
        ParameterName::parse(name).unwrap()
    }

    fn class(name: &str) -> ClassName {
        ClassName::parse(name).unwrap()
    }

    #[test]
    fn change_replaces_lists_and_merges_parameters() {
        let of = |value: &str| [(parameter("kept"), value.into()), (parameter("gone"), Value::from("1"))].into();
        let before = Assignment {
            groups: vec![GroupName::parse("a").unwrap()],
            parameters: of("1"),
            class_parameters: [(class("a"), of("1")), (class("b"), of("2")), (class("c"), of("3"))].into(),
            ..Assignment::default()
        };
        let settings = || vec![(parameter("gone"), None), (parameter("new"), Some("2".into()))];
        let all = ["kept", "gone", "none"].map(|name| (parameter(name), None)).to_vec();
        let change = Change {
            groups: Some(vec![]),
            classes: None,
            parameters: settings(),
            environment: None,
            class_parameters: vec![(class("a"), Some(settings())), (class("b"), None), (class("c"), Some(all))],
        };
        let after = change.apply(before);
        assert!(after.groups.is_empty());
        let merged = [(parameter("kept"), "1".into()), (parameter("new"), Value::from("2"))].into();
        assert_eq!(after.parameters, merged);
        assert_eq!(after.class_parameters, [(class("a"), merged)].into());
    }

    #[test]
    fn environment_is_set_kept_and_removed() {
        let name = || Some(EnvironmentName::parse("staging").unwrap());
        let change = |environment| Change { environment, ..Change::default() };
        let set = change(Some(name())).apply(Assignment::default());
        assert_eq!(set.environment, name());
        let kept = change(None).apply(set);
        assert_eq!(kept.environment, name());
        assert_eq!(change(Some(None)).apply(kept), Assignment::default());
    }

    #[test]
    fn assignment_without_the_newer_members_is_read_and_written_as_before() {
        let text = r#"{"groups":["a"],"classes":["b"],"parameters":{"c":"d"}}"#;
        let read: Assignment = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), text);
    }
}
