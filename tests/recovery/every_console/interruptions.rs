//! Commands that hang, flood or end with a false exit code, humans who change the console meanwhile, and
//! unproven nodes until the operator decides.

use serde_json::json;

use crate::harness::processes::{FOREIGN, limits};
use crate::harness::worker::Temperature;
use crate::harness::{Answer, Plan, Site, node, wait_until};

/// A change that consoles up to 1.2.22 make by deleting the node and adding it again; one of groups alone they make
/// in place.
fn rebuild(site: &Site) -> Answer {
    site.patch("/v1/nodes/web01", &json!({"groups": ["databases"], "classes": ["mysql"]}))
}

/// What a human makes of the name, unlike anything of espm's.
const HUMANS: [&str; 4] = ["node:add", "name=web01", "groups=web servers", "classes=mysql"];

/// The human's node is as the human made it, and espm does not know it.
#[track_caller]
fn expect_the_humans(site: &Site) {
    for _ in 0..2 {
        let there = json!({"groups": ["web servers"], "classes": ["mysql"], "parameters": []});
        assert_eq!(site.node_in_console("web01"), there);
        site.get("/v1/nodes/web01").expect(404);
        rebuild(site).expect(404);
        site.delete("/v1/nodes/web01").expect(404);
        site.post("/v1/nodes", &node("web01")).expect(409);
    }
}

/// What a human should know is in the audit.
#[track_caller]
fn expect_note(site: &Site, note: &str) {
    let note = format!(" note={note} ");
    wait_until("the note is in the audit", || site.audit().iter().any(|record| record.contains(&note)));
}

/// Makes a node of which nothing proves that it is espm's: rake has added it and died before it said so.
fn unproven() -> Site {
    let site = Site::open();
    site.fault("console", "die_after_commit_node_add", "once");
    site.post("/v1/nodes", &node("web01")).expect(502);
    site.get("/v1/nodes/web01").expect(404);
    expect_note(&site, "unproven");
    assert_eq!(site.unfinished()["web01"], "unproven");
    site
}

#[test]
fn name_added_by_hand_during_rebuild_is_404() {
    // Before rake looks whether the name is there, and after.
    for point in ["after_node_del", "before_node_add"] {
        let site = Site::open();
        site.add("web01");
        site.paused(point, || rebuild(&site), || site.rake(&HUMANS)).expect(404);
        expect_the_humans(&site);
        expect_note(&site, "taken-by-another");
        assert_eq!(site.unfinished()["web01"], "unproven");
        site.expect_foreign_untouched();
    }
}

#[test]
fn name_added_by_hand_after_handler_of_rebuild_died_is_left_alone() {
    for point in ["after_node_del", "before_node_add"] {
        let site = Site::open();
        site.add("web01");
        site.stopped_at(point, || rebuild(&site), || site.kill_one("espm")).expect(500);
        site.rake(&HUMANS);
        site.go_on();
        expect_the_humans(&site);
        assert_eq!(site.unfinished()["web01"], "unproven");
        expect_note(&site, "taken-by-another");
    }
}

#[test]
fn name_added_by_hand_after_rake_died_in_rebuild_is_left_alone() {
    let site = Site::open();
    site.add("web01");
    site.fault("console", "die_after_node_del", "once");
    rebuild(&site).expect(502);
    site.rake(&HUMANS);
    expect_the_humans(&site);
    assert_eq!(site.unfinished()["web01"], "unproven");
    expect_note(&site, "unproven");
}

#[test]
fn name_added_by_hand_after_rake_died_in_deletion_is_left_alone() {
    let site = Site::open();
    site.add("web01");
    site.fault("console", "die_after_node_del", "once");
    site.delete("/v1/nodes/web01").expect(502);
    site.rake(&HUMANS);
    expect_the_humans(&site);
}

#[test]
fn name_added_by_hand_during_add_is_409() {
    let site = Site::open();
    let add = || site.post("/v1/nodes", &node("web01"));
    site.paused("before_node_add", add, || site.rake(&HUMANS)).expect(409);
    expect_the_humans(&site);
    assert!(site.states().is_empty());
}

#[test]
fn node_is_busy_while_earlier_command_runs() {
    let site = Site::open();
    site.add("web01");
    let runs = site.changing_runs();
    site.stopped_at("before_node_del", || rebuild(&site), || site.kill_one("espm")).expect(500);
    for answer in [rebuild(&site), site.delete("/v1/nodes/web01"), site.post("/v1/nodes", &node("web01"))] {
        assert_eq!(answer.expect(503).problem(), "busy");
        assert_ne!(answer.header("retry-after"), "");
    }
    let output = site.espm(&["check", "--settle"]);
    assert!(!output.status.success(), "{output:?}");
    assert_eq!(site.changing_runs(), runs + 1);
    site.go_on();
    rebuild(&site).expect(200);
    assert_eq!(site.node_in_console("web01")["groups"], json!(["databases"]));
}

