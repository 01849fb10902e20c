//! The console's rake tasks, and the words of their command lines.
//!
//! espm-helper gets a task as JSON, parses every name again and makes the words itself. A client's values are parsed
//! and stand behind `name=`, `groups=`, `classes=` or `parameters=`; all other words are literals.

use serde::{Deserialize, Serialize};

use crate::console::{Intent, Way};
use crate::model::name::{GroupName, NodeName};
use crate::model::node::{Assignment, List, Node};

/// The oldest release of the console that has a console's rake tasks.
///
/// Releases differ in what they can change in place, and no task prints its version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Release {
    /// 1.2.2 to 1.2.6: no parameters.
    V1_2_2,
    /// 1.2.7 to 1.2.22: only groups change in place; `node:classes` may fail, a parameter gets a second value.
    V1_2_7,
    /// 1.2.23 and 2.0: changes in place, but no parameter can be removed.
    V1_2_23,
    /// 3.0: error messages go to standard error.
    V3_0,
}

impl Release {
    /// All releases, with their names in the configuration.
    pub const ALL: [(&'static str, Self); 4] =
        [("1.2.2", Self::V1_2_2), ("1.2.7", Self::V1_2_7), ("1.2.23", Self::V1_2_23), ("3.0", Self::V3_0)];

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(word, _)| *word == name).map(|(_, release)| *release)
    }

    pub(crate) fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, release)| *release == self).map_or("", |(word, _)| word)
    }

    /// Recognises the release from the output of `rake -s -T`.
    pub(crate) fn from_task_list(output: &str) -> Option<Self> {
        let has = |task: &str| output.lines().any(|line| line.split_whitespace().nth(1) == Some(task));
        if !has("node:add") || !has("nodeclass:list") {
            None
        } else if has("node:delvariables") {
            Some(Self::V3_0)
        } else if has("node:addclass") {
            Some(Self::V1_2_23)
        } else if has("node:parameters") {
            Some(Self::V1_2_7)
        } else {
            Some(Self::V1_2_2)
        }
    }

    pub(crate) fn has_parameters(self) -> bool {
        self > Self::V1_2_2
    }

    /// True if it has tasks that show what a node has.
    pub(crate) fn shows_nodes(self) -> bool {
        self >= Self::V1_2_23
    }

    /// The way of a change: in place where that can be made, otherwise the node is rebuilt.
    pub(crate) fn way(self, before: &Assignment, after: &Assignment) -> Way {
        let in_place = match self {
            Self::V1_2_2 => true,
            Self::V1_2_7 if before.classes == after.classes && before.parameters == after.parameters => {
                return Way::Groups;
            }
            Self::V1_2_7 => false,
            Self::V1_2_23 | Self::V3_0 => before.parameters.keys().all(|name| after.parameters.contains_key(name)),
        };
        if in_place { Way::InPlace } else { Way::Rebuild }
    }
}

/// One run of rake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "task", rename_all = "kebab-case")]
pub enum Task {
    /// List rake's tasks.
    Tasks,
    /// List classes or groups.
    Names {
        /// The list.
        list: List,
    },
    /// List nodes.
    Nodes,
    /// List a node's classes or groups.
    Assigned {
        /// The node's name.
        name: NodeName,
        /// The list.
        list: List,
    },
    /// List a node's parameters.
    Parameters {
        /// The node's name.
        name: NodeName,
    },
    /// Add a node.
    Add {
        /// The node.
        node: Node,
    },
    /// Change an assignment in place.
    Change {
        /// The node with the new assignment.
        node: Node,
    },
    /// Change a node's groups alone.
    Groups {
        /// The node's name.
        name: NodeName,
        /// The new groups.
        groups: Vec<GroupName>,
    },
    /// Change an assignment by deleting the node and adding it again.
    Rebuild {
        /// The node with the new assignment.
        node: Node,
    },
    /// Delete a node.
    Delete {
        /// The node's name.
        name: NodeName,
        /// Its groups, set again; that message shows that the deletion was reached.
        groups: Vec<GroupName>,
    },
}

