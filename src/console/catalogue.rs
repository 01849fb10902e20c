//! The operator's catalogue of classes and groups, in place of a console.
//!
//! It is INI like espm.ini, so that nobody needs a second language:
//!
//! ```ini
//! [classes]
//! names = apache, ntp
//!
//! [group web servers]
//! classes = apache
//! parameter role = web
//! ```

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::model::name::{ClassName, GroupName, ParameterName, ParameterValue, Parameters};
use crate::model::node::{Assignment, List};
use crate::system::ini::{self, IniError};

/// The classes and parameters that a group gives its nodes.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Group {
    classes: Vec<ClassName>,
    parameters: Parameters,
}

/// The classes and groups of a catalogue.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Catalogue {
    classes: Vec<ClassName>,
    groups: BTreeMap<GroupName, Group>,
}

/// An error in a catalogue.
#[derive(Debug, Error)]
pub enum CatalogueError {
    /// The text is not INI.
    #[error(transparent)]
    Ini(#[from] IniError),
    /// A section or key is wrong.
    #[error("[{section}] line {line}: {what}")]
    Entry {
        /// The section's name.
        section: String,
        /// The line's number.
        line: usize,
        /// The error and its remedy.
        what: String,
    },
}

impl CatalogueError {
    fn entry(section: &str, line: usize, what: String) -> Self {
        Self::Entry { section: section.to_owned(), line, what }
    }
}

impl Catalogue {
    /// Reads a catalogue.
    pub fn from_text(text: &str) -> Result<Self, CatalogueError> {
        let mut catalogue = Self::default();
        let sections = ini::read(text)?;
        for section in sections.iter().filter(|section| section.name == "classes") {
            for (key, value, line) in &section.entries {
                let wrong = |what| CatalogueError::entry("classes", *line, what);
                if key != "names" {
                    return Err(wrong(format!("{key} is not known; want names")));
                }
                catalogue.classes = class_list(value).map_err(wrong)?;
                catalogue.classes.sort();
            }
        }
        for section in sections.iter().filter(|section| section.name != "classes") {
            let name = section.name.strip_prefix("group ").map(str::trim).map(GroupName::parse);
            let Some(Ok(name)) = name else {
                let what = "want [classes] or [group NAME]".to_owned();
                return Err(CatalogueError::entry(&section.name, section.line, what));
            };
            let mut group = Group::default();
            for (key, value, line) in &section.entries {
                let wrong = |what| CatalogueError::entry(&format!("group {name}"), *line, what);
                if key == "classes" {
                    group.classes = class_list(value).map_err(wrong)?;
                    if let Some(class) = group.classes.iter().find(|class| !catalogue.classes.contains(class)) {
                        return Err(wrong(format!("{class} is not in [classes]")));
                    }
                } else if let Some(parameter) = key.strip_prefix("parameter ") {
                    let parameter = ParameterName::parse(parameter.trim()).map_err(|error| wrong(error.to_string()))?;
                    let value = ParameterValue::parse(value).map_err(|error| wrong(error.to_string()))?;
                    group.parameters.insert(parameter, value);
                } else {
                    return Err(wrong(format!("{key} is not known; want classes or parameter NAME")));
                }
            }
            catalogue.groups.insert(name, group);
        }
        Ok(catalogue)
    }

    /// The names of the classes.
    pub fn classes(&self) -> Vec<String> {
        self.classes.iter().map(ToString::to_string).collect()
    }

    /// The names of the groups.
    pub fn groups(&self) -> Vec<String> {
        self.groups.keys().map(ToString::to_string).collect()
    }

    /// The names of an assignment that the catalogue does not have.
    pub(crate) fn missing_names(&self, assignment: &Assignment) -> Vec<(List, String)> {
        let groups = assignment.groups.iter().filter(|name| !self.groups.contains_key(*name));
        let classes = assignment.classes.iter().filter(|name| !self.classes.contains(name));
        let groups = groups.map(|name| (List::Groups, name.to_string()));
        groups.chain(classes.map(|name| (List::Classes, name.to_string()))).collect()
    }

