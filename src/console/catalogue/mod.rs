//! The operator's catalogue of environments, classes and groups, in place of a console.

mod grammar;
mod judge;
mod value;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

pub use self::grammar::{CatalogueError, SECTIONS};
use super::yaml;
use crate::model::name::{ClassName, EnvironmentName, GroupName, ParameterName};
use crate::model::node::{Assignment, List, Lost};
use crate::model::value::{ClassParameters, Parameters, Value};

/// Variables that Puppet sets by itself, or lets nobody set.
const RESERVED: [&str; 4] = ["environment", "facts", "server_facts", "trusted"];

/// A class: the parameters that a client may set, and those that it has where nobody sets them.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Class {
    settable: BTreeSet<ParameterName>,
    parameters: Parameters,
}

/// A group: all that it gives its nodes.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Group {
    environment: Option<EnvironmentName>,
    classes: Vec<ClassName>,
    parameters: Parameters,
    class_parameters: ClassParameters,
}

/// All that may be assigned.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Catalogue {
    environments: BTreeSet<EnvironmentName>,
    classes: BTreeMap<ClassName, Class>,
    groups: BTreeMap<GroupName, Group>,
}

impl Catalogue {
    /// Reads a catalogue.
    pub fn from_text(text: &str) -> Result<Self, CatalogueError> {
        grammar::read(text)
    }

    /// The names of the environments.
    pub fn environments(&self) -> Vec<String> {
        self.environments.iter().map(ToString::to_string).collect()
    }

    /// The names of the classes.
    pub fn classes(&self) -> Vec<String> {
        self.classes.keys().map(ToString::to_string).collect()
    }

    /// The names of the groups.
    pub fn groups(&self) -> Vec<String> {
        self.groups.keys().map(ToString::to_string).collect()
    }

    /// The groups of an assignment.
    fn groups_of(&self, assignment: &Assignment) -> impl Iterator<Item = &Group> {
        assignment.groups.iter().filter_map(|name| self.groups.get(name))
    }

    /// True if an assignment has a class, perhaps by a group.
    fn has(&self, assignment: &Assignment, class: &ClassName) -> bool {
        assignment.classes.contains(class) || self.groups_of(assignment).any(|group| group.classes.contains(class))
    }

    /// The names that an assignment has and the catalogue has no more.
    pub(crate) fn lost(&self, assignment: &Assignment) -> Vec<Lost> {
        let groups = assignment.groups.iter().filter(|name| !self.groups.contains_key(*name));
        let classes = assignment.classes.iter().filter(|name| !self.classes.contains_key(*name));
        let environment = assignment.environment.iter().filter(|name| !self.environments.contains(*name));
        let mut lost: Vec<_> = groups.map(|name| Lost::Name(List::Groups, name.to_string())).collect();
        lost.extend(classes.map(|name| Lost::Name(List::Classes, name.to_string())));
        lost.extend(environment.map(|name| Lost::Environment(name.clone())));
        for (class, parameters) in &assignment.class_parameters {
            let known = self.classes.get(class);
            // With a class that is lost, its parameters are.
            if known.is_none() && assignment.classes.contains(class) {
                continue;
            }
            let settable = known.filter(|_| self.has(assignment, class)).map(|class| &class.settable);
            let gone = parameters.keys().filter(|name| settable.is_none_or(|settable| !settable.contains(*name)));
            lost.extend(gone.map(|name| Lost::ClassParameter(class.clone(), name.clone())));
        }
        lost
    }

