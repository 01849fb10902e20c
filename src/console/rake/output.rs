//! The output of a run of rake, and the facts that its lines prove.
//!
//! Exit codes and messages both lie on their own; a success is its marker lines, complete lists and exit code 0.
//! Unknown lines are noise.

use crate::console::change::without_head;
use crate::model::fold::Twins;
use crate::model::name::{ClassName, GroupName, NodeName};
use crate::model::node::{Assignment, List};
use crate::system::text::{self, plain};

/// The output of one run about one node.
#[derive(Debug)]
pub struct Output<'a> {
    lines: Vec<String>,
    name: &'a NodeName,
}

/// The line before the error at which rake itself has ended.
const ABORTED: &str = "rake aborted!";

/// The line with which `node:add` refuses a name that exists.
const TAKEN: &str = "Node already exists!";

/// The start and the texts of its line when the name was added at the same time.
/// Without that start the same words may be about something else, or quote a value.
const TAKEN_MEANWHILE: (&str, [&str; 2]) =
    ("There was a problem saving the node: ", ["Name has already been taken", "Duplicate entry"]);

/// The words of a database that gives up a statement and rolls its whole transaction back.
///
/// Both of MySQL's were seen; the third is PostgreSQL's (its source, deadlock.c). After a lost connection nobody
/// knows whether the transaction was committed, so nothing about one is here.
const ROLLED_BACK: [&str; 3] =
    ["Deadlock found when trying to get lock", "Lock wait timeout exceeded", "ERROR:  deadlock detected"];

/// The task whose transaction was rolled back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// `node:del`, which prints the error alone.
    Deletion,
    /// `node:add`
    Addition,
}

impl<'a> Output<'a> {
    /// Splits the output into lines.
    pub fn read(output: &str, name: &'a NodeName) -> Self {
        Self { lines: output.lines().map(plain).collect(), name }
    }

    fn place(&self, marker: &str) -> Option<usize> {
        self.lines.iter().position(|line| line == marker)
    }

    fn edited(&self, what: &str) -> Option<usize> {
        self.place(&format!("Node {what} successfully edited for {}!", self.name))
    }

    /// True if this run created the node.
    pub fn created(&self) -> bool {
        self.place("Node successfully created!").is_some()
    }

    /// True if the node existed and this run did not create it.
    pub fn taken(&self) -> bool {
        let (begin, texts) = TAKEN_MEANWHILE;
        let meanwhile = |line: &str| line.starts_with(begin) && texts.iter().any(|text| line.contains(text));
        !self.created() && self.lines.iter().any(|line| line == TAKEN || meanwhile(line))
    }

    /// True if a task said that the database has rolled it back.
    ///
    /// The text counts only at the beginning of its line, after the class of the error; a statement that quotes
    /// values comes after it. What rake says of its abort can be any task's.
    pub fn rolled_back(&self, by: By) -> bool {
        let begin = if by == By::Addition { TAKEN_MEANWHILE.0 } else { "" };
        let says = |line: &String| {
            let error = line.strip_prefix(begin).and_then(|error| error.split_once(": "));
            error.is_some_and(|(class, text)| {
                class.ends_with(|c: char| c.is_ascii_alphanumeric())
                    && class.chars().all(|c| c.is_ascii_alphanumeric() || c == ':')
                    && ROLLED_BACK.iter().any(|words| text.starts_with(words))
            })
        };
        let aborted =
            |at: usize| at.checked_sub(1).and_then(|at| self.lines.get(at)).is_some_and(|line| line == ABORTED);
        (0..).zip(&self.lines).any(|(at, line)| says(line) && !aborted(at))
    }

    /// True if the node did not exist.
    pub(crate) fn missing(&self) -> bool {
        let texts = [format!("Node {} doesn't exist!", self.name), "Node does not exist!".to_owned()];
        self.lines.iter().any(|line| texts.contains(line))
    }

    /// True if the groups were set; then a deletion that follows may have begun.
    pub(crate) fn groups_edited(&self) -> bool {
        self.edited("groups").is_some()
    }

    /// The list of nodes after a deletion.
    fn remaining(&self) -> &[String] {
        self.edited("groups").and_then(|at| self.lines.get(at + 1..)).unwrap_or_default()
    }

