//! What the properties are tried with.

use espm::console::rake::node::RakeNode;
use espm::model::name::{ClassName, EnvironmentName, GroupName, NameError, NodeName, ParameterName, ParameterValue};
use espm::model::node::{Assignment, Node};
use espm::model::value::{Parameters, Value as EncValue};
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

/// Strings that YAML reads as something else where they are not quoted, or does not take as they are.
const ODD: [&str; 56] = [
    "",
    " ",
    "~",
    "null",
    "yes",
    "No",
    "ON",
    "off",
    "true",
    "y",
    "=",
    "<<",
    "1",
    "-1",
    "0",
    "007",
    "0o17",
    "0x1f",
    "0b1",
    "1_000",
    "1e3",
    "1.5",
    ".5",
    "1.",
    "+1",
    ".inf",
    "-.INF",
    ".NaN",
    "1:30",
    "190:20:30.15",
    "2001-01-01",
    "2001-1-1",
    "2001-12-14t21:59:43.10-05:00",
    "2001-12-14 21:59:43",
    ":symbol",
    "!ruby/object:Object {}",
    "&a",
    "*a",
    "| ",
    ">",
    "%",
    "@",
    "`",
    "---",
    "--- a",
    "...",
    "- a",
    "? a",
    "a: b",
    "a #b",
    "{a: 1}",
    "[1]",
    "'",
    "\"",
    "\\",
    "a\nb\n",
];

/// Any character of any plane, those that YAML escapes or takes for a line's end more often.
fn odd_character() -> impl Strategy<Value = char> {
    let named = proptest::sample::select(
        &[
            '\0',
            '\u{7}',
            '\t',
            '\r',
            '\u{1b}',
            '\u{7f}',
            '\u{80}',
            '\u{85}',
            '\u{9f}',
            '\u{a0}',
            '\u{2028}',
            '\u{2029}',
            '\u{feff}',
            '\u{fffe}',
            '\u{ffff}',
            '\u{e000}',
            '\u{d7ff}',
            '\u{1fffe}',
            '\u{10ffff}',
        ][..],
    );
    let of_planes = (0_u32..17, 0_u32..0x1_0000)
        .prop_filter_map("a surrogate", |(plane, at)| char::from_u32(plane * 0x1_0000 + at));
    prop_oneof![named, of_planes, any::<char>()]
}

pub(crate) fn string() -> impl Strategy<Value = String> {
    prop_oneof![
        proptest::sample::select(&ODD[..]).prop_map(str::to_owned),
        vec(odd_character(), 0..8).prop_map(|all| all.into_iter().collect()),
        text(),
        (proptest::sample::select(&ODD[..]), 1_usize..1500).prop_map(|(text, times)| text.repeat(times)),
    ]
}

/// Any value that a parameter can have.
pub(crate) fn value() -> impl Strategy<Value = EncValue> {
    let bound = 9_223_372_036_854_775_808_f64;
    let float = prop_oneof![any::<f64>(), -1e6..1e6, -bound..bound].prop_filter("too large", move |f| f.abs() < bound);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-20_i64..20).prop_map(Value::from),
        float.prop_map(Value::from),
        (-300_i32..19, -9_i32..10).prop_map(|(exponent, digit)| Value::from(f64::from(digit) * 10_f64.powi(exponent))),
        string().prop_map(Value::from),
    ];
    let nested = leaf.prop_recursive(4, 16, 4, |inner| {
        let key = string().prop_filter("merged by YAML", |key| key != "<<");
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map(key, inner, 0..4).prop_map(|members| json!(members))
        ]
    });
    nested.prop_filter_map("null", |json| EncValue::parse(json).ok())
}

pub(crate) fn parameters() -> impl Strategy<Value = Parameters> {
    let name = "[a-z_][a-zA-Z0-9_]{0,8}".prop_map(|name| ParameterName::parse(&name).unwrap());
    let name = name.prop_filter("Puppet's own", |name| !["environment", "facts", "trusted"].contains(&name.as_str()));
    btree_map(name, value(), 0..4)
}

/// Names of which none comes twice.
fn names<T: PartialEq + std::fmt::Debug>(parse: fn(&str) -> Result<T, NameError>) -> impl Strategy<Value = Vec<T>> {
    let name = text().prop_filter_map("none", move |name| parse(&name).ok());
    vec(name, 0..4).prop_map(|all| {
        let mut names = Vec::new();
        all.into_iter().for_each(|name| {
            if !names.contains(&name) {
                names.push(name);
            }
        });
        names
    })
}

pub(crate) fn assignment() -> impl Strategy<Value = Assignment> {
    let environment = "[a-z0-9_]{1,8}".prop_map(|name| EnvironmentName::parse(&name).unwrap());
    let class = text().prop_filter_map("none", |name| ClassName::parse(&name).ok());
    let of_class = parameters().prop_filter("none is set", |parameters| !parameters.is_empty());
    (
        names(GroupName::parse),
        names(ClassName::parse),
        parameters(),
        proptest::option::of(environment),
        btree_map(class, of_class, 0..3),
    )
        .prop_map(|(groups, classes, parameters, environment, class_parameters)| Assignment {
            groups,
            classes,
            parameters,
            environment,
            class_parameters,
        })
}

pub(crate) fn node() -> impl Strategy<Value = Node> {
    (node_name(), assignment()).prop_map(|(name, assignment)| Node { name, assignment })
}

pub(crate) fn rake_node() -> impl Strategy<Value = RakeNode> {
    let key = "[a-z_][a-zA-Z0-9_]{0,8}".prop_map(|name| ParameterName::parse(&name).unwrap());
    let value = text().prop_filter_map("none", |value| ParameterValue::parse(&value).ok());
    (node_name(), names(GroupName::parse), names(ClassName::parse), btree_map(key, value, 0..4))
        .prop_map(|(name, groups, classes, parameters)| RakeNode { name, groups, classes, parameters })
}

pub(crate) fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    let member = prop_oneof![
        Just("name".to_owned()),
        Just("groups".into()),
        Just("classes".into()),
        Just("parameters".into()),
        Just("environment".into()),
        Just("class_parameters".into()),
        text()
    ];
    leaf.prop_recursive(4, 24, 5, move |inner| {
        let object = btree_map(member.clone(), inner.clone(), 0..5);
        prop_oneof![vec(inner, 0..5).prop_map(Value::from), object.prop_map(|members| json!(members))]
    })
}