    /// Writes the YAML that an external node classifier prints for an assignment.
    ///
    /// Groups and classes that the catalogue no longer has are left out.
    /// A later group's parameter replaces an earlier group's; the node's own replaces both. Scalars are JSON strings,
    /// which YAML reads alike but for a few characters.
    pub fn classify(&self, assignment: &Assignment) -> String {
        let groups = assignment.groups.iter().filter_map(|name| self.groups.get(name));
        let mut classes: Vec<&ClassName> = Vec::new();
        let mut parameters = Parameters::new();
        for group in groups {
            classes.extend(&group.classes);
            parameters.extend(group.parameters.clone());
        }
        classes.extend(assignment.classes.iter().filter(|class| self.classes.contains(class)));
        parameters.extend(assignment.parameters.clone());
        classes.sort();
        classes.dedup();
        let mut yaml = String::from("---\n");
        if classes.is_empty() {
            yaml.push_str("classes: {}\n");
        } else {
            yaml.push_str("classes:\n");
        }
        for class in classes {
            let _ = writeln!(yaml, "  {}: {{}}", quote(class.as_str()));
        }
        if !parameters.is_empty() {
            yaml.push_str("parameters:\n");
        }
        for (name, value) in parameters {
            let _ = writeln!(yaml, "  {}: {}", quote(name.as_str()), quote(value.as_str()));
        }
        yaml
    }
}

/// Reads classes and parameters off a classification that [`Catalogue::classify`] has written.
pub(crate) fn declassify(yaml: &str) -> Option<Assignment> {
    fn members<T: DeserializeOwned>(lines: &str) -> Option<Vec<(String, T)>> {
        let member = |line| serde_json::from_str::<BTreeMap<String, T>>(&format!("{{{line}}}")).ok()?.pop_first();
        lines.lines().map(member).collect()
    }
    let text = yaml.strip_prefix("---\n")?;
    let (classes, parameters) = text.split_once("parameters:\n").unwrap_or((text, ""));
    let classes = if classes == "classes: {}\n" { "" } else { classes.strip_prefix("classes:\n")? };
    let class = |(name, _): (String, BTreeMap<String, ()>)| ClassName::parse(&name).ok();
    let parameter = |(name, value): (String, String)| {
        Some((ParameterName::parse(&name).ok()?, ParameterValue::parse(&value).ok()?))
    };
    Some(Assignment {
        groups: Vec::new(),
        classes: members(classes)?.into_iter().map(class).collect::<Option<_>>()?,
        parameters: members(parameters)?.into_iter().map(parameter).collect::<Option<_>>()?,
    })
}

/// Quotes a scalar for YAML 1.1.
///
/// Unlike JSON, it ends a line at U+2028 and U+2029, and has no U+FFFE and U+FFFF.
fn quote(text: &str) -> String {
    let mut quoted = String::new();
    for c in serde_json::Value::from(text).to_string().chars() {
        match c {
            '\u{2028}' | '\u{2029}' | '\u{FFFE}' | '\u{FFFF}' => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            _ => quoted.push(c),
        }
    }
    quoted
}

fn class_list(value: &str) -> Result<Vec<ClassName>, String> {
    let names = value.split(',').map(str::trim).filter(|name| !name.is_empty());
    let parse = |name: &str| match name.contains(char::is_whitespace) {
        // Puppet has no such class; it is two names that lack their comma.
        true => Err(format!("{name:?} has a blank in it; write commas between names")),
        false => ClassName::parse(name).map_err(|error| format!("{name:?}: {error}")),
    };
    names.map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::{Catalogue, declassify};
    use crate::model::name::{ClassName, GroupName, ParameterName, ParameterValue};
    use crate::model::node::Assignment;

    const TEXT: &str = "
[classes]
names = ntp, apache

[group web servers]
classes = apache
parameter role = web
parameter tier = \"1\"

[group empty]
";

    #[test]
    fn node_has_what_its_groups_and_itself_are_given() {
        let catalogue = Catalogue::from_text(TEXT).unwrap();
        assert_eq!(catalogue.classes(), ["apache", "ntp"]);
        assert_eq!(catalogue.groups(), ["empty", "web servers"]);
        let assignment = Assignment {
            groups: vec![GroupName::parse("web servers").unwrap()],
            classes: vec![ClassName::parse("ntp").unwrap(), ClassName::parse("apache").unwrap()],
            parameters: [(ParameterName::parse("role").unwrap(), ParameterValue::parse("db: #1").unwrap())].into(),
        };
        assert_eq!(
            catalogue.classify(&assignment),
            "---\nclasses:\n  \"apache\": {}\n  \"ntp\": {}\nparameters:\n  \"role\": \"db: #1\"\n  \"tier\": \"\\\"1\\\"\"\n"
        );
        assert_eq!(catalogue.classify(&Assignment::default()), "---\nclasses: {}\n");
        let read = declassify(&catalogue.classify(&assignment)).unwrap();
        assert_eq!(catalogue.classify(&read), catalogue.classify(&assignment));
        for of_a_human in
            ["", "---\nclasses: [ntp]\n", "---\nclasses:\n  ntp: {}\n", "---\nenvironment: x\nclasses: {}\n"]
        {
            assert!(declassify(of_a_human).is_none(), "{of_a_human}");
        }
    }

    #[test]
    fn broken_catalogue_is_an_error_that_names_the_line() {
        for (from, to, message) in [
            ("classes = apache", "classes = mysql", "[group web servers] line 6: mysql is not in [classes]"),
            ("names = ntp, apache", "names = ntp apache", "[classes] line 3: \"ntp apache\" has a blank in it"),
            ("names = ntp", "name = ntp", "[classes] line 3: name is not known"),
            ("parameter role", "parameter Role", "[group web servers] line 7: a parameter's name"),
            ("parameter role = web", "role = web", "[group web servers] line 7: role is not known"),
            ("[group empty]", "[groups empty]", "[groups empty] line 10: want [classes] or [group NAME]"),
        ] {
            let found = Catalogue::from_text(&TEXT.replace(from, to)).unwrap_err().to_string();
            assert!(found.starts_with(message), "{found:?}");
        }
    }
}