    /// True if the list after a deletion has the node.
    pub(crate) fn remains(&self) -> bool {
        self.remaining().iter().any(|line| line == self.name.as_str())
    }

    /// True if a list without the node follows the deletion, which needs no exit code.
    ///
    /// Other text can follow too, such as an abort of rake; a list names one of the console's `nodes`.
    pub fn deleted(&self, nodes: &[String]) -> bool {
        !self.remains() && self.remaining().iter().any(|line| nodes.iter().any(|node| plain(node) == *line))
    }

    /// Compares the run's messages and lists with an assignment.
    ///
    /// The message of the task `separator` stands between the two lists.
    pub fn complete(&self, wanted: &Assignment, separator: Separator) -> Completeness {
        let between = match separator {
            Separator::Groups => self.edited("groups"),
            Separator::Parameters => self.edited("parameters").or_else(|| self.edited("variables")),
        };
        let Some(between) = between else { return Completeness::Unfinished };
        let parameters_set =
            wanted.parameters.is_empty() || self.edited("parameters").is_some() || self.edited("variables").is_some();
        if !parameters_set {
            return Completeness::Unfinished;
        }
        let (classes, groups) = self.lines.split_at(between);
        let lost = |list: List, names: &[&str], lines: &[String]| -> Vec<(List, String)> {
            let twins = if names.is_empty() { Twins::default() } else { Twins::find(names.iter().copied(), lines) };
            // Where the database takes another name for it, that one may be assigned.
            let lost = |name: &&&str| !lines.iter().any(|line| line == **name) || twins.of(name).is_some();
            names.iter().filter(lost).map(|name| (list, (*name).to_owned())).collect()
        };
        let wanted_classes: Vec<_> = wanted.classes.iter().map(ClassName::as_str).collect();
        let wanted_groups: Vec<_> = wanted.groups.iter().map(GroupName::as_str).collect();
        let mut missing = lost(List::Classes, &wanted_classes, classes);
        missing.extend(lost(List::Groups, &wanted_groups, groups));
        if missing.is_empty() { Completeness::Whole } else { Completeness::Lost(missing) }
    }
}

/// The task whose message stands between the lists of classes and groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Separator {
    /// `node:groups`
    Groups,
    /// `node:parameters`
    Parameters,
}

/// The completeness of an assignment.
#[derive(Debug, PartialEq, Eq)]
pub enum Completeness {
    /// All is assigned.
    Whole,
    /// These names, which the console no longer has, were silently ignored.
    Lost(Vec<(List, String)>),
    /// The run stopped before the last task.
    Unfinished,
}

/// The names in a list's standard output, as the console spells them.
pub fn names(output: &str) -> Vec<String> {
    let noise =
        |line: &&str| (line.starts_with("(in /") && line.ends_with(')')) || line.starts_with("DEPRECATION WARNING");
    output.lines().filter(|line| !noise(line)).map(str::to_owned).collect()
}

/// An excerpt for the log: the lines at rake's abort, or else the last lines.
pub(crate) fn excerpt(output: &str) -> String {
    match output.rfind(ABORTED).and_then(|at| output.get(at..)) {
        Some(abort) => text::excerpt(&abort.lines().take(3).collect::<Vec<_>>().join("\n")),
        None => text::excerpt(without_head(output)),
    }
}

#[cfg(test)]
mod tests {
    use super::{Completeness, Output, Separator, excerpt, names};
    use crate::model::name::{ClassName, GroupName, NodeName, ParameterName, ParameterValue};
    use crate::model::node::{Assignment, List};

    fn wanted() -> Assignment {
        Assignment {
            groups: vec![GroupName::parse("web").unwrap()],
            classes: vec![ClassName::parse("web").unwrap()],
            parameters: [(ParameterName::parse("a").unwrap(), ParameterValue::parse("1").unwrap())].into(),
        }
    }

    fn complete(output: &str) -> Completeness {
        Output::read(output, &NodeName::parse("t1").unwrap()).complete(&wanted(), Separator::Groups)
    }

    const CREATED: &str = "Node successfully created!\nNode parameters successfully edited for t1!\n";

