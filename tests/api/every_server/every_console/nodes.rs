//! The job at the console: nodes, classes and groups, through the web server and TLS.

use serde_json::{Value, json};

use crate::harness::processes::FOREIGN;
use crate::harness::{Plan, Shop};

fn shop_of(release: &'static str) -> Shop {
    Shop::with(Plan { release, ..Plan::default() })
}

fn web01() -> Value {
    json!({"name": "web01", "groups": ["web servers"], "classes": ["apache", "ntp"], "parameters": {"role": "web"}})
}

#[test]
fn added_node_is_in_console_until_deleted() {
    let shop = Shop::open();
    let classes = shop.get("/v1/classes");
    classes.expect(200);
    assert_eq!(classes.json()["classes"], json!(["apache", "apache::mod::ssl", "mysql", "ntp"]));
    let body = json!({"name": "web01.example.com", "groups": ["web servers"], "classes": ["apache"], "parameters": {"role": "web"}});
    let added = shop.post("/v1/nodes", &body);
    added.expect(201);
    assert_eq!(added.json(), body);
    assert_eq!(added.header("location"), "/v1/nodes/web01.example.com");
    shop.expect_in_console(&body);
    assert_eq!(shop.get("/v1/nodes/web01.example.com").expect(200).json(), body);
    shop.delete("/v1/nodes/web01.example.com").expect(204);
    assert!(shop.node_in_console("web01.example.com").is_null());
    shop.delete("/v1/nodes/web01.example.com").expect(404);
    shop.get("/v1/nodes/web01.example.com").expect(404);
    shop.expect_foreign_untouched();
}

/// Adds, changes and deletes a node at a console of that release; each time the console has exactly
/// what the answer says, above all no second row of a parameter.
fn the_whole_job_at(release: &'static str, parameters: bool) {
    let shop = shop_of(release);
    let mut node = web01();
    if !parameters {
        node["parameters"] = json!({});
    }
    shop.post("/v1/nodes", &node).expect(201);
    shop.expect_in_console(&node);
    let mut changes = vec![
        (json!({"groups": ["databases", "default"]}), json!({"groups": ["databases", "default"]})),
        (json!({"classes": ["mysql"]}), json!({"classes": ["mysql"]})),
        (json!({"groups": [], "classes": []}), json!({"groups": [], "classes": []})),
        (json!({"classes": ["ntp"], "groups": ["Größe"]}), json!({"classes": ["ntp"], "groups": ["Größe"]})),
        (json!({}), json!({})),
    ];
    if parameters {
        changes.extend([
            (json!({"parameters": {"tier": "1"}}), json!({"parameters": {"role": "web", "tier": "1"}})),
            (json!({"parameters": {"role": "db"}}), json!({"parameters": {"role": "db", "tier": "1"}})),
            (
                json!({"parameters": {"role": "a=b", "tier": null, "zone": "x"}}),
                json!({"parameters": {"role": "a=b", "zone": "x"}}),
            ),
            (json!({"parameters": {"role": null, "zone": null, "never": null}}), json!({"parameters": {}})),
            (
                json!({"parameters": {"role": "web"}, "groups": [], "classes": ["apache"]}),
                json!({"parameters": {"role": "web"}, "groups": [], "classes": ["apache"]}),
            ),
        ]);
    }
    for (change, expected) in changes {
        for (member, value) in expected.as_object().unwrap() {
            node[member] = value.clone();
        }
        let changed = shop.patch("/v1/nodes/web01", &change);
        assert_eq!(changed.expect(200).json(), node, "{change}");
        shop.expect_in_console(&node);
        assert_eq!(shop.get("/v1/nodes/web01").expect(200).json(), node);
    }
    shop.delete("/v1/nodes/web01").expect(204);
    assert!(shop.node_in_console("web01").is_null());
    assert!(shop.states().is_empty());
    assert_eq!(shop.proofs(), 0);
    shop.expect_foreign_untouched();
}

#[test]
fn console_1_2_2_adds_changes_and_deletes_node_without_parameters() {
    the_whole_job_at("1.2.2", false);
}

#[test]
fn console_1_2_8_adds_changes_and_deletes_node() {
    the_whole_job_at("1.2.8", true);
}

#[test]
fn console_1_2_9_adds_changes_and_deletes_node() {
    the_whole_job_at("1.2.9", true);
}

#[test]
fn console_1_2_23_adds_changes_and_deletes_node() {
    the_whole_job_at("1.2.23", true);
}

#[test]
fn console_3_0_adds_changes_and_deletes_node() {
    the_whole_job_at("3.0", true);
}

