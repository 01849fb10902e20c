//! A catalogue of all that the installed Puppet has, for the operator to cut down.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

use serde::Deserialize;

use super::{SetupError, detect};
use crate::config::layout;
use crate::model::name::{ClassName, EnvironmentName, ParameterName};

/// The script for Puppet's own Ruby.
const SCRIPT: &str = include_str!("catalogue.rb");

/// An environment's classes.
#[derive(Debug, Deserialize)]
struct Environment {
    name: String,
    classes: Vec<Class>,
    /// Why manifests were not read.
    errors: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Class {
    name: String,
    parameters: Vec<String>,
}

/// The text of a catalogue with all classes of all environments.
pub(super) fn text(puppet: &Path) -> Result<String, SetupError> {
    let (puppet, printed) = detect::run_script(puppet, SCRIPT, &["confdir", "codedir", "vardir"])?;
    let environments: Vec<Environment> = serde_json::from_str(&printed).map_err(|_| SetupError::NoClasses(puppet))?;
    Ok(write(&environments))
}

fn write(environments: &[Environment]) -> String {
    let mut all: BTreeMap<ClassName, BTreeSet<ParameterName>> = BTreeMap::new();
    for class in environments.iter().flat_map(|environment| &environment.classes) {
        if let Ok(name) = ClassName::parse(&class.name) {
            let parameters = class.parameters.iter().filter_map(|name| ParameterName::parse(name).ok());
            all.entry(name).or_default().extend(parameters);
        }
    }
    let (plain, with): (Vec<_>, Vec<_>) = all.into_iter().partition(|(_, parameters)| parameters.is_empty());
    let mut text = format!(
        "# All environments and classes of this machine's Puppet, and all parameters of these classes. Cut it down to\n\
         # what a client may assign and set, then put it into {}; see catalogue.ini(5).\n",
        layout::this().catalogue
    );
    for error in environments.iter().flat_map(|environment| &environment.errors) {
        let _ = writeln!(text, "# Not read: {}", error.replace(char::is_control, " "));
    }
    let known = environments.iter().filter_map(|environment| EnvironmentName::parse(&environment.name).ok());
    let _ = writeln!(text, "\n[environments]\nnames = {}", list(known.collect::<BTreeSet<_>>()));
    let _ = writeln!(text, "\n[classes]\nnames = {}", list(plain.into_iter().map(|(name, _)| name)));
    for (name, parameters) in with {
        let _ = writeln!(text, "\n[class {name}]\nparameters = {}", list(parameters));
    }
    text
}

fn list(names: impl IntoIterator<Item = impl ToString>) -> String {
    names.into_iter().map(|name| name.to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::{Environment, write};
    use crate::console::catalogue::Catalogue;

    #[test]
    fn what_is_printed_is_a_catalogue() {
        let json = r#"[
            {"name": "production", "errors": ["a.pp: Syntax error\nat end"],
             "classes": [{"name": "ntp", "parameters": ["servers"]}, {"name": "motd", "parameters": []}]},
            {"name": "staging", "errors": [], "classes": [{"name": "ntp", "parameters": ["panic"]}]}]"#;
        let text = write(&serde_json::from_str::<Vec<Environment>>(json).unwrap());
        assert!(text.contains("\n# Not read: a.pp: Syntax error at end\n"), "{text}");
        let rest = "[environments]\nnames = production, staging\n\n[classes]\nnames = motd\n\n\
                    [class ntp]\nparameters = panic, servers\n";
        assert!(text.ends_with(rest), "{text}");
        assert_eq!(Catalogue::from_text(&text).unwrap().classes(), ["motd", "ntp"]);
        assert!(Catalogue::from_text(&write(&[])).unwrap().classes().is_empty());
    }
}