    #[test]
    fn whole_run_is_whole() {
        let output = format!("(in /)\nnoise\n{CREATED}web\nNode groups successfully edited for t1!\ndefault\nweb\n");
        assert_eq!(complete(&output), Completeness::Whole);
        assert!(Output::read(&output, &NodeName::parse("t1").unwrap()).created());
    }

    #[test]
    fn name_in_the_other_list_does_not_count() {
        let lost = |list| Completeness::Lost(vec![(list, "web".to_owned())]);
        let output = format!("{CREATED}web\nNode groups successfully edited for t1!\ndefault\n");
        assert_eq!(complete(&output), lost(List::Groups));
        let output = format!("{CREATED}apache\nNode groups successfully edited for t1!\nweb\n");
        assert_eq!(complete(&output), lost(List::Classes));
    }

    #[test]
    fn interrupted_run_is_unfinished() {
        assert_eq!(complete(""), Completeness::Unfinished);
        assert_eq!(complete(CREATED), Completeness::Unfinished);
        let without_parameters = "Node successfully created!\nweb\nNode groups successfully edited for t1!\nweb\n";
        assert_eq!(complete(without_parameters), Completeness::Unfinished);
        let of_another = format!("{CREATED}web\nNode groups successfully edited for t11!\nweb\n");
        assert_eq!(complete(&of_another), Completeness::Unfinished);
    }

    #[test]
    fn every_text_for_a_taken_name_is_known() {
        let name = NodeName::parse("s2.").unwrap_or(NodeName::parse("s2").unwrap());
        for text in [
            "Node already exists!",
            "There was a problem saving the node: Validation failed: Name has already been taken",
            "There was a problem saving the node: Mysql::Error: Duplicate entry 's2.' for key 'uc_node_name': INSERT",
        ] {
            let output = format!("(in /)\n{text}\n");
            let proof = Output::read(&output, &name);
            assert!(proof.taken() && !proof.created(), "{text}");
        }
        assert!(!Output::read("Node successfully created!\nNode already exists!\n", &name).taken());
        for of_something_else in ["Mysql::Error: Duplicate entry '1-2' for key 'x'", "VALUES('Node already exists!')"] {
            assert!(!Output::read(of_something_else, &name).taken(), "{of_something_else}");
        }
    }

    #[test]
    fn deletion_is_proven_by_the_list_that_follows() {
        let name = NodeName::parse("t1").unwrap();
        let nodes = ["t1", "t11"].map(str::to_owned);
        let deleted = |output: &str| Output::read(output, &name).deleted(&nodes);
        assert!(deleted("Node groups successfully edited for t1!\nt11\n"));
        assert!(!deleted("Node groups successfully edited for t1!\nt1\n"));
        assert!(!deleted("Node groups successfully edited for t1!\n"), "an empty list is not told from none");
        assert!(!deleted("t11\n"));
        assert!(!deleted("Node groups successfully edited for t1!\nrake aborted!\nMysql::Error: x\n"), "no list");
        assert!(Output::read("Node t1 doesn't exist!\n", &name).missing());
        assert!(!Output::read("Node t11 doesn't exist!\n", &name).missing());
    }

    #[test]
    fn abort_is_kept_and_its_backtrace_is_not() {
        let output =
            format!("(in /)\nrake aborted!\nMysql::Error: x\n{}(See full trace)\n", "/a.rb:1:in `b'\n".repeat(9));
        assert_eq!(excerpt(&output), "rake aborted! | Mysql::Error: x | /a.rb:1:in `b'");
        assert_eq!(excerpt("(in /)\nNode  doesn't exist!\n"), "(in /) | Node  doesn't exist!");
        // Of espm's own lines, those before the command's say nothing about a failure.
        let whole = "espm: boot a\nespm: rebuild\nNode  doesn't exist!\nespm: exit 1\n";
        assert_eq!(excerpt(whole), "Node  doesn't exist! | espm: exit 1");
        assert_eq!(excerpt("espm: boot a"), "");
    }

    #[test]
    fn listing_keeps_names_as_they_are() {
        let output = "(in /)\n padded \na,b\n(in /x\ny (z)\nGröße 日本\n\nDEPRECATION WARNING: x\nweb servers\n";
        assert_eq!(names(output), [" padded ", "a,b", "(in /x", "y (z)", "Größe 日本", "", "web servers"]);
        assert!(names("").is_empty());
    }
}