/// A task and its time limit.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The task.
    pub task: Task,
    /// Seconds.
    pub limit: u64,
}

/// The options before every task.
///
/// They omit the `(in DIR)` line and flush each message, so that a task without a message was not reached.
const ALWAYS: [&str; 3] = ["-s", "-E", "$stdout.sync=true"];

impl Task {
    pub(crate) fn of(intent: &Intent) -> Self {
        match intent {
            Intent::Add { node } | Intent::Change { node, way: Way::AddAgain } => Self::Add { node: node.clone() },
            Intent::Change { node, way: Way::InPlace } => Self::Change { node: node.clone() },
            Intent::Change { node, way: Way::Groups } => {
                Self::Groups { name: node.name.clone(), groups: node.assignment.groups.clone() }
            }
            Intent::Change { node, way: Way::Rebuild } => Self::Rebuild { node: node.clone() },
            Intent::Delete { node } => Self::Delete { name: node.name.clone(), groups: node.assignment.groups.clone() },
        }
    }

    /// True if a worker can run it; rake alone lists its tasks.
    pub(crate) fn is_for_worker(&self) -> bool {
        *self != Self::Tasks
    }

    /// True if it may change something, so that it cannot be run twice.
    pub(crate) fn changes(&self) -> bool {
        match self {
            Self::Tasks | Self::Names { .. } | Self::Nodes | Self::Assigned { .. } | Self::Parameters { .. } => false,
            Self::Add { .. }
            | Self::Change { .. }
            | Self::Groups { .. }
            | Self::Rebuild { .. }
            | Self::Delete { .. } => true,
        }
    }

    /// The node that the task is about.
    pub fn node(&self) -> Option<&NodeName> {
        match self {
            Self::Tasks | Self::Names { .. } | Self::Nodes => None,
            Self::Add { node } | Self::Change { node } | Self::Rebuild { node } => Some(&node.name),
            Self::Assigned { name, .. }
            | Self::Parameters { name }
            | Self::Groups { name, .. }
            | Self::Delete { name, .. } => Some(name),
        }
    }

    /// The words after the configured rake command.
    pub fn words(&self, release: Release) -> Vec<String> {
        ALWAYS.map(str::to_owned).into_iter().chain(self.tasks(release)).collect()
    }

    /// The tasks and their variables; `conf/console/espm.rake` allows exactly these.
    ///
    /// The same run verifies the assignment: lists follow it, with the message of a task between them.
    pub(crate) fn tasks(&self, release: Release) -> Vec<String> {
        let mut words: Vec<String> = Vec::new();
        let mut tasks = |tasks: &[&str]| words.extend(tasks.iter().map(|task| (*task).to_owned()));
        match self {
            Self::Tasks => tasks(&["-T"]),
            Self::Names { list: List::Classes } => tasks(&["nodeclass:list"]),
            Self::Names { list: List::Groups } => tasks(&["nodegroup:list"]),
            Self::Nodes => tasks(&["node:list"]),
            Self::Assigned { name, list } => {
                tasks(&[if *list == List::Classes { "node:listclasses" } else { "node:listgroups" }]);
                words.push(format!("name={name}"));
            }
            Self::Parameters { name } => {
                tasks(&["node:parameters"]);
                words.push(format!("name={name}"));
            }
            Self::Add { node } => {
                tasks(&["node:add"]);
                if !node.assignment.parameters.is_empty() {
                    tasks(&["node:parameters"]);
                }
                tasks(&["nodeclass:list", "node:groups", "nodegroup:list"]);
                words.extend(variables(node));
            }
            Self::Change { node } => {
                tasks(&["node:classes"]);
                if release.has_parameters() {
                    tasks(&["node:parameters"]);
                }
                tasks(&["nodeclass:list", "node:groups", "nodegroup:list"]);
                words.extend(variables(node));
            }
            Self::Rebuild { node } => {
                tasks(&["node:groups", "node:del", "node:add", "nodeclass:list", "node:parameters", "nodegroup:list"]);
                words.extend(variables(node));
            }
            Self::Groups { name, groups } => {
                tasks(&["node:groups", "nodegroup:list"]);
                words.extend(variables(&with_groups(name, groups)));
            }
            Self::Delete { name, groups } => {
                tasks(&["node:groups", "node:del", "node:list"]);
                words.extend(variables(&with_groups(name, groups)));
            }
        }
        words
    }
}