#[test]
fn adopted_unproven_node_belongs_to_espm() {
    let site = unproven();
    let output = site.espm(&["adopt", "web01"]);
    assert!(output.status.success(), "{output:?}");
    assert!(site.unfinished().is_empty());
    assert_eq!(site.get("/v1/nodes/web01").expect(200).json(), node("web01"));
    site.patch("/v1/nodes/web01", &json!({})).expect(200);
    site.expect_in_console(&node("web01"));
    site.delete("/v1/nodes/web01").expect(204);
    assert!(site.node_in_console("web01").is_null());
    assert!(site.audit().iter().any(|record| record.contains("event=operator.adopt outcome=ok")));
}

#[test]
fn forgotten_unproven_node_belongs_to_human() {
    let site = unproven();
    let before = site.node_in_console("web01");
    let output = site.espm(&["forget", "web01"]);
    assert!(output.status.success(), "{output:?}");
    assert!(site.states().is_empty());
    site.get("/v1/nodes/web01").expect(404);
    site.post("/v1/nodes", &node("web01")).expect(409);
    assert_eq!(site.node_in_console("web01"), before);
    assert_eq!(site.proofs(), 0);
    for words in [["forget", "web01"], ["adopt", "none"]] {
        assert!(!site.espm(&words).status.success(), "{words:?}");
    }
}

#[test]
fn check_shows_unfinished_and_settles_on_request() {
    let site = Site::open();
    for name in ["web01", "web02", "web03", "web04", "web05"] {
        site.add(name);
    }
    site.rake(&["node:del", "name=web03"]);
    site.fault("console", "die_after_commit_node_del", "once");
    site.delete("/v1/nodes/web05").expect(502);
    site.rake(&["node:add", "name=web05"]);
    site.fault("console", "die_before_node_groups", "once");
    rebuild(&site).expect(502);
    site.fault("console", "die_after_commit_node_del", "once");
    site.delete("/v1/nodes/web02").expect(502);
    let before = (site.console(), site.states());
    let output = site.espm(&["check"]);
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!output.status.success(), "{printed}");
    for (name, complained) in [("web01", true), ("web02", true), ("web03", true), ("web04", false), ("web05", true)] {
        assert_eq!(printed.contains(&format!("FAIL  node: {name} ")), complained, "{printed}");
    }
    assert_eq!((site.console(), site.states()), before, "check alone changes nothing");

    let output = site.espm(&["check", "--settle"]);
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    // A node that is left alone is not called settled.
    let faults: Vec<_> = printed.lines().filter(|line| line.starts_with("FAIL")).collect();
    assert!(!output.status.success() && faults.len() == 1, "{printed}");
    assert!(faults[0].starts_with("FAIL  node: web05 may be espm's or not; 'espm adopt web05' if"), "{printed}");
    assert!(!site.node_in_console("web05").is_null());
    assert!(site.espm(&["forget", "web05"]).status.success());
    assert_eq!(site.states().into_keys().collect::<Vec<_>>(), ["web01", "web04"]);
    assert!(site.unfinished().is_empty() && site.proofs() == 0);
    assert_eq!(site.node_in_console("web01")["groups"], json!(["databases"]));
    assert!(site.espm(&["check"]).status.success());
    site.expect_foreign_untouched();
}

#[test]
fn hung_rake_is_504_and_repeat_settles() {
    let site = Site::open();
    site.ask_for_lists();
    for point in ["hang", "pause_after_node_add", "pause_after_node_groups"] {
        let fault = site.dir.join("console/faults").join(point);
        for limit in limits() {
            site.fault("console", point, "once");
            site.configure("console", &format!("timeout = {limit}"));
            let answer = site.post("/v1/nodes", &node("web01"));
            assert_eq!(answer.expect(504).problem(), "timed-out", "{point}");
            wait_until("rake was ended", || site.pids("rake").is_empty());
            let came_there = !fault.exists();
            site.no_faults("console");
            site.configure("console", "timeout = 120");
            site.post("/v1/nodes", &node("web01")).expect(201);
            site.expect_in_console(&node("web01"));
            site.delete("/v1/nodes/web01").expect(204);
            if came_there {
                break;
            }
        }
    }
    assert!(site.states().is_empty() && site.proofs() == 0);
}

