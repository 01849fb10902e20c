//! Nodes, classes and groups at every release of the console.

use serde_json::{Value, json};

use crate::harness::processes::FOREIGN;
use crate::harness::{Plan, Site};

fn site_of(release: &'static str) -> Site {
    Site::with(Plan { release, ..Plan::default() })
}

fn web01() -> Value {
    json!({"name": "web01", "groups": ["web servers"], "classes": ["apache", "ntp"], "parameters": {"role": "web"}})
}

#[test]
fn added_node_is_in_console_until_deleted() {
    let site = Site::open();
    let classes = site.get("/v1/classes");
    classes.expect(200);
    assert_eq!(classes.json()["classes"], json!(["apache", "apache::mod::ssl", "mysql", "ntp"]));
    let body = json!({"name": "web01.example.com", "groups": ["web servers"], "classes": ["apache"], "parameters": {"role": "web"}});
    let added = site.post("/v1/nodes", &body);
    added.expect(201);
    assert_eq!(added.json(), body);
    assert_eq!(added.header("location"), "/v1/nodes/web01.example.com");
    site.expect_in_console(&body);
    assert_eq!(site.get("/v1/nodes/web01.example.com").expect(200).json(), body);
    site.delete("/v1/nodes/web01.example.com").expect(204);
    assert!(site.node_in_console("web01.example.com").is_null());
    site.delete("/v1/nodes/web01.example.com").expect(404);
    site.get("/v1/nodes/web01.example.com").expect(404);
    site.expect_foreign_untouched();
}

/// Adds, changes and deletes a node at a console of that release; each time the console has exactly
/// what the answer says, above all no second row of a parameter.
fn the_whole_job_at(release: &'static str, parameters: bool) {
    let site = site_of(release);
    let mut node = web01();
    if !parameters {
        node["parameters"] = json!({});
    }
    site.post("/v1/nodes", &node).expect(201);
    site.expect_in_console(&node);
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
        let changed = site.patch("/v1/nodes/web01", &change);
        assert_eq!(changed.expect(200).json(), node, "{change}");
        site.expect_in_console(&node);
        assert_eq!(site.get("/v1/nodes/web01").expect(200).json(), node);
    }
    site.delete("/v1/nodes/web01").expect(204);
    assert!(site.node_in_console("web01").is_null());
    assert!(site.states().is_empty());
    assert_eq!(site.proofs(), 0);
    site.expect_foreign_untouched();
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
fn change_that_rebuilds_node_is_noted() {
    for (release, change, rebuilds) in [
        ("1.2.8", json!({"groups": []}), false),
        ("1.2.9", json!({"groups": ["default"], "classes": ["apache", "ntp"]}), false),
        ("1.2.8", json!({"groups": [], "classes": []}), true),
        ("1.2.8", json!({"parameters": {"role": "db"}}), true),
        ("1.2.23", json!({"groups": [], "parameters": {"role": "db"}}), false),
        ("1.2.23", json!({"parameters": {"role": null}}), true),
    ] {
        let site = site_of(release);
        site.post("/v1/nodes", &web01()).expect(201);
        site.rake(&["node:parameters", "name=web01", "parameters=owner=human"]);
        let changed = site.patch("/v1/nodes/web01", &change);
        changed.expect(200);
        let noted = site.records_of(&changed).iter().any(|record| record.contains(" note=rebuilt "));
        let parameters = site.node_in_console("web01")["parameters"].clone();
        let has_humans = parameters.as_array().unwrap().contains(&json!(["owner", "human"]));
        assert_eq!((noted, has_humans), (rebuilds, !rebuilds), "{release} {change}");
    }
}

#[test]
fn parameters_at_console_1_2_2_are_422() {
    let site = site_of("1.2.2");
    let refused = site.post("/v1/nodes", &web01());
    assert_eq!(refused.expect(422).fields(), ["parameters"]);
    assert!(refused.body.contains("before 1.2.7"), "{refused:?}");
    site.post("/v1/nodes", &json!({"name": "web01"})).expect(201);
    let refused = site.patch("/v1/nodes/web01", &json!({"parameters": {"role": "web"}}));
    assert_eq!(refused.expect(422).fields(), ["parameters"]);
    site.patch("/v1/nodes/web01", &json!({"parameters": {"role": null}})).expect(200);
}

