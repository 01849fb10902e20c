//! The console's rake tasks that are run, and the words that run them.
//!
//! A task travels as JSON to the program that runs it as the console's user, which parses every
//! name again and makes the words itself. Words of ours are literals; what came from a request is
//! a parsed value behind `name=`, `groups=`, `classes=` or `parameters=`.

use serde::{Deserialize, Serialize};

use crate::console::{Intent, Way};
use crate::model::name::{GroupName, NodeName};
use crate::model::node::{Assignment, List, Node};

/// The oldest release of the console whose rake tasks a console has.
///
/// The tasks differ in what they can change in place, and no task tells its version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Release {
    /// 1.2.2 to 1.2.6: no parameters.
    V1_2_2,
    /// 1.2.7 to 1.2.22: `node:classes` may fail, a second value of a parameter is added beside the first.
    V1_2_7,
    /// 1.2.23 and 2.0: changes in place, but no parameter can be removed.
    V1_2_23,
    /// 3.0: messages of errors go to standard error.
    V3_0,
}

impl Release {
    /// All of them, with the words that name them in the configuration.
    pub const ALL: [(&'static str, Self); 4] =
        [("1.2.2", Self::V1_2_2), ("1.2.7", Self::V1_2_7), ("1.2.23", Self::V1_2_23), ("3.0", Self::V3_0)];

    /// The release of that name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(word, _)| *word == name).map(|(_, release)| *release)
    }

    /// Its name.
    pub(crate) fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, release)| *release == self).map_or("", |(word, _)| word)
    }

    /// Reads the release off the output of `rake -s -T`.
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

    /// Whether nodes can have parameters.
    pub(crate) fn has_parameters(self) -> bool {
        self > Self::V1_2_2
    }

    /// Whether a change can be made in place, or the node must be deleted and added in one run.
    pub(crate) fn changes_in_place(self, removes_parameters: bool) -> bool {
        match self {
            Self::V1_2_2 => true,
            Self::V1_2_7 => false,
            Self::V1_2_23 | Self::V3_0 => !removes_parameters,
        }
    }
}

/// One run of rake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "task", rename_all = "kebab-case")]
pub enum Task {
    /// The tasks that there are.
    Tasks,
    /// The names of classes or groups.
    Names {
        /// Which.
        list: List,
    },
    /// The names of nodes.
    Nodes,
    /// A new node.
    Add {
        /// The node.
        node: Node,
    },
    /// Another assignment, in place.
    Change {
        /// The node as it shall be.
        node: Node,
    },
    /// Another assignment, by deleting the node and adding it again.
    Rebuild {
        /// The node as it shall be.
        node: Node,
    },
    /// A node's end.
    Delete {
        /// The node.
        name: NodeName,
        /// Its groups, which are set once more; the task's message shows that the deletion was reached.
        groups: Vec<GroupName>,
    },
}

/// A task and the seconds that it may take.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The task.
    pub task: Task,
    /// Seconds.
    pub limit: u64,
}

/// Before every task: no `(in DIR)` line, and each message in the proof as soon as it is printed, so
/// that one that is not there was not reached.
const ALWAYS: [&str; 3] = ["-s", "-E", "$stdout.sync=true"];

impl Task {
    /// The task that makes a change.
    pub(crate) fn of(intent: &Intent) -> Self {
        match intent {
            Intent::Add { node } | Intent::Change { node, way: Way::AddAgain } => Self::Add { node: node.clone() },
            Intent::Change { node, way: Way::InPlace } => Self::Change { node: node.clone() },
            Intent::Change { node, way: Way::Rebuild } => Self::Rebuild { node: node.clone() },
            Intent::Delete { node } => Self::Delete { name: node.name.clone(), groups: node.assignment.groups.clone() },
        }
    }

    /// Whether a worker runs it; the list of tasks is rake's own business.
    pub(crate) fn is_for_worker(&self) -> bool {
        *self != Self::Tasks
    }

    /// The node that the task is about.
    pub fn node(&self) -> Option<&NodeName> {
        match self {
            Self::Tasks | Self::Names { .. } | Self::Nodes => None,
            Self::Add { node } | Self::Change { node } | Self::Rebuild { node } => Some(&node.name),
            Self::Delete { name, .. } => Some(name),
        }
    }

    /// The words after the configured rake command.
    pub fn words(&self, release: Release) -> Vec<String> {
        ALWAYS.map(str::to_owned).into_iter().chain(self.tasks(release)).collect()
    }

    /// The tasks and their variables alone; `conf/console/espm.rake` allows exactly these.
    ///
    /// What is assigned is verified in the same boot: the lists follow the assignment, kept apart by
    /// the message of a task between them.
    pub(crate) fn tasks(&self, release: Release) -> Vec<String> {
        let mut words: Vec<String> = Vec::new();
        let mut tasks = |tasks: &[&str]| words.extend(tasks.iter().map(|task| (*task).to_owned()));
        match self {
            Self::Tasks => tasks(&["-T"]),
            Self::Names { list: List::Classes } => tasks(&["nodeclass:list"]),
            Self::Names { list: List::Groups } => tasks(&["nodegroup:list"]),
            Self::Nodes => tasks(&["node:list"]),
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
            Self::Delete { name, groups } => {
                tasks(&["node:groups", "node:del", "node:list"]);
                let groups = groups.clone();
                let assignment = Assignment { groups, ..Assignment::default() };
                words.extend(variables(&Node { name: name.clone(), assignment }));
            }
        }
        words
    }
}

/// All four variables, so that none is taken from anywhere else.
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
    fn an_add_is_one_run_that_also_lists() {
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
    fn a_console_without_parameters_gets_no_task_for_them() {
        let mut plain = node();
        plain.assignment.parameters.clear();
        for task in [Task::Add { node: plain.clone() }, Task::Change { node: plain }] {
            assert!(!task.words(Release::V1_2_2).contains(&"node:parameters".to_owned()));
        }
    }

    #[test]
    fn the_release_is_read_off_the_task_list() {
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
    fn an_order_with_a_bad_name_is_no_order() {
        let order = |name: &str| format!(r#"{{"task":{{"task":"delete","name":"{name}","groups":[]}},"limit":1}}"#);
        assert!(serde_json::from_str::<Request>(&order("web01")).is_ok());
        for bad in ["--all", "WEB01", "a b", "ca", "0x1"] {
            assert!(serde_json::from_str::<Request>(&order(bad)).is_err(), "{bad}");
        }
        assert!(serde_json::from_str::<Request>(r#"{"task":{"task":"db:drop"},"limit":1}"#).is_err());
    }
}