#[test]
fn flooding_rake_is_502_and_its_output_is_removed() {
    let site = Site::open();
    site.ask_for_lists();
    site.fault("console", "flood", "once");
    site.post("/v1/nodes", &node("web01")).expect(502);
    wait_until("rake was ended", || site.pids("rake").is_empty());
    site.post("/v1/nodes", &node("web01")).expect(201);
    assert_eq!(site.proofs(), 0);
    site.fault("console", "flood", "once");
    // A worker's child floods the list before the change, which is then asked of rake.
    let warm = Temperature::chosen() == Temperature::Warm;
    rebuild(&site).expect(if warm { 200 } else { 502 });
    rebuild(&site).expect(200);
    assert_eq!(site.node_in_console("web01")["groups"], json!(["databases"]));
}

#[test]
fn false_exit_code_of_rake_is_not_believed() {
    for release in ["1.2.8", "1.2.23"] {
        let site = Site::with(Plan { release, ..Plan::default() });
        site.ask_for_lists();
        // Refused, and yet "success".
        site.fault("console", "exit", "0");
        site.post("/v1/nodes", &json!({"name": FOREIGN})).expect(409);
        site.fault("console", "abort", "once");
        site.post("/v1/nodes", &node("web01")).expect(502);
        assert!(site.node_in_console("web01").is_null() && site.states().is_empty());
        site.no_faults("console");
        // All said and done, and yet "failure": undone, so that the client's next attempt finds nothing in its way.
        for code in ["1", "7"] {
            site.fault("console", "exit.once", code);
            site.post("/v1/nodes", &node("web01")).expect(502);
            assert!(site.node_in_console("web01").is_null() && site.states().is_empty(), "{code}");
        }
        site.post("/v1/nodes", &node("web01")).expect(201);
        site.fault("console", "exit", "1");
        rebuild(&site).expect(502);
        site.delete("/v1/nodes/web01").expect(502);
        site.no_faults("console");
        site.expect_in_console(&node("web01"));
        rebuild(&site).expect(200);
        site.delete("/v1/nodes/web01").expect(204);
        site.expect_foreign_untouched();
    }
}

#[test]
fn database_error_is_in_audit_and_not_in_answer() {
    for release in ["1.2.8", "3.0"] {
        let site = Site::with(Plan { release, ..Plan::default() });
        site.add("web01");
        site.fault("console", "abort", "");
        let answers =
            [site.post("/v1/nodes", &json!({"name": "web02"})), rebuild(&site), site.delete("/v1/nodes/web01")];
        for answer in answers {
            assert_eq!(answer.expect(502).problem(), "command-failed");
            for word in ["INSERT", "Mysql", "nodes` ", "rake"] {
                assert!(!answer.body.contains(word), "{answer:?}");
            }
            let log = site.records_of(&answer).join("\n");
            assert!(log.contains("INSERT INTO"), "{log}");
        }
        site.no_faults("console");
        site.delete("/v1/nodes/web01").expect(204);
        site.post("/v1/nodes", &json!({"name": "web02"})).expect(201);
    }
}

#[test]
fn recovery_that_dies_is_itself_recovered() {
    let site = Site::open();
    // The deletion that undoes a half-made add dies before it has begun, and when it may have been done.
    for (point, again) in [("before_node_groups", 201), ("after_commit_node_del", 201), ("before_node_del", 409)] {
        site.fault("console", "die_after_node_add", "once");
        site.fault("console", &format!("die_{point}"), "once");
        site.post("/v1/nodes", &node("web01")).expect(502);
        // The death of a rake is undone by its own request, that of a worker's child by the next one.
        let settled = (0..2).map(|_| site.post("/v1/nodes", &node("web01"))).find(|answer| answer.status != 502);
        settled.unwrap().expect(again);
        site.no_faults("console");
        if again == 201 {
            site.expect_in_console(&node("web01"));
            site.delete("/v1/nodes/web01").expect(204);
        }
    }
    assert_eq!(site.unfinished()["web01"], "unproven");
    site.expect_foreign_untouched();
}

#[test]
fn node_survives_death_of_rebuild_and_of_its_recovery() {
    let site = Site::open();
    for (first, point) in [
        ("after_node_del", "before_node_add"),
        ("after_node_del", "after_node_add"),
        ("after_node_del", "before_node_parameters"),
        // The recovery is the first to delete it, and the last to know.
        ("after_node_add", "after_node_del"),
        ("before_node_groups", "after_commit_node_del"),
        ("before_node_groups", "before_node_add"),
    ] {
        site.post("/v1/nodes", &node("web01")).expect(201);
        site.fault("console", &format!("die_{first}"), "once");
        rebuild(&site).expect(502);
        site.fault("console", &format!("die_{point}"), "once");
        assert_ne!(rebuild(&site).status, 404, "{first} {point}");
        rebuild(&site).expect(200);
        assert_eq!(site.node_in_console("web01")["groups"], json!(["databases"]), "{first} {point}");
        assert_eq!(site.node_in_console("web01")["parameters"], json!([["role", "web"]]), "{first} {point}");
        site.delete("/v1/nodes/web01").expect(204);
    }
}
