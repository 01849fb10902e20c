//! The lists of classes and groups, and the keys of retries: what is kept, and for how long.

use std::fs;
use std::thread;

use serde_json::{Value, json};

use crate::shop::{Answer, Plan, Shop, run, wait_until};

/// A shop that keeps lists for an hour.
fn shop() -> Shop {
    Shop::with(Plan { ini: vec![("console", "cache = 3600")], ..Plan::default() })
}

fn unless_known(shop: &Shop, path: &str, tags: &str) -> Answer {
    shop.ask("GET", path, None, &[&format!("If-None-Match: {tags}")])
}

/// Rewrites the moment at which the kept list of classes was asked for.
fn date_the_kept_list(shop: &Shop, by_ms: i64) {
    let path = shop.dir.join("state/cache/classes");
    let text = fs::read_to_string(&path).unwrap();
    let (as_of, rest) = text.split_once(' ').unwrap();
    fs::write(&path, format!("{} {rest}", as_of.parse::<i64>().unwrap() + by_ms)).unwrap();
}

#[test]
fn a_list_is_asked_of_the_console_once_while_it_is_kept() {
    let shop = shop();
    let first = shop.get("/v1/groups");
    assert_eq!(
        first.expect(200).json()["groups"],
        json!(["Größe", "a,b", "databases", "default", "web servers"]),
        "in the console's order, as the console spells them"
    );
    for _ in 0..3 {
        assert_eq!(shop.get("/v1/groups").body, first.body);
    }
    assert_eq!((shop.count("console", "nodegroup:list"), shop.runs("console").len()), (1, 1));
}

#[test]
fn no_cache_asks_the_console_anew_and_what_it_says_is_kept() {
    let shop = shop();
    let first = shop.get("/v1/classes");
    shop.rake(&["nodeclass:add", "name=nginx"]);
    assert_eq!(shop.get("/v1/classes").body, first.body);
    let fresh = shop.ask("GET", "/v1/classes", None, &["Cache-Control: no-cache"]);
    assert_eq!(fresh.json()["classes"], json!(["apache", "apache::mod::ssl", "mysql", "nginx", "ntp"]));
    assert_ne!(fresh.header("etag"), first.header("etag"));
    assert_eq!(shop.get("/v1/classes").body, fresh.body);
    assert_eq!(shop.count("console", "nodeclass:list"), 2);
}

#[test]
fn with_a_cache_of_0_seconds_no_answer_is_older_than_its_request() {
    let shop = Shop::open();
    shop.configure("console", "cache = 0");
    for runs in 1..3 {
        shop.get("/v1/classes").expect(200);
        assert_eq!(shop.runs("console").len(), runs);
    }
}

#[test]
fn with_a_cache_of_0_seconds_those_who_wait_share_the_next_run() {
    let shop = Shop::open();
    shop.configure("console", "cache = 0");
    shop.fault("console", "boot_ms", "1000");
    let runs = thread::scope(|scope| {
        let first = scope.spawn(|| shop.get("/v1/classes"));
        wait_until("the first run has begun", || shop.runs("console").len() == 1);
        let others: Vec<_> = (0..15).map(|_| scope.spawn(|| shop.get("/v1/classes"))).collect();
        for asked in others.into_iter().chain([first]) {
            asked.join().unwrap().expect(200);
        }
        shop.runs("console").len()
    });
    assert!((2..16).contains(&runs), "{runs}");
}

#[test]
fn a_kept_list_that_is_old_or_dated_in_the_future_or_damaged_is_not_used() {
    let shop = shop();
    shop.get("/v1/classes").expect(200);
    let mut runs = 1;
    for by_seconds in [3600, -3601] {
        date_the_kept_list(&shop, by_seconds * 1000);
        runs += 1;
        shop.get("/v1/classes").expect(200);
        shop.get("/v1/classes").expect(200);
        assert_eq!(shop.runs("console").len(), runs, "{by_seconds}");
    }
    for damaged in ["", "x", "x y\n{}", "\n"] {
        fs::write(shop.dir.join("state/cache/classes"), damaged).unwrap();
        runs += 1;
        assert_eq!(shop.get("/v1/classes").expect(200).json()["classes"][0], "apache");
        assert_eq!(shop.runs("console").len(), runs, "{damaged:?}");
    }
}

#[test]
fn many_who_ask_at_once_get_the_answer_of_one_run() {
    let shop = shop();
    thread::scope(|scope| {
        let asked: Vec<_> = (0..16).map(|_| scope.spawn(|| shop.get("/v1/classes"))).collect();
        let bodies: Vec<_> = asked.into_iter().map(|asked| asked.join().unwrap().expect(200).body.clone()).collect();
        assert!(bodies.iter().all(|body| *body == bodies[0]), "{bodies:?}");
    });
    assert_eq!(shop.runs("console").len(), 1);
}

#[test]
fn who_has_the_list_already_is_told_just_that() {
    let shop = shop();
    let listed = shop.get("/v1/classes");
    let tag = listed.header("etag").to_owned();
    assert!(tag.starts_with("W/\"") && tag.ends_with('"'), "{tag}");
    assert_eq!(listed.header("cache-control"), "no-store");
    let strong = tag.trim_start_matches("W/");
    for same in [tag.as_str(), strong, "*", &format!("\"other\", {tag}"), &format!("W/\"a\",{strong} , W/\"b\"")] {
        let answer = unless_known(&shop, "/v1/classes", same);
        assert_eq!((answer.expect(304).header("etag"), answer.body.as_str()), (tag.as_str(), ""), "{same}");
    }
    for other in ["\"other\"", "W/\"\"", "\"", strong.trim_matches('"')] {
        assert_eq!(unless_known(&shop, "/v1/classes", other).expect(200).body, listed.body, "{other}");
    }
    assert_eq!(shop.runs("console").len(), 1);

    // The tag is made of the names alone: a later list of the same names has the same tag.
    date_the_kept_list(&shop, -3_601_000);
    unless_known(&shop, "/v1/classes", &tag).expect(304);
    shop.rake(&["nodeclass:add", "name=nginx"]);
    date_the_kept_list(&shop, -3_601_000);
    unless_known(&shop, "/v1/classes", &tag).expect(200);
}

