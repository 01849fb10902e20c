//! The warm console: what its worker may do, and what is when it is not there, dies or is lied to.

mod lifecycle;
mod rails;
mod socket;
mod tasks;

use serde_json::{Value, json};

use crate::harness::worker::Temperature;
use crate::harness::{Answer, Plan, Shop};

/// A shop with a worker, its lists asked for.
fn warm() -> Shop {
    with(vec![])
}

fn with(ini: Vec<(&'static str, &'static str)>) -> Shop {
    let shop = Shop::with(Plan { console: Temperature::Warm, ini, ..Plan::default() });
    shop.ask_for_lists();
    shop
}

fn web01() -> Value {
    json!({"name": "web01", "groups": ["web servers"], "classes": ["apache"], "parameters": {"role": "web"}})
}

fn add(shop: &Shop) -> Answer {
    shop.ask("POST", "/v1/nodes", Some(&web01().to_string()), &["Idempotency-Key: web01"])
}

/// Why rake was started for a request, as its records say; empty when the worker did it.
fn cold(shop: &Shop, answer: &Answer) -> String {
    let records = shop.records_of(answer);
    let result = records.iter().find(|record| record.contains("took_ms=")).unwrap();
    let causes = records.iter().filter(|record| record.contains("outcome=cause") && record.contains("console worker"));
    let cause = causes.cloned().collect::<String>();
    assert_eq!(result.contains("console=cold"), !cause.is_empty(), "{records:?}");
    cause
}

#[track_caller]
fn expect_warm(shop: &Shop, answer: &Answer) {
    assert_eq!(cold(shop, answer), "");
}

/// An add whose run stops at a point, where something is done; the answer, once it has gone on.
fn add_at(shop: &Shop, point: &str, meanwhile: impl FnOnce()) -> Answer {
    shop.paused(point, || add(shop), meanwhile)
}
