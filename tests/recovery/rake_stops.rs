//! The verbs of the console, and every point at which a run of rake can stop.

use Verb::{Add, Change, Delete};
use serde_json::{Value, json};

use crate::harness::{Answer, Plan, Site};

pub fn site_of(release: &'static str) -> Site {
    Site::with(Plan { release, ..Plan::default() })
}

pub fn node(name: &str) -> Value {
    json!({"name": name, "groups": ["web servers"], "classes": ["apache", "ntp"], "parameters": {"role": "web"}})
}

pub fn change() -> Value {
    json!({"groups": ["databases"], "classes": ["mysql"], "parameters": {"role": "db", "zone": "x"}})
}

pub fn changed(name: &str) -> Value {
    let mut node = change();
    node["name"] = json!(name);
    node
}

pub fn path(name: &str) -> String {
    format!("/v1/nodes/{name}")
}

/// Adds with a key, as a client does that wants to try again.
pub fn add(site: &Site, name: &str) -> Answer {
    site.ask("POST", "/v1/nodes", Some(&node(name).to_string()), &[&format!("Idempotency-Key: {name}")])
}

/// A verb of the console, with the release whose rake tasks it is tried with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Verb {
    Add(&'static str),
    Change(&'static str),
    Delete(&'static str),
}

impl Verb {
    pub fn release(self) -> &'static str {
        let (Add(release) | Change(release) | Delete(release)) = self;
        release
    }

    /// What has to be there before.
    pub fn prepare(self, site: &Site, name: &str) {
        if !matches!(self, Add(_)) {
            add(site, name).expect(201);
        }
    }

    pub fn ask(self, site: &Site, name: &str) -> Answer {
        match self {
            Add(_) => add(site, name),
            Change(_) => site.patch(&path(name), &change()),
            Delete(_) => site.delete(&path(name)),
        }
    }

    /// The tasks in whose course a run can stop.
    pub fn tasks(self) -> &'static [&'static str] {
        match self {
            Add("3.0") => &["node_add", "node_variables", "node_groups"],
            Add(_) => &["node_add", "node_parameters", "node_groups"],
            Change("1.2.8") => &["node_groups", "node_del", "node_add", "node_parameters"],
            Change("3.0") => &["node_classes", "node_variables", "node_groups"],
            Change(_) => &["node_classes", "node_parameters", "node_groups"],
            Delete(_) => &["node_groups", "node_del"],
        }
    }

    /// The console has what the verb asked for.
    pub fn expect_done(self, site: &Site, name: &str, point: &str) {
        match self {
            Add(_) => site.expect_in_console(&node(name)),
            Change(_) => site.expect_in_console(&changed(name)),
            Delete(_) => assert!(site.node_in_console(name).is_null(), "{point}"),
        }
    }

    /// Every point at which a run can stop, each with a name for a node.
    pub fn points(self) -> Vec<(String, String)> {
        let points = self.tasks().iter().flat_map(|task| ["before", "after_commit", "after"].map(|at| (at, task)));
        points.map(|(at, task)| (format!("{at}_{task}"), format!("{at}-{task}").replace('_', "-"))).collect()
    }
}

/// The ledger, the console and the answers tell the same of a node, and nothing is left half done.
#[track_caller]
pub fn expect_settled(site: &Site, name: &str) {
    let there = site.node_in_console(name);
    match site.states().get(name).map(String::as_str) {
        None => {
            assert!(there.is_null(), "{name}: in the console, not in the ledger");
            site.get(&path(name)).expect(404);
        }
        Some("active") => site.expect_in_console(&site.get(&path(name)).expect(200).json()),
        Some(other) => panic!("{name} is {other}"),
    }
}

/// A node of which it cannot be known whose it is: shown to the operator, not there for clients, left alone.
#[track_caller]
pub fn expect_unproven(site: &Site, name: &str) {
    let before = site.node_in_console(name);
    assert!(!before.is_null(), "{name}");
    site.get(&path(name)).expect(404);
    site.patch(&path(name), &change()).expect(404);
    site.delete(&path(name)).expect(404);
    site.post("/v1/nodes", &node(name)).expect(409);
    assert_eq!(site.node_in_console(name), before);
    assert_eq!(site.unfinished().get(name).map(String::as_str), Some("unproven"));
}
