//! Doubt: commands that hang, flood or lie, humans who act meanwhile, and what the operator decides.

use serde_json::json;

use crate::harness::processes::FOREIGN;
use crate::harness::processes::limits;
use crate::harness::{Answer, Plan, Shop, node, wait_until};

fn rebuild(shop: &Shop) -> Answer {
    shop.patch("/v1/nodes/web01", &json!({"groups": ["databases"]}))
}

/// What a human makes of the name, unlike anything of espm's.
const HUMANS: [&str; 4] = ["node:add", "name=web01", "groups=web servers", "classes=mysql"];

/// The human's node is as the human made it, and espm does not know it.
#[track_caller]
fn expect_the_humans(shop: &Shop) {
    for _ in 0..2 {
        let there = json!({"groups": ["web servers"], "classes": ["mysql"], "parameters": []});
        assert_eq!(shop.node_in_console("web01"), there);
        shop.get("/v1/nodes/web01").expect(404);
        rebuild(shop).expect(404);
        shop.delete("/v1/nodes/web01").expect(404);
        shop.post("/v1/nodes", &node("web01")).expect(409);
    }
}

/// What a human should know is in the audit.
#[track_caller]
fn expect_note(shop: &Shop, note: &str) {
    let note = format!(" note={note} ");
    wait_until("the note is in the audit", || shop.audit().iter().any(|record| record.contains(&note)));
}

/// Makes a node of which nothing proves that it is espm's: rake has added it and died before it said so.
fn unproven() -> Shop {
    let shop = Shop::open();
    shop.fault("console", "die_after_commit_node_add", "once");
    shop.post("/v1/nodes", &node("web01")).expect(502);
    shop.get("/v1/nodes/web01").expect(404);
    expect_note(&shop, "unproven");
    assert_eq!(shop.unfinished()["web01"], "unproven");
    shop
}

#[test]
fn name_added_by_hand_during_rebuild_is_404() {
    // Before rake looks whether the name is there, and after.
    for point in ["after_node_del", "before_node_add"] {
        let shop = Shop::open();
        shop.add("web01");
        shop.paused(point, || rebuild(&shop), || shop.rake(&HUMANS)).expect(404);
        expect_the_humans(&shop);
        assert!(shop.states().is_empty());
        shop.expect_foreign_untouched();
    }
}

#[test]
fn name_added_by_hand_after_handler_of_rebuild_died_is_left_alone() {
    for point in ["after_node_del", "before_node_add"] {
        let shop = Shop::open();
        shop.add("web01");
        shop.stopped_at(point, || rebuild(&shop), || shop.kill_one("espm")).expect(500);
        shop.rake(&HUMANS);
        shop.go_on();
        expect_the_humans(&shop);
        assert!(shop.states().is_empty());
        expect_note(&shop, "taken-by-another");
    }
}

#[test]
fn name_added_by_hand_after_rake_died_in_rebuild_is_left_alone() {
    let shop = Shop::open();
    shop.add("web01");
    shop.fault("console", "die_after_node_del", "once");
    rebuild(&shop).expect(502);
    shop.rake(&HUMANS);
    expect_the_humans(&shop);
    assert_eq!(shop.unfinished()["web01"], "unproven");
    expect_note(&shop, "unproven");
}

#[test]
fn name_added_by_hand_after_rake_died_in_deletion_is_left_alone() {
    let shop = Shop::open();
    shop.add("web01");
    shop.fault("console", "die_after_node_del", "once");
    shop.delete("/v1/nodes/web01").expect(502);
    shop.rake(&HUMANS);
    expect_the_humans(&shop);
}

#[test]
fn name_added_by_hand_during_add_is_409() {
    let shop = Shop::open();
    let add = || shop.post("/v1/nodes", &node("web01"));
    shop.paused("before_node_add", add, || shop.rake(&HUMANS)).expect(409);
    expect_the_humans(&shop);
    assert!(shop.states().is_empty());
}

#[test]
fn node_is_busy_while_earlier_command_runs() {
    let shop = Shop::open();
    shop.add("web01");
    let runs = shop.changing_runs();
    shop.stopped_at("before_node_del", || rebuild(&shop), || shop.kill_one("espm")).expect(500);
    for answer in [rebuild(&shop), shop.delete("/v1/nodes/web01"), shop.post("/v1/nodes", &node("web01"))] {
        assert_eq!(answer.expect(503).problem(), "busy");
        assert_ne!(answer.header("retry-after"), "");
    }
    let output = shop.desk(&["check", "--settle"]);
    assert!(!output.status.success(), "{output:?}");
    assert_eq!(shop.changing_runs(), runs + 1);
    shop.go_on();
    rebuild(&shop).expect(200);
    assert_eq!(shop.node_in_console("web01")["groups"], json!(["databases"]));
}

