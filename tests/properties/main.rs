//! What holds for every input of every parser, looked for with inputs that proptest makes up.
//!
//! `PROPTEST_CASES` says how many; `tests/run --long` lets each run for minutes. What was found is
//! kept as a case in the tests beside the code.
#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test starts programs and fails by panicking"
)]

mod pki;
mod published;
mod strategies;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use espm::authority::protocol;
use espm::config::Config;
use espm::console::catalogue::Catalogue;
use espm::console::rake::output::{self, Completeness, Output, Separator};
use espm::console::rake::task::{Release, Request, Task};
use espm::http::cgi::{self, MAX_BODY};
use espm::http::node_body::{self, Shape};
use espm::http::request::Body;
use espm::http::response;
use espm::model::fault::{Fault, FieldError};
use espm::model::name::{ClassName, GroupName, NodeName, ParameterName, ParameterValue};
use espm::model::node::{Assignment, List};
use espm::model::problem::Problem;
use espm::model::request_id::RequestId;
use espm::service::draft::Draft;
use espm::system::ini;
use espm::system::text;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::strategies::{json_value, node, rake_node, text};

/// No file is written for a failure: what it prints is kept by hand.
fn config() -> ProptestConfig {
    let rejects = u32::MAX;
    let default = ProptestConfig::default();
    ProptestConfig { failure_persistence: None, max_local_rejects: rejects, max_global_rejects: rejects, ..default }
}

