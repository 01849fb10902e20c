//! The warm console: the tasks of its worker, and requests when it is absent, dies or is replaced.

mod lifecycle;
mod rails;
mod socket;
mod tasks;

use serde_json::{Value, json};

use crate::harness::worker::Temperature;
use crate::harness::{Answer, Plan, Site};

/// A site with a worker, its lists asked for.
fn warm() -> Site {
    with(vec![])
}

fn with(ini: Vec<(&'static str, &'static str)>) -> Site {
    let site = Site::with(Plan { console: Temperature::Warm, ini, ..Plan::default() });
    site.ask_for_lists();
    site
}

fn web01() -> Value {
    json!({"name": "web01", "groups": ["web servers"], "classes": ["apache"], "parameters": {"role": "web"}})
}

fn add(site: &Site) -> Answer {
    site.ask("POST", "/v1/nodes", Some(&web01().to_string()), &["Idempotency-Key: web01"])
}

/// Why rake was started for a request, as its records say; empty when the worker did it.
fn cold(site: &Site, answer: &Answer) -> String {
    let records = site.records_of(answer);
    let result = records.iter().find(|record| record.contains("took_ms=")).unwrap();
    let causes = records.iter().filter(|record| record.contains("outcome=cause") && record.contains("console worker"));
    let cause = causes.cloned().collect::<String>();
    assert_eq!(result.contains("console=cold"), !cause.is_empty(), "{records:?}");
    cause
}

#[track_caller]
fn expect_warm(site: &Site, answer: &Answer) {
    assert_eq!(cold(site, answer), "");
}

/// An add whose run stops at a point, where something is done; the answer, once it has gone on.
fn add_at(site: &Site, point: &str, meanwhile: impl FnOnce()) -> Answer {
    site.paused(point, || add(site), meanwhile)
}