#[test]
fn adopted_unproven_node_belongs_to_espm() {
    let shop = unproven();
    let output = shop.desk(&["adopt", "web01"]);
    assert!(output.status.success(), "{output:?}");
    assert!(shop.unfinished().is_empty());
    assert_eq!(shop.get("/v1/nodes/web01").expect(200).json(), node("web01"));
    shop.patch("/v1/nodes/web01", &json!({})).expect(200);
    shop.expect_in_console(&node("web01"));
    shop.delete("/v1/nodes/web01").expect(204);
    assert!(shop.node_in_console("web01").is_null());
    assert!(shop.audit().iter().any(|record| record.contains("event=operator.adopt outcome=ok")));
}

#[test]
fn forgotten_unproven_node_belongs_to_human() {
    let shop = unproven();
    let before = shop.node_in_console("web01");
    let output = shop.desk(&["forget", "web01"]);
    assert!(output.status.success(), "{output:?}");
    assert!(shop.states().is_empty());
    shop.get("/v1/nodes/web01").expect(404);
    shop.post("/v1/nodes", &node("web01")).expect(409);
    assert_eq!(shop.node_in_console("web01"), before);
    assert_eq!(shop.proofs(), 0);
    for words in [["forget", "web01"], ["adopt", "none"]] {
        assert!(!shop.desk(&words).status.success(), "{words:?}");
    }
}

#[test]
fn check_shows_unfinished_and_settles_on_request() {
    let shop = Shop::open();
    for name in ["web01", "web02", "web03", "web04", "web05"] {
        shop.add(name);
    }
    shop.rake(&["node:del", "name=web03"]);
    shop.fault("console", "die_after_commit_node_del", "once");
    shop.delete("/v1/nodes/web05").expect(502);
    shop.rake(&["node:add", "name=web05"]);
    shop.fault("console", "die_before_node_groups", "once");
    rebuild(&shop).expect(502);
    shop.fault("console", "die_after_commit_node_del", "once");
    shop.delete("/v1/nodes/web02").expect(502);
    let before = (shop.console(), shop.states());
    let output = shop.desk(&["check"]);
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!output.status.success(), "{printed}");
    for (name, complained) in [("web01", true), ("web02", true), ("web03", true), ("web04", false), ("web05", true)] {
        assert_eq!(printed.contains(&format!("FAIL  node: {name} ")), complained, "{printed}");
    }
    assert_eq!((shop.console(), shop.states()), before, "check alone changes nothing");

    let output = shop.desk(&["check", "--settle"]);
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    // What is left alone is not called settled.
    let faults: Vec<_> = printed.lines().filter(|line| line.starts_with("FAIL")).collect();
    assert!(!output.status.success() && faults.len() == 1, "{printed}");
    assert!(faults[0].starts_with("FAIL  node: web05 may be espm's or not; 'espm adopt' or"), "{printed}");
    assert!(!shop.node_in_console("web05").is_null());
    assert!(shop.desk(&["forget", "web05"]).status.success());
    assert_eq!(shop.states().into_keys().collect::<Vec<_>>(), ["web01", "web04"]);
    assert!(shop.unfinished().is_empty() && shop.proofs() == 0);
    assert_eq!(shop.node_in_console("web01")["groups"], json!(["databases"]));
    assert!(shop.desk(&["check"]).status.success());
    shop.expect_foreign_untouched();
}

#[test]
fn hung_rake_is_504_and_repeat_settles() {
    let shop = Shop::open();
    shop.ask_for_lists();
    for point in ["hang", "pause_after_node_add", "pause_after_node_groups"] {
        let fault = shop.dir.join("console/faults").join(point);
        for limit in limits() {
            shop.fault("console", point, "once");
            shop.configure("console", &format!("timeout = {limit}"));
            let answer = shop.post("/v1/nodes", &node("web01"));
            assert_eq!(answer.expect(504).problem(), "timed-out", "{point}");
            wait_until("rake was ended", || shop.pids("rake").is_empty());
            let came_there = !fault.exists();
            shop.no_faults("console");
            shop.configure("console", "timeout = 120");
            shop.post("/v1/nodes", &node("web01")).expect(201);
            shop.expect_in_console(&node("web01"));
            shop.delete("/v1/nodes/web01").expect(204);
            if came_there {
                break;
            }
        }
    }
    assert!(shop.states().is_empty() && shop.proofs() == 0);
}

#[test]
fn flooding_rake_is_502_and_its_output_is_removed() {
    let shop = Shop::open();
    shop.ask_for_lists();
    shop.fault("console", "flood", "once");
    shop.post("/v1/nodes", &node("web01")).expect(502);
    wait_until("rake was ended", || shop.pids("rake").is_empty());
    shop.post("/v1/nodes", &node("web01")).expect(201);
    assert_eq!(shop.proofs(), 0);
    shop.fault("console", "flood", "once");
    rebuild(&shop).expect(502);
    rebuild(&shop).expect(200);
    assert_eq!(shop.node_in_console("web01")["groups"], json!(["databases"]));
}