fn read(bytes: &[u8], shape: Shape) -> Result<Draft, Fault> {
    let variable = |name: &str| match name {
        "REQUEST_METHOD" => Some("POST".into()),
        "REQUEST_URI" => Some("/v1/nodes".into()),
        "CONTENT_TYPE" => Some("application/json".into()),
        "CONTENT_LENGTH" => Some(bytes.len().to_string().into()),
        _ => None,
    };
    node_body::parse(&cgi::receive(variable, bytes).unwrap(), shape)
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_cgi_variables_give_path_without_query_and_bounded_body(
        values in vec(proptest::option::of(prop_oneof![vec(any::<u8>(), 0..40), text().prop_map(String::into_bytes)]), cgi::VARIABLES.len()),
        length in proptest::option::of(prop_oneof![(0_usize..80).prop_map(|length| length.to_string()), text()]),
        stdin in vec(any::<u8>(), 0..80),
    ) {
        let variables: BTreeMap<&str, OsString> = cgi::VARIABLES
            .into_iter()
            .zip(values)
            .filter_map(|(name, value)| Some((name, OsString::from_vec(value?))))
            .chain(length.clone().map(|length| ("CONTENT_LENGTH", length.into())))
            .collect();
        let said = variables.get("CONTENT_LENGTH").and_then(|value| value.to_str()?.parse::<usize>().ok());
        if let Ok(request) = cgi::receive(|name| variables.get(name).cloned(), &stdin[..]) {
            prop_assert!(!request.path.contains(['?', '#']));
            prop_assert!(!request.method.as_str().is_empty());
            prop_assert!(request.idempotency_key.is_none_or(|key| !key.is_empty()));
            match (request.body, said) {
                (Body::Whole(bytes), Some(said)) => prop_assert!(bytes.len() == said && stdin.starts_with(&bytes)),
                (Body::Whole(bytes), None) => prop_assert_eq!(bytes, stdin),
                (Body::Truncated, said) => prop_assert!(said.unwrap() > stdin.len()),
                (Body::TooLarge, said) => prop_assert!(said.is_none_or(|said| said > MAX_BODY)),
            }
        }
    }

    #[test]
    fn any_bytes_are_json_or_bad_json(bytes in prop_oneof![vec(any::<u8>(), 0..60), text().prop_map(String::into_bytes)]) {
        for shape in [Shape::New, Shape::Change] {
            if let Err(fault) = read(&bytes, shape) {
                prop_assert_eq!(fault.problem, Problem::BadJson);
            }
        }
    }

    #[test]
    fn any_json_is_a_body_or_every_error_is_named(value in json_value()) {
        let members = value.as_object().cloned().unwrap_or_default();
        for shape in [Shape::New, Shape::Change] {
            let draft = read(value.to_string().as_bytes(), shape).unwrap();
            if !value.is_object() {
                prop_assert_eq!(draft.errors.len(), 1);
                continue;
            }
            for name in members.keys() {
                let known = ["groups", "classes", "parameters", "environment", "class_parameters"].contains(&name.as_str()) || (name == "name" && shape == Shape::New);
                prop_assert!(known || draft.errors.iter().any(|error| error.field == *name), "{}: {:?}", name, draft.errors);
            }
            if draft.errors.is_empty() {
                prop_assert_eq!(draft.name.is_some(), shape == Shape::New);
            }
        }
    }

    #[test]
    fn valid_body_is_parsed_unchanged(node in node()) {
        let body = serde_json::to_vec(&node).unwrap();
        prop_assume!(body.len() <= MAX_BODY);
        let draft = read(&body, Shape::New).unwrap();
        prop_assert!(draft.errors.is_empty(), "{:?}", draft.errors);
        prop_assert_eq!(draft.name.clone().unwrap(), node.name);
        prop_assert_eq!(draft.into_change().apply(Assignment::default()), node.assignment);
    }

    #[test]
    fn accepted_name_is_in_grammar_and_no_option(text in text()) {
        let label = |label: &str| {
            let alphanumeric = |c: char| c.is_ascii_digit() || c.is_ascii_lowercase();
            label.starts_with(alphanumeric)
                && label.ends_with(alphanumeric)
                && label.chars().all(|c| alphanumeric(c) || c == '-' || c == '_')
        };
        let hexadecimal = text.strip_prefix("0x").is_some_and(|rest| rest.chars().all(|c| c.is_ascii_hexdigit()));
        let good = text.len() <= 64 && text.split('.').all(label) && !["ca", "localhost"].contains(&text.as_str()) && !hexadecimal;
        prop_assert_eq!(NodeName::parse(&text).is_ok(), good);
        let json = serde_json::to_string(&text).unwrap();
        prop_assert_eq!(serde_json::from_str::<NodeName>(&json).is_ok(), good);
        for name in [ClassName::parse(&text).map(String::from), GroupName::parse(&text).map(String::from), ParameterValue::parse(&text).map(String::from)]
            .into_iter()
            .flatten()
        {
            prop_assert_eq!(&name, &text);
            prop_assert!(!name.contains(',') && !name.chars().any(char::is_control) && name.trim() == name);
        }
        if ParameterName::parse(&text).is_ok() {
            prop_assert!(!text.starts_with('-') && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'));
        }
    }

    /// The console splits variables at the first sign of equality, lists at commas, and strips what is between.
    #[test]
    fn rake_reads_back_its_arguments(node in rake_node(), release in 0_usize..4) {
        let release = Release::ALL[release].1;
        for task in [Task::Add { node: node.clone() }, Task::Change { node: node.clone() }, Task::Rebuild { node: node.clone() }] {
            let words = task.words(release);
            let (tasks, variables) = words.split_at(words.len() - 4);
            prop_assert_eq!(&tasks[..3], ["-s", "-E", "$stdout.sync=true"]);
            for word in &tasks[3..] {
                prop_assert!(word.starts_with("node") && word.bytes().all(|b| b.is_ascii_lowercase() || b == b':'), "{}", word);
            }
            let read: BTreeMap<&str, &str> = variables.iter().map(|word| word.split_once('=').unwrap()).collect();
            prop_assert!(words.iter().all(|word| !word.contains(['\n', '\0'])));
            let list = |text: &str| -> Vec<String> { text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect() };
            prop_assert_eq!(read["name"], node.name.as_str());
            prop_assert_eq!(list(read["groups"]), node.groups.iter().map(ToString::to_string).collect::<Vec<_>>());
            prop_assert_eq!(list(read["classes"]), node.classes.iter().map(ToString::to_string).collect::<Vec<_>>());
            let pairs: BTreeMap<String, String> = list(read["parameters"])
                .iter()
                .map(|pair| pair.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned())).unwrap())
                .collect();
            let given = node.parameters.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
            prop_assert_eq!(pairs, given);
        }
    }

    #[test]
    fn console_order_is_parsed_back_unchanged(node in rake_node(), limit in any::<u64>()) {
        let tasks = [
            Task::Tasks,
            Task::Nodes,
            Task::Names { list: List::Groups },
            Task::Add { node: node.clone() },
            Task::Rebuild { node: node.clone() },
            Task::Delete { name: node.name.clone(), groups: node.groups.clone() },
        ];
        for task in tasks {
            let json = serde_json::to_vec(&Request { task: task.clone(), limit }).unwrap();
            prop_assert_eq!(serde_json::from_slice::<Request>(&json).unwrap().task, task);
        }
    }

    #[test]
    fn accepted_order_names_no_bad_node(
        task in prop_oneof![Just("add"), Just("change"), Just("rebuild"), Just("delete"), Just("nodes"), text().prop_map(|text| -> &'static str { Box::leak(text.into_boxed_str()) })],
        name in text(),
        other in json_value(),
        bytes in vec(any::<u8>(), 0..40),
    ) {
        let orders = [
            json!({"task": {"task": task, "name": name, "groups": [name], "node": {"name": name, "groups": [], "classes": [], "parameters": {}}}, "limit": 1}),
            json!({"task": {"task": task, "name": name, "groups": other, "node": other}, "limit": 1}),
            json!({"verb": task, "name": name, "limit": 1}),
            other,
        ];
        for json in orders.iter().map(|order| order.to_string().into_bytes()).chain([bytes]) {
            if let Ok(order) = serde_json::from_slice::<Request>(&json) {
                prop_assert!(order.task.node().is_none_or(|name| NodeName::parse(name.as_str()).is_ok()));
                prop_assert!(order.task.words(Release::V1_2_7).iter().all(|word| !word.contains("db:")  || word.contains('=')));
            }
            if let Ok(order) = serde_json::from_slice::<protocol::Request>(&json) {
                prop_assert!(NodeName::parse(order.name.as_str()).is_ok());
            }
        }
    }

    #[test]
    fn output_proves_no_more_than_its_lines(
        node in node(),
        lines in vec((0_usize..10, text()), 0..12),
        rebuild in any::<bool>(),
    ) {
        let name = &node.name;
        let markers = [
            "Node successfully created!".to_owned(),
            format!("Node groups successfully edited for {name}!"),
            format!("Node parameters successfully edited for {name}!"),
            format!("Node {name} doesn't exist!"),
            "Node already exists!".to_owned(),
            format!("Node groups successfully edited for {name}x!"),
            node.assignment.classes.first().map_or(String::new(), ToString::to_string),
            node.assignment.groups.first().map_or(String::new(), ToString::to_string),
        ];
        let output: String = lines.iter().map(|(at, noise)| format!("{}\n", markers.get(*at).unwrap_or(noise))).collect();
        let shown: Vec<String> = output.lines().map(text::plain).collect();
        let has = |marker: &str| shown.iter().any(|line| line == marker);
        let read = Output::read(&output, name);
        prop_assert_eq!(read.created(), has(&markers[0]));
        prop_assert!(!(read.created() && read.taken()));
        prop_assert!(!read.deleted(&shown) || has(&markers[1]));
        let separator = if rebuild { Separator::Parameters } else { Separator::Groups };
        if read.complete(&node.assignment, separator) == Completeness::Whole {
            prop_assert!(has(&markers[1 + usize::from(rebuild)]));
            prop_assert!(node.assignment.parameters.is_empty() || has(&markers[2]));
            prop_assert!(node.assignment.classes.iter().all(|class| has(class.as_str())));
            prop_assert!(node.assignment.groups.iter().all(|group| has(group.as_str())));
        }
    }

    #[test]
    fn listing_is_parsed_into_its_lines(names in vec("([^\n]{0,19}[^\r\n])?", 0..8), end in prop_oneof![Just("\n"), Just("\r\n")]) {
        let noise = |name: &String| (name.starts_with("(in /") && name.ends_with(')')) || name.starts_with("DEPRECATION WARNING");
        let output: String = names.iter().map(|name| format!("{name}{end}")).collect();
        let kept: Vec<String> = names.into_iter().filter(|name| !noise(name)).collect();
        prop_assert_eq!(output::names(&output), kept);
    }

    #[test]
    fn ini_text_is_parsed_back_unchanged(
        sections in btree_map("[a-z][a-z ]{0,6}[a-z]", btree_map("[a-z][a-z_]{0,8}", "([a-zA-Z0-9/:.][a-zA-Z0-9/:.,= -]{0,12}[a-zA-Z0-9/])?", 0..4), 1..4),
    ) {
        let mut written = String::new();
        for (section, entries) in &sections {
            written.push_str(&format!("[{section}]\n# a comment\n\n"));
            entries.iter().for_each(|(key, value)| written.push_str(&format!("  {key} = {value}\n")));
        }
        let read = ini::read(&written).unwrap();
        let read: BTreeMap<_, BTreeMap<_, _>> =
            read.into_iter().map(|section| (section.name, section.entries.into_iter().map(|(key, value, _)| (key, value)).collect())).collect();
        prop_assert_eq!(read, sections);
    }

    #[test]
    fn random_text_is_no_configuration_and_no_catalogue(
        at in 0_usize..600,
        what in text(),
        lines in vec(prop_oneof![Just("[classes]".to_owned()), Just("[class a]".into()), Just("[group x, class a]".into()), Just("[environments]".into()), Just("parameter b = [1]".into()), Just("names = a, b".into()), Just("[group x]".into()), Just("classes = a".into()), text().prop_map(|text| format!("parameter {text}")), text()], 0..8),
    ) {
        let sample = include_str!("../../conf/espm.ini");
        let at = sample.char_indices().map(|(at, _)| at).nth(at % sample.len()).unwrap_or_default();
        let (before, after) = sample.split_at(at);
        for text in [format!("{before}{what}{after}"), lines.join("\n"), what] {
            let _ = ini::read(&text);
            let _ = Config::from_text(&text);
            if let Ok(catalogue) = Catalogue::from_text(&text) {
                for name in catalogue.classes().iter().chain(&catalogue.groups()) {
                    prop_assert!(ClassName::parse(name).is_ok());
                }
            }
        }
    }

    #[test]
    fn answer_is_json_after_fields_of_one_line(detail in text(), fields in vec((text(), text()), 0..4), head in any::<bool>()) {
        let errors = fields.iter().map(|(field, detail)| FieldError::new(field, detail)).collect();
        for problem in Problem::ALL {
            let mut fault = Fault::invalid(Vec::clone(&errors));
            fault.problem = problem;
            fault.detail = detail.clone().into();
            let bytes = response::render(&Err(fault), Some(&RequestId::random().unwrap()), head).to_bytes();
            let text = String::from_utf8(bytes).unwrap();
            let (fields, body) = text.split_once("\r\n\r\n").unwrap();
            prop_assert!(fields.split("\r\n").all(|field| field.contains(": ") && !field.contains(char::is_control)), "{}", fields);
            if head {
                prop_assert_eq!(body, "");
            } else {
                let json: Value = serde_json::from_str(body).unwrap();
                prop_assert_eq!(&json["detail"], &Value::from(detail.clone()));
                prop_assert_eq!(&json["status"], problem.status());
            }
        }
    }

    #[test]
    fn redacted_text_has_no_part_of_value(value in "[a-zA-Z0-9ü'\"/=. -]{3,30}", cut in 0_usize..6, shape in 0_usize..5) {
        let escaped: String = value.chars().flat_map(|c| if "'\"\\".contains(c) { vec!['\\', c] } else { vec![c] }).collect();
        let cut_off: String = value.chars().skip(cut).collect();
        let said = match shape {
            0 => format!("VALUES('web01', '{escaped}') failed"),
            1 => format!("near '{cut_off}' at line 1"),
            2 => format!("{:?}", value),
            3 => value.to_uppercase(),
            _ => format!("role={value}"),
        };
        let shown = text::without(&said, std::slice::from_ref(&value)).to_lowercase();
        let words = ["web01", "values", "failed", "near", "line", "role"];
        for part in value.to_lowercase().split(|c: char| !c.is_ascii_alphanumeric()).filter(|part| part.len() >= 3) {
            prop_assert!(!shown.contains(part) || words.iter().any(|word| word.contains(part)), "{}: {}", part, shown);
        }
    }
}
