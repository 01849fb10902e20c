//! The catalogue's text: INI like espm.ini, so that nobody needs a second language.
//!
//! ```ini
//! [environments]
//! names = production, staging
//!
//! [classes]
//! names = apache, motd
//!
//! [class ntp]
//! parameters = panic, servers
//! parameter servers = ["0.pool.ntp.org", "1.pool.ntp.org"]
//!
//! [group web servers]
//! environment = production
//! classes = apache, ntp
//! parameter role = web
//!
//! [group web servers, class ntp]
//! parameter panic = 0
//! ```

use std::collections::BTreeSet;
use std::fmt::Display;

use thiserror::Error;

use super::value::read_value;
use super::{Catalogue, Class, Group, reserved};
use crate::model::name::{ClassName, EnvironmentName, GroupName, NameError, ParameterName};
use crate::model::value::Parameters;
use crate::system::ini::{self, IniError, Section};

/// An error in a catalogue.
#[derive(Debug, Error)]
pub enum CatalogueError {
    /// The text is not INI.
    #[error(transparent)]
    Ini(#[from] IniError),
    /// A section is wrong.
    #[error("[{section}] line {line}: {what}")]
    Section {
        /// The section's name.
        section: String,
        /// The line's number.
        line: usize,
        /// The error and its remedy.
        what: String,
    },
    /// A key is wrong.
    #[error("[{section}] line {line}: {key}: {what}")]
    Key {
        /// The section's name.
        section: String,
        /// The line's number.
        line: usize,
        /// The key.
        key: String,
        /// The error and its remedy.
        what: String,
    },
}

/// The sections, and what their keys mean; errors and the manual page are made of it.
pub const SECTIONS: [(&str, &[(&str, &str)]); 5] = [
    ("environments", &[("names", "Environments that a client or a group may assign, with commas between.")]),
    ("classes", &[("names", "Classes that a client or a group may assign, with commas between.")]),
    (
        "class NAME",
        &[
            ("parameters", "Parameters of the class that a client may set, with commas between."),
            ("parameter NAME", "The value of a parameter where neither a group nor the client sets it."),
        ],
    ),
    (
        "group NAME",
        &[
            ("environment", "The environment of the group's nodes."),
            ("classes", "Classes of the group's nodes, with commas between."),
            ("parameter NAME", "A top-scope variable of the group's nodes."),
        ],
    ),
    (
        "group NAME, class NAME",
        &[("parameter NAME", "A parameter of one of the group's classes; it need not be one that a client may set.")],
    ),
];

/// The subject of a section.
enum Heading {
    Environments,
    Classes,
    Class(ClassName),
    Group(GroupName),
    /// The parameters of a class that a group has.
    GroupClass(GroupName, ClassName),
}

impl Heading {
    /// Its place among [`SECTIONS`].
    fn place(&self) -> usize {
        match self {
            Self::Environments => 0,
            Self::Classes => 1,
            Self::Class(_) => 2,
            Self::Group(_) => 3,
            Self::GroupClass(..) => 4,
        }
    }

    /// The keys of such a section.
    fn keys(&self) -> String {
        let keys = SECTIONS.get(self.place()).into_iter().flat_map(|(_, keys)| *keys);
        one_of(keys.map(|(key, _)| (*key).to_owned()).collect())
    }