fn with_groups(name: &NodeName, groups: &[GroupName]) -> Node {
    Node { name: name.clone(), assignment: Assignment { groups: groups.to_vec(), ..Assignment::default() } }
}

/// All four variables, so that none comes from the environment.
fn variables(node: &Node) -> [String; 4] {
    fn join<'a>(names: impl Iterator<Item = &'a str>) -> String {
        names.collect::<Vec<_>>().join(",")
    }
    let Node { name, assignment: Assignment { groups, classes, parameters } } = node;
    let parameters = parameters.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",");
    [
        format!("name={name}"),
        format!("groups={}", join(groups.iter().map(GroupName::as_str))),
        format!("classes={}", join(classes.iter().map(crate::model::name::ClassName::as_str))),
        format!("parameters={parameters}"),
    ]
}

#[cfg(test)]
mod tests {
    use super::{Release, Request, Task};
    use crate::model::name::{ClassName, GroupName, NodeName, ParameterName, ParameterValue};
    use crate::model::node::{Assignment, Node};

    fn node() -> Node {
        Node {
            name: NodeName::parse("web01").unwrap(),
            assignment: Assignment {
                groups: ["a", "b c"].map(|name| GroupName::parse(name).unwrap()).to_vec(),
                classes: vec![ClassName::parse("apache").unwrap()],
                parameters: [(ParameterName::parse("url").unwrap(), ParameterValue::parse("x?a=b").unwrap())].into(),
            },
        }
    }

    #[test]
    fn add_is_one_run_that_also_lists() {
        let words = Task::Add { node: node() }.words(Release::V1_2_7);
        assert_eq!(
            words,
            [
                "-s",
                "-E",
                "$stdout.sync=true",
                "node:add",
                "node:parameters",
                "nodeclass:list",
                "node:groups",
                "nodegroup:list",
                "name=web01",
                "groups=a,b c",
                "classes=apache",
                "parameters=url=x?a=b",
            ]
        );
    }

    #[test]
    fn console_without_parameters_gets_no_task_for_them() {
        let mut plain = node();
        plain.assignment.parameters.clear();
        for task in [Task::Add { node: plain.clone() }, Task::Change { node: plain }] {
            assert!(!task.words(Release::V1_2_2).contains(&"node:parameters".to_owned()));
        }
    }

    #[test]
    fn release_is_read_off_the_task_list() {
        let list = |tasks: &[&str]| tasks.iter().map(|task| format!("rake {task}  # x\n")).collect::<String>();
        let old = ["node:add", "nodeclass:list"];
        let with = |more: &[&str]| Release::from_task_list(&list(&[&old, more].concat()));
        assert_eq!(with(&[]), Some(Release::V1_2_2));
        assert_eq!(with(&["node:parameters"]), Some(Release::V1_2_7));
        assert_eq!(with(&["node:parameters", "node:addclass"]), Some(Release::V1_2_23));
        assert_eq!(with(&["node:parameters", "node:addclass", "node:delvariables"]), Some(Release::V3_0));
        for no_console in [&["about"][..], &old[..1], &old[1..]] {
            assert_eq!(Release::from_task_list(&list(no_console)), None, "{no_console:?}");
        }
    }

    #[test]
    fn order_with_a_bad_name_is_no_order() {
        let order = |name: &str| format!(r#"{{"task":{{"task":"delete","name":"{name}","groups":[]}},"limit":1}}"#);
        assert!(serde_json::from_str::<Request>(&order("web01")).is_ok());
        for bad in ["--all", "WEB01", "a b", "ca", "0x1"] {
            assert!(serde_json::from_str::<Request>(&order(bad)).is_err(), "{bad}");
        }
        assert!(serde_json::from_str::<Request>(r#"{"task":{"task":"db:drop"},"limit":1}"#).is_err());
    }
}
