//! Idempotency keys: a retry gets the first answer.

use serde_json::{Value, json};

use crate::harness::{Answer, Site};

/// Asks for a node with a key.
fn keyed(site: &Site, key: &str, body: &Value) -> Answer {
    site.ask("POST", "/v1/nodes", Some(&body.to_string()), &[&format!("Idempotency-Key: {key}")])
}

#[test]
fn retry_with_same_key_gets_first_answer_and_makes_no_second_node() {
    let site = Site::open();
    let body = json!({"name": "web01", "groups": ["default"], "classes": [], "parameters": {"role": "web"}});
    let first = keyed(&site, "order-1", &body);
    first.expect(201);
    for _ in 0..2 {
        let again = keyed(&site, "order-1", &body);
        assert_eq!((again.expect(201).json(), again.header("location")), (first.json(), first.header("location")));
    }
    assert_eq!(site.count("console", "node:add"), 1);
    let other = keyed(&site, "order-1", &json!({"name": "web02"}));
    assert_eq!(other.expect(422).problem(), "idempotency-key-reused");
    keyed(&site, "order-2", &body).expect(409);
    assert!(site.node_in_console("web02").is_null());

    // Of whatever else the body holds, only the bytes count.
    site.patch("/v1/nodes/web01", &json!({"groups": []})).expect(200);
    assert_eq!(keyed(&site, "order-1", &body).expect(201).json(), first.json());

    // With its node the key is free again.
    site.delete("/v1/nodes/web01").expect(204);
    keyed(&site, "order-1", &body).expect(201);
    assert_eq!(site.count("console", "node:add"), 2, "both by POST");
}

#[test]
fn idempotency_key_of_refused_request_is_free_for_correction() {
    let site = Site::open();
    keyed(&site, "order-1", &json!({"name": "web01", "groups": ["nope"]})).expect(422);
    keyed(&site, "order-1", &json!({"name": "foreign.example.com"})).expect(409);
    keyed(&site, "order-1", &json!({"name": "web01", "groups": ["default"]})).expect(201);
}

#[test]
fn retry_during_first_request_is_503() {
    let site = Site::open();
    let body = json!({"name": "web01"});
    let first = site.paused(
        "before_node_add",
        || keyed(&site, "order-1", &body),
        || {
            let retry = keyed(&site, "order-1", &body);
            assert_eq!(retry.expect(503).problem(), "busy");
            assert_ne!(retry.header("retry-after"), "");
            keyed(&site, "order-1", &json!({"name": "web02"})).expect(422);
        },
    );
    first.expect(201);
    keyed(&site, "order-1", &body).expect(201);
    assert_eq!(site.count("console", "node:add"), 1);
}

#[test]
fn idempotency_key_outside_visible_ascii_or_255_characters_is_400() {
    let site = Site::open();
    for bad in ["a b", "é", &"x".repeat(256)] {
        keyed(&site, bad, &json!({"name": "web01"})).expect(400);
    }
    assert!(site.runs("console").is_empty());
    keyed(&site, &"~".repeat(255), &json!({"name": "web01"})).expect(201);
    for name in ["web02", "web03"] {
        let body = json!({"name": name}).to_string();
        // Without a value it is none.
        site.ask("POST", "/v1/nodes", Some(&body), &["Idempotency-Key;"]).expect(201);
    }
}

#[test]
fn same_idempotency_key_of_other_client_is_another_key() {
    let site = Site::open();
    keyed(&site, "order-1", &json!({"name": "web01"})).expect(201);
    let answer = site.ask_as_other("POST", "/v1/nodes", Some(r#"{"name": "web02"}"#), &["Idempotency-Key: order-1"]);
    assert_eq!(answer.expect(201).json()["name"], "web02");
    assert!(site.records_of(&answer).iter().all(|record| record.contains("client=other")));
}