#[test]
fn parameters_at_console_1_2_2_are_422() {
    let shop = shop_of("1.2.2");
    let refused = shop.post("/v1/nodes", &web01());
    assert_eq!(refused.expect(422).fields(), ["parameters"]);
    assert!(refused.body.contains("before 1.2.7"), "{refused:?}");
    shop.post("/v1/nodes", &json!({"name": "web01"})).expect(201);
    let refused = shop.patch("/v1/nodes/web01", &json!({"parameters": {"role": "web"}}));
    assert_eq!(refused.expect(422).fields(), ["parameters"]);
    shop.patch("/v1/nodes/web01", &json!({"parameters": {"role": null}})).expect(200);
}

#[test]
fn all_errors_of_request_are_in_one_422() {
    let shop = Shop::open();
    let refused = shop.post(
        "/v1/nodes",
        &json!({
            "name": "WEB01", "groups": ["default", "nope", "Default"], "classes": ["gone", "ntp"],
            "parameters": {"a": "1,2", "b": "--- x", "C": "1"}, "extra": 1
        }),
    );
    let mut fields = refused.expect(422).fields();
    fields.sort_unstable();
    let expected =
        ["classes[0]", "extra", "groups[1]", "groups[2]", "name", "parameters.C", "parameters.a", "parameters.b"];
    assert_eq!(fields, expected);
    assert_eq!(refused.problem(), "invalid");
    assert_eq!(shop.changing_runs(), 0);

    shop.add("web01");
    let runs = shop.changing_runs();
    let before = shop.node_in_console("web01");
    let refused = shop.patch("/v1/nodes/web01", &json!({"classes": ["ntp", "gone"], "groups": ["nope"]}));
    let mut fields = refused.expect(422).fields();
    fields.sort_unstable();
    assert_eq!(fields, ["classes[1]", "groups[0]"]);
    assert_eq!((shop.changing_runs(), shop.node_in_console("web01")), (runs, before));
}

#[test]
fn group_with_comma_is_listed_but_422_in_node() {
    let shop = Shop::open();
    assert!(shop.get("/v1/groups").json()["groups"].as_array().unwrap().contains(&json!("a,b")));
    let refused = shop.post("/v1/nodes", &json!({"name": "web01", "groups": ["a,b"]}));
    assert_eq!(refused.expect(422).fields(), ["groups[0]"]);
    assert!(refused.body.contains("comma"), "{refused:?}");
    assert_eq!(shop.changing_runs(), 0);
}

#[test]
fn class_newer_than_cached_list_is_accepted() {
    let shop = Shop::open();
    shop.get("/v1/classes").expect(200);
    shop.get("/v1/groups").expect(200);
    shop.rake(&["nodeclass:add", "name=nginx"]);
    shop.rake(&["nodegroup:add", "name=edge"]);
    let node = json!({"name": "web01", "groups": ["edge"], "classes": ["nginx"], "parameters": {}});
    shop.post("/v1/nodes", &node).expect(201);
    shop.expect_in_console(&node);
}

#[test]
fn class_or_group_deleted_during_run_is_422() {
    for release in ["1.2.8", "1.2.9", "1.2.23", "3.0"] {
        let shop = shop_of(release);
        shop.get("/v1/classes").expect(200);
        shop.get("/v1/groups").expect(200);
        shop.fault("console", "vanish_class.once", "apache");
        let refused = shop.post("/v1/nodes", &json!({"name": "web01", "classes": ["ntp", "apache"]}));
        assert_eq!(refused.expect(422).fields(), ["classes[1]"], "{release}");
        assert!(shop.node_in_console("web01").is_null(), "{release}");
        shop.get("/v1/nodes/web01").expect(404);
        assert!(shop.states().is_empty(), "{release}");

        let node = json!({
            "name": "web02", "groups": ["default"], "classes": ["ntp"], "parameters": {"role": "web"}
        });
        shop.post("/v1/nodes", &node).expect(201);
        shop.fault("console", "vanish_group.once", "web servers");
        let change = json!({"groups": ["web servers"], "classes": ["mysql"], "parameters": {"role": "x", "zone": "1"}});
        let refused = shop.patch("/v1/nodes/web02", &change);
        assert_eq!(refused.expect(422).fields(), ["groups[0]"], "{release}");
        shop.expect_in_console(&node);
        assert_eq!(shop.get("/v1/nodes/web02").expect(200).json(), node, "{release}");
        assert!(shop.unfinished().is_empty(), "{release}");
        shop.expect_foreign_untouched();
    }
}

#[test]
fn post_of_taken_name_is_409() {
    let shop = Shop::open();
    shop.add("web01");
    for release in ["1.2.8", "3.0"] {
        shop.configure("console", if release == "3.0" { "release = 3.0" } else { "release = 1.2.7" });
        shop.write("console/release", release);
        shop.restart_worker();
        for name in [FOREIGN, "web01"] {
            let refused = shop.post("/v1/nodes", &json!({"name": name, "parameters": {"role": "x"}}));
            assert_eq!((refused.expect(409).problem().as_str(), refused.header("retry-after")), ("name-taken", ""));
        }
        // The console's check has let both through, and its database refuses the second.
        for race in ["", "duplicate"] {
            shop.fault("console", "race", race);
            shop.post("/v1/nodes", &json!({"name": FOREIGN})).expect(409);
        }
        shop.no_faults("console");
        assert_eq!(shop.node_in_console("web01")["parameters"], json!([["role", "web"]]));
        shop.expect_foreign_untouched();
        assert!(shop.unfinished().is_empty());
    }
}