    /// Writes the YAML that an external node classifier prints for an assignment.
    ///
    /// Names that the catalogue no longer has are left out, but for the environment: without it, the node would get
    /// another one. A later group's value replaces an earlier group's; the node's own replaces both.
    pub fn classify(&self, assignment: &Assignment) -> String {
        let mut environment = None;
        let mut parameters: BTreeMap<&ParameterName, &Value> = BTreeMap::new();
        let mut classes: BTreeMap<&ClassName, BTreeMap<&ParameterName, &Value>> = BTreeMap::new();
        let with_defaults =
            |class| self.classes.get(class).into_iter().flat_map(|class: &Class| &class.parameters).collect();
        for group in self.groups_of(assignment) {
            environment = group.environment.as_ref().or(environment);
            parameters.extend(&group.parameters);
            for class in &group.classes {
                let set = classes.entry(class).or_insert_with(|| with_defaults(class));
                set.extend(group.class_parameters.get(class).into_iter().flatten());
            }
        }
        for class in assignment.classes.iter().filter(|class| self.classes.contains_key(*class)) {
            classes.entry(class).or_insert_with(|| with_defaults(class));
        }
        for (class, own) in &assignment.class_parameters {
            if let (Some(set), Some(known)) = (classes.get_mut(class), self.classes.get(class)) {
                set.extend(own.iter().filter(|(name, _)| known.settable.contains(*name)));
            }
        }
        parameters.extend(&assignment.parameters);
        let mut text = String::from(if classes.is_empty() { "---\nclasses: {}\n" } else { "---\nclasses:\n" });
        for (class, set) in classes {
            let set = set.into_iter().map(|(name, value)| (name.as_str(), value.json()));
            let _ = writeln!(text, "{} {}", yaml::key(class.as_str(), "  "), yaml::mapping(set));
        }
        if let Some(environment) = assignment.environment.as_ref().or(environment) {
            let _ = writeln!(text, "environment: {}", yaml::quote(environment.as_str()));
        }
        if !parameters.is_empty() {
            text.push_str("parameters:\n");
        }
        for (name, value) in parameters {
            let _ = writeln!(text, "{} {}", yaml::key(name.as_str(), "  "), yaml::flow(value.json()));
        }
        text
    }

    /// Reads an assignment off a classification that [`Catalogue::classify`] has written, without what a class has by
    /// the catalogue alone.
    pub(crate) fn declassify(&self, yaml: &str) -> Option<Assignment> {
        let mut found = declassify(yaml)?;
        found.class_parameters.retain(|class, parameters| {
            let by_itself = self.classes.get(class).map(|class| &class.parameters);
            parameters.retain(|name, value| by_itself.and_then(|own| own.get(name)) != Some(value));
            !parameters.is_empty()
        });
        Some(found)
    }
}

/// Why a parameter cannot have this name.
fn reserved(name: &ParameterName) -> Option<&'static str> {
    match name.as_str() {
        "environment" => Some("Puppet sets this variable by itself; the environment has a member of its own"),
        name if RESERVED.contains(&name) => Some("Puppet lets nobody set this variable; take another name"),
        _ => None,
    }
}

