//! A node, what it is assigned, and a change of that.

use serde::{Deserialize, Serialize};

use super::name::{self, ClassName, GroupName, NodeName, ParameterName, ParameterValue, Parameters};

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
    #[serde(deserialize_with = "name::parameters_that_come_once")]
    pub parameters: Parameters,
}

/// Most bytes of all parameters of a node, `name=value,` each: as many as one body can have. Linux takes 128 KiB
/// as one argument of a command, and merged again and again they would grow beyond any.
const MAX_PARAMETER_BYTES: usize = 64 * 1024;

/// Most parameters of a node. Puppet Dashboard sets each in 10 ms, so these hold a slot for five seconds.
const MAX_PARAMETERS: usize = 500;

impl Assignment {
    /// Whether it has this group or class.
    pub fn has(&self, list: List, name: &str) -> bool {
        match list {
            List::Groups => self.groups.iter().any(|group| group.as_str() == name),
            List::Classes => self.classes.iter().any(|class| class.as_str() == name),
        }
    }

    /// The limit of a node's parameters that this assignment passes and the one before it did not.
    pub fn excess(&self, before: &Self) -> Option<String> {
        let bytes = |assignment: &Self| -> usize {
            assignment.parameters.iter().map(|(name, value)| name.as_str().len() + value.as_str().len() + 2).sum()
        };
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
    /// Parameters to set, or, with `None`, to remove.
    pub parameters: Vec<(ParameterName, Option<ParameterValue>)>,
}

impl Change {
    /// The assignment after this change (RFC 7396 for the parameters).
    pub fn apply(self, mut to: Assignment) -> Assignment {
        if let Some(groups) = self.groups {
            to.groups = groups;
        }
        if let Some(classes) = self.classes {
            to.classes = classes;
        }
        for (name, value) in self.parameters {
            match value {
                Some(value) => to.parameters.insert(name, value),
                None => to.parameters.remove(&name),
            };
        }
        to
    }
}

#[cfg(test)]
mod tests {
    use super::{Assignment, Change};
    use crate::model::name::{GroupName, ParameterName, ParameterValue};

    #[test]
    fn change_replaces_lists_and_merges_parameters() {
        let parameter = |name: &str| ParameterName::parse(name).unwrap();
        let value = |text: &str| ParameterValue::parse(text).unwrap();
        let before = Assignment {
            groups: vec![GroupName::parse("a").unwrap()],
            classes: vec![],
            parameters: [(parameter("kept"), value("1")), (parameter("gone"), value("1"))].into(),
        };
        let change = Change {
            groups: Some(vec![]),
            classes: None,
            parameters: vec![(parameter("gone"), None), (parameter("new"), Some(value("2")))],
        };
        let after = change.apply(before);
        assert!(after.groups.is_empty());
        assert_eq!(after.parameters, [(parameter("kept"), value("1")), (parameter("new"), value("2"))].into());
    }
}
