//! What holds of many requests at once.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::{Answer, Site};

/// Threads of a gate that serves nobody: two, and the one that accepts.
pub const IDLE_THREADS: usize = 3;

pub fn add(site: &Site, name: &str) -> Answer {
    site.post("/v1/nodes", &json!({"name": name, "groups": ["default"], "classes": ["ntp"]}))
}

/// The most runs of rake that there were at a time.
pub fn most_at_once(site: &Site) -> usize {
    let (mut running, mut most) = (0_usize, 0);
    for line in site.file("console/log").lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        if line.get("argv").is_some() {
            running += 1;
            most = most.max(running);
        } else if line.get("end").is_some() {
            running -= 1;
        }
    }
    assert_eq!(running, 0, "every run has ended");
    most
}

#[track_caller]
pub fn expect_busy(answer: &Answer) {
    assert_eq!(answer.expect(503).problem(), "busy");
    assert!(answer.header("retry-after").parse::<u32>().unwrap() > 0);
}

/// Exactly these nodes are in the console, besides the human's, and in the ledger.
#[track_caller]
pub fn expect_nodes(site: &Site, names: &BTreeSet<String>) {
    let states = site.states();
    assert!(states.values().all(|state| state == "active"), "{states:?}");
    assert_eq!(states.into_keys().collect::<BTreeSet<_>>(), *names);
    let console = site.console();
    let there = console["nodes"].as_object().unwrap().keys().cloned();
    assert_eq!(there.filter(|name| name != crate::harness::processes::FOREIGN).collect::<BTreeSet<_>>(), *names);
    assert_eq!(site.proofs(), 0);
    site.expect_foreign_untouched();
}