#[test]
fn a_console_that_fails_is_502_without_its_words_and_is_asked_again_next_time() {
    let shop = Shop::open();
    shop.fault("console", "abort", "once");
    let failed = shop.get("/v1/classes");
    assert_eq!(failed.expect(502).problem(), "command-failed");
    assert!(!failed.body.contains("Mysql") && !failed.body.contains("INSERT"), "{failed:?}");
    let log = shop.records_of(&failed).join("\n");
    assert!(log.contains("INSERT INTO"), "{log}");
    shop.get("/v1/classes").expect(200);
}

#[test]
fn a_flood_of_names_ends_the_run_and_is_502() {
    let shop = Shop::open();
    shop.fault("console", "flood", "once");
    shop.get("/v1/classes").expect(502);
    crate::shop::wait_until("the flood has ended", || shop.pids("rake").is_empty());
    shop.get("/v1/classes").expect(200);
}

/// Asks for a node with a key.
fn keyed(shop: &Shop, key: &str, body: &Value) -> Answer {
    shop.ask("POST", "/v1/nodes", Some(&body.to_string()), &[&format!("Idempotency-Key: {key}")])
}

#[test]
fn a_retry_with_the_same_key_gets_the_first_answer_and_makes_no_second_node() {
    let shop = Shop::open();
    let body = json!({"name": "web01", "groups": ["default"], "classes": [], "parameters": {"role": "web"}});
    let first = keyed(&shop, "order-1", &body);
    first.expect(201);
    for _ in 0..2 {
        let again = keyed(&shop, "order-1", &body);
        assert_eq!((again.expect(201).json(), again.header("location")), (first.json(), first.header("location")));
    }
    assert_eq!(shop.count("console", "node:add"), 1);
    let other = keyed(&shop, "order-1", &json!({"name": "web02"}));
    assert_eq!(other.expect(422).problem(), "idempotency-key-reused");
    keyed(&shop, "order-2", &body).expect(409);
    assert!(shop.node_in_console("web02").is_null());

    // Of whatever else the body holds, only the bytes count.
    shop.patch("/v1/nodes/web01", &json!({"groups": []})).expect(200);
    assert_eq!(keyed(&shop, "order-1", &body).expect(201).json(), first.json());

    // With its node the key is free again.
    shop.delete("/v1/nodes/web01").expect(204);
    keyed(&shop, "order-1", &body).expect(201);
    assert_eq!(shop.count("console", "node:add"), 3, "two of them by POST, one by the change");
}

#[test]
fn a_key_whose_request_was_refused_can_be_used_for_the_corrected_one() {
    let shop = Shop::open();
    keyed(&shop, "order-1", &json!({"name": "web01", "groups": ["nope"]})).expect(422);
    keyed(&shop, "order-1", &json!({"name": "foreign.example.com"})).expect(409);
    keyed(&shop, "order-1", &json!({"name": "web01", "groups": ["default"]})).expect(201);
}

#[test]
fn while_the_first_request_runs_its_retry_is_told_to_come_back() {
    let shop = Shop::open();
    let body = json!({"name": "web01"});
    let first = shop.paused(
        "before_node_add",
        || keyed(&shop, "order-1", &body),
        || {
            let retry = keyed(&shop, "order-1", &body);
            assert_eq!(retry.expect(503).problem(), "busy");
            assert_ne!(retry.header("retry-after"), "");
            keyed(&shop, "order-1", &json!({"name": "web02"})).expect(422);
        },
    );
    first.expect(201);
    keyed(&shop, "order-1", &body).expect(201);
    assert_eq!(shop.count("console", "node:add"), 1);
}

#[test]
fn a_key_is_1_to_255_visible_ascii_characters() {
    let shop = Shop::open();
    for bad in ["a b", "é", &"x".repeat(256)] {
        keyed(&shop, bad, &json!({"name": "web01"})).expect(400);
    }
    assert!(shop.runs("console").is_empty());
    keyed(&shop, &"~".repeat(255), &json!({"name": "web01"})).expect(201);
    for name in ["web02", "web03"] {
        let body = json!({"name": name}).to_string();
        // Without a value it is none.
        shop.ask("POST", "/v1/nodes", Some(&body), &["Idempotency-Key;"]).expect(201);
    }
}

#[test]
fn the_same_key_of_another_client_is_another_key() {
    let shop = Shop::open();
    let printed = run(std::process::Command::new(shop.bin("espm-setup"))
        .args(["psk", "add", "other", "--config"])
        .arg(shop.ini()));
    let psk = printed.lines().nth(2).unwrap().trim().to_owned();
    keyed(&shop, "order-1", &json!({"name": "web01"})).expect(201);
    let headers = [format!("X-ESPM-PSK: {psk}"), "Idempotency-Key: order-1".to_owned()];
    let headers: Vec<_> = headers.iter().map(String::as_str).collect();
    let answer = shop.ask("POST", "/v1/nodes", Some(r#"{"name": "web02"}"#), &headers);
    assert_eq!(answer.expect(201).json()["name"], "web02");
    assert!(shop.records_of(&answer).iter().all(|record| record.contains("client=other")));
}
