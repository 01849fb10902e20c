//! What the properties are tried with.

use espm::model::name::{ClassName, GroupName, NodeName, ParameterName, ParameterValue};
use espm::model::node::{Assignment, Node};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Text with what parsers stumble over in it.
pub(crate) fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        ".{0,8}",
        "[a-z0-9._-]{1,12}",
        Just("-".to_owned()),
        Just("--".to_owned()),
        Just(",".to_owned()),
        Just("=".to_owned()),
        Just("\n".to_owned()),
        Just("\0".to_owned()),
        Just("\"".to_owned()),
        Just("\\".to_owned()),
        Just("0x1f".to_owned()),
        Just("\u{1b}[".to_owned()),
        Just("\u{2028}".to_owned()),
        Just(" ".to_owned()),
    ];
    vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

pub(crate) fn node_name() -> impl Strategy<Value = NodeName> {
    "[a-z0-9]([a-z0-9_-]{0,6}[a-z0-9])?(\\.[a-z0-9]([a-z0-9_-]{0,6}[a-z0-9])?){0,3}"
        .prop_filter_map("Puppet's own", |name| NodeName::parse(&name).ok())
}

pub(crate) fn assignment() -> impl Strategy<Value = Assignment> {
    let group = text().prop_filter_map("none", |name| GroupName::parse(&name).ok());
    let class = text().prop_filter_map("none", |name| ClassName::parse(&name).ok());
    let key = "[a-z_][a-zA-Z0-9_]{0,8}".prop_map(|name| ParameterName::parse(&name).unwrap());
    let value = text().prop_filter_map("none", |value| ParameterValue::parse(&value).ok());
    (vec(group, 0..4), vec(class, 0..4), btree_map(key, value, 0..4)).prop_map(
        |(mut groups, mut classes, parameters)| {
            let mut seen = vec![];
            groups.retain(|name| {
                !seen.contains(name) && {
                    seen.push(name.clone());
                    true
                }
            });
            let mut seen = vec![];
            classes.retain(|name| {
                !seen.contains(name) && {
                    seen.push(name.clone());
                    true
                }
            });
            Assignment { groups, classes, parameters }
        },
    )
}

pub(crate) fn node() -> impl Strategy<Value = Node> {
    (node_name(), assignment()).prop_map(|(name, assignment)| Node { name, assignment })
}

pub(crate) fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    let member = prop_oneof![
        Just("name".to_owned()),
        Just("groups".into()),
        Just("classes".into()),
        Just("parameters".into()),
        text()
    ];
    leaf.prop_recursive(4, 24, 5, move |inner| {
        let object = btree_map(member.clone(), inner.clone(), 0..5);
        prop_oneof![vec(inner, 0..5).prop_map(Value::from), object.prop_map(|members| json!(members))]
    })
}
