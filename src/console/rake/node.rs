//! A node as rake's command line carries it: every value is a parsed string.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::fault::FieldError;
use crate::model::name::{ClassName, GroupName, NodeName, ParameterName, ParameterValue};
use crate::model::node::{Assignment, Change, Node};
use crate::model::value::{self, Value};

/// A node whose assignment rake can make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RakeNode {
    /// Its certname.
    pub name: NodeName,
    /// Its groups.
    pub groups: Vec<GroupName>,
    /// Its classes.
    pub classes: Vec<ClassName>,
    /// Its parameters; where they are read, each may come once.
    #[serde(deserialize_with = "value::parameters_that_come_once")]
    pub parameters: BTreeMap<ParameterName, ParameterValue>,
}

impl TryFrom<&Node> for RakeNode {
    /// The first part that rake cannot assign; the ledger may have it from before, when there was no console.
    type Error = String;

    fn try_from(Node { name, assignment }: &Node) -> Result<Self, String> {
        let Assignment { groups, classes, parameters, environment, class_parameters } = assignment;
        let parameter = |(name, value): (&ParameterName, &Value)| match carried(value) {
            Ok(value) => Ok((name.clone(), value)),
            Err(_) => Err(format!("the value of the parameter {name}")),
        };
        if environment.is_some() || !class_parameters.is_empty() {
            return Err("an environment or parameters of classes".to_owned());
        }
        let parameters = parameters.iter().map(parameter).collect::<Result<_, _>>()?;
        Ok(Self { name: name.clone(), groups: groups.clone(), classes: classes.clone(), parameters })
    }
}

/// The errors of what a change sends and rake cannot assign.
pub(super) fn judge(change: &Change) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (name, value) in &change.parameters {
        if let Some(Err(detail)) = value.as_ref().map(carried) {
            errors.push(FieldError::new(format!("parameters.{name}"), detail));
        }
    }
    let none = |what| format!("this console assigns no {what} (kind = rake); leave it out");
    if let Some(Some(_)) = change.environment {
        errors.push(FieldError::new("environment", none("environments")));
    }
    for (class, settings) in &change.class_parameters {
        if settings.iter().flatten().any(|(_, value)| value.is_some()) {
            errors.push(FieldError::new(format!("class_parameters.{class}"), none("parameters of classes")));
        }
    }
    errors
}

/// The value as rake and the console's database carry it.
fn carried(value: &Value) -> Result<ParameterValue, String> {
    match value.as_str() {
        Some(text) => ParameterValue::parse(text).map_err(|error| error.to_string()),
        None => Err("must be a string; write numbers and truth values as strings".to_owned()),
    }
}

impl From<ParameterValue> for Value {
    fn from(value: ParameterValue) -> Self {
        value.as_str().into()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{RakeNode, judge};
    use crate::model::name::{ClassName, EnvironmentName, NodeName, ParameterName};
    use crate::model::node::{Assignment, Change, Node};
    use crate::model::value::Value;

    #[test]
    fn only_strings_that_rake_carries_become_a_node_of_rakes() {
        let parameter = |name: &str| ParameterName::parse(name).unwrap();
        let class = ClassName::parse("ntp").unwrap();
        let environment = EnvironmentName::parse("staging").unwrap();
        let node = |assignment| RakeNode::try_from(&Node { name: NodeName::parse("web01").unwrap(), assignment });
        let with = |value: serde_json::Value| [(parameter("a"), Value::parse(value).unwrap())].into();
        assert!(node(Assignment { parameters: with(json!("x")), ..Assignment::default() }).is_ok());
        for value in [json!(1), json!("a,b"), json!(""), json!([])] {
            assert!(node(Assignment { parameters: with(value), ..Assignment::default() }).is_err());
        }
        let class_parameters = [(class.clone(), with(json!("x")))].into();
        assert!(node(Assignment { class_parameters, ..Assignment::default() }).is_err());
        assert!(node(Assignment { environment: Some(environment.clone()), ..Assignment::default() }).is_err());
        // Removing what is not there is no error.
        let change = Change {
            parameters: vec![(parameter("a"), Some(Value::parse(json!(1)).unwrap())), (parameter("b"), None)],
            environment: Some(None),
            class_parameters: vec![(class.clone(), None), (class.clone(), Some(vec![(parameter("a"), None)]))],
            ..Change::default()
        };
        assert_eq!(judge(&change).iter().map(|error| error.field.as_str()).collect::<Vec<_>>(), ["parameters.a"]);
        let change = Change {
            environment: Some(Some(environment)),
            class_parameters: vec![(class, Some(vec![(parameter("a"), Some("x".into()))]))],
            ..Change::default()
        };
        let fields: Vec<_> = judge(&change).into_iter().map(|error| error.field).collect();
        assert_eq!(fields, ["environment", "class_parameters.ntp"]);
    }
}