fn declassify(yaml: &str) -> Option<Assignment> {
    fn member<T: serde::de::DeserializeOwned>(line: &str) -> Option<T> {
        serde_json::from_str(&format!("{{{}}}", yaml::to_json(line.strip_prefix("  ")?)?)).ok()
    }
    let mut lines = yaml.strip_prefix("---\n")?.lines();
    lines.next().filter(|line| matches!(*line, "classes:" | "classes: {}"))?;
    let mut found = Assignment::default();
    let mut in_parameters = false;
    for line in lines {
        if let Some(name) = line.strip_prefix("environment: ") {
            found.environment = serde_json::from_str(name).ok()?;
        } else if line == "parameters:" {
            in_parameters = true;
        } else if in_parameters {
            found.parameters.extend(member::<Parameters>(line)?);
        } else {
            let (class, parameters) = member::<ClassParameters>(line)?.pop_first()?;
            found.classes.push(class.clone());
            if !parameters.is_empty() {
                found.class_parameters.insert(class, parameters);
            }
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::{Catalogue, declassify};
    use crate::model::node::{Assignment, Node};

    pub(super) const TEXT: &str = "
[environments]
names = production, staging

[classes]
names = apache

[class ntp]
parameters = panic, servers
parameter servers = [\"0.pool.ntp.org\"]
parameter iburst = true

[group web servers]
environment = production
classes = apache, ntp
parameter role = web
parameter tier = \"1\"
parameter ports = [80, 443]

[group web servers, class ntp]
parameter panic = 0
parameter iburst = false

[group empty]
";

    pub(super) fn catalogue() -> Catalogue {
        Catalogue::from_text(TEXT).unwrap()
    }

    pub(super) fn assignment(json: Json) -> Assignment {
        let mut node = json!({"name": "web01", "groups": [], "classes": [], "parameters": {}});
        json.as_object().unwrap().iter().for_each(|(name, member)| node[name] = member.clone());
        serde_json::from_value::<Node>(node).unwrap().assignment
    }

    #[test]
    fn node_has_what_its_groups_and_itself_are_given() {
        let catalogue = catalogue();
        assert_eq!(catalogue.environments(), ["production", "staging"]);
        assert_eq!(catalogue.classes(), ["apache", "ntp"]);
        assert_eq!(catalogue.groups(), ["empty", "web servers"]);
        let of_group =
            assignment(json!({"groups": ["web servers"], "classes": ["ntp"], "parameters": {"role": "db: #1"}}));
        assert_eq!(
            catalogue.classify(&of_group),
            "---\nclasses:\n  \"apache\": {}\n  \"ntp\": {\"iburst\": false, \"panic\": 0, \"servers\": [\"0.pool.ntp.org\"]}\n\
             environment: \"production\"\n\
             parameters:\n  \"ports\": [80, 443]\n  \"role\": \"db: #1\"\n  \"tier\": \"1\"\n"
        );
        let own = assignment(json!({
            "groups": ["web servers"], "environment": "staging", "parameters": {"ports": {"a": null}},
            "class_parameters": {"ntp": {"panic": 1.5, "iburst": "kept and not published"}, "apache": {"x": 1}},
        }));
        assert_eq!(
            catalogue.classify(&own),
            "---\nclasses:\n  \"apache\": {}\n  \"ntp\": {\"iburst\": false, \"panic\": 1.5, \"servers\": [\"0.pool.ntp.org\"]}\n\
             environment: \"staging\"\n\
             parameters:\n  \"ports\": {\"a\": null}\n  \"role\": \"web\"\n  \"tier\": \"1\"\n"
        );
        let alone = assignment(json!({"classes": ["ntp"]}));
        let with_defaults = "---\nclasses:\n  \"ntp\": {\"iburst\": true, \"servers\": [\"0.pool.ntp.org\"]}\n";
        assert_eq!(catalogue.classify(&alone), with_defaults);
        assert_eq!(catalogue.classify(&Assignment::default()), "---\nclasses: {}\n");
        for of in [own, of_group, alone, Assignment::default()] {
            let read = declassify(&catalogue.classify(&of)).unwrap();
            let all = Catalogue::from_text(&TEXT.replace("= panic", "= iburst, panic")).unwrap();
            assert_eq!(all.classify(&read), catalogue.classify(&of));
        }
        for of_a_human in [
            "",
            "---\nclasses: [ntp]\n",
            "---\nclasses:\n  ntp: {}\n",
            "---\nenvironment: x\nclasses: {}\n",
            "---\nclasses: {}\nenvironment: x\n",
            "---\nclasses: {}\nparameters:\n  \"a\": \"\\U0011ffff\"\n",
        ] {
            assert!(declassify(of_a_human).is_none(), "{of_a_human}");
        }
    }

    #[test]
    fn what_a_class_has_by_itself_is_not_taken_for_the_nodes_own() {
        let catalogue = catalogue();
        let alone = assignment(json!({"classes": ["ntp"]}));
        assert_eq!(catalogue.declassify(&catalogue.classify(&alone)).unwrap(), alone);
    }

    #[test]
    fn what_the_catalogue_lost_is_named() {
        let catalogue = catalogue();
        let node = assignment(json!({
            "groups": ["web servers", "gone"], "classes": ["apache", "mysql"], "environment": "old",
            "class_parameters": {"ntp": {"panic": 1, "tinker": 1}, "mysql": {"port": 1}, "squid": {"port": 1}},
        }));
        let lost: Vec<_> = catalogue.lost(&node).iter().map(ToString::to_string).collect();
        let expected = [
            "group \"gone\"",
            "class \"mysql\"",
            "environment \"old\"",
            "parameter \"ntp::tinker\"",
            "parameter \"squid::port\"",
        ];
        assert_eq!(lost, expected);
        // Another environment would be another catalogue.
        assert!(catalogue.classify(&node).contains("\nenvironment: \"old\"\n"));
        assert!(!catalogue.classify(&node).contains("mysql"));
    }
}
