//! The OpenAPI description, and which of its answers were seen.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::harness::Answer;

pub const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/http/openapi.json");

/// What a web server adds to every answer, whatever the program says.
pub const SERVERS_OWN: [&str; 8] = [
    "connection",
    "content-length",
    "content-type",
    "date",
    "keep-alive",
    "server",
    "transfer-encoding",
    "strict-transport-security",
];

/// The description, and what of it has been seen.
pub struct Described {
    pub document: Value,
    pub cases: Vec<Value>,
    pub seen: BTreeSet<(String, u16)>,
    pub problems: BTreeSet<String>,
}

impl Described {
    pub fn read() -> Self {
        let text = std::fs::read_to_string(FILE).unwrap();
        let document = serde_json::from_str(&text).unwrap();
        Self { document, cases: vec![], seen: BTreeSet::new(), problems: BTreeSet::new() }
    }

    /// A part of the description, behind its reference if it is one.
    pub fn part<'a>(&'a self, part: &'a Value) -> &'a Value {
        match part["$ref"].as_str() {
            Some(reference) => self.document.pointer(reference.trim_start_matches('#')).unwrap_or(&Value::Null),
            None => part,
        }
    }

    /// Each operation: path, method, what is said of it.
    pub fn operations(&self) -> Vec<(String, String, Value)> {
        let mut operations = vec![];
        for (path, item) in self.document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                if method != "parameters" {
                    operations.push((path.clone(), method.to_uppercase(), operation.clone()));
                }
            }
        }
        operations
    }

    pub fn operation(&self, id: &str) -> Value {
        self.operations().into_iter().find(|(_, _, operation)| operation["operationId"] == id).unwrap().2
    }

    /// Notes an answer to an operation, or to another method of its path: its status, media type and
    /// fields must be described; its body and fields are validated at the end.
    #[track_caller]
    pub fn saw(&mut self, id: &str, answer: &Answer) {
        let status = answer.status;
        let what = format!("{id} {status}");
        assert!(!answer.header("x-request-id").is_empty(), "{what}: {answer:?}");
        let operation = self.operation(id);
        let described = self.part(&operation["responses"][status.to_string()]).clone();
        assert!(described.is_object(), "{what} is not described: {answer:?}");
        match described["content"].as_object() {
            None => assert_eq!(answer.body, "", "{what}"),
            Some(content) => {
                let media_type = answer.header("content-type").split(';').next().unwrap();
                let media = content.get(media_type).unwrap_or_else(|| panic!("{what}: {media_type} is not described"));
                let value = answer.json();
                if status >= 400 {
                    self.problems.insert(answer.problem());
                }
                self.cases.push(json!({"what": what, "schema": media["schema"], "value": value}));
            }
        }
        let fields = described["headers"].as_object().cloned().unwrap_or_default();
        for (name, field) in &fields {
            let field = self.part(field);
            let value = answer.header(&name.to_lowercase());
            assert!(!value.is_empty() || field["required"] != true, "{what} has no {name}");
            if value.is_empty() {
                continue;
            }
            let value = match field["schema"]["type"].as_str() {
                Some("integer") => json!(value.parse::<i64>().unwrap()),
                _ => json!(value),
            };
            let case = json!({"what": format!("{what} {name}"), "schema": field["schema"], "value": value});
            self.cases.push(case);
        }
        for name in answer.headers.keys().filter(|name| !SERVERS_OWN.contains(&name.as_str())) {
            assert!(fields.keys().any(|field| field.eq_ignore_ascii_case(name)), "{what}: {name} is not described");
        }
        self.seen.insert((id.to_owned(), status));
    }

    /// Validates everything that was noted.
    pub fn validate(&self) {
        let order = json!({"description": self.document, "cases": self.cases}).to_string();
        let mut python =
            Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/api/every_server/openapi/validate.py"))
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
        python.stdin.take().unwrap().write_all(order.as_bytes()).unwrap();
        let output = python.wait_with_output().unwrap();
        assert!(output.status.success(), "python3-jsonschema is needed: {output:?}");
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "");
    }
}
