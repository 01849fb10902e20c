//! Two clients with random rights: what one does never changes what the other can see or do, except that a name is
//! taken.
//!
//! The requests of both run on one site. Those of each run again, alone, on a new one, without its requests that were
//! refused because a name is taken. Every other answer must be the same, byte for byte.

mod order;
mod queue;
mod site;

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;

use self::site::Site;

/// A request: its client, method, path, body and Idempotency-Key.
#[derive(Debug, Clone)]
struct Asked {
    client: usize,
    method: &'static str,
    path: String,
    body: String,
    key: Option<&'static str>,
}

/// Names of nodes; the last is a human's.
const NAMES: [&str; 5] = ["web01", "web02", "db01", "x", site::HUMANS];

fn some<T: Clone + std::fmt::Debug + 'static>(all: &'static [T]) -> impl Strategy<Value = T> {
    proptest::sample::select(all)
}

/// The lines of a client's section in espm.ini.
fn rights() -> impl Strategy<Value = String> {
    (
        some(&["list, nodes, certificates", "nodes, certificates", "list, nodes", "nodes", "list"]),
        some(&["*", "web*, x", "*01"]),
        some(&["*", "default", "d*"]),
        some(&["*", "ntp, apache", "n*p"]),
        some(&["*", "production", "s*"]),
        some(&["", "most = 0\n", "most = 1\n", "most = 2\n"]),
    )
        .prop_map(|(may, nodes, groups, classes, environments, most)| {
            let lists = format!("groups = {groups}\nclasses = {classes}\nenvironments = {environments}\n");
            format!("may = {may}\nnodes = {nodes}\n{lists}{most}")
        })
}

/// A list of names as JSON; some the console does not have, some it cannot tell apart.
fn names(all: &'static [&'static str]) -> impl Strategy<Value = String> {
    vec(some(all), 0..3).prop_map(|names| format!("{names:?}"))
}

fn body(name: Option<&str>, assigned: &str) -> String {
    let name = name.map(|name| format!(r#""name":"{name}","#)).unwrap_or_default();
    format!("{{{name}{assigned}}}")
}

/// The members of a node but for its name.
fn assigned() -> impl Strategy<Value = String> {
    (
        names(&["default", "databases", "none"]),
        names(&["ntp", "apache", "mysql", "db", "none"]),
        "[ab]{1,2}",
        some(&["", r#","environment":"production""#, r#","environment":"staging""#, r#","environment":"none""#]),
        some(&[
            "",
            r#"{"ntp":{"panic":1}}"#,
            r#"{"mysql":{"port":1}}"#,
            r#"{"ntp":{"port":1}}"#,
            r#"{"none":{"a":1}}"#,
        ]),
    )
        .prop_map(|(groups, classes, value, environment, of_classes)| {
            let lists = format!(r#""groups":{groups},"classes":{classes},"parameters":{{"role":"{value}"}}"#);
            match of_classes {
                "" => format!("{lists}{environment}"),
                _ => format!(r#"{lists}{environment},"class_parameters":{of_classes}"#),
            }
        })
}

fn asked() -> impl Strategy<Value = Asked> {
    (0..2_usize, 0..14_usize, some(&NAMES), assigned(), some(&[None, Some("k"), Some("l")])).prop_map(
        |(client, kind, name, assigned, key)| {
            let of = |rest: &str| format!("/v1/nodes/{name}{rest}");
            let (method, path, body) = match kind {
                0..=4 => ("POST", "/v1/nodes".to_owned(), body(Some(name), &assigned)),
                5 => ("GET", of(""), String::new()),
                6 | 7 => ("PATCH", of(""), body(None, &assigned)),
                8 => ("DELETE", of(""), String::new()),
                9 => ("POST", of("/certificate"), String::new()),
                10 => ("GET", of("/certificate"), String::new()),
                11 => ("DELETE", of("/certificate"), String::new()),
                12 => ("GET", "/v1/classes".to_owned(), String::new()),
                _ => ("GET", "/v1/groups".to_owned(), String::new()),
            };
            Asked { client, method, path, body, key: key.filter(|_| method == "POST") }
        },
    )
}

/// The answers of a client's requests that name nobody else's node.
fn told(asked: &[Asked], answers: &[String], client: usize) -> Vec<(Asked, String)> {
    let own = asked.iter().zip(answers).filter(|(asked, _)| asked.client == client);
    let told = own.filter(|(_, answer)| !answer.contains("urn:espm:problem:name-taken"));
    told.map(|(asked, answer)| (asked.clone(), answer.clone())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn client_changes_nothing_that_another_can_see_or_do(
        rights in [rights(), rights()],
        all in vec(asked(), 1..24),
    ) {
        let site = Site::open("both", &rights);
        let answers: Vec<String> = all.iter().map(|asked| site.ask(asked)).collect();
        for client in 0..2 {
            let told = told(&all, &answers, client);
            let alone = Site::open("alone", &rights);
            for (asked, answer) in &told {
                prop_assert_eq!(&alone.ask(asked), answer, "{:?}", asked);
            }
            prop_assert_eq!(alone.nodes_of(client), site.nodes_of(client));
        }
        // A name is refused only while somebody has it.
        let [a, b] = [0, 1].map(|client| site.nodes_of(client));
        prop_assert!(a.intersection(&b).next().is_none());
        let everybodys: BTreeSet<String> = a.union(&b).cloned().chain([site::HUMANS.to_owned()]).collect();
        prop_assert_eq!(site.in_console(), everybodys);
    }
}
