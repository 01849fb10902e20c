//! Clients: each has its own nodes, and no more than it needs.

use serde_json::{Value, json};

use crate::harness::{Answer, Site, node};

/// Asks with this key.
fn ask(site: &Site, psk: &str, method: &str, path: &str, body: Option<&str>) -> Answer {
    site.ask(method, path, body, &[&format!("X-ESPM-PSK: {psk}")])
}

fn post(site: &Site, psk: &str, body: &Value) -> Answer {
    ask(site, psk, "POST", "/v1/nodes", Some(&body.to_string()))
}

/// The parts of an answer that a client can tell apart. How a body is framed is a web server's own choice, by chance.
fn seen(answer: &Answer) -> (u16, Vec<(String, String)>, String) {
    let chance = ["date", "x-request-id", "content-length", "transfer-encoding"];
    let headers = answer.headers.iter().filter(|(name, _)| !chance.contains(&name.as_str()));
    (answer.status, headers.map(|(name, value)| (name.clone(), value.clone())).collect(), answer.body.clone())
}

/// All that a client can ask about a node.
const ABOUT: [(&str, &str, Option<&str>); 9] = [
    ("GET", "", None),
    ("HEAD", "", None),
    ("PATCH", "", Some(r#"{"parameters":{"role":"db"}}"#)),
    ("PATCH", "", Some("{")),
    ("DELETE", "", None),
    ("GET", "/certificate", None),
    ("POST", "/certificate", None),
    ("POST", "/certificate", Some(r#"{"x":1}"#)),
    ("DELETE", "/certificate", None),
];

#[test]
fn node_of_other_client_is_like_none() {
    let site = Site::open();
    let shown = site.add("web01").json();
    site.ask("POST", "/v1/nodes/web01/certificate", None, &[]).expect(201);
    let runs = (site.runs("console").len(), site.runs("ca").len());
    for (method, rest, body) in ABOUT {
        let of = |name: &str| seen(&site.ask_as_other(method, &format!("/v1/nodes/{name}{rest}"), body, &[]));
        assert_eq!(of("web01"), of("web99"), "{method} {rest}");
        assert_eq!(of("web01").0, 404, "{method} {rest}");
    }
    assert_eq!((site.runs("console").len(), site.runs("ca").len()), runs);
    assert_eq!(site.get("/v1/nodes/web01").expect(200).json(), shown);
    site.get("/v1/nodes/web01/certificate").expect(200);
    site.delete("/v1/nodes/web01").expect(204);
    // A name that is free is the first client's that asks for it.
    site.ask_as_other("POST", "/v1/nodes", Some(r#"{"name":"web01"}"#), &[]).expect(201);
    site.get("/v1/nodes/web01").expect(404);
}

#[test]
fn name_of_other_client_is_taken_at_once() {
    let site = Site::open();
    site.add("web01");
    site.fault("console", "die_before_node_del", "once");
    site.delete("/v1/nodes/web01").expect(502);
    site.ask_as_other("GET", "/v1/classes", None, &[]).expect(200);
    site.ask_as_other("GET", "/v1/groups", None, &[]).expect(200);
    let (before, runs) = (site.unfinished(), site.runs("console").len());
    assert_eq!(before["web01"], "deleting");
    let add = || site.ask_as_other("POST", "/v1/nodes", Some(&node("web01").to_string()), &[]);
    assert_eq!(add().expect(409).problem(), "name-taken");
    // Nor is a request of the other client's waited for.
    let lock = std::fs::File::create(site.dir.join("state/locks/node.web01")).unwrap();
    lock.lock().unwrap();
    assert_eq!(add().expect(409).problem(), "name-taken");
    drop(lock);
    assert_eq!((site.unfinished(), site.runs("console").len()), (before, runs));
}

/// A client that may do some things.
fn limited(site: &Site) -> String {
    site.add_client(&["limited", "--nodes", "web*", "--groups", "default, d*s", "--classes", "ntp*, apache::*"])
}

#[test]
fn what_client_may_not_is_403_with_every_field_and_no_pattern() {
    let site = Site::open();
    let psk = limited(&site);
    let body = json!({"name": "db01", "groups": ["default", "web servers", "none"], "classes": ["mysql", "ntp", "x"]});
    let refused = post(&site, &psk, &body);
    assert_eq!(refused.expect(403).problem(), "forbidden");
    assert_eq!(refused.fields(), ["name", "groups[1]", "groups[2]", "classes[0]", "classes[2]"]);
    assert!(!refused.body.contains('*'), "{refused:?}");
    // Whether the console knows a name is not told.
    let details: Vec<String> =
        refused.json()["errors"].as_array().unwrap().iter().map(|e| e["detail"].to_string()).collect();
    assert_eq!(details[3].replace("mysql", "x"), details[4]);
    assert!(site.runs("console").is_empty() && site.states().is_empty());

    post(&site, &psk, &json!({"name": "web01", "groups": ["databases"], "classes": ["ntp"]})).expect(201);
    let change = |body: &Value| ask(&site, &psk, "PATCH", "/v1/nodes/web01", Some(&body.to_string()));
    assert_eq!(change(&json!({"classes": ["ntp", "mysql"]})).expect(403).fields(), ["classes[1]"]);
    change(&json!({"classes": ["ntp", "apache::mod::ssl"], "parameters": {"any": "1"}})).expect(200);
}

#[test]
fn right_that_is_taken_away_leaves_what_node_has() {
    let site = Site::open();
    let psk = limited(&site);
    post(&site, &psk, &json!({"name": "web01", "groups": ["databases"], "classes": ["ntp"]})).expect(201);
    ask(&site, &psk, "POST", "/v1/nodes/web01/certificate", None).expect(201);
    for line in ["groups = default", "classes = apache*", "nodes = db*"] {
        site.configure("client limited", line);
    }
    let change = |body: &Value| ask(&site, &psk, "PATCH", "/v1/nodes/web01", Some(&body.to_string()));
    let changed = json!({"classes": ["ntp", "apache"], "groups": ["databases", "default"]});
    assert_eq!(change(&changed).expect(200).json()["classes"], json!(["ntp", "apache"]));
    change(&json!({"classes": ["apache"]})).expect(200);
    assert_eq!(change(&json!({"classes": ["apache", "ntp"]})).expect(403).fields(), ["classes[1]"]);
    change(&json!({"parameters": {"a": "1"}})).expect(200);
    // To delete it is always allowed, and takes the certificate.
    site.configure("client limited", "may = nodes");
    ask(&site, &psk, "DELETE", "/v1/nodes/web01/certificate", None).expect(403);
    ask(&site, &psk, "DELETE", "/v1/nodes/web01", None).expect(204);
    assert_eq!(site.count("ca", "revoke"), 1);
}

#[test]
fn list_has_what_client_may_assign_and_console_is_asked_once() {
    let site = Site::open();
    site.ask_for_lists();
    let psk = limited(&site);
    let runs = site.runs("console").len();
    let names = |list: &str, psk: &str| {
        let answer = ask(&site, psk, "GET", &format!("/v1/{list}"), None);
        (answer.expect(200).json()[list].clone(), answer.header("etag").to_owned(), answer.json()["as_of"].clone())
    };
    for (list, cut) in [("classes", json!(["apache::mod::ssl", "ntp"])), ("groups", json!(["databases", "default"]))] {
        let (whole, tag, as_of) = names(list, &site.psk);
        let (own, own_tag, own_as_of) = names(list, &psk);
        assert_eq!((&own, own_as_of), (&cut, as_of), "{list}");
        assert!(whole.as_array().unwrap().len() > 3 && tag != own_tag, "{list}");
        for (tag, status) in [(own_tag, 304), (tag, 200)] {
            let headers = [format!("X-ESPM-PSK: {psk}"), format!("If-None-Match: {tag}")];
            site.ask("GET", &format!("/v1/{list}"), None, &headers.each_ref().map(String::as_str)).expect(status);
        }
    }
    assert_eq!(site.runs("console").len(), runs);
}

#[test]
fn twin_that_client_may_not_see_is_not_named() {
    let site = Site::open();
    site.rake(&["nodeclass:add", "name=nTp"]);
    let psk = limited(&site);
    let refused = post(&site, &psk, &json!({"name": "web01", "classes": ["ntp"]}));
    assert_eq!(refused.expect(422).fields(), ["classes[0]"]);
    assert!(!refused.body.contains("nTp") && refused.body.contains("and another may be one name"), "{refused:?}");
    let refused = site.post("/v1/nodes", &json!({"name": "web01", "classes": ["ntp"]}));
    assert!(refused.expect(422).body.contains("nTp"), "{refused:?}");
}

#[test]
fn each_operation_needs_its_right() {
    let site = Site::open();
    let psk = site.add_client(&["narrow"]);
    post(&site, &psk, &json!({"name": "web01"})).expect(201);
    let all = [
        ("list", "GET", "/v1/classes"),
        ("list", "HEAD", "/v1/classes"),
        ("list", "GET", "/v1/groups"),
        ("nodes", "POST", "/v1/nodes"),
        ("nodes", "GET", "/v1/nodes/web01"),
        ("nodes", "PATCH", "/v1/nodes/web01"),
        ("certificates", "POST", "/v1/nodes/web01/certificate"),
        ("certificates", "GET", "/v1/nodes/web01/certificate"),
        ("certificates", "DELETE", "/v1/nodes/web01/certificate"),
        ("nodes", "DELETE", "/v1/nodes/web01"),
    ];
    for may in ["list", "nodes", "certificates"] {
        site.configure("client narrow", &format!("may = {may}"));
        for (_, method, path) in all.iter().filter(|(needed, ..)| *needed != may) {
            let refused = ask(&site, &psk, method, path, None);
            assert!(*method == "HEAD" || refused.problem() == "forbidden", "{may} {method} {path}: {refused:?}");
            refused.expect(403);
            // Whether there is such a node is not told.
            assert_eq!(seen(&refused), seen(&ask(&site, &psk, method, &path.replace("web01", "web99"), None)));
        }
        for (_, method, path) in all.iter().filter(|(needed, ..)| *needed == may) {
            assert_ne!(ask(&site, &psk, method, path, None).status, 403, "{may} {method} {path}");
        }
        ask(&site, &psk, "GET", "/v1/openapi.json", None).expect(200);
    }
    assert!(!site.states().contains_key("web01"));
}

#[test]
fn client_has_no_more_nodes_than_it_may() {
    let site = Site::open();
    let psk = site.add_client(&["small", "--most", "2"]);
    let keyed = |key: &str, name: &str| {
        let headers = [format!("X-ESPM-PSK: {psk}"), format!("Idempotency-Key: {key}")];
        let headers = headers.each_ref().map(String::as_str);
        site.ask("POST", "/v1/nodes", Some(&json!({"name": name}).to_string()), &headers)
    };
    keyed("a", "web01").expect(201);
    site.fault("console", "die_after_commit_node_add", "once");
    keyed("b", "web02").expect(502);
    let full = keyed("c", "web03");
    assert_eq!(full.expect(403).problem(), "quota");
    assert!(full.json()["detail"].as_str().unwrap().contains("has 2 nodes, and may have 2"), "{full:?}");
    keyed("a", "web01").expect(201);
    // One of which nobody knows whose it is counts.
    ask(&site, &psk, "GET", "/v1/nodes/web02", None).expect(404);
    assert_eq!(site.unfinished()["web02"], "unproven");
    assert_eq!(keyed("c", "web03").expect(403).problem(), "quota");
    ask(&site, &psk, "PATCH", "/v1/nodes/web01", Some(r#"{"classes":["ntp"]}"#)).expect(200);
    ask(&site, &psk, "DELETE", "/v1/nodes/web01", None).expect(204);
    keyed("c", "web03").expect(201);
    site.ask_as_other("POST", "/v1/nodes", Some(r#"{"name":"web04"}"#), &[]).expect(201);
}

#[test]
fn own_unfinished_addition_is_settled_before_it_counts() {
    let site = Site::open();
    let psk = site.add_client(&["small", "--most", "1"]);
    let headers = [format!("X-ESPM-PSK: {psk}"), "Idempotency-Key: a".to_owned()];
    let headers = headers.each_ref().map(String::as_str);
    let add = || site.ask("POST", "/v1/nodes", Some(r#"{"name":"web01"}"#), &headers);
    site.fault("console", "die_before_node_add", "once");
    add().expect(502);
    add().expect(201);
}