#[test]
fn all_errors_of_request_are_in_one_422() {
    let site = Site::open();
    let refused = site.post(
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
    assert_eq!(site.changing_runs(), 0);

    site.add("web01");
    let runs = site.changing_runs();
    let before = site.node_in_console("web01");
    let refused = site.patch("/v1/nodes/web01", &json!({"classes": ["ntp", "gone"], "groups": ["nope"]}));
    let mut fields = refused.expect(422).fields();
    fields.sort_unstable();
    assert_eq!(fields, ["classes[1]", "groups[0]"]);
    assert_eq!((site.changing_runs(), site.node_in_console("web01")), (runs, before));
}

#[test]
fn more_parameters_than_console_sets_in_time_are_422() {
    let site = Site::open();
    let parameters = |range: std::ops::Range<u32>| -> Value {
        range.map(|number| (format!("p{number}"), json!("1"))).collect::<serde_json::Map<_, _>>().into()
    };
    let add = |many| site.post("/v1/nodes", &json!({"name": "web01", "parameters": parameters(0..many)}));
    let refused = add(501);
    assert_eq!(refused.expect(422).fields(), ["parameters"]);
    assert!(refused.body.contains("at most 500"), "{refused:?}");
    assert_eq!(site.changing_runs(), 0);
    add(500).expect(201);
    let change = |parameters: Value| site.patch("/v1/nodes/web01", &json!({"parameters": parameters}));
    assert_eq!(change(json!({"more": "1"})).expect(422).fields(), ["parameters"]);
    change(json!({"more": "1", "p0": null})).expect(200);
}

#[test]
fn group_with_comma_is_listed_but_422_in_node() {
    let site = Site::open();
    assert!(site.get("/v1/groups").json()["groups"].as_array().unwrap().contains(&json!("a,b")));
    let refused = site.post("/v1/nodes", &json!({"name": "web01", "groups": ["a,b"]}));
    assert_eq!(refused.expect(422).fields(), ["groups[0]"]);
    assert!(refused.body.contains("comma"), "{refused:?}");
    assert_eq!(site.changing_runs(), 0);
}

#[test]
fn class_newer_than_cached_list_is_accepted() {
    let site = Site::open();
    site.get("/v1/classes").expect(200);
    site.get("/v1/groups").expect(200);
    site.rake(&["nodeclass:add", "name=nginx"]);
    site.rake(&["nodegroup:add", "name=edge"]);
    let node = json!({"name": "web01", "groups": ["edge"], "classes": ["nginx"], "parameters": {}});
    site.post("/v1/nodes", &node).expect(201);
    site.expect_in_console(&node);
}

#[test]
fn class_or_group_deleted_during_run_is_422() {
    for release in ["1.2.8", "1.2.9", "1.2.23", "3.0"] {
        let site = site_of(release);
        site.get("/v1/classes").expect(200);
        site.get("/v1/groups").expect(200);
        site.fault("console", "vanish_class.once", "apache");
        let refused = site.post("/v1/nodes", &json!({"name": "web01", "classes": ["ntp", "apache"]}));
        assert_eq!(refused.expect(422).fields(), ["classes[1]"], "{release}");
        assert!(site.node_in_console("web01").is_null(), "{release}");
        site.get("/v1/nodes/web01").expect(404);
        assert!(site.states().is_empty(), "{release}");

        let node = json!({
            "name": "web02", "groups": ["default"], "classes": ["ntp"], "parameters": {"role": "web"}
        });
        site.post("/v1/nodes", &node).expect(201);
        site.fault("console", "vanish_group.once", "web servers");
        let change = json!({"groups": ["web servers"], "classes": ["mysql"], "parameters": {"role": "x", "zone": "1"}});
        let refused = site.patch("/v1/nodes/web02", &change);
        assert_eq!(refused.expect(422).fields(), ["groups[0]"], "{release}");
        site.expect_in_console(&node);
        assert_eq!(site.get("/v1/nodes/web02").expect(200).json(), node, "{release}");
        assert!(site.unfinished().is_empty(), "{release}");
        site.expect_foreign_untouched();
    }
}

#[test]
fn lost_group_that_was_not_sent_stops_no_other_change_and_is_named() {
    for release in ["1.2.8", "1.2.23", "3.0"] {
        let site = site_of(release);
        let mut node = web01();
        site.post("/v1/nodes", &node).expect(201);
        site.fault("console", "vanish_group.once", "web servers");
        let changed = site.patch("/v1/nodes/web01", &json!({"parameters": {"role": "db"}}));
        node["parameters"] = json!({"role": "db"});
        assert_eq!(changed.expect(200).json(), node, "{release}");
        assert!(site.records_of(&changed).iter().any(|record| record.contains(" lost=\"web servers\"")), "{release}");
        node["groups"] = json!([]);
        site.expect_in_console(&node);
        let refused = site.patch("/v1/nodes/web01", &json!({"groups": ["default", "web servers"]}));
        assert_eq!(refused.expect(422).fields(), ["groups[1]"], "{release}");
        assert!(refused.body.contains("\\\"web servers\\\" is not in the console"), "{refused:?}");
        site.patch("/v1/nodes/web01", &json!({"groups": ["default"]})).expect(200);
        assert!(site.unfinished().is_empty(), "{release}");
    }
}

#[test]
fn post_of_taken_name_is_409() {
    let site = Site::open();
    site.add("web01");
    for release in ["1.2.8", "3.0"] {
        site.configure("console", if release == "3.0" { "release = 3.0" } else { "release = 1.2.7" });
        site.write("console/release", release);
        site.restart_worker();
        for name in [FOREIGN, "web01"] {
            let refused = site.post("/v1/nodes", &json!({"name": name, "parameters": {"role": "x"}}));
            assert_eq!((refused.expect(409).problem().as_str(), refused.header("retry-after")), ("name-taken", ""));
        }
        // The console's check has let both through, and its database refuses the second.
        for race in ["", "duplicate"] {
            site.fault("console", "race", race);
            site.post("/v1/nodes", &json!({"name": FOREIGN})).expect(409);
        }
        site.no_faults("console");
        assert_eq!(site.node_in_console("web01")["parameters"], json!([["role", "web"]]));
        site.expect_foreign_untouched();
        assert!(site.unfinished().is_empty());
    }
}

#[test]
fn node_of_human_is_404_for_every_request() {
    let site = Site::open();
    for name in [FOREIGN, "never-was"] {
        let node = format!("/v1/nodes/{name}");
        let answers = [
            site.get(&node),
            site.ask("HEAD", &node, None, &[]),
            site.patch(&node, &json!({"groups": []})),
            site.ask("PATCH", &node, Some("no JSON"), &["Content-Type: text/plain"]),
            site.delete(&node),
            site.ask("POST", &format!("{node}/certificate"), None, &[]),
            site.get(&format!("{node}/certificate")),
            site.delete(&format!("{node}/certificate")),
        ];
        for answer in answers {
            answer.expect(404);
        }
    }
    let body = |name: &str| site.get(&format!("/v1/nodes/{name}")).body;
    assert_eq!(body(FOREIGN), body("never-was"));
    assert!(site.runs("console").is_empty() && site.runs("ca").is_empty());
    site.expect_foreign_untouched();
}

#[test]
fn node_deleted_by_hand_is_forgotten_when_seen() {
    let site = Site::open();
    for (name, method) in [("web01", "PATCH"), ("web02", "DELETE")] {
        site.add(name);
        site.rake(&["node:del", &format!("name={name}")]);
        let path = format!("/v1/nodes/{name}");
        let runs = site.changing_runs();
        match method {
            "PATCH" => site.patch(&path, &json!({"classes": []})).expect(404),
            _ => site.delete(&path).expect(204),
        };
        assert_eq!(site.changing_runs(), runs, "nothing was there to be changed");
        assert!(site.states().is_empty());
        // What a human makes again under the name is the human's.
        site.rake(&["node:add", &format!("name={name}"), "groups=default"]);
        site.delete(&path).expect(404);
        site.patch(&path, &json!({"groups": []})).expect(404);
        assert_eq!(site.node_in_console(name)["groups"], json!(["default"]));
    }
}

#[test]
fn name_differing_in_case_is_another_node() {
    let site = Site::open();
    site.fault("console", "mysql", "");
    for method in ["DELETE", "PATCH"] {
        site.add("web01");
        site.rake(&["node:del", "name=web01"]);
        site.rake(&["node:add", "name=WEB01", "groups=databases"]);
        let (before, runs) = (site.console(), site.changing_runs());
        match method {
            "PATCH" => site.patch("/v1/nodes/web01", &json!({"groups": []})).expect(404),
            _ => site.delete("/v1/nodes/web01").expect(204),
        };
        assert_eq!((site.console(), site.changing_runs()), (before.clone(), runs), "{method}");
        site.post("/v1/nodes", &web01()).expect(409);
        assert_eq!(site.console(), before);
        assert!(site.states().is_empty());
        site.rake(&["node:del", "name=WEB01"]);
    }
}

#[test]
fn head_answers_like_get_without_body() {
    let site = Site::open();
    site.add("web01");
    for path in ["/v1/classes", "/v1/groups", "/v1/nodes/web01", "/v1/nodes/none", "/v1/health"] {
        let (get, head) = (site.get(path), site.ask("HEAD", path, None, &[]));
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
        let site = site_of(release);
        site.get("/v1/classes").expect(200);
        for fault in ["noise", "garbage", "fork_child"] {
            site.fault("console", fault, "");
            let mut node = web01();
            site.post("/v1/nodes", &node).expect(201);
            site.expect_in_console(&node);
            node["groups"] = json!(["default"]);
            site.patch("/v1/nodes/web01", &json!({"groups": ["default"]})).expect(200);
            site.expect_in_console(&node);
            site.delete("/v1/nodes/web01").expect(204);
            assert!(site.node_in_console("web01").is_null(), "{fault}");
            site.no_faults("console");
        }
        assert!(site.states().is_empty());
    }
}
