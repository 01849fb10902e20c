//! The values that the catalogue lets a client set.

use std::fmt::Display;

use super::{Catalogue, reserved};
use crate::model::fault::FieldError;
use crate::model::name::{ClassName, EnvironmentName, ParameterName};
use crate::model::node::{Assignment, Change};

impl Catalogue {
    /// The errors of the values that a change sends.
    ///
    /// A class that it takes away takes its parameters with it.
    pub(crate) fn judge(
        &self,
        change: &Change,
        before: &Assignment,
        after: &mut Assignment,
        shows: &dyn Fn(&EnvironmentName) -> bool,
    ) -> Vec<FieldError> {
        let mut errors = Vec::new();
        if let Some(Some(name)) = &change.environment
            && !self.environments.contains(name)
        {
            let detail = match listed(self.environments.iter().filter(|name| shows(name))) {
                None => "the catalogue has no environment that may be assigned".to_owned(),
                Some(names) => format!("{:?} is not in the catalogue, which has {names}", name.as_str()),
            };
            errors.push(FieldError::new("environment", detail));
        }
        for (name, _) in change.parameters.iter().filter(|(_, value)| value.is_some()) {
            errors.extend(reserved(name).map(|detail| FieldError::new(format!("parameters.{name}"), detail)));
        }
        for (class, settings) in &change.class_parameters {
            let set = settings.iter().flatten().filter(|(_, value)| value.is_some()).map(|(name, _)| name);
            errors.extend(self.judge_class(class, set, after));
        }
        let gone = |class: &&ClassName| self.has(before, class) && !self.has(after, class);
        let gone: Vec<_> = after.class_parameters.keys().filter(gone).cloned().collect();
        after.class_parameters.retain(|class, _| !gone.contains(class));
        errors
    }

    fn judge_class<'a>(
        &self,
        class: &ClassName,
        set: impl Iterator<Item = &'a ParameterName>,
        after: &Assignment,
    ) -> Vec<FieldError> {
        let mut set = set.peekable();
        let field = format!("class_parameters.{class}");
        let known = match self.classes.get(class) {
            _ if set.peek().is_none() => return Vec::new(),
            None => {
                let detail = format!("{:?} is not in the console; GET /v1/classes lists all that are", class.as_str());
                return vec![FieldError::new(field, detail)];
            }
            Some(_) if !self.has(after, class) => {
                return vec![FieldError::new(field, "the node does not have this class; send it in classes")];
            }
            Some(known) => known,
        };
        let wrong = set.filter(|name| !known.settable.contains(*name)).map(|name| {
            let detail = match listed(known.settable.iter()) {
                None => "no parameter of this class may be set".to_owned(),
                Some(names) => format!("of this class may be set {names}"),
            };
            FieldError::new(format!("{field}.{name}"), detail)
        });
        wrong.collect()
    }
}

/// Up to twenty names, or `None` where there are none.
fn listed(mut names: impl Iterator<Item = impl Display>) -> Option<String> {
    const MOST: usize = 20;
    let first: Vec<_> = names.by_ref().take(MOST).map(|name| name.to_string()).collect();
    let more = if names.next().is_some() { ", ..." } else { "" };
    (!first.is_empty()).then(|| first.join(", ") + more)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::super::tests::{assignment, catalogue};
    use crate::model::node::{Assignment, Change};

    fn judged(change: Json, before: Json) -> (Vec<String>, Assignment) {
        let (before, sent) = (assignment(before), assignment(change.clone()));
        let all = Change::setting(sent);
        let sends = |member: &str| change.get(member).is_some();
        let (groups, classes) = (all.groups.filter(|_| sends("groups")), all.classes.filter(|_| sends("classes")));
        let change = Change { groups, classes, ..all };
        let mut after = change.clone().apply(before.clone());
        let errors = catalogue().judge(&change, &before, &mut after, &|name| name.as_str() != "production");
        (errors.iter().map(|error| format!("{}: {}", error.field, error.detail)).collect(), after)
    }

    #[test]
    fn what_the_catalogue_does_not_let_a_client_set_is_named() {
        let (errors, _) = judged(
            json!({
                "environment": "stagng",
                "parameters": {"facts": 1, "environment": "production", "role": 1},
                "groups": ["web servers"],
                "class_parameters": {
                    "ntp": {"servrs": 1, "panic": 1, "iburst": 1}, "apache": {"a": 1}, "mysql": {"a": 1},
                },
            }),
            json!({}),
        );
        let expected = [
            "environment: \"stagng\" is not in the catalogue, which has staging",
            "parameters.environment: Puppet sets this variable by itself; the environment has a member of its own",
            "parameters.facts: Puppet lets nobody set this variable; take another name",
            "class_parameters.apache.a: no parameter of this class may be set",
            "class_parameters.mysql: \"mysql\" is not in the console; GET /v1/classes lists all that are",
            "class_parameters.ntp.iburst: of this class may be set panic, servers",
            "class_parameters.ntp.servrs: of this class may be set panic, servers",
        ];
        assert_eq!(errors, expected);
        let (errors, _) = judged(json!({"class_parameters": {"ntp": {"panic": 1}}}), json!({"classes": ["apache"]}));
        assert_eq!(errors, ["class_parameters.ntp: the node does not have this class; send it in classes"]);
    }

    #[test]
    fn class_that_is_taken_away_takes_its_parameters() {
        let own = json!({"ntp": {"panic": 1}});
        for (before, change, keeps) in [
            (json!({"classes": ["ntp"]}), json!({"classes": []}), false),
            (json!({"classes": ["ntp"]}), json!({"classes": ["apache", "ntp"]}), true),
            (json!({"classes": ["ntp"]}), json!({"parameters": {"a": 1}}), true),
            (json!({"groups": ["web servers"]}), json!({"groups": ["empty"]}), false),
            (json!({"groups": ["web servers"]}), json!({"groups": [], "classes": ["ntp"]}), true),
            // The catalogue took it away, and may bring it back.
            (json!({"groups": ["gone"]}), json!({"groups": []}), true),
        ] {
            let mut before = before;
            before["class_parameters"] = own.clone();
            let (errors, after) = judged(change.clone(), before);
            assert!(errors.is_empty(), "{errors:?}");
            assert_eq!(!after.class_parameters.is_empty(), keeps, "{change}");
        }
    }
}