#[test]
fn node_of_human_is_404_for_every_request() {
    let shop = Shop::open();
    for name in [FOREIGN, "never-was"] {
        let node = format!("/v1/nodes/{name}");
        let answers = [
            shop.get(&node),
            shop.ask("HEAD", &node, None, &[]),
            shop.patch(&node, &json!({"groups": []})),
            shop.ask("PATCH", &node, Some("no JSON"), &["Content-Type: text/plain"]),
            shop.delete(&node),
            shop.ask("POST", &format!("{node}/certificate"), None, &[]),
            shop.get(&format!("{node}/certificate")),
            shop.delete(&format!("{node}/certificate")),
        ];
        for answer in answers {
            answer.expect(404);
        }
    }
    let body = |name: &str| shop.get(&format!("/v1/nodes/{name}")).body;
    assert_eq!(body(FOREIGN), body("never-was"));
    assert!(shop.runs("console").is_empty() && shop.runs("ca").is_empty());
    shop.expect_foreign_untouched();
}

#[test]
fn node_deleted_by_hand_is_forgotten_when_seen() {
    let shop = Shop::open();
    for (name, method) in [("web01", "PATCH"), ("web02", "DELETE")] {
        shop.add(name);
        shop.rake(&["node:del", &format!("name={name}")]);
        let path = format!("/v1/nodes/{name}");
        let runs = shop.changing_runs();
        match method {
            "PATCH" => shop.patch(&path, &json!({"classes": []})).expect(404),
            _ => shop.delete(&path).expect(204),
        };
        assert_eq!(shop.changing_runs(), runs, "nothing was there to be changed");
        assert!(shop.states().is_empty());
        // What a human makes again under the name is the human's.
        shop.rake(&["node:add", &format!("name={name}"), "groups=default"]);
        shop.delete(&path).expect(404);
        shop.patch(&path, &json!({"groups": []})).expect(404);
        assert_eq!(shop.node_in_console(name)["groups"], json!(["default"]));
    }
}

#[test]
fn name_differing_in_case_is_another_node() {
    let shop = Shop::open();
    shop.fault("console", "mysql", "");
    for method in ["DELETE", "PATCH"] {
        shop.add("web01");
        shop.rake(&["node:del", "name=web01"]);
        shop.rake(&["node:add", "name=WEB01", "groups=databases"]);
        let (before, runs) = (shop.console(), shop.changing_runs());
        match method {
            "PATCH" => shop.patch("/v1/nodes/web01", &json!({"groups": []})).expect(404),
            _ => shop.delete("/v1/nodes/web01").expect(204),
        };
        assert_eq!((shop.console(), shop.changing_runs()), (before.clone(), runs), "{method}");
        shop.post("/v1/nodes", &web01()).expect(409);
        assert_eq!(shop.console(), before);
        assert!(shop.states().is_empty());
        shop.rake(&["node:del", "name=WEB01"]);
    }
}

#[test]
fn head_answers_like_get_without_body() {
    let shop = Shop::open();
    shop.add("web01");
    for path in ["/v1/classes", "/v1/groups", "/v1/nodes/web01", "/v1/nodes/none", "/v1/health"] {
        let (get, head) = (shop.get(path), shop.ask("HEAD", path, None, &[]));
        assert_eq!(head.status, get.status, "{path}");
        for field in ["content-type", "etag", "cache-control"] {
            assert_eq!(head.header(field), get.header(field), "{path} {field}");
        }
        assert!(head.body.is_empty() && !get.body.is_empty(), "{path}");
    }
}

#[test]
fn noise_garbage_and_leftover_children_of_rake_change_nothing() {
    for release in ["1.2.8", "1.2.23"] {
        let shop = shop_of(release);
        shop.get("/v1/classes").expect(200);
        for fault in ["noise", "garbage", "fork_child"] {
            shop.fault("console", fault, "");
            let mut node = web01();
            shop.post("/v1/nodes", &node).expect(201);
            shop.expect_in_console(&node);
            node["groups"] = json!(["default"]);
            shop.patch("/v1/nodes/web01", &json!({"groups": ["default"]})).expect(200);
            shop.expect_in_console(&node);
            shop.delete("/v1/nodes/web01").expect(204);
            assert!(shop.node_in_console("web01").is_null(), "{fault}");
            shop.no_faults("console");
        }
        assert!(shop.states().is_empty());
    }
}