#[test]
fn false_exit_code_of_rake_is_not_believed() {
    for release in ["1.2.8", "1.2.23"] {
        let shop = Shop::with(Plan { release, ..Plan::default() });
        shop.ask_for_lists();
        // Refused, and yet "success".
        shop.fault("console", "exit", "0");
        shop.post("/v1/nodes", &json!({"name": FOREIGN})).expect(409);
        shop.fault("console", "abort", "once");
        shop.post("/v1/nodes", &node("web01")).expect(502);
        assert!(shop.node_in_console("web01").is_null() && shop.states().is_empty());
        shop.no_faults("console");
        // All said and done, and yet "failure": undone, so that the client's next attempt finds nothing in its way.
        for code in ["1", "7"] {
            shop.fault("console", "exit.once", code);
            shop.post("/v1/nodes", &node("web01")).expect(502);
            assert!(shop.node_in_console("web01").is_null() && shop.states().is_empty(), "{code}");
        }
        shop.post("/v1/nodes", &node("web01")).expect(201);
        shop.fault("console", "exit", "1");
        rebuild(&shop).expect(502);
        shop.delete("/v1/nodes/web01").expect(502);
        shop.no_faults("console");
        shop.expect_in_console(&node("web01"));
        rebuild(&shop).expect(200);
        shop.delete("/v1/nodes/web01").expect(204);
        shop.expect_foreign_untouched();
    }
}

#[test]
fn database_error_is_in_audit_and_not_in_answer() {
    for release in ["1.2.8", "3.0"] {
        let shop = Shop::with(Plan { release, ..Plan::default() });
        shop.add("web01");
        shop.fault("console", "abort", "");
        let answers =
            [shop.post("/v1/nodes", &json!({"name": "web02"})), rebuild(&shop), shop.delete("/v1/nodes/web01")];
        for answer in answers {
            assert_eq!(answer.expect(502).problem(), "command-failed");
            for word in ["INSERT", "Mysql", "nodes` ", "rake"] {
                assert!(!answer.body.contains(word), "{answer:?}");
            }
            let log = shop.records_of(&answer).join("\n");
            assert!(log.contains("INSERT INTO"), "{log}");
        }
        shop.no_faults("console");
        shop.delete("/v1/nodes/web01").expect(204);
        shop.post("/v1/nodes", &json!({"name": "web02"})).expect(201);
    }
}

#[test]
fn recovery_that_dies_is_itself_recovered() {
    let shop = Shop::open();
    // The deletion that undoes a half-made add dies before it has begun, and when it may have been done.
    for (point, again) in [("before_node_groups", 201), ("after_commit_node_del", 201), ("before_node_del", 409)] {
        shop.fault("console", "die_after_node_add", "once");
        shop.fault("console", &format!("die_{point}"), "once");
        shop.post("/v1/nodes", &node("web01")).expect(502);
        // The death of a rake is undone by its own request, that of a worker's child by the next one.
        let settled = (0..2).map(|_| shop.post("/v1/nodes", &node("web01"))).find(|answer| answer.status != 502);
        settled.unwrap().expect(again);
        shop.no_faults("console");
        if again == 201 {
            shop.expect_in_console(&node("web01"));
            shop.delete("/v1/nodes/web01").expect(204);
        }
    }
    assert_eq!(shop.unfinished()["web01"], "unproven");
    shop.expect_foreign_untouched();
}

#[test]
fn node_survives_death_of_rebuild_and_of_its_recovery() {
    let shop = Shop::open();
    for (first, point) in [
        ("after_node_del", "before_node_add"),
        ("after_node_del", "after_node_add"),
        ("after_node_del", "before_node_parameters"),
        // The recovery is the first to delete it, and the last to know.
        ("after_node_add", "after_node_del"),
        ("before_node_groups", "after_commit_node_del"),
        ("before_node_groups", "before_node_add"),
    ] {
        shop.post("/v1/nodes", &node("web01")).expect(201);
        shop.fault("console", &format!("die_{first}"), "once");
        rebuild(&shop).expect(502);
        shop.fault("console", &format!("die_{point}"), "once");
        assert_ne!(rebuild(&shop).status, 404, "{first} {point}");
        rebuild(&shop).expect(200);
        assert_eq!(shop.node_in_console("web01")["groups"], json!(["databases"]), "{first} {point}");
        assert_eq!(shop.node_in_console("web01")["parameters"], json!([["role", "web"]]), "{first} {point}");
        shop.delete("/v1/nodes/web01").expect(204);
    }
}