    fn parse(name: &str) -> Option<Self> {
        fn named<T>(text: &str, kind: &str, parse: fn(&str) -> Result<T, NameError>) -> Option<T> {
            parse(text.trim().strip_prefix(kind)?.strip_prefix(char::is_whitespace)?.trim()).ok()
        }
        Some(match (name, name.split_once(',')) {
            ("environments", _) => Self::Environments,
            ("classes", _) => Self::Classes,
            (_, Some((group, class))) => {
                Self::GroupClass(named(group, "group", GroupName::parse)?, named(class, "class", ClassName::parse)?)
            }
            (name, None) if name.starts_with("class") => Self::Class(named(name, "class", ClassName::parse)?),
            (name, None) => Self::Group(named(name, "group", GroupName::parse)?),
        })
    }
}

/// Reads a catalogue; sections may stand in any order.
pub(super) fn read(text: &str) -> Result<Catalogue, CatalogueError> {
    let mut catalogue = Catalogue::default();
    let sections = ini::read(text)?;
    let mut headed = Vec::new();
    for section in &sections {
        let want = || one_of(SECTIONS.iter().map(|(name, _)| format!("[{name}]")).collect());
        let heading = Heading::parse(&section.name).ok_or_else(|| wrong(section, format!("want {}", want())))?;
        headed.push((heading, section));
    }
    for (heading, section) in &headed {
        match heading {
            Heading::Environments => {
                catalogue.environments = read_names(section, heading, EnvironmentName::parse)?;
            }
            Heading::Classes => {
                let names = read_names(section, heading, ClassName::parse)?;
                for name in names {
                    catalogue.classes.entry(name).or_default();
                }
            }
            Heading::Class(name) => {
                let class = catalogue.classes.entry(name.clone()).or_default();
                read_class(section, heading, class)?;
            }
            Heading::Group(_) | Heading::GroupClass(..) => {}
        }
    }
    for (heading, section) in &headed {
        if let Heading::Group(name) = heading {
            let group = read_group(section, heading, &catalogue)?;
            catalogue.groups.insert(name.clone(), group);
        }
    }
    for (heading, section) in &headed {
        if let Heading::GroupClass(group, class) = heading {
            let Some(group) = catalogue.groups.get_mut(group) else {
                return Err(wrong(section, format!("there is no section [group {group}]; add it")));
            };
            if !group.classes.contains(class) {
                return Err(wrong(section, format!("the group does not have {class}; add it to classes of the group")));
            }
            let mut parameters = Parameters::new();
            each(section, heading, |key, value| read_parameter(key, value, &mut parameters))?;
            group.class_parameters.insert(class.clone(), parameters);
        }
    }
    Ok(catalogue)
}

/// Words, with "or" before the last.
fn one_of(mut words: Vec<String>) -> String {
    match words.pop() {
        Some(last) if words.is_empty() => last,
        Some(last) => format!("{} or {last}", words.join(", ")),
        None => String::new(),
    }
}

/// The error of a key: `None` if the key is not known.
type Wrong = Option<String>;

fn wrong(section: &Section, what: String) -> CatalogueError {
    CatalogueError::Section { section: section.name.clone(), line: section.line, what }
}

/// Reads each key of a section.
fn each(
    section: &Section,
    heading: &Heading,
    mut read: impl FnMut(&str, &str) -> Result<(), Wrong>,
) -> Result<(), CatalogueError> {
    for (key, value, line) in &section.entries {
        read(key, value).map_err(|what| CatalogueError::Key {
            section: section.name.clone(),
            line: *line,
            key: key.clone(),
            what: what.unwrap_or_else(|| format!("is not known; want {}", heading.keys())),
        })?;
    }
    Ok(())
}

/// Reads a section that has names alone.
fn read_names<T: Ord + Display>(
    section: &Section,
    heading: &Heading,
    parse: fn(&str) -> Result<T, NameError>,
) -> Result<BTreeSet<T>, CatalogueError> {
    let mut read = BTreeSet::new();
    each(section, heading, |key, value| {
        read = if key == "names" { names(key, value, parse)? } else { return Err(None) };
        Ok(())
    })?;
    Ok(read)
}

fn read_class(section: &Section, heading: &Heading, class: &mut Class) -> Result<(), CatalogueError> {
    each(section, heading, |key, value| {
        if key != "parameters" {
            return read_parameter(key, value, &mut class.parameters);
        }
        class.settable = names(key, value, ParameterName::parse)?;
        Ok(())
    })
}

fn read_group(section: &Section, heading: &Heading, catalogue: &Catalogue) -> Result<Group, CatalogueError> {
    let mut group = Group::default();
    each(section, heading, |key, value| match key {
        "environment" => {
            let name = EnvironmentName::parse(value).map_err(|error| format!("{value:?}: {error}"))?;
            if !catalogue.environments.contains(&name) {
                return Err(Some(format!("{name} is not in [environments]; add it to names there")));
            }
            group.environment = Some(name);
            Ok(())
        }
        "classes" => {
            let classes = names(key, value, ClassName::parse)?;
            if let Some(class) = classes.iter().find(|class| !catalogue.classes.contains_key(*class)) {
                return Err(Some(format!("{class} is not in [classes]; add it to names there")));
            }
            group.classes = classes.into_iter().collect();
            Ok(())
        }
        _ => {
            read_parameter(key, value, &mut group.parameters)?;
            let why = group.parameters.keys().find_map(reserved);
            why.map_or(Ok(()), |why| Err(Some(why.to_owned())))
        }
    })?;
    Ok(group)
}

/// Reads `parameter NAME = VALUE`.
fn read_parameter(key: &str, value: &str, parameters: &mut Parameters) -> Result<(), Wrong> {
    let name = key.strip_prefix("parameter").and_then(|name| name.strip_prefix(char::is_whitespace)).ok_or(None)?;
    let name = ParameterName::parse(name.trim()).map_err(|error| error.to_string())?;
    let twice = format!("{name} is given twice");
    match parameters.insert(name, read_value(value)?) {
        Some(_) => Err(Some(twice)),
        None => Ok(()),
    }
}

/// Reads names that commas separate.
fn names<T: Ord + Display>(
    key: &str,
    value: &str,
    parse: fn(&str) -> Result<T, NameError>,
) -> Result<BTreeSet<T>, String> {
    let names = value.split(',').map(str::trim).filter(|name| !name.is_empty());
    let parse = |name: &str| match name.contains(char::is_whitespace) {
        // Puppet has no such name; it is two that lack their comma.
        true => {
            let words: Vec<_> = value.split([',', ' ', '\t']).filter(|word| !word.is_empty()).collect();
            Err(format!("{name:?} has a blank in it; write {key} = {}", words.join(", ")))
        }
        false => parse(name).map_err(|error| format!("{name:?}: {error}")),
    };
    names.map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::read;

    const TEXT: &str = "
[environments]
names = production

[classes]
names = ntp, apache

[class ntp]
parameters = servers
parameter servers = [\"a\"]

[group web servers]
environment = production
classes = apache, ntp
parameter role = web

[group web servers, class ntp]
parameter panic = 0

[group empty]
";

    #[test]
    fn sections_may_stand_in_any_order() {
        let sections: Vec<_> = TEXT.trim().split("\n\n").collect();
        let turned = sections.iter().rev().map(|section| format!("{section}\n")).collect::<String>();
        assert_eq!(read(TEXT).unwrap(), read(&turned).unwrap());
    }

    #[test]
    fn error_names_line_section_key_and_remedy() {
        for (from, to, message) in [
            (
                "classes = apache",
                "classes = mysql",
                "[group web servers] line 14: classes: mysql is not in [classes]; add it to names there",
            ),
            (
                "names = ntp, apache",
                "names = ntp apache",
                "[classes] line 6: names: \"ntp apache\" has a blank in it; write names = ntp, apache",
            ),
            (
                "parameters = servers",
                "parameters = a b, c",
                "[class ntp] line 9: parameters: \"a b\" has a blank in it; write parameters = a, b, c",
            ),
            ("names = ntp", "name = ntp", "[classes] line 6: name: is not known; want names"),
            ("names = production", "names = a-b", "[environments] line 3: names: \"a-b\": an environment's name has"),
            (
                "environment = production",
                "environment = staging",
                "[group web servers] line 13: environment: staging is not in [environments]; add it to names there",
            ),
            ("parameter role", "parameter Role", "[group web servers] line 15: parameter Role: a parameter's name"),
            (
                "parameter role = web",
                "role = web",
                "[group web servers] line 15: role: is not known; want environment, classes or parameter NAME",
            ),
            ("parameter role", "parameter facts", "[group web servers] line 15: parameter facts: Puppet lets nobody"),
            (
                "[\"a\"]",
                "[\"a\"",
                "[class ntp] line 10: parameter servers: begins as JSON, and is none at its character 4",
            ),
            ("panic = 0", "panic = null", "[group web servers, class ntp] line 18: parameter panic: null is no value"),
            ("panic = 0", "panic =", "[group web servers, class ntp] line 18: parameter panic: is empty; write \"\""),
            ("parameter panic", "panic", "[group web servers, class ntp] line 18: panic: is not known; want parameter"),
            (
                "[group web servers, class ntp]",
                "[group web, class ntp]",
                "[group web, class ntp] line 17: there is no section [group web]; add it",
            ),
            (
                ", class ntp]",
                ", class squid]",
                "[group web servers, class squid] line 17: the group does not have squid; add it to classes of the group",
            ),
            ("[group empty]", "[groups empty]", "[groups empty] line 20: want [environments], [classes], [class NAME]"),
            ("[group empty]", "[group a, b]", "[group a, b] line 20: want [environments]"),
            ("[class ntp]\n", "[class]\n", "[class] line 8: want [environments]"),
        ] {
            assert!(TEXT.contains(from), "{from}");
            let found = read(&TEXT.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(found.starts_with(message), "{found:?}");
        }
    }
}
